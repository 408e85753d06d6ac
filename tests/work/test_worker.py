"""A worker's turns: what it does when there is work, none for now, none at all, or when something fails."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from planned import finish, planned_run

from harness.core.errors import EXIT_DONE, RequestError
from harness.core.files import read_json
from harness.core.lease import LeaseLost
from harness.run.directory import RunDirectory
from harness.studies.study import Roots, Study
from harness.work import worker as working
from harness.work.bell import Bell
from harness.work.claims import ClaimedTrial
from harness.work.scheduler import Scheduler
from harness.work.worker import (
    LONGEST_PAUSE,
    PAUSE_AT_ONCE,
    SHORTEST_PAUSE,
    Worker,
    interrupted_by_signals,
    pause,
    stop_on_signals,
)
from harness.work.worker_report import EXIT_CROWDED, EXIT_STOPPED

CPU = torch.device("cpu")


class Pauses(threading.Event):
    """Nobody stops the worker, and its pauses are noted instead of waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waited.append(timeout)
        return self.is_set()


@pytest.fixture(autouse=True)
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause is waited for in one go; what a bell does is tested by itself."""
    monkeypatch.setattr(Bell, "wait", lambda self, stop, seconds: stop.wait(seconds))


@pytest.fixture
def plan(tmp_path: Path, shared_cache: Path) -> tuple[RunDirectory, Study]:
    run, (study,) = planned_run(tmp_path, shared_cache, search={"trials": 2, "seeds": [0]}, confirm={"seeds": 1})
    return run, study


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Trials end at once with a score; their names, in this order."""
    names: list[str] = []

    def run_claimed(taken: ClaimedTrial, *rest: Any, **more: Any) -> None:
        names.append(taken.folder.name)
        finish(taken)

    monkeypatch.setattr(working, "run_claimed", run_claimed)
    monkeypatch.setattr("harness.work.reporting.refresh_report", lambda run: names.append("report"))
    return names


@pytest.fixture
def make(plan: tuple[RunDirectory, Study], shared_cache: Path) -> Callable[..., Worker]:
    """``make(stop)``: a worker of the planned run."""

    def worker(stop: threading.Event, **more: Any) -> Worker:
        return Worker(plan[0], Roots(shared_cache, shared_cache), CPU, 1, stop, **more)

    return worker


def test_it_runs_everything_and_writes_the_report_at_the_end(
    make: Callable[..., Worker], trained: list[str], tmp_path: Path
) -> None:
    said = tmp_path / "worker.json"
    assert make(Pauses(), report=said).work() == EXIT_DONE
    assert [name.partition("-s")[2] for name in trained[:3]] == ["0", "0", "1000"] and trained[3:] == ["report"]
    assert read_json(said)["trial"].startswith("studies/linear_probe@small/confirm/")


def test_told_to_stop_it_begins_nothing(make: Callable[..., Worker], trained: list[str]) -> None:
    stop = Pauses()
    stop.set()
    assert make(stop).work() == EXIT_STOPPED and trained == []


def test_it_waits_longer_each_time_for_what_others_do(
    make: Callable[..., Worker], trained: list[str], plan: tuple[RunDirectory, Study]
) -> None:
    others = Scheduler([plan[1]], retries=1)
    first, second = others.claim_next(), others.claim_next()
    assert first is not None and second is not None
    stop = Pauses()
    worker = make(stop)
    assert [worker.turn() for _ in range(30)] == [True] * 30 and trained == []
    assert stop.waited[0] == SHORTEST_PAUSE and pause(29) == LONGEST_PAUSE
    expected = [pause(looks) for looks in range(30)]
    quick = [seconds for seconds in expected if seconds < PAUSE_AT_ONCE]
    assert expected == sorted(expected) and stop.waited[: len(quick)] == quick
    # Workers of many hosts do not look all at once.
    slow = zip(stop.waited[len(quick) :], expected[len(quick) :], strict=True)
    assert len(quick) < 20 and all(0.5 <= waited / seconds <= 1.5 for waited, seconds in slow)
    finish(first)
    finish(second)
    assert worker.turn() and len(trained) == 1 and not worker.turn()


def test_what_is_begun_near_the_end_of_its_time_is_nothing(make: Callable[..., Worker], trained: list[str]) -> None:
    stop = Pauses()
    worker = make(stop, until=time.time() - 1)
    assert worker.turn() and trained == [] and stop.waited == [SHORTEST_PAUSE]


def test_it_waits_while_the_run_is_planned_anew_and_follows_the_new_plan(
    make: Callable[..., Worker], trained: list[str], plan: tuple[RunDirectory, Study]
) -> None:
    run, study = plan
    stop = Pauses()
    worker = make(stop)
    assert worker.turn() and len(trained) == 1
    run.withdraw_plan()
    assert worker.turn() and worker.turn() and len(trained) == 1 and len(stop.waited) == 2
    run.publish_plan()
    assert worker.turn() and len(trained) == 2
    # Its code or data are others now: it says so instead of training them.
    description = study.folder.description()
    study.folder.describe({**description, "identity": {**description["identity"], "train": {"epochs": 7}}})
    run.publish_plan()
    with pytest.raises(RequestError, match="since the sweep was planned"):
        worker.turn()
    assert len(trained) == 2


def test_a_planner_that_died_is_not_waited_for(make: Callable[..., Worker], plan: tuple[RunDirectory, Study]) -> None:
    from harness.core.lease import claim

    run = plan[0]
    run.lock_folder.mkdir(exist_ok=True)
    planner = claim(run.lock_folder)
    assert planner is not None
    run.withdraw_plan()
    worker = make(Pauses())
    assert worker.turn(), "it lives"
    planner.note(pid=2**22 + 1)
    with pytest.raises(RequestError, match="being planned anew when that ended"):
        worker.turn()


def test_a_file_system_that_fails_is_waited_for_and_a_bug_is_not(
    make: Callable[..., Worker], trained: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finishes = working.run_claimed
    errors: list[Exception] = [OSError(errno.EIO, "Input/output error"), OSError(errno.ESTALE, "Stale"), LeaseLost("x")]

    def fails(taken: ClaimedTrial, *rest: Any, **more: Any) -> None:
        taken.lease.release("failed")
        raise errors.pop(0)

    monkeypatch.setattr(working, "run_claimed", fails)
    stop = Pauses()
    worker = make(stop)
    assert worker.turn() and worker.turn()
    first, second = stop.waited
    assert second == 2 * first > 0 and "waiting" in capsys.readouterr().err
    # Another worker has that trial now; that is no failure.
    assert worker.turn() and len(stop.waited) == 2
    errors.append(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        worker.turn()
    monkeypatch.setattr(working, "run_claimed", finishes)
    assert worker.turn() and len(trained) == 1


@pytest.mark.parametrize("step", ["_say", "_images_of"])
def test_a_claim_is_given_back_where_what_comes_before_the_training_fails(
    step: str, make: Callable[..., Worker], trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Worker, *given: object) -> None:
        if given != (None,):
            raise OSError(errno.EIO, "Input/output error")

    worker = make(Pauses())
    with monkeypatch.context() as patched:
        patched.setattr(Worker, step, broken)
        assert worker.turn() and not trained
    assert worker.turn()
    # The same trial again, not the one after it.
    assert trained == ["0000-s0"]


def test_a_file_system_that_stays_away_ends_it(
    make: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("harness.core.infrastructure.PASSING_PATIENCE", 0.0)

    def away(*_: Any, **more: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(working, "load_studies", away)
    with pytest.raises(OSError, match="Input/output"):
        make(Pauses()).turn()


def test_where_memory_is_shared_and_runs_out_it_leaves(
    make: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.train.job import OutOfRoom

    def full(taken: ClaimedTrial, *rest: Any, shares_device: bool) -> None:
        assert shares_device
        taken.lease.release("no room")
        raise OutOfRoom

    monkeypatch.setattr(working, "run_claimed", full)
    assert make(Pauses(), packed=True).work() == EXIT_CROWDED


@pytest.fixture
def own_signals() -> Any:
    """What signals do is put back afterwards."""
    numbers = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_signals_ask_for_an_orderly_end(number: signal.Signals) -> None:
    stop = threading.Event()
    stop_on_signals(stop)
    os.kill(os.getpid(), signal.SIGINT)
    assert not stop.wait(0.05), "Ctrl-C is the launcher's"
    os.kill(os.getpid(), number)
    assert stop.wait(10)


@pytest.mark.usefixtures("own_signals")
def test_a_report_that_is_interrupted_is_dropped_and_its_lock_given_back(
    make: Callable[..., Worker], trained: list[str], plan: tuple[RunDirectory, Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.core.lease import hold, view

    run = plan[0]
    run.lock_folder.mkdir(exist_ok=True)

    def endless(asked: RunDirectory) -> None:
        with hold(asked.lock_folder):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)

    monkeypatch.setattr("harness.work.reporting.refresh_report", endless)
    assert make(threading.Event()).work() == EXIT_STOPPED and len(trained) == 3
    lock = view(run.lock_folder)
    assert lock is not None and lock.dead


@pytest.mark.usefixtures("own_signals")
def test_a_signal_that_came_before_interrupts_at_once() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(KeyboardInterrupt), interrupted_by_signals(stop):
        pytest.fail("begun")
