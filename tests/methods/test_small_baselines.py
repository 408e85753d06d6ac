"""Baselines that train a part of the network or a small addition: which, computing what, and merged how."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from adapting import adapted, chain, fill
from jobs import CATALOGUE, runnable
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.method import Method, NotDefinedError
from harness.networks.backbones import Model, build_model
from harness.proof.conformance import random_network, violations
from harness.space.parameters import defaults


def features(model: Model, size: int = 32) -> Tensor:
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found: Tensor = model.eval().backbone(images)
    return found


def trained(model: Model) -> set[str]:
    return {name for name, p in model.backbone.named_parameters() if p.requires_grad}


def test_the_last_block_trains_whole() -> None:
    resnet, densenet = random_network("resnet18", 48), build_model("densenet121", None, 4, seed=0)[0]
    assert {name.rpartition("layer4.1")[1] for name in trained(adapted("last_block", resnet)[1])} == {"layer4.1"}
    places = {name.rsplit(".", 2)[0] for name in trained(adapted("last_block", densenet)[1])}
    assert places == {"features.denseblock4.denselayer16", "features"}
    assert "features.norm5.weight" in trained(densenet)


@pytest.mark.parametrize(("network", "place"), [("resnet18", "layer"), ("densenet121", "features.denseblock")])
def test_surgical_trains_exactly_one_stage(network: str, place: str) -> None:
    model, _ = build_model(network, None, 4, seed=0)
    for stage in (1, 2, 3, 4):
        names = {name for name, _ in model.backbone.named_parameters() if name.startswith(f"{place}{stage}.")}
        assert trained(adapted("surgical", model, stage=stage)[1]) == names


def test_bitfit_trains_every_bias_and_decays_none() -> None:
    method, model = adapted("bitfit", random_network())
    names = [name for name, p in model.backbone.named_parameters() if p.dim() == 1 and name.endswith("bias")]
    assert trained(model) == set(names)
    groups = method.param_groups(model, {**defaults(method.space), "weight_decay": 0.1})
    assert [(group.name, group.weight_decay) for group in groups] == [("backbone", 0.0), ("head", 0.1)]
    # A network without norms has biases at its convolutions.
    plain = Model(nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten()), 5, 2)
    assert adapted("bitfit", plain)[0].expected_trainable(plain, {}) == 5


def test_ssf_merges_into_the_norms_and_into_what_bn_affine_can_reach() -> None:
    plain = random_network()
    method, model = adapted("ssf", copy.deepcopy(plain))
    fill(model.backbone)
    expected, before = features(model), copy.deepcopy(model)
    merged = copy.deepcopy(model)
    method.merge(merged)
    assert (features(merged) - expected).abs().max() <= 1e-6 * max(1.0, float(expected.abs().max()))
    assert merged.state_dict().keys() == plain.state_dict().keys()
    # Only gamma and beta differ from the pretrained network: what bn_affine trains.
    differing = {name for name, p in merged.state_dict().items() if not torch.equal(p, plain.state_dict()[name])}
    assert differing == {f"backbone.{name}" for name in trained(adapted("bn_affine", copy.deepcopy(plain))[1])}
    norms = [module for module in merged.modules() if isinstance(module, _BatchNorm)]
    scaled = [module for module in before.modules() if hasattr(module, "shift")]
    for norm, one in zip(norms, scaled, strict=True):
        assert torch.allclose(norm.weight, one.norm.weight * one.scale, rtol=1e-6)
        assert torch.allclose(norm.bias, one.norm.bias * one.scale + one.shift, atol=1e-6)


BRANCHES = [
    ("residual_adapter", {"rank": 0}),
    ("residual_adapter", {"rank": 3}),
    ("conv_lora", {"rank": 3, "scale": 2.0}),
    ("conv_lora", {"rank": 1, "targets": "3x3", "scale": 0.5}),
]


@pytest.mark.parametrize(("name", "hp"), BRANCHES, ids=str)
def test_a_branch_starts_at_nothing_computes_its_formula_and_merges(name: str, hp: dict[str, Any]) -> None:
    # ResNet-18 has 3×3 convolutions with and without a stride, and 1×1 ones with a stride on its shortcuts.
    plain = random_network("resnet18", 32)
    method, model = adapted(name, copy.deepcopy(plain), **hp)
    assert torch.equal(features(model), features(plain))
    fill(model.backbone)
    place = "layer2.0.conv1"
    site: Any = model.backbone.get_submodule(place)
    x = torch.randn(2, 64, 9, 9, generator=torch.Generator().manual_seed(2))
    weights = list(site.branch.parameters())
    with torch.no_grad():
        value = site(x) - nn.functional.conv2d(x, plain.backbone.get_submodule(place).weight, stride=2, padding=1)
        if name == "conv_lora":
            inner = nn.functional.conv2d(x, site.branch.down, stride=2, padding=1)
            formula = hp["scale"] * torch.einsum("or,nrij->noij", site.branch.up, inner)
        else:
            matrix = site.branch.up @ site.branch.down if hp["rank"] else site.branch.up
            formula = torch.einsum("oc,ncij->noij", matrix, x[:, :, ::2, ::2])
    assert len(weights) == (1 if hp["rank"] == 0 else 2)
    assert torch.allclose(value, formula, atol=1e-4 * float(formula.abs().max()))

    expected, merged = features(model), copy.deepcopy(model)
    assert not torch.allclose(expected, features(plain), rtol=1e-2)
    for _ in range(2):
        method.merge(merged)
        change = (features(merged) - expected).abs().max() / max(1.0, float(expected.abs().max()))
        assert change <= 1e-6
    assert merged.state_dict().keys() == plain.state_dict().keys()
    # Merging a copy leaves the original as it was, and without its branches that is the pretrained network.
    assert torch.equal(features(model), expected)
    with torch.no_grad():
        for part, parameter in model.named_parameters():
            if part.endswith("branch.up"):
                parameter.zero_()
    assert torch.equal(features(model), features(plain))


def test_curvature_tuning_is_the_activation_of_that_name() -> None:
    own, ours = adapted("curvature_tuning", random_network())
    _, theirs = adapted("activation", random_network(), kind="t_ct", scale="one")
    assert torch.equal(features(ours), features(theirs))
    assert trained(ours) == trained(theirs)
    groups = own.param_groups(ours, {**defaults(own.space), "weight_decay": 0.1})
    assert [(g.name, g.lr, g.weight_decay) for g in groups] == [("backbone", 0.1, 0.0), ("head", 1e-3, 0.1)]


def test_a_random_residual_is_frozen_and_vanishes_with_its_amplitude() -> None:
    plain = random_network()
    assert torch.equal(features(adapted("gpaf_random", copy.deepcopy(plain), amplitude=0.0)[1]), features(plain))
    deviations = []
    for amplitude in (0.01, 0.1):
        model = adapted("gpaf_random", copy.deepcopy(plain), amplitude=amplitude)[1]
        assert trained(model) == set()
        deviations.append(float((features(model) - features(plain)).norm() / features(plain).norm()))
    assert 0 < deviations[0] < 0.2 * deviations[1]
    repeated = [adapted("gpaf_random", copy.deepcopy(plain), sharing="global")[1] for _ in range(2)]
    assert torch.equal(features(repeated[0]), features(repeated[1]))


@pytest.mark.parametrize(
    ("name", "hp", "message"),
    [
        ("lp_ft", {"probe": 1.0}, "lp_ft: probe=1 must be at least 0 and below 1"),
        ("lp_ft", {"warmup": -0.1}, "lp_ft: warmup=-0.1 must be at least 0 and below 1"),
        ("wise_ft", {"probe": 0.0}, "wise_ft: probe=0 leaves the pretrained weights without a head; take 0.3"),
        ("wise_ft", {"points": 1}, "wise_ft: points=1 must be at least 2: the two ends"),
        ("l2_sp", {"alpha": -1.0}, "l2_sp: alpha=-1 and beta=0.01 must not be negative"),
        ("layerwise_decay", {"decay": 1.5}, "layerwise_decay: decay=1.5 must be above 0 and at most 1"),
        ("surgical", {"stage": 4}, "this network has no stage 4; it has [1, 2, 3]"),
        ("residual_adapter", {"rank": -1}, "residual_adapter: rank=-1 must be 0, for none, or above"),
        ("conv_lora", {"rank": 0}, "conv_lora: rank=0 must be at least 1"),
        ("gpaf_random", {"amplitude": -0.1}, "gpaf_random: amplitude=-0.1 must not be negative"),
    ],
)
def test_values_out_of_range_are_refused(name: str, hp: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        adapted(name, random_network(), **hp)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("last_block", "this network has no block with a convolution or a linear layer"),
        ("surgical", "this network has no stage 1; it has none that can be told"),
        ("bitfit", "this network has no bias"),
        ("ssf", "this network has no norm with a scale and a shift"),
        ("residual_adapter", "this network has no spatial convolution of odd size beside its first"),
        ("conv_lora", "this network has no convolution for targets=all"),
        ("from_scratch", "this network has no name by which it could be built anew"),
    ],
)
def test_a_network_without_what_it_takes_is_refused(name: str, message: str) -> None:
    bare = Model(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), 3, 4)
    with pytest.raises(NotDefinedError) as error:
        adapted(name, bare)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "hp", "groups", "count"),
    [
        # 8 / g inputs an output: 16 · 8 / g scalars directly, r (8 / g + 16) as a product.
        ("residual_adapter", {}, 1, 128),
        ("residual_adapter", {}, 2, 64),
        ("residual_adapter", {}, 8, 16),
        ("residual_adapter", {"rank": 2}, 2, 40),
        ("residual_adapter", {"rank": 2}, 8, 16),
        # r (9 · 8 / g + 16), of which a depthwise kernel of 144 scalars has room for 5.
        ("conv_lora", {"rank": 8}, 1, 704),
        ("conv_lora", {"rank": 8}, 2, 416),
        ("conv_lora", {"rank": 8}, 8, 125),
    ],
    ids=str,
)
def test_a_branch_beside_a_grouped_convolution_has_its_groups(
    name: str, hp: dict[str, Any], groups: int, count: int
) -> None:
    plain, (method, model) = chain(groups), adapted(name, chain(groups), **hp)
    assert method.expected_trainable(plain, {**defaults(method.space), **hp}) == count
    assert sum(p.numel() for p in model.backbone.parameters() if p.requires_grad) == count
    fill(model.backbone)
    site: Any = model.backbone.get_submodule("1")
    x = torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        up, parts = site.branch.up.chunk(groups), x.chunk(groups, 1)
        if name == "conv_lora":
            inner = [nn.functional.conv2d(part, site.branch.down, stride=2, padding=1) for part in parts]
            up = [2.0 * matrix for matrix in up]
        else:
            inner = [part[:, :, ::2, ::2] for part in parts]
            up = up if site.branch.down is None else [matrix @ site.branch.down for matrix in up]
        added = torch.cat([torch.einsum("or,nrij->noij", m, part) for m, part in zip(up, inner, strict=True)], 1)
        expected = plain.backbone.get_submodule("1")(x) + added
        assert torch.allclose(site(x), expected, atol=1e-4)
        method.merge(model)
        assert torch.allclose(model.backbone.get_submodule("1")(x), expected, atol=1e-4)


def test_a_kernel_without_a_middle_has_no_residual_adapter() -> None:
    with pytest.raises(NotDefinedError, match="no spatial convolution of odd size"):
        adapted("residual_adapter", chain(1, kernel=2))


@pytest.mark.parametrize("norm", [nn.LayerNorm(5), nn.GroupNorm(2, 6), nn.BatchNorm2d(6)])
@pytest.mark.parametrize("name", ["ssf", "bn_affine", "bitfit"])
def test_scales_and_shifts_of_every_norm_train(name: str, norm: nn.Module) -> None:
    norm = copy.deepcopy(norm)
    plain = Model(nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), norm, nn.Flatten()), 6 * 25, 2)
    x = torch.randn(2, 3, 7, 7, generator=torch.Generator().manual_seed(2))
    plain.eval()
    method, model = adapted(name, copy.deepcopy(plain))
    channels = norm.get_parameter("weight").numel()
    assert method.expected_trainable(plain, {}) == channels * (1 if name == "bitfit" else 2)
    assert torch.equal(model(x), plain(x))
    fill(model.backbone)
    expected = model(x)
    assert not torch.allclose(expected, plain(x))
    method.merge(model)
    assert torch.allclose(model(x), expected, atol=1e-5)
    assert model.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.large
@pytest.mark.parametrize("name", runnable(sorted(CATALOGUE.all(Method))))
@pytest.mark.parametrize("network", ["resnet50", "densenet121"])
def test_every_method_keeps_its_promises_on_large_networks(name: str, network: str) -> None:
    assert violations(CATALOGUE.all(Method)[name].cls, partial(random_network, network, 32), size=32) == []
