"""Several datasets of one source: their mean, with what their cases have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.comparison.evidence import Evidence
from analysis.stats.across_datasets import bounded_mean
from analysis.stats.estimate import Estimate, FloatArray
from analysis.stats.twoway import TwoWay, two_way


@dataclass(frozen=True, slots=True, eq=False)
class CaseDifferences:
    """The paired differences of two methods on one dataset by a metric that is a mean over cases."""

    seeds: tuple[int, ...]
    case_ids: tuple[str, ...]
    """Ascending."""
    groups: npt.NDArray[np.int64] | None
    """Shape (cases,), as ``Predictions.groups``."""
    values: FloatArray
    """Shape (seeds, cases)."""

    def matches(self, other: CaseDifferences) -> bool:
        """Whether both are about the same seeds and cases, which belong together in the same way."""
        if (self.seeds, self.case_ids) != (other.seeds, other.case_ids):
            return False
        if self.groups is None or other.groups is None:
            return self.groups is other.groups
        return np.array_equal(self.groups, other.groups)


Exact = Mapping[tuple[str, str, str], TwoWay]
"""(source, first method, second method) → the mean difference over the source's datasets."""


def exact_means(
    evidence: Evidence, by_case: Mapping[str, Mapping[tuple[str, str], CaseDifferences]]
) -> dict[tuple[str, str, str], TwoWay]:
    """The mean differences over the datasets of each source that has several with the same test cases and seeds.

    The table of the mean differences, seeds × cases, holds all that the datasets have in common: its two-way analysis
    is that of the mean.

    Args:
        evidence: of the comparison.
        by_case: dataset → pair of methods → their differences by the primary metric, where there are predictions.
    """
    return dict(_exact(evidence, by_case))


def _exact(
    evidence: Evidence, by_case: Mapping[str, Mapping[tuple[str, str], CaseDifferences]]
) -> Iterator[tuple[tuple[str, str, str], TwoWay]]:
    for source, datasets in evidence.sources.items():
        first, *others = [by_case.get(dataset, {}) for dataset in datasets]
        for pair, table in first.items() if others else ():
            rest = [one[pair] for one in others if pair in one and one[pair].matches(table)]
            if len(rest) == len(others):
                mean = np.mean([table.values, *(one.values for one in rest)], axis=0)
                yield (source, *pair), two_way(mean, table.groups, evidence.plan.confidence)


def mean_of_source(estimates: Sequence[Estimate], exact: TwoWay | None, confidence: float) -> Estimate:
    """One estimate for a source.

    Args:
        estimates: one for each of its datasets.
        exact: the analysis of their mean, where their cases are the same.
        confidence: coverage in (0, 1).
    """
    if len(estimates) == 1:
        return estimates[0]
    return bounded_mean(estimates, confidence) if exact is None else exact
