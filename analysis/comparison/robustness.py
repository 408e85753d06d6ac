"""Do the verdicts hold by other metrics, with half of the seeds, with each source of data left out?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from analysis.comparison.evidence import Evidence
from analysis.comparison.one_source import Exact
from analysis.comparison.scores import Pair
from analysis.comparison.verdicts import Comparison, averages, judge, judge_averages
from analysis.stats.cautions import VERDICT_REPLICATES
from harness.metrics.table import built_in

Place = tuple[str | None, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The verdict under other circumstances."""

    what: str
    comparison: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """A verdict and what became of it."""

    comparison: Comparison
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether every check gives the same verdict."""
        return all(check.comparison.outcome == self.comparison.outcome for check in self.checks)

    @property
    def contradicted(self) -> bool:
        """Whether a check says the opposite of a verdict that one is better."""
        opposite = {"better": "worse", "worse": "better"}.get(self.comparison.outcome)
        return any(check.comparison.outcome == opposite for check in self.checks)


def robustness(
    evidence: Evidence,
    pairs: Sequence[Pair],
    comparisons: Sequence[Comparison],
    averaged: Sequence[Comparison],
    halves: Mapping[str, Sequence[Pair]],
    exact: Exact,
) -> Iterator[Robustness]:
    """Each declared comparison, and each average, judged again.

    Args:
        evidence: of the comparison.
        pairs: every pair on every dataset by every metric.
        comparisons: the verdicts on them.
        averaged: the verdicts on averages over datasets.
        halves: name of a part of the seeds → every pair by the primary metric on that part.
        exact: as for ``average``.
    """
    plan = evidence.plan
    others = {
        name: judge(half, evidence, detectable=False)
        for name, half in halves.items()
        if any(one.replicates >= VERDICT_REPLICATES for one in half)
    }
    # Losses and calibration errors judge the probabilities, which is another question than who decides better.
    others |= {
        f"by {name}": [one for one in comparisons if one.pair.metric == name]
        for name in plan.metrics
        if name in built_in() and built_in()[name].higher_is_better and name != plan.metric
    }
    found = {name: {_key(one): one for one in judged} for name, judged in others.items()}
    for one in comparisons:
        if one.role == "primary":
            yield Robustness(comparison=one, checks=_checks(found, one))
    left_out = {}
    wanted = set(plan.pairs(evidence.ordered))
    primary = [one for one in comparisons if one.role == "primary" and one.declared]
    if len(evidence.sources) > 2:
        for source, datasets in evidence.sources.items():
            means = averages([one for one in pairs if one.metric == plan.metric], evidence, exact, without=source)
            again = judge_averages([one for one in means if (one.first, one.second) in wanted], evidence, primary)
            left_out[f"without {' and '.join(datasets)}"] = {_key(one): one for one in again}
    for one in averaged:
        yield Robustness(comparison=one, checks=_checks(left_out, one))


def _checks(found: Mapping[str, Mapping[Place, Comparison]], one: Comparison) -> tuple[Check, ...]:
    return tuple(
        Check(what=name, comparison=others[_key(one)]) for name, others in found.items() if _key(one) in others
    )


def _key(one: Comparison) -> Place:
    return one.pair.dataset, one.pair.first, one.pair.second
