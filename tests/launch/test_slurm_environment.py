"""Slurm's commands see one environment, whatever the user's shell holds, and none can hold up who asks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from harness.core.errors import RequestError
from harness.launch.bounded import CommandOutput, run_bounded
from harness.launch.slurm.commands import (
    SlurmError,
    SlurmSilent,
    accounting,
    call,
    failed_nodes,
    own_state,
    queue,
    run_program,
)
from harness.launch.slurm.environment import (
    chosen_cluster,
    outer_environment,
    outside_of_a_job,
    reading_environment,
    use_cluster,
    with_defaults,
)
from harness.launch.slurm.facts import limits, nodes, partitions
from harness.launch.slurm.profile import Profile
from harness.launch.slurm.submit import bounded_submission

HOSTILE = {
    **{"SQUEUE_PARTITION": "short", "SQUEUE_USERS": "nobody", "SQUEUE_STATES": "PD", "SQUEUE_FORMAT": "%u"},
    **{"SQUEUE_NAMES": "other", "SQUEUE_FEDERATION": "", "SQUEUE_SORT": "i", "SQUEUE_FORMAT2": "jobid"},
    **{"SCANCEL_INTERACTIVE": "yes", "SCANCEL_STATE": "PENDING", "SCANCEL_USER": "nobody", "SCANCEL_NAME": "other"},
    **{"SBATCH_TIMELIMIT": "1", "SBATCH_NO_REQUEUE": "1", "SBATCH_WAIT": "1", "SBATCH_ARRAY_INX": "0-9"},
    **{"SBATCH_ACCOUNT": "physics", "SINFO_PARTITION": "short", "SACCT_FEDERATION": "1", "SCONTROL_LOCAL": "1"},
    **{"SLURM_TIME_FORMAT": "relative", "SLURM_BITSTR_LEN": "4", "SLURM_JOB_ID": "7", "SLURM_GPUS_PER_NODE": "4"},
    **{
        "SLURM_ARRAY_TASK_ID": "1",
        "SRUN_DEBUG": "3",
        "SALLOC_ACCOUNT": "x",
        "PMI_RANK": "1",
        "SUBMITIT_LOCAL_JOB_ID": "1",
    },
    "POSIXLY_CORRECT": "1",
}
CHOSEN = {"SLURM_CONF": "/etc/other.conf", "SLURM_CLUSTERS": "b"}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the head of the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join((str(folder), os.environ["PATH"])))
    return folder


def fake(programs: Path, name: str, script: str) -> None:
    (programs / name).write_text(f"#!/bin/sh\n{script}\n")
    (programs / name).chmod(0o755)


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**HOSTILE, **CHOSEN, "LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8", "KEPT": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("hostile")
def test_no_command_sees_the_users_options(programs: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    for name in ("squeue", "sacct", "scontrol", "scancel", "sbatch"):
        # What it reads is at its end at once, whatever the terminal holds.
        fake(programs, name, f"env > {seen}.$$; read answer && exit 9; echo Submitted batch job 1")
    queue("name")
    own_state("7")
    accounting(["7"])
    failed_nodes("name")
    for ask in (limits, nodes, partitions):
        ask(call)
    call("scancel", "7")
    from submitit.core import utils

    with outside_of_a_job(), bounded_submission():
        assert utils.CommandFunction(["sbatch", "file"], verbose=False)() == "Submitted batch job 1"
    found = [dict(line.split("=", 1) for line in path.read_text().splitlines()) for path in tmp_path.glob("seen.*")]
    assert len(found) == 9
    for environment in found:
        assert not HOSTILE.keys() & environment.keys()
        assert CHOSEN.items() <= environment.items() and environment["KEPT"] == "1"
    # Jobs are to have the user's language; what is read here is to have none.
    assert sorted(environment["LC_ALL"] for environment in found) == ["C"] * 8 + ["de_DE.UTF-8"]


@pytest.mark.usefixtures("hostile")
def test_commands_that_obey_the_variables_see_every_job(programs: Path) -> None:
    fake(programs, "squeue", '[ -z "$SQUEUE_PARTITION$SQUEUE_USERS$SQUEUE_STATES" ] && echo "12_3|RUNNING|n1|None"')
    fake(programs, "scancel", '[ -z "$SCANCEL_INTERACTIVE" ] || while :; do echo "Cancel job_id=7? [y/n]"; done')
    assert [job.id for job in queue("name")] == ["12_3"]
    assert call("scancel", "7") == ""


def test_a_command_that_prints_without_end_is_ended(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(programs, "scancel", 'while :; do echo "Cancel job_id=7? [y/n] Cancel job_id=7? [y/n]"; done')
    monkeypatch.setattr("harness.launch.slurm.commands.run_bounded", _with_at_most(1 << 20))
    with pytest.raises(SlurmError, match=r"^scancel: printed more than 64 MB and was ended; see `type -a scancel`$"):
        call("scancel", "7", timeout=20)


def _with_at_most(most: int) -> Callable[[Sequence[str], Mapping[str, str], float], CommandOutput]:
    return lambda words, environment, seconds: run_bounded(words, environment, seconds, most)


@pytest.mark.parametrize("script", ["sleep 600", "sleep 600 & wait", "trap '' TERM; sleep 600 & sleep 600"])
def test_a_command_that_hangs_counts_as_silent(script: str, programs: Path, tmp_path: Path) -> None:
    fake(programs, "squeue", f"echo $$ > {tmp_path}/pid; {script}")
    began = time.monotonic()
    with pytest.raises(SlurmSilent, match=r"^squeue: no answer from Slurm within 1 s$"):
        call("squeue", timeout=1.0)
    assert time.monotonic() - began < 5
    # Its children too; what nobody has asked for its exit code yet is gone as well.
    group = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while _living(group):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _living(group: int) -> list[psutil.Process]:
    members = [process for process in psutil.process_iter(["status"]) if _group(process.pid) == group]
    return [process for process in members if process.info["status"] != psutil.STATUS_ZOMBIE]


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def test_a_child_that_keeps_the_output_open_holds_nobody_up(programs: Path) -> None:
    fake(programs, "squeue", "echo 1; sleep 30 & exit 0")
    began = time.monotonic()
    assert call("squeue", timeout=20.0) == "1\n"
    assert time.monotonic() - began < 10


def test_sbatch_that_hangs_ends_the_submission(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from submitit.core import utils

    fake(programs, "sbatch", "sleep 600")
    monkeypatch.setattr("harness.launch.slurm.submit.SUBMIT_SECONDS", 1.0)
    before = utils.CommandFunction
    with pytest.raises(SlurmSilent, match="sbatch: no answer"), bounded_submission():
        utils.CommandFunction(["sbatch", "file"], verbose=False)()
    assert utils.CommandFunction is before


def test_a_machine_without_processes_left_says_nothing_about_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork_fails(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen", fork_fails)
    with pytest.raises(SlurmSilent, match=r"^squeue: cannot be started: Resource temporarily unavailable$"):
        queue("name")


def test_a_program_that_is_no_program_is_one_line(programs: Path) -> None:
    (programs / "squeue").write_text("")
    with pytest.raises(SlurmError, match="squeue: Permission denied; see `type -a"):
        run_program([str(programs / "squeue")], {"PATH": str(programs)}, 5.0)


def test_many_jobs_fit_into_what_a_command_may_be_given(programs: Path) -> None:
    jobs = 'for word in "$@"; do case $word in --jobs=*) echo "${word#--jobs=}"; esac; done'
    fake(programs, "sacct", f"{jobs} | tr , '\\n' | sed 's/$/|COMPLETED|0:0/'")
    ids = [f"123456789_{task}" for task in range(12_000)]
    assert list(accounting(ids)) == ids


def test_where_jobs_go_and_who_pays_becomes_part_of_the_profile() -> None:
    given = Profile(time=60, qos="long")
    profile, notes = with_defaults(given, {**HOSTILE, "SBATCH_QOS": "short", "SBATCH_CPU_BIND": "x"})
    assert (profile.account, profile.qos, profile.time, profile.partition) == ("physics", "long", 60, None)
    assert notes == [
        "profile: account: physics is from SBATCH_ACCOUNT",
        "SBATCH_ARRAY_INX, SBATCH_NO_REQUEUE, SBATCH_TIMELIMIT, SBATCH_WAIT: not used; "
        "what a job asks for is in the profile",
    ]
    assert with_defaults(given, {"SBATCH_ACCOUNT": ""}) == (given, [])
    with pytest.raises(RequestError, match=r"^SBATCH_ACCOUNT: .*; unset it, or write account in the profile$"):
        with_defaults(given, {"SBATCH_ACCOUNT": "a\nb"})


def test_a_sweep_has_one_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen_cluster({}) is None is chosen_cluster({"SLURM_CLUSTERS": ""})
    assert chosen_cluster({"SBATCH_CLUSTERS": "b"}) == "b"
    assert chosen_cluster({"SBATCH_CLUSTERS": "b", "SLURM_CLUSTERS": "c"}) == "c"
    for several in ("a,b", "all"):
        with pytest.raises(RequestError, match="names several clusters"):
            chosen_cluster({"SLURM_CLUSTERS": several})
    monkeypatch.setenv("SLURM_CLUSTERS", "c")
    use_cluster("b")
    assert reading_environment()["SLURM_CLUSTERS"] == "b" == outer_environment()["SLURM_CLUSTERS"]
    use_cluster(None)
    assert "SLURM_CLUSTERS" not in reading_environment()
