"""Words and numbers that the tables of a comparison share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from analysis.comparison.compare import Analysis
from analysis.comparison.phrases import counted
from analysis.comparison.scores import Pair
from analysis.comparison.verdicts import Comparison
from analysis.stats.estimate import Estimate
from analysis.stats.scopes import DrawnAnew, scope_phrase, widest_first
from harness.pages.contents import NOT_AVAILABLE, number

_MARKS = "‡§¶#"
"""Of scopes after the widest; † is taken."""
CORRECTIONS = {
    "holm": "Holm's correction",
    "bonferroni": "Bonferroni's correction",
    "none": "no correction for their number",
}
UNCORRECTED = "Intervals and p are not corrected for the number of comparisons, p adjusted is."


@dataclass(frozen=True, slots=True)
class Scopes:
    """What the intervals in one table draw anew: marked where they differ, and explained."""

    kinds: tuple[DrawnAnew, ...]

    @classmethod
    def of(cls, kinds: Iterable[DrawnAnew | None]) -> Scopes:
        """Those that occur, the widest first; None stands for what has no interval."""
        return cls(widest_first(kind for kind in kinds if kind is not None))

    def mark(self, kind: DrawnAnew | None) -> str:
        """A sign after the interval; none where all are of one kind."""
        place = self.kinds.index(kind) if kind in self.kinds else 0
        return _MARKS[(place - 1) % len(_MARKS)] * (1 + (place - 1) // len(_MARKS)) if place else ""

    @property
    def sentence(self) -> str:
        """What the intervals of the table hold for, where the section cannot say it because they differ."""
        if not self.kinds:
            return "There is no interval: one needs two seeds."
        if len(self.kinds) == 1:
            return ""
        said = []
        for kind in self.kinds:
            mark = self.mark(kind)
            said.append(f"{mark + ': ' if mark else ''}{scope_phrase(kind)}")
        return f"Scope of the intervals: {'; '.join(said)}."


def named(one: Comparison) -> str:
    """The pair, with a word where a declared comparison rests on something that was not declared."""
    changed = one.role != "exploratory" and not one.declared
    return f"{versus(one.pair)} (exploratory)" if changed else versus(one.pair)


def versus(pair: Pair) -> str:
    """The two methods in their order."""
    return f"{pair.first} vs {pair.second}"


def span(estimate: Estimate | None, digits: int, mark: str = "") -> str:
    """Both ends of an interval."""
    if estimate is None or estimate.low is None:
        return NOT_AVAILABLE
    return f"[{number(estimate.low, digits)}, {number(estimate.high, digits)}]{mark}"


def p_text(p: float | None, digits: int = 4) -> str:
    """A p value; one that would be printed as 0 is printed as a bound."""
    if p is None:
        return NOT_AVAILABLE
    least = 10.0**-digits
    return f"< {least:.{digits}f}" if p < least else number(p, digits)


def outcome(one: Comparison) -> str:
    """The verdict on the first method of a pair in words."""
    if one.pair.estimate is None:
        return "not compared"
    if any(caution.code == "below_repeat_noise" for caution in one.cautions):
        return f"{one.outcome} (repeat noise)"
    return one.outcome


def same(names: Mapping[str, str]) -> str:
    """What holds for each dataset, said once where it is the same for all."""
    different = set(names.values())
    if len(different) == 1 and len(names) > 1:
        return f"{different.pop()} on each dataset"
    return "; ".join(f"{name}: {text}" for name, text in names.items())


def sizes(analysis: Analysis) -> str:
    """Seeds, splits where there are several, and test cases of each dataset, by the primary metric."""
    metric = analysis.evidence.plan.metric
    found = {}
    for dataset in analysis.evidence.datasets:
        own = [one for one in analysis.scores if one.dataset == dataset and one.metric == metric]
        seeds = sorted({len(one.seeds) for one in own}) or [0]
        cases = max((one.pair.cases or 0 for one in analysis.comparisons if one.pair.dataset == dataset), default=0)
        units = max((one.over_both.mean_squares.cases for one in own if one.over_both is not None), default=cases)
        count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        splits = max((len(set(one.replicates.splits)) for one in own), default=1)
        known = f" on {counted(splits, 'split')}" if splits > 1 else ""
        known += f", {cases} test cases" if cases else ""
        known += f" of {analysis.evidence.about(dataset).units(units)}" if units < cases else ""
        found[dataset] = f"{count} seed{'' if seeds == [1] else 's'}{known}"
    return same(found)


def family(analysis: Analysis) -> str:
    """The declared family in words."""
    plan = analysis.evidence.plan
    return f"each method against {plan.control}" if plan.family == "vs_control" else "all pairs of methods"


def by_dataset(analysis: Analysis, comparisons: Sequence[Comparison]) -> list[tuple[str, list[Comparison]]]:
    """The comparisons of each dataset that has any."""
    groups = [(name, [one for one in comparisons if one.pair.dataset == name]) for name in analysis.evidence.datasets]
    return [(name, own) for name, own in groups if own]
