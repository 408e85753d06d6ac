"""What one training needs to know, resolved: no names to look up, no files to parse."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict

import torch

from harness.data.decoded import DecodedDataset
from harness.data.split import Split
from harness.dataset import Augmentation, Dataset
from harness.method import Hyperparameters, Method
from harness.metrics.facts import MetricFacts
from harness.metrics.metric import Metric
from harness.metrics.table import facts_with
from harness.networks.normalisation import Normalisation
from harness.run.record_values import Scores
from harness.run.trial_records import ScheduleLine
from harness.search.rungs import RungDecision
from harness.spec.train import TrainSpec

if TYPE_CHECKING:
    from harness.train.evaluations import GivenEvaluation


@dataclass(frozen=True)
class TrialJob:
    """One training: a function of code, data, configuration and seed."""

    stage: Literal["source", "search", "confirm"]
    method: type[Method]
    hyperparameters: Hyperparameters
    backbone: str
    weights: str | Path | None
    dataset: Dataset
    data: DecodedDataset
    split: Split
    train: TrainSpec
    metric: str
    seed: int
    save_model: bool = False
    cache: Path | None = None
    """Folder of the decoded datasets, where features are kept for other trials; None keeps none."""
    study: Path | None = None
    """Folder of the study, where it is recorded whether its steps are compiled (``train.step: measured``)."""
    schedule: Sequence[ScheduleLine] = ()
    """Hyperparameters by epoch (``{"epoch": 0, "hyperparameters": {…}}``, …) where they change on the way."""
    further: Sequence[Metric] = ()
    """Metrics that not every trial computes, computed beside those of every trial."""
    normalisation: Normalisation | None = None
    """Of the images, as the sweep file gives it; None for that of the weights, or of the training images."""
    evaluations: Sequence[GivenEvaluation] = ()
    """What the model is scored on besides its test split; none but of a confirm trial."""
    keep: bool = False
    """Whether what the training changed in the network is kept, so that it can be scored again."""

    @property
    def opens_test(self) -> bool:
        """Only the confirm stage sees the test split."""
        return self.stage == "confirm"

    @cached_property
    def measure(self) -> MetricFacts:
        """What is said of the metric."""
        return facts_with(self.metric, self.further)

    @property
    def sign(self) -> int:
        """1 where a higher metric is better, -1 where a lower one is."""
        return self.measure.sign

    def augmentation(self) -> Augmentation | None:
        """The dataset's augmentation with the sweep file's changes; None when it is switched off."""
        wanted = self.train.augment
        if wanted is False:
            return None
        if wanted is True:
            return self.dataset.augmentation
        changes = wanted if isinstance(wanted, dict) else wanted.model_dump(exclude_none=True)
        known = {entry.name for entry in fields(Augmentation)}
        return replace(self.dataset.augmentation, **{k: v for k, v in changes.items() if k in known})


_NO_MEMORY = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""How torch says on a CPU, and CUDA's libraries on a GPU, that memory ran out."""


class Interrupted(Exception):
    """The trial was asked to stop; its checkpoint is written."""


class OutOfRoom(Exception):
    """Memory ran out on a device that other trials use too; nothing is recorded, the trial stays to be done."""


def out_of_memory(error: BaseException | None) -> BaseException | None:
    """The lack of memory that an error is, or that it came from; None where it is another fault.

    It hides behind others: ending the recording that it broke off, a compiler's, or a library's own words for it.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in _NO_MEMORY):
            return error
        seen.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


class Pruned(Exception):
    """The search has ended the trial at a rung; the decision is recorded."""


class NotFiniteError(Exception):
    """The loss or a metric is not a number, or the trial has no defined score."""


class TrialJudge(Protocol):
    """Decides after an epoch whether a search trial goes on."""

    def __call__(self, epochs: int, step: int, scores: Sequence[float]) -> RungDecision | None:
        """The decision; None where nothing is to be decided.

        Args:
            epochs: of a whole training.
            step: training steps so far.
            scores: validation score after each epoch so far, signed so that higher is better.
        """


class ProgressFacts(TypedDict, total=False):
    """What a trial says of itself: after a step, after an epoch, or when it has computed features."""

    epoch: int
    epochs: int
    step: int
    steps: int
    val: Scores
    features: int
    """Images of which features were computed."""
    seconds: float
    """How long that took."""


@dataclass
class Control:
    """How a running trial is watched and stopped from outside."""

    stop: threading.Event = field(default_factory=threading.Event)
    log: Callable[[str], None] = lambda line: None
    progress: Callable[[ProgressFacts], None] = lambda facts: None
    """Called after each step with ``epoch``, ``epochs``, ``step``, ``steps`` and after each epoch with ``val``."""
    judge: TrialJudge | None = None
    """Decides at the rungs of a search; None trains to the end."""
    shares_device: bool = False
    """Whether a lack of memory may be others' fault: it then raises ``OutOfRoom``."""
    checkpoint_each_epoch: bool = False
    """Whether the checkpoint of an epoch is on the disk before ``judge`` is asked."""
