"""A study whose trials are pruned, run in this process without the rest of a sweep."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import torch
from tiny import tiny_sweep

from harness.plugins import discover
from harness.run.directory import RunDirectory
from harness.studies.loading import load_sweep
from harness.studies.planner import Planner
from harness.studies.study import Roots, Study
from harness.work.running import run_claimed
from harness.work.scheduler import Scheduler

CPU = torch.device("cpu")


def planned(folder: Path, cache: Path, search: dict[str, Any], epochs: int = 9) -> tuple[RunDirectory, Study]:
    """The only study of a small sweep, planned in ``folder``."""
    folder.mkdir(exist_ok=True)
    file = tiny_sweep(
        folder,
        methods=[{"linear_probe": {"head_lr": {"log": [0.0002, 0.1], "default": 0.05}, "weight_decay": 0.0}}],
        train={"epochs": epochs, "batch_size": 32, "image_size": 8, "augment": False},
        search={"startup": 3, "concurrency": 2, "anchors": 4, **search},
        confirm={"seeds": 1},
    )
    run = RunDirectory(folder / "run")
    run.create()
    spec = load_sweep(file).spec
    (study,) = Planner(spec, discover(), run, Roots(cache, cache)).studies()
    run.write_spec(spec.model_dump(mode="json"))
    study.folder.describe(study.description())
    return run, study


def search_through(study: Study) -> Scheduler:
    """Run all search trials that are left, one after the other."""
    scheduler = Scheduler([study], retries=1000)
    (state,) = scheduler.states
    while not state.progress.searched():
        taken = scheduler.claim_next()
        assert taken is not None
        run_claimed(taken, CPU, threading.Event())
    return scheduler
