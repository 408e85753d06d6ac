"""Deterministic kernels are taken on a GPU where they cost little, once decided for a study, and said."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from jobs import CPU, Digits, job, run
from tiny import run_inline, tiny_sweep

from analysis.run_sections import kernel_sentences
from analysis.words.exactness import exactness_sentences
from harness.core.errors import RequestError
from harness.core.files import read_json
from harness.proof.comparison import trial_differences
from harness.run.directory import RunDirectory
from harness.run.measured_choices import determinism_paths
from harness.run.trial import TrialFolder
from harness.spec.train import TrainSpec
from harness.studies.loading import load_mapping
from harness.train import determinism
from harness.train.job import Control

GPU = torch.device("cuda:1")


def flags() -> tuple[bool, ...]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        determinism._settings.fill_uninitialized_memory,
    )


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_gpus_trial_runs_under_the_flags(deterministic: bool) -> None:
    before = flags()
    with determinism.kernels(GPU, deterministic) as kernels:
        assert flags() == ((True, True, True, False, False) if deterministic else before)
        assert kernels.deterministic is deterministic
    assert flags() == before
    with pytest.raises(ValueError, match="fails"), determinism.kernels(GPU, deterministic):
        raise ValueError("fails")
    assert flags() == before


def test_on_a_cpu_nothing_changes(digits: Digits, tmp_path: Path) -> None:
    before = flags()
    with determinism.kernels(CPU, False) as kernels:
        assert flags() == before and kernels.deterministic
    folders = []
    for setting in (True, False, "auto"):
        folder, result = run(job(digits, "bn_affine", train={"deterministic": setting}), tmp_path / str(setting))
        assert result["device"]["deterministic"] is True
        folders.append(folder)
    assert trial_differences(folders[0], folders[1]) == trial_differences(folders[0], folders[2]) == []


def test_operations_without_a_deterministic_kernel_are_noted() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with determinism.kernels(GPU, True) as kernels:
            for _ in range(2):
                warnings.warn(
                    "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set …",
                    stacklevel=1,
                )
            # One that torch has on a CPU, too.
            torch.zeros(3).put_(torch.tensor([0]), torch.tensor([1.0]))
            warnings.warn("another matter", stacklevel=1)
    assert kernels.deterministic and kernels.lacking == {"adaptive_avg_pool2d_backward_cuda", "put_"}
    assert [str(one.message) for one in shown] == ["another matter"]


@pytest.mark.parametrize(("seconds", "choice"), [(1.09, True), (1.11, False)])
def test_they_may_cost_a_tenth(seconds: float, choice: bool) -> None:
    # An outlier changes nothing.
    found = determinism.decision({False: [1.0, 5.0, 1.0], True: [seconds, seconds, 9.0]})
    assert (found["choice"], found["reason"]) == (choice, f"{seconds:.2f} times the time a step")


@pytest.fixture
def as_a_gpu(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Let a CPU decide as a GPU does; which kernels were measured."""
    measured: list[bool] = []
    kernels = determinism.kernels

    def noting(device: torch.device, deterministic: bool) -> Any:
        measured.append(deterministic)
        return kernels(device, deterministic)

    monkeypatch.setattr(determinism, "kernels", noting)
    monkeypatch.setattr(determinism, "SECONDS", 0.01)
    return measured


def test_a_measurement_decides_once_for_all_trials_of_a_study(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide, asked, measured = determinism.wanted, list[bool](), list[str]()

    class Gpu:
        type = "cuda"

    def measure(made: Any, *_: Any) -> dict[str, Any]:
        measured.append(made.study.name)
        return {"choice": len(measured) == 1, "reason": "1.02 times the time a step"}

    def wanted(made: Any, folder: TrialFolder, device: torch.device, *rest: Any) -> bool:
        asked.append(decide(made, folder, Gpu(), *rest))  # type: ignore[arg-type]
        return asked[-1]

    monkeypatch.setattr(determinism, "measure", measure)
    monkeypatch.setattr(determinism, "wanted", wanted)
    monkeypatch.setattr(determinism, "device_kind", lambda device: "NVIDIA H100")
    monkeypatch.setattr("harness.train.speed.recorded_choice.free_memory", lambda device: None)
    changes: dict[str, Any] = {
        "methods": ["bn_affine"],
        "train": {"epochs": 1, "batch_size": 64, "image_size": 8},
        "search": {"trials": 1, "seeds": [0]},
        "confirm": {"seeds": 2, "repeat": False},
    }
    run_inline(tiny_sweep(tmp_path, **changes), tmp_path / "run", shared_cache, report=False)
    found = RunDirectory(tmp_path / "run")
    (study,) = found.studies()
    (path,) = determinism_paths(study.path)
    assert (measured, asked) == (["bn_affine@small"], [True] * 3)
    assert read_json(path) == {"device": "NVIDIA H100", "choice": True, "reason": "1.02 times the time a step"}
    assert list(kernel_sentences(found)) == [
        "bn_affine on small, NVIDIA H100: deterministic kernels, as measured once (1.02 times the time a step)."
    ]


def test_both_sides_are_measured_and_the_trial_begins_as_if_they_had_not(
    digits: Digits, tmp_path: Path, as_a_gpu: list[bool]
) -> None:
    made = job(digits, "bn_affine")
    folder = TrialFolder(tmp_path / "trial", "confirm")
    lines: list[str] = []
    found = determinism.measure(made, folder, CPU, Control(log=lines.append), None)
    assert as_a_gpu == [False, True, False]
    assert found["seconds_per_step"].keys() == {"free", "deterministic"} and found["ratio"] > 0
    assert found["choice"] == (found["ratio"] < 1.1)
    assert not folder.path.exists()
    assert not any("test split" in line for line in lines), "a measurement needs no test images"


def test_where_deterministic_kernels_fail_the_study_goes_without(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_a_gpu: list[bool]
) -> None:
    def seconds(self: Any, steps: int) -> float:
        if as_a_gpu[-1]:
            raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED")
        return 0.01

    monkeypatch.setattr(determinism.TimedSteps, "seconds", seconds)
    folder = TrialFolder(tmp_path / "trial", "search")
    found = determinism.measure(job(digits, "bn_affine"), folder, CPU, Control(), None)
    assert found["choice"] is False and "CUBLAS_STATUS_NOT_SUPPORTED" in found["reason"]


def test_a_setting_of_the_sweep_is_not_measured(digits: Digits, tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path, "search")
    for setting in (True, False):
        made = job(digits, "bn_affine", train={"deterministic": setting}, study=tmp_path)
        assert determinism.wanted(made, folder, GPU, Control(), None) is setting
    # Without a study there is no place for a record, and a trial that goes on must not be decided otherwise.
    assert determinism.wanted(job(digits, "bn_affine"), folder, GPU, Control(), None) is True
    assert not list(tmp_path.iterdir())


def test_the_default_leaves_earlier_results_what_they_are() -> None:
    earlier = TrainSpec().identity()
    assert "deterministic" not in earlier
    assert TrainSpec(deterministic=True).identity() == {**earlier, "deterministic": True}
    assert TrainSpec.model_validate(earlier).deterministic == "auto"
    assert TrainSpec(deterministic=False).merged({"epochs": 2}).deterministic is False


def test_a_wrong_setting_is_refused_in_a_line() -> None:
    mapping = {"name": "x", "backbone": {"name": "resnet20"}, "datasets": ["digits"], "methods": ["linear_probe"]}
    with pytest.raises(RequestError, match=r"train.deterministic"):
        load_mapping({**mapping, "train": {"deterministic": "always"}}, [])


def test_the_report_says_what_a_repetition_gives() -> None:
    rows = [
        {"device": "cpu", "deterministic": True, "not_deterministic": ""},
        {"device": "NVIDIA H100", "deterministic": True, "not_deterministic": ""},
        {"device": "NVIDIA H100", "deterministic": True, "not_deterministic": ""},
        {"device": "NVIDIA L4", "deterministic": True, "not_deterministic": "median, put_"},
        {"device": "NVIDIA L4", "deterministic": False, "not_deterministic": ""},
        {"device": "NVIDIA V100", "deterministic": None, "not_deterministic": None},
        {"device": None, "deterministic": None, "not_deterministic": None},
    ]
    schema = {"device": pl.String, "deterministic": pl.Boolean, "not_deterministic": pl.String}
    cpu, h100, without, with_some, unknown = exactness_sentences(pl.DataFrame(rows, schema=schema))
    assert cpu.startswith("1 training ran on a CPU: ") and "bit for bit" in cpu
    assert h100.startswith("2 trainings ran on NVIDIA H100 with deterministic kernels alone")
    assert without == "1 training ran on NVIDIA L4 without deterministic kernels: a repetition may differ."
    assert "it has none for median and put_: a repetition may differ" in with_some
    assert "NVIDIA V100 without deterministic kernels (not recorded)" in unknown
