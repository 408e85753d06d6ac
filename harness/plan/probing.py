"""Probes a sweep on this machine, with as many processes at a time as it will have workers here."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import RequestError
from harness.launch.packing import least
from harness.launcher import Places
from harness.plan.parts import Answer, Measured, Parts, Refusal
from harness.plan.shapes import StudyShape
from harness.spec.sections import SweepSpec
from harness.studies.study import Roots

CONFIGURATIONS = 3
"""So many of a study's slots are measured, from slot 0 on: some configurations are slower than others."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe found."""

    measured: dict[str, Measured]
    """Study → times and sizes."""
    failed: dict[str, str]
    """Study → why its trials fail."""
    device: str
    processes: int
    threads: int


def probe(
    spec: SweepSpec,
    shapes: Sequence[StudyShape],
    roots: Roots,
    folder: Path,
    places: Places,
    progress: Callable[[str], None] = lambda name: None,
) -> Probed:
    """Measure every study.

    Args:
        spec: of the sweep, as loaded.
        shapes: the studies to measure.
        roots: where the data lie.
        folder: an existing folder on the file system of the run directory, for what the miniatures write.
        places: devices, workers and threads that the sweep would have here.
        progress: called with the name of a study whenever one configuration was measured.

    Raises:
        RequestError: a probing process ended early.
    """
    devices, workers, threads = places
    # Those that share one device, or this machine's cores, slow each other.
    processes = workers if devices == ["cpu"] else min(workers, least(spec.launch.trials_per_device))
    tasks = [(shape.name, slot) for slot in range(CONFIGURATIONS) for shape in shapes if slot < max(1, shape.slots)]
    processes = max(1, min(processes, len(tasks)))
    waiting: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    hello = {
        "spec": spec.model_dump(mode="json"), "threads": threads, "device": devices[0],
        "data": str(roots.data), "cache": str(roots.cache), "folder": str(folder),
    }  # fmt: skip
    answers: dict[str, list[Answer | Refusal]] = {shape.name: [] for shape in shapes}
    load = _load()
    troubles: list[str] = []

    def serve() -> None:
        command = [sys.executable, "-m", "harness.plan.probe"]
        pipe = subprocess.PIPE
        # As workers have it.
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "OMP_NUM_THREADS": str(threads)}
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment) as child:
            assert child.stdin is not None and child.stdout is not None and child.stderr is not None
            child.stdin.write(json.dumps(hello) + "\n")
            while not troubles:
                try:
                    name, slot = waiting.get_nowait()
                except queue.Empty:
                    break
                try:
                    print(json.dumps({"study": name, "configuration": slot}), file=child.stdin, flush=True)
                    answers[name].append(json.loads(child.stdout.readline()))
                except (BrokenPipeError, ValueError):
                    said = child.stderr.read().strip().splitlines()
                    troubles.append(f"{name}: the probe ended early: {said[-1] if said else 'killed'}")
                    break
                progress(name)
            child.stdin.close()

    servants = [threading.Thread(target=serve, name=f"probe {number}") for number in range(processes)]
    for servant in servants:
        servant.start()
    for servant in servants:
        servant.join()
    if troubles:
        raise RequestError(f"{troubles[0]}; --like or --seconds-per-step plan without a probe")
    refused = {name: [one["failed"] for one in own if "failed" in one] for name, own in answers.items()}
    failed = {name: said[0] for name, said in refused.items() if len(said) == len(answers[name])}
    origin = f"probed on {devices[0]}, {processes} at a time with {threads} threads each"
    origin += "" if load is None else f", load {load:.1f} for each processor before"
    # More of them than there are processors hold each other up, as the workers of the sweep will.
    crowded = processes * threads > len(os.sched_getaffinity(0))
    measured = {name: _joined(own, origin, load, crowded) for name, own in answers.items() if name not in failed}
    return Probed(measured, failed, devices[0], processes, threads)


def _load() -> float | None:
    """Processes that want a processor, on average over the last minute, for each processor of this machine."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except OSError:
        return None


def _joined(answers: Sequence[Answer | Refusal], origin: str, load: float | None, crowded: bool) -> Measured:
    good = [answer for answer in answers if "failed" not in answer]
    return Measured(
        parts=tuple(Parts(**parts) for answer in good for parts in answer["parts"]),
        origin=origin,
        running=1.0 if crowded else sum(answer["running"] for answer in good) / len(good),
        load=load,
        warm_up=max(answer["warm_up"] for answer in good),
        peak_bytes=max(answer["peak_bytes"] for answer in good),
        checkpoint_bytes=max(answer["checkpoint_bytes"] for answer in good),
        kept_bytes=max(answer["kept_bytes"] for answer in good),
        epoch_bytes=sum(answer["epoch_bytes"] for answer in good) / len(good),
        result_bytes=round(sum(answer["result_bytes"] for answer in good) / len(good)),
    )
