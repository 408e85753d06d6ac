"""MetaLR's equations, seen through its training step: what it does to rates, network and optimiser."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import CATALOGUE, Digits, job, run, run_in_pieces
from torch import Tensor, nn

from harness.method import Method
from harness.networks.backbones import Model, build_model, set_training_mode
from harness.proof.comparison import trial_differences
from harness.proof.conformance import random_network, violations
from harness.space.parameters import defaults
from harness.train.step import StepContext, build_optimizer

MetaLR = CATALOGUE.all(Method)["metalr"].cls
PAPER = {"slope": "raw", "update": "additive", "head_pinned": 0.0}
FACTOR = 0.6


def batch(seed: int, size: int = 8, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, 3, 16, 16, generator=generator, dtype=dtype), torch.arange(size) % 4


@dataclass
class Batches:
    """One meta batch and one fixed training batch, and a note of which were asked for."""

    meta: tuple[Tensor, Tensor]
    fixed: tuple[Tensor, Tensor]

    def __post_init__(self) -> None:
        self.asked: list[str] = []

    def draw(self, side: str, size: int, number: int) -> tuple[Tensor, Tensor]:
        self.asked.append(f"{side} {size} {number}")
        return self.meta

    def first(self, size: int) -> tuple[Tensor, Tensor]:
        self.asked.append(f"first {size}")
        return self.fixed

    def all(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        raise NotImplementedError


class DoubleContext(StepContext):
    """A context whose loss does not round logits to float32."""

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        value: Tensor = self.criterion(self.forward(images), labels)
        return value


def smooth(model: Model) -> None:
    """Exchange ReLU, across whose kinks finite differences say nothing about a derivative, for SiLU."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.SiLU())


class Run:
    """A method on the small network, with its optimiser, at a schedule's factor of ``FACTOR``."""

    def __init__(self, dtype: torch.dtype = torch.float32, method: Any = MetaLR, **hp: Any) -> None:
        # A sweep's train.optimizer names more kinds than the hyperparameter does.
        self.options = {"momentum": 0.8, "nesterov": True} if hp.get("optimizer") == "nesterov" else {}
        if self.options:
            hp["optimizer"] = "sgd"
        self.hp = {**defaults(MetaLR.space), **hp}
        self.method, self.model = method(), random_network().to(dtype)
        if dtype == torch.float64:
            smooth(self.model)
        self.method.adapt(self.model, self.hp)
        self.context = (DoubleContext if dtype == torch.float64 else StepContext)(
            model=self.model,
            optimizer=self.built(self.model),
            criterion=nn.CrossEntropyLoss(),
            device=torch.device("cpu"),
            precision=None,
            scaler=None,
            clip_norm=None,
            batches=Batches(batch(1, dtype=dtype), batch(2, dtype=dtype)),
            steps_per_epoch=10,
            total_steps=10,
        )

    def built(self, model: Model) -> torch.optim.Optimizer:
        return build_optimizer(self.hp["optimizer"], self.method.param_groups(model, self.hp), **self.options)

    @property
    def rates(self) -> list[float]:
        return [group["peak_lr"] for group in self.context.optimizer.param_groups]

    def step(self, images: Tensor, labels: Tensor) -> None:
        set_training_mode(self.model, "train")
        for group in self.context.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * FACTOR
        self.method.training_step(self.context, images, labels)
        self.context.step += 1


def loss_after(run: Run, images: Tensor, labels: Tensor, group: int, change: float, ascend: bool = False) -> float:
    """L_V, with batch statistics, after the optimiser itself has stepped with one rate changed."""
    model, optimizer, context = copy.deepcopy((run.model, run.context.optimizer, run.context))
    optimizer = run.built(model)
    optimizer.load_state_dict(copy.deepcopy(run.context.optimizer.state_dict()))
    if run.hp["inner"] == "sgd" or ascend:
        plain = [{key: entry[key] for key in ("params", "peak_lr")} for entry in optimizer.param_groups]
        optimizer = torch.optim.SGD(plain, maximize=ascend)
    for number, entry in enumerate(optimizer.param_groups):
        entry["lr"] = (entry["peak_lr"] + (change if number == group else 0.0)) * FACTOR
    context.model, context.optimizer = model, optimizer
    model.train()
    context.backward_and_step(context.loss(images, labels))
    with torch.no_grad():
        return context.loss(*(context.batches.first(8) if ascend else context.batches.draw("meta", 8, 0))).item()


@pytest.mark.parametrize(
    "hp",
    [
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "sgd", "weight_decay": 0.1},
        {"optimizer": "adam", "weight_decay": 0.1},
        {"optimizer": "nesterov", "weight_decay": 0.1},
        {"optimizer": "sgd", "inner": "sgd", "weight_decay": 0.1},
        {"variant": "official", "eta": 1e-4},
    ],
    ids=["adamw", "sgd", "adam", "nesterov", "paper", "official"],
)
def test_the_rates_follow_the_slope_of_the_meta_loss(hp: dict[str, Any]) -> None:
    # Two steps come first, so that moments, bias corrections and different rates are at work. The slope is read
    # off an additive change that is too small for the bounds, and compared with central differences of the
    # loss after steps that torch's own optimisers took.
    official = hp.get("variant") == "official"
    tested = Run(torch.float64, **PAPER, **{"eta": 1e-7, "lr": 3e-4, **hp})
    tested.context.clip_norm = 1.5
    for seed in (3, 4):
        tested.step(*batch(seed, dtype=torch.float64))
    before = tested.rates
    images, labels = batch(5, dtype=torch.float64)
    state = copy.deepcopy(tested)
    tested.step(images, labels)
    for group in (0, 5, 10):
        change = tested.rates[group] - before[group]
        slope = -change / tested.hp["eta"] / (before[group] if official else 1.0)
        h = 1e-6
        losses = [loss_after(state, images, labels, group, sign * h, official) for sign in (1, -1)]
        assert slope == pytest.approx((losses[0] - losses[1]) / (2 * h), rel=1e-6), group


@pytest.mark.parametrize(("variant", "direction"), [("paper", 1), ("official", -1)])
def test_rates_rise_where_training_and_meta_gradient_agree(variant: str, direction: int) -> None:
    # With V = B and short steps the slope of L_V is -|g|² in each group; the released code has the sign reversed.
    tested = Run(variant=variant, inner="sgd", slope="raw", head_pinned=0.0, lr=2e-6, eta=0.1)
    images, labels = batch(1)
    tested.context.batches = Batches((images, labels), (images, labels))
    before = tested.rates
    tested.step(images, labels)
    assert all(direction * (new - old) > 0 for new, old in zip(tested.rates, before, strict=True))


class Plain(MetaLR):
    """The same groups without a meta step, at rates that another run has found."""

    rates: list[list[float]]

    def training_step(self, context: StepContext, images: Tensor, labels: Tensor) -> Tensor:
        for group, rate in zip(context.optimizer.param_groups, self.rates[context.step], strict=True):
            group["lr"] = rate
        loss = context.loss(images, labels)
        context.backward_and_step(loss)
        return loss.detach()


@pytest.mark.parametrize(
    "hp",
    [
        {"eta": 0.0},
        {"eta": 0.0, "optimizer": "sgd", "update": "multiplicative", "granularity": "tensor"},
        {"eta": 0.5, "interval": 2},
        {"eta": 0.5, "optimizer": "sgd", "update": "additive", "slope": "raw"},
        {"eta": 0.5, "variant": "official"},
    ],
    ids=str,
)
def test_it_is_the_plain_optimiser_at_the_rates_that_it_found(hp: dict[str, Any]) -> None:
    # To the last bit, so a meta step leaves parameters, gradients, running statistics and optimiser state alone.
    # With eta = 0 the rates are those of the beginning.
    meta = Run(**hp, weight_decay=0.05)
    start, rates = meta.rates, []
    meta.context.clip_norm = 0.5
    for seed in range(3):
        meta.step(*batch(seed))
        rates.append([group["lr"] for group in meta.context.optimizer.param_groups])
    assert len(meta.context.batches.asked) == (2 if "interval" in hp else 3)
    assert (meta.rates == start) == (hp["eta"] == 0)
    assert rates[-1] == pytest.approx([rate * FACTOR for rate in meta.rates], rel=1e-12)
    if hp["eta"] == 0:
        rates = [[rate * FACTOR for rate in start]] * 3

    plain = Run(method=Plain, **hp, weight_decay=0.05)
    plain.method.rates = rates
    plain.context.clip_norm = 0.5
    for seed in range(3):
        plain.step(*batch(seed))
    for name, tensor in plain.model.state_dict().items():
        assert torch.equal(meta.model.state_dict()[name], tensor), name
    first, second = (one.context.optimizer.state_dict()["state"] for one in (meta, plain))
    for number, state in second.items():
        for key, tensor in state.items():
            assert torch.equal(first[number][key], tensor), (number, key)


def test_the_loss_scale_changes_no_rate() -> None:
    # A power of two, so that only underflow could tell the two apart.
    hp = {"inner": "sgd", "slope": "raw"}
    plain, scaled = Run(**hp), Run(**hp)
    scaled.context.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for seed in range(2):
        plain.step(*batch(seed))
        scaled.step(*batch(seed))
    assert scaled.rates == plain.rates != Run().rates


def test_rates_stay_in_their_bounds_and_the_heads_waits() -> None:
    hp = {"inner": "sgd", "slope": "raw", "lowest": 1e-5, "highest": 5e-3, "head_pinned": 0.2, "eta": 1e9}
    rising, falling = Run(**hp), Run(**hp, variant="official")
    images, labels = batch(1)
    for tested in (rising, falling):
        tested.context.batches = Batches((images, labels), (images, labels))
        tested.step(images, labels)
    assert rising.rates == [*[5e-3] * 10, 1e-3]
    assert falling.rates == [*[1e-6] * 10, 1e-3]
    # Of ten steps, the first two begin within the first 20 %.
    seen = []
    for _ in range(2):
        for group in rising.context.optimizer.param_groups:
            group["peak_lr"] = 1e-5
        rising.step(images, labels)
        seen.append(rising.rates[10])
    assert seen == [1e-5, 5e-3]


@pytest.mark.parametrize(
    ("name", "granularity", "count", "tensors"),
    [
        ("resnet50", "block", 18, 161),
        ("resnet50", "tensor", 161, 161),
        ("resnet18", "block", 10, 62),
        # Its stem, 58 dense layers, 3 transitions, the last norm and the head.
        ("densenet121", "block", 64, 364),
    ],
)
def test_groups_divide_the_network(name: str, granularity: str, count: int, tensors: int) -> None:
    model, _ = build_model(name, None, 4, seed=0)
    hp = {**defaults(MetaLR.space), "granularity": granularity}
    method = MetaLR()
    method.adapt(model, hp)
    groups = method.param_groups(model, hp)
    assert len(groups) == len({group.name for group in groups}) == count
    places = sorted(id(p) for group in groups for p in group.params)
    assert places == sorted(id(p) for p in model.parameters()) and len(places) == tensors
    # In blocks, a shortcut belongs to its block and a stem is a convolution with its norm.
    if granularity == "block" and name.startswith("resnet"):
        sizes = {group.name: sum(p.numel() for p in group.params) for group in groups}
        assert sizes["conv1"] == 9_536
        block = model.backbone.get_submodule("layer2.0")
        assert sizes["layer2.0"] == sum(p.numel() for p in block.parameters())
    rates = [group.lr for group in groups]
    assert rates == [1e-4] * (count - rates.count(1e-3)) + [1e-3] * rates.count(1e-3)


@pytest.mark.parametrize(
    "hp",
    [
        {"optimizer": "sgd", "granularity": "tensor", "update": "additive"},
        {"variant": "official", "interval": 2},
        {"inner": "sgd", "slope": "raw", "update": "multiplicative"},
    ],
    ids=str,
)
def test_its_other_forms_keep_their_promises(hp: dict[str, Any]) -> None:
    assert violations(MetaLR, hp=hp) == []


@pytest.mark.parametrize("hp", [{"interval": 2, "eta": 1.0}, {"variant": "official"}], ids=str)
def test_an_interrupted_trial_ends_bit_identically(tmp_path: Path, digits: Digits, hp: dict[str, Any]) -> None:
    made = job(digits, "metalr", hp=hp)
    whole, result = run(made, tmp_path / "whole")
    assert result["status"] == "done", result
    assert trial_differences(whole, run_in_pieces(made, tmp_path / "pieces", 3)) == []


@pytest.mark.parametrize(
    ("hp", "message"),
    [
        ({"interval": 0}, "interval=0 must be at least 1"),
        ({"eta": -0.1}, "eta=-0.1 must not be negative"),
        ({"meta_fraction": 1.0}, "meta_fraction=1 must be between 0 and 1"),
        ({"lowest": 0.0}, "lowest=0 must be above 0"),
        ({"lowest": 1e-3}, "lr=0.0001 puts a rate below lowest=0.001"),
        ({"head_lr_ratio": 200.0}, "highest=0.01 is below a rate that training starts from, 0.02"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(hp: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^metalr: {message}$"):
        MetaLR().adapt(random_network(), {**defaults(MetaLR.space), **hp})


def test_the_meta_side_is_held_out_but_for_the_official_variant() -> None:
    hp = defaults(MetaLR.space)
    assert MetaLR().meta_fraction(hp) == 0.1
    assert MetaLR().meta_fraction({**hp, "variant": "official"}) == 0.0
    paper, official = Run(meta_batch=5), Run(meta_batch=5, variant="official")
    for tested in (paper, official):
        for seed in range(2):
            tested.step(*batch(seed))
    assert [one.context.batches.asked for one in (paper, official)] == [["meta 5 0", "meta 5 1"], ["first 5"] * 2]
