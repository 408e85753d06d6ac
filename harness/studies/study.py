"""What a sweep consists of: studies, each of a method on a dataset, and backbones that are trained first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from harness.core.identity import trial_identity
from harness.core.origin import GroupState, group_state
from harness.core.replicates import Replicate
from harness.data.cache import default_cache_root, default_data_root
from harness.data.decoded import DecodedDataset
from harness.data.leaks import Leaks
from harness.data.split import Split
from harness.dataset import Dataset
from harness.method import Method
from harness.metrics.facts import MetricFacts
from harness.metrics.metric import Metric
from harness.metrics.table import facts_with, standard
from harness.networks.normalisation import Normalisation
from harness.plugins import Plugin
from harness.run.record_values import Stage
from harness.run.study_folder import StudyFolder
from harness.run.study_records import (
    ReplicateRecord,
    StudyIdentity,
    StudyMetricsPart,
    StudyPriorPart,
    StudyRecord,
    StudyReplicatesPart,
    StudyTaskPart,
)
from harness.run.trial import TrialFolder
from harness.run.trial_records import ScheduleLine, TrialRequest
from harness.search import Asked, Sampler
from harness.search.warm_start import Prior
from harness.space.parameters import Parameter, Value, to_json
from harness.spec.search import SearchSpec
from harness.spec.tasks import TaskSpec
from harness.spec.train import TrainSpec
from harness.studies.progress import StudyDesign

if TYPE_CHECKING:
    from harness.studies.evaluations import PlannedEvaluation

Schedule: TypeAlias = Sequence[ScheduleLine]
"""Hyperparameters by epoch, ``{"epoch": 0, "hyperparameters": {…}, "from": {…}}``, …; empty where none changes."""

PROTOCOL = 8
"""Raised whenever the harness itself would train or evaluate differently; older results are then stale."""


@dataclass(frozen=True)
class Roots:
    """Where raw archives and decoded arrays lie on this machine."""

    data: Path
    cache: Path

    @classmethod
    def here(cls, data: Path | None) -> Roots:
        """Absolute, for a command.

        Args:
            data: folder of the raw archives as the user gives it; None for the usual one.
        """
        return cls((data or default_data_root()).absolute(), default_cache_root().absolute())


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
    others: Mapping[int, Split] = field(default_factory=dict)
    """The splits that replicates draw, by what tells them apart (``harness.core.replicates``); empty where all share
    ``split``."""
    overlap: float = 0.0
    """Test images for each training image of a split, before any are left out; 0 where all share one."""
    evaluations: tuple[PlannedEvaluation, ...] = ()
    """What confirmed models are scored on besides their test split. No part of any identity: training never sees it."""

    def split_of(self, split: int | None) -> Split:
        """The split of a replicate.

        Raises:
            KeyError: there is none of that name.
        """
        return self.split if split is None else self.others[split]

    @property
    def splits(self) -> list[Split]:
        """All splits that confirmed models are trained and tested on."""
        return [*self.others.values()] or [self.split]

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
    """Metrics that not every trial computes."""


@dataclass(frozen=True)
class Study:
    """The search of one method on one dataset, and its confirmation."""

    label: str
    method: Plugin[Method]
    space: dict[str, Parameter]
    backbone: str
    weights: str | None
    """Name of published weights, path of a file or ``hf-hub:ORG/NAME``; None for random ones or those of ``source``."""
    source: Source | None
    dataset: PreparedDataset
    train: TrainSpec
    search: SearchSpec
    sampler: Plugin[Sampler]
    """Gives the slots their configurations."""
    slots: int
    replicates: tuple[Replicate, ...]
    """Which confirm it."""
    repeat: bool
    """Whether the training of the first replicate is run a second time."""
    identity: StudyIdentity
    folder: StudyFolder
    normalisation: Normalisation | None = None
    """Of the images, as the sweep file gives it."""
    prior: Prior | None = None
    """What an earlier run had found, where the search begins from that."""
    further: tuple[Metric, ...] = ()
    """Metrics that not every trial computes."""
    task: TaskSpec | None = None
    """Under which condition it sees its dataset, where the sweep lists several."""
    leader: str | None = None
    """Name of the study whose choice it takes, in the place of a search of its own."""
    number: int = 0
    """Which of the searches of its method on its dataset, from 0 on."""
    resampled: bool = False
    """Whether each replicate takes the configuration that a resample of the slots would have chosen."""
    keep: Literal["none", "chosen", "all"] = "none"
    """Which confirmed models keep what their training changed; ``chosen`` are all but repetitions."""

    @property
    def measure(self) -> MetricFacts:
        """What is said of the metric that the search goes by."""
        return facts_with(self.search.metric, self.further)

    @property
    def name(self) -> str:
        """``METHOD@DATASET``, with a number behind it where that has several searches."""
        return self.folder.name

    @property
    def confirm_seeds(self) -> tuple[int, ...]:
        """The seed of each replicate."""
        return tuple(one.seed for one in self.replicates)

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
            replicates=self.replicates,
            repeat=self.repeat,
            resampled=self.resampled,
            leader=self.leader,
            own_sign=None if self.search.metric in standard() else self.measure.sign,
        )

    def engine(self) -> Sampler:
        """A new sampler of this study's slots."""
        return self.sampler.cls(self.space, self.search, self.name, self.known_before)

    @property
    def known_before(self) -> Sequence[Asked]:
        """Slots of an earlier run that the sampler knows from the beginning."""
        return () if self.prior is None else self.prior.observations

    def trial_identity(
        self,
        stage: str,
        hyperparameters: Mapping[str, Value],
        seed: int,
        schedule: Schedule = (),
        split: int | None = None,
    ) -> str:
        """Hash of everything that determines the result of one trial.

        Raises:
            KeyError: its dataset has no such split.
        """
        digest = None if split is None else self.dataset.split_of(split).digest
        return trial_identity(self.identity, stage, hyperparameters, seed, schedule, digest)

    def asks_for(self, stage: Stage, request: TrialRequest) -> bool:
        """Whether a trial that was once asked for is one of this study, with the code, data and settings of now."""
        split = request.get("split")
        if split is not None and split not in self.dataset.others:
            return False
        wanted = self.trial_identity(
            stage, request["hyperparameters"], request["seed"], request.get("schedule", ()), split
        )
        return wanted == request["identity"]

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
            **self._replicates(),
            **self._condition(),
            **prior,
            **metrics,
            "identity": self.identity,
        }

    def _condition(self) -> StudyTaskPart:
        one = self.task
        if one is None:
            return {}
        task: StudyTaskPart = {
            "task": {
                "dataset": one.dataset,
                "domain": one.domain,
                "per_class": one.per_class,
                "fraction": one.fraction,
                "backbone": one.backbone,
            }
        }
        return task if self.leader is None else {**task, "leader": self.leader}

    def _replicates(self) -> StudyReplicatesPart:
        drawn = [(one.seed, one.split) for one in self.replicates]
        splits: list[ReplicateRecord] = [
            {"seed": seed, "split": split, "digest": self.dataset.split_of(split).digest}
            for seed, split in drawn
            if split is not None
        ]
        varied: StudyReplicatesPart = {"replicates": splits, "overlap": self.dataset.overlap} if splits else {}
        numbered: StudyReplicatesPart = {"search_number": self.number} if self.number else {}
        resampled: StudyReplicatesPart = {"resampled": True} if self.resampled else {}
        return {**varied, **numbered, **resampled}
