"""Full fine-tuning: every weight of the network trains."""

from __future__ import annotations

from typing import ClassVar

from harness.api import Fixed, Float, Hyperparameters, Method, Model, ParamGroup, Space


class FullFinetune(Method):
    """Train the whole network, the new head faster than the pretrained backbone.

    The usual way to transfer a network (Yosinski et al. 2014, "How transferable are features in deep neural
    networks?"). θ ← θ - lr · u(∇L) for every backbone tensor, with u the optimiser's direction, and
    ``head_lr_ratio`` · lr for the head, which starts from random values. Batch norms use batch statistics and
    move their running statistics.

    Trains: every parameter of the backbone (23,508,032 for ResNet-50) and the head.
    """

    name = "full_finetune"
    batch_norm = "train"
    space: ClassVar[Space] = {
        "lr": Float(1e-4, 1e-5, 1e-2, log=True),
        "head_lr_ratio": Fixed(10.0),
        "weight_decay": Fixed(1e-4),
        "optimizer": Fixed("adamw", allowed=("adamw", "sgd")),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Let every tensor of the backbone train."""
        model.backbone.requires_grad_(True)

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """The backbone at ``lr``, the head at ``head_lr_ratio`` times that."""
        lr, decay = float(hp["lr"]), float(hp["weight_decay"])
        return [
            ParamGroup("backbone", list(model.backbone.parameters()), lr, decay),
            ParamGroup("head", list(model.head.parameters()), lr * float(hp["head_lr_ratio"]), decay),
        ]

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """All scalars of the backbone."""
        return sum(parameter.numel() for parameter in model.backbone.parameters())
