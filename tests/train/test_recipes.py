"""Schedules, optimisers and batches of other people's recipes, each against torch's own or by its definition."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import CATALOGUE, CPU, Digits, job, run, run_in_pieces

from harness.method import Method, ParamGroup
from harness.proof.comparison import trial_differences
from harness.run.trial import TrialFolder
from harness.spec.train import TrainSpec
from harness.train.job import Control
from harness.train.loop import Training
from harness.train.schedule import Schedule, factor_at, schedule_factor
from harness.train.step import build_optimizer, set_learning_rates

STEP = {"kind": "step", "milestones": [1, 2], "factor": 0.3}
NESTEROV = {"kind": "sgd", "momentum": 0.8, "nesterov": True}
KINDS = ("cosine", "linear", "step", "constant")


def train(**given: Any) -> TrainSpec:
    return TrainSpec.model_validate(given)


def factors(spec: TrainSpec, per_epoch: int) -> list[float]:
    """Factor of each step of a training, as the loop asks for it."""
    total = per_epoch * spec.epochs
    return [factor_at(step, total, spec.warmup_steps(total), Schedule.of(spec)) for step in range(total)]


def torchs(per_epoch: int, epochs: int, scheduler: Any) -> Iterator[float]:
    """Rates of one of torch's schedulers that is stepped after each epoch."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = scheduler(optimizer)
    for _ in range(epochs):
        for _ in range(per_epoch):
            optimizer.step()
            yield optimizer.param_groups[0]["lr"]
        schedule.step()


@settings(deadline=None)
@given(st.integers(1, 7), st.integers(2, 12), st.sets(st.integers(1, 11), min_size=1), st.sampled_from([0.1, 0.5]))
def test_milestones_are_those_of_torch(per_epoch: int, epochs: int, marks: set[int], factor: float) -> None:
    schedule = {"kind": "step", "milestones": sorted(marks), "factor": factor}
    own = factors(train(epochs=epochs, schedule=schedule, warmup=0.0), per_epoch)
    wanted = torchs(
        per_epoch, epochs, lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, sorted(marks), factor)
    )
    assert own == pytest.approx(list(wanted))


@settings(deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 9), st.integers(3, 12), st.integers(0, 2), st.integers(0, 5))
def test_a_rate_rises_in_equal_steps_and_then_never_again(
    kind: str, per_epoch: int, epochs: int, rising: int, more: int
) -> None:
    schedule = STEP if kind == "step" else kind
    for warmup, length in (({"epochs": rising}, rising * per_epoch), ({"steps": more}, more)):
        own = factors(train(epochs=epochs, schedule=schedule, warmup=warmup), per_epoch)
        assert own[:length] == pytest.approx([(step + 1) / (length + 1) for step in range(len(own[:length]))])
        assert all(0 < factor <= 1 for factor in own)
        assert all(later <= earlier for earlier, later in itertools.pairwise(own[length:]))


def test_curves_by_their_definitions() -> None:
    assert factors(train(epochs=4, schedule="linear", warmup=0.0), 1) == [1.0, 0.75, 0.5, 0.25]
    assert factors(train(epochs=4, schedule="constant", warmup=0.25), 1) == [0.5, 1.0, 1.0, 1.0]
    assert factors(train(epochs=4, warmup=0.0), 1) == pytest.approx([1.0, 0.853553, 0.5, 0.146447], abs=1e-6)
    assert factors(train(epochs=3, schedule=STEP, warmup={"epochs": 0.5}), 4) == pytest.approx(
        [1 / 3, 2 / 3, 1.0, 1.0, 0.3, 0.3, 0.3, 0.3, 0.09, 0.09, 0.09, 0.09]
    )


def test_a_phase_of_a_method_has_the_whole_schedule() -> None:
    halfway = Schedule.of(train(epochs=100, schedule={"kind": "step", "milestones": [50]}))
    assert [schedule_factor(step, 7, 0.0, halfway) for step in range(7)] == [1, 1, 1, 1, 0.1, 0.1, 0.1]


def test_the_recipe_of_old_has_the_identity_of_old() -> None:
    """Results from before there were recipes stay those of the same study."""
    old = {
        "epochs": 30, "batch_size": 64, "eval_batch_size": 256, "image_size": 224, "precision": "auto", "warmup": 0.05,
        "patience": None, "class_weights": "none", "sampling": "natural", "fraction": None, "per_class": None,
        "label_smoothing": 0.0, "clip_norm": None, "features": "once", "step": "auto", "augment": True,
    }  # fmt: skip
    assert train().identity() == old
    written_out = train(schedule="cosine", optimizer=None, drop_last=True, warmup=0.05)
    assert written_out.identity() == old
    for change in (
        {"schedule": "linear"}, {"optimizer": "adamw"}, {"drop_last": False}, {"warmup": {"epochs": 2}},
        {"schedule": STEP}, {"optimizer": NESTEROV},
    ):  # fmt: skip
        assert train(**change).identity() != old


@pytest.mark.parametrize(
    ("recipe", "reference"),
    [
        ({"kind": "adam"}, lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.05, fused=False, foreach=False)),
        (
            NESTEROV,
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.05, foreach=False),
        ),
        (
            {"kind": "sgd", "momentum": 0.0},
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.0, weight_decay=0.05, foreach=False),
        ),
    ],
)
def test_optimisers_step_as_torchs_own(recipe: dict[str, Any], reference: Any) -> None:
    chosen = train(optimizer=recipe).optimizer_or("adamw")
    start, gradients = torch.randn(6, 4, 3, 3), torch.randn(4, 6, 4, 3, 3)
    own = torch.nn.Parameter(start.clone(memory_format=torch.channels_last))
    plain = torch.nn.Parameter(start.clone())
    optimizer = build_optimizer(chosen.kind, [ParamGroup("all", [own], 0.1, 0.05)], **chosen.options)
    torchs_own = reference([plain])
    set_learning_rates(optimizer, 1.0)
    for gradient in gradients:
        own.grad, plain.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        torchs_own.step()
    torch.testing.assert_close(own.detach(), plain.detach(), rtol=1e-5, atol=1e-6)


def test_a_sweeps_optimiser_stands_above_a_methods() -> None:
    assert train().optimizer_or("sgd").options == {"momentum": 0.9, "nesterov": False}
    assert train(optimizer="adam").optimizer_or("sgd").kind == "adam"
    with pytest.raises(ValueError, match=r"^optimizer=lion is none of adamw, adam, sgd$"):
        train().optimizer_or("lion")


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(2, 60))
def test_only_a_batch_of_one_image_is_left_out_where_the_last_is_kept(images: int, size: int) -> None:
    kept, dropped = (train(batch_size=size, drop_last=drop).steps_per_epoch(images) for drop in (False, True))
    assert dropped == max(1, images // size)
    sizes = [len(batch) for batch in torch.split(torch.arange(images)[: kept * size], size)]
    assert len(sizes) == kept and (min(sizes) > 1 or images == 1)
    assert sum(sizes) == images - (images % size == 1 and images > 1)


def assembled(made: Any, path: Path) -> Training:
    folder = TrialFolder(path, "search")
    folder.create()
    return Training(made, folder, CPU, Control())


def test_a_kept_last_batch_brings_every_image_into_each_epoch(digits: Digits, tmp_path: Path) -> None:
    made = job(digits, "bn_affine", train={"drop_last": False, "batch_size": 50})
    training = assembled(made, tmp_path / "a")
    batches = training.batches(0)
    assert len(batches) == training.steps_per_epoch
    seen = torch.cat(list(batches)).tolist()
    assert sorted(seen) == sorted(training.data.positions["train"].tolist())
    assert 1 < len(batches[-1]) < 50
    _, result = run(made, tmp_path / "b")
    assert result["steps"] == 3 * len(batches)


RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": {"kind": "sgd", "momentum": 0.9}, "schedule": STEP, "drop_last": False},
    "nesterov": {"optimizer": NESTEROV, "schedule": "linear", "warmup": {"epochs": 1}},
    "no momentum": {"optimizer": {"kind": "sgd", "momentum": 0.0}, "schedule": "constant"},
    "adam": {"optimizer": "adam", "schedule": STEP, "warmup": {"steps": 3}},
    "adamw": {"optimizer": "adamw", "schedule": "constant", "warmup": 0.0, "drop_last": False},
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("method", ["full_finetune", "linear_probe"])
def test_each_recipe_resumes_to_the_last_bit(
    recipe: dict[str, Any], method: str, digits: Digits, tmp_path: Path
) -> None:
    made = job(digits, method, train={**recipe, "batch_size": 100})
    whole, result = run(made, tmp_path / "whole")
    assert result["status"] == "done", result
    assert trial_differences(whole, run_in_pieces(made, tmp_path / "pieces", 1)) == []


@pytest.mark.parametrize("method", ["metalr", "lp_ft", "wise_ft", "auto_rgn"])
def test_methods_with_steps_of_their_own_resume_too(method: str, digits: Digits, tmp_path: Path) -> None:
    made = job(digits, method, train={**RECIPES["sgd"], "optimizer": NESTEROV, "batch_size": 100})
    whole, result = run(made, tmp_path / "whole")
    assert result["status"] == "done", result
    assert trial_differences(whole, run_in_pieces(made, tmp_path / "pieces", 1)) == []


@pytest.mark.parametrize("method", sorted(CATALOGUE.all(Method)))
def test_every_method_trains_by_the_sweeps_recipe(method: str, digits: Digits, tmp_path: Path) -> None:
    """Each with Nesterov's momentum, and in the last epoch at a tenth of the rate, whoever sets it."""
    schedule = {"kind": "step", "milestones": [2], "factor": 0.1}
    recipe = {"optimizer": NESTEROV, "schedule": schedule, "warmup": 0.0, "batch_size": 100, "drop_last": False}
    hp = {"warmup": 0.0} if "warmup" in CATALOGUE.find(Method, method, "test").cls.space else {}
    training = assembled(job(digits, method, backbone="resnet18", train=recipe, hp=hp), tmp_path)
    optimizer = training.context.optimizer
    assert isinstance(optimizer, torch.optim.SGD)
    assert all(group["nesterov"] and group["momentum"] == 0.8 for group in optimizer.param_groups)
    training.model.train()
    last = training.total_steps - 1
    training.step(training.batches(2)[-1], last)
    rate = optimizer.param_groups[0]["lr"] / optimizer.param_groups[0]["peak_lr"]
    assert rate == pytest.approx(0.1)
