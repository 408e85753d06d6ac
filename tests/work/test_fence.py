"""Whoever lost a trial writes nothing more into it, and nobody trains what is no longer planned."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_up_records
import polars as pl
import psutil
import pytest
import torch
from home import content
from slow_method import slow_method
from tiny import environment, run_inline, sweep_command, tiny_sweep
from warm import warm

from harness.core.clock import server_now
from harness.core.errors import RequestError
from harness.core.lease import LeaseLost
from harness.plugins import discover
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder
from harness.studies.loading import load_sweep
from harness.studies.planner import Planner
from harness.studies.study import Roots, Study
from harness.sweep.prepare import _refuse_living
from harness.train.checkpoint import write_checkpoint
from harness.work.claims import ClaimedTrial
from harness.work.running import run_claimed
from harness.work.scheduler import PlanChanged, Scheduler

PREDICTIONS = pl.DataFrame({"case_id": ["a"], "group": ["a"], "label": [0], "logit_0": [1.0], "logit_1": [0.0]})
WRITES: dict[str, Callable[[TrialFolder], object]] = {
    "request": lambda trial: trial.write_request(made_up_records.request(seed=1)),
    "curve": lambda trial: trial.write_curve([made_up_records.epoch(0)]),
    "decisions": lambda trial: trial.write_decisions([{"epoch": 0}]),
    "schedule": lambda trial: trial.write_schedule([{"epoch": 0}]),
    "predictions": lambda trial: trial.write_predictions(PREDICTIONS),
    "checkpoint": lambda trial: write_checkpoint(trial.checkpoint_path, {"progress": {}}, trial.fence),
    "result": lambda trial: trial.finish(made_up_records.result()),
}


def held(path: Path) -> TrialFolder:
    trial = TrialFolder(path, "confirm")
    own = trial.claim()
    assert own is not None
    return trial.held(own)


def succeeded(path: Path) -> None:
    """Another process takes the trial over, because its owner slept."""
    os.utime(path / "lease.0001", (0, 0))
    assert TrialFolder(path, "confirm").claim() is not None


def replaced(path: Path) -> None:
    """The study is set aside; another one has the same trial, with a lease of the same number."""
    path.rename(path.with_name("aside"))
    assert TrialFolder(path, "confirm").claim() is not None


def gone(path: Path) -> None:
    path.rename(path.with_name("aside"))


@pytest.mark.parametrize("lose", [succeeded, replaced, gone])
@pytest.mark.parametrize("name", WRITES)
def test_every_write_of_a_trial_stops_at_the_fence(tmp_path: Path, name: str, lose: Callable[[Path], None]) -> None:
    trial = held(tmp_path / "trial")
    lose(trial.path)
    before = content(tmp_path)
    with pytest.raises(LeaseLost):
        WRITES[name](trial)
    assert content(tmp_path) == before


def test_the_fence_is_asked_after_the_content_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that sleeps while it writes has lost the trial when it gives the file its name."""
    trial = held(tmp_path / "trial")
    fsync = os.fsync

    def slept(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        succeeded(trial.path)

    monkeypatch.setattr(os, "fsync", slept)
    with pytest.raises(LeaseLost):
        trial.write_curve([made_up_records.epoch(0)])
    assert not trial.curve_path.exists()


def test_a_lost_lease_is_neither_renewed_nor_noted_nor_released(tmp_path: Path) -> None:
    trial = TrialFolder(tmp_path / "trial", "confirm")
    own = trial.claim()
    assert own is not None
    replaced(trial.path)
    os.utime(own.path, (1, 1))
    before = content(tmp_path)
    with pytest.raises(LeaseLost):
        own.renew()
    with pytest.raises(LeaseLost):
        own.note(device="cpu")
    own.release("too late")
    assert content(tmp_path) == before and own.path.stat().st_mtime == 1


def test_no_two_claims_share_a_token(tmp_path: Path) -> None:
    tokens = set()
    for _ in range(5):
        own = TrialFolder(tmp_path / "trial", "confirm").claim()
        assert own is not None
        tokens.add(own.content["token"])
        own.release("again")
    assert len(tokens) == 5


def test_a_worker_that_slept_does_not_cut_a_finished_curve_short(tmp_path: Path, shared_cache: Path) -> None:
    """Fault F3: it wrote the curve of its own fewer epochs over that of the trial which another one has finished."""
    study = planned(tmp_path, shared_cache)
    taken = claimed(Scheduler([study], retries=5))
    slow: list[ClaimedTrial] = [taken]

    def sleeps_after_the_first_epoch(facts: dict[str, Any]) -> None:
        if "val" in facts and slow:
            slow.clear()
            os.utime(taken.lease.path, (0, 0))
            other = claimed(Scheduler([study], retries=5))
            assert other.folder == taken.folder
            assert run_claimed(other, torch.device("cpu"), threading.Event()) is not None

    assert run_watched(taken, sleeps_after_the_first_epoch) is None
    assert len(taken.folder.curve()) == 2 and taken.folder.result()["status"] == "done"
    taken.folder.check_sealed("curve.jsonl", taken.folder.curve_path.read_bytes())


def run_watched(taken: ClaimedTrial, progress: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
    from harness.train import job

    default = job.Control.__init__

    def watched(self: job.Control, **given: Any) -> None:
        default(self, **{**given, "progress": progress})
        job.Control.__init__ = default  # type: ignore[method-assign]

    job.Control.__init__ = watched  # type: ignore[assignment,method-assign]
    return run_claimed(taken, torch.device("cpu"), threading.Event())


def planned(folder: Path, cache: Path) -> Study:
    run = RunDirectory(folder / "run")
    run.create()
    spec = load_sweep(tiny_sweep(folder, methods=["linear_probe"])).spec
    (study,) = Planner(spec, discover(), run, Roots(cache, cache)).studies()
    study.folder.describe(study.description())
    run.write_spec(spec.model_dump(mode="json"))
    return study


def claimed(scheduler: Scheduler) -> ClaimedTrial:
    taken = scheduler.claim_next()
    assert taken is not None
    return taken


def test_nothing_is_claimed_under_a_plan_that_was_withdrawn(tmp_path: Path, shared_cache: Path) -> None:
    study = planned(tmp_path, shared_cache)
    run = RunDirectory(tmp_path / "run")
    spec = load_sweep(tmp_path / "tiny.yaml").spec
    run.publish_plan()
    first = run.plan()
    scheduler = Scheduler.of(run, spec, [study], plan=first)
    run.withdraw_plan()
    with pytest.raises(PlanChanged):
        scheduler.claim_next()
    folder = study.folder.search_trial(0, 0)
    view = folder.lease()
    assert view is not None and view.dead and not folder.has_request()
    run.restore_plan()
    assert run.plan() == first and claimed(scheduler).folder == folder
    run.publish_plan()
    with pytest.raises(PlanChanged):
        scheduler.claim_next()
    assert run.plan() != first


def test_a_request_of_another_plan_is_not_trained(tmp_path: Path, shared_cache: Path) -> None:
    study = planned(tmp_path, shared_cache)
    taken = claimed(Scheduler([study], retries=5))
    taken.lease.release("interrupted")
    request = json.loads(taken.folder.request_path.read_text())
    taken.folder.request_path.write_text(json.dumps({**request, "identity": "0" * 64}))
    with pytest.raises(Exception, match=r"trial\.json: it asks for other code, data or settings"):
        Scheduler([study], retries=5).claim_next()


def test_a_study_is_not_set_aside_while_its_workers_live(tmp_path: Path, shared_cache: Path) -> None:
    """Fault F2: results of the old settings and code were committed as the new study's."""
    slow_method(tmp_path, 0.2)
    file = tiny_sweep(
        tmp_path, methods=["slow"], plugins=["plugins"], search={"trials": 1}, confirm={"seeds": 1},
        train={"epochs": 60, "batch_size": 64, "image_size": 8}, launch={"kind": "local", "workers": 1, "threads": 1},
    )  # fmt: skip
    run = RunDirectory(tmp_path / "run")
    command = warm(sweep_command(file, run.path))
    sweep = subprocess.Popen(command, env=environment(shared_cache), stderr=subprocess.DEVNULL)
    try:
        (trial,) = _eventually(lambda: [t for t in run.trials() if t.curve_path.exists()])
        owner = trial.attempts()[0]
        token = run.plan()
        for change in (["--set", "train.epochs=5"], ["--set", "train.epochs=60"]):
            if change[-1] == "train.epochs=60":
                plugin = tmp_path / "plugins" / "slow.py"
                plugin.write_text(plugin.read_text().replace("sleep(0.2)", "sleep(0.1)"))
            before = described(run)
            refused = run_inline(file, run.path, shared_cache, *change, "--stale", "rerun", expect=2).stderr
            message = refused.splitlines()[-1]
            assert f"process {owner['pid']} on {owner['hostname']}" in message and "end them first" in message
            assert described(run) == before and not (run.path / "stale").exists() and run.plan() == token
        # A worker that only sleeps cannot be told from one that is gone; what it does afterwards changes nothing.
        worker = psutil.Process(owner["pid"])
        worker.suspend()
        sweep.kill()
        os.utime(trial.path / "lease.0001", (0, 0))
        short = ["--set", "train.epochs=1", "--stale", "rerun"]
        run_inline(file, run.path, shared_cache, *short, report=False)
        new = content(run.path / "studies")
        worker.resume()
        worker.wait(60)
        assert content(run.path / "studies") == new
        assert {result["epochs"] for result in (trial.result() for trial in run.trials())} == {1}
    finally:
        sweep.kill()
        sweep.wait()


def described(run: RunDirectory) -> list[bytes]:
    return [study.description_path.read_bytes() for study in run.studies()]


def _eventually(look: Callable[[], Any], seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_retrying_is_refused_while_a_worker_lives(tmp_path: Path, shared_cache: Path) -> None:
    study = planned(tmp_path, shared_cache)
    scheduler = Scheduler([study], retries=5)
    first = claimed(scheduler)
    first.folder.finish({**first.request, "status": "failed", "cause": "bug", "message": "no", "steps": 0})
    first.lease.release("finished")
    claimed(scheduler)  # and lives
    refused = run_inline(tmp_path / "tiny.yaml", tmp_path / "run", shared_cache, "--retry-failed", expect=2).stderr
    assert f"process {os.getpid()} on" in refused.splitlines()[-1]
    assert not (tmp_path / "run" / "stale").exists()


def test_a_study_is_not_set_aside_while_its_backbone_is_trained(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    study, source = run.study("m@d"), run.source("5" * 16)
    study.describe(made_up_records.study(backbone={"name": "resnet20", "weights": {"source": "5" * 64}}))
    own = source.claim()
    assert own is not None
    with pytest.raises(RequestError, match=r"m@d cannot be set aside while 1 of its trials runs"):
        _refuse_living(run, [study])
    own.release("interrupted")
    _refuse_living(run, [study])


def test_a_process_keeps_its_lease_when_the_clock_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault F8: the start of a process was compared by the wall clock, which psutil counts from a boot time."""
    trial = TrialFolder(tmp_path / "trial", "search")
    assert trial.claim() is not None
    create_time = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + 5.0)
    monkeypatch.setattr(psutil, "boot_time", lambda: time.time())
    view = trial.lease()
    assert view is not None and not view.dead and trial.claim() is None


def test_processes_of_one_id_in_two_containers_ask_the_clock_at_once(tmp_path: Path) -> None:
    """Fault F9: both made and removed a file of the same name."""
    faults = []

    def ask() -> None:
        try:
            for _ in range(300):
                server_now(tmp_path)
        except OSError as error:
            faults.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults and not list(tmp_path.iterdir())
