"""How far a training is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from harness.run.record_values import Configuration
from harness.run.trial_records import CurveLine, ScheduleLine


@dataclass
class Progress:
    """Where a training stands; together with the tensors this is the checkpoint."""

    epoch: int = 0
    """Epochs finished."""
    step_in_epoch: int = 0
    """Steps finished in the running epoch."""
    loss_sum: float = 0.0
    """Sum of the batch losses of the running epoch."""
    best_epoch: int = -1
    best_score: float = -math.inf
    """Best validation score so far, signed so that higher is better."""
    best_tensors: dict[str, Tensor] = field(default_factory=dict)
    curve: list[CurveLine] = field(default_factory=list)
    schedule: list[ScheduleLine] = field(default_factory=list)
    """Changes of the hyperparameters so far, beginning with those of epoch 0; empty while nothing has changed."""
    epoch_ends: list[float] = field(default_factory=list)
    """When each line of the curve was written, seconds since the epoch."""
    seconds: float = 0.0
    """Training time of all attempts up to here."""


def in_force(schedule: Sequence[ScheduleLine], epoch: float) -> Configuration | None:
    """The hyperparameters that a schedule has in an epoch (from 0); None where it has none."""
    made = [change["hyperparameters"] for change in schedule if change["epoch"] <= epoch]
    return dict(made[-1]) if made else None
