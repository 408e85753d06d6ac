"""Leases alone: who owns a folder, for how long, and what of it is recorded."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from harness.core import lease
from harness.core.lease import EXPIRY_SECONDS, Lease, LeaseLost, claim, history, latest_number, view


def owned(folder: Path, **facts: object) -> Lease:
    made = claim(folder, **facts)
    assert made is not None
    return made


def age(own: Lease, seconds: float) -> None:
    long_ago = time.time() - seconds
    os.utime(own.path, (long_ago, long_ago))


def test_a_folder_has_one_owner_and_then_the_next_number(tmp_path: Path) -> None:
    assert view(tmp_path) is None and latest_number(tmp_path) == 0
    first = owned(tmp_path, device="cpu")
    assert (first.number, first.held) == (1, True) and claim(tmp_path) is None
    first.release("finished")
    found = view(tmp_path)
    assert found is not None and found.dead and found.age == float("inf")
    second = owned(tmp_path)
    assert second.number == 2 and not first.held and second.held
    assert [entry.name for entry in sorted(tmp_path.iterdir())] == ["lease.0001", "lease.0002"]


def test_leases_are_the_record_of_all_attempts(tmp_path: Path) -> None:
    owned(tmp_path, device="cuda:0").release("interrupted")
    last = owned(tmp_path, device="cuda:1")
    last.note(progress=3)
    first, second = history(tmp_path)
    assert (first["device"], first["released"]) == ("cuda:0", "interrupted")
    assert (second["device"], second["progress"], second.get("released")) == ("cuda:1", 3, None)
    assert second["last_seen"] == last.path.stat().st_mtime


@pytest.mark.parametrize(("since", "dead"), [(EXPIRY_SECONDS - 20, False), (EXPIRY_SECONDS + 20, True)])
def test_an_owner_elsewhere_is_believed_until_its_lease_expires(tmp_path: Path, since: float, dead: bool) -> None:
    own = owned(tmp_path)
    own.note(host="elsewhere")
    age(own, since)
    found = view(tmp_path)
    assert found is not None and found.dead is dead and found.age == pytest.approx(since, abs=10)
    assert (claim(tmp_path) is not None) is dead


def test_renewing_keeps_a_folder_and_ends_where_it_is_lost(tmp_path: Path) -> None:
    own = owned(tmp_path)
    own.note(host="elsewhere")
    age(own, EXPIRY_SECONDS + 20)
    own.renew()
    assert claim(tmp_path) is None
    age(own, EXPIRY_SECONDS + 20)
    other = owned(tmp_path)
    for late in (own.renew, own.check):
        with pytest.raises(LeaseLost):
            late()
    own.release("too late")
    assert other.held and history(tmp_path)[0].get("released") is None


def test_a_lease_is_renewed_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    own = owned(tmp_path)
    age(own, 60)
    with lease.keep_alive(own):
        deadline = time.monotonic() + 30
        while time.time() - own.path.stat().st_mtime > 30:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # A lease that is lost is left alone, and the thread ends by itself.
        own.note(host="elsewhere")
        other = Lease(tmp_path, 2, {**own.content, "token": "another"})
        assert other._make()
        while any(thread.name == "lease" for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert other.held


def test_holding_waits_for_the_owner_and_gives_back_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.01)
    own = owned(tmp_path)
    owned_then: list[int] = []

    def wait() -> None:
        with lease.hold(tmp_path) as second:
            owned_then.append(second.number)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.1)
    assert owned_then == []
    own.release("done")
    waiting.join(30)
    assert owned_then == [2]
    with pytest.raises(ValueError, match="a bug"), lease.hold(tmp_path):
        raise ValueError("a bug")
    assert [attempt["released"] for attempt in history(tmp_path)] == ["done"] * 3


def test_what_fails_after_a_claim_gives_it_back(tmp_path: Path) -> None:
    own = owned(tmp_path)
    with pytest.raises(ZeroDivisionError), lease.given_back(own, "stopped by an error"):
        raise ZeroDivisionError
    assert history(tmp_path)[0]["released"] == "stopped by an error" and claim(tmp_path) is not None


def test_a_job_that_was_started_again_succeeds_its_earlier_start_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "9")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    own = owned(tmp_path)
    own.note(host="elsewhere")
    assert (own.content["slurm_job"], own.content["slurm_restart"]) == ("7_3", 0)
    assert claim(tmp_path) is None
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "4")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert claim(tmp_path) is None, "another task of the array"
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert owned(tmp_path).content["slurm_restart"] == 1


def test_the_cause_of_a_death_is_noted_for_the_owner_that_died_alone(tmp_path: Path) -> None:
    own = owned(tmp_path)
    lease.record_death(tmp_path, os.getpid() + 1, "SIGKILL")
    assert "death" not in history(tmp_path)[0]
    lease.record_death(tmp_path, os.getpid(), "SIGKILL")
    assert history(tmp_path)[0]["death"] == "SIGKILL"
    age(own, EXPIRY_SECONDS + 20)
    owned(tmp_path).release("finished")
    lease.record_death(tmp_path, os.getpid(), "OOM")
    assert "death" not in history(tmp_path)[1], "it gave the folder back before it died"


def test_an_unreadable_lease_counts_by_its_age_and_can_be_replaced(tmp_path: Path) -> None:
    own = owned(tmp_path)
    own.path.write_bytes(b"{")
    found = view(tmp_path)
    assert found is not None and found.content == {} and not found.dead
    age(own, EXPIRY_SECONDS + 20)
    seen = own.path.stat().st_mtime
    lease.record_loss(own.path)
    (attempt,) = history(tmp_path)
    assert attempt == {"released": "record lost", "last_seen": pytest.approx(seen)}
    assert owned(tmp_path).number == 2


def test_a_lease_that_nobody_renews_can_be_let_expire(tmp_path: Path) -> None:
    own = owned(tmp_path)
    own.note(host="elsewhere")
    lease.expire(own.path)
    found = view(tmp_path)
    assert found is not None and found.dead
    own.renew()
    assert claim(tmp_path) is None, "its owner lives on"


def test_a_full_disk_does_not_keep_a_folder_from_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = owned(tmp_path)
    own.note(host="elsewhere")

    def full(self: Lease, **facts: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Lease, "note", full)
    with pytest.raises(OSError, match="No space left"):
        own.release("interrupted")
    found = view(tmp_path)
    assert found is not None and found.dead
