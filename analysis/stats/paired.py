"""Two-sided tests of paired differences over seeds that assume no distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.stats.cautions import Caution, few_seeds_for_exact_test, many_ties, refuse
from analysis.stats.estimate import FloatArray, finite

ENUMERATED_PAIRS = 40
"""Up to here the 2 ** (n / 2) sums of half of the sign patterns fit in memory, and all patterns are counted."""
MOST_PAIRS = 1000
"""Up to here both tests take less than a second."""
SIGN_PATTERNS = 99_999
"""Random sign patterns where all would be too many; a p value of 0.05 is then known to 0.0007."""
_AT_ONCE = 4_000_000
"""Signs in memory at once."""


@dataclass(frozen=True, slots=True)
class ExactTest:
    """Outcome of a test that the differences are symmetric about zero."""

    statistic: float
    """Sign flips: the mean difference. Wilcoxon: the smaller rank sum."""
    p: float
    """Two-sided."""
    floor: float
    """The smallest p value that so many differences other than zero can give: 2 ** (1 - m), or 1 / (patterns + 1)."""
    pairs: int
    zeros: int
    cautions: tuple[Caution, ...]
    patterns: int | None = None
    """Random sign patterns that the p value was counted over; None where it is exact."""


def sign_flip(differences: npt.ArrayLike) -> ExactTest:
    """Test of the mean difference over sign patterns (Fisher, The Design of Experiments, 1935).

    The p value is the fraction of all 2 ** n patterns whose mean is at least as far from zero as the observed one.
    Above 40 differences it is the fraction of ``SIGN_PATTERNS`` random ones and the observed one, which keeps the
    level as the exact test does (Phipson and Smyth, Statistical Applications in Genetics and Molecular Biology 9,
    2010). The same differences always meet the same patterns.

    Args:
        differences: shape (n,), one a seed, 6 ≤ n ≤ ``MOST_PAIRS``.

    Raises:
        Refused: fewer than six.
        ValueError: more than ``MOST_PAIRS``, or one that is not finite.
    """
    values = _checked(differences)
    magnitudes = np.abs(values)
    if len(values) > ENUMERATED_PAIRS:
        return _result(float(values.mean()), _by_random_patterns(values), values, SIGN_PATTERNS)
    # Halves of the sums of all patterns are few enough to be sorted; each pattern is a sum of two.
    half = len(values) // 2
    first, second = _signed_sums(magnitudes[:half]), np.sort(_signed_sums(magnitudes[half:]))
    # Sums that are equal on paper differ in their last digits.
    least = abs(float(values.sum())) - 1e-9 * float(magnitudes.sum())
    if least <= 0:
        p = 1.0
    else:
        far = len(second) * len(first) - np.searchsorted(second, least - first, "left").sum()
        p = min(1.0, 2.0 * float(far) / 2.0 ** len(values))
    return _result(float(values.mean()), p, values)


def wilcoxon(differences: npt.ArrayLike) -> ExactTest:
    """Exact signed-rank test (Wilcoxon, Biometrics Bulletin 1, 1945): zeros dropped, equal magnitudes share a rank.

    The distribution of the rank sum is computed for the ranks as they are, so that it stays exact with ties. It takes
    about n ** 3 steps.

    Args:
        differences: shape (n,), one a seed, 6 ≤ n ≤ ``MOST_PAIRS``.

    Raises:
        Refused: fewer than six.
        ValueError: more than ``MOST_PAIRS``, or one that is not finite.
    """
    values = _checked(differences)
    upper, lower = rank_sums(values)
    ranks = doubled_ranks(values[values != 0])
    smaller = min(upper, lower)
    # Without ties every doubled rank is even.
    step = int(np.gcd.reduce(ranks)) if len(ranks) else 1
    # Sums above the observed one do not matter. Chances instead of counts: 2 ** 1024 is no float.
    chance = np.zeros(round(2 * smaller) // step + 1)
    chance[0] = 1.0
    for rank in sorted((ranks // step).tolist()):
        moved = chance[: max(0, len(chance) - rank)] / 2
        chance /= 2
        chance[rank:] += moved
    return _result(smaller, min(1.0, 2.0 * float(chance.sum())), values)


def rank_sums(differences: npt.ArrayLike) -> tuple[float, float]:
    """Rank sums of the positive and of the negative differences, zeros dropped, mid-ranks for equal magnitudes."""
    values = finite(differences, 1)
    values = values[values != 0]
    ranks = doubled_ranks(values) / 2.0
    return float(ranks[values > 0].sum()), float(ranks[values < 0].sum())


def doubled_ranks(values: FloatArray) -> npt.NDArray[np.int64]:
    """Twice the mid-ranks of the magnitudes, which are whole numbers.

    Magnitudes that differ by less than a billionth of the largest count as equal.
    """
    magnitudes = np.abs(values)
    if len(magnitudes) == 0:
        return np.zeros(0, dtype=np.int64)
    order = np.argsort(magnitudes, kind="stable")
    steps = np.diff(magnitudes[order]) > 1e-9 * magnitudes.max()
    place = np.concatenate([[0], np.cumsum(steps)])
    counts = np.bincount(place)
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = (2 * np.cumsum(counts) - counts + 1)[place]
    return ranks


def smallest_p(pairs: int) -> float:
    """The smallest two-sided p value of an exact test of so many pairs, 2 ** (1 - n)."""
    return float(2.0 ** (1 - pairs)) if pairs > 0 else 1.0


def seeds_for_exact_test(family: int, alpha: float = 0.05) -> int:
    """The fewest seeds with which the first step of Holm over ``family`` exact tests can succeed.

    Raises:
        ValueError: a family below 1, or alpha outside (0, 1).
    """
    if family < 1 or not 0 < alpha < 1:
        raise ValueError(f"needs a family of at least 1 and alpha in (0, 1), got {family} and {alpha}")
    seeds = 1
    while smallest_p(seeds) * family > alpha:
        seeds += 1
    return seeds


def _checked(differences: npt.ArrayLike) -> FloatArray:
    refuse(few_seeds_for_exact_test(np.size(differences)))
    values = finite(differences, 1)
    if len(values) > MOST_PAIRS:
        raise ValueError(f"a test of {len(values)} pairs takes too long; use the t interval (up to {MOST_PAIRS})")
    return values


def _by_random_patterns(values: FloatArray) -> float:
    """The p value over ``SIGN_PATTERNS`` random patterns and the observed one."""
    magnitudes = np.abs(values)
    total, observed = float(magnitudes.sum()), abs(float(values.sum()))
    least = observed - 1e-9 * total
    draw, far = np.random.default_rng(len(values)), 0
    for start in range(0, SIGN_PATTERNS, _AT_ONCE // len(values)):
        rows = min(_AT_ONCE // len(values), SIGN_PATTERNS - start)
        flipped = np.unpackbits(draw.integers(0, 256, (rows, -(-len(values) // 8)), dtype=np.uint8), axis=1)
        sums = total - 2.0 * (flipped[:, : len(values)].astype(np.float64) @ magnitudes)
        far += int((np.abs(sums) >= least).sum())
    return (far + 1) / (SIGN_PATTERNS + 1)


def _signed_sums(magnitudes: FloatArray) -> FloatArray:
    sums = np.zeros(1)
    for magnitude in magnitudes:
        sums = np.concatenate([sums - magnitude, sums + magnitude])
    return sums


def _result(statistic: float, p: float, values: FloatArray, patterns: int | None = None) -> ExactTest:
    used = values[values != 0]
    zeros = len(values) - len(used)
    _, sizes = np.unique(doubled_ranks(used), return_counts=True)
    tied = zeros + int(sizes[sizes > 1].sum())
    caution = many_ties(tied / len(values))
    return ExactTest(
        statistic=statistic,
        p=p,
        floor=smallest_p(len(used)) if patterns is None else 1.0 / (patterns + 1),
        pairs=len(values),
        zeros=zeros,
        cautions=() if caution is None else (caution,),
        patterns=patterns,
    )
