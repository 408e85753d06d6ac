"""Trainings of seconds on three of scikit-learn's digits, run in this process."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up_records
import pytest
import torch

from harness.data.cache import prepare
from harness.data.decoded import DecodedDataset
from harness.data.split import Split, make_split
from harness.dataset import Dataset
from harness.method import Method
from harness.plugins import discover
from harness.run.trial import TrialFolder
from harness.space.parameters import Value, defaults
from harness.spec.train import TrainSpec
from harness.train.job import Control, Interrupted, TrialJob
from harness.train.run import run_trial

CPU = torch.device("cpu")
CATALOGUE = discover()
NEEDS_PEFT = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")


def runnable(names: Iterable[str]) -> list[Any]:
    """Methods as parameters of a test, which is skipped with its reason for one whose library is missing."""
    return [pytest.param(name, marks=NEEDS_PEFT) if name == "peft" else name for name in names]


Digits = tuple[Dataset, DecodedDataset, Split]


def decode_digits(cache: Path) -> Digits:
    """The digits 7, 8 and 9 at 8 pixels, grouped."""
    plugin = CATALOGUE.find(Dataset, "digits", "test")
    dataset = plugin.cls(plugin.cls.Options.model_validate({"classes": [7, 8, 9]}))
    data = prepare(dataset, plugin.code, 8, cache, cache)
    return dataset, data, make_split(data, "grouped", 0)


def job(digits: Digits, method: str | type[Method], **changes: Any) -> TrialJob:
    """A confirm trial of a method; ``train`` and ``hp`` change single keys, the rest fields of the job."""
    dataset, data, split = digits
    cls = CATALOGUE.find(Method, method, "test").cls if isinstance(method, str) else method
    train = TrainSpec.model_validate({"epochs": 3, "batch_size": 64, "image_size": 8, **changes.pop("train", {})})
    hp: dict[str, Value] = {**defaults(cls.space), **changes.pop("hp", {})}
    made = TrialJob("confirm", cls, hp, "resnet20", None, dataset, data, split, train, "balanced_accuracy", 5)
    return replace(made, **changes)


def run(made: TrialJob, path: Path, control: Control | None = None) -> tuple[TrialFolder, dict[str, Any]]:
    """Run a trial in a folder of its own."""
    folder = TrialFolder(path, "confirm" if made.stage == "confirm" else "search")
    folder.create()
    request = made_up_records.request(made.stage, seed=made.seed, hyperparameters=dict(made.hyperparameters))
    folder.write_request(request)
    return folder, run_trial(made, request, folder, CPU, control or Control())


def run_in_pieces(made: TrialJob, path: Path, steps: int) -> TrialFolder:
    """Interrupt after every ``steps`` steps and go on from the checkpoint, until it is done."""
    for attempt in range(100):
        control, count = Control(), 0

        def watch(facts: dict[str, Any], control: Control = control) -> None:
            nonlocal count
            count += "steps" in facts
            if count >= steps:
                control.stop.set()

        control.progress = watch
        try:
            folder, _ = run(made, path, control)
        except Interrupted:
            continue
        assert attempt > 0
        return folder
    raise AssertionError("never finished")
