"""Images per second of training: ``python -m benchmarks.throughput``.

All sides see the same image files and have one network with random weights, one batch size, precision and optimiser.
They run in turn in this one process, round by round, in an order that rotates; a ratio is that of two sides of one
round, and the table gives the median. ``--add`` keeps the cases that earlier commands have measured.

a method    the steps of a trial, by the harness's own training path: drawing, augmenting, schedule, step
…+compiled  the same with the network compiled, as ``train.step: measured`` has it where that is the faster one
ceiling     the same network and method's step on a batch that never changes, nothing else
script      full fine-tuning as torchvision's reference scripts have it, with a DataLoader; of several numbers of
            processes the faster one counts
…, bf16     on a CPU with bfloat16 arithmetic: a method with ``train.precision: bf16`` beside the script as it comes,
            which is in float32; the script under autocast is there, too
strong      full fine-tuning by somebody who knows torch well (``benchmarks.strong_training``): images decoded once,
            reduced to twice the side and kept, whole batches cropped by grid sampling, channels last, fused AdamW
lightning   the same by Lightning's Trainer, where it is installed

A requirement is put to the fastest of a method's forms: both precisions, plain and compiled, and its settings.

On a GPU the memory is the peak that a side adds to what was allocated before it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.image_sources import lay_out
from benchmarks.overhead import machine
from benchmarks.trainings import COMPILED, Case, Ceiling, Lightning, Script, Side, Strong, Trial
from harness.core.errors import RequestError, one_line, run_command
from harness.data.cache import default_data_root
from harness.train.device import usable_device

Row = dict[str, Any]

ARCHIVE = "brain-tumor-mri-dataset.zip"
METHODS = ("full_finetune", "lora_c", "gpaf", "gpaf+compiled", "bn_affine", "linear_probe")
STRONG = "strong"
AT_LEAST = {
    "script": {"full_finetune": 2.0, "lora_c": 2.0, "gpaf": 2.0, "bn_affine": 2.0},
    STRONG: {"full_finetune": 1.0, "lora_c": 1.2, "bn_affine": 1.2, "linear_probe": 1.2},
}
"""Side → method → least throughput on a CPU, in units of that side's.

The strong script is put beside those that need fewer gradients than full fine-tuning, which both of them do.
"""
OF_CEILING = {"cpu": {"full_finetune": 0.95}, "cuda": dict.fromkeys(METHODS, 0.9)}
WARMUP = 3
BF16 = ", bf16"


def measure(
    case: Case, methods: Sequence[str], loaders: Sequence[int], rounds: int, seconds: float, work: Path
) -> list[Row]:
    """Images per second of every side, and its ratios; a side that cannot run has only its ``refusal``."""
    makers: dict[str, Callable[[], Side]] = {}
    for count in loaders:
        makers[f"script, {count} loaders"] = partial(Script, f"script, {count} loaders", replace(case, loaders=count))
    makers[STRONG] = partial(Strong, STRONG, case)
    makers["lightning"] = partial(Lightning, replace(case, loaders=max(loaders)))
    for method in methods:
        makers[method] = partial(Trial, method, method, case, work)
    if case.device.type == "cpu" and case.precision == "fp32" and has_bf16_arithmetic():
        half, name = replace(case, precision="bf16"), f"script, {min(loaders)} loaders{BF16}"
        makers[name] = partial(Script, name, replace(half, loaders=min(loaders)))
        makers[STRONG + BF16] = partial(Strong, STRONG + BF16, half)
        for method in methods:
            makers[method + BF16] = partial(Trial, method + BF16, method, half, work)
    sides: list[Side] = []
    memory: dict[str, int | None] = {}
    refusals: dict[str, str] = {}
    for name, make in makers.items():
        try:
            side, memory[name] = _made(make, case.device)
        except (ImportError, ValueError, RequestError, RuntimeError) as error:
            refusals[name] = one_line(f"{type(error).__name__}: {error}")[:300]
            continue
        sides.append(side)
        if isinstance(side, Trial):
            sides.append(Ceiling(side, case.batch))
    counts = {side.name: _steps(side, seconds) for side in sides}
    speeds: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(rounds):
        turn = number % max(1, len(sides))
        for side in (*sides[turn:], *sides[:turn]):
            count = counts[side.name]
            speeds[side.name].append(count * case.batch / side.seconds(count))
    rows = [_row(name, speeds, memory.get(name), case) for name in speeds]
    if case.device.type == "cpu" and scripted(speeds):
        for name in {_method(row["side"]) for row in rows} & {
            method for least in AT_LEAST.values() for method in least
        }:
            forms = [row for row in rows if _method(row["side"]) == name]
            fastest = max(forms, key=lambda row: row["ratios"]["script"])
            for row in forms:
                row["limits"] = row["limits"] if row is fastest else []
    return rows + [{"side": name, "refusal": reason} for name, reason in refusals.items()]


def _made(make: Callable[[], Side], device: torch.device) -> tuple[Side, int | None]:
    """A side after its first steps, and on a GPU the most memory that it added."""
    if device.type != "cuda":
        side = make()
        side.seconds(WARMUP)
        return side, None
    before = torch.cuda.memory_allocated(device)
    side = make()
    side.seconds(WARMUP)
    torch.cuda.reset_peak_memory_stats(device)
    side.seconds(WARMUP)
    return side, torch.cuda.max_memory_allocated(device) - before


def _steps(side: Side, seconds: float) -> int:
    """So many steps take about ``seconds``."""
    return max(1, round(seconds / max(1e-6, side.seconds(WARMUP) / WARMUP)))


def scripted(sides: Iterable[str]) -> list[str]:
    """Those of the sides that are the script as it comes."""
    return [side for side in sides if side.startswith("script") and not side.endswith(BF16)]


def _method(side: str) -> str:
    """The method that a side trains by, whatever its form; empty for one that is no trial."""
    own = side.endswith("(ceiling)") or side.startswith(("script", STRONG, "lightning"))
    return "" if own else side.removesuffix(BF16).removesuffix(COMPILED).partition(":")[0]


def _row(name: str, speeds: dict[str, list[float]], memory: int | None, case: Case) -> Row:
    scripts = scripted(speeds)
    script = max(scripts, key=lambda side: statistics.median(speeds[side])) if scripts else None
    over = {"script": script, STRONG: STRONG, "lightning": "lightning", "ceiling": f"{name} (ceiling)"}
    ratios = {
        what: statistics.median(own / other for own, other in zip(speeds[name], speeds[rival], strict=True))
        for what, rival in over.items()
        if rival in speeds
    }
    limits = []
    method = _method(name)
    for what, wanted in AT_LEAST.items() if case.device.type == "cpu" else ():
        if method in wanted and what in ratios:
            limits.append(_limit(what, ratios[what], wanted[method]))
    least = OF_CEILING[case.device.type].get(method)
    if least is not None and "ceiling" in ratios:
        limits.append(_limit("ceiling", ratios["ceiling"], least))
    return {
        "side": name,
        "images_per_second": statistics.median(speeds[name]),
        "rounds": speeds[name],
        "ratios": ratios,
        "bytes": memory,
        "limits": limits,
    }


def has_bf16_arithmetic() -> bool:
    """Whether this CPU multiplies bfloat16 numbers itself."""
    found = torch.cpu.get_capabilities()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))


def _limit(what: str, value: float, least: float) -> dict[str, Any]:
    return {"what": what, "value": value, "at_least": least, "met": value >= least}


def show(title: str, rows: Sequence[Row]) -> None:
    """Print the measurements."""
    table = Table(
        "side", "images/s", "min – max", "× script", "× strong", "× lightning", "of ceiling", "MB", "at least",
        title=title,
    )  # fmt: skip
    for row in rows:
        if "refusal" in row:
            table.add_row(row["side"], *[""] * 7, row["refusal"])
            continue
        ratios = [
            f"{row['ratios'][what]:.3f}" if what in row["ratios"] else ""
            for what in ("script", STRONG, "lightning", "ceiling")
        ]
        limits = "; ".join(
            f"{one['at_least']:g} × {one['what']}: {'yes' if one['met'] else 'NO'}" for one in row["limits"]
        )
        memory = "" if row["bytes"] is None else f"{row['bytes'] / 1e6:,.0f}"
        spread = f"{min(row['rounds']):,.0f} – {max(row['rounds']):,.0f}"
        table.add_row(row["side"], f"{row['images_per_second']:,.0f}", spread, *ratios, memory, limits)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, record; 1 where a requirement is not met, 2 where the request is wrong."""
    cuda = torch.cuda.is_available()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput", description="Images per second of training."
    )
    parser.add_argument("--backbones", nargs="+", default=["resnet50" if cuda else "resnet18"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[224] if cuda else [28, 64], help="sides in pixels")
    parser.add_argument("--batch", type=int, default=64, help="images a step (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), metavar="M", help="NAME or NAME:KEY=VALUE,…")
    parser.add_argument("--images", type=int, default=1024, help="image files (default: %(default)s)")
    parser.add_argument("--extent", type=int, nargs=2, default=(600, 450), help="of synthetic images: width, height")
    parser.add_argument("--synthetic", action="store_true", help="also where the brain MRI archive is in the data root")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each side (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--loaders", type=int, nargs="+", default=[cores], help="processes of a DataLoader")
    parser.add_argument("--device", default="cuda" if cuda else "cpu", help="default: %(default)s")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16" if cuda else "fp32")
    parser.add_argument("--threads", type=int, default=cores, help="CPU threads (default: %(default)s)")
    parser.add_argument("--add", action="store_true", help="keep what was recorded of other networks and sizes")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "throughput.json")
    options = parser.parse_args(argv)
    command = ["python", "-m", "benchmarks.throughput", *(sys.argv[1:] if argv is None else argv)]
    return run_command(lambda: _measure_all(options, " ".join(command)))


def _measure_all(options: argparse.Namespace, command: str) -> int:
    torch.set_num_threads(options.threads)
    device = usable_device(options.device)
    where = machine(options.threads)
    where["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    synthetic = options.synthetic or not (default_data_root() / ARCHIVE).is_file()
    record = json.loads(options.out.read_text()) if options.add and options.out.exists() else {"cases": []}
    cases, good = list(record["cases"]), True
    with tempfile.TemporaryDirectory(prefix="gpaf-throughput-") as scratch:
        work = Path(scratch)
        sources = lay_out(work, options.images, synthetic, tuple(options.extent))
        for backbone in options.backbones:
            for size in options.sizes:
                case = Case(sources, backbone, size, options.batch, device, options.precision, 0)
                rows = measure(case, options.methods, options.loaders, options.rounds, options.seconds, work)
                title = f"{backbone}, {size} px, batches of {options.batch}, {options.precision}, {sources.what}"
                show(title, rows)
                where = {**where, "load_average_after": os.getloadavg()}
                cases = [one for one in cases if (one["backbone"], one["size"]) != (backbone, size)]
                facts = {"case": title, "backbone": backbone, "size": size, "machine": where, "command": command}
                cases.append({**facts, "rows": rows})
                good = good and all(limit["met"] for row in rows for limit in row.get("limits", []))
    print(json.dumps(where))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    given = {name: value for name, value in vars(options).items() if name != "out"}
    record = {"machine": where, "command": command, "options": given, "cases": cases}
    options.out.write_text(json.dumps(record, indent=2, default=str) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
