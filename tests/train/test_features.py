"""Features that are computed once give the training that computing them anew gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from jobs import CPU, Digits, job, run
from torch import Tensor, nn

from harness.method import Method
from harness.networks.backbones import Model
from harness.proof.comparison import trial_differences
from harness.run.trial import TrialFolder
from harness.space.parameters import Space
from harness.train.data import TrialData
from harness.train.job import Control, Interrupted, TrialJob
from harness.train.loop import Training
from harness.train.speed.features import is_constant


def computed(made: TrialJob, path: Path) -> tuple[Any, list[str]]:
    """A trial's folder, and the sides whose features it computed itself."""
    lines: list[str] = []
    folder, result = run(made, path, Control(log=lines.append))
    assert result["status"] == "done", result
    return folder, [line.split("(")[1].split(")")[0] for line in lines if " computed in " in line]


@pytest.mark.parametrize("hp", [{}, {"solver": "lbfgs"}], ids=["steps", "solved"])
def test_kept_and_computed_features_give_the_same_bits(tmp_path: Path, digits: Digits, hp: dict[str, Any]) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    first, sides = computed(job(digits, "linear_probe", hp=hp, cache=cache), tmp_path / "first")
    assert sorted(sides) == ["test", "train", "val"]
    second, sides = computed(job(digits, "linear_probe", hp=hp, cache=cache), tmp_path / "second")
    assert sides == []
    alone, sides = computed(job(digits, "linear_probe", hp=hp), tmp_path / "alone")
    assert len(sides) == 3
    assert trial_differences(first, second) == trial_differences(first, alone) == []
    assert first.result()["on_features"] and second.result()["on_features"]
    # A search trial finds no test side, and computes none.
    _, sides = computed(job(digits, "linear_probe", stage="search", seed=6, cache=cache), tmp_path / "search")
    assert sorted(sides) == ["train", "val"]
    for number, path in enumerate(sorted(cache.glob("*/features.npy"))):
        path.write_bytes(path.read_bytes()[: 50 * number])
    fixed, sides = computed(job(digits, "linear_probe", hp=hp, cache=cache), tmp_path / "fixed")
    assert sorted(sides) == ["test", "train", "val"] and trial_differences(first, fixed) == []
    assert computed(job(digits, "linear_probe", hp=hp, cache=cache), tmp_path / "again")[1] == []


def test_they_train_as_a_whole_network_on_images_that_are_not_augmented(tmp_path: Path, digits: Digits) -> None:
    hp = {"head_lr": 0.03}
    once, _ = run(job(digits, "linear_probe", hp=hp), tmp_path / "once")
    each = {"features": "each_step", "augment": False}
    step, sides = computed(job(digits, "linear_probe", hp=hp, train=each), tmp_path / "step")
    assert sides == [] and not step.result()["on_features"]
    # Only the batch in which an image passes through the backbone differs.
    names = [f"logit_{k}" for k in range(3)]
    ours, theirs = (folder.predictions().select(names).to_numpy() for folder in (once, step))
    assert np.abs(ours).max() > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    augmented, _ = run(job(digits, "linear_probe", hp=hp, train={"features": "each_step"}), tmp_path / "augmented")
    assert np.abs(augmented.predictions().select(names).to_numpy() - theirs).max() > 1e-3


def test_a_stop_while_they_are_computed_leaves_nothing_half_done(tmp_path: Path, digits: Digits) -> None:
    made = job(digits, "linear_probe", train={"eval_batch_size": 16}, cache=tmp_path)
    control = Control()
    data_of = TrialData.evaluation_batch

    def stop_at_once(self: TrialData, positions: Tensor) -> Tensor:
        control.stop.set()
        return data_of(self, positions)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(TrialData, "evaluation_batch", stop_at_once)
        run(made, tmp_path / "trial", control)
    assert not list(tmp_path.glob("features-*"))
    resumed, _ = run(made, tmp_path / "trial")
    whole, _ = run(made, tmp_path / "whole")
    assert trial_differences(resumed, whole) == []


class Swapped(Method):
    """Another activation, and nothing of the backbone trains: the same tensors, another function."""

    name = "swapped"
    space: ClassVar[Space] = {}

    def adapt(self, model: Model, hp: Mapping[str, Any]) -> None:
        for module in list(model.backbone.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.ReLU):
                    setattr(module, name, nn.SiLU())

    def param_groups(self, model: Model, hp: Mapping[str, Any]) -> Any:
        return super().param_groups(model, {"lr": 0.0, "head_lr": 0.01, "weight_decay": 0.0})


class OwnStep(Swapped):
    """Sees the images."""

    def training_step(self, context: Any, images: Tensor, labels: Tensor) -> Tensor:
        assert images.ndim == 4
        return super().training_step(context, images, labels)


def test_they_are_those_of_the_network_as_the_method_left_it(tmp_path: Path, digits: Digits) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    run(job(digits, "linear_probe", cache=cache), tmp_path / "probe")
    _, sides = computed(job(digits, Swapped, cache=cache), tmp_path / "swapped")
    assert len(sides) == 3
    _, sides = computed(job(digits, OwnStep, cache=cache), tmp_path / "own")
    assert sides == []


@pytest.mark.parametrize(
    ("method", "constant"), [("linear_probe", True), ("bn_affine", False), ("lp_ft", False), ("full_finetune", False)]
)
def test_which_methods_have_them(tmp_path: Path, digits: Digits, method: str, constant: bool) -> None:
    training = Training(job(digits, method), run_folder(tmp_path), CPU, Control())
    assert is_constant(training.method, training.model) == (training.features is not None) == constant
    assert torch.is_grad_enabled()


def run_folder(path: Path) -> Any:
    """An empty folder of a trial."""
    folder = TrialFolder(path / "trial", "confirm")
    folder.create()
    return folder
