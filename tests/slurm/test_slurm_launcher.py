"""Sweeps on a real little Slurm cluster: submitted, left alone, disturbed, and always ended as a local run ends."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from slow_method import slow_method
from tiny import ROOT, environment, run_inline, sweep_command, tiny_sweep

from harness.launch.slurm.files import SlurmFiles
from harness.launch.starting import is_worker
from harness.proof.comparison import repeated_work, run_differences
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder
from slurm.cluster import LittleCluster, Settings, obstacle
from slurm.cluster.processes import wait_until

OBSTACLE = obstacle()
pytestmark = pytest.mark.skipif(OBSTACLE is not None, reason=f"no Slurm cluster here: {OBSTACLE}")

MAX_SUBMIT = 6
MAX_ARRAY = 11
LONG = {"epochs": 20, "batch_size": 8, "image_size": 8}
"""A training of some seconds."""


@dataclass
class Site:
    """The cluster, and a folder that all its nodes see."""

    cluster: LittleCluster
    cache: Path

    def sweep(
        self, file: Path, run: Path, *extra: str, expect: int = 0, shell: dict[str, str] | None = None, **profile: Any
    ) -> str:
        """Run the sweep command on the login node, with variables of the user's shell; what it printed."""
        place = file.with_name("profile.json.yaml")
        settings = {"partition": "low", "cpus": 1, "time": 30, "grace": 10, "device": "cpu", **profile}
        place.write_text(json.dumps(settings))
        command = sweep_command(file, run, "--launcher", "slurm", "--set", f"launch.profile={place}", *extra)
        own = {k: v for k, v in environment(self.cache).items() if k.startswith(("GPAF_", "PYTHON"))}
        done = self.cluster.run(command, environment={**own, **(shell or {})}, timeout=240)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    def jobs(self, run: Path, state: str = "R") -> list[tuple[str, str]]:
        """Numbers and nodes of the run's jobs in a state."""
        name = SlurmFiles(RunDirectory(run)).launch()["job_name"]
        listed = self.cluster.run(["squeue", "--noheader", f"--name={name}", f"--states={state}", "--format=%A %N"])
        rows = [(line + " ").split(" ") for line in listed.stdout.splitlines() if line]
        return [(row[0], row[1]) for row in rows]

    def finish(self, run: Path, seconds: float = 480.0) -> RunDirectory:
        """Wait for the report that the last job writes."""
        directory = RunDirectory(run)
        logs = SlurmFiles(directory).log
        assert wait_until(lambda: (directory.report / "state").exists(), seconds), [
            (path.name, path.read_text()[-2000:]) for path in logs.glob("*.out")
        ]
        return directory


@pytest.fixture(scope="module")
def site(shared_cache: Path) -> Iterator[Site]:
    settings = Settings(
        nodes=2, slurmd_timeout=5, kill_wait=3, grace_time=10, max_array_size=MAX_ARRAY, max_submit_jobs=MAX_SUBMIT
    )
    with LittleCluster(settings=settings) as cluster:
        yield Site(cluster, shared_cache)


def only_trial(run: Path) -> TrialFolder:
    assert wait_until(lambda: any(RunDirectory(run).trials()), 60)
    return next(iter(RunDirectory(run).trials()))


def wait_for_epochs(trial: TrialFolder, epochs: int) -> None:
    assert wait_until(lambda: len(trial.curve()) >= epochs, 120)


def hosts(trial: TrialFolder) -> list[str]:
    return [attempt["hostname"] for attempt in trial.attempts()]


def one_long_trial(folder: Path, rest: float = 0.02) -> Path:
    """20 epochs of 43 steps; of any machine's time it takes at least that of the rests."""
    slow_method(folder, rest)
    return tiny_sweep(
        folder,
        plugins=["plugins"],
        methods=["slow"],
        train=LONG,
        search={"trials": 1},
        confirm={"seeds": 1},
        launch={"kind": "local", "workers": 1, "threads": 1},
    )


def gated(folder: Path, **changes: Any) -> tuple[Path, Path]:
    """A sweep file, and a file; trainings last a minute as long as it is there, and a moment without it."""
    gate = folder / "gate"
    gate.touch()
    slow_method(folder, 2.0, gate)
    train = {"epochs": 6, "batch_size": 64, "image_size": 8}
    return tiny_sweep(folder, plugins=["plugins"], train=train, **changes), gate


def test_submitted_and_left_alone_it_ends_as_a_local_run(site: Site, tmp_path: Path) -> None:
    odd = tmp_path / "a b'c\"d $(touch owned) ;ü&"
    odd.mkdir()
    file, gate = gated(odd, methods=["slow", "lora_c"])
    said = site.sweep(file, odd / "run", environment={"ODD": "$(touch owned) '\" ü"})
    assert "submitted 2 jobs" in said and "harness.status" in said
    assert not (odd / "run" / "report").exists(), "the command did not return before the work was done"
    # Given again while jobs live, it adds none.
    again = site.sweep(file, odd / "run", environment={"ODD": "$(touch owned) '\" ü"})
    assert "submitted 2 jobs" not in again and "2 were there before" in again
    gate.unlink()
    run = site.finish(odd / "run")
    run_inline(file, tmp_path / "local", site.cache, report=False)
    assert run_differences(RunDirectory(tmp_path / "local"), run) == []
    assert repeated_work(run) == []
    assert {record.content["state"] for record in SlurmFiles(run).jobs()} == {"done"}
    assert not list(tmp_path.rglob("owned")) and not Path("owned").exists()
    # All is done: the command writes nothing, submits nothing and says where the report is.
    assert "report.html" in site.sweep(file, odd / "run")


def test_what_the_users_shell_tells_slurms_commands_changes_nothing(site: Site, tmp_path: Path) -> None:
    file, _ = gated(tmp_path, methods=["slow"], search={"trials": 4, "startup": 4, "concurrency": 4})
    shell = {
        **{"SQUEUE_PARTITION": "short", "SQUEUE_STATES": "PD", "SQUEUE_FORMAT": "%u", "SQUEUE_USERS": "daemon"},
        **{"SCANCEL_INTERACTIVE": "yes", "SCANCEL_PARTITION": "short", "SBATCH_PARTITION": "short"},
        **{
            "SBATCH_NO_REQUEUE": "1",
            "SBATCH_ARRAY_INX": "0-9",
            "SBATCH_TIMELIMIT": "1",
            "SBATCH_DEPENDENCY": "singleton",
        },
        **{
            "SINFO_PARTITION": "short",
            "SLURM_TIME_FORMAT": "relative",
            "SLURM_BITSTR_LEN": "1",
            "POSIXLY_CORRECT": "1",
        },
        # As in an allocation.
        **{"SLURM_JOB_ID": "1", "SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": "3", "SLURM_MEM_PER_CPU": "10"},
        **{"SLURM_CLUSTERS": "little", "LC_ALL": "C"},
    }

    def living() -> list[str]:
        name = SlurmFiles(RunDirectory(tmp_path / "run")).launch()["job_name"]
        return site.cluster.run(
            ["squeue", "--noheader", "--array", f"--name={name}", "--format=%P %l"]
        ).stdout.splitlines()

    said = site.sweep(file, tmp_path / "run", "--workers", "2", shell=shell)
    assert "submitted 2 jobs" in said and "SBATCH_ARRAY_INX, SBATCH_DEPENDENCY, SBATCH_NO_REQUEUE" in said
    again = site.sweep(file, tmp_path / "run", "--workers", "2", shell=shell)
    assert "submitted 2 jobs" not in again and "2 were there before" in again
    assert [line.split() for line in living()] == [["low", "30:00"]] * 2
    said = site.sweep(file, tmp_path / "run", "--cancel", shell={**shell, "SLURM_CLUSTERS": ""})
    assert "cancelled 2 jobs" in said and living() == []


@pytest.mark.large
def test_more_workers_wanted_than_the_site_allows(site: Site, tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path, search={"trials": 16, "seeds": [0], "startup": 16, "concurrency": 16})
    said = site.sweep(file, tmp_path / "run", "--workers", "30")
    assert "Slurm takes no more now" in said
    run = site.finish(tmp_path / "run")
    assert repeated_work(run) == []
    assert len(list(run.trials())) == 2 * 16 + 2 * 2
    tasks = [entry["tasks"] for entry in SlurmFiles(run).submissions()]
    assert max(tasks) <= MAX_SUBMIT


@pytest.mark.large
def test_a_preempted_trial_goes_on_in_its_epoch_on_another_node(site: Site, tmp_path: Path) -> None:
    site.sweep(one_long_trial(tmp_path), tmp_path / "run")
    trial = only_trial(tmp_path / "run")
    wait_for_epochs(trial, 9)
    (_, node) = site.jobs(tmp_path / "run")[0]
    urgent = site.cluster.submit(
        "--partition=high", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=sleep 45"
    )
    assert wait_until(lambda: len(trial.attempts()) > 1, 90)
    epochs = len(trial.curve())
    run = site.finish(tmp_path / "run")
    site.cluster.run(["scancel", urgent])
    first, second = hosts(trial)[:2]
    assert first == node != second
    assert 9 <= epochs < 20
    log = trial.log_path.read_text()
    assert "interrupted; checkpoint written" in log and f"resumed after epoch {epochs}" in log
    run_inline(one_long_trial(tmp_path), tmp_path / "local", site.cache, report=False)
    assert run_differences(RunDirectory(tmp_path / "local"), run) == []


@pytest.mark.large
def test_a_job_that_runs_twice_at_once(site: Site, tmp_path: Path) -> None:
    """The node's daemon is gone and its processes are not: Slurm starts the same job elsewhere beside them."""
    site.sweep(one_long_trial(tmp_path), tmp_path / "run")
    trial = only_trial(tmp_path / "run")
    wait_for_epochs(trial, 2)
    (_, node) = site.jobs(tmp_path / "run")[0]
    # The first copy is stopped in its tracks, so that it wakes up in the middle of the second.
    there = [psutil.Process(p.pid) for p in site.cluster.processes(node) if psutil.pid_exists(p.pid)]
    held = [process for process in there if is_worker(process)]
    for process in held:
        process.suspend()
    site.cluster.lose(node)
    assert wait_until(lambda: len(trial.attempts()) > 1, 120)
    for process in held:
        process.resume()
    run = site.finish(tmp_path / "run")
    site.cluster.restore(node)
    assert hosts(trial)[0] == node and trial.attempts()[1]["slurm_restart"] == 1
    assert trial.attempts()[0]["slurm_job"] == trial.attempts()[1]["slurm_job"]
    assert repeated_work(run) == []
    run_inline(one_long_trial(tmp_path), tmp_path / "local", site.cache, report=False)
    assert run_differences(RunDirectory(tmp_path / "local"), run) == []


@pytest.mark.large
def test_time_limit_and_a_finished_job_that_runs_again(site: Site, tmp_path: Path) -> None:
    # Slurm looks at time limits every 30 s.
    site.sweep(one_long_trial(tmp_path, rest=0.06), tmp_path / "run")
    trial = only_trial(tmp_path / "run")
    wait_for_epochs(trial, 2)
    (number, _) = site.jobs(tmp_path / "run")[0]
    site.cluster.run(["scontrol", "update", f"jobid={number}", "TimeLimit=1"], check=True)
    assert wait_until(lambda: len(trial.attempts()) > 1, 120)
    # On a busy machine a minute is too short to get anywhere.
    site.cluster.run(["scontrol", "update", f"jobid={number}", "TimeLimit=30"], check=True)
    run = site.finish(tmp_path / "run")
    # Slurm lets nobody count how often this may happen: submitit's own count of timeouts is not used up.
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("result.json")}
    site.cluster.wait_for(number, "COMPLETED")
    site.cluster.run(["scontrol", "requeue", number], check=True)
    assert wait_until(lambda: len(SlurmFiles(run).jobs()) >= 3, 60)
    site.cluster.wait_for(number, "COMPLETED")
    assert before == {path: path.stat().st_mtime_ns for path in run.path.rglob("result.json")}
    assert repeated_work(run) == []


@pytest.mark.large
def test_cancelled_with_checkpoints_and_gone_on_with(site: Site, tmp_path: Path) -> None:
    file = one_long_trial(tmp_path)
    site.sweep(file, tmp_path / "run")
    trial = only_trial(tmp_path / "run")
    wait_for_epochs(trial, 2)
    said = site.sweep(file, tmp_path / "run", "--cancel")
    assert "cancelled 1 job" in said
    assert site.jobs(tmp_path / "run", "R,PD") == []
    assert trial.checkpoint_path.exists() and trial.attempts()[0]["released"] == "interrupted"
    assert "submitted 1 job" in site.sweep(file, tmp_path / "run", "--wait")
    assert RunDirectory(tmp_path / "run").report_state.exists()
    assert "resumed after epoch" in trial.log_path.read_text()


@pytest.mark.large
def test_several_trials_in_one_job(site: Site, tmp_path: Path) -> None:
    file = tiny_sweep(
        tmp_path,
        methods=["full_finetune"],
        train=LONG,
        launch={"kind": "local", "workers": 1, "threads": 1, "trials_per_device": 2},
    )
    site.sweep(file, tmp_path / "run", cpus=2)
    run = RunDirectory(tmp_path / "run")

    def running() -> list[dict[str, Any]]:
        views = [trial.lease() for trial in run.trials() if not trial.finished]
        return [view.content for view in views if view is not None and not view.content.get("released")]

    assert wait_until(lambda: len(running()) == 2, 90)
    assert len(site.jobs(tmp_path / "run")) == 1
    victim = running()[0]
    # The worker's number in its node is that of this machine: only names and files are the node's own.
    os.kill(int(victim["pid"]), 9)
    site.finish(tmp_path / "run")
    assert repeated_work(run) == []
    died = [a for trial in run.trials() for a in trial.attempts() if "death" in a]
    assert [attempt["death"] for attempt in died] == ["SIGKILL"]
    assert len(SlurmFiles(run).jobs()) == 1, "the neighbour's job was disturbed"


@pytest.mark.large
def test_memory_that_runs_out_is_named(site: Site, tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    source = (ROOT / "methods" / "linear_probe.py").read_text().replace('name = "linear_probe"', 'name = "greedy"')
    body = "hp: Hyperparameters) -> None:\n        "
    assert body in source
    (plugins / "greedy.py").write_text(source.replace(body, f"{body}b'1' * (4 << 30)\n        "))
    file = tiny_sweep(
        tmp_path,
        plugins=["plugins"],
        methods=["greedy", "linear_probe"],
        search={"trials": 1},
        confirm={"seeds": 1},
        launch={"kind": "local", "workers": 1, "threads": 1, "retries": 0},
    )
    site.sweep(file, tmp_path / "run", memory="1500M")
    run = site.finish(tmp_path / "run")
    results = {str(t.path.parent.parent.name): t.result() for t in run.trials() if t.stage == "search"}
    assert results["linear_probe@small"]["status"] == "done"
    assert results["greedy@small"]["cause"] == "oom", results
    assert "more memory" in results["greedy@small"]["message"]


@pytest.mark.large
def test_the_controller_is_away(site: Site, tmp_path: Path) -> None:
    """Jobs go on, status answers from files, and a command that needs Slurm says what is the matter."""
    file = tiny_sweep(tmp_path, train=LONG)
    site.sweep(file, tmp_path / "run")
    assert wait_until(lambda: any(RunDirectory(tmp_path / "run").trials()), 60)
    time.sleep(6)  # what slurmctld has not written yet it would forget
    site.cluster.kill_controller(hard=False)
    try:
        started = time.monotonic()
        command = ["python3", "-m", "harness.status", str(tmp_path / "run"), "--json"]
        told = site.cluster.run([os.sys.executable, *command[1:]], environment=environment(site.cache), timeout=60)  # type: ignore[attr-defined]
        assert told.returncode == 0, told.stderr
        assert time.monotonic() - started < 15
        facts = json.loads(told.stdout)
        assert any(worker["state"] == "running" for worker in facts["workers"]), facts
        assert "error: s" in site.sweep(file, tmp_path / "run", expect=2)
    finally:
        site.cluster.start_controller()
    run = site.finish(tmp_path / "run")
    assert repeated_work(run) == []


@pytest.mark.large
def test_clocks_ten_minutes_apart(site: Site, tmp_path: Path) -> None:
    """One node's clock, as its programs read it, is ahead: leases and heartbeats go by the file server's."""
    skewed = tmp_path / "skewed"
    skewed.mkdir()
    (skewed / "sitecustomize.py").write_text(
        "import os, time\n_true = time.time\n"
        "if os.environ.get('SLURMD_NODENAME') == 'n2':\n    time.time = lambda: _true() + 600\n"
    )
    file = tiny_sweep(tmp_path, search={"trials": 4, "seeds": [0]})
    site.sweep(file, tmp_path / "run", environment={"PYTHONPATH": str(skewed)}, options={"exclusive": True})
    run = site.finish(tmp_path / "run")
    assert repeated_work(run) == []
    assert {name for trial in run.trials() for name in hosts(trial)} == {"n1", "n2"}
    assert all(len(trial.attempts()) == 1 for trial in run.trials())
    run_inline(file, tmp_path / "local", site.cache, report=False)
    assert run_differences(RunDirectory(tmp_path / "local"), run) == []


@pytest.mark.large
def test_new_jobs_stay_away_from_a_node_that_fails_again_and_again(site: Site, tmp_path: Path) -> None:
    file = one_long_trial(tmp_path)
    site.sweep(file, tmp_path / "run", options={"nodelist": "n2"})
    wait_for_epochs(only_trial(tmp_path / "run"), 1)
    site.sweep(file, tmp_path / "run", "--cancel")
    name = SlurmFiles(RunDirectory(tmp_path / "run")).launch()["job_name"]
    for _ in range(2):
        words = [f"--job-name={name}", "--nodelist=n1", "--no-requeue", "--output=/dev/null", "--wrap=sleep 300"]
        job = site.cluster.submit(*words)
        site.cluster.wait_for(job, "RUNNING")
        site.cluster.lose("n1", hard=True)
        site.cluster.wait_for(job, "NODE_FAIL")
        site.cluster.restore("n1")
    site.sweep(file, tmp_path / "run")
    job = SlurmFiles(RunDirectory(tmp_path / "run")).submissions()[-1]["job"]
    shown = site.cluster.run(["scontrol", "show", "job", "--oneliner", job]).stdout
    assert "ExcNodeList=n1" in shown
    site.finish(tmp_path / "run")
