"""A search by a real Ray Tune over all nodes of a real Slurm allocation."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the engine ray needs the extra of that name")

from tiny import ROOT, environment, sweep_command, tiny_sweep

from harness.proof.comparison import repeated_work
from harness.ray.node import records
from harness.run.directory import RunDirectory
from slurm.cluster import LittleCluster, Settings, obstacle

OBSTACLE = obstacle()


@pytest.mark.skipif(OBSTACLE is not None, reason=f"no Slurm cluster here: {OBSTACLE}")
@pytest.mark.large
def test_the_nodes_of_an_allocation_share_a_sweep(tmp_path: Path, shared_cache: Path) -> None:
    file = tiny_sweep(
        tmp_path,
        search={"engine": "ray", "trials": 4, "concurrency": 2, "seeds": [0]},
        launch={"kind": "local", "workers": 1, "threads": 1},
    )
    run = RunDirectory(tmp_path / "run")
    variables = {k: v for k, v in environment(shared_cache).items() if k.startswith(("GPAF_", "PYTHON"))}
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    script = ["#!/bin/bash", *exports, f"exec {shlex.join(sweep_command(file, run.path))}"]
    log = tmp_path / "job.log"
    with LittleCluster(settings=Settings(nodes=2, cpus=1)) as cluster:
        wanted = ("--nodes=2", "--ntasks-per-node=1", f"--output={log}", "--time=20")
        job = cluster.submit(*wanted, script="\n".join(script) + "\n", folder=ROOT)
        try:
            states = cluster.wait_for(job, "COMPLETED", timeout=400)
        except Exception:
            print(log.read_text() if log.exists() else "the job has said nothing", file=sys.stderr)
            raise
        steps = cluster.run(["sacct", "--noheader", "--format=JobID,NodeList", "--parsable2", "-j", job]).stdout
    assert set(states.values()) == {"COMPLETED"} and run.report_page.exists()
    # The batch script's node and, as steps, the other one: Ray's, and the ordinary workers' of the confirmation.
    nodes = dict(line.split("|") for line in steps.splitlines())
    others = {node for step, node in nodes.items() if step.partition(".")[2].isdigit()}
    assert others == {"n1", "n2"} - {nodes[f"{job}.batch"]}, nodes
    assert repeated_work(run) == [] and not records(run.path / "ray")
