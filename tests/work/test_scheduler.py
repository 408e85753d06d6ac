"""Who asks a scheduler, or shows a run, changes nothing; what it finds is recorded by whoever acts."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import made_up_records
import pytest
from home import Home
from rich.console import Console
from tiny import tiny_sweep

from analysis.report import main as report
from harness.export.__main__ import main as export
from harness.export.archive import main as archive
from harness.plan.__main__ import main as plan
from harness.plugins import discover
from harness.proof.replay import main as replay
from harness.run.directory import RunDirectory
from harness.status.__main__ import main as status
from harness.studies.loading import load_sweep
from harness.studies.progress import StudyDesign
from harness.studies.study import Roots, Study
from harness.sweep.prepare import plan_run
from harness.work.budget import Budget
from harness.work.claims import ClaimedTrial
from harness.work.scheduler import PlanChanged, Scheduler
from harness.work.worker import load_studies

SECONDS = 100.0
CONFIRMED = {"seeds": 1}


@pytest.fixture
def planned(tmp_path: Path, shared_cache: Path) -> Callable[..., tuple[RunDirectory, list[Study]]]:
    """Plans a sweep with these search settings; returns the run and its studies."""

    def plan_it(**search: object) -> tuple[RunDirectory, list[Study]]:
        file = tiny_sweep(tmp_path, methods=["linear_probe"], search={"trials": 2, **search}, confirm=CONFIRMED)
        run, roots = RunDirectory(tmp_path / "run"), Roots(shared_cache / "none", shared_cache)
        run.create()
        plan_run(run, load_sweep(file).spec, discover(), roots, Console(quiet=True), rerun_stale=False, repair=False)
        return run, load_studies(run, roots)[1]

    return plan_it


def finish(taken: ClaimedTrial, score: float = 0.5) -> None:
    taken.lease.note(claimed=time.time() - SECONDS)
    facts = {key: taken.request[key] for key in ("stage", "slot", "seed", "hyperparameters")}
    taken.folder.finish(made_up_records.result(**facts, metrics={"val": {"balanced_accuracy": score}}))
    taken.lease.release("finished")


def work(scheduler: Scheduler, trials: int) -> None:
    for _ in range(trials):
        taken = scheduler.claim_next()
        assert taken is not None
        finish(taken)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Names, times and contents of all files."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def ask(scheduler: Scheduler) -> list[object]:
    """Everything that a scheduler can be asked."""
    (state,) = scheduler.states
    return [
        scheduler.complete(), scheduler.halted(), scheduler.exhausted(), scheduler.claimable(),
        scheduler.open_sources(), scheduler.failed_sources(), scheduler.to_be_driven(), state.choice(), state.begun(),
        state.unconfirmed(), state.progress.complete(), state.progress.total(),
    ]  # fmt: skip


def test_asking_records_nothing_and_a_claim_records_the_choice(
    planned: Callable[..., tuple[RunDirectory, list[Study]]],
) -> None:
    run, (study,) = planned()
    work(Scheduler([study], retries=1), 2)
    before = snapshot(run.path)
    scheduler = Scheduler([study], retries=1)
    ask(scheduler)
    assert snapshot(run.path) == before and study.folder.chosen() is None
    taken = scheduler.claim_next()
    assert taken is not None and taken.request["stage"] == "confirm"
    chosen = study.folder.chosen()
    assert chosen is not None and chosen["hyperparameters"] == taken.request["hyperparameters"]
    assert chosen["of"] == 2 and {"best", "top_k"} & chosen["rules"].keys()
    # Asked or recorded again, it stays as it is.
    written = snapshot(run.path)
    for _ in range(2):
        again = Scheduler([study], retries=1)
        ask(again)
        again.record()
    assert snapshot(run.path) == written


def test_the_choice_of_a_grown_search_is_recorded_though_nothing_is_left_to_claim(
    planned: Callable[..., tuple[RunDirectory, list[Study]]],
) -> None:
    _, (study,) = planned()
    scheduler = Scheduler([study], retries=1)
    work(scheduler, 3)
    grown = replace(study, slots=3)
    scheduler = Scheduler([grown], retries=1)
    taken = scheduler.claim_next()
    assert taken is not None and taken.request["slot"] == 2
    finish(taken, score=0.4)
    assert scheduler.claim_next() is None and scheduler.complete()
    chosen = grown.folder.chosen()
    assert chosen is not None and (chosen["of"], chosen["slot"]) == (3, 0)


def test_one_that_follows_an_old_plan_records_nothing(
    planned: Callable[..., tuple[RunDirectory, list[Study]]],
) -> None:
    """It would put the choice of a smaller search in the place of the present one."""
    run, (study,) = planned()
    token = run.plan()
    work(Scheduler([study], retries=1), 2)
    old = Scheduler([study], 1, follows=lambda: run.plan() == token)
    run.publish_plan()
    for act in (old.record, old.claim_next):
        with pytest.raises(PlanChanged):
            act()
    assert study.folder.chosen() is None
    # A study that is confirmed leaves nothing to claim, which is where a choice is recorded without one.
    late = Scheduler([study], retries=1, follows=lambda: run.plan() == token)
    (place,) = (place for _, place in late.states[0].progress.confirm_trials())
    trial = study.folder.trial(place)
    trial.create()
    trial.finish(made_up_records.result(stage="confirm", seed=1000))
    with pytest.raises(PlanChanged):
        late.claim_next()
    assert study.folder.chosen() is None


def test_the_end_of_a_budget_is_recorded_by_command(
    planned: Callable[..., tuple[RunDirectory, list[Study]]],
) -> None:
    run, studies = planned()
    work(Scheduler(studies, retries=1), 2)
    before = snapshot(run.path)
    scheduler = Scheduler(studies, retries=1, budget=Budget(run, 2.5 * SECONDS))
    assert scheduler.exhausted() is not None and scheduler.complete() and scheduler.claim_next() is None
    new = {name for name in snapshot(run.path) if name not in before}
    assert {Path(name).name for name in new} == {"chosen.json"}, "the claim that was wanted, and too dear, chose"
    scheduler.record()
    facts = run.exhausted()
    assert facts is not None and facts["cap"] == 2.5 * SECONDS
    assert facts["used"] == pytest.approx(2 * SECONDS, abs=5)


def test_a_study_asks_for_what_its_description_says(
    planned: Callable[..., tuple[RunDirectory, list[Study]]],
) -> None:
    for search in (
        {},
        {"seeds": [0, 4], "choose": "top_k", "top": 2},
        {"pruner": "median", "choose": "surrogate_mean"},
    ):
        _, (study,) = planned(**search)
        assert StudyDesign.recorded(study.folder.description(), study.repeat) == study.design
        shutil.rmtree(study.folder.path.parents[1])


def test_who_reads_a_run_that_nobody_can_write_shows_it_and_leaves_it_as_it_is(
    home: Home, small_disk: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A search is complete and its choice lost; one confirm trial was claimed by somebody who died."""
    disk = small_disk("size=64m")
    copy = home.copy(disk / "home")
    copy.study.joinpath("chosen.json").unlink()
    trial = RunDirectory(copy.run).study(copy.study.name).trials("confirm")[0]
    trial.result_path.unlink()
    lease = trial.claim()
    assert lease is not None
    small_disk("ro")
    before, out = snapshot(copy.run), tmp_path / "out"
    out.mkdir()
    run = RunDirectory(copy.run)
    roots = Roots(copy.cache / "none", copy.cache)
    spec, studies = load_studies(run, roots)
    scheduler = Scheduler(studies, 1, budget=Budget(run, 1e6), follows=lambda: True)
    answers = ask(scheduler)
    assert answers[:3] == [False, None, None] and answers[7] is not None
    assert Scheduler.of(run, spec, studies, plan=run.plan()).complete() is False
    for command, *arguments in (
        (status, str(copy.run)),
        (status, str(copy.run), "--json"),
        (status, str(copy.run), "--html", str(out / "status.html")),
        (replay, str(copy.run)),
        (report, str(copy.run), "--out", str(out / "report")),
        (export, str(copy.run), "--to", "optuna", str(out / "optuna")),
        (archive, str(copy.run), "--out", str(out / "run.zip")),
        (plan, str(copy.file), "--like", str(copy.run), "--no-probe", "--run-dir", str(copy.run)),
    ):
        code = command([*arguments])  # type: ignore[operator]
        told = capsys.readouterr()
        assert code == 0, (command, told.out + told.err)
        assert snapshot(copy.run) == before
    assert scheduler.states[0].study.folder.chosen() is None
