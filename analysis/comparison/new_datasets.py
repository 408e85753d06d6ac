"""What the methods may be expected to do on new datasets: each source of data is one observation.

However many seeds there are, and however many datasets of one source: their scores are averaged first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.comparison.compare import Analysis
from analysis.stats.across_datasets import population_mean, source_means
from analysis.stats.cautions import few_datasets_for_population, refuse
from analysis.stats.estimate import Estimate
from analysis.stats.multiplicity import adjust
from analysis.stats.ranks import Friedman, friedman, nemenyi_p


@dataclass(frozen=True, slots=True)
class Ranks:
    """Mean ranks over the sources of the methods that have a score on every dataset."""

    methods: tuple[str, ...]
    test: Friedman

    def nemenyi(self, first: str, second: str) -> float | None:
        """Nemenyi's p value of two methods, corrected for all pairs; None where one of them is not ranked."""
        if first not in self.methods or second not in self.methods:
            return None
        places = self.methods.index(first), self.methods.index(second)
        return float(nemenyi_p(self.test.mean_ranks, self.test.datasets)[places])


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDatasets:
    """One declared comparison as a claim about new datasets."""

    first: str
    second: str
    difference: Estimate | None
    """First minus second by the primary metric; None where a dataset lacks one of them."""
    p_adjusted: float | None
    family: int
    nemenyi_p: float | None
    """Of the mean ranks, corrected for all pairs; None for fewer than three methods."""


def ranks_of(analysis: Analysis) -> Ranks | None:
    """Ranks by the mean over seeds of the primary metric; None for fewer than three complete methods.

    Raises:
        Refused: fewer than six sources.
    """
    evidence, plan = analysis.evidence, analysis.evidence.plan
    refuse(few_datasets_for_population(len(evidence.sources)))
    means = {
        method: [None if (score := analysis.score(name, method)) is None else score.mean for name in evidence.datasets]
        for method in evidence.methods
    }
    complete = {
        method: source_means([value for value in values if value is not None], evidence.source_of)
        for method, values in means.items()
        if None not in values
    }
    if len(complete) < 3:
        return None
    table = np.array(list(complete.values())).T
    return Ranks(tuple(complete), friedman(table, tuple(evidence.sources), plan.higher_is_better(plan.metric)))


def on_new_datasets(analysis: Analysis) -> Sequence[NewDatasets]:
    """Every declared comparison by the primary metric, a family of its own.

    Raises:
        Refused: fewer than six sources.
    """
    evidence, plan = analysis.evidence, analysis.evidence.plan
    ranks = ranks_of(analysis)
    found: dict[tuple[str, str], dict[str, float]] = {pair: {} for pair in plan.pairs(evidence.ordered)}
    for one in analysis.of("primary"):
        if one.pair.dataset is not None and one.pair.estimate is not None:
            found[one.pair.first, one.pair.second][one.pair.dataset] = one.pair.estimate.estimate
    differences = {
        pair: population_mean(
            source_means([own[name] for name in evidence.datasets], evidence.source_of), plan.confidence
        )
        if len(own) == len(evidence.datasets)
        else None
        for pair, own in found.items()
    }
    raw = {pair: None if mean is None else mean.p_value() for pair, mean in differences.items()}
    known = {pair: p for pair, p in raw.items() if p is not None}
    corrected = dict(zip(known, adjust(list(known.values()), plan.correction, len(found)).tolist(), strict=True))
    return [
        NewDatasets(
            first=first,
            second=second,
            difference=mean,
            p_adjusted=corrected.get((first, second)),
            family=len(found),
            nemenyi_p=None if ranks is None else ranks.nemenyi(first, second),
        )
        for (first, second), mean in differences.items()
    ]
