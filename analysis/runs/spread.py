"""How far pairs of methods of a finished run differ from seed to seed and from case to case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from analysis.comparison.pairs import DatasetValues
from analysis.comparison.scores import Pair
from analysis.runs.evidence import evidence_of
from analysis.stats.twoway import Components, TwoWay
from harness.run.directory import RunDirectory


@dataclass(frozen=True, slots=True)
class PairSpread:
    """The median spread over all pairs of methods on a dataset."""

    seed_sd: float
    """Standard deviation of the difference over seeds, on one and the same test set."""
    components: Components | None
    """Variances of the difference; None where there are no predictions."""
    pairs: int


def spreads_of(run: RunDirectory, metric: str) -> dict[str, PairSpread]:
    """Dataset → spread of the difference in ``metric``; without datasets where nothing was compared.

    Raises:
        RequestError: a file of the run is not readable.
    """
    evidence = evidence_of([run])
    evidence = replace(evidence, plan=replace(evidence.plan, metric=metric, metrics=(metric,)))
    found = {name: _spread(list(DatasetValues(evidence, name).pairs((metric,)))) for name in evidence.datasets}
    return {name: spread for name, spread in found.items() if spread is not None}


def _spread(pairs: Sequence[Pair]) -> PairSpread | None:
    deviations = [
        one.over_seeds.standard_error * math.sqrt(len(one.seeds))
        for one in pairs
        if one.over_seeds is not None and one.over_seeds.standard_error is not None
    ]
    if not deviations:
        return None
    parts = [one.estimate.components for one in pairs if isinstance(one.estimate, TwoWay)]
    components = None
    if parts:
        components = Components(
            seed=max(0.0, median(part.seed for part in parts)),
            case=max(0.0, median(part.case for part in parts)),
            interaction=median(part.interaction for part in parts),
        )
    return PairSpread(median(deviations), components, len(pairs))
