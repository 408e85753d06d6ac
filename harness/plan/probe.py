"""Measuring the parts of a trial: a miniature of it runs through the same code as a real one.

The miniature has the real network, method, configuration and batch size, two epochs of a few steps, and one batch of
validation images. Test images are never touched: where a confirm trial evaluates the test side, the miniature evaluates
other validation images. ``python -m harness.plan.probe`` does this for a plan, in processes of its own, as many at a
time as there will be workers on this machine.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.seeds import derive_seed
from harness.data.split import indices
from harness.method import Method
from harness.networks.backbones import Model, build_model, save_model
from harness.plan.parts import Answer, Parts, Refusal
from harness.plan.shapes import few, shape_of, source_name
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder
from harness.run.trial_records import TrialRequest
from harness.studies.jobs import source_job
from harness.studies.planner import Planner
from harness.studies.study import PreparedDataset, Roots, Source, Study
from harness.train.evaluations import making_seconds
from harness.train.job import Control, ProgressFacts, TrialJob
from harness.train.loop import PREPARE_BATCHES
from harness.train.network import build_network
from harness.train.run import run_trial

SECONDS = 2.0
"""About how long the steps of one epoch of a miniature are to take."""
FEWEST_STEPS, MOST_STEPS = 4, 60
MADE_IMAGES = 8
"""Of each set of an evaluation, so many images are made to see how long that takes."""


@dataclass
class _Stopwatch:
    """Times of a miniature, as its callbacks see them."""

    device: torch.device
    checkpoint: Path
    steps_per_epoch: int
    marks: list[tuple[str, float]]
    checkpoint_bytes: int = 0
    waited: float = 0.0
    features: float = 0.0
    """Seconds in which features were computed that later trials find."""
    described: int = 0
    """Images that they are of."""

    def progress(self, facts: ProgressFacts) -> None:
        """Called after each step and each epoch, and when features were computed."""
        if "features" in facts:
            # As if they had been there: what was noted so far moves by as much.
            self.marks[:] = [(name, when + facts["seconds"]) for name, when in self.marks]
            self.features += facts["seconds"]
            self.described += facts["features"]
            return
        place = (facts["step"] - 1) % self.steps_per_epoch if "step" in facts else -1
        if place not in (-1, 0, self.steps_per_epoch - 1):
            return
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.marks.append(("epoch" if place == -1 else "first" if place == 0 else "last", time.perf_counter()))
        if place == -1 and facts["epoch"] == 2:
            began = time.perf_counter()
            while time.perf_counter() < began + 2.0 and not self.checkpoint.exists():
                time.sleep(0.005)
            self.checkpoint_bytes = self.checkpoint.stat().st_size if self.checkpoint.exists() else 0
            self.waited += time.perf_counter() - began


def watched(method: type[Method], seen: dict[str, float]) -> type[Method]:
    """The same method, that notes in ``seen`` how long it prepares, fits and finishes."""

    class Watched(method):  # type: ignore[valid-type,misc]
        __doc__ = method.__doc__

        def prepare(self, model: Model, batches: Iterator[torch.Tensor]) -> None:
            taken = 0

            def counted() -> Iterator[torch.Tensor]:
                nonlocal taken
                for batch in batches:
                    taken += 1
                    yield batch

            began = time.perf_counter()
            super().prepare(model, counted())
            seen["prepare"], seen["batches"] = time.perf_counter() - began, float(taken)

        def fit(self, context: Any) -> bool:
            if context.features is not None:
                context.features()
            began = time.perf_counter()
            fitted = bool(super().fit(context))
            if fitted:
                # No step and no epoch is reported then, so that one batch shows what evaluating a case takes.
                between = time.perf_counter()
                images, _ = context.batches.first(64)
                with torch.inference_mode():
                    context.forward(images if context.features is None else context.features()[0][:64]).cpu()
                seen["fit"], seen["extra"] = between - began, time.perf_counter() - between
                seen["case"] = seen["extra"] / len(images)
            return fitted

    if method.finish is not Method.finish:

        def finish(self: Method, model: Model, score: Callable[[], float]) -> None:
            began = time.perf_counter()
            method.finish(self, model, score)
            seen["finish"] = time.perf_counter() - began

        Watched.finish = finish
    return Watched


class Prober:
    """Measures trials of one sweep on one device.

    Args:
        studies: of the sweep.
        device: where they run.
        folder: an empty folder for what the miniatures write.
    """

    def __init__(self, studies: list[Study], device: torch.device, folder: Path) -> None:
        self._studies = {study.name: study for study in studies}
        self._sources = {source_name(study.source): study.source for study in studies if study.source is not None}
        self._device, self._folder = device, folder
        self._steps: dict[str, int] = {}
        self._weights: dict[str, Path] = {}
        self._made: dict[str, float] = {}
        self._count = 0
        self._warm = False

    def measure(self, name: str, configuration: int) -> Answer | Refusal:
        """Measure one configuration of a study: that of one of its first slots.

        Returns:
            ``parts`` (each as ``Parts`` takes it), ``running``, ``warm_up``, ``peak_bytes``, ``checkpoint_bytes``,
            ``kept_bytes``, ``epoch_bytes``, ``result_bytes``; or ``failed``, why it could not be measured.
        """
        job, dataset = self._job(name, configuration)
        warm_up = 0.0
        if name not in self._steps:
            self._steps[name] = FEWEST_STEPS
            first = self._miniature(job, dataset, FEWEST_STEPS)
            if "failed" in first:
                return first
            step = first["parts"][-1]["step"]
            self._steps[name] = max(FEWEST_STEPS, min(MOST_STEPS, round(SECONDS / step) if step > 0 else MOST_STEPS))
            warm_up, self._warm = 0.0 if self._warm else first["parts"][0]["start"], True
        measured = self._miniature(job, dataset, self._steps[name])
        if "failed" not in measured:
            measured["warm_up"] = max(0.0, warm_up - measured["parts"][0]["start"])
        return measured

    def _job(self, name: str, configuration: int) -> tuple[TrialJob, PreparedDataset]:
        source = self._sources.get(name)
        if source is not None:
            return replace(source_job(source), save_model=False, cache=None), source.dataset
        study = self._studies[name]
        hp = study.sampler.cls(study.space, study.search, study.name).propose(configuration, [])
        weights: str | Path | None = study.weights if study.source is None else self._random(study.source)
        job = TrialJob(
            "confirm", study.method.cls, hp, study.backbone, weights, study.dataset.dataset, study.dataset.data,
            study.dataset.split, study.train, study.search.metric, derive_seed("probe", configuration) % 2**31,
            further=study.further, normalisation=study.normalisation, keep=study.keep != "none",
        )  # fmt: skip
        return job, study.dataset

    def _making(self, job: TrialJob, dataset: PreparedDataset) -> float:
        """Seconds to make an image of the evaluations, of validation images; measured once a dataset.

        Other datasets are left alone: their images are read like those of this one.
        """
        if dataset.label not in self._made:
            own = [one.given(job.split) for one in dataset.evaluations if not one.external]
            network = build_network(job, job.method(), job.hyperparameters, self._device) if own else None
            self._made[dataset.label] = 0.0 if network is None else making_seconds(job, own, *network, MADE_IMAGES)
        return self._made[dataset.label]

    def _random(self, source: Source) -> Path:
        """A file of random weights in the place of a backbone that is not trained yet: it takes as long to load."""
        if source.identity not in self._weights:
            path = self._folder / f"{source.identity}.safetensors"
            model, _ = build_model(source.backbone, None, classes=2, seed=0)
            save_model(model, path, {"backbone": source.backbone})
            self._weights[source.identity] = path
        return self._weights[source.identity]

    def _miniature(self, job: TrialJob, dataset: PreparedDataset, steps: int) -> Answer | Refusal:
        train, val, _ = indices(dataset.split, dataset.data)
        fraction = job.method().meta_fraction(job.hyperparameters)
        images = min(len(train), int(steps * job.train.batch_size / (1 - fraction)) + job.train.batch_size)
        some = few(val, dataset, min(job.train.eval_batch_size, len(val) // 2))
        other = few(np.setdiff1d(val, some), dataset, len(some))
        ids = [
            tuple(sorted(dataset.data.case_ids[row] for row in rows))
            for rows in (few(train, dataset, images), some, other)
        ]
        split = replace(dataset.split, train=ids[0], val=ids[1], test=ids[2], in_distribution=())
        short = job.train.model_copy(update={"epochs": 2, "patience": None})
        seen: dict[str, float] = {}
        mini = replace(job, split=split, train=short, method=watched(job.method, seen))
        own = replace(dataset, split=split)
        per_epoch = shape_of(own, short, job.method, job.hyperparameters).steps // 2
        self._count += 1
        folder = TrialFolder(self._folder / f"{self._count:04d}", mini.stage)
        folder.create()
        watch = _Stopwatch(self._device, folder.checkpoint_path, per_epoch, [])
        request: TrialRequest = {
            "stage": mini.stage,
            "slot": 0,
            "seed": mini.seed,
            "hyperparameters": dict(mini.hyperparameters),
            "conditioned_on": [],
            "threads": torch.get_num_threads(),
            "identity": "0" * 64,
        }
        folder.write_request(request)
        began, before = time.perf_counter(), processor_time()
        result = run_trial(mini, request, folder, self._device, Control(progress=watch.progress))
        total = time.perf_counter() - began - watch.waited - watch.features
        ran, waited = (now - then for now, then in zip(processor_time(), before, strict=True))
        if result["status"] != "done":
            return {"failed": f"{result['cause']}: {result['message']}"}
        making = self._making(mini, dataset)
        size = sum(path.stat().st_size for path in folder.path.iterdir() if path.suffix == ".json")
        counts = (per_epoch, len(some), len(split.train), len(train))
        return {
            "parts": [
                asdict(replace(parts, feature=watch.features / max(1, watch.described), making=making))
                for parts in _parts(watch.marks, seen, total, job, counts)
            ],
            "running": ran / (ran + max(0.0, waited)) if ran > 0 else 1.0,
            "warm_up": 0.0,
            "peak_bytes": result["memory"]["peak_bytes"],
            "checkpoint_bytes": watch.checkpoint_bytes,
            "kept_bytes": folder.trained_path.stat().st_size if job.keep else 0,
            "epoch_bytes": folder.curve_path.stat().st_size / max(1, len(folder.curve())),
            "result_bytes": size,
        }


def processor_time() -> tuple[float, float]:
    """Seconds that this process's threads had a processor, and seconds that they could have used one that others had.

    The latter is 0 where the system does not count it.
    """
    ran = waited = 0
    for path in Path("/proc/self/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError):  # a thread that has just ended
            run, wait, _ = map(int, path.read_text().split())
            ran, waited = ran + run, waited + wait
    return (ran / 1e9, waited / 1e9) if ran else (time.process_time(), 0.0)


def _parts(
    marks: list[tuple[str, float]],
    seen: Mapping[str, float],
    total: float,
    job: TrialJob,
    counts: tuple[int, int, int, int],
) -> list[Parts]:
    """The parts of a miniature that took ``total`` seconds, one entry an epoch.

    Args:
        marks: end of the first and last step of each epoch, and of each epoch.
        seen: as ``watched`` notes it.
        total: seconds.
        job: the real one.
        counts: steps an epoch, evaluated cases and training images of the miniature; training images of a real trial.
    """
    per_epoch, cases, images, train = counts
    sides = 2 if job.opens_test else 1
    batches = min(PREPARE_BATCHES, math.ceil(train / job.train.eval_batch_size))
    prepare, finish = seen.get("prepare", 0.0), seen.get("finish", 0.0)
    more = prepare * (batches / seen["batches"] - 1) if seen.get("batches") else 0.0
    if "fit" in seen:
        case = seen["case"]
        start = total - seen["fit"] - seen["extra"] - sides * cases * case - finish + more
        return [Parts(start=max(0.0, start), case=case, finish=finish / cases, fit=seen["fit"] / images)]
    times = [[when for name, when in marks if name == wanted] for wanted in ("first", "last", "epoch")]
    first, last, end = times if times[1] else [times[0], times[0], times[2]]
    steps = [(last[e] - first[e]) / max(1, per_epoch - 1) for e in (0, 1)]
    evaluations = [end[e] - last[e] for e in (0, 1)]
    step, evaluation = sum(steps) / 2, sum(evaluations) / 2
    epoch = max(0.0, first[1] - end[0] - step)
    start = total - 2 * per_epoch * step - (1 + sides) * evaluation - epoch - finish + more
    return [
        Parts(start=max(0.0, start), step=steps[e], epoch=epoch, case=evaluations[e] / cases, finish=finish / cases)
        for e in (0, 1)
    ]


def main() -> int:
    """Measure what is asked for on standard input, an answer a line; ended by the end of the input."""
    from harness.core.visible_gpus import take_device
    from harness.plugins import discover
    from harness.spec.sections import SweepSpec
    from harness.train.device import usable_device

    # Ended together with the plan, it still leaves nothing behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asked = json.loads(sys.stdin.readline())
    torch.set_num_threads(asked["threads"])
    spec = SweepSpec.model_validate(asked["spec"])
    roots = Roots(Path(asked["data"]), Path(asked["cache"]))
    with tempfile.TemporaryDirectory(prefix="probe-", dir=asked["folder"]) as folder:
        run = RunDirectory(Path(folder) / "run")
        studies = Planner(spec, discover([Path(place) for place in spec.plugins]), run, roots).studies()
        prober = Prober(studies, usable_device(take_device(asked["device"])), Path(folder))
        for line in sys.stdin:
            task = json.loads(line)
            print(json.dumps(prober.measure(task["study"], task["configuration"])), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
