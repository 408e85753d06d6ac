"""What the protocol refuses and what it flags, each as one sentence for a reader who is no statistician.

Every function looks at one thing and returns None where there is nothing to say. ``refuse`` turns a caution into the
error that stops a computation; all others stand beside a number that is still worth printing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.core.errors import RequestError

VERDICT_REPLICATES, FEW_REPLICATES = 3, 5
EXACT_TEST_SEEDS = 6
PERCENTILE_SEEDS = 20
POPULATION_DATASETS, MANY_DATASETS = 6, 10
CLASS_CASES = 30
TIE_FRACTION = 0.20
UNEQUAL_SPREAD = 3.0


@dataclass(frozen=True, slots=True)
class Caution:
    """One reservation."""

    code: str
    """Stable name for machines."""
    sentence: str


class Refused(RequestError):
    """A statistic that would mislead; the message is the sentence of its caution."""

    def __init__(self, caution: Caution) -> None:
        super().__init__(caution.sentence)
        self.caution = caution


def refuse(caution: Caution | None) -> None:
    """Raise ``Refused`` if there is a caution."""
    if caution is not None:
        raise Refused(caution)


# Refusals


def few_seeds_for_exact_test(seeds: int) -> Caution | None:
    """Below six pairs an exact two-sided test cannot reach 0.05."""
    if seeds >= EXACT_TEST_SEEDS:
        return None
    floor = 2.0 ** (1 - seeds) if seeds else 1.0
    return Caution(
        "few_seeds_for_exact_test",
        f"With {_count(seeds, 'paired seed')} the smallest p value that an exact test can give is {floor:.3g}, so it "
        f"could never be significant at 0.05; run at least {EXACT_TEST_SEEDS} seeds, or read the interval instead.",
    )


def few_seeds_for_percentile(seeds: int) -> Caution | None:
    """Percentile and BCa bootstraps over few seeds are far too narrow."""
    if seeds >= PERCENTILE_SEEDS:
        return None
    return Caution(
        "few_seeds_for_percentile",
        f"A bootstrap of {_count(seeds, 'seed')} gives an interval that is too narrow; it needs {PERCENTILE_SEEDS} "
        "seeds, use the t interval instead.",
    )


def few_datasets_for_population(datasets: int) -> Caution | None:
    """A claim about new datasets needs six of them."""
    if datasets >= POPULATION_DATASETS:
        return None
    return Caution(
        "few_datasets_for_population",
        f"{_count(datasets, 'dataset')} cannot speak for datasets that were not tried (at least {POPULATION_DATASETS} "
        "are needed); read the average over exactly these datasets instead.",
    )


def pooled_seeds(blocks: Sequence[str]) -> Caution | None:
    """Seeds of one dataset used as if they were datasets (``blocks``: the dataset of each row of a rank test)."""
    repeated = sorted({name for name in blocks if blocks.count(name) > 1})
    if not repeated:
        return None
    return Caution(
        "pooled_seeds",
        f"Several rows of a rank test come from the same dataset ({', '.join(repeated)}): seeds are not datasets, and "
        "more of them would make false claims more likely; give one row, the mean over seeds, for each dataset.",
    )


def unequal_seeds(a: Sequence[int], b: Sequence[int]) -> Caution | None:
    """Two methods whose seeds differ and were not brought to their common ones."""
    only_a, only_b = sorted(set(a) - set(b)), sorted(set(b) - set(a))
    if not only_a and not only_b:
        return None
    parts = [
        f"{_listed(only)} only on the {side} side" for only, side in ((only_a, "first"), (only_b, "second")) if only
    ]
    return Caution(
        "unequal_seeds",
        f"The two methods were run on different seeds ({'; '.join(parts)}); compare them on the seeds that both have.",
    )


def absent_class(support: Mapping[str, int]) -> Caution | None:
    """A class without a test case leaves the mean over classes undefined (``support``: class → test cases)."""
    absent = [name for name, cases in support.items() if cases == 0]
    if not absent:
        return None
    return Caution(
        "absent_class",
        f"The test set has no case of {', '.join(absent)}, so a mean over all classes does not exist; "
        "it is not replaced by a mean over the others.",
    )


def few_seeds(seeds: int) -> Caution | None:
    """One paired seed shows no spread."""
    if seeds >= 2:
        return None
    return Caution(
        "few_seeds",
        f"The two methods have {_count(seeds, 'seed')} in common: without a second one nothing is known of how much "
        "the result changes from training to training, so they are not compared.",
    )


def nothing_in_common(reason: str) -> Caution:
    """Two methods without any pair of trials (``reason``: a clause)."""
    return Caution("nothing_in_common", f"The two methods cannot be compared: {reason}.")


def undefined_scores(metric: str, seeds: Sequence[int]) -> Caution | None:
    """Seeds that leave the metric undefined in one of two methods."""
    if not seeds:
        return None
    return Caution(
        "undefined_scores",
        f"{metric} is undefined in seed{'s' if len(seeds) > 1 else ''} {_listed(seeds)} of at least one of the two "
        "methods; a comparison of the other seeds would hide that.",
    )


# Flags


def unreachable_floor(seeds: int, family: int, alpha: float = 0.05) -> Caution | None:
    """An exact test whose smallest p value stays above ``alpha`` after the correction for ``family`` tests."""
    floor = 2.0 ** (1 - seeds)
    if floor * family <= alpha:
        return None
    needed = 1 + math.ceil(math.log2(family / alpha))
    return Caution(
        "unreachable_floor",
        f"With {_count(seeds, 'seed')} and {_count(family, 'comparison')} an exact test can never reach significance "
        f"at {alpha:g}: its smallest corrected p value is {min(1.0, floor * family):.3g}; {needed} seeds could.",
    )


def undetectable_gap(gap: float, detectable: float) -> Caution | None:
    """A difference smaller than what the design would usually find (both in units of the metric)."""
    if detectable <= abs(gap):
        return None
    return Caution(
        "undetectable_gap",
        f"The observed difference ({abs(gap):.4g}) is smaller than what this many seeds and cases would usually find "
        f"({detectable:.4g}), so that nothing was found says little.",
    )


@dataclass(frozen=True, slots=True)
class LostSeeds:
    """Seeds of one method that say less than others."""

    declared: int
    failed: Sequence[int]
    collapsed: Sequence[int]
    """Those that learned next to nothing."""


def lost_seeds(methods: Mapping[str, LostSeeds]) -> Caution | None:
    """Methods of which seeds failed or learned next to nothing."""
    told = []
    for method, seeds in methods.items():
        parts = []
        if seeds.failed:
            parts.append(f"{len(seeds.failed)} failed ({_listed(seeds.failed)})")
        if seeds.collapsed:
            parts.append(f"{len(seeds.collapsed)} learned next to nothing ({_listed(seeds.collapsed)})")
        if parts:
            told.append(f"{method}, of {_count(seeds.declared, 'declared seed')} {' and '.join(parts)}")
    if not told:
        return None
    return Caution(
        "lost_seeds",
        f"No interval describes a method well of which seeds failed or learned next to nothing: {'; '.join(told)}. "
        "What was learned, however little, is counted in all numbers.",
    )


def unequal_budgets(budgets: Mapping[str, float], unit: str = "search trials") -> Caution | None:
    """Methods that were tuned with different budgets (``budgets``: method → amount)."""
    if len(set(budgets.values())) <= 1:
        return None
    listed = ", ".join(f"{name}: {amount:g}" for name, amount in budgets.items())
    return Caution(
        "unequal_budgets",
        f"The methods were not tuned equally ({unit}: {listed}), so a difference may be due to the tuning.",
    )


def few_replicates(replicates: int) -> Caution | None:
    """Below five replicates little is known of how much a result changes; below three nothing is concluded."""
    if replicates >= FEW_REPLICATES:
        return None
    if replicates < VERDICT_REPLICATES:
        return Caution(
            "few_replicates",
            f"{_count(replicates, 'replicate')} cannot carry a verdict: two results may agree by chance, and the "
            f"comparison is called inconclusive; run at least {VERDICT_REPLICATES}, better {FEW_REPLICATES}.",
        )
    return Caution(
        "few_replicates",
        f"{_count(replicates, 'replicate')} show little of how much a result changes, so the interval is wide; "
        f"{FEW_REPLICATES} or more would be better.",
    )


def unequal_spread(first: float, second: float, replicates: int) -> Caution | None:
    """Two methods of which one changes far more between replicates (``first``, ``second``: standard deviations)."""
    from scipy.special import fdtrc

    small, large = sorted((first, second))
    if replicates < VERDICT_REPLICATES or small <= 0 or large < UNEQUAL_SPREAD * small:
        return None
    if 2 * float(fdtrc(replicates - 1, replicates - 1, (large / small) ** 2)) > 0.05:
        return None
    return Caution(
        "unequal_spread",
        f"One of the two methods changes {large / small:.0f} times as much between replicates as the other, and "
        "such scores are often skewed; intervals are then too narrow (seen: 88 to 94 in 100 cover instead of 95).",
    )


def cut_at_range() -> Caution:
    """An interval that would go beyond what the metric can be."""
    return Caution(
        "cut_at_range", "The interval is cut at the largest difference that there can be: the data say next to nothing."
    )


def few_cases(support: Mapping[str, int], unit: str = "test case") -> Caution | None:
    """Classes with fewer than thirty independent units.

    Args:
        support: class → test cases, or groups of them where cases share a patient; absent classes are refused instead.
        unit: what is counted.
    """
    few = [f"{name}: {cases}" for name, cases in support.items() if 0 < cases < CLASS_CASES]
    if not few:
        return None
    return Caution(
        "few_cases",
        f"Some classes have fewer than {CLASS_CASES} {unit}s ({', '.join(few)}); intervals are then rough.",
    )


def negative_component(names: Sequence[str]) -> Caution | None:
    """Variance components whose estimate is below zero (``names``: which)."""
    if not names:
        return None
    return Caution(
        "negative_component",
        f"The estimated variance between {' and between '.join(names)} is below zero, which means too small to be "
        "told from chance in these data; the interval uses the estimates as they are.",
    )


def unusable_variance() -> Caution:
    """The two-way variance is not above zero, or rests on less than one degree of freedom."""
    return Caution(
        "unusable_variance",
        "The variance over seeds and cases could not be estimated from these data; a larger, cautious value stands in.",
    )


def zero_variance() -> Caution:
    """All paired differences are the same number."""
    return Caution(
        "zero_variance",
        "Every paired difference is the same number, so there is no spread to judge by and no interval; "
        "check that the seed reaches the training and that these are two methods.",
    )


def many_ties(ties: float) -> Caution | None:
    """Equal or zero differences in an exact test (``ties``: their fraction in [0, 1])."""
    if ties <= TIE_FRACTION:
        return None
    return Caution(
        "many_ties",
        f"{ties:.0%} of the paired differences are zero or equal to another, so tests on ranks are coarse here.",
    )


def unplanned_looks(planned: Sequence[int], seeds: int) -> Caution | None:
    """A number of seeds at which no look was planned (``planned``: the declared numbers of seeds)."""
    if seeds in planned:
        return None
    return Caution(
        "unplanned_looks",
        f"The results are looked at after {_count(seeds, 'seed')}, but the plan says {_listed(sorted(planned))}; "
        "adding seeds until a test succeeds makes false claims more likely than stated.",
    )


def seeds_only() -> Caution:
    """Only the narrower claim is available."""
    return Caution(
        "seeds_only",
        "This holds for retraining on the same data and for exactly these test cases; it says nothing about new cases.",
    )


def few_datasets(datasets: int) -> Caution | None:
    """From six to nine datasets a claim about new ones stands on thin ground."""
    if not POPULATION_DATASETS <= datasets < MANY_DATASETS:
        return None
    return Caution(
        "few_datasets",
        f"{datasets} datasets are few for a claim about new ones ({MANY_DATASETS} or more would be better).",
    )


def within_margin() -> Caution:
    """A difference that is real and yet smaller than what was declared to matter."""
    return Caution(
        "within_margin",
        "The difference is unlikely to be chance, but it is smaller than the margin that was declared to matter.",
    )


def below_repeat_noise(gap: float, floor: float) -> Caution | None:
    """A difference no larger than what repeating the same trial with the same seed gives."""
    if abs(gap) > floor:
        return None
    return Caution(
        "below_repeat_noise",
        f"The difference ({abs(gap):.4g}) is not larger than what repeating the same training changes ({floor:.4g}).",
    )


def mixed_devices(devices: Sequence[str]) -> Caution | None:
    """Trials of one comparison that ran on different kinds of device (``devices``: the kinds)."""
    if len(devices) < 2:
        return None
    return Caution(
        "mixed_devices",
        f"The trials ran on different kinds of device ({', '.join(devices)}), whose rounding differs; part of the "
        "difference may be theirs.",
    )


def unknown_repeat_noise(devices: Sequence[str], repeated: bool) -> Caution | None:
    """On another device than a CPU, how much a repetition with the same seed changes was not measured."""
    if repeated or all(device == "cpu" for device in devices):
        return None
    return Caution(
        "unknown_repeat_noise",
        "No trial was repeated with the same seed on this kind of device, so how much a result changes by itself is "
        "not known.",
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
