"""What one method and one pair of methods come to on a dataset, before any correction for their number."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from analysis.comparison.draws import Replicates
from analysis.stats.cautions import (
    Caution,
)
from analysis.stats.effects import Effects
from analysis.stats.estimate import Estimate
from analysis.stats.paired import ExactTest
from analysis.stats.scopes import DrawnAnew
from analysis.stats.twoway import TwoWay
from analysis.stats.variance import VarianceShares

Interval = Literal["two_way", "over_images", "over_splits", "over_searches", "t_over_seeds", "fixed_datasets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The difference of two methods on one dataset (None: averaged over ``datasets``) by one metric."""

    dataset: str | None
    metric: str
    first: str
    second: str
    seeds: tuple[int, ...]
    """Those that both methods have, by which they are paired."""
    replicates: int = 0
    """Independent draws behind the estimate, of what there are fewest of: splits, shared searches, trainings; of an
    average the fewest on any dataset."""
    splits: int = 1
    """Different splits behind the estimate; of an average the most on any dataset."""
    cases: int | None = None
    """Test cases behind the interval; None where it rests on one score a replicate."""
    datasets: tuple[str, ...] = ()
    sources: int = 1
    """How many sources the datasets have, each of which has the same weight."""
    in_file: int = 1
    """How many datasets of the sweep file they are: several may be tasks of one."""
    interval: Interval | None = None
    drawn: DrawnAnew = field(default_factory=DrawnAnew)
    """What the interval draws anew; of an average what it does on each of the datasets."""
    estimate: Estimate | None = None
    """First minus second, in units of the metric; None where no comparison is possible, and ``cautions`` say why."""
    over_seeds: Estimate | None = None
    """The narrower claim: retraining, scored on these very test cases. None where each replicate has a split of its
    own: what retraining changes cannot be told from what the split changes."""
    effects: Effects | None = None
    sign_flip: ExactTest | None = None
    wilcoxon: ExactTest | None = None
    repeat_noise: float = 0.0
    """Largest change of the metric that a repetition with the same seed showed in either method."""
    cautions: tuple[Caution, ...] = ()

    @property
    def alone(self) -> bool:
        """Whether each replicate is an independent draw of all that varies, which exact tests suppose."""
        return self.splits == 1 and self.replicates == len(self.seeds)

    @property
    def unit(self) -> Literal["split", "search", "replicate"]:
        """What ``replicates`` counts: of what there are fewest of."""
        if self.drawn.sets and self.replicates == self.splits:
            return "split"
        return "replicate" if self.dataset is None or self.replicates == len(self.seeds) else "search"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodScore:
    """One method on one dataset by one metric."""

    dataset: str
    method: str
    metric: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    """By seed; empty where one seed leaves the metric undefined: a mean of the others would hide that."""
    over_seeds: Estimate | None
    over_both: TwoWay | None
    """None without predictions, for a metric that a plugin defines, and where the replicates have several splits."""
    over_splits: Estimate | None = None
    """None where the replicates have one split."""
    by_image: bool = False
    """Whether that counts the images that the splits share."""
    replicates: Replicates = field(default_factory=Replicates)
    collapsed: tuple[int, ...]
    """Seeds that learned next to nothing; empty where what a constant prediction scores is no fixed number."""
    spread: VarianceShares | None
    """What the uncertainty is made of; None with ``over_both`` or without any."""
    scored: str = ""
    """As ``DrawnAnew.scored``."""

    @property
    def widest(self) -> tuple[Interval, Estimate] | None:
        """The interval that covers most; None where there is none."""
        found: tuple[tuple[Interval, Estimate | None], ...] = (
            (interval_over_splits(self.replicates, self.by_image), self.over_splits),
            ("two_way", self.over_both),
            ("t_over_seeds", self.over_seeds),
        )
        # Where splits vary, what holds for these very splits alone is not what the report is about.
        possible = found[:1] if self.replicates.several_splits else found[1:]
        return next(((kind, one) for kind, one in possible if one is not None and one.low is not None), None)

    @property
    def drawn(self) -> DrawnAnew:
        """What that interval draws anew."""
        return drawn_by(None if self.widest is None else self.widest[0], self.replicates, self.scored)

    @property
    def mean(self) -> float | None:
        """Mean over seeds."""
        return float(np.mean(self.values)) if self.values else None

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over seeds, not a measure of certainty; None for one seed."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None


def interval_over_splits(replicates: Replicates, by_image: bool = False) -> Interval:
    """The interval over several splits."""
    if by_image:
        return "over_images"
    return "over_searches" if replicates.across_splits else "over_splits"


def drawn_by(interval: Interval | None, replicates: Replicates, scored: str = "") -> DrawnAnew:
    """What an interval draws anew; ``scored`` as ``DrawnAnew.scored``."""
    sets = interval in ("over_images", "over_splits", "over_searches")
    search = replicates.searches is not None
    cases, one = sets or interval == "two_way", sets and search and replicates.one_searched
    return DrawnAnew(sets=sets, cases=cases, search=search, one_searched=one, scored=scored if cases else "")
