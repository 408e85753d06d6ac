"""The main table: every method on every dataset, and what may be said of the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.comparison.compare import Analysis
from analysis.comparison.evidence import Cell, DeclaredPlan
from analysis.comparison.one_source import mean_of_source
from analysis.comparison.pairs import Interval, MethodScore
from analysis.comparison.phrases import datasets_phrase
from analysis.comparison.verdicts import Comparison, average
from analysis.contents import NOT_AVAILABLE, Marked, PageTable, Row, number
from analysis.stats.across_datasets import by_source, fixed_dataset_mean, source_means
from analysis.stats.estimate import Estimate
from analysis.tables.cells import CORRECTIONS, TWO_WAY_P, Scopes, listed, sizes, span

DIGITS = 3
_LOST = "†"


@dataclass(frozen=True, slots=True)
class _Entry:
    """What one cell of the table shows."""

    mean: float | None
    sd: float | None
    estimate: Estimate | None
    interval: Interval | None


def main(analysis: Analysis, parameters: Mapping[str, str] | None = None) -> PageTable:
    """Mean ± SD over seeds with its interval below: a row a method, a column a dataset, the average last.

    The best mean of a column is bold; underlined are all that are not distinguishable from it.

    Args:
        analysis: of the comparison.
        parameters: method → its trained parameters, as a text; without it there is no such column.
    """
    evidence = analysis.evidence
    plan, methods = evidence.plan, evidence.methods
    columns = {
        dataset: {method: _entry(analysis.score(dataset, method)) for method in methods}
        for dataset in evidence.datasets
    }
    marks = {
        dataset: _marks(
            entries,
            [one for one in analysis.comparisons if (one.pair.dataset, one.pair.metric) == (dataset, plan.metric)],
            plan,
        )
        for dataset, entries in columns.items()
    }
    averages = {
        method: _average([entries[method] for entries in columns.values()], evidence.source_of) for method in methods
    }
    several = len(evidence.datasets) > 1
    average_marks = _marks(averages, _all_averages(analysis), plan) if several else {}
    scopes = Scopes.of(entry.interval for entries in columns.values() for entry in entries.values())

    def row(method: str) -> Row:
        cells = [
            _cell(entries[method], marks[dataset][method], scopes, evidence.cells.get((dataset, method)))
            for dataset, entries in columns.items()
        ]
        own = () if parameters is None else (parameters.get(method, NOT_AVAILABLE),)
        return (method, *own, *cells, *((_cell(averages[method], average_marks[method], scopes),) if several else ()))

    present = any(entry.mean is not None for entries in columns.values() for entry in entries.values())
    head = ("Method", *(() if parameters is None else ("Trained parameters",)), *evidence.datasets)
    head = (*head, *(("Average",) if several else ()))
    return PageTable(
        caption=f"{plan.label(plan.metric)} on the test split: mean ± SD over seeds, "
        f"{plan.confidence * 100:g} % interval of the mean below.",
        head=head,
        align="l" + "r" * (len(head) - 1),
        groups=(("", tuple(row(method) for method in methods)),) if present else (),
        note=_note(analysis, scopes, several),
        name="main",
    )


def _entry(score: MethodScore | None) -> _Entry:
    if score is None or score.mean is None:
        return _Entry(None, None, None, None)
    if score.over_both is not None and score.over_both.low is not None:
        return _Entry(score.mean, score.sd, score.over_both, "two_way")
    narrow = score.over_seeds if score.over_seeds is not None and score.over_seeds.low is not None else None
    return _Entry(score.mean, score.sd, narrow, None if narrow is None else "t_over_seeds")


def _average(entries: Sequence[_Entry], sources: Sequence[str]) -> _Entry:
    """Over the datasets, each source with the same weight; a method that lacks one of them has none."""
    means = [entry.mean for entry in entries if entry.mean is not None]
    if len(means) < len(entries):
        return _Entry(None, None, None, None)
    whole = float(source_means(means, sources).mean())
    estimates = [entry.estimate for entry in entries if entry.estimate is not None]
    if len(estimates) < len(entries):
        return _Entry(whole, None, None, None)
    # The average holds for no more than the narrowest of what it is made of.
    narrow = any(entry.interval == "t_over_seeds" for entry in entries)
    level = estimates[0].confidence
    of_sources = [mean_of_source(own, None, level) for own in by_source(estimates, sources)]
    mean = fixed_dataset_mean(of_sources, level)
    return _Entry(whole, None, mean, "t_over_seeds" if narrow else "two_way")


def _all_averages(analysis: Analysis) -> list[Comparison]:
    """All pairs averaged over the datasets, whatever was declared: the marks look at all of them."""
    evidence = analysis.evidence
    plan = replace(evidence.plan, family="all_pairs", control=None)
    own = [one.pair for one in analysis.comparisons if one.pair.metric == plan.metric]
    return average(own, replace(evidence, plan=plan, methods=evidence.ordered), analysis.exact_means)


def _marks(entries: Mapping[str, _Entry], comparisons: Sequence[Comparison], plan: DeclaredPlan) -> dict[str, str]:
    """Method → ``best``, ``near`` (not distinguishable from a best one) or nothing."""
    means = {method: entry.mean for method, entry in entries.items() if entry.mean is not None}
    if not means:
        return dict.fromkeys(entries, "")
    top = (max if plan.higher_is_better(plan.metric) else min)(means.values())
    best = [method for method, mean in means.items() if mean == top]
    told = {frozenset((one.pair.first, one.pair.second)) for one in comparisons if _distinguishable(one, plan.alpha)}
    return {
        method: "best"
        if method in best
        else "near"
        if method in means and not all(frozenset((method, one)) in told for one in best)
        else ""
        for method in entries
    }


def _distinguishable(one: Comparison, alpha: float) -> bool:
    p = one.p_adjusted if one.role == "average" else one.p_all_pairs
    return (
        p is not None
        and p <= alpha
        and one.pair.estimate is not None
        and abs(one.pair.estimate.estimate) > one.pair.repeat_noise
    )


def _cell(entry: _Entry, mark: str, scopes: Scopes, cell: Cell | None = None) -> Marked:
    name = "" if cell is None else f"{cell.method}@{cell.dataset}"
    lost = _LOST if cell is not None and (cell.failures or cell.missing) else ""
    if entry.mean is None:
        return Marked(NOT_AVAILABLE + lost, cell=name)
    spread = "" if entry.sd is None else f" ± {number(entry.sd, DIGITS)}"
    below = "" if entry.estimate is None else "\n" + span(entry.estimate, DIGITS, scopes.mark(entry.interval))
    text = f"{number(entry.mean, DIGITS)}{spread}{lost}{below}"
    return Marked(text, bold=mark == "best", underline=mark == "near", cell=name)


def _note(analysis: Analysis, scopes: Scopes, several: bool) -> str:
    evidence = analysis.evidence
    plan, count = evidence.plan, len(evidence.methods)
    pairs = count * (count - 1) // 2
    direction = "highest" if plan.higher_is_better(plan.metric) else "lowest"
    whole = (
        f"all {pairs * len(evidence.datasets)} pairs of methods on all datasets" if several else f"all {pairs} pairs"
    )
    parts = [
        scopes.sentence,
        "SD is the spread of single trainings over seeds, not a measure of certainty.",
        f"{sizes(analysis)}.",
        f"Bold: the {direction} mean. Underlined: not distinguishable from it, which does not mean as good: "
        f"two-sided p above {plan.alpha:g} ({CORRECTIONS[plan.correction]}; family: {whole}"
        f"{f', and the {pairs} pairs of their averages' if several else ''}), no p value, or a difference within what "
        "a repetition with the same seed changes.",
    ]
    if several:
        these = datasets_phrase(len(evidence.datasets), len(evidence.sources))
        once = ", each source counting once" if len(evidence.sources) < len(evidence.datasets) else ""
        parts.append(f"Average: over {these} ({listed(evidence.datasets)}){once}, no others.")
    if "two_way" in scopes.kinds:
        parts.append(TWO_WAY_P + (" Averages follow Student's t in both." if several else ""))
    lost = {
        f"{cell.method} on {cell.dataset}": f"{len(cell.seeds)} of {len(cell.declared)} seeds"
        + (f", {len(cell.failures)} failed" if cell.failures else "")
        for cell in evidence.cells.values()
        if cell.failures or cell.missing
    }
    if lost:
        parts.append(f"{_LOST}: seeds are lacking ({'; '.join(f'{name}: {text}' for name, text in lost.items())}).")
    return " ".join(parts)
