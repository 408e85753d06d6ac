"""What a training step of each method costs beside full fine-tuning: ``python -m benchmarks.methods``.

All sides have one network with random weights, one synthetic batch and one precision, and run in turn in this one
process: round by round, in an order that rotates; no side's first step of a turn counts. A ratio is that of two sides
of one round. A step is what a trial does with a batch that lies on the device: forward, backward, optimiser, and
whatever the method adds, with batch norms folded and products in the place of small convolutions as a trial has them;
from the middle of training, so that a method in phases is in its last, and without what it does once an epoch.

time      median seconds a step, and the ratios of the rounds to ``full_finetune``
memory    on a GPU, the peak of allocated memory with this side alone on it. On a CPU, where no such count exists, the
          sum of weights, gradients, optimiser state and the most bytes that autograd holds for backward passes at any
          time: what a step needs at least, without the temporary tensors of single operations
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.overhead import machine
from harness.core.errors import RequestError, one_line, run_command
from harness.launch.pool import worker_environment
from harness.method import Method
from harness.networks.backbones import check_backbone, set_training_mode
from harness.networks.costs import optimizer_bytes
from harness.plugins import discover
from harness.proof.conformance import OneBatch, random_network
from harness.space.parameters import Value, defaults
from harness.spec.space_forms import override
from harness.train.device import usable_device
from harness.train.speed.few_places import use_products
from harness.train.speed.folding import FoldedNorms
from harness.train.step import StepContext, build_optimizer, set_learning_rates

Row = dict[str, Any]

REFERENCE = "full_finetune"
COMPILED = "gpaf:execution=compiled"
FROZEN_PERCENT = 10.0
"""A side that trains less than this share of the backbone counts as one with a frozen backbone."""
LIMITS = {"metalr": (REFERENCE, 2.2), COMPILED: ("bn_affine", 1.25)}
"""Side → whose time a step its own is compared with, and the largest ratio; frozen backbones must be below 1."""
EPOCH, TOTAL = 100, 1000
WARMUP = 3
CLASSES = 4


@cache
def chosen(name: str) -> tuple[type[Method], dict[str, Value]]:
    """The class and the hyperparameters of ``METHOD`` or ``METHOD:KEY=VALUE,KEY=VALUE``.

    Raises:
        RequestError: there is no such method or setting.
    """
    method, _, settings = name.partition(":")
    cls = discover().find(Method, method, "--methods").cls
    given = {}
    for entry in settings.split(",") if settings else ():
        key, equals, value = entry.partition("=")
        if not equals:
            raise RequestError(f"--methods {name}: {entry!r} is no KEY=VALUE")
        given[key] = yaml.safe_load(value)
    return cls, defaults(override(cls.space, given, f"--methods {method}"))


class Side:
    """One method at work.

    Args:
        name: as for ``chosen``.

    Raises:
        ValueError: the method cannot act on this network.
    """

    def __init__(self, name: str, backbone: str, images: Tensor, labels: Tensor, precision: torch.dtype | None) -> None:
        cls, hp = chosen(name)
        self.name, self._method, self._images, self._labels = name, cls(), images, labels
        model = random_network(backbone, images.shape[-1])
        before = sum(p.numel() for p in model.backbone.parameters())
        self._method.adapt(model, hp)
        self.model = model.to(images.device).to(memory_format=torch.channels_last)
        if precision is None:
            use_products(self.model, images[:2])
        self.trained = sum(p.numel() for p in model.backbone.parameters() if p.requires_grad)
        self.percent = 100 * self.trained / before
        batches = OneBatch(images, labels)
        kind, groups = str(hp.get("optimizer", "adamw")), self._method.param_groups(self.model, hp)
        self.context = StepContext(
            model=self.model,
            optimizer=build_optimizer(kind, groups),
            criterion=nn.CrossEntropyLoss(),
            device=images.device,
            precision=precision,
            scaler=None,
            clip_norm=None,
            batches=batches,
            steps_per_epoch=EPOCH,
            total_steps=TOTAL,
            step=TOTAL // 2,
        )
        self._method.prepare(self.model.eval(), (batch for batch, _ in batches.all(len(images))))
        if self._method.batch_norm == "frozen":
            FoldedNorms(self.model.eval(), images[:2])
        set_training_mode(self.model, self._method.batch_norm)

    def step(self) -> None:
        """One training step with a small rate, which keeps random weights in order."""
        set_learning_rates(self.context.optimizer, 1e-3)
        self._method.training_step(self.context, self._images, self._labels)
        self.context.step += 1

    def timed(self, steps: int) -> float:
        """Seconds a step, without a first one, which pays for what another side has left in the processor's caches."""
        self.step()
        _wait(self._images.device)
        started = time.perf_counter()
        for _ in range(steps):
            self.step()
        _wait(self._images.device)
        return (time.perf_counter() - started) / steps


def peak_bytes(side: Side) -> int:
    """Memory of a training step as the module's docstring defines it; the side must have made its first steps."""
    device = side.context.device
    if device.type == "cuda":
        _wait(device)
        torch.cuda.reset_peak_memory_stats(device)
        side.step()
        _wait(device)
        return torch.cuda.max_memory_allocated(device)
    parameters = [*side.model.parameters(), *side.model.buffers()]
    with _saved_bytes({tensor.untyped_storage().data_ptr() for tensor in parameters}) as most:
        side.step()
    gradients = [p for group in side.context.optimizer.param_groups for p in group["params"]]
    return _bytes(parameters) + _bytes(gradients) + optimizer_bytes(side.context.optimizer) + most()


@contextmanager
def _saved_bytes(known: set[int]) -> Iterator[Callable[[], int]]:
    """The most bytes of storage that autograd holds at once, without those of the ``known`` storages."""
    holders, live, most = Counter[int](), 0, 0

    class Saved:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal live, most
            self.tensor = tensor
            storage = tensor.untyped_storage()
            self.key, self.size = storage.data_ptr(), storage.nbytes()
            holders[self.key] += 1
            if holders[self.key] == 1 and self.key not in known:
                live += self.size
                most = max(most, live)

        def __del__(self) -> None:
            nonlocal live
            holders[self.key] -= 1
            if holders[self.key] == 0 and self.key not in known:
                live -= self.size

    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        yield lambda: most


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(
    names: Sequence[str],
    backbone: str,
    size: int,
    batch: int,
    rounds: int,
    steps: int,
    device: torch.device,
    precision: torch.dtype | None,
) -> list[Row]:
    """Time and memory of each side; a side that the network or the machine refuses has only its ``refusal``."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, size, size, generator=generator).to(device, memory_format=torch.channels_last)
    labels = (torch.arange(batch) % CLASSES).to(device)
    refusals: dict[str, str] = {}
    memory: dict[str, int] = {}
    # One side at a time, because a GPU's peak has no owner.
    for name in names:
        try:
            side = Side(name, backbone, images, labels, precision)
            for _ in range(WARMUP):
                side.step()
        except (ValueError, RequestError) as error:
            refusals[name] = one_line(str(error))
            continue
        memory[name] = peak_bytes(side)
        del side
    sides = [Side(name, backbone, images, labels, precision) for name in memory]
    for side in sides:
        side.timed(WARMUP)
    seconds: dict[str, list[float]] = {name: [] for name in memory}
    for number in range(rounds):
        turn = number % max(1, len(sides))
        for side in (*sides[turn:], *sides[:turn]):
            seconds[side.name].append(side.timed(steps))
    rows = [_row(side, seconds, memory) for side in sides]
    return rows + [{"method": name, "refusal": reason} for name, reason in refusals.items()]


def _row(side: Side, seconds: dict[str, list[float]], memory: dict[str, int]) -> Row:
    name = side.name
    rival, limit = LIMITS.get(name, (REFERENCE, None))
    frozen = side.percent < FROZEN_PERCENT
    limits: list[dict[str, Any]] = []
    if limit is not None and rival in seconds:
        limits.append(_limit(f"time / {rival}", statistics.median(_ratios(seconds, name, rival)), limit))
    if frozen and REFERENCE in seconds:
        below = statistics.median(_ratios(seconds, name, REFERENCE))
        limits.append(_limit(f"time / {REFERENCE}", below, 1.0))
        limits.append(_limit(f"memory / {REFERENCE}", memory[name] / memory[REFERENCE], 1.0))
    return {
        "method": name,
        "trained": side.trained,
        "percent": side.percent,
        "seconds": statistics.median(seconds[name]),
        "rounds": seconds[name],
        "time_ratios": _ratios(seconds, name, REFERENCE) if REFERENCE in seconds else None,
        "bytes": memory[name],
        "memory_ratio": memory[name] / memory[REFERENCE] if REFERENCE in memory else None,
        "limits": limits,
    }


def _ratios(seconds: dict[str, list[float]], name: str, rival: str) -> list[float]:
    return [own / other for own, other in zip(seconds[name], seconds[rival], strict=True)]


def _limit(what: str, value: float, limit: float) -> dict[str, Any]:
    return {"what": what, "value": value, "limit": limit, "met": value < limit if limit == 1.0 else value <= limit}


def show(rows: Sequence[Row]) -> None:
    """Print the measurements."""
    table = Table("method", "% trained", "ms a step", "× time (min – max)", "MB", "× memory", "limits")
    for row in rows:
        if "refusal" in row:
            table.add_row(row["method"], "", "", "", "", "", row["refusal"])
            continue
        ratios = row["time_ratios"]
        times = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} – {max(ratios):.3f})" if ratios else ""
        memory = f"{row['memory_ratio']:.3f}" if row["memory_ratio"] is not None else ""
        limits = "; ".join(
            f"{one['what']} {one['value']:.3f}, at most {one['limit']:g}: {'yes' if one['met'] else 'NO'}"
            for one in row["limits"]
        )
        numbers = (f"{row['percent']:.3f}", f"{1000 * row['seconds']:.2f}", times, f"{row['bytes'] / 1e6:,.1f}", memory)
        table.add_row(row["method"], *numbers, limits)
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, record; 1 where a limit is not met, 2 where the request is wrong."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description="What a step of a method costs.")
    parser.add_argument("--backbone", default="resnet50" if cuda else "resnet18", help="default: %(default)s")
    parser.add_argument("--size", type=int, default=224 if cuda else 96, help="side in pixels (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=64 if cuda else 32, help="images a step (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each side (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10 if cuda else 2, help="steps of each (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", metavar="M", help="NAME or NAME:KEY=VALUE,… (default: every method)")
    parser.add_argument("--device", default="cuda" if cuda else "cpu", help="default: %(default)s")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16" if cuda else "fp32")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "methods.json")
    options = parser.parse_args(argv)
    command = ["python", "-m", "benchmarks.methods", *(sys.argv[1:] if argv is None else argv)]
    return run_command(lambda: _measure_all(options, " ".join(command)))


def _measure_all(options: argparse.Namespace, command: str) -> int:
    torch.set_num_threads(options.threads)
    device = usable_device(options.device)
    names = list(dict.fromkeys(options.methods or [*sorted(discover().all(Method)), COMPILED]))
    for name in names:
        chosen(name)
    check_backbone(options.backbone, None)
    where = machine(options.threads)
    where["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    precision = torch.bfloat16 if options.precision == "bf16" else None
    sizes = (options.backbone, options.size, options.batch, options.rounds, options.steps)
    rows = measure(names, *sizes, device, precision)
    where["load_average_after"] = os.getloadavg()
    show(rows)
    print(json.dumps(where))
    case = {key: getattr(options, key) for key in ("backbone", "size", "batch", "rounds", "steps", "precision")}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    record = {"machine": where, "command": command, "case": case, "rows": rows}
    options.out.write_text(json.dumps(record, indent=2) + "\n")
    return 0 if all(limit["met"] for row in rows for limit in row.get("limits", [])) else 1


def _keep_memory() -> None:
    """Begin again with a worker's settings of the C library's memory, which it reads when a process starts."""
    missing = {name: value for name, value in worker_environment(1).items() if name.startswith("MALLOC_")}
    if not missing.keys() <= os.environ.keys():
        os.execve(sys.executable, [*sys.orig_argv], {**missing, **os.environ})  # noqa: S606  (a list of words)


if __name__ == "__main__":
    _keep_memory()
    sys.exit(main())
