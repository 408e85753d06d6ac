"""What a comparison can show with the seeds and test cases that are planned, before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.stats.cautions import unreachable_floor
from analysis.stats.multiplicity import claims_size
from analysis.stats.power import detectable_dz, detectable_noncentrality, plan_two_way, seeds_needed
from analysis.stats.twoway import Components
from harness.metrics.table import known_by_case
from harness.spec.replicates import ConfirmSpec
from harness.studies.declaration import ALPHA

SEED_SD, DISAGREEMENT = 0.01, 0.1
"""What is assumed where nothing is known: the standard deviation of a score over seeds, and on which share of the cases
two methods differ."""
MOST_SEEDS = 200


@dataclass(frozen=True, slots=True)
class Spread:
    """How paired differences between methods vary on a dataset."""

    seed_sd: float
    """Standard deviation of the difference over seeds, on one and the same test set."""
    components: Components | None
    """Variances of the difference between seeds, between cases, of the rest; None where these are not known."""
    origin: str


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest true differences that a design finds on one dataset with 80 % power at the first step."""

    dataset: str
    seeds: int
    cases: int
    units: int
    """Units among the cases: patients or lesions, or sets of identical images where these are not known."""
    seeds_only: float
    """For the narrower claim: retraining, on this very test set."""
    both: float | None
    """For what the report claims: retraining and new cases, or new training and test sets; None where the spread over
    cases is not known, or the report claims the narrower thing, as for a plugin's metric."""
    seeds_for_wanted: int | None
    """Seeds that would find the wanted difference; None where none is wanted, or no number of seeds would."""
    spread: Spread
    splits: int = 1
    """Splits that the replicates draw; from 2 on ``both`` is for new training and test sets."""

    @property
    def decisive(self) -> float:
        """The one of the widest claim of which anything is known."""
        return self.seeds_only if self.both is None else self.both


@dataclass(frozen=True, slots=True)
class Family:
    """The declared comparisons."""

    size: int
    level: float
    """Of the correction's first step."""
    floor: float
    """Smallest corrected p value of an exact test over the planned seeds."""
    reachable: bool
    """Whether an exact test can reach significance at all."""
    seeds_for_exact: int
    """Seeds with which one could."""
    caution: str | None


def assumed(seed_sd: float, disagreement: float, metric: str, origin: str) -> Spread:
    """The spread of differences of two methods that do not share their seeds' luck.

    Each score has the variance ``seed_sd²`` over seeds, so their difference has twice that. Single cases differ on a
    share of ``disagreement``; all of that is taken to stay the same from seed to seed, which is the careful end: more
    seeds do not lower it.

    Args:
        metric: where it is no share of right answers, nothing is assumed of the cases.
        origin: where the spread over seeds comes from; what is assumed of the cases is added.
    """
    variance = 2 * seed_sd**2
    components = Components(seed=variance, case=disagreement, interaction=0.0) if is_share(metric) else None
    return Spread(math.sqrt(variance), components, f"{origin}{over_cases(metric, disagreement)}")


def is_share(metric: str) -> bool:
    """Whether a metric is a share of right answers, or takes steps about as large: in [0, 1], more is better.

    Two methods then differ by about 1 on a case that they answer differently. MCC and kappa make larger steps, losses
    and calibration errors take steps of any size.
    """
    known = known_by_case().get(metric)
    return known is not None and known.higher_is_better and known.bounds == (0.0, 1.0)


def over_cases(metric: str, disagreement: float) -> str:
    """What is assumed of the spread over cases, as the end of a sentence."""
    if is_share(metric):
        return f"; two methods differ on {100 * disagreement:.2g} % of the cases"
    if metric in known_by_case():
        return "; nothing is assumed of the spread over test cases, which the report counts too"
    return ""


def family(confirm: ConfirmSpec, seeds: int, methods: int, datasets: int) -> Family | None:
    """The declared family; None with a single method."""
    if methods < 2:
        return None
    size = claims_size(methods, confirm.family or "all_pairs", datasets)
    corrected = 1 if confirm.correction == "none" else size
    caution = unreachable_floor(seeds, corrected, ALPHA)
    floor = min(1.0, 2.0 ** (1 - seeds) * corrected)
    return Family(
        size=size,
        level=ALPHA / corrected,
        floor=floor,
        reachable=caution is None,
        seeds_for_exact=1 + math.ceil(math.log2(corrected / ALPHA)),
        caution=None if caution is None else caution.sentence,
    )


@dataclass(frozen=True, slots=True)
class DrawnSplits:
    """What the replicates of a design draw anew beside their seeds."""

    splits: int = 1
    overlap: float = 0.0
    """Test images for each training image of a split."""
    one_side: bool = False
    """Whether all splits are tested on the same cases, as on those of a domain that is left out."""

    def detectable(self, components: Components, seeds: int, units: int, level: float) -> float:
        """Smallest difference found with 80 % power.

        One split: by the two-way analysis. Several: by that of Nadeau and Bengio (Machine Learning 52, 2003), in which
        splits differ by their test cases and, where each replicate has its own, by the luck of its training. Cases that
        all splits share add their variance to that between splits.
        """
        if self.splits < 2:
            return plan_two_way(components, seeds, units, level).detectable
        shared = components.case / units if self.one_side else 0.0
        between, within = (components.case + components.interaction) / units - shared, components.seed
        if seeds <= self.splits:
            between, within = between + within, 0.0
        splits = min(seeds, self.splits)
        error = math.sqrt((1 / splits + self.overlap) * between + within / seeds + shared)
        return detectable_noncentrality(splits - 1, level) * error


def detectable(
    dataset: str,
    seeds: int,
    cases: int,
    units: int,
    level: float,
    spread: Spread,
    wanted: float | None,
    drawn: DrawnSplits = DrawnSplits(),
) -> Detectable:
    """What a design finds on one dataset.

    Args:
        dataset: its label.
        seeds: one a replicate.
        cases: on the test side.
        units: among these.
        level: of one test, after the correction.
        spread: of differences.
        wanted: a difference that the sweep is to find, in units of the metric.
        drawn: what replicates draw beside their seeds.

    Raises:
        ValueError: fewer than two seeds or cases.
    """
    components = spread.components
    both = None if components is None else drawn.detectable(components, seeds, units, level)
    enough = None
    if wanted is not None and components is None:
        enough = seeds_needed(wanted / spread.seed_sd, level)
    elif wanted is not None and components is not None:
        # With a split for each replicate, more replicates are more splits.
        more = replace(drawn, splits=MOST_SEEDS) if 1 < seeds == drawn.splits else drawn
        enough = _fewest(lambda number: more.detectable(components, number, units, level) <= wanted)
    alone = detectable_dz(seeds, level) * spread.seed_sd
    return Detectable(dataset, seeds, cases, units, alone, both, enough, spread, drawn.splits)


def _fewest(finds: Callable[[int], bool]) -> int | None:
    """The fewest seeds that find the wanted difference; None where no number does."""
    if not finds(MOST_SEEDS):
        return None
    low, high = 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if finds(middle) else (middle, high)
    return high


def spread_for(dataset: str, known: Mapping[str, Spread], fallback: Spread) -> Spread:
    """The spread of a dataset: its own, else that of the earlier run's other datasets, else the assumption."""
    if dataset in known:
        return known[dataset]
    others: Sequence[Spread] = sorted(known.values(), key=lambda spread: spread.seed_sd)
    return others[len(others) // 2] if others else fallback
