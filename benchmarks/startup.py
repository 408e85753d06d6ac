"""How long it takes until something trains: ``python -m benchmarks.startup``.

Three things, each beside what it is measured against, in turn in this one run: a whole sweep command up to its first
training step, with workers that are forked and with workers that load everything themselves; one worker up to its first
step, in the same two ways; and, in a running worker, the time from the end of one trial to the first step of the next.
A plugin of the benchmark's own notes the moment of each trial's first step.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.overhead import machine
from harness.data.cache import default_cache_root, default_data_root
from harness.launch.starting import ProcessStarter, Starter, WorkerProcess, starter
from harness.run.directory import RunDirectory

PLUGIN = '''"""Of the benchmark."""

import time
from pathlib import Path

from harness.method import Method, optimiser_space
from harness.space.parameters import Float


class Stamped(Method):
    """Trains the head, and notes when its first step begins, be it of a training that goes on."""

    name = "stamped"
    space = optimiser_space(Float(1e-3, 1e-4, 1e-1, log=True))
    begun = False

    def adapt(self, model, hp):
        pass

    def training_step(self, context, images, labels):
        if not self.begun:
            self.begun = True
            with Path({stamps!r}).open("a") as stream:
                stream.write(f"{{time.time()}}\\n")
        return super().training_step(context, images, labels)
'''

FROM_SCRATCH = """
import sys
from harness.launch import starting, this_machine
this_machine.begin_loading = lambda launch: None
this_machine.starter = lambda environment, loading: starting.ProcessStarter(environment)
from harness.sweep.__main__ import main
sys.exit(main())
"""
"""The sweep command with workers that load everything themselves."""

WAIT_SECONDS = 300.0


@dataclass
class Place:
    """A folder with a plugin, a sweep file and the moments of first steps."""

    folder: Path
    threads: int

    @property
    def stamps(self) -> Path:
        """A line for each first step, seconds since the epoch."""
        return self.folder / "stamps.txt"

    def sweep_file(self, backbone: str, size: int, epochs: int, trials: int) -> Path:
        """A sweep of trials on the digits."""
        plugins = self.folder / "plugins"
        plugins.mkdir(exist_ok=True)
        (plugins / "stamped.py").write_text(PLUGIN.format(stamps=str(self.stamps)))
        document = {
            "name": "startup",
            "plugins": [str(plugins)],
            "backbone": {"name": backbone, "weights": None},
            "datasets": ["digits"],
            "methods": ["stamped"],
            "train": {"epochs": epochs, "batch_size": 32, "image_size": size, "per_class": 8},
            "search": {"trials": trials, "sampler": "random", "seeds": [0]},
            "confirm": {"seeds": 1, "repeat": False},
            "launch": {"kind": "local", "workers": 1, "threads": self.threads},
        }
        file = self.folder / f"{backbone}-{size}-{epochs}-{trials}.yaml"
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        return file

    def first_step(self, action: Callable[[], subprocess.Popen[bytes] | WorkerProcess]) -> float:
        """Seconds from an action until something trains; what it started is then told to stop."""
        self.stamps.unlink(missing_ok=True)
        started = time.time()
        process = action()
        while not self.stamps.exists() or not self.stamps.read_text().endswith("\n"):
            if process.poll() is not None or time.time() - started > WAIT_SECONDS:
                raise RuntimeError(f"nothing trained; what was started ended with {process.poll()}")
            time.sleep(0.005)
        # Told to stop, not killed: after a death a trial waits before it is taken up again.
        process.terminate()
        process.wait()
        return float(self.stamps.read_text().split()[0]) - started


def measure_sweep(place: Place, pairs: int) -> list[dict[str, Any]]:
    """The whole command, in a new run directory each time; the images are decoded before."""
    file = place.sweep_file("resnet18", 28, 50, 2)
    run = place.folder / "sweep"

    def command(words: Sequence[str], number: int) -> Callable[[], subprocess.Popen[bytes]]:
        call = [sys.executable, *words, str(file), "--run-dir", str(run / str(number))]
        return lambda: subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    place.first_step(command(["-m", "harness.sweep"], -1))
    forked, fresh = [], []
    for number in range(pairs):
        forked.append(place.first_step(command(["-m", "harness.sweep"], 2 * number)))
        fresh.append(place.first_step(command(["-c", FROM_SCRATCH], 2 * number + 1)))
    return [_row("sweep command to first step", "s", forked, fresh)]


def measure_worker(place: Place, pairs: int) -> list[dict[str, Any]]:
    """One worker of a planned sweep, in the two ways; the process that is forked has loaded everything."""
    file = place.sweep_file("resnet18", 28, 50, 1)
    run = place.folder / "worker"
    words = [sys.executable, "-m", "harness.sweep", str(file), "--run-dir", str(run)]
    sweep = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not any(trial.claimed for trial in RunDirectory(run).trials()):
        time.sleep(0.1)
    sweep.send_signal(signal.SIGINT)
    sweep.wait()
    arguments = [
        str(run), "--parent", str(os.getpid()), "--threads", str(place.threads),
        "--data-root", str(default_data_root()), "--cache-root", str(default_cache_root()),
    ]  # fmt: skip
    log = place.folder / "worker.log"
    environment = {**os.environ, "OMP_NUM_THREADS": str(place.threads)}
    ways: list[Starter] = [starter(environment), ProcessStarter(environment)]
    times: list[list[float]] = [[], []]
    ways[0].start(["--help"], log).wait()
    for _ in range(pairs):
        for way, seconds in zip(ways, times, strict=True):
            seconds.append(place.first_step(lambda way=way: way.start(arguments, log)))  # type: ignore[misc]
    ways[0].close()
    return [_row("worker to first step", "s", *times)]


def measure_trials(place: Place, trials: int) -> list[dict[str, Any]]:
    """From the end of one trial to the first step of the next, in one worker; beside it a bare ``import torch``."""
    rows = []
    for backbone, size in (("resnet20", 28), ("resnet18", 28), ("resnet50", 64)):
        file = place.sweep_file(backbone, size, 1, trials)
        run = place.folder / f"trials-{backbone}"
        place.stamps.unlink(missing_ok=True)
        words = [sys.executable, "-m", "harness.sweep", str(file), "--run-dir", str(run)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        first_steps = sorted(map(float, place.stamps.read_text().split()))
        ended = sorted(trial.result()["time"]["ended"] for trial in RunDirectory(run).trials())
        # The first trial pays for what the worker loads and builds once.
        gaps = [1000 * (begun - end) for end, begun in zip(ended[:-1], first_steps[1:], strict=True)][1:]
        imports = []
        for _ in range(3):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import torch"], check=True)
            imports.append(1000 * (time.perf_counter() - started))
        rows.append(_row(f"trial to trial, {backbone} at {size} px; beside it: import torch", "ms", gaps, imports))
    return rows


def _row(what: str, unit: str, ours: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Medians, and the ratio of the other's to ours: how many times faster."""
    pairs = [b / a for a, b in zip(ours, other, strict=False)]
    return {
        "measure": what,
        "unit": unit,
        "ours": statistics.median(ours),
        "other": statistics.median(other),
        "ratio": statistics.median(pairs)
        if len(ours) == len(other)
        else statistics.median(other) / statistics.median(ours),
        "values": {"ours": list(ours), "other": list(other)},
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The measurements as a Markdown table."""
    lines = ["| measure | ours | beside it | times faster |", "|---|---|---|---|"]
    for row in rows:
        unit = row["unit"]
        lines.append(
            f"| {row['measure']} | {row['ours']:.2f} {unit} | {row['other']:.2f} {unit} | {row['ratio']:.2f} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup", description="How long until something trains."
    )
    parser.add_argument("--pairs", type=int, default=5, help="pairs of starts (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=12, help="trials of a worker (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of a worker (default: %(default)s)")
    parser.add_argument("--work-dir", type=Path, help="where run directories are made (default: a temporary folder)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "startup.json")
    options = parser.parse_args(argv)
    where = machine(options.threads)
    with tempfile.TemporaryDirectory(prefix="gpaf-startup-", dir=options.work_dir) as scratch:
        place = Place(Path(scratch), options.threads)
        rows = [
            *measure_sweep(place, options.pairs),
            *measure_worker(place, options.pairs),
            *measure_trials(place, options.trials),
        ]
    where["load_average_after"] = os.getloadavg()
    print(table(rows))
    print(json.dumps(where))
    command = ["python", "-m", "benchmarks.startup", *(sys.argv[1:] if argv is None else argv)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": where, "command": " ".join(command), "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
