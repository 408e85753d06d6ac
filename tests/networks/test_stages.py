"""Stages of a network: by the architecture's names, or by its sequence of blocks."""

from __future__ import annotations

import pytest
from torch import nn

from harness.networks.backbones import build_model
from harness.networks.sites import conv_sites
from harness.networks.stages import stages

# Parameters of each stage; those of ResNet-50 are a table's in methods/test_counts.py.
SIZES = {
    "resnet20": {1: 14_016, 2: 51_648, 3: 205_696},
    "densenet121": {1: 335_040, 2: 919_680, 3: 2_837_760, 4: 2_158_080},
    "regnet_y_400mf": {1: 10_040, 2: 102_296, 3: 737_438, 4: 3_052_442},
    "convnext_tiny": {1: 237_888, 2: 918_144, 3: 10_817_280, 4: 14_289_408},
    "efficientnet_b0": {1: 1_448, 2: 16_714, 3: 46_640, 4: 242_930, 5: 543_148, 6: 2_026_348, 7: 717_232},
    "mobilenet_v2": {1: 896, 2: 13_968, 3: 39_696, 4: 183_872, 5: 303_168, 6: 795_264, 7: 473_920},
    "mobilenet_v3_small": {1: 744, 2: 9_280, 3: 128_264, 4: 51_768, 5: 680_040},
    "vgg11_bn": {1: 1_920, 2: 74_112, 3: 886_272, 4: 3_542_016, 5: 4_721_664},
}
TIMM = {"timm:mobilenetv2_100": "mobilenet_v2", "timm:regnety_004": "regnet_y_400mf", "timm:vgg11_bn": "vgg11_bn"}


def sizes(name: str) -> dict[int, int]:
    backbone = build_model(name, None, 2, seed=0)[0].backbone
    found: dict[int, int] = {}
    numbers = stages(backbone)
    for path, parameter in backbone.named_parameters():
        stage = numbers.get(path.rpartition(".")[0])
        if stage is not None:
            found[stage] = found.get(stage, 0) + parameter.numel()
    assert {site.name: site.stage for site in conv_sites(backbone)}.items() >= {
        (path, stage) for path, stage in numbers.items() if isinstance(backbone.get_submodule(path), nn.Conv2d)
    }
    return found


@pytest.mark.parametrize("name", SIZES)
def test_each_architecture_has_its_own(name: str) -> None:
    assert sizes(name) == SIZES[name]


@pytest.mark.parametrize("name", TIMM)
def test_timm_names_and_numbers_the_same_stages(name: str) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    assert sizes(name) == SIZES[TIMM[name]]


@pytest.mark.parametrize("layers", [[nn.Conv2d(3, 4, 3)], [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)]])
def test_a_network_without_any_has_none(layers: list[nn.Module]) -> None:
    assert stages(nn.Sequential(*layers)) == stages(nn.ModuleDict({"body": nn.Sequential(*layers)})) == {}
