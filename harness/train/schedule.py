"""The learning rate of a step as a closed function of its number: a resumed training has no schedule to restore."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from harness.spec.train import Curve, TrainSpec


@dataclass(frozen=True)
class Schedule:
    """What the learning rate does after the warm-up."""

    kind: Curve = "cosine"
    milestones: tuple[Fraction, ...] = ()
    """``step``: the shares of the training after which the rate falls, as exact fractions."""
    factor: float = 0.1
    """``step``: what it is multiplied by at each."""

    @classmethod
    def of(cls, train: TrainSpec) -> Schedule:
        """The schedule of a sweep file, whose milestones are epochs."""
        given = train.schedule
        return cls(given.kind, tuple(Fraction(epoch, train.epochs) for epoch in given.milestones), given.factor)


@dataclass(frozen=True)
class _Place:
    """A step of a training, from 0, behind the ``rising`` steps of its warm-up."""

    step: int
    rising: int
    total: int


def _cosine(schedule: Schedule, at: _Place) -> float:
    """Loshchilov and Hutter 2017, without restarts."""
    return 0.5 * (1 + math.cos(math.pi * (at.step - at.rising) / max(1, at.total - at.rising)))


def _linear(schedule: Schedule, at: _Place) -> float:
    return 1 - (at.step - at.rising) / max(1, at.total - at.rising)


def _steps(schedule: Schedule, at: _Place) -> float:
    passed = sum(at.step >= milestone * at.total for milestone in schedule.milestones)
    return float(schedule.factor**passed)


def _constant(schedule: Schedule, at: _Place) -> float:
    return 1.0


_CURVES: dict[Curve, Callable[[Schedule, _Place], float]] = {
    "cosine": _cosine,
    "linear": _linear,
    "step": _steps,
    "constant": _constant,
}
COSINE = Schedule()


def factor_at(step: int, total: int, rising: int, schedule: Schedule = COSINE) -> float:
    """Factor of the peak learning rate at a step: a linear rise over ``rising`` steps, then the schedule's curve.

    The first step has a positive factor, and so has the last one. Milestones count from the first step, that of the
    warm-up.

    Args:
        step: from 0, below ``total``.
        total: steps of the training.
        rising: steps of the warm-up.
        schedule: the curve after it.
    """
    if step < rising:
        return (step + 1) / (rising + 1)
    return _CURVES[schedule.kind](schedule, _Place(step, rising, total))


def schedule_factor(step: int, total: int, warmup: float, schedule: Schedule = COSINE) -> float:
    """``factor_at`` with a warm-up of ``warmup * total`` steps, rounded up.

    A method with phases of its own gives ``context.schedule``, and each phase has the whole curve: a milestone after
    half of the epochs is one after half of the phase.
    """
    return factor_at(step, total, math.ceil(warmup * total), schedule)
