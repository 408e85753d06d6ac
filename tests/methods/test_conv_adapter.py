from __future__ import annotations

import copy
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from jobs import CATALOGUE, Digits, job, run, run_in_pieces
from torch import Tensor, nn

from harness.method import Method, NotDefinedError
from harness.networks.backbones import Model, build_model
from harness.proof.comparison import trial_differences
from harness.proof.conformance import random_network, violations
from harness.space.parameters import defaults

ConvAdapter = CATALOGUE.all(Method)["conv_adapter"].cls
DEFAULTS = defaults(ConvAdapter.space)


@cache
def resnet50() -> Model:
    return build_model("resnet50", None, 4, seed=0)[0]


def adapted(model: Model, **hp: Any) -> tuple[Method, Model]:
    method = ConvAdapter()
    method.adapt(model, {**DEFAULTS, **hp})
    return method, model


def fill(model: Model) -> None:
    """Give everything that the branches have random values, as if it had trained."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".adapter." in name:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def pictures(size: int = 64) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


# The 16 widths of ResNet-50 sum to 3,776 and their squares to 1,257,472.
@pytest.mark.parametrize(
    ("hp", "count"),
    [
        *(
            ({"reduction": reduction}, count)
            for reduction, count in {
                1: 1_302_784,
                2: 672_160,
                4: 356_848,
                8: 199_192,
                16: 120_364,
                32: 80_950,
                64: 61_243,
            }.items()
        ),
        *(
            ({"reduction": reduction, "variant": "brief"}, count)
            for reduction, count in {4: 642_896, 8: 323_336, 16: 163_556, 32: 83_666, 64: 43_721}.items()
        ),
        ({"reduction": 2, "final_norm": True}, 672_160 + 4_096),
    ],
    ids=str,
)
def test_resnet50_counts(hp: dict[str, Any], count: int) -> None:
    assert ConvAdapter().expected_trainable(resnet50(), {**DEFAULTS, **hp}) == count


def test_resnet50_has_sixteen_branches_with_the_strides_of_conv2() -> None:
    _, model = adapted(copy.deepcopy(resnet50()))
    trained = {name: p for name, p in model.backbone.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in trained.values()) == 356_848
    places = {name.split(".adapter.")[0] for name in trained}
    assert places == {f"layer{n}.{k}.conv2" for n, blocks in enumerate((3, 4, 6, 3), 1) for k in range(blocks)}
    for place in places:
        convolution: Any = model.backbone.get_submodule(place)
        down = convolution.adapter.down
        assert down.weight.shape == (convolution.in_channels // 4, 4, 3, 3)
        assert (down.stride, down.padding) == (convolution.stride, convolution.padding)


@pytest.mark.parametrize(("block", "hidden"), [("layer1.0", 16), ("layer4.2", 128)])
def test_w_dn_is_drawn_by_fan_out_as_in_the_authors_code(block: str, hidden: int) -> None:
    _, model = adapted(copy.deepcopy(resnet50()))
    down: Any = model.backbone.get_submodule(f"{block}.conv2.adapter.down")
    assert down.weight.std().item() == pytest.approx((2 / (hidden * 9)) ** 0.5, rel=0.1)
    assert not down.bias.any()


@pytest.mark.parametrize("block_name", ["layer1.1", "layer2.0"])
@pytest.mark.parametrize("hp", [{"join": "post_act"}, {"join": "pre_bn"}, {"variant": "brief"}], ids=str)
def test_a_bottleneck_computes_the_equation(block_name: str, hp: dict[str, Any]) -> None:
    # layer2.0 strides in conv2. The reference is written with functions, on the parameters alone.
    _, model = adapted(random_network("resnet50", 48), **hp)
    fill(model)
    block: Any = model.backbone.get_submodule(block_name)
    stride = block.conv2.stride[0]
    branch = block.conv2.adapter
    x = torch.randn(2, block.conv1.in_channels, 9, 9, generator=torch.Generator().manual_seed(2))

    def delta(h: Tensor) -> Tensor:
        if hp.get("variant") == "brief":
            h = F.conv2d(h, branch.reduce.weight, branch.reduce.bias)
        groups = len(branch.down.weight)
        h = F.conv2d(h, branch.down.weight, branch.down.bias, stride, 1, groups=groups).clamp(min=0)
        h = F.conv2d(h, branch.up.weight, branch.up.bias)
        return h if hp.get("variant") == "brief" else branch.scale * h

    with torch.no_grad():
        h1 = block.bn1(F.conv2d(x, block.conv1.weight)).clamp(min=0)
        z = F.conv2d(h1, block.conv2.weight, stride=stride, padding=1)
        if hp.get("join") == "pre_bn":
            h2 = block.bn2(z + delta(h1)).clamp(min=0)
        else:
            h2 = block.bn2(z).clamp(min=0) + delta(h1)
            assert (h2 < 0).any()
        shortcut = x if block.downsample is None else block.downsample(x)
        expected = (block.bn3(F.conv2d(h2, block.conv3.weight)) + shortcut).clamp(min=0)
        assert torch.allclose(block(x), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize(
    ("network", "size", "hp"),
    [
        ("resnet20", 32, {"join": "pre_bn", "reduction": 8}),
        ("resnet20", 32, {"reduction": 32}),
        ("resnet20", 32, {"variant": "brief", "reduction": 5}),
        ("resnet20", 32, {"variant": "brief", "final_norm": True}),
        ("resnet20", 32, {"variant": "brief", "join": "pre_bn", "optimizer": "sgd", "lr": 0.05}),
        ("densenet121", 32, {}),
        ("resnet50", 32, {"final_norm": True}),
    ],
    ids=str,
)
def test_every_form_keeps_its_promises(network: str, size: int, hp: dict[str, Any]) -> None:
    assert violations(ConvAdapter, partial(random_network, network, size), hp=hp, size=size) == []


@pytest.mark.parametrize("join", ["post_act", "pre_bn"])
def test_w_up_moves_first_and_without_its_branches_the_network_is_as_before(join: str) -> None:
    untouched, (_, model) = random_network("resnet18", 48), adapted(random_network("resnet18", 48), join=join)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for step in range(3):
        F.cross_entropy(model(pictures()), torch.tensor([0, 1])).backward()
        moving = {
            name.split(".adapter.")[1]
            for name, p in model.backbone.named_parameters()
            if p.requires_grad and p.grad is not None and p.grad.any()
        }
        everything = {"down.weight", "down.bias", "up.weight", "up.bias", "scale"}
        assert moving == ({"up.weight", "up.bias"} if step == 0 else everything)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        assert not torch.allclose(model(pictures()), untouched(pictures()), rtol=0.01, atol=0.01)
    kept = {name: tensor for name, tensor in model.state_dict().items() if ".adapter." not in name}
    removed = random_network("resnet18", 48)
    removed.load_state_dict({**kept, "head.weight": untouched.head.weight, "head.bias": untouched.head.bias})
    with torch.no_grad():
        assert torch.equal(removed(pictures()), untouched(pictures()))


def test_scale_and_w_up_are_one_factor() -> None:
    _, one = adapted(random_network())
    fill(one)
    other = copy.deepcopy(one)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if name.endswith("adapter.scale"):
                parameter.mul_(2)
            elif ".adapter.up." in name:
                parameter.mul_(0.5)
        assert torch.equal(one(pictures(32)), other(pictures(32)))


def test_scales_and_biases_are_not_decayed() -> None:
    hp = {**DEFAULTS, "weight_decay": 0.1, "final_norm": True}
    method, model = adapted(random_network(), **hp)
    decay = {id(p): group.weight_decay for group in method.param_groups(model, hp) for p in group.params}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decayed = name in ("head.weight", "head.bias") or name.endswith(("down.weight", "up.weight"))
            assert decay[id(parameter)] == (0.1 if decayed else 0.0), name


def test_nothing_of_a_training_pass_stays_in_the_network() -> None:
    # A tensor with a history would keep the pass's memory, and could not be copied.
    _, model = adapted(random_network())
    fill(model)
    logits = model(pictures(32))
    assert logits.requires_grad and torch.equal(copy.deepcopy(model)(pictures(32)), logits)


@pytest.mark.parametrize(("name", "after"), [("densenet121", False), ("mobilenet_v2", True)])
def test_without_an_activation_behind_it_the_branch_joins_behind_the_convolution(name: str, after: bool) -> None:
    post, pre = (adapted(random_network(name, 32), join=join)[1] for join in ("post_act", "pre_bn"))
    pre.load_state_dict(post.state_dict())
    for model in (post, pre):
        fill(model)
    with torch.no_grad():
        assert torch.equal(post(pictures(32)), pre(pictures(32))) != after


def test_basic_blocks_have_one_branch_each() -> None:
    _, model = adapted(random_network("resnet18"))
    places = {name.split(".adapter.")[0] for name, p in model.backbone.named_parameters() if p.requires_grad}
    assert places == {f"layer{n}.{k}.conv1" for n in (1, 2, 3, 4) for k in (0, 1)}


def test_an_interrupted_trial_ends_bit_identically(tmp_path: Path, digits: Digits) -> None:
    made = job(digits, "conv_adapter", hp={"final_norm": True})
    whole, result = run(made, tmp_path / "whole")
    assert result["status"] == "done", result
    assert trial_differences(whole, run_in_pieces(made, tmp_path / "pieces", 4)) == []


@pytest.mark.parametrize(
    ("network", "hp", "message"),
    [
        ("resnet20", {"reduction": 0}, "reduction=0 is below 1"),
        ("densenet121", {"final_norm": True}, "pools without a module, so that final_norm finds no place"),
        ("mobilenet_v3_small", {"final_norm": True}, "layers follow this network's pooling"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(network: str, hp: dict[str, Any], message: str) -> None:
    model, _ = build_model(network, None, 4, seed=0)
    with pytest.raises(ValueError, match=message):
        adapted(model, **hp)
    assert not any(p.requires_grad for p in model.backbone.parameters())


def test_a_network_without_sites_is_refused() -> None:
    model = Model(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 8, 4)
    with pytest.raises(NotDefinedError, match="this network has no spatial convolution beside its first"):
        adapted(model)
