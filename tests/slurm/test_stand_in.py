"""The stand-in for Slurm: it answers as Slurm does, runs real processes, and brings about what tests ask for."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stand_in import Settings, StandIn, install
from stand_in.compared import COMMANDS, DIRECTIVES

from slurm.cluster import LittleCluster, obstacle
from slurm.cluster import Settings as LittleSettings

OBSTACLE = obstacle()
on_slurm = pytest.mark.skipif(OBSTACLE is not None, reason=f"no Slurm cluster here: {OBSTACLE}")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def stand_in_settings() -> Settings:
    return Settings(kill_wait=0.5, grace=1.0, requeue_delay=0.3, silence=0.1, gpu_type="tiny", max_array_size=9)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, Run]]:
    """How to run a command in the stand-in and in a real cluster with the same limits."""
    little = LittleSettings(kill_wait=1, max_array_size=9, max_submit_jobs=30, gpu_type="tiny", slurmd_timeout=5)
    folder = tmp_path_factory.mktemp("stand-in") / "cluster"
    limits = Settings(kill_wait=1.0, requeue_delay=5.0, max_array_size=9, max_submit=30, gpu_type="tiny", running=16)
    install(folder, limits)
    pretended = StandIn(folder)
    with LittleCluster(settings=little) as cluster:

        def real(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
            return cluster.run(words, folder=folder, text=text)

        def stand_in(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
            return pretended.run(*words, text=text, cwd=folder)

        yield stand_in, real
    pretended.stop()


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Exit code and all that was printed, but for the numbers of jobs."""
    return re.sub(r"(?<!9)\b\d{4,}", "JOB", f"[{done.returncode}]\n{done.stdout}{done.stderr}")


def submitted(run: Run, *words: str, text: str = "") -> str:
    done = run("sbatch", "--parsable", *words, text=text)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def until(run: Run, job: str, *states: str) -> None:
    end = time.monotonic() + 30
    while True:
        now = set(run("squeue", "--noheader", "--array", "--states=all", f"--jobs={job}", "--format=%T").stdout.split())
        if now and now <= set(states):
            return
        assert time.monotonic() < end, f"job {job} is {now}, not {states}"
        time.sleep(0.1)


@on_slurm
def test_refuses_and_shows_what_slurm_does(both: tuple[Run, Run]) -> None:
    stand_in, real = both
    differing = {}
    for text in COMMANDS:
        answers = said(stand_in(*text.split())), said(real(*text.split()))
        if answers[0] != answers[1]:
            differing[text] = answers
    assert not differing
    too_many = ["sbatch", "--wrap=true", "--array=0-8"]
    end = ["scancel", "--name=wrap"]
    for run in both:
        for _ in range(3):
            run(*too_many, "--dependency=afterany:" + submitted(run, "--wrap=sleep 60", "--output=/dev/null"))
    assert said(stand_in(*too_many)) == said(real(*too_many))
    assert "Job violates accounting/QOS policy" in said(real(*too_many))
    assert said(stand_in(*end)) == said(real(*end))


@on_slurm
@pytest.mark.parametrize("line", DIRECTIVES)
def test_reads_directives_as_slurm_does(both: tuple[Run, Run], line: str) -> None:
    script = f"#!/bin/sh\n#SBATCH --output=/dev/null\n#\n\n#SBATCH {line}\nexit 0\n#SBATCH --comment=late\n"

    def understood(run: Run) -> str:
        done = run("sbatch", "--parsable", text=script)
        if done.returncode:
            return said(done)
        job = done.stdout.strip()
        until(run, job, "COMPLETED")
        form = "--format=%j|%k|%P|%l|%u"
        return run("squeue", "--noheader", "--states=all", f"--jobs={job}", form).stdout

    assert understood(both[0]) == understood(both[1])


@on_slurm
@pytest.mark.large
def test_jobs_go_through_the_states_that_slurm_shows(both: tuple[Run, Run]) -> None:
    def history(run: Run) -> list[str]:
        lines = []

        def note(*words: str) -> None:
            lines.append(f"{words[0]}: {said(run(*words))}")

        def accounting(job: str) -> None:
            words = ["sacct", "-j", job, "--parsable2", "--format=JobID,State,ExitCode"]
            # The real accounting is told a little later.
            end = time.monotonic() + 20
            while "RUNNING" in (now := said(run(*words))) or "PENDING" in now:
                assert time.monotonic() < end, now
                time.sleep(0.2)
            lines.append(now)

        quiet = "--output=/dev/null"
        for body in ("exit 0", "exit 3", "kill -9 $$", "srun sh -c 'exit 4'; true"):
            job = submitted(run, quiet, f"--wrap={body}")
            until(run, job, "COMPLETED", "FAILED")
            note("squeue", "--states=all", "--noheader", f"--jobs={job}", "--format=%i|%F|%K|%T|%N|%R|%r|%j|%k")
            accounting(job)
        lost = submitted(run, "--output=/nonexistent/out", "--wrap=true")
        until(run, lost, "FAILED")
        accounting(lost)

        array = submitted(run, quiet, "--array=0-3%2", "--wrap=sleep 60")
        first = [f"--jobs={array}_{task}" for task in (0, 1)]
        for one in first:
            until(run, one.removeprefix("--jobs="), "RUNNING")
        shown = ["squeue", "--noheader", f"--jobs={array}", "--states=PENDING"]
        note(*shown, "--format=%i|%K|%T|%R|%r|%S|%e|%L|%M")
        note(*shown, "--array", "--format=%i|%K|%T|%R|%r|%M")
        note("scancel", f"{array}_[2-3]")
        note("scancel", array)
        until(run, array, "CANCELLED")

        job = submitted(run, quiet, "--no-requeue", "--wrap=sleep 60")
        until(run, job, "RUNNING")
        note("scontrol", "requeue", job)
        note("squeue", "--noheader", f"--jobs={job}", "--format=%i|%T|%r|%j|%P")
        note("scancel", job)
        until(run, job, "CANCELLED")
        accounting(job)
        note("squeue", "--noheader", f"--jobs={job}")

        job = submitted(run, quiet, "--wrap=test $SLURM_RESTART_COUNT || sleep 60")
        until(run, job, "RUNNING")
        time.sleep(1)
        note("scontrol", "requeue", job)
        until(run, job, "PENDING")
        note("scontrol", "requeue", job)
        note("squeue", "--noheader", f"--jobs={job}", "--format=%i|%T|%r|%R")
        until(run, job, "COMPLETED")
        words = ["sacct", "--duplicates", "-j", job, "--parsable2", "--noheader", "--format=JobID,State,ExitCode"]
        accounting(job)
        note(*words)
        return lines

    assert history(both[0]) == history(both[1])


def test_hostile_words_arrive_as_they_were(stand_in_slurm: StandIn, tmp_path: Path) -> None:
    words = ["a b", "'", '"', "$(touch made)", "`touch made`", "a\nb", "\\", "%j*", "é", ""]
    script = tmp_path / "a script's name"
    script.write_text(f"#!{sys.executable}\nimport sys, json; print(json.dumps(sys.argv[1:]))\n")
    name, comment = "it's; $(touch made)", 'a "b"\n`touch made` #'
    command = ["sbatch", f"--job-name={name}", "--comment", comment, "--output=o %x %j.txt", str(script), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "Submitted batch job 1001\n", done.stderr
    job = stand_in_slurm.wait_for("1001", "COMPLETED")
    assert (tmp_path / f"o {name} 1001.txt").read_text().strip() == json.dumps(words)
    [entry] = stand_in_slurm.submissions()
    assert entry["arguments"] == command[1:] and entry["job"] == 1001
    assert (job.request.name, job.request.comment) == (name, comment)
    shown = stand_in_slurm.run("squeue", "--noheader", "--states=all", "--format=%j|%k").stdout
    assert shown == f"{name}|{comment}\n"
    assert not list(tmp_path.rglob("made"))
    refused = stand_in_slurm.run("sbatch", "--partition", "x y", str(script))
    assert refused.stderr.splitlines()[0] == "sbatch: error: invalid partition specified: x y"
    assert stand_in_slurm.submissions()[1]["refused"] == refused.stderr.strip()


def test_an_array_shares_gpus_and_keeps_to_its_limit(stand_in_slurm: StandIn, tmp_path: Path) -> None:
    body = 'echo $SLURM_ARRAY_JOB_ID $SLURM_ARRAY_TASK_ID $SLURM_JOB_ID $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES "$X"; '
    words = ["--array=0-4%3", "--gres=gpu:tiny:1", f"--output={tmp_path}/%A_%a", "--export=ALL,X=y z"]
    gate = tmp_path / "gate"
    begin = f"date +%s.%N; until [ -e '{gate}' ]; do sleep 0.05; done; sleep 0.4; date +%s.%N"
    job = submitted(stand_in_slurm.run, *words, f"--wrap={body}{begin}")
    after = submitted(stand_in_slurm.run, f"--dependency=afterany:{job}", "--wrap=true", "--output=/dev/null")
    assert stand_in_slurm.run("squeue", "-h", f"-j{after}", "-o%T %r").stdout == "PENDING Dependency\n"
    for task in range(2):
        lines_of(tmp_path / f"{job}_{task}", 2)
    gate.touch()
    stand_in_slurm.wait_for(after, "COMPLETED")
    spans, ids, places = [], [], []
    for task in range(5):
        first, start, end = (tmp_path / f"{job}_{task}").read_text().splitlines()
        array, number, own, node, gpu, text = first.split(" ", 5)
        assert (array, number, text) == (job, str(task), "y z")
        ids.append(own)
        places.append((node, gpu))
        spans.append((float(start), float(end)))
    assert len(set(ids)) == 5 and job in ids
    overlaps = [{n for n, (a, b) in enumerate(spans) if a <= moment < b} for moment, _ in spans]
    assert 1 < max(map(len, overlaps)) <= 3
    assert all(len({places[n] for n in together}) == len(together) for together in overlaps)


TRAPS = """#!/bin/bash
#SBATCH --output={out} --open-mode=append
#SBATCH --signal=B:USR2@60 --partition=low
trap 'echo usr2; scontrol requeue $SLURM_JOB_ID; exit 0' USR2
echo start ${{SLURM_RESTART_COUNT-none}}
test $SLURM_RESTART_COUNT && exit 0
while :; do sleep 0.05; done
"""
STUBBORN = """#!/bin/bash
#SBATCH --output={out} --open-mode=append
trap '' TERM
setsid bash -c 'trap "" TERM; echo $$ >> {out}.pids; while :; do sleep 0.1; done' &
echo start ${{SLURM_RESTART_COUNT-none}}
while :; do sleep 0.05; done
"""


def lines_of(path: Path, count: int) -> list[str]:
    end = time.monotonic() + 20
    while not path.exists() or len(path.read_text().splitlines()) < count:
        assert time.monotonic() < end, f"{path}: {path.read_text() if path.exists() else 'missing'}"
        time.sleep(0.05)
    return path.read_text().splitlines()


def ends(cluster: StandIn, job: str, *words: str) -> list[str]:
    """What sacct says of a job without its steps."""
    return cluster.run("sacct", "-X", "-n", "-P", "-j", job, "--format=State", *words).stdout.splitlines()


def test_a_preempted_job_may_requeue_itself_or_is_killed(stand_in_slurm: StandIn, tmp_path: Path) -> None:
    polite, stubborn, cancelled = tmp_path / "polite", tmp_path / "stubborn", tmp_path / "cancelled"
    one = submitted(stand_in_slurm.run, text=TRAPS.format(out=polite))
    two = submitted(stand_in_slurm.run, "--partition=low", text=STUBBORN.format(out=stubborn))
    three = submitted(stand_in_slurm.run, "--partition=lowcancel", text=STUBBORN.format(out=cancelled))
    for path in (polite, stubborn, cancelled):
        lines_of(path, 1)
    old = stand_in_slurm.processes(two)
    for job in (one, two, three):
        stand_in_slurm.preempt(job)
    assert lines_of(polite, 3) == ["start none", "usr2", "start 1"]
    stand_in_slurm.wait_for(one, "COMPLETED")
    assert ends(stand_in_slurm, one, "--duplicates") == ["REQUEUED", "COMPLETED"]
    assert lines_of(stubborn, 2) == ["start none", "start 1"]
    assert len(old) >= 2 and not any(process.alive for process in old)
    assert ends(stand_in_slurm, two, "--duplicates") == ["PREEMPTED", "RUNNING"]
    stand_in_slurm.wait_for(three, "PREEMPTED")
    assert not stand_in_slurm.processes(three)


def test_a_signal_for_steps_does_not_reach_the_shell(stand_in_slurm: StandIn, tmp_path: Path) -> None:
    code = "import signal,time; signal.signal(10, lambda *_: print('told', flush=True)); print('up', flush=True)"
    (tmp_path / "step.py").write_text(f"{code}\nwhile True: time.sleep(0.05)\n")
    words = ["--signal=USR1@30", f"--output={tmp_path}/out", f"--wrap=srun -u {sys.executable} {tmp_path}/step.py"]
    job = submitted(stand_in_slurm.run, *words)
    lines_of(tmp_path / "out", 1)
    stand_in_slurm.run("scancel", "--signal=USR1", job)
    assert lines_of(tmp_path / "out", 2) == ["up", "told"]
    stand_in_slurm.time_limit(job)
    assert lines_of(tmp_path / "out", 3)[:3] == ["up", "told", "told"]
    stand_in_slurm.wait_for(job, "TIMEOUT")
    answer = stand_in_slurm.run("sacct", "-n", "-P", "-j", job, "--format=JobID,State,ExitCode").stdout.splitlines()
    assert answer[:2] == [f"{job}|TIMEOUT|0:0", f"{job}.batch|CANCELLED|0:15"]
    # The bare shell has no handler: it would have died of a signal of its own.
    alone = submitted(stand_in_slurm.run, "--wrap=sleep 60", "--output=/dev/null")
    stand_in_slurm.run("scancel", "--signal=USR1", alone)
    time.sleep(0.3)
    assert stand_in_slurm.jobs()[alone].state == "RUNNING"
    stand_in_slurm.run("scancel", "--batch", "--signal=USR1", alone)
    assert stand_in_slurm.wait_for(alone, "FAILED").signal == 10


def test_a_failed_node_takes_its_processes_along(stand_in_slurm: StandIn, tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = submitted(stand_in_slurm.run, text=STUBBORN.format(out=out))
    final = submitted(stand_in_slurm.run, "--no-requeue", "--wrap=sleep 60", "--output=/dev/null")
    lines_of(out, 1)
    old = stand_in_slurm.processes(job)
    stand_in_slurm.node_failure(job)
    assert old and not any(process.alive for process in old)
    # Without earlier ends sacct tells of this one only until the job may start again: a second.
    assert ends(stand_in_slurm, job, "--duplicates")[0] == "NODE_FAIL"
    stand_in_slurm.wait_for(job, "RUNNING")
    assert lines_of(out, 2) == ["start none", "start 1"]
    assert ends(stand_in_slurm, job, "--duplicates") == ["NODE_FAIL", "RUNNING"]
    stand_in_slurm.node_failure(final)
    time.sleep(0.5)
    assert stand_in_slurm.jobs()[final].state == "NODE_FAIL"
    with pytest.raises(ValueError, match="NODE_FAIL, not running"):
        stand_in_slurm.preempt(final)


def test_a_job_may_have_two_copies_and_may_run_twice(stand_in_slurm: StandIn, tmp_path: Path) -> None:
    out = tmp_path / "out"
    body = "echo start ${SLURM_RESTART_COUNT-none}; test $SLURM_RESTART_COUNT && sleep 1.5 || sleep 1; echo end"
    job = submitted(stand_in_slurm.run, f"--output={out}", "--open-mode=append", f"--wrap={body}")
    lines_of(out, 1)
    old = stand_in_slurm.processes(job)
    stand_in_slurm.hang(job)
    assert lines_of(out, 2) == ["start none", "start 1"]
    assert all(process.alive for process in old)
    lines_of(out, 3)
    # The old copy has ended, which says nothing about the new one.
    time.sleep(0.2)
    assert stand_in_slurm.jobs()[job].state == "RUNNING"
    stand_in_slurm.wait_for(job, "COMPLETED")
    stand_in_slurm.finish_twice(job)
    stand_in_slurm.wait_until(job, lambda one: one.starts == 3 and one.state == "COMPLETED", "no third start")
    assert lines_of(out, 6) == ["start none", "start 1", "end", "end", "start 2", "end"]


def test_a_silent_controller_and_limits(stand_in_slurm: StandIn, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    wait = f"--wrap=until [ -e '{gate}' ]; do sleep 0.05; done"
    first = submitted(stand_in_slurm.run, wait, "--output=/dev/null")
    second = submitted(stand_in_slurm.run, f"--dependency=afterany:{first}", "--wrap=true", "--output=/dev/null")
    stand_in_slurm.wait_for(first, "RUNNING")
    stand_in_slurm.controller_down()
    silent = "Unable to contact slurm controller (connect failure)"
    expected = {
        "sbatch --wrap=true": f"sbatch: error: Batch job submission failed: {silent}",
        "squeue --me": f"slurm_load_jobs error: {silent}",
        f"scancel {first}": f"scancel: error: Kill job error on job id {first}: {silent}",
        "sinfo": f"slurm_load_partitions: {silent}",
        "scontrol show config": f"slurm_load_ctl_conf error: {silent}",
        f"scontrol requeue {first}": f"Unexpected message received for job {first}",
    }
    for command, words in expected.items():
        done = stand_in_slurm.run(*command.split())
        assert done.returncode and done.stderr.strip() == words
    gate.touch()
    stand_in_slurm.wait_for(first, "COMPLETED")
    assert ends(stand_in_slurm, first) == ["COMPLETED"]
    assert stand_in_slurm.jobs()[second].state == "PENDING"
    stand_in_slurm.controller_up()
    stand_in_slurm.wait_for(second, "COMPLETED")
    stand_in_slurm.accounting_off()
    assert "Connection refused" in stand_in_slurm.run("sacct", "-j", first).stderr
    stand_in_slurm.accounting_on()
    assert ends(stand_in_slurm, first) == ["COMPLETED"]
    stand_in_slurm.limit_submit(1)
    assert "AssocMaxSubmitJobLimit" in stand_in_slurm.run("sbatch", "--array=0-1", "--wrap=true").stderr
    submitted(stand_in_slurm.run, "--wrap=true", "--output=/dev/null")


def test_nothing_is_left_when_it_stops(tmp_path: Path) -> None:
    install(tmp_path / "cluster", Settings(running=1))
    cluster = StandIn(tmp_path / "cluster")
    out = tmp_path / "out"
    submitted(cluster.run, text=STUBBORN.format(out=out))
    waiting = submitted(cluster.run, "--wrap=true", "--output=/dev/null")
    lines_of(out, 1)
    lines_of(Path(f"{out}.pids"), 1)
    processes = cluster.processes()
    assert len(processes) >= 3
    cluster.stop()
    assert not any(process.alive for process in processes) and not cluster.processes()
    assert cluster.jobs()[waiting].state == "PENDING"


@pytest.mark.parametrize("use_srun", [True, False])
def test_submitits_own_executor_runs_through_it(stand_in_slurm: StandIn, tmp_path: Path, use_srun: bool) -> None:
    submitit = pytest.importorskip("submitit")
    # Not below %j: it makes such folders when it knows the job's number, which may be after the job has begun.
    executor = submitit.SlurmExecutor(folder=tmp_path / "it's here")
    executor.update_parameters(time=3, array_parallelism=2, use_srun=use_srun, partition="low", comment="a'b c")
    jobs = executor.map_array(math.factorial, (2, 3, 4))
    assert [job.result() for job in jobs] == [2, 6, 24]
    [entry] = stand_in_slurm.submissions()
    assert entry["options"]["array"] == "0-2%2" and entry["options"]["comment"] == "a'b c"
    stand_in_slurm.wait_for(str(entry["job"]), "COMPLETED")
    jobs[0].get_info("force")
    assert {job.state for job in jobs} == {"COMPLETED"}
