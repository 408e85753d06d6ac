"""What a training draws: balanced classes, a meta side of its own, a normalisation that saw training images only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jobs import CATALOGUE, Digits, job, run
from torch import Tensor

from harness.data.normalisation import training_normalisation
from harness.data.split import indices
from harness.method import Method
from harness.networks.backbones import build_model, save_model
from harness.networks.normalisation import Normalisation
from harness.train.data import MethodBatches, TrialData
from harness.train.job import TrialJob

PLAIN = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def load(made: TrialJob, **changes: Any) -> TrialData:
    settings: dict[str, Any] = {"with_test": False, "normalisation": PLAIN, "device": torch.device("cpu")}
    return TrialData.load(made.data, made.split, **{**settings, **changes})


def test_balanced_sampling_shows_each_class_equally_often(digits: Digits) -> None:
    made = job(digits, "linear_probe")
    # One class is made rare: nine in ten of its training images go.
    rare = [case for case in made.split.train if made.data.labels[made.data.rows[case]] == 0]
    split = replace(made.split, train=tuple(sorted(set(made.split.train) - set(rare[: len(rare) * 9 // 10]))))
    data = load(replace(made, split=split), balanced=True)
    drawn = torch.cat([data.order(seed=0, epoch=epoch) for epoch in range(20)])
    shares = torch.bincount(data.labels[drawn]).double() / len(drawn)
    assert (shares - 1 / len(shares)).abs().max() < 0.02
    assert set(drawn.tolist()) <= set(data.positions["train"].tolist())
    assert torch.equal(data.order(0, 3), load(replace(made, split=split), balanced=True).order(0, 3))


def test_the_meta_side_is_drawn_from_and_never_trained_on(digits: Digits, tmp_path: Path) -> None:
    made = job(digits, "linear_probe")
    seen: dict[str, set[int]] = {"train": set(), "meta": set()}

    class Meta(made.method):  # type: ignore[name-defined, misc]
        def meta_fraction(self, hp: Mapping[str, Any]) -> float:
            return 0.25

        def training_step(self, context: Any, images: Tensor, labels: Tensor) -> Tensor:
            batch, targets = context.meta_batch(16)
            assert batch.shape == (16, 3, *images.shape[2:])
            assert targets.shape == (16,)
            seen["train"].update(hash(image.numpy().tobytes()) for image in images)
            seen["meta"].update(hash(image.numpy().tobytes()) for image in batch)
            return super().training_step(context, images, labels)

    unchanged = replace(made, method=Meta, train=made.train.merged({"augment": False}))
    assert run(unchanged, tmp_path / "meta")[1]["status"] == "done"
    assert seen["train"]
    assert seen["meta"]
    assert seen["train"].isdisjoint(seen["meta"])
    whole = len(indices(made.split, made.data)[0])
    assert len(load(made, meta_fraction=0.25).positions["meta"]) == whole // 4
    with pytest.raises(KeyError):
        MethodBatches(load(made), 0).draw("meta", 4, 0)


def test_random_weights_are_normalised_by_the_training_side_alone(digits: Digits) -> None:
    made = job(digits, "linear_probe")
    rows = indices(made.split, made.data)[0]
    pixels = made.data.images[rows].astype(np.float64) / 255
    measured = training_normalisation(made.data, made.split)
    assert np.allclose(measured.mean, pixels.mean(axis=(0, 1, 2)))
    assert np.allclose(measured.std, pixels.std(axis=(0, 1, 2)))
    spoiled = np.array(made.data.images)
    spoiled[np.setdiff1d(np.arange(len(spoiled)), rows)] = 255
    other = replace(made.data, images=spoiled, fingerprint="spoiled outside training")
    assert training_normalisation(other, made.split) == measured
    batch, _ = load(made, normalisation=measured).training_batch(torch.from_numpy(rows), None, 0, 0)
    assert abs(float(batch.mean())) < 1e-4
    assert abs(float(batch.std()) - 1) < 1e-3
    assert batch.is_contiguous(memory_format=torch.channels_last)
    whole = torch.from_numpy(np.array(made.data.images[rows])).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (measured.mean, measured.std))
    assert torch.equal(batch, (whole / 255 - mean) / std)


def test_from_scratch_is_normalised_as_its_page_says(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the weights that the sweep names although it forgets them, else by the training images."""
    grey = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    model, _ = build_model("resnet20", None, 3, 0)
    model.normalisation = grey
    save_model(model, tmp_path / "grey.safetensors", {})
    used: list[Normalisation] = []
    load = TrialData.load

    def noted(*given: Any, **named: Any) -> TrialData:
        used.append(named["normalisation"])
        return load(*given, **named)

    monkeypatch.setattr(TrialData, "load", noted)
    made = job(digits, "from_scratch", train={"epochs": 1})
    for name, weights in (("forgotten", str(tmp_path / "grey.safetensors")), ("none", None)):
        assert run(replace(made, weights=weights), tmp_path / name)[1]["status"] == "done"
    assert used == [grey, training_normalisation(made.data, made.split)] and used[0] != used[1]
    page = " ".join((CATALOGUE.find(Method, "from_scratch", "test").cls.__doc__ or "").split())
    assert "names pretrained weights, images are normalised as those weights expect" in page
    assert "with ``weights: null`` every method gets the mean and standard deviation of the training images" in page
