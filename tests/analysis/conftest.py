"""A synthetic run directory, written with the store's own functions: no training, no real result is in it."""

from __future__ import annotations

import copy
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import made_up_records
import numpy as np
import polars as pl
import pytest
from sketches import empty_figures

from analysis.report import write_report
from analysis.report_files import ReportPaths
from harness.metrics.table import evaluate, general
from harness.run.directory import RunDirectory
from harness.run.study_folder import StudyFolder
from harness.run.trial import TrialFolder
from harness.space.parameters import Choice, Fixed, Float, to_json

SPACE = to_json({"lr": Float(1e-3, 1e-4, 1e-2, log=True), "rank": Choice(4, (1, 2, 4, 8)), "optimizer": Fixed("adamw")})
KNOWN_SEEDS = {1000: 0.812, 1001: 0.825, 1002: 0.809, 1003: 0.834, 1004: 0.818}
"""Balanced accuracy of the first method on the first dataset: the values of ``bootstrap_exact_n5``."""


def scalars(level: float, seed: int) -> dict[str, float | None]:
    """Every metric near ``level``, the balanced accuracy exactly so."""
    draw = random.Random(seed)
    values: dict[str, float | None] = {name: level + draw.uniform(-0.02, 0.02) for name in general()}
    return {**values, "balanced_accuracy": level}


class RunBuilder:
    """Writes a run directory piece by piece."""

    known_seeds = KNOWN_SEEDS
    extra: Mapping[str, object] = {}
    """More keys of each result that is written from now on, such as ``cost``; older runs lack some."""
    scalars = staticmethod(scalars)

    def __init__(self, path: Path, methods: Sequence[str], datasets: Sequence[str], metric: str) -> None:
        self.run = RunDirectory(path)
        self.run.create()
        self.run.write_spec(
            {
                "name": "made up",
                "backbone": {"name": "resnet18", "weights": "none"},
                "datasets": {label: {"dataset": "shapes", "options": {}} for label in datasets},
                "methods": {label: {"method": "probe", "backbone": None, "hyperparameters": {}} for label in methods},
                "train": {"epochs": 4, "batch_size": 16},
                "split": {"kind": "grouped", "seed": 0},
                "search": {"metric": metric, "sampler": "tpe", "trials": 3, "seeds": [0]},
                "confirm": {"seeds": 5, "control": methods[0], "correction": "holm", "margin": 0.01},
                "launch": {"kind": "local", "workers": 2},
            }
        )

    def copied(self, path: Path) -> RunBuilder:
        """The same run in another place, for a test to change."""
        shutil.copytree(self.run.path, path)
        made = copy.copy(self)
        made.run = RunDirectory(path)
        return made

    def card(self, dataset: str, test: Sequence[int] = (60, 12)) -> None:
        self.run.write_card(
            dataset,
            {
                "name": "shapes",
                "title": "Made-up shapes",
                "modality": "drawing",
                "licence": "CC0",
                "citation": "Nobody (2026)",
                "classes": ["disc", "square"],
                "images": 300,
                "group_state": "known",
                "fingerprint": "f00d",
                "split": {"kind": "grouped", "seed": 0, "digest": "abcd"},
                "counts": {"train": [120, 60], "val": [32, 16], "test": list(test)},
            },
        )

    def study(
        self, method: str, dataset: str, slots: int = 3, seeds: Sequence[int] = tuple(KNOWN_SEEDS)
    ) -> StudyFolder:
        study = self.run.study(f"{method}@{dataset}")
        study.describe(
            {
                "label": method,
                "dataset": dataset,
                "method": "probe",
                "dataset_name": "shapes",
                "summary": "Trains the head alone.",
                "space": SPACE,
                "backbone": {"name": "resnet18", "weights": "none"},
                "search_slots": slots,
                "search_seeds": [0],
                "confirm_seeds": list(seeds),
                "identity": {"protocol": 1, "search": {"metric": "balanced_accuracy"}, "train": {"epochs": 4}},
            }
        )
        return study

    def choose(self, study: StudyFolder, slot: int, value: float | None, configuration: str = "c0ffee") -> None:
        study.choose(
            {
                "slot": slot,
                "value": value,
                "metric": "balanced_accuracy",
                "hyperparameters": {"lr": 0.002, "rank": 8, "optimizer": "adamw"},
                "configuration": configuration,
                "of": 3,
            }
        )

    def begin(self, folder: TrialFolder, slot: int | None, seed: int, attempts: Sequence[float] = (10.0,)) -> None:
        """Attempts of the given lengths in seconds, all of them released."""
        folder.create()
        folder.write_request(made_up_records.request(folder.stage, slot, seed))
        for number, seconds in enumerate(attempts):
            lease = folder.claim(worker="w1")
            assert lease is not None
            start = 1_000.0 * (number + 1)
            lease.note(claimed=start)
            lease.release("ended")
            os.utime(lease.path, (start + seconds, start + seconds))

    def done(
        self,
        folder: TrialFolder,
        slot: int | None,
        seed: int,
        val: Mapping[str, float | None],
        test: Mapping[str, float | None] | None = None,
        attempts: Sequence[float] = (10.0,),
        epochs: int = 4,
        predictions: pl.DataFrame | None = None,
    ) -> None:
        self.begin(folder, slot, seed, attempts)
        level = val.get("balanced_accuracy") or 0.5
        folder.write_curve(
            [
                {
                    "epoch": epoch,
                    "step": 10 * epoch,
                    "train_loss": 1 / epoch,
                    "val": {"balanced_accuracy": level * (1 - 0.5**epoch), "nll": 1 / epoch},
                    "seconds": 2.0,
                }
                for epoch in range(1, epochs + 1)
            ]
        )
        if test is not None:
            made_up = pl.DataFrame({"case_id": ["a"], "label": [0], "logit_0": [0.1], "logit_1": [0.2]})
            folder.write_predictions(made_up if predictions is None else predictions)
        folder.finish(
            {
                "status": "done",
                "cause": None,
                "message": None,
                "stage": folder.stage,
                "slot": slot,
                "seed": seed,
                "hyperparameters": {"lr": 0.002},
                "identity": "f00d",
                "metrics": {"val": dict(val), **({"test": dict(test)} if test is not None else {})},
                "best_epoch": epochs,
                "epochs": epochs,
                "steps": 10 * epochs,
                "parameters": {"trainable": 12345, "head": 1026, "total": 11_177_538},
                "time": {"attempt_seconds": 8.0, "train_seconds": 8.0, "started": 1.0, "ended": 9.0},
                "memory": {"peak_bytes": 1_000_000},
                "device": {"name": "cpu", "threads": 1},
                **self.extra,
            }
        )

    def predicted(self, folder: TrialFolder, seed: int, logits: np.ndarray, labels: np.ndarray, group: int = 1) -> None:
        """A confirm trial whose metrics are those of its predictions; ``group`` cases in turn are one patient's."""
        columns: dict[str, object] = {
            "case_id": [f"case {case:03d}" for case in range(len(labels))],
            "group": [f"patient {case // group:03d}" for case in range(len(labels))],
        }
        columns |= {"label": labels} if labels.ndim == 1 else {f"label_{k}": one for k, one in enumerate(labels.T)}
        columns |= {f"logit_{k}": one for k, one in enumerate(logits.T)}
        scores = {name: evaluate(logits, labels)[name] for name in general()}
        self.done(folder, None, seed, scores, scores, predictions=pl.DataFrame(columns))

    def fail(self, folder: TrialFolder, slot: int | None, seed: int, cause: str, message: str) -> None:
        self.begin(folder, slot, seed, attempts=(5.0, 7.0))
        folder.finish(
            {
                "status": "failed",
                "cause": cause,
                "message": message,
                "stage": folder.stage,
                "slot": slot,
                "seed": seed,
                "hyperparameters": {"lr": 0.002},
                "identity": "f00d",
                "metrics": {},
                "epochs": 1,
                "time": {"attempt_seconds": 3.0, "train_seconds": 3.0, "started": 1.0, "ended": 4.0},
            }
        )

    def searched(self, study: StudyFolder, values: Sequence[float]) -> None:
        """One search trial a value, in slots 0, 1, …"""
        for slot, value in enumerate(values):
            self.done(study.search_trial(slot, 0), slot, 0, scalars(value, slot))

    def confirmed(self, study: StudyFolder, values: Mapping[int, float], configuration: str = "c0ffee") -> None:
        """One confirm trial a seed; validation is 0.01 above test."""
        for seed, value in values.items():
            self.done(
                study.confirm_trial(configuration, seed),
                None,
                seed,
                scalars(value + 0.01, seed),
                scalars(value, seed),
            )


def noisy(level: float, seeds: Sequence[int], name: str, spread: float = 0.012) -> dict[int, float]:
    """A level for each seed."""
    draw = random.Random(name)
    return {seed: level + draw.gauss(0.0, spread) for seed in seeds}


def write_unfinished(path: Path) -> RunBuilder:
    """A run in every state at once.

    On ``alpha``: ``bn_affine`` is complete with the known seeds and another configuration beside; ``gpaf``
    lost one search trial and one confirm seed; ``lora_c`` is in its search; ``metalr`` is not begun. ``beta``
    is complete.
    """
    methods = ["bn_affine", "gpaf", "lora_c", "metalr"]
    made = RunBuilder(path, methods, ["alpha", "beta"], "balanced_accuracy")
    made.run.write_environment(
        {
            "commit": "0123abc",
            "dirty": False,
            "python": "3.11.2",
            "packages": {"torch": "2.11"},
            "machine": {"cores": 2},
        }
    )
    for dataset in ("alpha", "beta"):
        made.card(dataset)
    first = made.study("bn_affine", "alpha")
    made.searched(first, [0.80, 0.84, 0.82])
    made.choose(first, 1, 0.84)
    made.confirmed(first, KNOWN_SEEDS)
    made.confirmed(first, {1000: 0.1}, configuration="beef")
    second = made.study("gpaf", "alpha")
    made.searched(second, [0.81, 0.86])
    made.fail(second.search_trial(2, 0), 2, 0, "nan", "loss is not a number at step 17")
    made.choose(second, 1, 0.86)
    made.confirmed(second, noisy(0.85, [1000, 1001, 1002, 1003], "gpaf"))
    made.fail(second.confirm_trial("c0ffee", 1004), None, 1004, "oom", "CUDA out of memory: 2 GiB | tried")
    third = made.study("lora_c", "alpha")
    made.searched(third, [0.79])
    made.begin(third.search_trial(1, 0), 1, 0, attempts=(3.0,))
    for method, level in (("bn_affine", 0.70), ("gpaf", 0.73), ("lora_c", 0.71), ("metalr", 0.69)):
        study = made.study(method, "beta")
        made.searched(study, [level, level + 0.01, level - 0.01])
        made.choose(study, 1, level + 0.01)
        made.confirmed(study, noisy(level, list(KNOWN_SEEDS), method))
    return made


@pytest.fixture
def builder(tmp_path: Path) -> Callable[..., RunBuilder]:
    """``builder(methods, datasets)`` begins a synthetic run directory."""

    def begin(
        methods: Sequence[str], datasets: Sequence[str], metric: str = "balanced_accuracy", name: str = "run"
    ) -> RunBuilder:
        return RunBuilder(tmp_path / name, methods, datasets, metric)

    return begin


@pytest.fixture(scope="session")
def shared_builder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunBuilder]:
    """As ``builder``, for run directories that several tests read."""

    def begin(
        methods: Sequence[str], datasets: Sequence[str], metric: str = "balanced_accuracy", name: str = "run"
    ) -> RunBuilder:
        return RunBuilder(tmp_path_factory.mktemp("runs") / name, methods, datasets, metric)

    return begin


@pytest.fixture
def no_figures() -> Iterator[None]:
    """For tests of what a report says: its figures are empty ones."""
    with empty_figures():
        yield


@pytest.fixture(scope="session")
def written_unfinished(tmp_path_factory: pytest.TempPathFactory) -> RunBuilder:
    """A run in every state at once; for reading only."""
    return write_unfinished(tmp_path_factory.mktemp("shared") / "run")


@pytest.fixture
def unfinished(written_unfinished: RunBuilder, tmp_path: Path) -> RunBuilder:
    """A run in every state at once, this test's own."""
    return written_unfinished.copied(tmp_path / "run")


@pytest.fixture(scope="session")
def report(written_unfinished: RunBuilder, tmp_path_factory: pytest.TempPathFactory) -> ReportPaths:
    """The report of a run in every state at once; for reading only."""
    return write_report(written_unfinished.run, tmp_path_factory.mktemp("report"))
