"""The sections of a report that set methods against each other, from whatever evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from analysis.comparison.claims import STATUS_WORDS, claims
from analysis.comparison.phrases import labels_phrase, scope_note
from analysis.figures.comparisons import forest
from analysis.figures.costs import Costs, score_against_costs
from analysis.figures.curves import stems
from analysis.figures.methods import pareto, seeds
from analysis.figures.operating import LOOKS, draw_curves
from analysis.figures.predictions import ReducedPredictions, confusion, reliability, sensitivity
from analysis.figures.ranks import critical_difference
from analysis.runs.conduct import Conduct
from analysis.stats.cautions import Refused
from analysis.tables.cells import p_text
from analysis.tables.checks import nondeterminism, power, robustness, robustness_of_averages, seed_sensitivity
from analysis.tables.comparisons import all_p_values, averages, exploratory, not_compared, pairwise, secondary
from analysis.tables.main_table import main
from analysis.tables.new_datasets import new_datasets
from analysis.words.data import data_statement
from analysis.words.findings import question, results_paragraphs
from analysis.words.limitations import limitations
from analysis.words.methods import methods_paragraph
from harness.core.parallel import HERE, Pool
from harness.pages.contents import NOT_AVAILABLE, Drawings, Item, PageFigure, PageSection, PageTable
from harness.run.sweep_records import SweepRecord

if TYPE_CHECKING:
    from analysis.comparison.compare import Analysis


def findings(analysis: Analysis, parameters: Mapping[str, str] | None = None, pool: Pool = HERE) -> PageSection:
    """What was asked and what was found, claim by claim; ``pool`` draws the figures, here as below.

    Args:
        parameters: how many were trained by each method, in words.
    """
    drawn = Drawings((pool.submit(forest, analysis.primary, "forest"),))
    words = (*question(analysis), *results_paragraphs(analysis))
    return PageSection("Findings", words, present(main(analysis, parameters), drawn))


def limits(analysis: Analysis, spec: SweepRecord | None = None) -> PageSection:
    """What the design did not vary, and what may therefore not be concluded."""
    return PageSection("What may not be concluded", limitations(analysis, spec), ())


def how_compared(analysis: Analysis, conduct: Conduct | None = None) -> PageSection:
    """The paragraph on methods."""
    return PageSection("How the methods were compared", (methods_paragraph(analysis, conduct),), ())


def data_section(analysis: Analysis, conduct: Conduct) -> PageSection:
    """The data statement."""
    return PageSection("Data statement", data_statement(analysis, conduct), ())


def comparisons(analysis: Analysis, pool: Pool = HERE) -> PageSection:
    """Every declared comparison with its numbers, the claims, and the checks of both."""
    ranks = Drawings((pool.submit(_ranks, analysis.primary),))
    return PageSection(
        "Comparisons",
        tuple(filter(None, [scope_note(analysis)])),
        present(
            claims_table(analysis), pairwise(analysis), averages(analysis), new_datasets(analysis), ranks,
            not_compared(analysis), robustness(analysis), robustness_of_averages(analysis),
        ),
    )  # fmt: skip


def seed_section(analysis: Analysis, pool: Pool = HERE) -> PageSection:
    """What the seeds did, and what that number of seeds can show."""
    names, shown = stems("seeds", analysis.evidence.datasets), analysis.primary
    drawn = Drawings(tuple(pool.submit(seeds, shown, name, stem) for name, stem in names.items()))
    return PageSection(
        "Seeds and power", (), present(drawn, power(analysis), seed_sensitivity(analysis), nondeterminism(analysis))
    )


def prediction_section(reduced: Mapping[str, ReducedPredictions], pool: Pool = HERE) -> PageSection:
    """Curves over all thresholds, calibration and confusion of each method on each dataset with predictions."""
    drawings: Sequence[tuple[str, Callable[[ReducedPredictions, str], tuple[PageFigure, ...]]]] = (
        ("reliability", reliability),
        ("confusion", confusion),
        ("sensitivity", sensitivity),
    )
    exclusive = {name: facts for name, facts in reduced.items() if facts.methods}
    drawn = [
        pool.submit(draw_curves, curves, kind, stem)
        for kind in LOOKS
        for name, stem in stems(kind, reduced).items()
        if (curves := reduced[name].curves) is not None
    ]
    drawn += [
        pool.submit(draw, exclusive[name], stem)
        for prefix, draw in drawings
        for name, stem in stems(prefix, exclusive).items()
    ]
    several = tuple(
        f"{name}: an image may bear several labels, so that no single predicted class exists whose calibration or "
        "confusion could be drawn; the scores of each class are in the trials' results."
        for name, facts in reduced.items()
        if not facts.methods
    )
    return PageSection("Predictions", several, present(Drawings(tuple(drawn))))


def cost_figures(analysis: Analysis, trained: Mapping[tuple[str, str], int], pool: Pool = HERE) -> Drawings:
    """Score against trained parameters."""
    return Drawings((pool.submit(pareto, analysis.primary, trained, "pareto"),))


def paid_section(analysis: Analysis, costs: Costs, pool: Pool = HERE) -> PageSection:
    """Score against what was paid in time, arithmetic and memory."""
    names, shown = stems("costs", analysis.evidence.datasets), analysis.primary
    drawn = tuple(pool.submit(score_against_costs, shown, costs, name, stem) for name, stem in names.items())
    return PageSection("Score against cost", (), present(Drawings(drawn)))


def supplement(analysis: Analysis) -> PageSection:
    """What was compared beside the declared family, and every p value."""
    return PageSection(
        "All comparisons",
        tuple(filter(None, [scope_note(analysis)])),
        present(secondary(analysis), exploratory(analysis), all_p_values(analysis)),
    )


def claims_table(analysis: Analysis) -> PageTable:
    """The declared claims and what became of them."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for one in claims(analysis):
        pair = one.comparison.pair
        place = pair.dataset or f"Average over {labels_phrase(len(pair.datasets), pair.in_file, pair.sources)}"
        word = STATUS_WORDS.get(one.status, one.status)
        status = word if one.comparison.declared else f"exploratory: {word}"
        wrong = p_text(one.comparison.wrong) if one.status in ("supported", "contradicted") else NOT_AVAILABLE
        row = (f"{pair.first} scores better than {pair.second}", status, one.evidence, wrong)
        groups.setdefault(place, []).append(row)
    plan = analysis.evidence.plan
    return PageTable(
        caption=f"Claims by {plan.label(plan.metric)}: that the first method of each declared comparison, as tuned "
        "here, scores better than the second.",
        head=("Claim", "Status", "Evidence", "P(wrong)"),
        align="lllr",
        groups=tuple((place, tuple(rows)) for place, rows in groups.items()),
        note="Contradicted: the opposite was shown. Not supported (equivalent): the difference was shown to lie within "
        "the declared margin. Inconclusive: neither a difference nor equivalence was shown; that is no evidence that "
        "the methods perform alike. Exploratory: it rests on something that was changed after the declaration, and "
        "supports no claim. P(wrong): posterior probability that a difference that was shown is zero or has the other "
        "sign, not corrected for the number of claims. All claims are one family: together they hold a false "
        f"one in at most {100 * plan.alpha:g} of 100 studies like this one, in the scope that is named above.",
        name="claims",
    )


def present(*items: Item | None) -> tuple[Item, ...]:
    """The items that have something to show."""
    return tuple(item for item in items if item is not None and not (isinstance(item, PageTable) and item.empty))


def _ranks(analysis: Analysis) -> tuple[PageFigure, ...]:
    try:
        return critical_difference(analysis, "critical_difference")
    except Refused:
        # Below six datasets the methods paragraph says why there is none.
        return ()
