"""State dicts in the layouts in which others publish them, made from a network with random weights."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def prefixed(state: State, prefix: str, factor: float = 1.0) -> dict[str, Tensor]:
    """The state under another prefix; with a factor, of a copy that differs."""
    return {prefix + key: value * factor if value.is_floating_point() else value for key, value in state.items()}


def projector(prefix: str, width: int = 4) -> dict[str, Tensor]:
    return {f"{prefix}0.weight": torch.ones(width, width), f"{prefix}2.weight": torch.ones(width, width)}


def dino(state: State) -> Any:
    """Caron et al. 2021: student and teacher, each with its head; the teacher is what they evaluate."""
    student = {**prefixed(state, "module.backbone.", 2.0), **projector("module.head.mlp.")}
    teacher = {**prefixed(state, "backbone."), **projector("head.mlp.")}
    rest = {"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "epoch": 100, "args": Namespace(arch="resnet50")}
    return {"student": student, "teacher": teacher, **rest, "dino_loss": {"center": torch.ones(1, 8)}}


def moco_v2(state: State) -> Any:
    """He et al. 2020: queries, keys and a queue, in DataParallel."""
    query = {**prefixed(state, "module.encoder_q."), **projector("module.encoder_q.fc.")}
    key = {**prefixed(state, "module.encoder_k.", 2.0), **projector("module.encoder_k.fc.")}
    queue = {"module.queue": torch.ones(4, 16), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    return {"epoch": 200, "arch": "resnet50", "state_dict": {**key, **query, **queue}, "optimizer": {"state": {}}}


def moco_v3(state: State) -> Any:
    """Chen et al. 2021: a base and a momentum encoder, the head in the place of the classifier, a predictor."""
    base = {**prefixed(state, "module.base_encoder."), **projector("module.base_encoder.fc.")}
    momentum = {**prefixed(state, "module.momentum_encoder.", 2.0), **projector("module.momentum_encoder.fc.")}
    return {
        "epoch": 100,
        "state_dict": {**base, **momentum, **projector("module.predictor.")},
        "scaler": {"scale": 1.0},
    }


def simclr(state: State) -> Any:
    """Chen et al. 2020, in the usual PyTorch form: the head in the place of the classifier."""
    return {"state_dict": {**prefixed(state, "backbone."), **projector("backbone.fc.")}, "arch": "resnet18"}


def byol(state: State) -> Any:
    """Grill et al. 2020: an online and a target network."""
    online = {**prefixed(state, "online_encoder.net."), **projector("online_encoder.projector.")}
    target = {**prefixed(state, "target_encoder.net.", 2.0), **projector("target_encoder.projector.")}
    return {**target, **online, **projector("online_predictor.")}


def spark(state: State) -> Any:
    """Tian et al. 2023, a masked autoencoder for convolutional networks: a sparse encoder and a dense decoder."""
    decoder = {"dense_decoder.proj.weight": torch.ones(3, 4, 1, 1), "mask_tokens.0": torch.ones(1, 4, 1, 1)}
    return {"arch": "resnet50", "module": {**prefixed(state, "sparse_encoder.sp_cnn."), **decoder}, "optimizer": {}}


def radimagenet(state: State) -> Any:
    """Mei et al. 2022: the children of a torchvision ResNet in a Sequential, numbered."""
    numbers = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    parts = ((*key.partition("."), value) for key, value in state.items())
    return {f"backbone.{numbers[first]}.{rest}": value for first, _, rest, value in parts}


def lightning(state: State) -> Any:
    """A Lightning module with a network, a loss with weights and a metric."""
    module = {**prefixed(state, "model."), "model.fc.weight": torch.ones(2, 4), "criterion.weight": torch.ones(2)}
    rest = {"pytorch-lightning_version": "2.4.0", "hyper_parameters": {"lr": 0.1}, "lr_schedulers": [{"last_epoch": 3}]}
    return {"epoch": 3, "state_dict": module, "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}}], **rest}


def data_parallel(state: State) -> Any:
    """torch.nn.DataParallel around the network, saved at the top."""
    return {**prefixed(state, "module."), "module.fc.weight": torch.ones(2, 4), "module.fc.bias": torch.ones(2)}


def averaged(state: State) -> Any:
    """timm's training: the state, and its exponential moving average, which is evaluated."""
    return {"arch": "x", "state_dict": prefixed(state, "", 2.0), "state_dict_ema": dict(state), "metric": 0.7}


@dataclass(frozen=True)
class Wrapper:
    """A layout, and how it has to be read."""

    make: Callable[[State], Any]
    place: tuple[str, ...]
    prefix: str
    layout: str = "the network's own names"
    left: tuple[str, ...] = ()
    """Why tensors of the same mapping are left out."""

    def __str__(self) -> str:
        return self.make.__name__


BESIDE, BRANCH = "beside the backbone", "another branch"
WRAPPERS = (
    Wrapper(dino, ("teacher",), "backbone.", left=(BRANCH,)),
    Wrapper(moco_v2, ("state_dict",), "module.encoder_q.", left=(BESIDE, BRANCH)),
    Wrapper(moco_v3, ("state_dict",), "module.base_encoder.", left=(BESIDE, BRANCH)),
    Wrapper(simclr, ("state_dict",), "backbone.", left=(BESIDE,)),
    Wrapper(byol, (), "online_encoder.net.", left=(BRANCH,)),
    Wrapper(spark, ("module",), "sparse_encoder.sp_cnn.", left=(BRANCH,)),
    Wrapper(radimagenet, (), "backbone.", "children of a ResNet in a Sequential (RadImageNet)"),
    Wrapper(lightning, ("state_dict",), "model.", left=(BESIDE, BRANCH)),
    Wrapper(data_parallel, (), "module.", left=(BESIDE,)),
    Wrapper(averaged, ("state_dict_ema",), ""),
)
