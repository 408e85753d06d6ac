"""What there is in a ResNet-50 to count, and what each method trains of it, against tables from the literature."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from jobs import CATALOGUE
from torch import nn

from harness.method import Method
from harness.networks.backbones import Model, build_model
from harness.networks.sites import ConvSite, conv_sites, norm_sites
from harness.networks.stages import stages
from harness.space.parameters import defaults

BACKBONE = 23_508_032


@cache
def resnet50() -> Model:
    return build_model("resnet50", None, 4, seed=0)[0]


def total(parameters: Any) -> int:
    return sum(p.numel() for p in parameters)


def count(method: str, **hp: Any) -> int | None:
    cls = CATALOGUE.all(Method)[method].cls
    return cls().expected_trainable(resnet50(), {**defaults(cls.space), **hp})


def test_the_inventory() -> None:
    backbone = resnet50().backbone
    convs, norms = conv_sites(backbone), norm_sites(backbone)
    assert (len(convs), len(norms)) == (53, 53)
    assert sum(site.downsample for site in convs) == 4
    assert all(site.module.bias is None for site in convs)
    assert total(site.module.weight for site in convs) == 23_454_912
    assert total(p for site in norms for p in site.module.parameters()) == 53_120
    statistics = [b for site in norms for name, b in site.module.named_buffers() if name.startswith("running")]
    assert total(statistics) == 53_120
    assert total(backbone.parameters()) == BACKBONE == 23_454_912 + 53_120
    assert len(list(resnet50().parameters())) == 161
    assert BACKBONE + 2_049 * 1_000 == 25_557_032
    # One module serves three calls of each bottleneck; the calls are counted in the tests of activation sites.
    assert sum(isinstance(module, nn.ReLU) for module in build_model("resnet50", None, 2, 0)[0].modules()) == 17


@pytest.mark.parametrize(("classes", "scalars"), [(4, 8_196), (7, 14_343), (9, 18_441), (14, 28_686)])
def test_the_head(classes: int, scalars: int) -> None:
    assert total(Model(nn.Identity(), 2_048, classes).head.parameters()) == scalars


def test_the_stages() -> None:
    sizes: dict[int | None, int] = {}
    numbers = stages(resnet50().backbone)
    for name, parameter in resnet50().backbone.named_parameters():
        stage = numbers.get(name.rpartition(".")[0])
        sizes[stage] = sizes.get(stage, 0) + parameter.numel()
    assert sizes == {None: 9_536, 1: 215_808, 2: 1_219_584, 3: 7_098_368, 4: 14_964_736}
    assert [count("surgical", stage=stage) for stage in (1, 2, 3, 4)] == [sizes[stage] for stage in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("method", "hp", "scalars"),
    [
        ("from_scratch", {}, BACKBONE),
        ("random_features", {}, 0),
        ("lp_ft", {}, BACKBONE),
        ("wise_ft", {}, BACKBONE),
        ("l2_sp", {}, BACKBONE),
        ("layerwise_decay", {}, BACKBONE),
        ("auto_rgn", {}, 23_454_912),
        ("last_block", {}, 4_462_592),
        ("bitfit", {}, 26_560),
        ("ssf", {}, 53_120),
        ("residual_adapter", {}, 1_257_472),
        ("residual_adapter", {"rank": 8}, 60_416),
        ("conv_lora", {"rank": 1}, 79_232),
        ("conv_lora", {"rank": 8}, 8 * 79_232),
        ("conv_lora", {"rank": 1, "targets": "no_downsample"}, 73_536),
        ("conv_lora", {"rank": 1, "targets": "3x3"}, 37_760),
        ("dora", {"rank": 8}, 8 * 79_232 + 26_496),
        ("dora", {"rank": 1, "targets": "3x3"}, 37_760 + 3_776),
        ("lora_edge", {"rank": 1}, 26_496),
        ("lora_edge", {"rank": 8}, 8 * 26_496),
        ("colora", {}, 1_257_472 + 9 * 3_776),
        ("colora", {"targets": "all"}, 12_128_256 + 22_720 + 1_257_472 + 9 * 3_776),
        ("filter_atoms", {"atoms": 6}, 864),
        ("filter_atoms", {}, 1_296),
        ("filter_atoms", {"atoms": 12}, 1_728),
        ("filter_atoms", {"inner": 3}, 3 * 9 * (16 * 9 + 3_776)),
        # At equal parameters with GPAF in its form w4.
        ("gpaf", {}, 90_880),
        ("activation", {"kind": "kan_residual_4"}, 90_880),
        ("activation", {"kind": "pau_residual_4"}, 90_880),
        ("curvature_tuning", {}, 45_440),
        ("gpaf_random", {}, 0),
        ("lora_c", {"setting": 1, "rank": 1}, 109_440),
        ("lora_c", {"targets": "3x3", "rank": 16}, 362_496),
    ],
    ids=str,
)
def test_what_trains(method: str, hp: dict[str, Any], scalars: int) -> None:
    assert count(method, **hp) == scalars


def cost(sites: list[ConvSite], form: str) -> int:
    """Scalars of a low-rank update of rank 1 of each convolution, by its formula."""
    formulas = {
        "setting 2": lambda ci, co, k: (ci + co) * k,
        "setting 1": lambda ci, co, k: (ci + co) * k * k,
        "branch": lambda ci, co, k: ci * k * k + co,
    }
    shapes = [(s.module.in_channels, s.module.out_channels, s.module.kernel_size[0]) for s in sites]
    return sum(formulas[form](*shape) for shape in shapes)


def test_low_rank_updates_of_every_convolution_the_stem_included() -> None:
    sites = conv_sites(resnet50().backbone)
    unit = {form: cost(sites, form) for form in ("setting 2", "setting 1", "branch")}
    assert unit == {"setting 2": 64_597, "setting 1": 112_723, "branch": 79_443}
    assert [8 * unit[form] for form in unit] == [516_776, 901_784, 635_544]
    # What the methods count, which leave the stem alone, is less by that of the stem.
    stem = {form: cost(sites[:1], form) for form in unit}
    assert count("lora_c", rank=1) == unit["setting 2"] - stem["setting 2"]
    assert count("lora_c", rank=1, setting=1) == unit["setting 1"] - stem["setting 1"]
    assert count("conv_lora", rank=1) == unit["branch"] - stem["branch"]
    # A magnitude for each output channel, as DoRA adds.
    assert sum(site.module.out_channels for site in sites[1:]) == 26_496


def test_adapters_in_blocks_without_a_stride() -> None:
    widths = [
        site.module.in_channels
        for site in conv_sites(resnet50().backbone)
        if site.module.kernel_size == (3, 3) and site.module.stride == (1, 1)
    ]
    counts = [sum(11 * w + w // r + w * w // r for w in widths) for r in (1, 2, 4, 8, 16, 32, 64)]
    assert counts == [947_968, 489_824, 260_752, 146_216, 88_948, 60_314, 45_997]


@pytest.mark.parametrize(
    ("method", "hp", "shown"),
    [
        ("lora_c", {"rank": 1}, "0.273"),
        ("lora_c", {"rank": 4}, "1.09"),
        ("lora_c", {"rank": 8}, "2.18"),
        ("lora_c", {"rank": 16}, "4.36"),
        ("lora_c", {"rank": 64}, "17.5"),
        ("lora_c", {"rank": 16, "setting": 1}, "7.45"),
        ("lora_c", {"rank": 1, "targets": "3x3"}, "0.096"),
        ("conv_adapter", {"reduction": 1}, "5.54"),
        ("conv_adapter", {"reduction": 2}, "2.86"),
        ("conv_adapter", {"reduction": 4}, "1.52"),
        ("conv_adapter", {"reduction": 8}, "0.85"),
        ("conv_adapter", {"reduction": 16}, "0.51"),
        ("conv_adapter", {"reduction": 32}, "0.34"),
        ("conv_adapter", {"reduction": 64}, "0.26"),
        ("gpaf", {}, "0.387"),
    ],
    ids=str,
)
def test_shares_of_the_backbone(method: str, hp: dict[str, Any], shown: str) -> None:
    scalars = count(method, **hp)
    assert scalars is not None
    decimals = len(shown.partition(".")[2])
    assert f"{100 * scalars / BACKBONE:.{decimals}f}" == shown
