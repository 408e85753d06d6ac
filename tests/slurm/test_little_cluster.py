"""The little Slurm cluster: jobs run, nodes and controller come back, nothing stays behind or is seen from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import ROOT

from harness.core.errors import RequestError
from slurm.cluster import LittleCluster, Settings, configuration, obstacle, requirements
from slurm.cluster.__main__ import main
from slurm.cluster.daemons import database, database_files
from slurm.cluster.processes import find, wait_until
from slurm.cluster.settings import Layout

OBSTACLE = obstacle()
on_slurm = pytest.mark.skipif(OBSTACLE is not None, reason=f"no Slurm cluster here: {OBSTACLE}")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for sockets, which pytest's own may not."""
    with tempfile.TemporaryDirectory(prefix="lc-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LittleCluster]:
    settings = Settings(
        slurmd_timeout=5, kill_wait=1, grace_time=2, max_array_size=9, max_submit_jobs=20, gpu_type="tiny"
    )
    with LittleCluster(settings=settings) as running:
        yield running


def network(pid: int | str) -> int | None:
    """The network that a process is in; None if it has ended."""
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except (FileNotFoundError, ProcessLookupError):
        return None


def command_line(*words: str) -> list[str]:
    return [sys.executable, "-m", "slurm.cluster", *words]


def lines(folder: Path, pattern: str) -> list[str]:
    return [line for path in sorted(folder.glob(pattern)) for line in path.read_text().splitlines()]


def script(*body: str) -> str:
    return "\n".join(("#!/bin/bash", *body)) + "\n"


def written(path: Path, seconds: float = 30.0) -> str:
    assert wait_until(lambda: path.exists() and path.read_text().endswith("\n"), seconds), f"nothing in {path}"
    return path.read_text()


@on_slurm
def test_a_job_runs_on_four_hosts_and_can_submit_another(cluster: LittleCluster, tmp_path: Path) -> None:
    # Without any environment, as submitit calls sbatch inside a job: only /etc/slurm can tell where the cluster is.
    again = "env --ignore-environment PATH=$PATH sbatch --parsable --wait --output=/dev/null --wrap=true"
    job = cluster.submit(
        "--nodes=4", f"--output={tmp_path}/out", script=script("srun hostname", f"{again} && echo submitted"),
        folder=tmp_path,
    )  # fmt: skip
    cluster.wait_for(job, "COMPLETED")
    out = (tmp_path / "out").read_text().split()
    assert sorted(out[:4]) == ["n1", "n2", "n3", "n4"]
    assert out[-1] == "submitted"


@on_slurm
def test_an_array_runs_on_all_nodes_at_once(cluster: LittleCluster, tmp_path: Path) -> None:
    body = script("echo $SLURM_ARRAY_TASK_ID $(hostname)", "sleep 1")
    job = cluster.submit("--array=0-7", "--cpus-per-task=2", f"--output={tmp_path}/%a.out", script=body)
    states = cluster.wait_for(job, "COMPLETED")
    assert set(states) == {f"{job}_{task}" for task in range(8)}
    found = [line.split() for line in lines(tmp_path, "*.out")]
    assert [int(task) for task, _ in found] == list(range(8))
    assert sorted(host for _, host in found) == sorted(["n1", "n2", "n3", "n4"] * 2)


@on_slurm
def test_jobs_get_gpus_of_their_own(cluster: LittleCluster) -> None:
    body = 'echo "$CUDA_VISIBLE_DEVICES"; sleep 1'
    command = ["srun", "--nodelist=n2", "--gres=gpu:tiny:1", "bash", "-c", body]
    with subprocess.Popen(cluster.command(command), stdout=subprocess.PIPE, text=True) as other:
        mine = cluster.run(command, check=True)
        theirs, _ = other.communicate(timeout=30)
    assert sorted((mine.stdout.strip(), theirs.strip())) == ["0", "1"]
    refused = cluster.run(["srun", "--gres=gpu:huge:1", "true"])
    assert refused.returncode != 0
    assert "not available" in refused.stderr


@on_slurm
def test_limits_are_slurms_own(cluster: LittleCluster) -> None:
    for options in (["--array=0-9"], ["--partition=short", "--time=10"], ["--partition=nowhere"], ["--nodes=5"]):
        with pytest.raises(RequestError, match="sbatch: "):
            cluster.submit(*options, "--wrap=true")
    for _ in range(2):
        cluster.submit("--array=0-8", "--hold", "--output=/dev/null", "--wrap=true")
    try:
        with pytest.raises(RequestError, match=r"(?i)limit"):
            cluster.submit("--array=0-8", "--hold", "--output=/dev/null", "--wrap=true")
    finally:
        cluster.run(["scancel", "--user=root"], check=True)


@on_slurm
@pytest.mark.large
def test_jobs_in_low_give_way_to_high_and_run_again(cluster: LittleCluster, tmp_path: Path) -> None:
    """One job ignores the notice and is requeued by Slurm after the grace time; the other asks for it at once."""
    whole = ["--nodes=2", "--exclusive", "--output=/dev/null"]
    jobs, files = {}, {}
    for name, options in {"deaf": [], "polite": ["--signal=B:USR2@60"]}.items():
        starts = files[name] = tmp_path / name
        body = script(
            f"echo ${{SLURM_RESTART_COUNT:-0}} >> {starts}",
            f"""trap 'echo notice >> {starts}; scontrol requeue $SLURM_JOB_ID' USR2""" if options else "",
            '[[ -n "$SLURM_RESTART_COUNT" ]] || { sleep 60 & wait; }',
        )
        jobs[name] = cluster.submit("--partition=low", "--requeue", *options, *whole, script=body)
    for starts in files.values():
        written(starts)
    high = cluster.submit("--partition=high", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap=true")
    for job in (high, *jobs.values()):
        cluster.wait_for(job, "COMPLETED")
    assert files["deaf"].read_text().split() == ["0", "1"]
    assert files["polite"].read_text().split() == ["0", "notice", "1"]
    command = ["sacct", "--duplicates", "-X", "--noheader", "--format=State", f"--jobs={jobs['deaf']}"]
    assert cluster.run(command, check=True).stdout.split()[0] == "PREEMPTED"


@on_slurm
@pytest.mark.large
def test_jobs_outlive_their_slurmd(cluster: LittleCluster, tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = cluster.submit(
        "--nodelist=n3",
        "--output=/dev/null",
        script=script(f"echo begun >> {out}", "sleep 1.5", f"echo ended >> {out}"),
    )
    written(out)
    cluster.lose("n3")
    assert not cluster.state().alive("n3")
    assert wait_until(lambda: out.read_text().split() == ["begun", "ended"], 20)
    cluster.restore("n3")
    cluster.wait_for(job, "COMPLETED")


@on_slurm
@pytest.mark.large
def test_a_lost_node_goes_down_its_job_moves_and_it_returns(cluster: LittleCluster, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    body = script(f"hostname >> {hosts}", "[[ -n $SLURM_RESTART_COUNT ]] || sleep 300")
    job = cluster.submit("--requeue", "--output=/dev/null", script=body)
    node = written(hosts).strip()
    assert len(cluster.processes(node)) >= 4  # slurmd, the step's daemon, the script, sleep
    cluster.lose(node, hard=True)
    assert cluster.processes(node) == []
    assert wait_until(lambda: cluster.node_states()[node].startswith("down"), 40, every=0.2)
    cluster.wait_for(job, "COMPLETED")
    first, second = hosts.read_text().split()
    assert first == node != second
    cluster.restore(node)
    assert cluster.run(["srun", f"--nodelist={node}", "hostname"], check=True).stdout == f"{node}\n"


@on_slurm
@pytest.mark.large
def test_the_controller_comes_back_with_its_jobs(cluster: LittleCluster) -> None:
    job = cluster.submit("--output=/dev/null", "--wrap=sleep 2")
    cluster.wait_for(job, "RUNNING", "COMPLETED")
    cluster.kill_controller(hard=False)
    assert cluster.run(["scontrol", "ping"]).stdout.find("DOWN") > 0
    with pytest.raises(RequestError, match="slurmctld does not run"):
        cluster.kill_controller()
    cluster.start_controller()
    cluster.wait_for(job, "COMPLETED")
    with pytest.raises(RequestError, match="slurmctld is running already"):
        cluster.start_controller()


@on_slurm
def test_nodes_share_files_but_not_their_scratch(cluster: LittleCluster) -> None:
    scratch = cluster.layout.scratch
    cluster.run(["srun", "--nodelist=n1,n2", "bash", "-c", f"hostname > {scratch}/own"], check=True)
    assert not (scratch / "own").exists()
    assert [(cluster.layout.node_scratch(node) / "own").read_text() for node in ("n1", "n2")] == ["n1\n", "n2\n"]


@on_slurm
def test_in_takes_the_place_of_the_command(cluster: LittleCluster, tmp_path: Path) -> None:
    environment = {**os.environ, "LITTLE_CLUSTER": str(cluster.root), "SLURM_CONF": "/nowhere", "SLURM_JOB_ID": "1"}
    inside = command_line("in", "sh", "-c", 'hostname; sinfo -h -p batch -o %D; echo "$1" "$PWD"; exit 7', "-", "a  $b")
    done = subprocess.run(inside, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert (done.stdout, done.returncode) == (f"login\n4\na  $b {ROOT}\n", 7), done.stderr
    waiting = command_line("in", "sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    with subprocess.Popen(waiting, env=environment, cwd=ROOT) as process:
        assert int(written(tmp_path / "pid")) == process.pid
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == -signal.SIGINT


@on_slurm
def test_databases_do_not_share_temporary_tables(tmp_path: Path) -> None:
    # One that starts removes those of others, and two clusters that were made at once failed for that.
    for name in ("one", "other"):
        layout = Layout(tmp_path / name)
        for command in (database_files(layout), database(layout).command):
            (folder,) = [word.partition("=")[2] for word in command if word.startswith("--tmpdir=")]
            assert Path(folder).is_relative_to(tmp_path / name)


@on_slurm
def test_nothing_is_seen_outside_and_nothing_stays(short_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A second cluster beside the first, without accounting, whose parts die: stop ends what is left of it."""
    root = f"--root={short_folder / 'c'}"
    assert main(["start", root, "--nodes=2", "--no-accounting", "--gpus=0"]) == 0
    cluster = LittleCluster.at(short_folder / "c")
    job = cluster.submit("--nodes=2", "--output=/dev/null", script=script("srun setsid sleep 300"))
    cluster.wait_for(job, "RUNNING")
    assert cluster.run(["sacct"]).returncode != 0
    assert wait_until(lambda: len(cluster.processes()) >= 9, 20)
    everything = cluster.processes()
    records = cluster.state().records
    assert [record.name for record in records] == ["namespace", "munged", "slurmctld", "n1", "n2"]
    assert len({record.namespaces["uts"] for record in records}) == 3

    ours = network("self")
    seen = {network(process.pid) for process in everything} - {None}  # a step starts helpers that end at once
    assert seen == {records[0].namespaces["net"]}
    assert ours != records[0].namespaces["net"]
    interfaces = Path(f"/proc/{records[0].pid}/net/dev").read_text()
    assert re.findall(r"^ *(\S+):", interfaces, flags=re.MULTILINE) == ["lo"]
    assert not Path("/etc/slurm/slurm.conf").exists() or "ctld" not in Path("/etc/slurm/slurm.conf").read_text()

    assert main(["start", root, "--no-accounting"]) == 2
    assert "is running already; stop it first" in capfd.readouterr().err
    assert main(["status", root]) == 0
    assert re.search(r"^n2: allocated$|^n2: mixed$", capfd.readouterr().out, flags=re.MULTILINE)
    lost = [records[0].process, records[2].process]
    for process in lost:
        process.kill()
    assert wait_until(lambda: not any(process.alive for process in lost), 5)
    assert main(["status", root]) == 1
    assert main(["start", root, "--no-accounting"]) == 2
    assert "parts of a cluster still run" in capfd.readouterr().err

    (short_folder / "c" / "state.json").write_text("{}")
    assert main(["stop", root]) == 0
    assert [process for process in everything if find(process.pid) == process] == []
    assert not list(Path("/sys/fs/cgroup").glob(f"*/*{str(short_folder).replace('/', '-')}-c"))
    assert main(["stop", root]) == 0
    assert "nothing ran" in capfd.readouterr().out


@on_slurm
def test_a_daemon_that_does_not_start_is_told_and_takes_the_rest_along(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_conf = configuration.slurm_conf
    monkeypatch.setattr(configuration, "slurm_conf", lambda *args: written_conf(*args) + "NodeName=n1 CPUs=many\n")
    cluster = LittleCluster(short_folder / "c", Settings(nodes=1, accounting=False))
    with pytest.raises(RequestError, match=r"slurmctld ended at its start: .*many"):
        cluster.start()
    assert cluster.processes() == []
    assert cluster.state().records == ()


def test_settings_that_slurm_would_silently_replace_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["start", "--cred-expire=4"]) == 2
    assert "--cred-expire 4 is too small; give at least 5" in capfd.readouterr().err
    assert main(["start", "--no-accounting", "--max-submit-jobs=6"]) == 2
    assert "leave out --no-accounting" in capfd.readouterr().err
    assert main(["start", f"--root=/tmp/{'x' * 80}"]) == 2
    assert "shorter --root" in capfd.readouterr().err
    assert main(["start", "--root=/tmp/one two"]) == 2
    assert main(["stop"]) == 2
    assert "give --root FOLDER" in capfd.readouterr().err


def test_missing_packages_and_rights_are_named(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "_SEARCH_PATH", str(short_folder))
    reason = obstacle(accounting=False)
    assert reason is not None
    assert reason.startswith(
        "not installed; apt-get install --no-install-recommends iproute2 mount munge slurm-client "
    )
    assert "mariadb-server" not in reason
    assert {"mariadb-server", "slurmdbd"} <= set(requirements.missing_packages(accounting=True))
    monkeypatch.setattr(requirements, "missing_packages", lambda accounting: [])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RequestError, match="needs root, for its own network"):
        LittleCluster(short_folder).start()


@on_slurm
def test_a_folder_with_other_files_is_left_alone(short_folder: Path) -> None:
    (short_folder / "thesis.tex").write_text("years")
    with pytest.raises(RequestError, match="holds other files"):
        LittleCluster(short_folder).start()
    with pytest.raises(RequestError, match="no little cluster was started there"):
        LittleCluster(short_folder).stop()
    assert sorted(path.name for path in short_folder.iterdir()) == ["thesis.tex"]
