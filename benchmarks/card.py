"""What a device can do, and GPAF's activation beside that: ``python -m benchmarks.card``.

ceilings     the rate of a large bfloat16 matrix product, and of copying memory (bytes read and written)
activation   forward and backward of one activation, by each execution of GPAF and by ReLU; the fewest bytes that
             either must move (read x, write y; read x and the gradient, write the gradient of x) over its time, as a
             share of the copying rate
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.overhead import machine
from benchmarks.trainings import wait
from harness.activations.base import PreservingActivation
from harness.activations.formulas import Execution
from harness.activations.window import W4
from harness.core.errors import RequestError, one_line, run_command
from harness.train.device import usable_device

Row = dict[str, Any]

SHAPES = ((64, 64, 112, 112), (64, 256, 56, 56), (64, 1024, 14, 14), (64, 512, 7, 7))
"""Inputs of activations of a ResNet-50 at 224 pixels, from its first to its last stage."""
EXECUTIONS: tuple[Execution, ...] = ("plain", "fused", "compiled", "triton")


def measure_ceilings(device: torch.device, quick: bool, repeats: int) -> list[Row]:
    """TFLOP/s of a matrix product, GB/s of a copy."""
    side = 512 if quick else 8192
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.randn((1 << 20) if quick else (1 << 29), device=device)
    target = torch.empty_like(source)
    product = _median(lambda: torch.mm(a, b), device, repeats)
    copy = _median(lambda: target.copy_(source), device, repeats)
    return [
        {"what": f"bf16 product of {side} × {side}", "value": 2 * side**3 / product / 1e12, "unit": "TFLOP/s"},
        {"what": "copy", "value": 2 * source.numel() * 4 / copy / 1e9, "unit": "GB/s"},
    ]


def measure_activations(device: torch.device, quick: bool, repeats: int, copy_rate: float) -> list[Row]:
    """Seconds of forward and backward of one activation, for each shape and execution."""
    rows = []
    for batch, channels, height, width in SHAPES[2:] if quick else SHAPES:
        shape = (4 if quick else batch, channels, height, width)
        x = torch.randn(shape, device=device, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
        upstream = torch.randn_like(x)
        modules: dict[str, nn.Module] = {"relu": nn.ReLU()}
        for execution in EXECUTIONS:
            modules[execution] = PreservingActivation(W4, channels, execution=execution).to(device)
        for name, module in modules.items():
            if name != "relu":
                nn.init.normal_(module.get_parameter("coefficients"), std=0.1)
            row: Row = {"execution": name, "shape": shape}
            try:
                seconds = _median(lambda: _both_ways(module, x, upstream), device, repeats)  # noqa: B023
            except (RequestError, RuntimeError) as error:
                rows.append({**row, "refusal": one_line(f"{type(error).__name__}: {error}")[:300]})
                continue
            rate = 5 * x.numel() * x.element_size() / seconds / 1e9
            rows.append({**row, "seconds": seconds, "gigabytes_per_second": rate, "of_copy": rate / copy_rate})
    return rows


def _both_ways(module: nn.Module, x: torch.Tensor, upstream: torch.Tensor) -> None:
    leaf = x.detach().requires_grad_()
    torch.autograd.backward(module(leaf), upstream)


def _median(action: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median seconds of an action, after three that do not count; by the device's own clock on a GPU."""
    for _ in range(3):
        action()
    times: list[float] = []
    for _ in range(repeats):
        if device.type == "cuda":
            begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            begun.record()
            action()
            ended.record()
            wait(device)
            times.append(float(begun.elapsed_time(ended)) / 1e3)
        else:
            started = time.perf_counter()
            action()
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def show(ceilings: Sequence[Row], activations: Sequence[Row]) -> None:
    """Print the measurements."""
    for row in ceilings:
        print(f"{row['what']}: {row['value']:,.1f} {row['unit']}")
    shapes = list(dict.fromkeys(row["shape"] for row in activations))
    table = Table("ms forward + backward (share of copy)", *(" × ".join(map(str, shape)) for shape in shapes))
    for execution in dict.fromkeys(row["execution"] for row in activations):
        own = {row["shape"]: row for row in activations if row["execution"] == execution}
        table.add_row(
            execution,
            *(own[s].get("refusal") or f"{1e3 * own[s]['seconds']:.3f} ({own[s]['of_copy']:.2f})" for s in shapes),
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, record; 2 where the request is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.card", description="What a device can do.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="small sizes, for a CPU")
    parser.add_argument("--repeats", type=int, default=30, help="of each measurement (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "card.json")
    options = parser.parse_args(argv)
    command = ["python", "-m", "benchmarks.card", *(sys.argv[1:] if argv is None else argv)]

    def run() -> int:
        device = usable_device(options.device)
        where = machine(torch.get_num_threads())
        where["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        ceilings = measure_ceilings(device, options.quick, options.repeats)
        activations = measure_activations(device, options.quick, options.repeats, ceilings[1]["value"])
        show(ceilings, activations)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        record = {"machine": where, "command": " ".join(command), "ceilings": ceilings, "activations": activations}
        options.out.write_text(json.dumps(record, indent=2) + "\n")
        return 0

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
