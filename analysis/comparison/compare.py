"""From evidence to everything that a report says about methods against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.comparison.draws import cells_on, search_cautions, tuning_cautions
from analysis.comparison.evidence import Evidence, Predictions
from analysis.comparison.names import spelling_cautions
from analysis.comparison.one_source import CaseDifferences, Exact, exact_means
from analysis.comparison.pairs import DatasetValues
from analysis.comparison.robustness import Robustness, robustness
from analysis.comparison.scores import MethodScore, Pair
from analysis.comparison.verdicts import Comparison, Role, averages, judge
from analysis.stats.cautions import (
    Caution,
    LostSeeds,
    lost_seeds,
    unequal_budgets,
    unplanned_looks,
    unreachable_floor,
)
from harness.core.origin import one_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Everything that a report says about methods against each other."""

    evidence: Evidence
    scores: tuple[MethodScore, ...]
    comparisons: tuple[Comparison, ...]
    averages: tuple[Comparison, ...]
    robustness: tuple[Robustness, ...]
    exact_means: Exact
    """Of sources with several datasets of the same cases, which averages count once."""
    cautions: tuple[Caution, ...]
    """Reservations about the whole; those of datasets and cells name them."""
    itself: tuple[Comparison, ...] = ()
    """The control's twin against the control, on each dataset and on average; empty without a twin.

    Each is judged alone by the primary metric at the level of the plan, without correction. The two are one method: if
    what the design varies were all that differs between them, 5 in 100 such comparisons would be called different."""

    def score(self, dataset: str, method: str, metric: str | None = None) -> MethodScore | None:
        """One score, by default of the primary metric."""
        wanted = (dataset, method, metric or self.evidence.plan.metric)
        return next((one for one in self.scores if (one.dataset, one.method, one.metric) == wanted), None)

    @property
    def primary(self) -> Analysis:
        """The scores and declared comparisons by the primary metric alone: what figures show, and little to send."""
        metric = self.evidence.plan.metric
        return replace(
            self,
            evidence=replace(self.evidence, predictions=_no_predictions),
            scores=tuple(one for one in self.scores if one.metric == metric),
            comparisons=tuple(self.of("primary")),
            robustness=(),
        )

    def of(self, role: Role, dataset: str | None = None) -> list[Comparison]:
        """The comparisons of a role, of one dataset or of all."""
        return [
            one for one in self.comparisons if one.role == role and (dataset is None or one.pair.dataset == dataset)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFindings:
    """What the data of one dataset say, before any correction for the number of comparisons."""

    scores: tuple[MethodScore, ...]
    pairs: tuple[Pair, ...]
    halves: tuple[tuple[Pair, ...], tuple[Pair, ...]]
    """The pairs by the primary metric on the first and on the second half of the seeds."""
    cautions: tuple[Caution, ...]
    by_case: Mapping[tuple[str, str], CaseDifferences]
    """Pair of methods → differences by the primary metric; empty where no other dataset is of the same source."""


def analyse(evidence: Evidence, each: Callable[[DatasetValues], None] | None = None) -> Analysis:
    """Compare all methods on all datasets.

    Args:
        evidence: what is known.
        each: called once for each dataset while its predictions are at hand, for what else needs them.
    """
    return judged(evidence, [findings_on(evidence, dataset, each) for dataset in evidence.datasets])


def findings_on(
    evidence: Evidence, dataset: str, each: Callable[[DatasetValues], None] | None = None
) -> DatasetFindings:
    """The part of ``analyse`` that needs the predictions of one dataset, and takes nearly all of the time."""
    plan, values = evidence.plan, DatasetValues(evidence, dataset)
    first, second = (tuple(values.pairs((plan.metric,), part)) for part in _halves(evidence, dataset))
    said = [replace(one, sentence=f"{dataset}: {one.sentence}") for one in values.cautions]
    if each is not None:
        each(values)
    pairs = tuple(values.pairs(plan.metrics))
    merged = len(evidence.sources[evidence.about(dataset).source]) > 1
    tables = {(one.first, one.second): values.by_case(one) for one in pairs if merged and one.metric == plan.metric}
    scores = tuple(values.scores())
    collapsed = {one.method: one.collapsed for one in scores if one.metric == plan.metric}
    return DatasetFindings(
        scores=scores,
        pairs=pairs,
        by_case={pair: table for pair, table in tables.items() if table is not None},
        halves=(first, second),
        cautions=(*said, *_of_cells(evidence, dataset, collapsed)),
    )


def judged(evidence: Evidence, parts: Sequence[DatasetFindings]) -> Analysis:
    """The verdicts on what was found, corrected for the declared families.

    Args:
        evidence: what is known.
        parts: what was found on each of its datasets, in their order.
    """
    plan = evidence.plan
    pairs = [one for part in parts for one in part.pairs]
    halves = {
        "the first half of the seeds": [one for part in parts for one in part.halves[0]],
        "the second half of the seeds": [one for part in parts for one in part.halves[1]],
    }
    cautions = [
        *evidence.cautions,
        *(
            Caution("one_source", one_source(labels, name, [evidence.in_file_of(label) for label in labels]))
            for name, labels in evidence.sources.items()
            if labels[1:]
        ),
        *spelling_cautions(evidence),
        *(one for part in parts for one in part.cautions),
    ]
    by_metric = {name: [one for one in pairs if one.metric == name] for name in plan.metrics}
    wanted = set(plan.pairs(evidence.ordered))
    exact = exact_means(evidence, {name: part.by_case for name, part in zip(evidence.datasets, parts, strict=True)})
    means = averages(by_metric[plan.metric], evidence, exact)
    by_metric[plan.metric] += [one for one in means if (one.first, one.second) in wanted]
    found = [one for own in by_metric.values() for one in judge(own, evidence)]
    comparisons = [one for one in found if one.pair.dataset is not None]
    averaged = [one for one in found if one.pair.dataset is None]
    # Replicates on several splits have no exact test, with however many seeds.
    fewest = min((len(one.seeds) for one in by_metric[plan.metric] if one.seeds and not one.drawn.sets), default=0)
    declared = plan.size(len(evidence.methods), len(evidence.datasets))
    floor = unreachable_floor(fewest, declared, plan.alpha) if fewest and declared else None
    return Analysis(
        evidence=evidence,
        scores=tuple(one for part in parts for one in part.scores),
        comparisons=tuple(comparisons),
        averages=tuple(averaged),
        exact_means=exact,
        robustness=tuple(robustness(evidence, pairs, comparisons, averaged, halves, exact)),
        cautions=tuple(dict.fromkeys((*cautions, *(() if floor is None else (floor,))))),
        itself=() if evidence.twin is None else _with_itself(analyse(evidence.twin)),
    )


def _with_itself(twin: Analysis) -> tuple[Comparison, ...]:
    return (*twin.of("primary"), *twin.averages)


def _no_predictions(dataset: str) -> Predictions | None:
    return None


def _halves(evidence: Evidence, dataset: str) -> tuple[slice, slice]:
    """The first and the second half of the seeds of a dataset."""
    most = max((len(cell.seeds) for (name, _), cell in evidence.cells.items() if name == dataset), default=0)
    return slice(0, most // 2), slice(most // 2, None)


def _of_cells(evidence: Evidence, dataset: str, collapsed: Mapping[str, Sequence[int]]) -> Iterator[Caution]:
    """Reservations about single methods on a dataset, and about how they were treated."""
    plan = evidence.plan
    cells = cells_on(evidence, dataset)
    tuned = () if dataset in evidence.one_test_side else tuning_cautions(cells)
    for caution in (*tuned, *search_cautions(cells)):
        yield replace(caution, sentence=f"{dataset}: {caution.sentence}")
    for method, cell in cells.items():
        looked = unplanned_looks(plan.looks, len(cell.seeds)) if plan.looks and cell.seeds else None
        for one in (*cell.cautions, looked):
            if one is not None:
                yield replace(one, sentence=f"{dataset}, {method}: {one.sentence}")
    budgets = {method: float(cell.search_trials) for method, cell in cells.items() if cell.search_trials is not None}
    lost = {name: LostSeeds(len(cell.declared), sorted(cell.failures), collapsed[name]) for name, cell in cells.items()}
    for of_all in (lost_seeds(lost), unequal_budgets(budgets)):
        if of_all is not None:
            yield replace(of_all, sentence=f"{dataset}: {of_all.sentence}")
