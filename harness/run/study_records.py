"""What a study is, what it began from and what it chose: ``study.json``, ``prior.json`` and ``chosen.json``."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from harness.core.json_form import Form, Within
from harness.core.origin import GroupState
from harness.core.replicates import Replicate
from harness.metrics.facts import MetricRecord
from harness.run.record_values import Configuration, Count, NetworkRecord, Score, Seed, Space
from harness.run.sweep_records import AugmentationRecord, TaskRecord, TrainIdentity
from harness.run.trial_records import ScheduleLine
from harness.space.parameters import Number, ParameterForm


class _Reevaluation(TypedDict):
    slots: Count
    seed: Seed | None


class StudyPrior(TypedDict):
    """What an earlier run had found, as ``study.json`` tells it."""

    run: str
    observations: Count
    trials: Count
    steps: Count
    device_seconds: Number
    different: list[str]


class _CodeOf(TypedDict):
    name: str
    code: str


class SearchIdentity(TypedDict):
    """The section ``search``, without what may change while a study goes on."""

    metric: str
    pruner: NotRequired[str]


class DatasetIdentity(TypedDict, total=False):
    """What a dataset can change in a trial."""

    name: str
    fingerprint: str
    split: str
    augmentation: AugmentationRecord
    ordinal: bool


class StudyIdentity(TypedDict):
    """What makes two studies the same, part by part; compared and hashed as it is, with all that a section holds."""

    protocol: NotRequired[int]
    method: NotRequired[_CodeOf]
    space: NotRequired[dict[str, ParameterForm]]
    train: TrainIdentity
    search: SearchIdentity
    sampler: NotRequired[_CodeOf]
    backbone: NotRequired[NetworkRecord]
    dataset: NotRequired[DatasetIdentity]
    metrics: NotRequired[dict[str, str]]
    """Of metrics that not every trial has: name → hash of the code, or ``built in``."""
    prior: NotRequired[str]


class StudyPriorPart(TypedDict, total=False):
    """What ``study.json`` has only where a search began from what an earlier run had found."""

    prior: StudyPrior


class ReplicateRecord(TypedDict):
    """A replicate of a study whose replicates draw their own splits."""

    seed: Seed
    split: int
    """Seed of its split, or the number of its fold."""
    digest: str
    """Of its split."""


class StudyReplicatesPart(TypedDict, total=False):
    """What ``study.json`` has only where replicates draw more than a seed."""

    search_number: Count
    """Which of several searches of its method on its dataset, from 0 on."""
    replicates: list[ReplicateRecord]
    overlap: Number
    """Test images for each training image of a split, before any are left out for low-data studies."""
    resampled: bool
    """Whether a replicate takes the configuration that a resample of the slots would have chosen."""


class StudyTaskPart(TypedDict, total=False):
    """What ``study.json`` has only where a sweep lists several training sizes or networks."""

    task: TaskRecord
    leader: str
    """Name of the study whose choice this one takes, in the place of a search of its own."""


class StudyMetricsPart(TypedDict, total=False):
    """What ``study.json`` has only where a sweep has metrics that not every trial has."""

    metrics: list[MetricRecord]


class StudyRecord(TypedDict):
    """``study.json``: what a study is."""

    label: str
    method: str
    dataset: str
    dataset_name: NotRequired[str]
    source: NotRequired[str]
    groups: NotRequired[GroupState]
    split_kind: NotRequired[str]
    """The one in use, also where the sweep file asked for none."""
    summary: NotRequired[str]
    space: Space
    backbone: NotRequired[NetworkRecord]
    search_slots: Annotated[int, Within(ge=0, lt=2**31)]
    search_seeds: list[Seed]
    choose: NotRequired[str]
    reevaluation: NotRequired[_Reevaluation]
    confirm_seeds: list[Seed]
    search_number: NotRequired[Count]
    replicates: NotRequired[list[ReplicateRecord]]
    overlap: NotRequired[Number]
    resampled: NotRequired[bool]
    task: NotRequired[TaskRecord]
    leader: NotRequired[str]
    prior: NotRequired[StudyPrior]
    metrics: NotRequired[list[MetricRecord]]
    identity: StudyIdentity


def replicates_of(study: StudyRecord) -> tuple[Replicate, ...]:
    """The replicates that a study confirms."""
    if "replicates" in study:
        return tuple(Replicate(one["seed"], one["split"]) for one in study["replicates"])
    return tuple(map(Replicate, study["confirm_seeds"]))


def reevaluated(study: StudyRecord) -> int:
    """How many of the best slots are trained once more; runs from before there were any do not tell."""
    return study["reevaluation"]["slots"] if "reevaluation" in study else 0


class _Observation(TypedDict):
    slot: Count
    hyperparameters: Configuration
    score: Score


class PriorRecord(TypedDict):
    """``prior.json``: what an earlier run had found."""

    run: str
    observations: list[_Observation]
    trials: Count
    steps: Count
    device_seconds: Number
    different: list[str]


class ReplicateChoice(TypedDict):
    """The configuration of one replicate."""

    slot: Count
    configuration: str
    hyperparameters: Configuration
    schedule: NotRequired[list[ScheduleLine]]


class RuledRecord(TypedDict):
    """What a rule takes."""

    slot: Count
    promised: NotRequired[Score]


class ChoiceRecord(TypedDict):
    """``chosen.json``: the configuration that a search chose."""

    configuration: str
    hyperparameters: Configuration
    of: Count
    slot: Count
    metric: str
    value: Score
    expected: NotRequired[Score]
    again: NotRequired[dict[str, Score]]
    schedule: NotRequired[list[ScheduleLine]]
    rule: NotRequired[str]
    rules: NotRequired[dict[str, RuledRecord]]
    replicates: NotRequired[dict[str, ReplicateChoice]]
    """Seed → what its replicate is trained with, where each takes what a resample of the slots would have chosen."""
    leader: NotRequired[str]
    """Name of the study whose search it is, where that is another."""


def choice_for(choice: ChoiceRecord, seed: int) -> ReplicateChoice:
    """What a replicate is trained with.

    Raises:
        KeyError: each replicate has a choice of its own, and there is none for this seed.
    """
    if "replicates" in choice:
        return choice["replicates"][str(seed)]
    own: ReplicateChoice = {
        "slot": choice["slot"],
        "configuration": choice["configuration"],
        "hyperparameters": choice["hyperparameters"],
    }
    return {**own, "schedule": choice["schedule"]} if "schedule" in choice else own


STUDY: Form[StudyRecord] = Form(StudyRecord)
PRIOR: Form[PriorRecord] = Form(PriorRecord)
CHOICE: Form[ChoiceRecord] = Form(ChoiceRecord)
