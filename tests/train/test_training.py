"""A training is a function of code, data, configuration and seed, however often it is interrupted."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jobs import CATALOGUE, job, run, run_in_pieces

from harness.data.decoded import DecodedDataset
from harness.data.split import Split
from harness.dataset import Dataset
from harness.method import Hyperparameters, Method, ParamGroup
from harness.metrics.table import evaluate
from harness.networks.backbones import Model
from harness.proof.comparison import trial_differences
from harness.train.schedule import schedule_factor
from harness.train.step import build_optimizer, set_learning_rates


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("linear_probe", {}),
        ("lora_c", {"train": {"clip_norm": 1.0, "label_smoothing": 0.1}}),
        ("full_finetune", {"hp": {"optimizer": "sgd", "lr": 0.01}, "train": {"class_weights": "balanced"}}),
        ("bn_affine", {"train": {"precision": "bf16"}}),
    ],
)
def test_a_trial_interrupted_after_every_step_ends_bit_identically(
    tmp_path: Path, digits: tuple[Dataset, DecodedDataset, Split], method: str, changes: dict[str, Any]
) -> None:
    made = job(digits, method, **changes)
    whole, result = run(made, tmp_path / "whole")
    assert result["status"] == "done", result
    for steps in (1, 2):
        pieces = run_in_pieces(made, tmp_path / f"pieces{steps}", steps)
        assert trial_differences(whole, pieces) == []
    assert not whole.checkpoint_path.exists()


def test_another_seed_gives_another_result(tmp_path: Path, digits: tuple[Dataset, DecodedDataset, Split]) -> None:
    first, _ = run(job(digits, "full_finetune"), tmp_path / "a")
    second, _ = run(job(digits, "full_finetune", seed=6), tmp_path / "b")
    assert set(trial_differences(first, second)) >= {"results", "curves", "predictions"}


def test_search_never_sees_the_test_split(tmp_path: Path, digits: tuple[Dataset, DecodedDataset, Split]) -> None:
    # The same training with the test labels and images spoilt: a search trial cannot tell the difference.
    dataset, data, split = digits
    spoilt_images = np.array(data.images)
    spoilt_labels = np.array(data.labels)
    test = np.isin(np.array(data.case_ids), split.test)
    spoilt_images[test] = 255 - spoilt_images[test]
    spoilt_labels[test] = (spoilt_labels[test] + 1) % 3
    spoilt = (dataset, replace(data, images=spoilt_images, labels=spoilt_labels), split)
    clean, result = run(job(digits, "full_finetune", stage="search"), tmp_path / "clean")
    other, _ = run(job(spoilt, "full_finetune", stage="search"), tmp_path / "spoilt")
    assert trial_differences(clean, other) == [] and "test" not in result["metrics"]
    assert not (clean.path / "predictions.parquet").exists()


def test_predictions_give_the_reported_test_metrics(
    tmp_path: Path, digits: tuple[Dataset, DecodedDataset, Split]
) -> None:
    _, data, split = digits
    folder, result = run(job(digits, "full_finetune", hp={"lr": 0.003}), tmp_path / "t")
    frame = folder.predictions()
    logits = frame.select(f"logit_{k}" for k in range(3)).to_numpy()
    assert logits.dtype == np.float64 and sorted(frame["case_id"]) == sorted(split.test)
    position = {case: n for n, case in enumerate(data.case_ids)}
    labels = np.array([data.labels[position[case]] for case in frame["case_id"]])
    assert (labels == frame["label"].to_numpy()).all()
    assert list(frame["group"]) == [data.groups[position[case]] for case in frame["case_id"]]
    assert evaluate(logits, labels) == result["metrics"]["test"]
    assert result["metrics"]["test"]["balanced_accuracy"] > 0.5


def test_early_stopping_keeps_the_best_epoch(tmp_path: Path, digits: tuple[Dataset, DecodedDataset, Split]) -> None:
    folder, result = run(
        job(digits, "full_finetune", hp={"lr": 0.01}, train={"epochs": 30, "patience": 2, "augment": False}),
        tmp_path / "t",
    )
    scores = [line["val"]["balanced_accuracy"] for line in folder.curve()]
    best = max(range(len(scores)), key=lambda n: (scores[n], -n))
    assert len(scores) == result["epochs"] == best + 3 < 30
    assert result["best_epoch"] == best and result["metrics"]["val"]["balanced_accuracy"] == scores[best]


class Exploding(Method):
    """A method whose head overflows."""

    name = "exploding"
    space = CATALOGUE.find(Method, "linear_probe", "test").cls.space

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        with torch.no_grad():
            model.head.weight.fill_(math.inf)


class Broken(Exploding):
    """A method with a bug."""

    name = "broken"

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        model.no_such_attribute.weight = 1  # type: ignore[union-attr]


class Unfitting(Exploding):
    """A method that refuses its hyperparameters."""

    name = "unfitting"

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        raise ValueError("rank 64 is above the 16 channels of the stem")


class Greedy(Exploding):
    """A method that wants more memory than there is."""

    name = "greedy"

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        torch.empty(2**50)


@pytest.mark.parametrize(
    ("method", "cause", "words"),
    [
        (Exploding, "nan", "loss"),
        (Broken, "bug", "no_such_attribute"),
        (Unfitting, "configuration", "rank 64"),
        (Greedy, "oom", "memory"),
    ],
)
def test_a_failure_is_a_result_with_its_cause(
    tmp_path: Path, digits: tuple[Dataset, DecodedDataset, Split], method: type[Method], cause: str, words: str
) -> None:
    folder, result = run(job(digits, method), tmp_path / "t")
    assert (result["status"], result["cause"]) == ("failed", cause)
    assert words in result["message"] and "\n" not in result["message"]
    assert folder.result()["cause"] == cause


def test_a_saved_model_is_the_backbone_of_another_trial(
    tmp_path: Path, digits: tuple[Dataset, DecodedDataset, Split]
) -> None:
    folder, _ = run(job(digits, "full_finetune", hp={"lr": 0.01}, save_model=True), tmp_path / "source")
    _, random = run(job(digits, "linear_probe", hp={"head_lr": 0.1}), tmp_path / "random")
    _, pretrained = run(
        job(digits, "linear_probe", hp={"head_lr": 0.1}, weights=folder.model_path), tmp_path / "pretrained"
    )
    key = "balanced_accuracy"
    assert pretrained["metrics"]["test"][key] > random["metrics"]["test"][key] + 0.1


def test_the_schedule_warms_up_and_falls_to_zero() -> None:
    factors = [schedule_factor(step, 100, 0.1) for step in range(100)]
    assert 0 < factors[0] < factors[5] < factors[9] < factors[10] == 1.0
    assert all(a > b for a, b in itertools.pairwise(factors[10:])) and 0 < factors[-1] < 0.001


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_a_step_does_not_depend_on_how_gradients_and_moments_lie_in_memory(kind: str) -> None:
    """Torch's fused steps go by place alone; a method may set gradients, and a checkpoint come from another device."""
    start, gradients = torch.randn(8, 4, 3, 3), torch.randn(3, 8, 4, 3, 3)
    ends = []
    for layout in (torch.contiguous_format, torch.channels_last):
        parameter = torch.nn.Parameter(start.clone(memory_format=torch.channels_last))
        optimizer = build_optimizer(kind, [ParamGroup("all", [parameter], 0.1, 0.01)])
        set_learning_rates(optimizer, 1.0)
        for gradient in gradients:
            parameter.grad = gradient.clone(memory_format=layout)
            optimizer.step()
            for name, moment in optimizer.state[parameter].items():
                if isinstance(moment, torch.Tensor) and moment.dim():
                    optimizer.state[parameter][name] = moment.clone(memory_format=layout)
        ends.append(parameter.detach())
    assert torch.equal(*ends)
    assert not torch.equal(ends[0], start)


def test_an_adamw_step_on_channels_last_is_torchs_own_and_copies_no_gradient() -> None:
    start, gradients = torch.randn(8, 4, 3, 3), torch.randn(3, 8, 4, 3, 3)
    tap_by_tap = start.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    for lying in (start, start.clone(memory_format=torch.channels_last), tap_by_tap):
        own, plain = torch.nn.Parameter(lying.clone()), torch.nn.Parameter(start.clone())
        optimizer = build_optimizer("adamw", [ParamGroup("all", [own], 0.1, 0.01)])
        set_learning_rates(optimizer, 1.0)
        torchs = torch.optim.AdamW([plain], lr=0.1, weight_decay=0.01, fused=False, foreach=False)
        for gradient in gradients:
            own.grad, plain.grad = torch.empty_like(own).copy_(gradient), gradient.clone()
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                optimizer.step()
            torchs.step()
            assert "aten::clone" not in {event.key for event in profile.key_averages()}
        torch.testing.assert_close(own.detach(), plain.detach(), rtol=1e-5, atol=1e-6)
        assert own.stride() == lying.stride()
