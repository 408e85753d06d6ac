"""The conformance suite over every method that is found, and proof that it notices each broken promise."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import pytest
import torch
from jobs import CATALOGUE, runnable
from torch import Tensor, nn

from harness.method import Hyperparameters, Method, NotDefinedError, ParamGroup, optimiser_space
from harness.networks.backbones import Model, build_model
from harness.proof.conformance import random_network, violations
from harness.space.parameters import Float, Space, defaults

NETWORKS = [("resnet20", 32), pytest.param("resnet18", 48, marks=pytest.mark.large)]


@pytest.mark.parametrize(("network", "size"), NETWORKS, ids=lambda value: str(value))
@pytest.mark.parametrize("name", runnable(sorted(CATALOGUE.all(Method))))
def test_every_method_keeps_its_promises(name: str, network: str, size: int) -> None:
    build = partial(random_network, network, size)
    assert violations(CATALOGUE.all(Method)[name].cls, build, size=size) == []


@pytest.mark.parametrize(
    "hp",
    [
        {"setting": 1, "rank": 4},
        {"targets": "3x3", "rank": 1, "scale": 4.0},
        {"targets": "no_downsample", "rank": 2, "optimizer": "sgd", "lr": 0.05},
    ],
    ids=lambda hp: str(hp.get("targets", "setting 1")),
)
def test_lora_c_keeps_them_in_its_other_forms(hp: dict[str, Any]) -> None:
    assert violations(CATALOGUE.all(Method)["lora_c"].cls, hp=hp) == []


@pytest.mark.parametrize(("name", "count"), [("linear_probe", 0), ("full_finetune", 23_508_032), ("bn_affine", 53_120)])
def test_counts_of_the_baselines_on_resnet50(name: str, count: int) -> None:
    method = CATALOGUE.all(Method)[name].cls
    model, _ = build_model("resnet50", None, 4, seed=0)
    assert method().expected_trainable(model, defaults(method.space)) == count


def test_full_finetune_trains_the_head_faster() -> None:
    method, model = CATALOGUE.all(Method)["full_finetune"].cls(), random_network()
    hp = {**defaults(method.space), "lr": 2e-4, "head_lr_ratio": 5.0, "weight_decay": 0.1}
    method.adapt(model, hp)
    groups = {g.name: (g.lr, g.weight_decay) for g in method.param_groups(model, hp)}
    assert groups == {"backbone": (2e-4, 0.1), "head": (pytest.approx(1e-3), 0.1)}


def test_bn_affine_decays_the_head_only_and_needs_a_norm() -> None:
    method, model = CATALOGUE.all(Method)["bn_affine"].cls(), random_network()
    hp = {**defaults(method.space), "weight_decay": 0.1}
    method.adapt(model, hp)
    assert [(g.name, g.weight_decay) for g in method.param_groups(model, hp)] == [
        ("backbone", 0.0),
        ("head", 0.1),
    ]
    with pytest.raises(NotDefinedError, match="no norm with a scale and a shift"):
        method.adapt(Model(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), 3, 4), hp)


class Sound(Method):
    """Trains the norms' scales; the base of the broken ones."""

    name = "sound"
    space: ClassVar[Space] = optimiser_space(Float(1e-2, 1e-3, 1e-1, log=True))

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        for module in model.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.requires_grad_(True)


class MovesFunction(Sound):
    """Changes the pretrained function."""

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        super().adapt(model, hp)
        with torch.no_grad():
            next(model.backbone.parameters()).mul_(1.001)


class NewHead(Sound):
    """Starts from a head of its own."""

    preserves_function = False

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        super().adapt(model, hp)
        model.head.reset_parameters()


class WrongCount(Sound):
    """Promises one scalar too many."""

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        self.adapt(model, hp)
        return 1 + sum(p.numel() for p in model.backbone.parameters() if p.requires_grad)


class ForgetsHead(Sound):
    """Leaves the head out of the optimiser."""

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        return super().param_groups(model, hp)[:1]


class NeverUsed(Sound):
    """Has a tensor that trains in name only."""

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        super().adapt(model, hp)
        model.backbone.register_parameter("idle", nn.Parameter(torch.zeros(3)))

    def training_step(self, context: Any, images: Tensor, labels: Tensor) -> Tensor:
        context.model.backbone.idle.grad = torch.zeros(3)
        return super().training_step(context, images, labels)


class MovesStatistics(Sound):
    """Promises frozen norms and lets their statistics move."""

    def training_step(self, context: Any, images: Tensor, labels: Tensor) -> Tensor:
        context.model.train()
        return super().training_step(context, images, labels)


class WrongMerge(Sound):
    """Loses a bias when it merges."""

    def merge(self, model: Model) -> None:
        with torch.no_grad():
            model.head.bias.add_(0.01)


class Forgetful(Sound):
    """Keeps a count that changes its steps and does not store it."""

    def __init__(self) -> None:
        self.count = 0

    def training_step(self, context: Any, images: Tensor, labels: Tensor) -> Tensor:
        self.count += 1
        return super().training_step(context, images * self.count, labels)


class OddState(Sound):
    """Stores an object that weights_only refuses."""

    def state(self) -> dict[str, Any]:
        return {"object": object}


@pytest.mark.parametrize(
    ("method", "complaint"),
    [
        (MovesFunction, "adapt changed the logits"),
        (NewHead, "adapt changed the head"),
        (WrongCount, "expected_trainable promises 785 scalars, 784 train"),
        (ForgetsHead, "head.weight trains but stands in 0 optimiser groups"),
        (NeverUsed, "backbone.idle is to train, but 3 steps left it as it was"),
        (MovesStatistics, "backbone.bn1.running_mean is to stay as it is, but training changed it"),
        (WrongMerge, "merge changed a logit by 0.01"),
        (Forgetful, "a step after resuming differs from the step without the interruption"),
        (OddState, "its checkpoint cannot be written and read"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_broken_promise_is_named(method: type[Method], complaint: str) -> None:
    found = violations(method)
    assert any(complaint in sentence for sentence in found), found


def test_a_sound_method_passes() -> None:
    assert violations(Sound) == []
