"""The main table: every method on every dataset, and what may be said of the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_

from analysis.comparison.compare import Analysis
from analysis.comparison.evidence import Cell, DeclaredPlan
from analysis.comparison.one_source import mean_of_source
from analysis.comparison.phrases import datasets_phrase, listed
from analysis.comparison.scores import MethodScore
from analysis.comparison.verdicts import Comparison, averages, judge_averages
from analysis.stats.across_datasets import by_source, fixed_dataset_mean, source_means
from analysis.stats.estimate import Estimate
from analysis.stats.scopes import DrawnAnew
from analysis.tables.cells import CORRECTIONS, Scopes, sizes, span
from harness.pages.contents import NOT_AVAILABLE, Marked, PageTable, Row, number

DIGITS = 3
_LOST = "†"


@dataclass(frozen=True, slots=True)
class _Entry:
    """What one cell of the table shows."""

    mean: float | None
    sd: float | None
    estimate: Estimate | None
    drawn: DrawnAnew | None
    """What the estimate's interval draws anew; None without one."""


def main(analysis: Analysis, parameters: Mapping[str, str] | None = None) -> PageTable:
    """Mean ± SD over seeds with its interval below: a row a method, a column a dataset, the average last.

    The best mean of a column is bold; underlined are all that no comparison shows to differ from it.

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
    shown = [*(entry for entries in columns.values() for entry in entries.values()), *averages.values()]
    scopes = Scopes.of(entry.drawn for entry in shown)

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
        caption=f"{plan.label(plan.metric)} on {evidence.tested}: mean ± SD over seeds, "
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
    if score.widest is None:
        return _Entry(score.mean, score.sd, None, None)
    return _Entry(score.mean, score.sd, score.widest[1], score.drawn)


def _average(entries: Sequence[_Entry], sources: Sequence[str]) -> _Entry:
    """Over the datasets, each source with the same weight; a method that lacks one of them has none."""
    means = [entry.mean for entry in entries if entry.mean is not None]
    if len(means) < len(entries):
        return _Entry(None, None, None, None)
    whole = float(source_means(means, sources).mean())
    estimates = [entry.estimate for entry in entries if entry.estimate is not None]
    if len(estimates) < len(entries):
        return _Entry(whole, None, None, None)
    # The average holds for no more than each of what it is made of.
    drawn = reduce(and_, (entry.drawn for entry in entries if entry.drawn is not None))
    level = estimates[0].confidence
    of_sources = [mean_of_source(own, None, level) for own in by_source(estimates, sources)]
    mean = fixed_dataset_mean(of_sources, level)
    return _Entry(whole, None, mean, drawn)


def _all_averages(analysis: Analysis) -> list[Comparison]:
    """Averages of all pairs: the declared ones as they were judged, all others as exploratory ones."""
    evidence = analysis.evidence
    judged = {(one.pair.first, one.pair.second) for one in analysis.averages}
    own = [one.pair for one in analysis.comparisons if one.pair.metric == evidence.plan.metric]
    others = [one for one in averages(own, evidence, analysis.exact_means) if (one.first, one.second) not in judged]
    return [*analysis.averages, *judge_averages(others, evidence)]


def _marks(entries: Mapping[str, _Entry], comparisons: Sequence[Comparison], plan: DeclaredPlan) -> dict[str, str]:
    """Method → ``best``, ``near`` (not shown to differ from a best one) or nothing."""
    means = {method: entry.mean for method, entry in entries.items() if entry.mean is not None}
    if not means:
        return dict.fromkeys(entries, "")
    top = (max if plan.higher_is_better(plan.metric) else min)(means.values())
    best = [method for method, mean in means.items() if mean == top]
    told = {frozenset((one.pair.first, one.pair.second)) for one in comparisons if one.outcome in ("better", "worse")}
    return {
        method: "best"
        if method in best
        else "near"
        if method in means and not all(frozenset((method, one)) in told for one in best)
        else ""
        for method in entries
    }


def _cell(entry: _Entry, mark: str, scopes: Scopes, cell: Cell | None = None) -> Marked:
    name = "" if cell is None else f"{cell.method}@{cell.dataset}"
    lost = _LOST if cell is not None and (cell.failures or cell.missing) else ""
    if entry.mean is None:
        return Marked(NOT_AVAILABLE + lost, cell=name)
    spread = "" if entry.sd is None else f" ± {number(entry.sd, DIGITS)}"
    below = "" if entry.estimate is None else "\n" + span(entry.estimate, DIGITS, scopes.mark(entry.drawn))
    text = f"{number(entry.mean, DIGITS)}{spread}{lost}{below}"
    return Marked(text, bold=mark == "best", underline=mark == "near", cell=name)


def _note(analysis: Analysis, scopes: Scopes, several: bool) -> str:
    evidence = analysis.evidence
    plan = evidence.plan
    direction = "highest" if plan.higher_is_better(plan.metric) else "lowest"
    declared = [one for one in analysis.of("primary") if one.declared]
    rest = (
        " and all other pairs for all of them" if any(one.role == "exploratory" for one in analysis.comparisons) else ""
    )
    family = (
        f"declared comparisons for their family of {declared[0].family}{rest}" if declared else "all pairs of methods"
    )
    parts = [
        scopes.sentence,
        "SD is the spread of single trainings over seeds, not a measure of certainty.",
        f"{sizes(analysis)}.",
        f"Bold: the {direction} mean. Underlined: not shown to differ from it, which does not mean as good (two-sided, "
        f"level {plan.alpha:g}, {CORRECTIONS[plan.correction]}: {family}).",
    ]
    if several:
        these = datasets_phrase(evidence)
        once = f", each {evidence.unit} counting once" if len(evidence.sources) < len(evidence.datasets) else ""
        parts.append(f"Average: over {these} ({listed(evidence.datasets)}){once}, no others.")
    lost = {
        f"{cell.method} on {cell.dataset}": f"{len(cell.seeds)} of {len(cell.declared)} seeds"
        + (f", {len(cell.failures)} failed" if cell.failures else "")
        for cell in evidence.cells.values()
        if cell.failures or cell.missing
    }
    if lost:
        parts.append(f"{_LOST}: seeds are lacking ({'; '.join(f'{name}: {text}' for name, text in lost.items())}).")
    return " ".join(part for part in parts if part)
