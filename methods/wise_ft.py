"""WiSE-FT: the average of the pretrained and the fine-tuned weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from harness.api import Fixed, Hyperparameters, Model, Space

from ._probe_first import probe_steps
from .lp_ft import LpFt

if TYPE_CHECKING:
    from harness.api import StepContext


class WiseFt(LpFt):
    """Fine-tune everything, then walk back towards the pretrained network as far as validation says.

    Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv 2109.01903. With the pretrained
    weights θ0 and the fine-tuned ones θ1, the network is

        θ = (1 - a) θ0 + a θ1,   a in {0, 1/n, …, 1} with n = ``points`` - 1,

    with the a of the best validation score, the largest of several; a = 1 is the fine-tuned network, so that the
    choice never costs validation score. The source has a zero-shot head in both ends. Here θ0 needs one: training
    begins as for ``lp_ft``, with the same hyperparameters, and the head as it is when the first phase ends belongs
    to θ0. Batch norms keep their pretrained statistics all along, for averaged weights have none of their own;
    gamma and beta train and are averaged. If training ends before the first phase does, nothing is averaged.

    Trains: every parameter of the backbone (23,508,032 for ResNet-50) and the head.
    """

    name = "wise_ft"
    batch_norm: ClassVar[Literal["frozen", "train"]] = "frozen"
    space: ClassVar[Space] = {
        **LpFt.space,
        "probe": Fixed(0.3, within="(0, 1)"),
        "points": Fixed(11, within="[2, 1001]"),
    }

    def __init__(self) -> None:
        self._pretrained: dict[str, Tensor] = {}
        self._probe: dict[str, Tensor] = {}

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Let every tensor train, and keep the pretrained ones.

        Raises:
            ValueError: ``probe`` is no share above 0, ``warmup`` none, or there are fewer than 2 ``points``.
        """
        super().adapt(model, hp)
        if self._share == 0:
            raise ValueError("wise_ft: probe=0 leaves the pretrained weights without a head; take 0.3")
        self._points = int(hp["points"])
        if self._points < 2:
            raise ValueError(f"wise_ft: points={self._points} must be at least 2: the two ends")
        # A resumed trial comes here with the pretrained weights too, so they need no place in the checkpoint.
        self._pretrained = {f"backbone.{name}": p.detach().clone() for name, p in model.backbone.named_parameters()}

    def training_step(self, context: StepContext, images: Tensor, labels: Tensor) -> Tensor:
        """As for ``lp_ft``; keeps the head when the first phase is over."""
        if context.step == probe_steps(self._share, context.total_steps):
            head = context.model.head
            self._probe = {f"head.{name}": p.detach().clone() for name, p in head.named_parameters()}
        return super().training_step(context, images, labels)

    def finish(self, model: Model, score: Callable[[], float]) -> None:
        """Leave the average with the best validation score in the model."""
        if not self._probe:
            return
        ends = {name: (start, model.get_parameter(name).detach().clone()) for name, start in self._start(model)}
        best, best_score = 1.0, score()
        for step in range(self._points - 2, -1, -1):
            share = step / (self._points - 1)
            _set_average(model, ends, share)
            reached = score()
            if reached > best_score:
                best, best_score = share, reached
        _set_average(model, ends, best)

    def state(self) -> dict[str, Any]:
        """The head of the first phase, once it is over."""
        return {"probe": dict(self._probe)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self._probe = dict(state["probe"])

    def _start(self, model: Model) -> list[tuple[str, Tensor]]:
        stored = {**self._pretrained, **self._probe}
        return [(name, value.to(model.get_parameter(name).device)) for name, value in stored.items()]


def _set_average(model: Model, ends: Mapping[str, tuple[Tensor, Tensor]], share: float) -> None:
    with torch.no_grad():
        for name, (start, end) in ends.items():
            # lerp gives the ends themselves at 0 and 1, bit for bit.
            model.get_parameter(name).copy_(torch.lerp(start, end, share))
