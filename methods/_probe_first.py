"""Training in two phases: the head on frozen features, then the whole network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.api import schedule_factor, set_learning_rates, set_training_mode

if TYPE_CHECKING:
    from harness.api import StepContext


def probe_steps(fraction: float, total: int) -> int:
    """Steps of the first phase: ``fraction`` of all, rounded down."""
    return int(fraction * total)


def probe_step(context: StepContext, images: Tensor, labels: Tensor, last: int, warmup: float) -> Tensor:
    """One step of the head on the frozen network's features; returns the detached loss.

    The backbone is in evaluation mode and gets no gradient, so the optimiser neither moves nor decays it nor
    keeps anything about it. The schedule ends at step ``last``.
    """
    context.model.backbone.eval()
    set_learning_rates(context.optimizer, schedule_factor(context.step, last, warmup, context.schedule))
    with torch.autocast(context.device.type, context.precision, enabled=context.precision is not None):
        with torch.no_grad():
            features = context.model.backbone(images)
        logits = context.model.head(features)
    loss: Tensor = context.criterion(logits.float(), labels)
    context.backward_and_step(loss)
    return loss.detach()


def finetune_step(
    context: StepContext, images: Tensor, labels: Tensor, first: int, warmup: float, frozen_norms: bool
) -> Tensor:
    """One step of everything; returns the detached loss.

    The schedule starts anew at step ``first``, and so does the optimiser's memory of the head. The head now
    learns at the rate of the first group.
    """
    if context.step == first:
        for parameter in context.model.head.parameters():
            context.optimizer.state.pop(parameter, None)
    # The phase before may have ended within an epoch, whose beginning sets the mode.
    set_training_mode(context.model, "frozen" if frozen_norms else "train")
    factor = schedule_factor(context.step - first, context.total_steps - first, warmup, context.schedule)
    groups = context.optimizer.param_groups
    for group in groups:
        group["lr"] = groups[0]["peak_lr"] * factor
    loss = context.loss(images, labels)
    context.backward_and_step(loss)
    return loss.detach()
