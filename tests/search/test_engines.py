"""Each engine keeps what ``conformance`` says."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from conformance import EngineConformance
from tiny import tiny_sweep

from harness.launcher import Launcher
from harness.plugins import Plugin, discover
from harness.run.directory import RunDirectory
from harness.search import Asked, Engine
from harness.space.parameters import Value, defaults
from harness.spec.sections import LaunchSpec
from harness.studies.loading import load_sweep
from harness.studies.planner import Planner
from harness.studies.study import Roots
from harness.work.claims import Proposal
from harness.work.running import run_claimed
from harness.work.scheduler import Scheduler


class TestOptuna(EngineConformance):
    search: ClassVar[dict[str, Any]] = {"engine": "optuna", "sampler": "tpe", "trials": 4}


@pytest.mark.large
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the engine ray needs the extra of that name")
class TestRay(EngineConformance):
    search: ClassVar[dict[str, Any]] = {"engine": "ray", "trials": 4, "pruner": "asha", "anchors": 0}
    launcher: ClassVar[str] = "local"


class TestGrid(EngineConformance):
    search: ClassVar[dict[str, Any]] = {"sampler": "grid", "trials": 3}
    hyperparameters: ClassVar[dict[str, Any]] = {
        "head_lr": {"choice": [0.01, 0.1, 1.0], "default": 0.1},
        "weight_decay": 0.0,
    }


class Driven(Engine):
    """Leaves its slots to a driver."""

    name = "driven"

    @classmethod
    def launcher(cls, settings: LaunchSpec) -> Launcher:
        raise AssertionError("no sweep of this engine is launched here")

    def ask(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        raise AssertionError("nobody but its driver asks a driven engine")


def test_the_driver_of_an_engine_claims_slots_and_workers_leave_them(tmp_path: Path, shared_cache: Path) -> None:
    file = tiny_sweep(tmp_path, methods=[{"linear_probe": {"head_lr": {"log": [0.01, 1.0], "default": 0.1}}}])
    run = RunDirectory(tmp_path / "run")
    run.create()
    (study,) = Planner(load_sweep(file).spec, discover(), run, Roots(shared_cache, shared_cache)).studies()
    study = replace(study, sampler=Plugin(Driven.name, Driven, Path(__file__), ""))
    study.folder.describe(study.description())
    scheduler = Scheduler([study], retries=1)
    assert scheduler.claim_next() is None and scheduler.claimable() == 0 and not scheduler.complete()

    wanted = {**defaults(study.space), "head_lr": 0.5}
    taken = scheduler.claim_slot(study.name, 1, 0, Proposal(wanted, [0]))
    assert taken is not None and scheduler.claim_slot(study.name, 1, 0, Proposal(wanted)) is None
    assert run_claimed(taken, torch.device("cpu"), threading.Event()) == taken.folder.result()
    request = taken.folder.request()
    assert request["hyperparameters"] == wanted and request["conditioned_on"] == [0]
    assert taken.folder.result()["status"] == "done" and taken.folder.attempts()[-1]["released"] == "finished"

    for slot, seed, hyperparameters, message in (
        (2, 0, wanted, "no search trial of slot 2"),
        (0, 7, wanted, "with seed 7"),
        (0, 0, {**wanted, "head_lr": 7.0}, "head_lr: 7.0 is not in the space"),
        (0, 0, {"head_lr": 0.5}, "a configuration of"),
    ):
        with pytest.raises(ValueError, match=message):
            scheduler.claim_slot(study.name, slot, seed, Proposal(hyperparameters))
    # Slot 0 was asked and its driver died: what was recorded then is run, whatever is proposed now.
    first = scheduler.claim_slot(study.name, 0, 0, Proposal(defaults(study.space)))
    assert first is not None
    first.lease.release("interrupted")
    again = scheduler.claim_slot(study.name, 0, 0, Proposal(wanted))
    assert again is not None and again.job.hyperparameters == defaults(study.space)
