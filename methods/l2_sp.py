"""L2-SP: full fine-tuning that is pulled back to the pretrained weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from harness.api import Fixed, Float, Hyperparameters, Model, Space

from .full_finetune import FullFinetune

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.api import StepContext


class L2Sp(FullFinetune):
    """Fine-tune everything, with a penalty on the distance to where it started.

    Source: Li et al. 2018, "Explicit inductive bias for transfer learning with convolutional networks",
    arXiv 1802.01483. With the backbone's tensors w, their pretrained values w0 and the head v,

        L = loss + ``alpha`` / 2 · ||w - w0||² + ``beta`` / 2 · ||v||²,

    gamma and beta of the norms included in w, the bias in v. The two take the place of weight decay, which is 0 by
    default. They are part of the loss, as in the source: its SGD takes their gradient as it is, while ``adamw``
    divides it by the root of the second moment like that of the loss. The head learns ``head_lr_ratio`` times as
    fast as the backbone; batch norms use batch statistics.

    Trains: every parameter of the backbone (23,508,032 for ResNet-50) and the head.
    """

    name = "l2_sp"
    space: ClassVar[Space] = {
        **FullFinetune.space,
        "alpha": Float(1e-2, 1e-4, 1.0, log=True, within="[0, 1e6]"),
        "beta": Fixed(1e-2, within="[0, 1e6]"),
        "weight_decay": Fixed(0.0),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Let every tensor train, and keep the pretrained ones.

        Raises:
            ValueError: a negative strength.
        """
        self._alpha, self._beta = float(hp["alpha"]), float(hp["beta"])
        if min(self._alpha, self._beta) < 0:
            raise ValueError(f"l2_sp: alpha={self._alpha:g} and beta={self._beta:g} must not be negative")
        super().adapt(model, hp)
        # A resumed trial comes here with the pretrained weights too, so they need no place in the checkpoint.
        self._start = [parameter.detach().clone() for parameter in model.backbone.parameters()]

    def training_step(self, context: StepContext, images: Tensor, labels: Tensor) -> Tensor:
        """One step on the loss and the penalties; the loss that is returned is without them."""
        self._start = [value.to(context.device) for value in self._start]
        loss = context.loss(images, labels)
        distance = _squares(context.model.backbone.parameters(), self._start)
        size = _squares(context.model.head.parameters())
        context.backward_and_step(loss + self._alpha / 2 * distance + self._beta / 2 * size)
        return loss.detach()


def _squares(parameters: Iterable[nn.Parameter], origin: list[Tensor] | None = None) -> Tensor:
    """Sum of the squares of all scalars, less the origin's."""
    tensors: list[Tensor] = list(parameters)
    if origin is not None:
        tensors = [value - start for value, start in zip(tensors, origin, strict=True)]
    return torch.stack([value.square().sum() for value in tensors]).sum()
