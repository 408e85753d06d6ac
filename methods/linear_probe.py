"""Linear probe: a linear classifier on frozen features."""

from __future__ import annotations

from typing import ClassVar

from harness.backbones import Model
from harness.method import Hyperparameters, Method
from harness.space import Fixed, Float, Space


class LinearProbe(Method):
    """Train the head and nothing else.

    The reference that says how far the pretrained features alone carry (Kornblith et al. 2019, "Do better
    ImageNet models transfer better?"). With features h(x) in R^d, logits = W h(x) + b; W and b train, h is
    the pretrained network with its batch norms in evaluation mode. A weak probe would flatter every other
    method, so its learning rate and weight decay are searched.

    Trains: nothing of the backbone; the head's classes · (d + 1) scalars.
    """

    name = "linear_probe"
    space: ClassVar[Space] = {
        "head_lr": Float(1e-3, 1e-4, 1e-1, log=True),
        "weight_decay": Float(1e-4, 1e-6, 1e-1, log=True),
        "optimizer": Fixed("adamw", allowed=("adamw", "sgd")),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone."""
        model.backbone.requires_grad_(False)

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """None of the backbone's scalars."""
        return 0
