"""The table of what the methods may be expected to do on new datasets."""

from __future__ import annotations

from analysis.comparison.compare import Analysis
from analysis.comparison.new_datasets import NewDatasets, on_new_datasets, ranks_of
from analysis.comparison.phrases import datasets_phrase, friedman_phrase
from analysis.stats.cautions import Refused
from analysis.tables.cells import CORRECTIONS, p_text, span
from harness.pages.contents import NOT_AVAILABLE, PageTable, Row, number

DIGITS = 4


def new_datasets(analysis: Analysis) -> PageTable | None:
    """The declared comparisons with each source as one observation; None below six sources."""
    evidence, plan = analysis.evidence, analysis.evidence.plan
    try:
        found, ranks = on_new_datasets(analysis), ranks_of(analysis)
    except Refused:
        return None
    mean_ranks = {} if ranks is None else dict(zip(ranks.methods, ranks.test.mean_ranks, strict=True))

    def row(one: NewDatasets) -> Row:
        both = [
            number(mean_ranks[name], 2) if name in mean_ranks else NOT_AVAILABLE for name in (one.first, one.second)
        ]
        mean = one.difference
        return (
            f"{one.first} vs {one.second}",
            NOT_AVAILABLE if mean is None else number(mean.estimate, DIGITS),
            span(mean, DIGITS),
            p_text(None if mean is None else mean.p_value()),
            p_text(one.p_adjusted),
            " / ".join(both),
            p_text(one.nemenyi_p),
        )

    noun, count = evidence.unit, len(evidence.sources)
    thin = {caution.sentence for one in found if one.difference is not None for caution in one.difference.cautions}
    friedman = ""
    if ranks is not None:
        friedman = (
            f" Friedman's test of {len(ranks.methods)} methods on {count} {noun}s, corrected for ties, with the F of "
            f"Iman and Davenport: {friedman_phrase(ranks.test, plan.alpha)}."
        )
    return PageTable(
        caption=f"{plan.label(plan.metric)}: the declared comparisons as claims about datasets like "
        f"{datasets_phrase(evidence)}.",
        head=("Comparison", "Difference", f"{100 * plan.confidence:g} % interval", "p", "p adjusted", "Mean ranks",
              "Nemenyi p"),
        align="lrrrrrr",
        groups=(("", tuple(map(row, found))),) if found else (),
        note=" ".join(
            (
                f"Scope: new datasets, of which these would have to be a fair sample. Each {noun} counts once, "
                f"whatever its number of seeds (Student's t over the {noun}s' mean differences).",
                *sorted(thin),
                f"p adjusted: {CORRECTIONS[plan.correction]} over these {len(found)} comparisons. Nemenyi p: of the "
                f"mean ranks (1 is best), corrected for all pairs; ranks change with the set of methods.{friedman}",
            )
        ),
        name="new_datasets",
    )  # fmt: skip
