"""Last block: the end of the backbone trains, the rest is frozen."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from harness.api import Fixed, Float, Hyperparameters, Method, Model, NotDefinedError, ParamGroup, Space

from ._blocks import blocks


class LastBlock(Method):
    """Fine-tune the last block of the backbone.

    Partial fine-tuning of the layers that are most specific to the source task (Yosinski et al. 2014, "How
    transferable are features in deep neural networks?"). θ ← θ - lr · u(∇L) for the tensors of the last part of the
    network that has a convolution, and of what follows it: the last residual block of a ResNet, the last dense layer
    and the closing norm of a DenseNet, the closing convolution of a MobileNet. The head learns ``head_lr_ratio``
    times as fast. Batch norms keep their pretrained statistics everywhere, in the block too, so that what is frozen
    stays as it is.

    Trains: the last block (4,462,592 scalars for ResNet-50) and the head.
    """

    name = "last_block"
    space: ClassVar[Space] = {
        "lr": Float(1e-4, 1e-5, 1e-2, log=True),
        "head_lr_ratio": Fixed(10.0),
        "weight_decay": Fixed(1e-4),
        "optimizer": Fixed("adamw", allowed=("adamw", "sgd")),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone but for its end.

        Raises:
            NotDefinedError: the network has no block.
        """
        end = _end(model)
        model.backbone.requires_grad_(False)
        for parameter in end:
            parameter.requires_grad_(True)

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """The block at ``lr``, the head at ``head_lr_ratio`` times that."""
        lr, decay = float(hp["lr"]), float(hp["weight_decay"])
        return [
            ParamGroup("backbone", _end(model), lr, decay),
            ParamGroup("head", list(model.head.parameters()), lr * float(hp["head_lr_ratio"]), decay),
        ]

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """All scalars of the block."""
        return sum(parameter.numel() for parameter in _end(model))


def _end(model: Model) -> list[nn.Parameter]:
    end: list[nn.Parameter] = []
    for _, parameters in reversed(list(blocks(model.backbone))):
        end = [*parameters, *end]
        if any(parameter.dim() > 1 for parameter in parameters):
            return end
    raise NotDefinedError("this network has no block with a convolution or a linear layer")
