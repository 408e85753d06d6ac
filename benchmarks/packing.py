"""Several trainings on one device at once: ``python -m benchmarks.packing``.

Each training is a process of its own, as a worker is. All of a group wait for each other after their first steps, and
then train for the same seconds; the throughput of a group is the sum of its images over these seconds, and its gain
that over the throughput of one training alone. On a CPU a training has its share of the cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.image_sources import lay_out
from benchmarks.overhead import machine
from benchmarks.trainings import Case, Trial, training_job
from harness.core.errors import RequestError, run_command
from harness.train.device import usable_device

Row = dict[str, Any]

WARMUP = 5
ANSWER_SECONDS = 120.0


def train_when_told(connection: Connection, case: Case, method: str, work: Path) -> None:
    """What a process does: for each (size, threads, seconds) it gets, train that long and answer with its images."""
    trials: dict[int, Trial] = {}
    while (order := connection.recv()) is not None:
        size, threads, seconds = order
        torch.set_num_threads(threads)
        if size not in trials:
            trials[size] = Trial(method, method, replace(case, size=size), work)
        one = trials[size].seconds(WARMUP) / WARMUP
        connection.send("ready")
        connection.recv()
        # In parts, because all of them together slow each other down.
        part, done, started = max(1, round(0.1 / one)), 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            trials[size].seconds(part)
            done += part
        connection.send((done * case.batch, time.perf_counter() - started))


def measure(
    case: Case, method: str, sizes: Sequence[int], groups: Sequence[int], seconds: float, work: Path
) -> list[Row]:
    """Throughput of every group size at every image size."""
    cores = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(max(groups))]
    processes = [
        context.Process(target=train_when_told, args=(theirs, case, method, work), daemon=True) for _, theirs in pairs
    ]
    ours = [mine for mine, _ in pairs]
    rows: list[Row] = []
    try:
        for process in processes:
            process.start()
        for size in sizes:
            training_job(method, replace(case, size=size), work)  # decoded once, before all of them want it
            for count in groups:
                images = _together(ours[:count], (size, max(1, cores // count), seconds))
                rows.append({"size": size, "trainings": count, "images_per_second": sum(images), "each": images})
        for connection in ours:
            connection.send(None)
        for process in processes:
            process.join(10)
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
    for row in rows:
        alone = next(other for other in rows if other["size"] == row["size"])
        row["gain"] = row["images_per_second"] / alone["images_per_second"]
    return rows


def _together(connections: Sequence[Connection], order: tuple[int, int, float]) -> list[float]:
    for connection in connections:
        connection.send(order)
    for connection in connections:
        _answer(connection)
    for connection in connections:
        connection.send("go")
    answers = [_answer(connection) for connection in connections]
    return [images / seconds for images, seconds in answers]


def _answer(connection: Connection) -> Any:
    if not connection.poll(ANSWER_SECONDS):
        raise RequestError(f"a training did not answer within {ANSWER_SECONDS:g} seconds")
    try:
        return connection.recv()
    except EOFError as error:
        raise RequestError("a training ended; what it said is above") from error


def show(rows: Sequence[Row]) -> None:
    """Print the measurements."""
    table = Table("px", "trainings", "images/s", "× one alone")
    for row in rows:
        table.add_row(str(row["size"]), str(row["trainings"]), f"{row['images_per_second']:,.0f}", f"{row['gain']:.2f}")
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, record; 2 where it was not possible."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.packing", description="Several trainings on a device.")
    parser.add_argument("--backbone", default="resnet18", help="default: %(default)s")
    parser.add_argument("--method", default="full_finetune", help="default: %(default)s")
    parser.add_argument("--sizes", type=int, nargs="+", default=[28, 64], help="sides in pixels")
    parser.add_argument("--trainings", type=int, nargs="+", default=[1, 2, 4, 8] if cuda else [1, 2], help="at once")
    parser.add_argument("--batch", type=int, default=64, help="images a step (default: %(default)s)")
    parser.add_argument("--images", type=int, default=512, help="image files (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--device", default="cuda" if cuda else "cpu", help="default: %(default)s")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16" if cuda else "fp32")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "packing.json")
    options = parser.parse_args(argv)
    command = ["python", "-m", "benchmarks.packing", *(sys.argv[1:] if argv is None else argv)]

    def run() -> int:
        device = usable_device(options.device)
        where = machine(torch.get_num_threads())
        where["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        with tempfile.TemporaryDirectory(prefix="gpaf-packing-") as scratch:
            sources = lay_out(Path(scratch), options.images, synthetic=True)
            case = Case(sources, options.backbone, 0, options.batch, device, options.precision, 0)
            rows = measure(case, options.method, options.sizes, options.trainings, options.seconds, Path(scratch))
        show(rows)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(
            json.dumps({"machine": where, "command": " ".join(command), "rows": rows}, indent=2) + "\n"
        )
        return 0

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
