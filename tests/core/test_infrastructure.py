"""What the file system does never counts against a method."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_sweep

from harness.core import infrastructure
from harness.core.files import write_atomic, write_exclusive
from harness.core.infrastructure import AMBIGUOUS, LASTING, Patience, is_infrastructure, passes, patiently, persistently
from harness.plugins import discover
from harness.run.directory import RunDirectory
from harness.studies.loading import load_sweep
from harness.studies.planner import Planner
from harness.studies.study import Roots
from harness.work.worker import Worker

EVERY = sorted(errno.errorcode)
PASSING = [number for number in EVERY if number not in LASTING | AMBIGUOUS]


def failing(error: int, times: int) -> Callable[[], str]:
    left = [times]

    def operation() -> str:
        if left[0]:
            left[0] -= 1
            raise OSError(error, os.strerror(error))
        return "done"

    return operation


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits; the seconds that somebody would have waited."""
    waited: list[float] = []
    monkeypatch.setattr(infrastructure.time, "sleep", waited.append)
    return waited


@pytest.mark.parametrize("number", PASSING)
def test_a_passing_error_is_tried_again_a_few_times(number: int, quick: list[float]) -> None:
    assert persistently(failing(number, 3)) == "done" and len(quick) == 3
    with pytest.raises(OSError) as caught:
        persistently(failing(number, 4))
    assert caught.value.errno == number


@pytest.mark.parametrize("number", sorted(LASTING | AMBIGUOUS))
def test_an_error_that_lasts_is_not(number: int, quick: list[float]) -> None:
    with pytest.raises(OSError):
        persistently(failing(number, 1))
    assert not quick


def test_patience_ends_and_begins_anew_with_a_success(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(infrastructure.time, "monotonic", lambda: now[0])
    patience, full = Patience(), OSError(errno.ENOSPC, "full")
    pauses = []
    with pytest.raises(OSError, match="full"):
        while True:
            pauses.append(patience.pause(full))
            now[0] += pauses[-1]
    assert pauses == sorted(pauses) and sum(pauses) >= infrastructure.LASTING_PATIENCE
    patience.calm()
    assert patience.pause(full) == pauses[0]


@pytest.mark.parametrize("number", EVERY)
def test_every_numbered_error_that_the_harness_meets_is_infrastructure(number: int, tmp_path: Path) -> None:
    def refuse(stream: Any) -> None:
        raise OSError(number, os.strerror(number))

    from harness.core.files import write_atomic_by

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(infrastructure, "PAUSES", ())
        with pytest.raises(OSError) as caught:
            write_atomic_by(tmp_path / "x", refuse)
    assert is_infrastructure(caught.value)
    assert passes(caught.value) == (number in PASSING)


def test_what_is_no_failed_operation_is_not() -> None:
    assert not is_infrastructure(OSError("cannot identify image file"))
    assert not is_infrastructure(ValueError("x")) and not is_infrastructure(MemoryError())


@pytest.mark.parametrize("operation", ["fsync", "link", "replace"])
def test_a_file_is_written_although_an_operation_fails_once(
    operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: list[float]
) -> None:
    own = getattr(os, operation)
    once = [errno.EIO]

    def fails_once(*given: Any, **more: Any) -> Any:
        if once:
            raise OSError(once.pop(), "once")
        return own(*given, **more)

    monkeypatch.setattr(os, operation, fails_once)
    if operation == "link":
        assert write_exclusive(tmp_path / "x", b"content")
    else:
        write_atomic(tmp_path / "x", b"content")
    assert (tmp_path / "x").read_bytes() == b"content" and not once
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_an_answer_that_was_lost_is_no_defeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file server makes the link, its answer is lost, and the client asks again."""
    link = os.link
    lost = [errno.ETIMEDOUT, errno.EIO]

    def makes_and_fails(*given: Any) -> None:
        link(*given)
        if lost:
            raise OSError(lost.pop(), "the answer was lost")

    monkeypatch.setattr(os, "link", makes_and_fails)
    assert write_exclusive(tmp_path / "x", b"content")
    trial = RunDirectory(tmp_path / "run").study("m@d").search_trial(0, 0)
    assert trial.claim() is not None and trial.claim() is None


ONCE = [errno.EMFILE, errno.EIO, errno.ENOSPC, errno.EACCES, errno.ENOENT]


@pytest.mark.parametrize(
    ("name", "number"),
    [("curve.jsonl", number) for number in ONCE]
    + [(name, errno.EMFILE) for name in ("result.json", "predictions.parquet", "trial.json")],
)
def test_an_error_of_the_file_system_fails_no_trial(
    name: str, number: int, tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault F4: one failed flush of the curve was a trial's "bug", and a confirm seed was lost to the statistics."""
    run = planned_run(tmp_path, shared_cache)
    monkeypatch.setattr(Worker, "_say_waiting", lambda *_: None)
    monkeypatch.setattr(infrastructure, "PAUSES", ())  # so that the operation fails, and not only its first attempt
    fsync, hit = os.fsync, []

    def fails_once(descriptor: int) -> None:
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if not hit and f".{name}." in path:
            hit.append(path)
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fails_once)
    worker = Worker(run, Roots(shared_cache, shared_cache), torch.device("cpu"), 1, threading.Event())
    while worker.turn():
        pass
    assert hit and [trial.result()["status"] for trial in run.trials()] == ["done", "done"]


def planned_run(folder: Path, cache: Path) -> RunDirectory:
    run = RunDirectory(folder / "run")
    run.create()
    train = {"epochs": 1, "batch_size": 64, "image_size": 8}
    small: dict[str, Any] = {"search": {"trials": 1}, "confirm": {"seeds": 1}, "train": train}
    spec = load_sweep(tiny_sweep(folder, methods=["linear_probe"], **small)).spec
    (study,) = Planner(spec, discover(), run, Roots(cache, cache)).studies()
    study.folder.describe(study.description())
    run.write_spec(spec.model_dump(mode="json"))
    return run


def test_a_plugin_that_opens_a_file_that_is_not_there_has_a_bug(tmp_path: Path, shared_cache: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "mine.py").write_text(
        '"""Mine."""\n\nfrom harness.method import Method, optimiser_space\n'
        "from harness.space.parameters import Float\n\n\n"
        'class Mine(Method):\n    """Open a file."""\n\n    name = "mine"\n'
        "    space = optimiser_space(Float(1e-3, 1e-4, 1e-1, log=True))\n\n"
        "    def adapt(self, model, hp):\n        open('nowhere.txt')\n"
    )
    run = RunDirectory(tmp_path / "run")
    run.create()
    file = tiny_sweep(tmp_path, methods=["mine"], plugins=["plugins"], search={"trials": 1}, confirm={"seeds": 1})
    spec = load_sweep(file).spec
    catalogue = discover([Path(folder) for folder in spec.plugins])
    (study,) = Planner(spec, catalogue, run, Roots(shared_cache, shared_cache)).studies()
    study.folder.describe(study.description())
    run.write_spec(spec.model_dump(mode="json"))
    worker = Worker(run, Roots(shared_cache, shared_cache), torch.device("cpu"), 1, threading.Event())
    assert worker.turn()
    (trial,) = run.trials()
    assert trial.result()["cause"] == "bug" and "nowhere.txt" in trial.result()["message"]


def test_what_is_begun_again_is_said_each_time() -> None:
    said: list[float] = []
    assert patiently(failing(errno.EIO, 3), lambda error, pause: said.append(pause)) == "done"
    assert said == sorted(said) and len(said) == 3


def test_a_checkpoint_or_a_cache_that_cannot_be_read_now_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else --repair would set a healthy checkpoint aside, or the user delete a healthy cache."""
    from harness.data.decoded import open_decoded
    from harness.train.checkpoint import load_checkpoint, write_checkpoint

    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, {"tensors": {"x": torch.arange(1000)}})

    def fails(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    whole = load_checkpoint(path)
    assert whole is not None and whole["tensors"]["x"][-1] == 999
    opened = os.fdopen
    monkeypatch.setattr(os, "fdopen", lambda *given: _Failing(opened(*given)))
    with pytest.raises(OSError) as caught:
        load_checkpoint(path)
    assert caught.value.errno == errno.EIO
    monkeypatch.undo()
    monkeypatch.setattr("harness.data.decoded.read_json", fails)
    with pytest.raises(OSError) as caught:
        open_decoded(tmp_path, 8)
    assert caught.value.errno == errno.EIO


class _Failing:
    """A file whose end can be read, and nothing else of it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __enter__(self) -> _Failing:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, *_: Any) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    readinto = read
