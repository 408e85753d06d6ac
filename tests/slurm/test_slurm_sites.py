"""A real little cluster of another kind: without accounting, and with disks of the nodes' own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from test_slurm_launcher import Site, one_long_trial, only_trial, wait_for_epochs
from tiny import environment, run_inline

from harness.launch.starting import is_worker
from harness.proof.comparison import repeated_work, run_differences
from harness.run.directory import RunDirectory
from slurm.cluster import LittleCluster, Settings, obstacle
from slurm.cluster.processes import wait_until

OBSTACLE = obstacle()
pytestmark = [
    pytest.mark.skipif(OBSTACLE is not None, reason=f"no Slurm cluster here: {OBSTACLE}"),
    pytest.mark.large,
    pytest.mark.timeout(1200),
]


@pytest.fixture(scope="module")
def site(shared_cache: Path) -> Iterator[Site]:
    with LittleCluster(settings=Settings(nodes=2, slurmd_timeout=5, kill_wait=30, accounting=False)) as cluster:
        yield Site(cluster, shared_cache)


def status(site: Site, run: Path) -> dict[str, Any]:
    """What ``harness.status --json`` says on the login node."""
    command = [sys.executable, "-m", "harness.status", str(run), "--json"]
    done = site.cluster.run(command, environment=environment(site.cache), check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_without_accounting_status_and_resume_are_right(site: Site, tmp_path: Path) -> None:
    assert site.cluster.run(["sacct"]).returncode != 0
    site.sweep(one_long_trial(tmp_path), tmp_path / "run")
    trial = only_trial(tmp_path / "run")
    wait_for_epochs(trial, 2)
    found = status(site, tmp_path / "run")
    assert [worker["state"] for worker in found["workers"]] == ["running"] and not found["no_job_left"]
    # A lost node is noticed, and the job goes on, with nobody to tell what became of it.
    ((_, node),) = site.jobs(tmp_path / "run")
    site.cluster.lose(node, hard=True)
    assert wait_until(lambda: len(trial.attempts()) > 1, 120)
    site.cluster.restore(node)
    epochs = len(trial.curve())
    wait_for_epochs(trial, epochs + 1)
    ((number, _),) = site.jobs(tmp_path / "run")
    site.cluster.run(["scancel", number], check=True)
    assert wait_until(lambda: status(site, tmp_path / "run")["no_job_left"], 90), status(site, tmp_path / "run")
    found = status(site, tmp_path / "run")
    assert found["slurm_trouble"] is None and not found["complete"]
    # The command that status names is the right one.
    again = site.cluster.run(["sh", "-c", found["command"]], environment=own(site), timeout=240)
    assert again.returncode == 0 and "submitted 1 job" in again.stderr, again.stderr
    run = site.finish(tmp_path / "run")
    assert trial.log_path.read_text().count("resumed after epoch") == 2
    assert repeated_work(run) == []
    run_inline(one_long_trial(tmp_path), tmp_path / "local", site.cache, report=False)
    assert run_differences(RunDirectory(tmp_path / "local"), run) == []


def own(site: Site) -> dict[str, str]:
    """The environment of a command on the login node, where ``python`` is this one."""
    kept = {k: v for k, v in environment(site.cache).items() if k.startswith(("GPAF_", "PYTHON"))}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}


def test_a_job_works_on_its_nodes_own_copy_of_the_images(site: Site, tmp_path: Path) -> None:
    scratch = site.cluster.layout.scratch
    site.sweep(one_long_trial(tmp_path), tmp_path / "run", scratch=str(scratch))
    wait_for_epochs(only_trial(tmp_path / "run"), 1)
    ((_, node),) = site.jobs(tmp_path / "run")
    there = [psutil.Process(process.pid) for process in site.cluster.processes(node) if psutil.pid_exists(process.pid)]
    workers = [process.pid for process in there if is_worker(process)]
    mapped = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in workers)
    assert str(scratch / "gpaf-bench-0") in mapped and str(site.cache) not in mapped
    run = site.finish(tmp_path / "run")
    # One node has it, and neither the other one nor the login node.
    copies = {name: list(site.cluster.layout.node_scratch(name).glob("gpaf-bench-0/digits-*")) for name in ("n1", "n2")}
    assert [name for name, found in copies.items() if found] == [node]
    assert [path.name for path in copies[node]] == [path.name for path in site.cache.glob("digits-8px-*")]
    assert subprocess.run(["ls", str(scratch)], capture_output=True, text=True, check=True).stdout == ""
    log = "".join(path.read_text() for path in (run.path / "slurm" / "log").glob("*.out"))
    assert f"of decoded images to {scratch}" in log and "using the shared cache" not in log
    run_inline(one_long_trial(tmp_path), tmp_path / "local", site.cache, report=False)
    assert run_differences(RunDirectory(tmp_path / "local"), run) == []
