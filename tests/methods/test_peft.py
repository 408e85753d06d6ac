"""The PEFT library's adapters: they equal its own modules, ours equal them, and without it one line says what to do."""

from __future__ import annotations

import copy
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from adapting import adapted, chain, fill
from jobs import CATALOGUE, NEEDS_PEFT, Digits, job, run, run_in_pieces
from safetensors.torch import load_file
from torch import Tensor, nn

from harness.core.errors import RequestError
from harness.method import Method, NotDefinedError
from harness.networks.backbones import Model, build_model
from harness.networks.sites import conv_sites
from harness.proof.check_methods import main as check_methods
from harness.proof.comparison import trial_differences
from harness.proof.conformance import random_network, violations
from harness.space.parameters import defaults, searched

Peft = CATALOGUE.all(Method)["peft"].cls
TYPES = ("lora", "dora", "loha", "lokr", "hira", "ia3")
RESNET50 = {"lora": 79_232, "dora": 79_232 + 26_496, "loha": 158_464, "hira": 79_232, "ia3": 26_496}
"""Scalars of rank 1."""


def images(channels: int = 8) -> Tensor:
    return torch.randn(2, channels, 9, 9, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kind", TYPES)
def test_the_formula_counts_what_a_resnet50_would_train(kind: str) -> None:
    """Whether the library is there or not: launching asks for it."""
    model, _ = build_model("resnet50", None, 4, seed=0)
    count = Peft().expected_trainable(model, {**defaults(Peft.space), "type": kind, "rank": 1})
    if kind != "lokr":
        assert count == RESNET50[kind]
        return
    total = 0
    for site in conv_sites(model.backbone)[1:]:
        conv = site.module
        (a, b), (c, d) = (
            max((n, size // n) for n in range(1, size + 1) if size % n == 0 and n * n <= size)
            for size in (conv.out_channels, conv.in_channels)
        )
        total += a * c + (b + d * math.prod(conv.kernel_size))
    assert count == total


def test_hyperparameters_count_where_the_type_has_them() -> None:
    def counting(kind: str) -> set[str]:
        from harness.space.conditions import counts

        configuration = {**defaults(Peft.space), "type": kind}
        return {name for name in ("rank", "scale") if counts(Peft.space, name, configuration)}

    assert {kind: sorted(counting(kind)) for kind in TYPES} == {
        **{kind: ["rank", "scale"] for kind in ("lora", "dora", "loha", "lokr")}, "hira": ["rank"], "ia3": [],
    }  # fmt: skip
    assert "rank" in searched(Peft.space)


def test_without_the_library_it_is_listed_and_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(RequestError) as error:
        adapted("peft", chain())
    assert str(error.value).startswith("method peft needs the library of that name; pip install ")
    assert check_methods(["--method", "peft"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("method peft: cannot act on resnet20: method peft needs the library") and shown[-1] == "\n"


@pytest.mark.parametrize(
    ("model", "hp", "message"),
    [
        (chain(groups=8), {}, "this network has no convolution for type=lora and targets=all"),
        (chain(groups=8), {"type": "loha"}, "this network has no convolution for type=loha and targets=all"),
        (chain(dilation=2), {"type": "ia3"}, "this network has no convolution for type=ia3 and targets=all"),
        (chain(padding_mode="reflect"), {}, "this network has no convolution for type=lora and targets=all"),
        (chain(kernel=1), {"targets": "3x3"}, "this network has no convolution for type=lora and targets=3x3"),
    ],
    ids=["grouped", "larger", "dilated", "reflecting", "targets"],
)
def test_a_network_without_what_the_library_can_take_is_refused(model: Model, hp: dict[str, Any], message: str) -> None:
    given = {**defaults(Peft.space), **hp}
    for call in (Peft().adapt, Peft().expected_trainable):
        with pytest.raises(NotDefinedError) as error:
            call(model, given)
        assert str(error.value) == message


def test_a_rank_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="peft: rank=0 must be at least 1"):
        adapted("peft", chain(), rank=0)


@NEEDS_PEFT
@pytest.mark.parametrize("kind", TYPES)
def test_every_type_keeps_the_promises(kind: str) -> None:
    assert violations(Peft, random_network, {"type": kind, "rank": 4}) == []


@NEEDS_PEFT
@pytest.mark.parametrize("kind", ["loha", "lokr", "ia3"])
def test_types_for_several_groups_keep_the_promises_there(kind: str) -> None:
    assert violations(Peft, lambda: random_network("mobilenet_v3_small"), {"type": kind, "rank": 1}, briefly=True) == []


def own_layer(kind: str, conv: nn.Conv2d, rank: int, scale: float) -> Any:
    """The library's module around a convolution, made by its constructor and not by what chooses targets."""
    import peft
    from peft.tuners import hira, ia3, loha, lokr, lora

    alpha = scale * rank
    if kind in ("lora", "dora"):
        config = peft.LoraConfig(use_dora=kind == "dora")
        return lora.Conv2d(conv, "default", config=config, r=rank, lora_alpha=alpha)
    if kind == "loha":
        return loha.layer.Conv2d(conv, "default", config=peft.LoHaConfig(), r=rank, alpha=alpha)
    if kind == "lokr":
        return lokr.layer.Conv2d(conv, "default", config=peft.LoKrConfig(), r=rank, alpha=alpha)
    if kind == "hira":
        return hira.layer.Conv2d(conv, "default", config=peft.HiraConfig(), r=rank)
    return ia3.layer.Conv2d(conv, "default", config=peft.IA3Config())


@NEEDS_PEFT
@pytest.mark.parametrize(("kernel", "rank"), [(3, 2), (1, 3), (3, 8)])
@pytest.mark.parametrize("kind", TYPES)
def test_it_equals_the_librarys_own_module_with_equal_weights_and_merged(kind: str, kernel: int, rank: int) -> None:
    plain = chain(kernel=kernel)
    method, model = adapted("peft", copy.deepcopy(plain), type=kind, rank=rank, scale=1.5)
    conv, ours = plain.backbone.get_submodule("1"), model.backbone.get_submodule("1")
    assert isinstance(conv, nn.Conv2d)
    x = images()
    assert torch.equal(ours(x), conv(x))
    hp = {**defaults(method.space), "type": kind, "rank": rank}
    assert method.expected_trainable(plain, hp) == sum(p.numel() for p in ours.parameters() if p.requires_grad)
    fill(ours, 0.3)
    theirs = own_layer(kind, copy.deepcopy(conv), rank, 1.5)
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        value = ours(x)
        assert not torch.allclose(value, conv(x), atol=1e-2)
        assert torch.equal(value, theirs(x))
        theirs.merge()
        method.merge(model)
        merged = model.backbone.get_submodule("1")
        assert type(merged) is nn.Conv2d and torch.equal(merged(x), theirs(x))
        assert torch.allclose(merged(x), value, atol=1e-4)
    assert model.state_dict().keys() == plain.state_dict().keys()


@NEEDS_PEFT
@pytest.mark.parametrize(("kind", "method"), [("lora", "conv_lora"), ("dora", "dora")])
def test_our_own_forms_equal_the_librarys_with_equal_weights_and_merged(kind: str, method: str) -> None:
    for kernel in (1, 3):
        plain = chain(kernel=kernel)
        _, theirs = adapted("peft", copy.deepcopy(plain), type=kind, rank=3, scale=2.0)
        own, ours = adapted(method, copy.deepcopy(plain), rank=3, scale=2.0)
        layer: Any = theirs.backbone.get_submodule("1")
        site: Any = ours.backbone.get_submodule("1")
        fill(layer, 0.3)
        with torch.no_grad():
            site.branch.down.copy_(layer.lora_A["default"].weight)
            site.branch.up.copy_(layer.lora_B["default"].weight.flatten(1))
            if kind == "dora":
                site.branch.magnitude.copy_(layer.lora_magnitude_vector["default"].weight.flatten())
        x, upstream = images(), torch.randn(2, 16, 5, 5, generator=torch.Generator().manual_seed(4))
        names = ["lora_A.default.weight", "lora_B.default.weight", "lora_magnitude_vector.default.weight"]
        expected = torch.autograd.grad((layer(x) * upstream).sum(), [p for p in layer.parameters() if p.requires_grad])
        order = [name for name, p in layer.named_parameters() if p.requires_grad]
        by_name = dict(zip(order, expected, strict=True))
        leaves = [site.branch.down, site.branch.up, *([site.branch.magnitude] if kind == "dora" else [])]
        found = torch.autograd.grad((site(x) * upstream).sum(), leaves)
        for name, gradient in zip(names, found, strict=False):
            assert torch.allclose(gradient.flatten(), by_name[name].flatten(), rtol=1e-3, atol=1e-3), name
        with torch.no_grad():
            assert torch.allclose(site(x), layer(x), atol=1e-4)
            layer.merge()
            own.merge(ours)
            weight = ours.backbone.get_submodule("1").get_parameter("weight")
            assert torch.allclose(weight, layer.get_base_layer().weight, atol=1e-5)


@NEEDS_PEFT
def test_what_would_switch_filters_off_is_not_decayed() -> None:
    for kind, groups in {
        "lora": [("backbone", 0.1), ("head", 0.1)],
        "dora": [("backbone", 0.1), ("lengths", 0.0), ("head", 0.1)],
        "ia3": [("lengths", 0.0), ("head", 0.1)],
    }.items():
        method, model = adapted("peft", chain(), type=kind)
        made = method.param_groups(model, {**defaults(method.space), "weight_decay": 0.1})
        assert [(group.name, group.weight_decay) for group in made] == groups


@NEEDS_PEFT
def test_lengths_that_another_device_rounds_otherwise_are_measured_again() -> None:
    plain = chain()
    method, model = adapted("peft", copy.deepcopy(plain), type="dora")
    layer: Any = model.backbone.get_submodule("1")
    lengths, x = layer.lora_magnitude_vector["default"].weight, images(3)
    with torch.no_grad():
        lengths.mul_(1.001)
        assert not torch.equal(model(x), plain(x))
        method.prepare(model, iter([]))
        assert torch.equal(model(x), plain(x))
    assert layer.lora_magnitude_vector["default"].weight is lengths


@NEEDS_PEFT
def test_targets_are_those_of_our_own_methods_and_names_are_not_mistaken() -> None:
    """A network has a ``conv1`` at its stem, which stays, and in each block."""
    for targets in ("all", "3x3", "no_downsample", "stage3-4"):
        _, model = adapted("peft", random_network(), targets=targets)
        found = {name for name, module in model.backbone.named_modules() if hasattr(module, "base_layer")}
        _, ours = adapted("lora_c", random_network(), targets=targets)
        own = {name for name, module in ours.backbone.named_modules() if hasattr(module, "parametrizations")}
        assert found == own and "conv1" not in found


@NEEDS_PEFT
@pytest.mark.parametrize("kind", TYPES)
def test_a_trial_interrupted_after_every_step_ends_bit_identically(tmp_path: Path, digits: Digits, kind: str) -> None:
    precision = "bf16" if kind in ("dora", "loha") else "fp32"
    made = job(
        digits, "peft", hp={"type": kind, "rank": 2}, train={"precision": precision, "epochs": 2}, save_model=True
    )
    whole, result = run(made, tmp_path / "whole")
    assert result["status"] == "done", result
    pieces = run_in_pieces(made, tmp_path / "pieces", 2)
    assert trial_differences(whole, pieces) == []
    # What is kept is the plain network.
    assert load_file(whole.model_path).keys() == build_model("resnet20", None, 3, seed=0)[0].state_dict().keys()
