"""From evidence to everything that a report says about methods against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from analysis.comparison.evidence import Evidence
from analysis.comparison.pairs import DatasetValues, Pair, Score
from analysis.comparison.robustness import Robustness, robustness
from analysis.comparison.verdicts import Comparison, Role, average, judge
from analysis.stats.cautions import (
    Caution,
    collapsed_seeds,
    lost_seeds,
    unequal_budgets,
    unplanned_looks,
    unreachable_floor,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Everything that a report says about methods against each other."""

    evidence: Evidence
    scores: tuple[Score, ...]
    comparisons: tuple[Comparison, ...]
    averages: tuple[Comparison, ...]
    robustness: tuple[Robustness, ...]
    cautions: tuple[Caution, ...]
    """Reservations about the whole; those of datasets and cells name them."""

    def score(self, dataset: str, method: str, metric: str | None = None) -> Score | None:
        """One score, by default of the primary metric."""
        wanted = (dataset, method, metric or self.evidence.plan.metric)
        return next((one for one in self.scores if (one.dataset, one.method, one.metric) == wanted), None)

    def of(self, role: Role, dataset: str | None = None) -> list[Comparison]:
        """The comparisons of a role, of one dataset or of all."""
        return [
            one for one in self.comparisons if one.role == role and (dataset is None or one.pair.dataset == dataset)
        ]


def analyse(evidence: Evidence, each: Callable[[DatasetValues], None] | None = None) -> Analysis:
    """Compare all methods on all datasets.

    Args:
        evidence: what is known.
        each: called once for each dataset while its predictions are at hand, for what else needs them.
    """
    plan = evidence.plan
    scores: list[Score] = []
    pairs: list[Pair] = []
    halves: dict[str, list[Pair]] = {"the first half of the seeds": [], "the second half of the seeds": []}
    cautions: list[Caution] = list(evidence.cautions)
    for dataset in evidence.datasets:
        values = DatasetValues(evidence, dataset)
        scores += values.scores()
        pairs += values.pairs(plan.metrics)
        for half, part in zip(halves.values(), _halves(evidence, dataset), strict=True):
            half += values.pairs((plan.metric,), part)
        cautions += [replace(one, sentence=f"{dataset}: {one.sentence}") for one in values.cautions]
        cautions += _of_cells(evidence, dataset)
        if each is not None:
            each(values)
    by_metric = {name: [one for one in pairs if one.metric == name] for name in plan.metrics}
    comparisons = [one for own in by_metric.values() for one in judge(own, evidence)]
    averages = average(by_metric[plan.metric], evidence)
    exact = min((len(one.seeds) for one in by_metric[plan.metric] if one.seeds), default=0)
    declared = plan.size(len(evidence.methods), len(evidence.datasets))
    floor = unreachable_floor(exact, declared, plan.alpha) if exact and declared else None
    return Analysis(
        evidence=evidence,
        scores=tuple(scores),
        comparisons=tuple(comparisons),
        averages=tuple(averages),
        robustness=tuple(robustness(evidence, pairs, comparisons, averages, halves)),
        cautions=tuple(dict.fromkeys((*cautions, *(() if floor is None else (floor,))))),
    )


def _halves(evidence: Evidence, dataset: str) -> tuple[slice, slice]:
    """The first and the second half of the seeds of a dataset."""
    most = max((len(cell.seeds) for (name, _), cell in evidence.cells.items() if name == dataset), default=0)
    return slice(0, most // 2), slice(most // 2, None)


def _of_cells(evidence: Evidence, dataset: str) -> Iterator[Caution]:
    """Reservations about single methods on a dataset, and about how they were treated."""
    plan = evidence.plan
    cells = {method: cell for (name, method), cell in evidence.cells.items() if name == dataset}
    for method, cell in cells.items():
        values = {seed: value for seed, value in cell.scores.get(plan.metric, {}).items() if value is not None}
        chance = evidence.chance(dataset)
        places = [] if chance is None or not values else collapsed_seeds(list(values.values()), chance)
        collapsed = sorted(list(values)[place] for place in places)
        said = [*cell.cautions, lost_seeds(len(cell.declared), sorted(cell.failures), collapsed)]
        if plan.looks and cell.seeds:
            said.append(unplanned_looks(plan.looks, len(cell.seeds)))
        for one in said:
            if one is not None:
                yield replace(one, sentence=f"{dataset}, {method}: {one.sentence}")
    budgets = {method: float(cell.search_trials) for method, cell in cells.items() if cell.search_trials is not None}
    unequal = unequal_budgets(budgets)
    if unequal is not None:
        yield replace(unequal, sentence=f"{dataset}: {unequal.sentence}")
