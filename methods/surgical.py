"""Surgical fine-tuning: exactly one stage of the network trains."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from harness.api import (
    Choice,
    Fixed,
    Float,
    Hyperparameters,
    Method,
    Model,
    NotDefinedError,
    ParamGroup,
    Space,
    stages,
)


class Surgical(Method):
    """Fine-tune one stage, chosen on validation; freeze the others.

    Source: Lee et al. 2023, "Surgical fine-tuning improves adaptation to distribution shifts", arXiv 2210.11466:
    which part has to change depends on the kind of shift, the first one where the images themselves differ, the last
    where the labels do. θ ← θ - lr · u(∇L) for the tensors of stage ``stage``, as the architecture counts them:
    ``layer1`` to ``layer4`` of a ResNet, ``denseblock1`` to ``denseblock4`` of a DenseNet, the four sequences of
    blocks of a ConvNeXt or RegNet, the five parts of a VGG between its poolings, the blocks of one width of a
    MobileNet or EfficientNet (five to seven). Stem, transitions and closing layers belong to no stage. A sweep gives
    the stages of its network where they are not 1 to 4, as ``stage: {choice: [1, 2, 3]}``. The head trains too, at
    ``head_lr_ratio`` times ``lr``; in the source it keeps the classes of its pretraining. Batch norms keep their
    pretrained statistics everywhere.

    Trains: the stage (for ResNet-50 215,808, 1,219,584, 7,098,368 or 14,964,736 scalars) and the head.
    """

    name = "surgical"
    space: ClassVar[Space] = {
        "stage": Choice(1, (1, 2, 3, 4), within="[1, 16]"),
        "lr": Float(1e-4, 1e-5, 1e-1, log=True),
        "head_lr_ratio": Fixed(10.0),
        "weight_decay": Fixed(1e-4),
        "optimizer": Fixed("adamw", allowed=("adamw", "sgd")),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone but for the stage.

        Raises:
            NotDefinedError: the network has no such stage.
        """
        stage = _stage(model, int(hp["stage"]))
        model.backbone.requires_grad_(False)
        for parameter in stage:
            parameter.requires_grad_(True)

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """The stage at ``lr``, the head at ``head_lr_ratio`` times that."""
        lr, decay = float(hp["lr"]), float(hp["weight_decay"])
        return [
            ParamGroup("backbone", _stage(model, int(hp["stage"])), lr, decay),
            ParamGroup("head", list(model.head.parameters()), lr * float(hp["head_lr_ratio"]), decay),
        ]

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """All scalars of the stage."""
        return sum(parameter.numel() for parameter in _stage(model, int(hp["stage"])))


def _stage(model: Model, number: int) -> list[nn.Parameter]:
    numbers = stages(model.backbone)
    found: dict[int, list[nn.Parameter]] = {stage: [] for stage in sorted(set(numbers.values()))}
    for name, parameter in model.backbone.named_parameters():
        stage = numbers.get(name.rpartition(".")[0])
        if stage is not None:
            found[stage].append(parameter)
    if number not in found:
        raise NotDefinedError(f"this network has no stage {number}; it has {list(found) or 'none that can be told'}")
    return found[number]
