"""What an adapted network costs is counted right, reaches result and report, and disturbs nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from jobs import CATALOGUE, Digits, job, run
from torch import Tensor, nn

from harness.method import Hyperparameters, Method, optimiser_space
from harness.networks.backbones import Model, build_model
from harness.networks.costs import Pretrained, cost, multiply_adds, pretrained, storage_bytes, trained_parameters
from harness.proof.conformance import random_network
from harness.space.parameters import Float, defaults

if TYPE_CHECKING:
    from harness.space.parameters import Value

RESNET50 = 23_508_032


@pytest.fixture(scope="module")
def resnet50() -> Pretrained:
    return pretrained("resnet50", None, 224)


def adapted(method: str, backbone: str, **hp: Value) -> Model:
    cls = CATALOGUE.find(Method, method, "test").cls
    model, _ = build_model(backbone, None, 4, seed=1)
    cls().adapt(model, {**defaults(cls.space), **hp})
    return model


def test_resnet50_has_the_published_multiply_adds_and_parameters(resnet50: Pretrained) -> None:
    assert resnet50.multiply_adds == 4_087_136_256
    assert resnet50.size == RESNET50


@pytest.mark.parametrize(
    ("method", "own", "norm", "added"),
    [
        ("linear_probe", 0, 0, 0),
        ("bn_affine", 0, 53_120, 0),
        ("full_finetune", RESNET50 - 53_120, 53_120, 0),
        # A convolution whose weight is composed of W0 and B A counts once.
        ("lora_c", 513_024, 0, 0),
        # Σ over 16 places of (9 w + w²/4) · height · width; the published 0.064 G at reduction 4.
        ("conv_adapter", 356_848, 0, 63_798_784),
    ],
)
def test_parameters_and_multiply_adds_on_resnet50(
    resnet50: Pretrained, method: str, own: int, norm: int, added: int
) -> None:
    figures = cost(adapted(method, "resnet50"), resnet50, 224, None)
    assert (figures["own"], figures["norm"], figures["head"]) == (own, norm, 2_049 * 4)
    assert figures["backbone"] == RESNET50
    assert figures["percent"] == pytest.approx(100 * (own + norm) / RESNET50)
    assert figures["multiply_adds"] - figures["multiply_adds_before"] == added
    assert figures["storage_bytes"] == 4 * (own + norm + 2_049 * 4)


def test_multiply_adds_of_groups_strides_and_layers_that_run_twice() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 8, (3, 5), stride=2, padding=(1, 2))
            self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)
            self.last = nn.Linear(8, 6)

        def forward(self, x: Tensor) -> Tensor:
            maps = self.grouped(self.grouped(self.first(x)))
            features: Tensor = self.last(maps.mean((2, 3)))
            return features

    # 16 × 16 images: 8 × 8 places after the stride.
    expected = 64 * (8 * 3 * 15) + 2 * 64 * (8 * 2 * 9) + 6 * 8
    assert multiply_adds(Model(Net(), 6, 2), 16) == expected


def test_counting_leaves_modes_buffers_hooks_and_generators_as_they_were() -> None:
    model = random_network()
    model.train()
    model.backbone.get_submodule("bn1").eval()
    modes = [module.training for module in model.modules()]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    state = torch.get_rng_state()
    multiply_adds(model, 32)
    cost(model, pretrained("resnet20", None, 32), 32, None)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in model.modules())


class Wrapper(nn.Module):
    """Stands around a frozen layer and brings a frozen buffer-like tensor and a trained one of its own."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        self.random = nn.Parameter(torch.zeros(5), requires_grad=False)
        self.gain = nn.Parameter(torch.ones(7))
        self.register_buffer("measured", torch.zeros(11))

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.layer(x)
        return maps * self.gain.mean()


class Wraps(Method):
    """Wraps the first convolution."""

    name = "wraps"
    space = optimiser_space(Float(1e-3, 1e-4, 1e-2, log=True))

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        model.backbone.set_submodule("conv1", Wrapper(model.backbone.get_submodule("conv1")))  # type: ignore[arg-type]


def test_storage_is_what_the_pretrained_file_does_not_have() -> None:
    before = pretrained("resnet20", None, 32)
    model, _ = build_model("resnet20", None, 4, seed=0)
    head = sum(p.numel() for p in model.head.parameters())
    Wraps().adapt(model, defaults(Wraps.space))
    # The wrapped weight has another name and is the pretrained one all the same.
    assert storage_bytes(model, before) == 4 * (head + 5 + 7 + 11)
    assert trained_parameters(model) == {"own": 7, "norm": 0, "head": head}
    norm = model.backbone.get_submodule("bn1")
    assert isinstance(norm.running_mean, Tensor)
    norm.running_mean.add_(1.0)
    assert storage_bytes(model, before) == 4 * (head + 5 + 7 + 11 + norm.running_mean.numel())
    model, _ = build_model("resnet20", None, 4, seed=0)
    # Each batch norm has two statistics a channel and a count of 8 bytes.
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert storage_bytes(model, before, moving=True) == 4 * head + sum(8 * m.num_features + 8 for m in norms)


def test_a_result_holds_the_cost_of_what_was_trained(digits: Digits, tmp_path: Path) -> None:
    _, result = run(job(digits, "full_finetune", train={"epochs": 1}), tmp_path / "full")
    size = pretrained("resnet20", None, 8).size
    figures = result["cost"]
    head = figures["head"]
    assert figures["own"] + figures["norm"] == figures["backbone"] == size
    assert figures["percent"] == 100
    # AdamW keeps two moments a scalar and a step count a tensor.
    assert 0 <= figures["optimizer_bytes"] - 8 * (size + head) <= 4 * 200
    # Its batch norms' running statistics have moved, so they are kept, too.
    assert figures["storage_bytes"] > 4 * (size + head)
    _, probe = run(job(digits, "linear_probe", train={"epochs": 1}), tmp_path / "probe")
    assert probe["cost"]["storage_bytes"] == 4 * head
    assert json.loads((tmp_path / "probe" / "result.json").read_text())["cost"] == probe["cost"]
