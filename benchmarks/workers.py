"""What workers cost a shared file server: ``python -m benchmarks.workers``.

Two parts, both on this machine:

- **Counted.** Runs of ten studies are made by a script. Some trials are held by workers of another host, some are
  finished. A fresh process then looks, as an idle worker does, and claims, and ``strace`` counts the system calls that
  name a file below the run directory or use one that is open there.
- **Simulated.** A thousand workers run a hundred thousand trials in virtual time, and each event costs what the first
  part has counted (``benchmarks.worker_simulation``).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.report_speed import plain_write
from benchmarks.scale import finished_result, studies_of
from benchmarks.worker_simulation import ASSUMED, LOADS, Costs, Simulation
from harness.core.files import encode_json
from harness.core.owner import this_process
from harness.data.cache import default_data_root
from harness.run.directory import RunDirectory
from harness.space.parameters import defaults
from harness.studies.study import Roots, Study

STUDIES = 10
RUNNING = (40, 400)
FINISHED = (0, 99_900)
LOOKS = 4
"""The first look of a worker learns what there is; the last of these is an idle one."""
MARK = "/marker/"
LIMITS = {"look": 50, "claim": 80, "second": 2000}
Counts: TypeAlias = dict[str, dict[str, dict[str, int]]]
"""Idle or claim, number of trials, what for: operations."""

ELSEWHERE = {**this_process(), "host": "elsewhere", "hostname": "node7", "pid": 1}


def specification(slots: int) -> dict[str, Any]:
    """A sweep of ten studies whose slots may all begin at once."""
    return {
        "name": "workers",
        "backbone": {"name": "resnet20", "weights": None},
        "datasets": {"d": {"dataset": "digits", "options": {"classes": [0, 1]}}},
        "methods": {f"m{k}": {"method": "linear_probe"} for k in range(STUDIES)},
        "train": {"epochs": 1, "image_size": 8, "precision": "fp32"},
        "search": {"sampler": "random", "trials": slots, "seeds": [0]},
        "confirm": {"seeds": 2, "repeat": False, "vary": ["seed"]},
        "launch": {"kind": "local", "workers": 1},
    }


def make(folder: Path, roots: Roots, slots: int, finished: int = 0, held: int = 0) -> RunDirectory:
    """Write a run: so many slots in all, of which the first are finished and the next held by another host."""
    from harness.spec.sections import SweepSpec

    run = RunDirectory(folder)
    run.create()
    spec = SweepSpec.model_validate(specification(slots // STUDIES))
    run.write_spec(spec.model_dump(mode="json"))
    _, studies = studies_of(run, roots)
    for study in studies:
        study.folder.describe(study.description())
        identity = study.trial_identity("search", defaults(study.space), 0)
        for slot in range((finished + held) // STUDIES):
            _write(study, slot, identity, slot < finished // STUDIES)
    run.publish_plan()
    return run


def _write(study: Study, slot: int, identity: str, finished: bool) -> None:
    trial = study.folder.search_trial(slot, 0)
    trial.create()
    asked = defaults(study.space)
    kept: dict[str, Any] = {"slot": slot, "seed": 0, "hyperparameters": asked, "identity": identity}
    if finished:
        plain_write(trial.result_path, encode_json(finished_result({"stage": "search", **kept}, 0.5)))
        return
    request = {"stage": "search", "study": study.name, "conditioned_on": [], "threads": 1, **kept}
    plain_write(trial.request_path, encode_json(request))
    lease = trial.path / "lease.0001"
    plain_write(lease, encode_json({**ELSEWHERE, "token": str(slot), "claimed": time.time()}))
    # Nobody renews it, and counting may take long on a busy machine.
    os.utime(lease, (time.time() + 3600, time.time() + 3600))


class _Unhurried(threading.Event):
    """Nobody waits, and nobody stops."""

    def wait(self, timeout: float | None = None) -> bool:
        return False


def measure(folder: Path, cache: Path) -> None:
    """What ``strace`` watches: looks of an idle worker, or a claim where something is left."""
    import torch

    from harness.work import worker as working

    def run_claimed(taken: Any, *rest: Any, **more: Any) -> None:
        kept = {key: taken.request[key] for key in ("stage", "slot", "seed", "hyperparameters", "identity")}
        with _marked("finish"):
            taken.folder.finish(finished_result(kept, 0.5))
        with _marked("check"):
            taken.lease.check()
        with _marked("renew"):
            taken.lease.renew()
        with _marked("release"):
            taken.lease.release("finished")

    setattr(working, "run_claimed", run_claimed)  # noqa: B010  (in the place of a training)
    roots = Roots(default_data_root(), cache)
    said = folder / "workers" / "said.json"
    said.parent.mkdir(exist_ok=True)
    worker = working.Worker(RunDirectory(folder), roots, torch.device("cpu"), 1, _Unhurried(), said)
    for number in range(LOOKS):
        with _marked(f"turn{number}"):
            worker.turn()
    scheduler = worker._scheduler
    assert scheduler is not None
    look = getattr(scheduler, "look", None)
    with _marked("claimable"):
        if look is None:  # before there were looks
            scheduler.claimable()
        else:
            with look():
                scheduler.claimable()


class _marked:
    """The system calls in between are of one thing."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        Path(MARK, self._name).exists()

    def __exit__(self, *_: object) -> None:
        Path(MARK, "end").exists()


def counted(run: RunDirectory, cache: Path) -> dict[str, int]:
    """Operations by what they were for; those inside of another thing are of that alone."""
    with tempfile.TemporaryDirectory(prefix="gpaf-workers-") as scratch:
        log = Path(scratch) / "strace"
        command = [
            "strace",
            "-f",
            "--seccomp-bpf",
            "-e",
            "trace=%file,%desc",
            "-y",
            "-s",
            "4096",
            "-o",
            str(log),
            sys.executable,
            "-m",
            "benchmarks.workers",
        ]
        watched = subprocess.run([*command, "--measure", str(run.path), str(cache)], capture_output=True, text=True)
        if watched.returncode != 0:
            raise SystemExit(watched.stderr)
        counts: dict[str, int] = {}
        within: list[str] = []
        with log.open(errors="replace") as lines:
            for line in lines:
                found = re.search(rf'"{MARK}(\w+)"', line)
                if found and found[1] == "end":
                    within.pop()
                elif found:
                    within.append(found[1])
                    counts.setdefault(found[1], 0)
                elif within and str(run.path) in line:
                    counts[within[-1]] += 1
        return counts


def count(scratch: Path, running: Sequence[int], finished: Sequence[int], report: Callable[[str], None]) -> Counts:
    """What is counted of the real code, for each number of running and of finished trials."""
    roots = Roots(default_data_root(), scratch / "cache")
    found: Counts = {"idle": {}, "claim": {}}
    for held in running:
        run = make(scratch / f"held{held}", roots, held, held=held)
        found["idle"][str(held)] = counted(run, roots.cache)
        report(f"{held} trials run elsewhere: {found['idle'][str(held)]}")
    for number in finished:
        run = make(scratch / f"finished{number}", roots, number + 10 * STUDIES, finished=number)
        found["claim"][str(number)] = counted(run, roots.cache)
        report(f"{number} trials are finished: {found['claim'][str(number)]}")
    return found


def costs_of(found: Counts) -> Costs:
    """What the simulation is to assume, from what was counted."""
    few, many = (found["idle"][key] for key in sorted(found["idle"], key=int)[-2:])
    less, more = sorted(map(int, found["idle"]))[-2:]
    claim = found["claim"][max(found["claim"], key=int)]
    each = LOOKS
    return Costs(
        look=many[f"turn{LOOKS - 1}"],
        claim=max(claim[f"turn{n}"] for n in range(1, LOOKS)),
        lease=math.ceil((many["turn0"] - few["turn0"]) / (more - less)),
        finish=(claim["finish"] + claim["release"]) // each,
        renew=claim["renew"] // each,
    )


def problems(found: Counts, simulated: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Limits that are passed."""
    look = max(counts[f"turn{LOOKS - 1}"] for counts in found["idle"].values())
    if look > LIMITS["look"]:
        yield f"an idle look takes {look} operations, allowed {LIMITS['look']}"
    claim = max(counts[f"turn{n}"] for counts in found["claim"].values() for n in range(1, LOOKS))
    if claim > LIMITS["claim"]:
        yield f"a claim takes {claim} operations, allowed {LIMITS['claim']}"
    for row in simulated:
        if row["per_second"] > LIMITS["second"]:
            yield f"{row['workers']} workers: {row['per_second']:.0f} operations a second, allowed {LIMITS['second']}"
    for few, many in itertools.pairwise(simulated):
        if many["workers"] > few["workers"] and many["per_trial"] > 1.1 * few["per_trial"]:
            yield f"{many['workers']} workers: operations grow faster than the work done"


def main() -> int:
    """Count, simulate, print, and write ``results/workers.json``; 1 where a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count-only", type=Path, help="count, write that to this file, and simulate nothing")
    parser.add_argument("--before", type=Path, help="what --count-only wrote with another version, for the record")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "workers.json")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure)
        return 0

    def report(line: str) -> None:
        print(line, flush=True)

    with tempfile.TemporaryDirectory(prefix="gpaf-workers-") as scratch:
        found = count(Path(scratch), RUNNING, FINISHED, report)
    if arguments.count_only:
        arguments.count_only.write_text(json.dumps(found, indent=1) + "\n")
        return 0
    costs = costs_of(found)
    simulated = []
    for load in LOADS:
        simulated.append(Simulation(load, costs).run())
        row = simulated[-1]
        report(
            f"{row['workers']} workers, {row['trials']} trials, {row['at_once']} at once: {row['hours']:.1f} h, "
            f"{row['per_second']:.0f} operations a second (worst minute {row['worst_minute']:.0f}), "
            f"{row['per_trial']:.0f} a trial"
        )
    wrong = list(problems(found, simulated))
    before = json.loads(arguments.before.read_text()) if arguments.before else None
    whole = {"counted": found, "before": before, "costs": asdict(costs), "assumed": ASSUMED, "simulated": simulated}
    arguments.out.write_text(json.dumps({**whole, "limits": LIMITS, "problems": wrong}, indent=1) + "\n")
    for line in wrong:
        report(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
