"""Whether trainings come out the same that must: ``python -m benchmarks.exact --device cuda``.

For each case, on deterministic kernels: a training that is interrupted and resumed against an undisturbed one, and a
second device of the same kind against the first, both exactly; a recorded step (CUDA graph) against an eager one, to
rounding. Exits with 1 where something differs, or where a recording that must work did not. Needs no network.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, run_command
from harness.data.cache import prepare
from harness.data.split import make_split
from harness.dataset import Dataset
from harness.method import Method
from harness.plugins import discover
from harness.run.trial import TrialFolder
from harness.run.trial_records import CurveLine
from harness.space.parameters import Value, defaults
from harness.spec.train import TrainSpec
from harness.train import determinism
from harness.train.checkpoint import changing_tensors, snapshot
from harness.train.device import usable_device
from harness.train.job import Control, Interrupted, ProgressFacts, TrialJob
from harness.train.loop import Training

CASES: tuple[tuple[str, dict[str, Value]], ...] = (
    ("full_finetune", {}),
    ("full_finetune", {"optimizer": "sgd", "lr": 0.01}),
    ("bn_affine", {}),
    ("lora_c", {}),
    ("gpaf", {}),
    ("metalr", {}),
)
EPOCHS = 3
STEPS_AT_A_TIME = 5
"""After so many steps a training is interrupted: before and after a step is recorded."""
ROUNDING = 1e-2
"""Of a tensor's norm, so much may a recorded training differ from an eager one: the optimiser computes otherwise."""


@dataclass(frozen=True)
class Ended:
    """What a training came to."""

    curve: list[CurveLine]
    tensors: dict[str, Tensor]
    recorded: bool
    """Whether its steps were replayed in the end."""


@dataclass(frozen=True)
class Comparison:
    """Two trainings that must come out the same."""

    case: str
    what: str
    status: Literal["same", "different", "not compared"]
    detail: str = ""


def differences(first: Ended, second: Ended, rounding: float = 0.0) -> list[str]:
    """In what two trainings differ, a line each.

    Args:
        rounding: share of a tensor's norm, and of a loss, by which they may differ; 0 compares bits.
    """
    found = []
    losses = [[line["train_loss"] for line in one.curve] for one in (first, second)]
    if len(losses[0]) != len(losses[1]):
        return [f"{len(losses[0])} epochs, not {len(losses[1])}"]
    if rounding == 0.0 and first.curve != second.curve:
        epoch = next(n for n, pair in enumerate(zip(first.curve, second.curve, strict=True)) if pair[0] != pair[1])
        found.append(f"the curve, from epoch {epoch}: loss {losses[0][epoch]!r}, not {losses[1][epoch]!r}")
    found += [
        f"the loss of epoch {epoch}: {one:.6g}, not {other:.6g}"
        for epoch, (one, other) in enumerate(zip(*losses, strict=True))
        if rounding > 0.0 and not abs(one - other) <= rounding * abs(other)
    ]
    if first.tensors.keys() != second.tensors.keys():
        return [*found, "the names of the tensors"]
    wrong = [name for name, one in first.tensors.items() if not _same(one, second.tensors[name], rounding)]
    if wrong:
        found.append(f"{len(wrong)} of {len(first.tensors)} tensors, the first is {wrong[0]}")
    return found


def _same(one: Tensor, other: Tensor, rounding: float) -> bool:
    if rounding == 0.0 or not one.is_floating_point():
        return torch.equal(one, other)
    return bool((one.double() - other.double()).norm() <= rounding * other.double().norm() + 1e-4)


class Trainings:
    """Trainings on three of scikit-learn's digits.

    Args:
        folder: an empty one, for what they write.
        size: side of the images, in pixels.
        epochs: of each.
    """

    def __init__(self, folder: Path, size: int, epochs: int) -> None:
        self._folder, self._size, self._epochs, self._count = folder, size, epochs, 0
        self._catalogue = discover()
        plugin = self._catalogue.find(Dataset, "digits", "benchmarks.exact")
        self._dataset = plugin.cls(plugin.cls.Options.model_validate({"classes": [7, 8, 9]}))
        self._data = prepare(self._dataset, plugin.code, size, folder / "cache", folder / "cache")
        self._split = make_split(self._data, "grouped", 0)

    def run(
        self, method: str, hp: dict[str, Value], device: torch.device, step: str = "auto", at_a_time: int | None = None
    ) -> Ended:
        """Train to the end.

        Args:
            step: ``train.step``.
            at_a_time: interrupt it after so many steps, and resume it, again and again; None disturbs nothing.
        """
        cls = self._catalogue.find(Method, method, "benchmarks.exact").cls
        train = TrainSpec.model_validate(
            {"epochs": self._epochs, "batch_size": 32, "image_size": self._size, "precision": "fp32", "step": step}
        )
        job = TrialJob(
            "search", cls, {**defaults(cls.space), **hp}, "resnet20", None, self._dataset, self._data, self._split,
            train, "balanced_accuracy", 5,
        )  # fmt: skip
        self._count += 1
        folder = TrialFolder(self._folder / f"{self._count:03d}", "search")
        folder.create()
        with determinism.kernels(device, deterministic=True):
            while True:
                control = _stopping_after(at_a_time)
                training = Training(job, folder, device, control)
                try:
                    progress = training.run()
                except Interrupted:
                    continue
                recorded = training.graph is not None and training.graph.recorded
                return Ended(progress.curve, snapshot(changing_tensors(training.model)), recorded)


def _stopping_after(steps: int | None) -> Control:
    control, count = Control(), 0

    def watch(facts: ProgressFacts) -> None:
        nonlocal count
        count += "steps" in facts
        if steps is not None and count >= steps:
            control.stop.set()

    control.progress = watch
    return control


def compare(trainings: Trainings, method: str, hp: dict[str, Value], device: str) -> Iterator[Comparison]:
    """All comparisons of one method."""
    case = f"{method} {' '.join(f'{key}={value}' for key, value in hp.items())}".strip()
    first = usable_device(device)
    undisturbed = trainings.run(method, hp, first)
    yield _judged(case, "resumed", trainings.run(method, hp, first, at_a_time=STEPS_AT_A_TIME), undisturbed)
    second = _second(first)
    if second is None:
        yield Comparison(case, "second device", "not compared", "there is no second one of this kind")
    else:
        try:
            yield _judged(case, "second device", trainings.run(method, hp, usable_device(second)), undisturbed)
        finally:
            usable_device(device)
    if first.type != "cuda":
        yield Comparison(case, "recorded", "not compared", "a CPU records no steps")
    elif undisturbed.recorded:
        yield _judged(case, "recorded", undisturbed, trainings.run(method, hp, first, step="plain"), ROUNDING)
    elif method == "metalr" or hp.get("optimizer") == "sgd":
        yield Comparison(case, "recorded", "not compared", "its steps are not recorded")
    else:
        yield Comparison(case, "recorded", "different", "its steps should have been recorded, and were not")


def _judged(case: str, what: str, one: Ended, other: Ended, rounding: float = 0.0) -> Comparison:
    found = differences(one, other, rounding)
    return Comparison(case, what, "different" if found else "same", "; ".join(found))


def _second(first: torch.device) -> str | None:
    """Another device of the same kind, if there is one."""
    if first.type != "cuda":
        return None
    own = torch.cuda.get_device_name(first)
    others = [index for index in range(torch.cuda.device_count()) if index != first.index]
    return next((f"cuda:{index}" for index in others if torch.cuda.get_device_name(index) == own), None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print each comparison; 1 where one differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exact", description=(__doc__ or "").partition("\n")[0])
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if cuda else "cpu", help="default: %(default)s")
    parser.add_argument("--size", type=int, default=32, help="side of the images, in pixels (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of each training (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", help="these alone (default: all cases)")
    parser.add_argument("--out", type=Path, help="a JSON file for what was found")
    options = parser.parse_args(arguments)

    def run() -> int:
        device = usable_device(options.device)
        cases = [case for case in CASES if options.methods is None or case[0] in options.methods]
        made: list[Comparison] = []
        with tempfile.TemporaryDirectory(prefix="exact-") as folder:
            trainings = Trainings(Path(folder), options.size, options.epochs)
            for method, hp in cases:
                for one in compare(trainings, method, hp, options.device):
                    made.append(one)
                    detail = f": {one.detail}" if one.detail else ""
                    print(f"{one.case}, {one.what}: {one.status}{detail}", flush=True)
        different = [one for one in made if one.status == "different"]
        print(f"{len(made)} comparisons, {len(different)} different")
        if options.out is not None:
            name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
            facts = {"device": name, "torch": torch.__version__, "comparisons": [vars(one) for one in made]}
            options.out.write_text(json.dumps(facts, indent=2) + "\n")
        return EXIT_SOME_FAILED if different else EXIT_DONE

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
