"""Sweeps that are searched by a real Ray Tune, in a cluster of their own that leaves nothing behind."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("ray", reason="the engine ray needs the extra of that name")

from home import one_error
from tiny import ROOT, environment, run_inline, run_sweep, sweep_command, tiny_sweep

from harness.ray.node import marked, records
from harness.run.directory import RunDirectory


def population(folder: Path, **changes: Any) -> Path:
    return tiny_sweep(
        folder,
        methods=["lora_c"],
        train={"epochs": 4, "batch_size": 64, "image_size": 8},
        search={"engine": "ray", "trials": 3, "pruner": "pbt"},
        confirm={"seeds": 1},
        # One trial at a time, because each process of Ray's takes seconds to load what it needs.
        launch={"kind": "local", "workers": 1, "threads": 1},
        **changes,
    )


def until(test: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (found := test()):
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.1)
    return found


@pytest.fixture
def killed(tmp_path: Path, shared_cache: Path) -> Iterator[tuple[Path, dict[str, bytes], str]]:
    """A sweep whose driver was killed, and which was killed itself: run directory, results until then, Ray's folder."""
    run = tmp_path / "run"
    command = sweep_command(population(tmp_path), run)
    process = subprocess.Popen(command, env=environment(shared_cache), stderr=subprocess.DEVNULL)
    try:
        (node,) = until(lambda: [record for record in records(run / "ray") if record.address])
        mark, folder = str(node.content["mark"]), str(node.content["folder"])
        listening = [c for p in marked(mark) for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        assert listening and {c.laddr.ip.removeprefix("::ffff:") for c in listening} == {"127.0.0.1"}
        # Once a state was handed on, so that the schedule has to survive as well.
        until(lambda: list(run.glob("studies/*/search/*/schedule.jsonl")))
        (driver,) = [p for p in psutil.Process(process.pid).children() if "harness.ray.driver" in p.cmdline()]
        driver.kill()
        until(lambda: list(run.glob("studies/*/search/*/result.json")))
        process.kill()
        process.wait()
        until(lambda: not marked(mark) and not records(run / "ray"))
        yield run, {str(path): path.read_bytes() for path in run.glob("studies/*/search/*/result.json")}, folder
    finally:
        process.kill()
        process.wait()


@pytest.mark.large
def test_a_population_survives_its_driver_and_its_sweep(
    killed: tuple[Path, dict[str, bytes], str], shared_cache: Path, tmp_path: Path
) -> None:
    run, results, folder = killed
    assert results and not records(run / "ray") and not Path(folder).exists()
    run_sweep(tmp_path / "tiny.yaml", run, shared_cache)
    assert {path: Path(path).read_bytes() for path in results} == results, "no finished trial is lost or run again"
    (study,) = RunDirectory(run).studies()
    found = {trial.request()["slot"]: trial.result() for trial in study.trials("search")}
    assert sorted(found) == [0, 1, 2] and all(result["status"] == "done" for result in found.values())
    assert any(result.get("schedule") for result in found.values())
    (confirmed,) = study.trials("confirm")
    chosen, schedule = study.chosen(), found[study.chosen()["slot"]].get("schedule", [])
    assert confirmed.request().get("schedule", []) == schedule == chosen.get("schedule", [])
    assert confirmed.result()["status"] == "done" and confirmed.result().get("schedule", []) == schedule
    assert (run / "report" / "report.html").exists()
    assert not records(run / "ray") and not (run / "ray" / "token").exists()


@pytest.mark.large
def test_remains_of_a_killed_keeper_are_removed_by_the_next_sweep(tmp_path: Path, shared_cache: Path) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(
        sweep_command(population(tmp_path), run), env=environment(shared_cache), stderr=subprocess.DEVNULL
    )
    (node,) = until(lambda: [record for record in records(run / "ray") if record.address])
    # Stopped, so that none of the two can end what the other one has left.
    for pid in (process.pid, node.content["pid"]):
        os.kill(pid, signal.SIGSTOP)
    for pid in (process.pid, node.content["pid"]):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    assert marked(str(node.content["mark"])), "Ray outlives its keeper"
    from harness.ray.cluster import remove_remains

    remove_remains(run / "ray")
    assert not marked(str(node.content["mark"])) and not Path(str(node.content["folder"])).exists()
    assert not records(run / "ray")


@pytest.mark.large
def test_two_nodes_share_a_search(tmp_path: Path, shared_cache: Path) -> None:
    """Two raylets on this machine, each with room for one trial; the second stands for a node of an allocation."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("only root can give it a network of its own, and several nodes listen on every interface")
    file = tiny_sweep(
        tmp_path,
        methods=[{"linear_probe": {"head_lr": {"log": [0.01, 1.0], "default": 0.1}}}],
        train={"epochs": 3, "batch_size": 16, "image_size": 16},
        search={"engine": "ray", "trials": 4, "concurrency": 2},
        launch={"kind": "local", "workers": 1, "threads": 1},
    )
    program = (
        "import sys; from unittest import mock; from harness.sweep.__main__ import main\n"
        "with mock.patch('harness.ray.launcher.nodes_of_allocation', return_value=([['env']], '127.0.0.2')):\n"
        "    sys.exit(main(sys.argv[1:]))"
    )
    arguments = [str(file), "--run-dir", str(tmp_path / "run")]
    alone = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
    done = subprocess.run(
        [*alone, sys.executable, "-c", program, *arguments],
        env=environment(shared_cache), cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = RunDirectory(tmp_path / "run")
    (study,) = run.studies()
    times = sorted((t.result()["time"]["started"], t.result()["time"]["ended"]) for t in study.trials("search"))
    # A node has room for one trial, so two that overlap ran on two nodes.
    assert len(times) == 4 and any(after[0] < before[1] for before, after in itertools.pairwise(times))
    assert len(list(run.workers.glob("ray-*-node1.log"))) == 1 and not records(run.path / "ray")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine": "ray"}, ("launch.kind", "the engine ray starts processes of its own", "docs/ray.md")),
        ({"engine": "ray", "pruner": "median"}, ("search.pruner", "the engine ray has no median", "pbt")),
        ({"engine": "ray", "sampler": "qmc"}, ("search.sampler", "the engine ray has no qmc", "tpe")),
        ({"engine": "ray", "pruner": "pbt", "seeds": [0, 1]}, ("search.seeds", "one seed")),
        ({"engine": "optuna", "pruner": "pbt"}, ("search.pruner", "the engine optuna has no pbt", "asha")),
    ],
)
def test_what_an_engine_cannot_do_is_refused(
    tmp_path: Path, shared_cache: Path, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    file = tiny_sweep(tmp_path, search={"trials": 2, **changes})
    done = run_inline(file, tmp_path / "run", shared_cache, expect=2)
    one_error(done.returncode, done.stderr, *words)
