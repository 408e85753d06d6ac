"""Claims are exclusive and writes atomic, whoever dies when."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import made_up_records
import pytest

from harness.core import lease
from harness.core.errors import RequestError
from harness.core.files import NoPlainFileError, TornFileError, update_json, write_exclusive, write_json
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder

SLOTS = 40


def _race(folder: str, start: Barrier, wins: multiprocessing.Queue[tuple[int, list[int]]]) -> None:
    study = RunDirectory(Path(folder)).study("m@d")
    start.wait()
    won = [slot for slot in range(SLOTS) if study.search_trial(slot, 0).claim() is not None]
    wins.put((os.getpid(), won))
    start.wait()  # nobody leaves before all have tried: a dead owner may be succeeded


def test_sixteen_processes_claim_each_slot_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, wins = context.Barrier(16), context.Queue()
    racers = [context.Process(target=_race, args=(str(tmp_path), start, wins)) for _ in range(16)]
    for racer in racers:
        racer.start()
    claimed = [slot for _ in racers for slot in wins.get(timeout=60)[1]]
    for racer in racers:
        racer.join(60)
    assert sorted(claimed) == list(range(SLOTS))


def test_a_killed_owner_is_succeeded_by_exactly_one(tmp_path: Path) -> None:
    trial = TrialFolder(tmp_path / "trial", "search")
    code = (
        "import sys, time; from pathlib import Path; from harness.run.directory import TrialFolder\n"
        "assert TrialFolder(Path(sys.argv[1]), 'search').claim(); print('claimed', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(trial.path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None and owner.stdout.readline() == "claimed\n"
    assert trial.claim() is None
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    successor = trial.claim()
    assert successor is not None and successor.number == 2
    assert trial.claim() is None


def test_an_owner_that_slept_notices_its_successor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = TrialFolder(tmp_path / "trial", "search")
    first = trial.claim()
    assert first is not None
    old = time.time() - lease.EXPIRY_SECONDS - 60
    os.utime(first.path, (old, old))
    second = trial.claim()
    assert second is not None
    with pytest.raises(lease.LeaseLost):
        first.check()
    second.check()
    first.release("too late")
    view = trial.lease()
    assert view is not None and view.number == second.number and not view.dead


def test_a_lease_of_another_host_lives_until_it_expires(tmp_path: Path) -> None:
    trial = TrialFolder(tmp_path / "trial", "search")
    own = trial.claim()
    assert own is not None
    own.note(host="elsewhere", pid=1)
    assert trial.claim() is None
    old = time.time() - lease.EXPIRY_SECONDS - 60
    os.utime(own.path, (old, old))
    assert trial.claim() is not None


def test_a_recycled_process_id_does_not_keep_a_lease_alive(tmp_path: Path) -> None:
    trial = TrialFolder(tmp_path / "trial", "search")
    own = trial.claim()
    assert own is not None
    own.note(process_start=own.content["process_start"] - 1000)
    assert trial.claim() is not None


def test_a_repetition_is_a_trial_of_the_run_and_no_confirm_seed(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    study = run.study("m@d")
    study.describe(made_up_records.study())
    again, first = study.repeat_trial("c0ffee", 1000), study.confirm_trial("c0ffee", 1000)
    for trial in (again, first):
        assert trial.stage == "confirm" and trial.claim() is not None
    assert study.trials("confirm") == [first] and study.repeats() == [again]
    assert list(run.trials()) == [first, again]


def test_a_finished_trial_cannot_be_claimed_or_finished_again(tmp_path: Path) -> None:
    trial = TrialFolder(tmp_path / "trial", "search")
    trial.create()
    assert trial.finish(made_up_records.result(steps=1))
    assert not trial.finish(made_up_records.result(steps=2))
    assert trial.result()["steps"] == 1
    assert trial.claim() is None


def _write_for_ever(path: str) -> None:
    number = 0
    while True:
        number += 1
        write_json(Path(path), {"number": number, "again": [number] * 500})


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"number": 0, "again": []})
    for round_ in range(8):
        writer = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(str(path),))
        writer.start()
        time.sleep(0.02 + 0.011 * round_)
        writer.kill()
        writer.join()
        value = json.loads(path.read_text())
        assert set(value["again"]) <= {value["number"]}


def test_a_folder_or_a_pipe_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for write in (write_json, update_json):
        with pytest.raises(NoPlainFileError, match="folder"):
            write(tmp_path / "folder", {})
    with pytest.raises(NoPlainFileError, match="a pipe"):
        update_json(tmp_path / "pipe", {})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "pipe"]


def test_exclusive_writes_keep_the_first(tmp_path: Path) -> None:
    assert write_exclusive(tmp_path / "x", b"first")
    assert not write_exclusive(tmp_path / "x", b"second")
    assert (tmp_path / "x").read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_torn_result_is_named_with_its_remedy(tmp_path: Path) -> None:
    trial = TrialFolder(tmp_path / "trial", "search")
    trial.create()
    trial.finish(made_up_records.result())
    path = trial.path / "result.json"
    path.write_bytes(path.read_bytes()[:5])
    with pytest.raises(TornFileError, match=r"result\.json: .*--repair"):
        trial.result()
    assert RunDirectory(tmp_path).set_aside(path).exists() and not trial.finished


def test_a_run_directory_does_not_take_over_a_folder_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RequestError, match="holds other files"):
        RunDirectory(tmp_path).create()
