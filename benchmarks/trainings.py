"""The sides of ``benchmarks.throughput``: a trial's steps, their ceiling, and what one would write or take instead."""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler
from torchvision import models
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.image_sources import Sources
from benchmarks.methods import chosen
from benchmarks.strong_training import Kept, Loop
from harness.data.cache import prepare
from harness.data.split import Split
from harness.networks.backbones import set_training_mode
from harness.networks.normalisation import IMAGENET
from harness.run.trial import TrialFolder
from harness.spec.train import TrainSpec
from harness.train.job import Control, TrialJob
from harness.train.loop import Training

MANY = 1_000_000
"""Epochs of a training that is only timed: its schedule hardly moves."""

COMPILED = "+compiled"
"""End of the name of a method whose network is compiled."""


@dataclass(frozen=True)
class Case:
    """What all sides have in common."""

    sources: Sources
    backbone: str
    size: int
    batch: int
    device: torch.device
    precision: str
    """``fp32`` or ``bf16``."""
    loaders: int
    """Processes of a DataLoader."""


class Side(Protocol):
    """One way to train."""

    name: str

    def seconds(self, steps: int) -> float:
        """Wall seconds of so many further training steps, without a first one.

        That one pays for what another side has left in the processor's caches and in the memory of the process.
        """


class Trial:
    """The training steps of a trial, through the harness's own training path.

    Args:
        name: of the side.
        method: ``METHOD`` or ``METHOD:KEY=VALUE,…``; with ``+compiled`` at its end, its network is compiled.
        work: a folder for what is decoded, and for the trial's own.
    """

    def __init__(self, name: str, method: str, case: Case, work: Path) -> None:
        self.name, self._device = name, case.device
        self.training = Training(
            training_job(method, case, work), TrialFolder(work / "trial", "search"), case.device, Control()
        )
        set_training_mode(self.training.model, self.training.method.batch_norm)
        self._numbers = itertools.count()
        self._batches = self._draw(case.batch)

    def seconds(self, steps: int) -> float:
        """As ``Side`` says."""
        self._train(1)
        wait(self._device)
        started = time.perf_counter()
        self._train(steps)
        wait(self._device)
        return time.perf_counter() - started

    def _train(self, steps: int) -> None:
        for positions, number in itertools.islice(zip(self._batches, self._numbers, strict=False), steps):
            self.training.step(positions, number)

    def _draw(self, batch: int) -> Iterator[Tensor]:
        for epoch in itertools.count():
            order = self.training.data.order(0, epoch)
            yield from torch.split(order[: len(order) // batch * batch], batch)


class Ceiling:
    """The network of a trial, and its method's step, on one batch that never changes; no data, no schedule."""

    def __init__(self, trial: Trial, batch: int) -> None:
        self.name, self._training = f"{trial.name} (ceiling)", trial.training
        self._batch = trial.training.data.plain_batch(trial.training.data.positions["train"][:batch])

    def seconds(self, steps: int) -> float:
        """As ``Side`` says."""
        device = self._training.device
        self._train(1)
        wait(device)
        started = time.perf_counter()
        self._train(steps)
        wait(device)
        return time.perf_counter() - started

    def _train(self, steps: int) -> None:
        for _ in range(steps):
            self._training.method.training_step(self._training.context, *self._batch)


class Script:
    """A training loop as torchvision's reference scripts have it: ImageFolder, transforms, DataLoader, meters.

    Full fine-tuning, or with ``frozen`` the last layer alone.
    """

    def __init__(self, name: str, case: Case, frozen: bool = False) -> None:
        self.name, self._case = name, case
        self._model = network(case, frozen).to(case.device).train()
        trained = [p for p in self._model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(trained, lr=1e-4)
        self._criterion = nn.CrossEntropyLoss()
        self._batches = iter(endless_loader(case))
        self.meters = {"loss": 0.0, "acc1": 0.0}

    def seconds(self, steps: int) -> float:
        """As ``Side`` says; what its DataLoader has in store from an earlier turn is used up first."""
        self._train(2 * self._case.loaders + 1)
        wait(self._case.device)
        started = time.perf_counter()
        self._train(steps)
        wait(self._case.device)
        return time.perf_counter() - started

    def _train(self, steps: int) -> None:
        case = self._case
        half = torch.autocast(case.device.type, torch.bfloat16) if case.precision == "bf16" else nullcontext()
        for images, labels in itertools.islice(self._batches, steps):
            images, labels = images.to(case.device, non_blocking=True), labels.to(case.device, non_blocking=True)
            with half:
                output = self._model(images)
                loss = self._criterion(output, labels)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            correct = (output.argmax(1) == labels).float().mean()
            self.meters["loss"] += loss.item()
            self.meters["acc1"] += correct.item()


class Strong:
    """Full fine-tuning by the loop of ``benchmarks.strong_training``, its images kept on the device."""

    def __init__(self, name: str, case: Case) -> None:
        self.name, self._case = name, case
        kept = Kept.decode(case.sources.folder, 2 * case.size)
        self._kept = Kept(kept.images.to(case.device), kept.labels.to(case.device))
        model = network(case, frozen=False).to(case.device)
        self._loop = Loop(model, lr=1e-4, steps=MANY, half=case.precision == "bf16")
        self._loop.training_mode(norms=True)

    def seconds(self, steps: int) -> float:
        """As ``Side`` says."""
        self._train(1)
        wait(self._case.device)
        started = time.perf_counter()
        self._train(steps)
        wait(self._case.device)
        return time.perf_counter() - started

    def _train(self, steps: int) -> None:
        for _ in range(steps):
            rows = torch.randint(len(self._kept.labels), (self._case.batch,), device=self._case.device)
            self._loop.step(self._kept.cropped(rows, self._case.size), self._kept.labels[rows])


class Lightning:
    """Full fine-tuning by Lightning's Trainer, with the DataLoader of ``Script`` and everything optional off.

    Raises:
        ImportError: Lightning is not installed.
    """

    name = "lightning"

    def __init__(self, case: Case) -> None:
        self._case = case
        self._lightning: Any = importlib.import_module("lightning")
        self._module = _lightning_module(self._lightning, network(case, frozen=False))
        self._loader = endless_loader(case)

    def seconds(self, steps: int) -> float:
        """As ``Side`` says; the start of the Trainer and its first steps are not counted."""
        case, skipped = self._case, 2 * self._case.loaders + 1
        clock = _lightning_clock(self._lightning, case.device, skipped, skipped + steps)
        trainer = self._lightning.Trainer(
            accelerator="gpu" if case.device.type == "cuda" else "cpu",
            devices=1,
            max_steps=skipped + steps,
            precision="bf16-mixed" if case.precision == "bf16" else "32-true",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[clock],
        )
        trainer.fit(self._module, self._loader)
        return float(clock.ended - clock.started)


def _lightning_module(lightning: Any, model: nn.Module) -> Any:
    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model, self.criterion = model, nn.CrossEntropyLoss()

        def training_step(self, batch: Any, index: int) -> Tensor:
            images, labels = batch
            loss: Tensor = self.criterion(self.model(images), labels)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-4)

    return Module()


def _lightning_clock(lightning: Any, device: torch.device, first: int, last: int) -> Any:
    class Clock(lightning.Callback):  # type: ignore[misc]
        started = ended = 0.0

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
            if trainer.global_step in (first, last):
                wait(device)
                if trainer.global_step == first:
                    self.started = time.perf_counter()
                else:
                    self.ended = time.perf_counter()

    return Clock()


def training_job(name: str, case: Case, work: Path) -> TrialJob:
    """A trial of a method on all images of the case, with random weights."""
    cls, hp = chosen(name.removesuffix(COMPILED))
    dataset = case.sources.dataset
    data = prepare(dataset, "benchmark", case.size, work / "decoded", work / "decoded")
    train = TrainSpec.model_validate(
        {
            "epochs": MANY,
            "batch_size": case.batch,
            "image_size": case.size,
            "precision": case.precision,
            # Steps are to be steps of the network, of the linear probe too.
            "features": "each_step",
            "step": "compiled" if name.endswith(COMPILED) else "auto",
        }
    )
    split = Split("random", 0, data.case_ids, (), ())
    return TrialJob("search", cls, hp, case.backbone, None, dataset, data, split, train, "balanced_accuracy", 0)


def network(case: Case, frozen: bool) -> nn.Module:
    """torchvision's network with random weights; ``frozen``: all but its last layer."""
    model: nn.Module = models.get_model(case.backbone, weights=None, num_classes=len(case.sources.dataset.classes))
    if frozen:
        head = list(model.children())[-1]
        model.requires_grad_(False)
        head.requires_grad_(True)
    return model


def endless_loader(case: Case) -> DataLoader[Any]:
    """The reference scripts' presets for training, on image files, in an epoch that does not end."""
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(case.size, antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(IMAGENET.mean), list(IMAGENET.std)),
        ]
    )
    folder = ImageFolder(str(case.sources.folder), transform)
    return DataLoader(
        folder,
        case.batch,
        sampler=RandomSampler(folder, replacement=True, num_samples=MANY * case.batch),
        num_workers=case.loaders,
        pin_memory=case.device.type == "cuda",
        persistent_workers=case.loaders > 0,
    )


def wait(device: torch.device) -> None:
    """Wait for everything that the device was told to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
