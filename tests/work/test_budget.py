"""A cap on device-hours: where a run stops, that it goes on, and what it knows of what was spent."""

from __future__ import annotations

import time
from pathlib import Path

import made_up_records
import pytest
from rich.console import Console
from tiny import run_inline, tiny_sweep

from harness.core.identity import canonical_hash
from harness.plugins import discover
from harness.run.directory import RunDirectory
from harness.run.spent import Spent, spent
from harness.studies.loading import load_sweep
from harness.studies.study import Roots
from harness.sweep.prepare import plan_run
from harness.work.budget import Budget
from harness.work.scheduler import Scheduler
from harness.work.worker import load_studies

SECONDS = 100.0


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Path:
    """A run directory of two methods on two datasets that is planned, and in which nothing has run."""
    folder = tmp_path_factory.mktemp("planned")
    small = {"dataset": "digits", "classes": [7, 8, 9]}
    spec = load_sweep(tiny_sweep(folder, datasets=[{"one": small}, {"two": small}])).spec
    run, roots = RunDirectory(folder / "run"), Roots(shared_cache / "none", shared_cache)
    run.create()
    plan_run(run, spec, discover(), roots, Console(quiet=True), rerun_stale=False, repair=False)
    return run.path


def worked(run: RunDirectory, roots: Roots, trials: float) -> tuple[list[str], str | None]:
    """Run what a budget of so many trials allows, each of which takes the same time."""
    studies = load_studies(run, roots)[1]
    scheduler = Scheduler(studies, retries=0, budget=Budget(run, SECONDS * trials))
    done = []
    while (task := scheduler.claim_next()) is not None:
        task.lease.note(claimed=time.time() - SECONDS)
        value = int(canonical_hash(task.title), 16) % 100 / 100
        facts = {key: task.request[key] for key in ("stage", "slot", "seed", "hyperparameters")}
        task.folder.finish(made_up_records.result(**facts, metrics={"val": {"balanced_accuracy": value}}))
        task.lease.release("finished")
        where = f"slot {task.request['slot']}" if task.request["stage"] == "search" else f"seed {task.request['seed']}"
        done.append(f"{task.request['study']} {where}")
        scheduler = Scheduler(studies, retries=0, budget=Budget(run, SECONDS * trials))
    scheduler.record()
    return done, scheduler.exhausted()


def test_a_budget_ends_a_run_where_its_methods_compare_and_a_larger_one_goes_on(
    planned: Path, shared_cache: Path
) -> None:
    run, roots = RunDirectory(planned), Roots(shared_cache / "none", shared_cache)
    probe, lora = "linear_probe@", "lora_c@"
    # Four search trials of the first dataset leave enough for its four confirm trials, and none for the second's.
    first = [f"{method}one slot {slot}" for slot in (0, 1) for method in (probe, lora)]
    confirmed = [f"{method}one seed {seed}" for seed in (1000, 1001) for method in (probe, lora)]
    assert worked(run, roots, 7.9)[0] == first[:3]
    done, why = worked(run, roots, 8.1)
    assert done == [*first[3:], *confirmed]
    assert why is not None and why.startswith("budget exhausted: 0.222 of 0.225 device-hours are used")
    facts = run.exhausted()
    assert facts is not None and facts["cap"] == pytest.approx(810) and facts["used"] == pytest.approx(800, abs=2)
    done, why = worked(run, roots, 16.1)
    assert done == [line.replace("one", "two") for line in (*first, *confirmed)] and why is None


def test_a_search_must_leave_enough_to_train_its_best_slots_again(tmp_path: Path, shared_cache: Path) -> None:
    small = {"dataset": "digits", "classes": [7, 8, 9]}
    search = {"trials": 2, "choose": "top_k", "top": 2}
    spec = load_sweep(tiny_sweep(tmp_path, datasets=[{"one": small}], search=search)).spec
    run, roots = RunDirectory(tmp_path / "run"), Roots(shared_cache / "none", shared_cache)
    run.create()
    plan_run(run, spec, discover(), roots, Console(quiet=True), rerun_stale=False, repair=False)
    methods = ("linear_probe@one", "lora_c@one")
    slots = [f"{method} slot {slot}" for slot in (0, 1) for method in methods]
    # Four search trials, each of which has to leave enough for four more of the best slots and four that confirm.
    assert worked(run, roots, 11.9)[0] == slots[:3]
    done, why = worked(run, roots, 12.1)
    assert done[0] == slots[3] and sorted(done[1:5]) == sorted(slots) and why is None
    assert done[5:] == [f"{method} seed {seed}" for seed in (1000, 1001) for method in methods]


def test_the_sweep_says_that_its_budget_is_used_up(tmp_path: Path, shared_cache: Path) -> None:
    file = tiny_sweep(tmp_path, methods=["linear_probe"], budget={"device_hours": 1e-6})
    ended = run_inline(file, tmp_path / "run", shared_cache, expect=1)
    assert "budget exhausted" in ended.stderr and "raise budget.device_hours" in ended.stderr
    # One trial shows what a trial costs.
    assert sum(trial.finished for trial in RunDirectory(tmp_path / "run").trials()) == 1
    run_inline(file, tmp_path / "run", shared_cache, "--set", "budget.device_hours=null")
    assert all(trial.finished for trial in RunDirectory(tmp_path / "run").trials())


def test_what_attempts_cost_is_told_from_their_leases() -> None:
    history = [
        {"claimed": 100.0, "last_seen": 160.0, "progress": 0},
        # Found the checkpoint of second 130: thirty seconds of the first attempt were lost.
        {"claimed": 200.0, "last_seen": 250.0, "progress": 130 * 10**9, "released": "interrupted"},
        {"claimed": 300.0, "last_seen": 310.0, "progress": 250 * 10**9},
        {"claimed": 400.0, "last_seen": 425.0, "progress": 250 * 10**9, "released": "finished"},
    ]
    assert spent(history, finished=True) == Spent(attempts=4, seconds=145, interrupted=1, died=2, lost_seconds=40)
    assert spent(history[:1], finished=False) == Spent(attempts=1, seconds=60)
    parts = [spent(history, finished=True), spent(history[:1], finished=False)]
    assert Spent.total(parts) == Spent(attempts=5, seconds=205, interrupted=1, died=2, lost_seconds=40)
    assert Spent.total([]) == Spent()
