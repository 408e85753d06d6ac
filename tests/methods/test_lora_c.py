from __future__ import annotations

import copy
import functools
from functools import cache
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from harness.method import Method, NotDefinedError
from harness.networks.backbones import Model, build_model
from harness.networks.sites import conv_sites
from harness.plugins import discover
from harness.proof.conformance import random_network, violations
from harness.space.parameters import defaults
from harness.spec.space_forms import override

LoraC = discover().all(Method)["lora_c"].cls
DEFAULTS = defaults(LoraC.space)


@cache
def resnet50() -> Model:
    return build_model("resnet50", None, 4, seed=0)[0]


def adapted(model: Model, **hp: Any) -> tuple[Method, Model]:
    method = LoraC()
    method.adapt(model, {**DEFAULTS, **hp})
    return method, model


def fill(model: Model, seed: int = 0) -> None:
    """Give every B random values, as if it had trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".B"):
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))


# Cost per rank of the 52, 49 and 16 target convolutions, computed from the table of layers of ResNet-50.
@pytest.mark.parametrize(
    ("hp", "count"),
    [
        *(({"setting": 2, "rank": r}, 64_128 * r) for r in (1, 2, 4, 8, 16, 32, 64)),
        ({"setting": 1, "rank": 16}, 1_751_040),
        ({"setting": 2, "rank": 1, "targets": "no_downsample"}, 58_432),
        ({"setting": 1, "rank": 1, "targets": "no_downsample"}, 103_744),
        ({"setting": 2, "rank": 1, "targets": "3x3"}, 22_656),
        ({"setting": 2, "rank": 4, "targets": "3x3"}, 90_624),
        ({"setting": 1, "rank": 1, "targets": "3x3"}, 67_968),
    ],
)
def test_resnet50_counts(hp: dict[str, Any], count: int) -> None:
    assert LoraC().expected_trainable(resnet50(), {**DEFAULTS, **hp}) == count


def test_stages_divide_the_targets() -> None:
    counts = {
        targets: LoraC().expected_trainable(resnet50(), {**DEFAULTS, "rank": 1, "targets": targets})
        for targets in ("stage1", "stage2", "stage3", "stage4", "stage3-4")
    }
    assert sum(counts[f"stage{n}"] for n in (1, 2, 3, 4)) == 64_128
    assert counts["stage3-4"] == counts["stage3"] + counts["stage4"]
    # layer4: three blocks of 512 and 2,048 channels, the first of them from 1,024 with a shortcut.
    assert counts["stage4"] == 3 * (1024 * 3 + 2560) + 1536 + 2 * 2560 + 3072
    _, model = adapted(random_network(), targets="stage3", rank=1)
    assert {name.split(".")[0] for name, p in model.backbone.named_parameters() if p.requires_grad} == {"layer3"}


def test_the_tiny_form_as_a_sweep_writes_it() -> None:
    given = yaml.safe_load("{rank: 1, targets: 3x3}")
    hp = defaults(override(LoraC.space, given, "methods.lora_c_tiny"))
    assert LoraC().expected_trainable(resnet50(), hp) == 22_656


def test_resnet50_trains_what_the_formula_says() -> None:
    _, model = adapted(copy.deepcopy(resnet50()))
    trained = {name: p.numel() for name, p in model.backbone.named_parameters() if p.requires_grad}
    assert sum(trained.values()) == 513_024
    assert len(trained) == 2 * 52
    assert {name.rpartition(".")[2] for name in trained} == {"A", "B"}
    assert not any(name.startswith("conv1.") for name in trained)


@pytest.mark.parametrize("setting", [1, 2])
def test_view_reads_the_product_row_by_row(setting: int) -> None:
    # An entry of B A in row i and column j must land at flat position i · ci k + j of (co, ci, k, k). The
    # other reading, reshape(co, k, ci, k) and permute, would put it at [1, 13, 2, 1].
    _, model = adapted(random_network(), setting=setting, rank=1, scale=2.0, targets="3x3")
    convolution: Any = model.backbone.get_submodule("layer2.0.conv1")
    original = convolution.parametrizations.weight.original
    update = convolution.parametrizations.weight[0]
    channels_out, channels_in, kernel, _ = original.shape
    assert (channels_out, channels_in, kernel) == (32, 16, 3)
    inner = 3 if setting == 1 else 1
    assert update.A.shape == (inner, 16 * 3)
    assert update.B.shape == (32 * 3, inner)
    row, column = 5, 40
    with torch.no_grad():
        update.A.zero_()
        update.A[0, column] = 1.0
        update.B[row, 0] = 1.0
    change = (convolution.weight - original).detach()
    # 5 · 48 + 40 = 280 = 1 · 144 + 15 · 9 + 0 · 3 + 1.
    assert change.nonzero().tolist() == [[1, 15, 0, 1]]
    assert change[1, 15, 0, 1].item() == pytest.approx(2.0, abs=1e-6)


@pytest.mark.parametrize(("setting", "bound"), [(1, 6), (2, 2)])
def test_rank_of_the_update_is_bounded(setting: int, bound: int) -> None:
    _, model = adapted(random_network(), setting=setting, rank=2, targets="3x3")
    fill(model)
    for site in conv_sites(model.backbone):
        if not site.stem and site.module.kernel_size == (3, 3):
            convolution: Any = site.module
            change = (convolution.weight - convolution.parametrizations.weight.original).detach().double()
            matrix = change.reshape(site.module.out_channels * 3, site.module.in_channels * 3)
            assert torch.linalg.matrix_rank(matrix, rtol=1e-5).item() == bound, site.name


def test_a_starts_uniform_in_its_bound_and_b_at_zero() -> None:
    _, model = adapted(random_network("resnet18"), rank=8)
    update = model.backbone.get_submodule("layer4.1.conv2.parametrizations.weight.0")
    down, up = update.get_parameter("A"), update.get_parameter("B")
    bound = (512 * 3) ** -0.5
    assert 0.99 * bound < down.abs().max().item() <= bound
    assert down.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not up.any()


def test_merge_makes_plain_convolutions_and_keeps_the_function() -> None:
    # layer2.0 has a 3×3 convolution of stride 2 and a 1×1 shortcut.
    untouched = random_network()
    method, model = adapted(random_network())
    fill(model)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    merged = copy.deepcopy(model)
    method.merge(merged)
    method.merge(merged)
    with torch.no_grad():
        expected, after, pretrained = model.eval()(images), merged.eval()(images), untouched(images)
    assert torch.allclose(after, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(pretrained, expected, rtol=1e-2, atol=1e-2)
    assert merged.state_dict().keys() == untouched.state_dict().keys()
    assert {type(m) for m in merged.modules() if isinstance(m, nn.Conv2d)} == {nn.Conv2d}


def grouped(groups: int, channels: int = 16, kernel: int | tuple[int, int] = 3) -> Model:
    """A stem, and a convolution of so many groups."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, channels, 3), nn.Conv2d(channels, 2 * channels, kernel, groups=groups)
    return Model(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 2 * channels, 4)


@pytest.mark.parametrize(("groups", "setting"), [(1, 1), (1, 2), (2, 1), (4, 2), (16, 2)])
def test_a_grouped_convolution_is_decomposed_as_the_weight_that_it_has(groups: int, setting: int) -> None:
    method, model = adapted(grouped(groups), rank=1, setting=setting, scale=2.0)
    inputs, outputs, inner = 16 // groups, 32, 3 if setting == 1 else 1
    count = inner * (inputs * 3 + outputs * 3)
    assert method.expected_trainable(grouped(groups), {**DEFAULTS, "rank": 1, "setting": setting}) == count
    assert sum(p.numel() for p in model.backbone.parameters() if p.requires_grad) == count
    fill(model)
    convolution: Any = model.backbone.get_submodule("1")
    update = convolution.parametrizations.weight[0]
    images = torch.randn(2, 16, 9, 9, generator=torch.Generator().manual_seed(1))
    # By the equation, group after group.
    change = 2.0 * (update.B @ update.A).reshape(outputs, inputs, 3, 3)
    weights = (convolution.parametrizations.weight.original + change).chunk(groups)
    parts = [nn.functional.conv2d(x, w) for x, w in zip(images.chunk(groups, 1), weights, strict=True)]
    with torch.no_grad():
        expected = torch.cat(parts, 1) + convolution.bias[:, None, None]
        assert torch.allclose(convolution(images), expected, atol=1e-5)
        merged = copy.deepcopy(model)
        method.merge(merged)
        assert torch.equal(merged.backbone.get_submodule("1")(images), convolution(images))


def test_the_update_of_one_group_is_the_papers_to_the_last_bit() -> None:
    dense, model = grouped(1), adapted(grouped(1), rank=4)[1]
    update: Any = model.backbone.get_submodule("1.parametrizations.weight.0")
    torch.manual_seed(0)
    grouped(1)
    down = nn.init.kaiming_uniform_(torch.empty(4, 16 * 3), a=5**0.5)
    assert torch.equal(update.A, down) and update.B.shape == (32 * 3, 4)
    fill(model)
    weight = dense.backbone.get_submodule("1").weight + 2.0 * (update.B @ update.A).view(32, 16, 3, 3)
    assert torch.equal(model.backbone.get_submodule("1").weight, weight)


@pytest.mark.parametrize(
    ("groups", "channels", "kernel", "asked", "rank"),
    [(1, 16, 3, 32, 32), (2, 16, 3, 32, 19), (16, 16, 3, 32, 2), (16, 16, 5, 32, 4), (16, 16, 3, 1, 1)],
)
def test_a_grouped_update_is_smaller_than_its_kernel(
    groups: int, channels: int, kernel: int, asked: int, rank: int
) -> None:
    model = adapted(grouped(groups, channels, kernel), rank=asked)[1]
    weight = model.backbone.get_submodule("1").weight.numel()
    update: Any = model.backbone.get_submodule("1.parametrizations.weight.0")
    assert len(update.A) == rank
    assert groups == 1 or update.A.numel() + update.B.numel() < weight
    assert rank == asked or (rank + 1) * (update.A.numel() + update.B.numel()) >= rank * weight


def test_depthwise_convolutions_are_left_alone_where_asked_or_where_nothing_is_gained() -> None:
    model = build_model("mobilenet_v2", None, 4, seed=0)[0]
    wanted = {s.name for s in conv_sites(model.backbone) if s.module.groups == 1 and not s.stem}
    depthwise = {s.name for s in conv_sites(model.backbone) if s.module.groups > 1}
    for hp, names in (
        ({"targets": "dense"}, wanted),
        ({}, wanted | depthwise),
        ({"setting": 1, "rank": 1}, wanted),  # 9 (c + 1) scalars for the 9 c of a kernel
        ({"targets": "3x3"}, depthwise),
    ):
        _, changed = adapted(copy.deepcopy(model), **hp)
        found = {
            name.partition(".parametrizations")[0] for name, _ in changed.backbone.named_parameters() if ".A" in name
        }
        assert found == names, hp
    with pytest.raises(NotDefinedError, match="no convolution for targets=dense"):
        adapted(grouped(16), targets="dense")


def test_a_kernel_that_is_no_square_has_its_height_in_b_and_its_width_in_a() -> None:
    method, model = adapted(grouped(1, kernel=(1, 7)), rank=2)
    update: Any = model.backbone.get_submodule("1.parametrizations.weight.0")
    assert (update.A.shape, update.B.shape) == ((2, 16 * 7), (32, 2))
    fill(model)
    images = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    merged = copy.deepcopy(model)
    method.merge(merged)
    # With a gradient the two branches are taken, without one the composed weight.
    assert torch.allclose(model(images), merged(images), atol=1e-5)


def test_a_network_without_targets_is_refused() -> None:
    model = Model(nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 8, 4)
    with pytest.raises(NotDefinedError, match="no convolution for targets=all"):
        LoraC().adapt(model, DEFAULTS)


def test_each_kind_of_convolution_computes_the_two_branches() -> None:
    # W x + s · view(B A) x, in float64, for the merged and for the parametrised convolution.
    method, model = adapted(copy.deepcopy(resnet50()), rank=2, scale=2.0)
    fill(model)
    merged = copy.deepcopy(model)
    method.merge(merged)
    generator = torch.Generator().manual_seed(3)
    kinds = {
        "layer1.0.conv1": (1, 1),
        "layer1.0.conv2": (3, 1),
        "layer2.0.conv2": (3, 2),
        "layer2.0.downsample.0": (1, 2),
    }
    for name, (kernel, stride) in kinds.items():
        convolution: Any = model.backbone.get_submodule(name)
        assert (convolution.kernel_size, convolution.stride) == ((kernel, kernel), (stride, stride))
        update = convolution.parametrizations.weight[0]
        images = torch.randn(2, convolution.in_channels, 12, 12, generator=generator)
        change = (update.B.double() @ update.A.double()).view(convolution.weight.shape)
        original = convolution.parametrizations.weight.original.double()
        with torch.no_grad():
            first, second = (
                nn.functional.conv2d(images.double(), weight, stride=stride, padding=kernel // 2)
                for weight in (original, change)
            )
            # A wrong scale would be seen.
            assert second.abs().max() > 1e-3 * max(1.0, first.abs().max())
            expected = (first + 2.0 * second).float()
            for network in (model, merged):
                output = network.backbone.get_submodule(name)(images)
                assert torch.allclose(output, expected, rtol=0, atol=1e-5 * max(1.0, expected.abs().max().item()))


@pytest.mark.parametrize("training", [True, False])
def test_no_saved_state_merges_twice(training: bool) -> None:
    method, model = adapted(random_network(), rank_dropout=0.5)
    fill(model)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model.eval()(images)
    state = copy.deepcopy(model.train(training).state_dict())
    original = random_network().state_dict()["backbone.layer1.0.conv1.weight"]
    assert torch.equal(state["backbone.layer1.0.conv1.parametrizations.weight.original"], original)

    merged = copy.deepcopy(model)
    method.merge(merged)
    with pytest.raises(RuntimeError, match="Missing key"):
        adapted(random_network())[1].load_state_dict(merged.state_dict())
    _, restored = adapted(random_network(), rank_dropout=0.5)
    restored.load_state_dict(state)
    again = copy.deepcopy(restored.train(training))
    method.merge(again)
    plain = random_network()
    plain.load_state_dict(merged.state_dict())
    with torch.no_grad():
        assert torch.equal(restored.eval()(images), expected)
        for network in (merged, again, plain):
            assert torch.allclose(network.eval()(images), expected, rtol=0, atol=1e-5)


def test_twice_the_scale_and_half_of_b_are_the_same() -> None:
    _, one = adapted(random_network(), scale=2.0)
    _, other = adapted(random_network(), scale=4.0)
    fill(one)
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if name.endswith(".B"):
                parameter.mul_(0.5)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(one(images), other(images))


def test_rank_dropout_leaves_out_rows_of_a_in_training_only() -> None:
    _, model = adapted(random_network(), rank=16, rank_dropout=0.25, targets="3x3")
    fill(model)
    convolution: Any = model.backbone.get_submodule("layer3.0.conv2")
    update = convolution.parametrizations.weight[0]
    original = convolution.parametrizations.weight.original
    with torch.no_grad():
        model.eval()
        whole = (convolution.weight - original).double()
        parts = torch.stack([column[:, None] @ row[None] for column, row in zip(update.B.T, update.A, strict=True)])
        model.train()
        torch.manual_seed(0)
        drawn = [(convolution.weight - original).double() for _ in range(200)]
        # Each draw is a sum over rows of A with coefficients 0 or 4/3, which least squares finds.
        table = update.scale * parts.reshape(16, -1).T.double()
        kept = torch.stack([torch.linalg.lstsq(table, d.reshape(-1)).solution for d in drawn])
    assert torch.allclose(kept, (kept > 0.5).double() * 4 / 3, atol=1e-4)
    assert (kept > 0.5).double().mean().item() == pytest.approx(0.75, abs=0.03)
    assert torch.allclose(whole, (table.sum(1)).view(whole.shape), atol=1e-5)
    with pytest.raises(ValueError, match="rank_dropout=1 must be at least 0 and below 1"):
        adapted(random_network(), rank_dropout=1.0)


def test_with_dropout_and_by_stage_it_keeps_its_promises() -> None:
    assert violations(LoraC, hp={"rank_dropout": 0.5, "targets": "stage3"}) == []


@pytest.mark.parametrize("setting", [1, 2])
def test_the_branch_has_the_gradients_of_the_composed_weight(setting: int) -> None:
    _, model = adapted(random_network("resnet18"), setting=setting, rank=1, rank_dropout=0.5)
    fill(model)
    images = torch.randn(4, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    found = []
    for composed in (False, True):
        network = copy.deepcopy(model).train()
        for site in conv_sites(network.backbone):
            if composed and not site.stem:
                site.module.forward = functools.partial(nn.Conv2d.forward, site.module)  # type: ignore[method-assign]
        network.eval()
        for site in conv_sites(network.backbone):
            site.module.train()
        torch.manual_seed(0)
        value = network(images)
        value.square().sum().backward()
        found.append([value.detach(), *(p.grad for p in network.parameters() if p.requires_grad)])
    for ours, reference in zip(*found, strict=True):
        assert (ours - reference).norm() <= 1e-4 * reference.norm()
    assert not torch.equal(found[0][0], found[1][0])  # another order of additions: the branch was taken
