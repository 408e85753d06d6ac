"""A method whose trainings last as long on a busy machine as on an idle one, and leave its processors to others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from harness.method import Hyperparameters, Method, ParamGroup
from harness.networks.backbones import Model
from harness.space.parameters import Float, Space

if TYPE_CHECKING:
    from harness.train.step import StepContext

SECONDS = 0.1


class Rest(Method):
    """Train the whole network, with a rest before each step: for ``slurm.chaos``, which needs trainings to strike.

    θ ← θ - lr · u(∇L) for every tensor, with u AdamW's direction; batch norms use batch statistics. Nobody's method:
    it stands for trainings that last.

    Trains: every parameter of the backbone and the head.
    """

    name = "rest"
    batch_norm = "train"
    space: ClassVar[Space] = {"lr": Float(1e-3, 1e-4, 1e-2, log=True)}

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Let every tensor of the backbone train."""
        model.backbone.requires_grad_(True)

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """All of them at ``lr``."""
        parameters = [*model.backbone.parameters(), *model.head.parameters()]
        return [ParamGroup("all", parameters, float(hp["lr"]), 0.0)]

    def training_step(self, context: StepContext, images: Tensor, labels: Tensor) -> Tensor:
        """Rest, then one step."""
        time.sleep(SECONDS)
        return super().training_step(context, images, labels)
