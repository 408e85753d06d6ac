"""From an estimate to one of four outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from analysis.stats.cautions import VERDICT_REPLICATES, Caution, below_repeat_noise, within_margin
from analysis.stats.estimate import Estimate

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What may be said of the first method against the second."""

    verdict: Verdict
    cautions: tuple[Caution, ...] = ()


def equivalence_p(estimate: Estimate, margin: float) -> float | None:
    """p value of two one-sided tests (Schuirmann 1987) that the truth lies outside ``(-margin, margin)``.

    For a t interval it is at most alpha exactly when the interval of coverage 1 - 2 alpha lies inside the margin.

    Args:
        estimate: of a difference.
        margin: in units of the metric, above 0, declared beforehand.

    Returns:
        The larger of both p values; None without a standard error.

    Raises:
        ValueError: a margin that is not above 0.
    """
    if not margin > 0:
        raise ValueError(f"an equivalence margin lies above 0, got {margin}")
    not_low, not_high = estimate.tail(estimate.estimate + margin), estimate.tail(margin - estimate.estimate)
    return None if not_low is None or not_high is None else max(not_low, not_high)


def probability_of_other_sign(estimate: Estimate) -> float | None:
    """Posterior probability that the truth is zero or has the other sign than the estimate.

    With flat prior distributions of the difference and of the logarithms of the expected mean squares, the posterior of
    the difference is the mixture that ``Estimate.tail`` averages over (Box and Tiao, Bayesian Inference in Statistical
    Analysis, 1973, section 2.5), so this is one half of the p value against zero.

    Args:
        estimate: of a difference.

    Returns:
        In [0, 0.5]; None without a standard error.
    """
    return estimate.tail(abs(estimate.estimate))


def probability_within(estimate: Estimate, margin: float) -> float | None:
    """Posterior probability, as above, that the truth lies within ``(-margin, margin)``.

    Args:
        estimate: of a difference.
        margin: in units of the metric, above 0.

    Returns:
        In [0, 1]; None without a standard error.
    """
    above, below = estimate.tail(margin - estimate.estimate), estimate.tail(margin + estimate.estimate)
    return None if above is None or below is None else min(1.0, max(0.0, 1.0 - above - below))


def decide(
    difference: float,
    p: float | None,
    equivalence: float | None = None,
    *,
    alpha: float = 0.05,
    higher_is_better: bool = True,
    repeat_noise: float = 0.0,
    replicates: int = VERDICT_REPLICATES,
) -> Decision:
    """The verdict on one comparison.

    A difference that is significant and yet shown to lie within the margin is called equivalent: the margin says what
    does not matter. Without a p value (no spread at all) nothing is concluded.

    Args:
        difference: first minus second, in units of the metric.
        p: two-sided p value of no difference, corrected for its family.
        equivalence: p value of ``equivalence_p``, corrected for its own family; None where no margin was declared.
        alpha: level of both.
        higher_is_better: direction of the metric.
        repeat_noise: how much the metric changes when the same trial is repeated; a difference that is not larger is
            never called better or worse.
        replicates: how many results of each method are behind it; with fewer than three nothing is concluded.
    """
    if replicates < VERDICT_REPLICATES:
        return Decision("inconclusive")
    significant = p is not None and p <= alpha
    if equivalence is not None and equivalence <= alpha:
        return Decision("equivalent", (within_margin(),) if significant else ())
    if not significant or difference == 0:
        return Decision("inconclusive")
    noise = below_repeat_noise(difference, repeat_noise)
    if noise is not None:
        return Decision("inconclusive", (noise,))
    return Decision("better" if (difference > 0) == higher_is_better else "worse")
