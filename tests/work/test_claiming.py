"""What a scheduler claims next, in what order, and when nothing is left; no trial is trained."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from planned import finish, planned_run

from harness.space.parameters import defaults
from harness.studies.study import Study
from harness.work.claims import ClaimedTrial
from harness.work.scheduler import PlanChanged, Scheduler

SEARCH = {"trials": 5, "seeds": [0], "startup": 2, "concurrency": 2}


def claimed(scheduler: Scheduler) -> ClaimedTrial:
    taken = scheduler.claim_next()
    assert taken is not None
    return taken


def all_claimed(scheduler: Scheduler) -> list[str]:
    """Titles of all that can be claimed now, in this order; all of it stays claimed."""
    titles = []
    while (taken := scheduler.claim_next()) is not None:
        titles.append(f"{taken.folder.stage} {taken.folder.name}")
    return titles


def run_to_its_end(study: Study, scheduler: Scheduler) -> list[ClaimedTrial]:
    """Claim and finish one trial after the other; the later slots score higher."""
    all_taken = []
    while (taken := scheduler.claim_next()) is not None:
        all_taken.append(taken)
        finish(taken, 0.5 + 0.01 * (taken.request["slot"] or 0))
    return all_taken


def test_a_slot_waits_for_those_that_it_is_conditioned_on(tmp_path: Path, shared_cache: Path) -> None:
    _, (study,) = planned_run(tmp_path, shared_cache, search=SEARCH)
    scheduler = Scheduler([study], retries=1)
    assert scheduler.claimable() == 2
    first, second = claimed(scheduler), claimed(scheduler)
    assert [taken.request["slot"] for taken in (first, second)] == [0, 1]
    assert first.request["hyperparameters"] == defaults(study.space) and first.request["conditioned_on"] == []
    assert scheduler.claim_next() is None and scheduler.claimable() == 0 and not scheduler.complete()
    # What the second one will say is not waited for.
    finish(first)
    third = claimed(scheduler)
    assert (third.request["slot"], third.request["conditioned_on"]) == (2, [0])
    assert scheduler.claim_next() is None
    finish(third)
    assert scheduler.claim_next() is None, "slot 3 waits for slot 1, whatever else is finished"
    finish(second)
    assert [claimed(scheduler).request["conditioned_on"] for _ in range(2)] == [[0, 1], [0, 1, 2]]


def test_what_is_asked_depends_on_the_results_and_not_on_who_asks(tmp_path: Path, shared_cache: Path) -> None:
    asked = []
    for name, workers in (("one", 1), ("three", 3)):
        (tmp_path / name).mkdir()
        _, (study,) = planned_run(tmp_path / name, shared_cache, search=SEARCH)
        schedulers = [Scheduler([study], retries=1) for _ in range(workers)]
        number = 0
        while (taken := schedulers[number % workers].claim_next()) is not None:
            finish(taken, 0.5 + 0.01 * (taken.request["slot"] or 0))
            number += 1
        assert all(scheduler.complete() for scheduler in schedulers)
        asked.append([trial.request()["hyperparameters"] for trial in study.folder.trials("search")])
    assert asked[0] == asked[1] and len(asked[0]) == 5


def test_confirm_seeds_follow_the_search_with_what_it_chose(tmp_path: Path, shared_cache: Path) -> None:
    _, (study,) = planned_run(tmp_path, shared_cache, search=SEARCH, confirm={"seeds": 2, "repeat": True})
    scheduler = Scheduler([study], retries=1)
    all_taken = run_to_its_end(study, scheduler)
    assert [taken.request["slot"] for taken in all_taken] == [0, 1, 2, 3, 4, None, None, None]
    confirm = all_taken[5:]
    assert [taken.request["seed"] for taken in confirm] == [1000, 1001, 1000]
    assert {json.dumps(taken.request["hyperparameters"]) for taken in confirm} == {
        json.dumps(all_taken[4].request["hyperparameters"])
    }
    assert [bool(taken.request.get("repeat")) for taken in confirm] == [False, False, True]
    chosen = study.folder.chosen()
    assert chosen is not None and (chosen["slot"], chosen["value"]) == (4, pytest.approx(0.54))
    assert scheduler.complete() and scheduler.claimable() == 0
    # Whoever comes later finds it so.
    assert Scheduler([study], retries=1).complete()


def test_a_trial_of_another_worker_is_passed_over_and_taken_when_it_is_given_back(
    tmp_path: Path, shared_cache: Path
) -> None:
    _, (study,) = planned_run(tmp_path, shared_cache, search=SEARCH)
    mine, others = Scheduler([study], retries=1), Scheduler([study], retries=1)
    taken = claimed(others)
    assert claimed(mine).request["slot"] == 1 and mine.claim_next() is None
    taken.lease.release("interrupted")
    again = claimed(mine)
    assert again.folder == taken.folder and again.lease.number == 2 and again.request == taken.request


def test_a_worker_without_a_study_to_wait_for_turns_to_the_next(tmp_path: Path, shared_cache: Path) -> None:
    _, studies = planned_run(
        tmp_path, shared_cache, methods=["linear_probe", "bn_affine"], search={**SEARCH, "trials": 2}
    )
    titles = all_claimed(Scheduler(studies, retries=1))
    assert titles == ["search 0000-s0", "search 0001-s0"] * 2


def test_a_failed_slot_is_passed_over_and_a_search_of_failures_alone_confirms_nothing(
    tmp_path: Path, shared_cache: Path
) -> None:
    _, studies = planned_run(tmp_path, shared_cache, methods=["linear_probe", "bn_affine"], confirm={"seeds": 1})
    scheduler = Scheduler(studies, retries=1)
    all_taken = []
    while (taken := scheduler.claim_next()) is not None:
        works = taken.request["stage"] == "confirm" or (taken.folder.path.match("linear_probe*/*/0001*"))
        finish(taken, 0.5 if works else None)
        all_taken.append(taken.title.partition("@")[0] + " " + taken.request["stage"])
    # Were the other study asked for at all, its failures would end nothing: one trial of the sweep is done.
    assert sorted(all_taken) == ["bn_affine search"] * 2 + ["linear_probe confirm"] + ["linear_probe search"] * 2
    assert scheduler.complete() and scheduler.halted() is None
    chosen = studies[0].folder.chosen()
    assert chosen is not None and chosen["slot"] == 1


def test_when_the_first_trials_of_every_method_fail_alike_nothing_more_is_begun(
    tmp_path: Path, shared_cache: Path
) -> None:
    _, (study,) = planned_run(tmp_path, shared_cache, search=SEARCH)
    scheduler = Scheduler([study], retries=1)
    all_taken = [claimed(scheduler), claimed(scheduler)]
    finish(all_taken[0], None, "bug", "KeyError: 'x'")
    assert scheduler.halted() is None
    finish(all_taken[1], None, "bug", "KeyError: 'x'")
    fresh = Scheduler([study], retries=1)
    assert "KeyError" in str(fresh.halted()) and fresh.complete() and fresh.claim_next() is None


def test_a_trial_that_kills_its_workers_is_given_up(tmp_path: Path, shared_cache: Path) -> None:
    _, (study,) = planned_run(tmp_path, shared_cache, search=SEARCH)
    folder = study.folder.search_trial(0, 0)
    for attempt in (1, 2):
        taken = claimed(Scheduler([study], retries=1))
        assert (taken.folder, taken.lease.number) == (folder, attempt)
        # As a launcher notes it; the process is looked for in vain, and has been for longer than the next one waits.
        taken.lease.note(death="SIGSEGV", pid=2**22 + attempt, process_start=1.0)
        os.utime(taken.lease.path, (1, 1))
    following = claimed(Scheduler([study], retries=1))
    assert following.request["slot"] == 1
    result = folder.result()
    assert (result["status"], result["cause"]) == ("failed", "worker_died")
    assert "2 workers died at the same place" in result["message"] and "SIGSEGV" in result["message"]
    assert folder.attempts()[-1]["released"] == "given up"


def test_nothing_is_begun_that_could_not_be_ended_in_time(tmp_path: Path, shared_cache: Path) -> None:
    _, (study,) = planned_run(tmp_path, shared_cache, search=SEARCH)
    scheduler = Scheduler([study], retries=1)
    assert scheduler.claim_next(seconds_left=0.0) is None and scheduler.claimable() == 2
    assert scheduler.claim_next(seconds_left=60.0) is not None


def test_a_claim_under_a_withdrawn_plan_is_given_back(tmp_path: Path, shared_cache: Path) -> None:
    run, (study,) = planned_run(tmp_path, shared_cache, search=SEARCH)
    plan = run.plan()
    scheduler = Scheduler([study], retries=1, follows=lambda: run.plan() == plan)
    run.withdraw_plan()
    with pytest.raises(PlanChanged):
        scheduler.claim_next()
    assert [attempt["released"] for attempt in study.folder.search_trial(0, 0).attempts()] == [
        "the run is planned anew"
    ]
    run.restore_plan()
    assert claimed(scheduler).lease.number == 2


def test_an_error_after_a_claim_gives_the_trial_back(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (study,) = planned_run(tmp_path, shared_cache, search=SEARCH)
    scheduler = Scheduler([study], retries=1)

    def fails(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("harness.run.directory.TrialFolder.write_request", fails)
    with pytest.raises(OSError, match="Input/output"):
        scheduler.claim_next()
    monkeypatch.undo()
    (attempt,) = study.folder.search_trial(0, 0).attempts()
    assert attempt["released"] and claimed(scheduler).lease.number == 2
