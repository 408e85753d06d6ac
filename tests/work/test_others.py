"""What a worker knows of trials of other hosts, when it looks at them again, and what workers tell one another."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from planned import finish, planned_run

from benchmarks.worker_simulation import Costs, Load, Simulation
from harness.core.files import encode_json
from harness.core.lease import EXPIRY_SECONDS, Lease
from harness.run.directory import RunDirectory
from harness.run.news import Item, News
from harness.run.trial_records import TrialRequest
from harness.studies.study import Study
from harness.work import others
from harness.work.bell import Bell
from harness.work.claims import ClaimedTrial
from harness.work.others import AGAIN_SECONDS, Others
from harness.work.scheduler import Scheduler

Planned = tuple[RunDirectory, Study]


def of(plan: Planned) -> Scheduler:
    """The scheduler of one more worker."""
    run, study = plan
    token = run.plan()
    assert token is not None
    return Scheduler([study], retries=1, others=Others(News(run, token.token)))


def look(scheduler: Scheduler) -> ClaimedTrial | None:
    """What a worker does when it looks: it claims, tells of it, or asks whether all is done."""
    with scheduler.look():
        taken = scheduler.claim_next()
        if taken is None:
            scheduler.complete()
        else:
            scheduler.tell_claimed(taken)
        return taken


def elsewhere(taken: ClaimedTrial, age: float = 0.0) -> Lease:
    """Let it be a worker of another host that has the trial."""
    taken.lease.note(host="elsewhere", hostname="node7")
    heard = time.time() - age
    os.utime(taken.lease.path, (heard, heard))
    return taken.lease


def plan_of(folder: Path, cache: Path, trials: int) -> Planned:
    folder.mkdir()
    search = {"trials": trials, "seeds": [0], "sampler": "random"}
    run, (study,) = planned_run(folder, cache, search=search, confirm={"seeds": 1})
    return run, study


def all_held(plan: Planned) -> list[ClaimedTrial]:
    """Every search trial is held by a worker of another host that tells nothing."""
    _, study = plan
    first = Scheduler([study], retries=1).claim_next()
    assert first is not None
    elsewhere(first)
    taken = [first]
    for slot in range(1, study.slots):
        folder = study.folder.search_trial(slot, 0)
        lease = folder.claim(progress=0)
        assert lease is not None
        # As a claim has it, without waiting for the disk.
        request: TrialRequest = {**first.request, "slot": slot}
        folder.request_path.write_bytes(encode_json(request))
        taken.append(replace(first, folder=folder, lease=lease, request=request))
        elsewhere(taken[-1])
    return taken


@pytest.fixture
def plan(tmp_path: Path, shared_cache: Path) -> Planned:
    return plan_of(tmp_path / "planned", shared_cache, 2)


class Clock:
    """A monotonic clock that can be set forward; the file server's follows it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def server_now(self, folder: Path) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(others, "server_now", made.server_now)
    monkeypatch.setattr("harness.core.lease.server_now", made.server_now)
    monkeypatch.setattr("harness.work.others.time", made)
    return made


@contextmanager
def counting(folder: Path) -> Iterator[list[str]]:
    """Files below a folder that are opened, listed, made, renamed, linked or removed meanwhile, as Python announces."""
    found: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event.startswith(("open", "os.")) and arguments and str(arguments[0]).startswith(str(folder)):
            found.append(f"{event} {arguments[0]}")

    sys.addaudithook(hook)
    try:
        yield found
    finally:
        watching = False


def test_an_idle_look_costs_the_same_however_many_trials_run(tmp_path: Path, shared_cache: Path) -> None:
    counts = []
    for trials in (4, 40):
        plan = plan_of(tmp_path / str(trials), shared_cache, trials)
        assert len(all_held(plan)) == trials
        scheduler = of(plan)
        with counting(plan[0].path) as first:
            assert look(scheduler) is None
        assert (
            sum("lease." in name for name in first) == trials
            and len({name.split()[1] for name in first if ".clock" in name}) == 1
        )
        with counting(plan[0].path) as later:
            assert look(scheduler) is None
            with scheduler.look():
                assert scheduler.claimable() == 0
        counts.append(len(later))
        # Another worker that comes learns it from the first one.
        with counting(plan[0].path) as second:
            assert look(of(plan)) is None
        assert not [name for name in second if "lease." in name]
    assert counts[0] == counts[1] <= 8


def test_a_lease_is_looked_at_again_by_one_worker_in_time(plan: Planned, clock: Clock) -> None:
    held = all_held(plan)
    first, second = of(plan), of(plan)
    assert look(first) is None and look(second) is None
    clock.ahead = AGAIN_SECONDS - 5
    for scheduler in (first, second):
        with counting(plan[0].path) as found:
            assert look(scheduler) is None
        assert not [name for name in found if "lease." in name]
    clock.ahead = AGAIN_SECONDS + 5
    for taken in held:
        os.utime(taken.lease.path, (time.time() + clock.ahead, time.time() + clock.ahead))
    looked = []
    for scheduler in (first, second):
        with counting(plan[0].path) as found:
            assert look(scheduler) is None
        looked.append(sum("lease." in name for name in found))
    assert looked == [len(held), 0]


def test_a_dead_workers_trial_is_taken_over_when_its_lease_expires(plan: Planned, clock: Clock) -> None:
    dead, living = all_held(plan)
    scheduler, late = of(plan), of(plan)
    assert look(scheduler) is None and scheduler.doubtful_in() == float("inf")
    clock.ahead = AGAIN_SECONDS + 5
    os.utime(living.lease.path, (time.time() + clock.ahead, time.time() + clock.ahead))
    assert look(scheduler) is None
    # It, and whoever was told, looks again exactly when the lease can be dead, however long it would pause.
    assert look(late) is None
    left = EXPIRY_SECONDS - AGAIN_SECONDS - 5
    assert scheduler.doubtful_in() == pytest.approx(left, abs=3) == late.doubtful_in()
    clock.ahead = EXPIRY_SECONDS - 3
    assert look(scheduler) is None and look(late) is None
    clock.ahead = EXPIRY_SECONDS + 3
    # The claim itself asks the real clock.
    os.utime(dead.lease.path, (time.time() - EXPIRY_SECONDS - 3, time.time() - EXPIRY_SECONDS - 3))
    taken = look(late)
    assert taken is not None and taken.folder == dead.folder and taken.lease.number == 2
    assert look(scheduler) is None, "the other one lives, and that one is taken"


def test_a_finished_trial_is_noticed_at_the_next_look_without_opening_it(plan: Planned) -> None:
    worker, idle = of(plan), of(plan)
    running = [look(worker), look(worker)]
    for taken in running:
        assert taken is not None
        elsewhere(taken)
    assert look(idle) is None
    for taken in running:
        assert taken is not None
        finish(taken, 0.25 * (taken.request["slot"] or 1))
        worker.tell_ended(taken)
    with counting(plan[0].path) as found:
        following = look(idle)
    assert following is not None and following.folder.stage == "confirm"
    assert not [name for name in found if "/search/" in name]
    assert [result["status"] for result in idle.states[0].results.read.values()] == ["done", "done"]


def test_what_was_told_before_a_worker_began_is_no_result_for_it(plan: Planned) -> None:
    first = of(plan)
    taken = look(first)
    assert taken is not None
    finish(taken)
    first.tell_ended(taken)
    # As the doctor does with a result that it sets aside; the plan stays the same.
    taken.folder.result_path.unlink()
    later = of(plan)
    with later.look():
        assert later.states[0].results.read == {}


def test_a_finished_trial_of_which_nobody_told_is_noticed_when_its_lease_is_due(plan: Planned, clock: Clock) -> None:
    held = all_held(plan)
    scheduler = of(plan)
    assert look(scheduler) is None
    for taken in held:
        finish(taken)
    assert look(scheduler) is None
    clock.ahead = AGAIN_SECONDS + 5
    following = look(scheduler)
    assert following is not None and following.folder.stage == "confirm"


def test_a_trial_that_is_given_back_is_claimed_at_the_next_look(plan: Planned) -> None:
    worker, idle = of(plan), of(plan)
    taken = [look(worker), look(worker)]
    assert taken[0] is not None and taken[1] is not None
    for one in taken:
        elsewhere(one)  # type: ignore[arg-type]
    assert look(idle) is None
    taken[0].lease.release("interrupted")
    worker.tell_ended(taken[0])
    again = look(idle)
    assert again is not None and again.folder == taken[0].folder and again.lease.number == 2


def test_the_configuration_of_a_running_slot_is_told(plan: Planned) -> None:
    worker, other = of(plan), of(plan)
    taken = look(worker)
    assert taken is not None
    elsewhere(taken)
    with counting(plan[0].path) as found:
        assert look(other) is not None
    assert not [name for name in found if str(taken.folder.request_path) in name]
    asked = other.states[0].asked(0)
    assert asked is not None and asked.hyperparameters == taken.request["hyperparameters"]


def read(plan: Planned, news: News) -> list[str]:
    return [item.trial for item in news.new()]


def test_lines_that_are_torn_or_of_another_plan_tell_nothing(plan: Planned) -> None:
    run = plan[0]
    mine, another, reader = News(run, "mine"), News(run, "another"), News(run, "mine")
    mine.tell([Item("ended", "a")])
    another.tell([Item("ended", "b")])
    with run.news_path.open("ab") as stream:
        stream.write(run.news_path.read_bytes().splitlines()[1][:30])
    assert read(plan, reader) == ["a"]
    mine.tell([Item("ended", "c", content=b'{"x": "\\t\\n"}')])
    assert read(plan, reader) == ["c"] and read(plan, reader) == []
    content = run.news_path.read_bytes()
    run.news_path.write_bytes(content.replace(b"\tc\t", b"\td\t"))
    assert read(plan, News(run, "mine")) == ["a"]


def test_news_that_cannot_be_written_are_no_error(plan: Planned) -> None:
    plan[0].news_path.mkdir()
    News(plan[0], "mine").tell([Item("ended", "a")])


def test_a_bell_wakes_whoever_waits_on_this_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    waiting, ringing, stop = Bell(tmp_path / "run"), Bell(tmp_path / "run"), threading.Event()
    started = time.monotonic()
    waiting.wait(stop, 0.1)
    assert time.monotonic() - started >= 0.1
    timer = threading.Timer(0.1, ringing.ring)
    timer.start()
    waiting.wait(stop, 60)
    assert time.monotonic() - started < 30
    timer.join()
    # What has rung before is heard at once, and once; nobody hears himself.
    ringing.ring()
    waiting.wait(stop, 60)
    assert time.monotonic() - started < 40
    ringing.wait(stop, 0.1)
    ringing.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("idle", [False, True])
def test_what_workers_cost_grows_with_the_work_and_not_with_their_square(idle: bool) -> None:
    costs = Costs(look=10, claim=80, lease=20, finish=60, renew=10)
    sizes = [(40, 200), (160, 800)]
    few, many = (Simulation(Load(w, trials, w // 4 if idle else w), costs).run() for w, trials in sizes)
    assert many["per_trial"] < 1.1 * few["per_trial"] and many["per_second"] < 2 * 160
