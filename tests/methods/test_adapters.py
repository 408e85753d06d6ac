"""Adapters that end in one kernel: what each computes, by other means, on convolutions of one and of several groups."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from adapting import adapted, chain, fill
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import CATALOGUE, Digits, job, run, run_in_pieces
from sklearn.decomposition import sparse_encode
from torch import Tensor, nn
from torch.nn.functional import conv2d

from harness.method import Method, NotDefinedError
from harness.networks.backbones import Model, build_model
from harness.networks.sites import conv_sites
from harness.proof.comparison import trial_differences
from harness.proof.conformance import random_network, violations
from harness.space.parameters import defaults


def method_class(name: str) -> type[Method]:
    return CATALOGUE.all(Method)[name].cls


def module_of(name: str) -> Any:
    """The file of a method, or a helper that it imports, as the catalogue has loaded it."""
    package = method_class("lora_edge").__module__.rpartition(".")[0]
    return sys.modules[f"{package}.{name}"]


def by_operations(name: str, conv: nn.Conv2d, branch: Any, x: Tensor) -> Tensor:
    """What the adapted convolution is to give, by the operations of its source, a group at a time."""
    parts = []
    for number, part in enumerate(x.chunk(conv.groups, 1)):
        count = conv.out_channels // conv.groups
        rows = slice(number * count, (number + 1) * count)
        kernel = conv.weight[rows]
        plain = conv2d(part, kernel, stride=2, padding=1)
        if name == "dora":
            # As the PEFT library has it: m / ‖V‖ times the outputs of both branches.
            low = 2.0 * conv2d(conv2d(part, branch.down, stride=2, padding=1), branch.up[rows, :, None, None])
            update = torch.einsum("or,rikl->oikl", branch.up[rows], branch.down)
            lengths = (kernel + 2.0 * update).pow(2).sum((1, 2, 3)).sqrt()
            parts.append((branch.magnitude[rows] / lengths)[:, None, None] * (plain + low))
        elif name == "lora_edge":
            inner = conv2d(part, branch.rest, stride=2, padding=1)
            parts.append(plain + conv2d(inner, branch.core[rows, :, None, None]))
        elif name == "colora":
            inner = conv2d(part, branch.point[rows, :, None, None])
            parts.append(plain + conv2d(inner, branch.depth[rows, None], stride=2, padding=1, groups=count))
        else:
            added = torch.zeros_like(kernel)
            for output in range(count):
                for source in range(kernel.shape[1]):
                    for atom, coefficient in enumerate(branch.coefficients[rows][output, source]):
                        own = branch.atoms[atom]
                        weights = [1.0] if branch.mixture is None else branch.mixture[source, atom]
                        for weight, inner in zip(weights, own, strict=True):
                            added[output, source] += coefficient * weight * inner
            parts.append(plain + conv2d(part, added, stride=2, padding=1))
    bias = torch.zeros(1) if conv.bias is None else conv.bias
    return torch.cat(parts, 1) + bias[:, None, None]


CASES = [
    # 9 · 8 / g + 16 a rank, and 16 lengths; a depthwise kernel of 144 scalars has room for rank 5.
    ("dora", {"rank": 3}, 1, 3 * 88 + 16),
    ("dora", {"rank": 3}, 2, 3 * 52 + 16),
    ("dora", {"rank": 8}, 8, 5 * 25 + 16),
    # 16 a rank, which is at most 16, the outputs; a depthwise one has fewer scalars than its kernel up to 8.
    ("lora_edge", {"rank": 4}, 1, 64),
    ("lora_edge", {"rank": 32}, 1, 256),
    ("lora_edge", {"rank": 4}, 2, 64),
    ("lora_edge", {"rank": 32}, 8, 128),
    # 16 (8 / g + 9); a depthwise one would have 160, more than its kernel.
    ("colora", {}, 1, 272),
    ("colora", {}, 2, 208),
    ("colora", {"targets": "all"}, 8, 160),
    # 9 m; with inner ones j m (9 + 8 / g).
    ("filter_atoms", {}, 1, 81),
    ("filter_atoms", {"atoms": 6}, 2, 54),
    ("filter_atoms", {"atoms": 12}, 8, 108),
    ("filter_atoms", {"atoms": 6, "inner": 2}, 1, 204),
    ("filter_atoms", {"atoms": 2, "inner": 2}, 8, 40),
]


@pytest.mark.parametrize(("name", "hp", "groups", "count"), CASES, ids=str)
def test_an_adapter_starts_at_nothing_computes_its_formula_counts_and_merges(
    name: str, hp: dict[str, Any], groups: int, count: int
) -> None:
    plain = chain(groups)
    method, model = adapted(name, chain(groups), **hp)
    x = torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(2))
    conv, site = plain.backbone.get_submodule("1"), model.backbone.get_submodule("1")
    assert isinstance(conv, nn.Conv2d)
    with torch.no_grad():
        assert torch.equal(site(x), conv(x))
        assert method.expected_trainable(plain, {**defaults(method.space), **hp}) == count
        assert sum(p.numel() for p in model.backbone.parameters() if p.requires_grad) == count
        fill(model.backbone)
        expected = by_operations(name, conv, site.branch, x)
        assert not torch.allclose(expected, conv(x), atol=1e-2)
        assert torch.allclose(site(x), expected, atol=1e-4)
        merged = copy.deepcopy(model)
        for _ in range(2):
            method.merge(merged)
            assert torch.equal(merged.backbone.get_submodule("1")(x), site(x))
    assert merged.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "hp"),
    [
        ("dora", {"rank": 1, "targets": "3x3", "scale": 0.5}),
        ("lora_edge", {"rank": 2, "targets": "stage3-4"}),
        ("colora", {"targets": "all"}),
        ("filter_atoms", {"atoms": 6, "inner": 3}),
    ],
    ids=str,
)
def test_they_keep_their_promises_in_their_other_forms(name: str, hp: dict[str, Any]) -> None:
    assert violations(method_class(name), random_network, hp) == []


@pytest.mark.parametrize("name", ["colora", "dora", "filter_atoms", "lora_edge"])
def test_a_trial_in_half_precision_interrupted_after_every_step_ends_bit_identically(
    tmp_path: Path, digits: Digits, name: str
) -> None:
    made = job(digits, name, train={"precision": "bf16", "epochs": 2})
    whole, result = run(made, tmp_path / "whole")
    assert result["status"] == "done", result
    assert trial_differences(whole, run_in_pieces(made, tmp_path / "pieces", 2)) == []


def test_a_trained_length_is_the_length_of_its_filter_and_is_not_decayed() -> None:
    method, model = adapted("dora", chain(1), rank=2)
    site: Any = model.backbone.get_submodule("1")
    groups = method.param_groups(model, {**defaults(method.space), "weight_decay": 0.1})
    assert [(g.name, g.weight_decay, len(g.params)) for g in groups] == [
        ("backbone", 0.1, 2), ("lengths", 0.0, 1), ("head", 0.1, 2),
    ]  # fmt: skip
    fill(model.backbone)
    weight = site.weight()
    assert torch.allclose(weight.flatten(1).norm(dim=1), site.branch.magnitude, rtol=1e-5)
    # ‖V‖ is a constant in the backward pass, so that the gradient may change the length of V too.
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    (found,) = torch.autograd.grad((weight * direction).sum(), site.branch.up)
    moved = (site.conv.weight + site.branch.kernel()).flatten(1)
    factor = (site.branch.magnitude / moved.norm(dim=1))[:, None]
    assert torch.allclose(found, 2.0 * (factor * direction.flatten(1)) @ site.branch.down.flatten(1).T, rtol=1e-4)


def test_a_filter_without_length_stays_and_the_others_start_as_pretrained_on_any_device() -> None:
    plain = chain(1)
    with torch.no_grad():
        plain.backbone.get_submodule("1").get_parameter("weight")[3] = 0.0
    method, model = adapted("dora", copy.deepcopy(plain))
    x = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(2))
    assert torch.equal(model(x), plain(x))
    model(x).square().sum().backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    # What another device rounds otherwise is measured again before the first step.
    site: Any = model.backbone.get_submodule("1")
    with torch.no_grad():
        site.branch.magnitude.mul_(1.001)
    assert not torch.equal(model(x), plain(x))
    method.prepare(model, iter([]))
    assert torch.equal(model(x), plain(x))


shapes = st.tuples(*(st.integers(1, most) for most in (9, 6, 4, 4)))


@given(shapes, st.integers(1, 12), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_the_frozen_cores_are_those_of_a_tensor_train(shape: tuple[int, ...], rank: int, seed: int) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rest = module_of("lora_edge").tensor_train_rest(weight, rank)
    assert rest.shape == (min(rank, shape[0], weight[0].numel()), *shape[1:])
    # The same by singular value decompositions, core by core; axes and signs of equal directions may differ.
    cores, current, before = [], weight, 1
    for size in shape[:-1]:
        u, values, v = torch.linalg.svd(current.reshape(before * size, -1), full_matrices=False)
        kept = min(rank, len(values))
        cores.append(u[:, :kept].reshape(before, size, kept))
        current, before = values[:kept, None] * v[:kept], kept
    train = current.reshape(before, shape[-1])
    for core in reversed(cores[1:]):
        train = torch.tensordot(core, train, 1)
    assert torch.allclose(rest.flatten(1).norm(dim=1), train.flatten(1).norm(dim=1), atol=1e-6)
    assert torch.allclose(rest.flatten(1).T @ rest.flatten(1), train.flatten(1).T @ train.flatten(1), atol=1e-6)
    if rank >= weight.numel():
        whole = torch.linalg.lstsq(rest.flatten(1).T, weight.flatten(1).T).solution
        assert torch.allclose(whole.T @ rest.flatten(1), weight.flatten(1), atol=1e-8)


@pytest.mark.parametrize("atoms", [1, 6, 9])
def test_codes_are_those_of_the_reference_for_the_atoms_that_were_found(atoms: int) -> None:
    torch.manual_seed(0)
    samples = 0.05 * torch.randn(200, 9, dtype=torch.float64) @ torch.randn(9, 9, dtype=torch.float64)
    codes, dictionary = module_of("_sparse_coding").sparse_codes(samples, atoms)
    assert torch.allclose(dictionary.norm(dim=1), torch.ones(atoms, dtype=torch.float64))
    options = {"algorithm": "lasso_cd", "alpha": 1e-3, "max_iter": 100_000}
    expected = torch.tensor(sparse_encode(samples.numpy(), dictionary.numpy(), **options))
    assert torch.allclose(codes, expected, atol=1e-4)
    # The more atoms, the closer; nine can say everything but what the penalty costs.
    error = float((samples - codes @ dictionary).norm() / samples.norm())
    assert error < {1: 0.95, 6: 0.5, 9: 0.02}[atoms]


def test_the_coefficients_are_a_code_of_the_kernel_and_frozen() -> None:
    plain = random_network()
    _, model = adapted("filter_atoms", copy.deepcopy(plain))
    site: Any = model.backbone.get_submodule("layer1.0.conv2")
    assert not site.branch.coefficients.requires_grad
    weight = plain.backbone.get_submodule("layer1.0.conv2").get_parameter("weight")
    codes = site.branch.coefficients.flatten(0, 1)
    atoms = torch.linalg.lstsq(codes, weight.reshape(len(codes), -1)).solution
    assert (codes @ atoms - weight.reshape(len(codes), -1)).norm() < 0.05 * weight.norm()


def test_colora_has_as_many_scalars_as_its_authors_count_in_a_vgg16() -> None:
    """They report millions, cut off, by the first block that is adapted, with two biases a layer and their own head."""
    model, _ = build_model("vgg16", None, 4, seed=0)
    cls, convs = method_class("colora"), [site.module for site in conv_sites(model.backbone)]
    own = [c.out_channels * (c.in_channels + 9) for c in convs]
    assert cls().expected_trainable(model, defaults(cls.space)) == sum(own[1:])
    theirs = [scalars + 2 * c.out_channels for scalars, c in zip(own, convs, strict=True)]
    head = (512 + 1) * 128 + (49 * 128 + 1) * 128 + (128 + 1) * 4
    firsts = {1: 0, 2: 2, 3: 4, 4: 7, 5: 10}
    reported = {1: 2.55, 2: 2.54, 3: 2.51, 4: 2.34, 5: 1.67}
    assert {block: (head + sum(theirs[at:])) // 10_000 / 100 for block, at in firsts.items()} == reported


@pytest.mark.parametrize(
    ("name", "hp", "message"),
    [
        ("dora", {"rank": 0}, "dora: rank=0 must be at least 1"),
        ("lora_edge", {"rank": 0}, "lora_edge: rank=0 must be at least 1"),
        ("filter_atoms", {"atoms": 0}, "filter_atoms: atoms=0 must be at least 1 and inner=0 at least 0, for none"),
        ("filter_atoms", {"inner": -1}, "filter_atoms: atoms=9 must be at least 1 and inner=-1 at least 0, for none"),
    ],
)
def test_values_out_of_range_are_refused(name: str, hp: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        adapted(name, chain(1), **hp)
    assert str(error.value) == message


BARE = Model(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), 3, 4)


@pytest.mark.parametrize(
    ("name", "model", "message"),
    [
        ("dora", BARE, "this network has no convolution for targets=all"),
        ("lora_edge", BARE, "this network has no convolution for targets=all"),
        ("colora", BARE, "this network has no convolution beside its first"),
        (
            "colora",
            chain(8),
            "no kernel of this network is larger than its update; targets=all adapts them all the same",
        ),
        (
            "filter_atoms",
            chain(1, kernel=1),
            "this network has no spatial convolution with more weights than its atoms would have",
        ),
    ],
    ids=["dora", "lora_edge", "colora", "colora depthwise", "filter_atoms"],
)
def test_a_network_without_what_it_takes_is_refused(name: str, model: Model, message: str) -> None:
    model, method = copy.deepcopy(model), method_class(name)()
    for call in (method.adapt, method.expected_trainable):
        with pytest.raises(NotDefinedError) as error:
            call(model, defaults(method.space))
        assert str(error.value) == message
