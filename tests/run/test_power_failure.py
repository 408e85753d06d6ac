"""A power failure takes away nothing that something on the disk rests on."""

from __future__ import annotations

import os
from pathlib import Path

import made_up_records
import pytest
from tiny import tiny_sweep

from harness.doctor.trial_files import examine
from harness.plugins import discover
from harness.run.directory import RunDirectory
from harness.studies.loading import load_sweep
from harness.studies.planner import Planner
from harness.studies.study import Roots, Study
from harness.work.claims import ClaimedTrial
from harness.work.scheduler import Scheduler


@pytest.fixture
def study(tmp_path: Path, shared_cache: Path) -> Study:
    file = tiny_sweep(
        tmp_path,
        methods=[{"linear_probe": {"head_lr": {"log": [0.01, 1.0], "default": 0.1}}}],
        search={"sampler": "tpe", "trials": 8, "startup": 1, "concurrency": 2},
    )
    run = RunDirectory(tmp_path / "run")
    run.create()
    (study,) = Planner(load_sweep(file).spec, discover(), run, Roots(shared_cache, shared_cache)).studies()
    study.folder.describe(study.description())
    return study


def claimed(scheduler: Scheduler) -> ClaimedTrial:
    taken = scheduler.claim_next()
    assert taken is not None
    return taken


def finish(taken: ClaimedTrial, score: float) -> None:
    taken.folder.finish(made_up_records.result(**taken.request, metrics={"val": {"balanced_accuracy": score}}))
    taken.lease.release("finished")


def test_a_request_that_is_lost_while_a_later_one_is_kept_is_asked_alike(study: Study) -> None:
    scheduler = Scheduler([study], retries=1)
    for score in (0.5, 0.7, 0.6):
        finish(claimed(scheduler), score)
    lost, kept = claimed(scheduler), claimed(scheduler)
    before = [taken.folder.request_path.read_bytes() for taken in (lost, kept)]
    assert kept.request["conditioned_on"] == [0, 1, 2]
    # A request's name is flushed with the next file of its folder, a lease never; no worker has survived.
    lost.folder.request_path.unlink()
    for taken in (lost, kept):
        taken.lease.path.unlink()
    after = Scheduler([study], retries=1)
    again = [claimed(after), claimed(after)]
    assert [taken.folder for taken in again] == [lost.folder, kept.folder]
    assert [taken.folder.request_path.read_bytes() for taken in again] == before


def test_no_name_is_there_before_its_content_and_no_result_before_its_request(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[int | str] = []
    fsync, link = os.fsync, os.link

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        events.append(os.fstat(descriptor).st_ino)

    def noted_link(source: Path, target: Path) -> None:
        link(source, target)
        if target.suffix == ".json":
            assert events[-1] == source.stat().st_ino, f"{target} may be there without its content"
            events.append(target.name)

    scheduler = Scheduler([study], retries=1)
    finish(claimed(scheduler), 0.5)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "link", noted_link)
    taken = claimed(scheduler)
    finish(taken, 0.7)
    # Both names get to the disk with their folder, before anybody goes on to rest upon them.
    folder = taken.folder.path.stat().st_ino
    assert [event for event in events if isinstance(event, str) or event == folder] == [
        "trial.json",
        "result.json",
        folder,
    ]


def test_a_result_that_lost_its_request_counts_and_is_reported(study: Study) -> None:
    taken = claimed(Scheduler([study], retries=1))
    finish(taken, 0.5)
    taken.folder.request_path.unlink()
    after = Scheduler([study], retries=1)
    assert claimed(after).folder == study.folder.search_trial(1, 0)
    known = after.state(study.name).asked(0)
    assert known is not None and known.hyperparameters == taken.request["hyperparameters"]
    found = examine(taken.folder, thorough=False)
    (missing,) = (finding for finding in found if finding.place == taken.folder.request_path)
    assert missing.kind == "missing" and taken.folder.result_path in missing.aside
