"""Layer-wise decay: full fine-tuning in which the learning rate falls towards the stem."""

from __future__ import annotations

from typing import ClassVar

from harness.api import Float, Hyperparameters, Model, ParamGroup, Space

from ._blocks import blocks
from .full_finetune import FullFinetune

_DEEPEST = 20


class LayerwiseDecay(FullFinetune):
    """Fine-tune everything, each block a constant factor slower than the one behind it.

    Source: Howard and Ruder 2018, "Universal language model fine-tuning for text classification" (discriminative
    fine-tuning), arXiv 1801.06146. For the block that has l - 1 others between itself and the head

        lr_l = ``lr`` · ``decay``^l,   l = 1, …, L,

    and ``head_lr_ratio`` · ``lr`` for the head. Blocks are the stem and the residual blocks with their shortcuts:
    L = 17 for a ResNet-50. ``decay`` 1 is ``full_finetune``. In networks of more than 20 blocks l becomes 20 l / L:
    the stem of a DenseNet-121, which has 63, would not move at all. Batch norms use batch statistics.

    Trains: every parameter of the backbone (23,508,032 for ResNet-50) and the head.
    """

    name = "layerwise_decay"
    space: ClassVar[Space] = {**FullFinetune.space, "decay": Float(0.8, 0.65, 0.95, within="(0, 1]")}

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Let every tensor train.

        Raises:
            ValueError: ``decay`` is not in (0, 1].
        """
        if not 0 < float(hp["decay"]) <= 1:
            raise ValueError(f"layerwise_decay: decay={hp['decay']:g} must be above 0 and at most 1")
        super().adapt(model, hp)

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """One group a block in the network's order, and the head's."""
        lr, weight_decay = float(hp["lr"]), float(hp["weight_decay"])
        parts = list(blocks(model.backbone))
        unit = min(1.0, _DEEPEST / len(parts))
        groups = [
            ParamGroup(name, params, lr * float(hp["decay"]) ** (unit * (len(parts) - place)), weight_decay)
            for place, (name, params) in enumerate(parts)
        ]
        head = ParamGroup("head", list(model.head.parameters()), lr * float(hp["head_lr_ratio"]), weight_decay)
        return [*groups, head]
