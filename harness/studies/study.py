"""What a sweep consists of: studies, each of a method on a dataset, and backbones that are trained first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from harness.core.identity import trial_identity
from harness.core.origin import GroupState, group_state
from harness.data.decoded import DecodedDataset
from harness.data.leaks import Leaks
from harness.data.split import Split
from harness.dataset import Dataset
from harness.method import Method
from harness.metrics.facts import MetricFacts
from harness.metrics.metric import Metric
from harness.metrics.table import built_in, facts_with
from harness.plugins import Plugin
from harness.run.records import (
    StudyIdentity,
    StudyMetricsPart,
    StudyPriorPart,
    StudyRecord,
)
from harness.run.study_folder import StudyFolder
from harness.run.trial import TrialFolder
from harness.run.trial_records import ScheduleLine
from harness.search import Asked, Sampler
from harness.search.warm_start import Prior
from harness.space.parameters import Parameter, Value, to_json
from harness.spec.search import SearchSpec
from harness.spec.sections import TrainSpec
from harness.studies.progress import StudyDesign

Schedule: TypeAlias = Sequence[ScheduleLine]
"""Hyperparameters by epoch, ``{"epoch": 0, "hyperparameters": {…}, "from": {…}}``, …; empty where none changes."""

PROTOCOL = 7
"""Raised whenever the harness itself would train or evaluate differently; older results are then stale."""


@dataclass(frozen=True)
class Roots:
    """Where raw archives and decoded arrays lie on this machine."""

    data: Path
    cache: Path


@dataclass(frozen=True)
class PreparedDataset:
    """A decoded dataset with its split."""

    label: str
    dataset: Dataset
    data: DecodedDataset
    split: Split
    leaks: Leaks
    cache: Path
    """Folder in which it is, with what else is computed once for all trials."""

    @property
    def groups(self) -> GroupState:
        """What is known of which images show one patient or lesion."""
        return group_state(self.dataset.groups, self.data.records["group"])

    def identity(self) -> dict[str, object]:
        """All that a dataset can change in a trial: content, sides, augmentation, order of classes."""
        return {
            "name": self.dataset.name,
            "fingerprint": self.data.fingerprint,
            "split": self.split.digest,
            "augmentation": asdict(self.dataset.augmentation),
            "ordinal": self.dataset.ordinal,
        }


@dataclass(frozen=True)
class Source:
    """A backbone that is trained here first, on another dataset."""

    method: type[Method]
    hyperparameters: dict[str, Value]
    backbone: str
    dataset: PreparedDataset
    train: TrainSpec
    metric: str
    seed: int
    identity: str
    folder: TrialFolder
    further: tuple[Metric, ...] = ()
    """Metrics that are not built in."""


@dataclass(frozen=True)
class Study:
    """The search of one method on one dataset, and its confirmation."""

    label: str
    method: Plugin[Method]
    space: dict[str, Parameter]
    backbone: str
    weights: str | None
    """Name of a weights enum member or path of a file; None for random weights or those of ``source``."""
    source: Source | None
    dataset: PreparedDataset
    train: TrainSpec
    search: SearchSpec
    sampler: Plugin[Sampler]
    """Gives the slots their configurations."""
    slots: int
    confirm_seeds: tuple[int, ...]
    repeat: bool
    """Whether the training of the first confirm seed is run a second time."""
    identity: StudyIdentity
    folder: StudyFolder
    prior: Prior | None = None
    """What an earlier run had found, where the search begins from that."""
    further: tuple[Metric, ...] = ()
    """Metrics that are not built in."""

    @property
    def measure(self) -> MetricFacts:
        """What is said of the metric that the search goes by."""
        return facts_with(self.search.metric, self.further)

    @property
    def name(self) -> str:
        """``METHOD@DATASET``."""
        return self.folder.name

    @property
    def reevaluations(self) -> int:
        """How many of the best slots are trained once more before one is chosen, if as many have a score."""
        return 0 if self.search.further_seed is None else min(self.search.top, self.slots)

    @property
    def design(self) -> StudyDesign:
        """The trials that it asks for; ``StudyDesign.recorded`` of its description is the same."""
        return StudyDesign(
            slots=self.slots,
            seeds=tuple(self.search.seeds),
            first_alone=self.search.pruner != "none",
            metric=self.search.metric,
            choose=self.search.choose,
            reevaluations=self.reevaluations,
            further_seed=self.search.further_seed,
            confirm_seeds=self.confirm_seeds,
            repeat=self.repeat,
            own_sign=None if self.search.metric in built_in() else self.measure.sign,
        )

    def engine(self) -> Sampler:
        """A new sampler of this study's slots."""
        return self.sampler.cls(self.space, self.search, self.name, self.known_before)

    @property
    def known_before(self) -> Sequence[Asked]:
        """Slots of an earlier run that the sampler knows from the beginning."""
        return () if self.prior is None else self.prior.observations

    def trial_identity(
        self, stage: str, hyperparameters: Mapping[str, Value], seed: int, schedule: Schedule = ()
    ) -> str:
        """Hash of everything that determines the result of one trial."""
        return trial_identity(self.identity, stage, hyperparameters, seed, schedule)

    def description(self) -> StudyRecord:
        """The content of ``study.json``."""
        weights: Any = self.weights if self.source is None else {"source": self.source.identity}
        metrics: StudyMetricsPart = (
            {"metrics": [metric.facts().to_json() for metric in self.further]} if self.further else {}
        )
        prior: StudyPriorPart = {} if self.prior is None else {"prior": self.prior.facts()}
        return {
            "label": self.label,
            "method": self.method.name,
            "summary": self.method.summary,
            "dataset": self.dataset.label,
            "dataset_name": self.dataset.dataset.name,
            "source": self.dataset.dataset.source,
            "groups": self.dataset.groups,
            "split_kind": self.dataset.split.kind,
            "space": to_json(self.space),
            "backbone": {"name": self.backbone, "weights": weights},
            "search_slots": self.slots,
            "search_seeds": list(self.search.seeds),
            "choose": self.search.choose,
            "reevaluation": {"slots": self.reevaluations, "seed": self.search.further_seed},
            "confirm_seeds": list(self.confirm_seeds),
            **prior,
            **metrics,
            "identity": self.identity,
        }
