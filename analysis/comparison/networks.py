"""Does a verdict hold on every network, and does the difference change from network to network?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from analysis.comparison.combined import Combined
from analysis.comparison.compare import Analysis
from analysis.comparison.verdicts import Comparison
from analysis.stats.decisions import Verdict
from analysis.stats.estimate import Estimate
from analysis.stats.interaction import Interaction, interaction
from analysis.stats.multiplicity import adjust


@dataclass(frozen=True, slots=True, kw_only=True)
class OnNetworks:
    """One declared pair on one dataset, network by network."""

    dataset: str
    first: str
    second: str
    comparisons: Mapping[str, Comparison]
    """Network → the comparison on it."""
    interaction: Interaction
    family: int
    p_adjusted: float | None
    """Of no interaction, corrected for all pairs of methods and datasets that are looked at."""

    @property
    def everywhere(self) -> Verdict | None:
        """The verdict, where it is the same on every network: that each of them was shown is a claim about all
        (intersection-union); None where they differ.
        """
        outcomes = {one.outcome for one in self.comparisons.values()}
        return outcomes.pop() if len(outcomes) == 1 else None


def on_networks(analysis: Analysis, networks: Mapping[str, Mapping[str, str]]) -> list[OnNetworks]:
    """Every declared pair on each dataset, network by network, and whether its difference changes.

    Args:
        analysis: in which each network is a dataset label of its own, with the same test cases.
        networks: dataset → network → label; datasets with one network alone are left out.
    """
    found = list(_found(analysis, networks))
    raw = [one.p for *_, one in found]
    known = [p for p in raw if p is not None]
    adjusted = iter(adjust(known, analysis.evidence.plan.correction, len(found)).tolist() if found else [])
    return [
        OnNetworks(
            dataset=dataset,
            first=first,
            second=second,
            comparisons=comparisons,
            interaction=tested,
            family=len(found),
            p_adjusted=None if p is None else next(adjusted),
        )
        for (dataset, first, second, comparisons, tested), p in zip(found, raw, strict=True)
    ]


def _found(
    analysis: Analysis, networks: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, str, str, dict[str, Comparison], Interaction]]:
    by_place = {(one.pair.dataset, one.pair.first, one.pair.second): one for one in analysis.of("primary")}
    for dataset, labels in networks.items():
        if len(labels) < 2:
            continue
        combined = Combined(analysis.evidence, tuple(labels.values()))
        for first, second in analysis.evidence.plan.pairs(analysis.evidence.ordered):
            own = {name: by_place.get((label, first, second)) for name, label in labels.items()}
            made = {name: one for name, one in own.items() if one is not None and one.pair.estimate is not None}
            if len(made) == len(labels):
                tested = _interaction(combined, list(labels.values()), first, second)
                if tested is not None:
                    yield dataset, first, second, made, tested


def _interaction(combined: Combined, labels: Sequence[str], first: str, second: str) -> Interaction | None:
    def weights(a: int, b: int) -> dict[tuple[str, str], float]:
        one, other = labels[a], labels[b]
        return {(one, first): 1.0, (one, second): -1.0, (other, first): -1.0, (other, second): 1.0}

    def change(a: int, b: int) -> Estimate:
        found = combined.estimate(weights(a, b))
        assert found is not None
        return found

    places = [(a, b) for a in range(len(labels)) for b in range(a)]
    if any(len(combined.seeds(weights(a, b))) < 2 for a, b in places):
        return None
    return interaction(len(labels), change)
