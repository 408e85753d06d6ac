"""A process that trains makes its GPU the current one before anything else of CUDA, and launches on it."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import ROOT

from harness import trial
from harness.activations import triton_formulas, triton_kernels
from harness.activations.bases import RELU
from harness.activations.window import W4
from harness.core.errors import RequestError
from harness.run.directory import RunDirectory
from harness.train.device import usable_device
from harness.work import worker

QUIET = {"is_available", "device_count", "_is_compiled", "is_initialized"}
"""What asks the driver's management library, or nothing, and opens no context."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Every function of ``torch.cuda`` that is called, on a machine with two GPUs that are not there."""
    noted: list[tuple[str, Any]] = []

    def noting(name: str) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            noted.append((name, given[-1] if given else named.get("device")))
            return {"device_count": 2, "is_available": True, "get_device_name": "GPU"}.get(name)

        return call

    for name, value in vars(torch.cuda).items():
        if callable(value) and not isinstance(value, type) and not name.startswith("__"):
            monkeypatch.setattr(torch.cuda, name, noting(name))
    empty = torch.empty

    def made(*size: int, device: torch.device, **settings: Any) -> torch.Tensor:
        noted.append(("empty", device))
        return empty(*size, **settings)

    monkeypatch.setattr("torch.empty", made)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    return noted


def first_of_cuda(calls: list[tuple[str, Any]]) -> tuple[str, Any]:
    return next(call for call in calls if call[0] not in QUIET)


@pytest.mark.parametrize("share", ["1", "2"])
def test_a_worker_takes_its_gpu_first(
    calls: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, share: str
) -> None:
    taken: list[torch.device] = []
    monkeypatch.setattr(worker, "stop_event", lambda parent: None)
    monkeypatch.setattr(worker.RunDirectory, "require", lambda self: None)
    monkeypatch.setattr(worker.Worker, "work", lambda self: taken.append(self._device) or 0)
    assert worker.main([str(RunDirectory(tmp_path).path), "--device", "cuda:1", "--share", share]) == 0
    assert taken == [torch.device("cuda:1")]
    assert first_of_cuda(calls) == ("set_device", torch.device("cuda:1"))
    assert ("set_per_process_memory_fraction", torch.device("cuda:1")) in calls or share == "1"
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_trial_of_ones_own_takes_its_gpu_first(calls: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    class Reached(Exception):
        pass

    def stop(*_: Any) -> None:
        raise Reached

    monkeypatch.setattr(trial, "_study", stop)
    with pytest.raises(Reached):
        trial._trial(trial.parser().parse_args(["--method", "gpaf", "--dataset", "digits", "--device", "cuda:1"]))
    assert first_of_cuda(calls) == ("set_device", torch.device("cuda:1"))


def test_without_a_name_the_first_gpu_is_taken(calls: list[tuple[str, Any]]) -> None:
    assert usable_device() == torch.device("cuda:0")
    assert first_of_cuda(calls) == ("set_device", torch.device("cuda:0"))
    assert usable_device("cuda") == torch.device("cuda:0")


def test_the_users_own_workspaces_stay(calls: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    usable_device("cuda:1")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


@pytest.mark.parametrize("error", [RuntimeError, AssertionError, AttributeError])
def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def refuse(device: torch.device) -> None:
        raise error("invalid device ordinal")

    monkeypatch.setattr("torch.cuda.set_device", refuse)
    with pytest.raises(RequestError, match="--device cuda:7: cannot be used here"):
        usable_device("cuda:7")


def test_every_device_from_outside_comes_through_that_door() -> None:
    """Whoever makes one of a word by himself trains on a GPU that is not the current one."""
    outside = []
    for path in sorted(
        file for part in ("harness", "analysis", "benchmarks", "slurm") for file in (ROOT / part).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text())):
            named = isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.device"
            if named and not all(isinstance(word, ast.Constant) for word in node.args):
                outside.append(path.relative_to(ROOT).as_posix())
    assert set(outside) == {"harness/train/device.py"}


def test_triton_launches_on_the_tensors_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the current one otherwise, whose kernels cannot read another one's memory."""
    current: list[torch.Tensor] = []
    launched: list[str] = []

    @contextmanager
    def device_of(tensor: torch.Tensor) -> Iterator[None]:
        current.append(tensor)
        yield
        current.pop()

    class Kernel:
        def __init__(self, name: str) -> None:
            self._name = name

        def __getitem__(self, grid: tuple[int, int]) -> Any:
            def launch(x: torch.Tensor, *_: Any, **__: Any) -> None:
                assert current[-1] is x
                launched.append(self._name)

            return launch

    monkeypatch.setattr("torch.cuda.device_of", device_of)
    monkeypatch.setattr(triton_kernels, "_value_kernel", Kernel("value"))
    monkeypatch.setattr(triton_kernels, "_gradient_kernel", Kernel("gradient"))
    x, coefficients = torch.randn(2, 3, 4, 4), torch.zeros(4, 3, requires_grad=True)
    variant = triton_formulas.VARIANTS[W4]
    triton_kernels.evaluate(variant, RELU, x, coefficients, torch.ones(1, 3)).sum().backward()
    assert launched == ["value", "gradient"] and not current
