"""What a sweep is and what it declared: the forms of ``spec.json`` and ``declaration.json``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypeAlias, TypedDict

from harness.core.json_form import Form, Within
from harness.run.record_values import Count, Moment, NetworkRecord, Seed, Space
from harness.space.parameters import Number

Family: TypeAlias = Literal["vs_control", "all_pairs"]
Correction: TypeAlias = Literal["holm", "bonferroni", "none"]


class TrainIdentity(TypedDict):
    """The section ``train`` of a sweep file; readers ask for no other of its members."""

    epochs: Annotated[int, Within(ge=1, lt=2**31)]


class _Budget(TypedDict):
    device_hours: Number | None


class TaskRecord(TypedDict):
    """Under which condition a task sees its dataset; null for what the sweep does not list several of."""

    dataset: str
    """Its label in the sweep file."""
    domain: NotRequired[list[str] | None]
    """What is tested of it, among several."""
    per_class: Count | Literal["all"] | None
    fraction: Number | None
    backbone: str | None


class _DomainSection(TypedDict):
    by: str
    test: list[list[str]]


class _DatasetEntry(TypedDict):
    dataset: str
    domain: NotRequired[_DomainSection | None]
    options: NotRequired[dict[str, object]]
    task: NotRequired[TaskRecord | None]


class _MethodEntry(TypedDict):
    method: str
    backbone: NotRequired[NetworkRecord | None]
    hyperparameters: NotRequired[dict[str, object]]


class _Search(TypedDict):
    metric: str
    trials: Count
    seeds: list[Seed]
    sampler: NotRequired[str]
    pruner: NotRequired[str]
    choose: NotRequired[str]
    top: NotRequired[int]
    repeats: NotRequired[Count]
    first: NotRequired[Count]


class ConfirmRecord(TypedDict):
    """How the chosen configurations are trained on fresh seeds and compared."""

    seeds: Count | list[Seed]
    repeat: NotRequired[bool]
    keep: NotRequired[str]
    control: NotRequired[str | None]
    twin: NotRequired[bool]
    vary: NotRequired[list[str] | None]
    family: NotRequired[Family | None]
    correction: NotRequired[Correction]
    margin: NotRequired[Number | None]
    looks: NotRequired[list[Count] | None]


class WarmupRecord(TypedDict):
    """The length of the warm-up in steps or, where these are null, in epochs."""

    steps: Count | None
    epochs: Number | None


class ScheduleRecord(TypedDict):
    """What the learning rate does after the warm-up."""

    kind: Literal["cosine", "linear", "step", "constant"]
    milestones: list[Count]
    factor: Number


class OptimizerRecord(TypedDict):
    """The optimiser of every method."""

    kind: Literal["adamw", "adam", "sgd"]
    momentum: Number
    nesterov: bool


class AugmentationRecord(TypedDict):
    """The largest random changes of training images (``harness.dataset.Augmentation``)."""

    flip_horizontal: bool
    flip_vertical: bool
    rotate: Number
    zoom: Number
    shift: Number
    brightness: Number
    contrast: Number


class TrainRecord(TrainIdentity):
    """The section as resolved; keys that came later are absent in older runs."""

    image_size: NotRequired[int]
    batch_size: NotRequired[int]
    features: NotRequired[str]
    augment: NotRequired[bool | dict[str, bool | Number]]
    patience: NotRequired[Count | None]
    class_weights: NotRequired[str]
    sampling: NotRequired[str]
    label_smoothing: NotRequired[Number]
    clip_norm: NotRequired[Number | None]
    precision: NotRequired[str]
    warmup: NotRequired[Number | WarmupRecord]
    schedule: NotRequired[ScheduleRecord]
    optimizer: NotRequired[OptimizerRecord | None]
    drop_last: NotRequired[bool]


class _SplitSection(TypedDict):
    kind: NotRequired[str | None]
    seed: NotRequired[int]
    seeds: NotRequired[list[Seed] | None]
    folds: NotRequired[Count | None]
    tune: NotRequired[str]
    by: NotRequired[str | None]
    test: NotRequired[list[list[str]] | None]
    near_duplicates: NotRequired[bool]
    allow_leakage: NotRequired[str | None]


class EvaluationEntryRecord(TypedDict):
    """An entry of the section ``evaluate``."""

    name: str
    """Of its file of predictions too."""
    kind: str
    """Its plugin."""
    of: NotRequired[list[str] | None]
    """Labels of the datasets whose models it is for; null: of every dataset."""
    options: NotRequired[dict[str, object]]


class SweepRecord(TypedDict):
    """``spec.json``: the resolved sweep file, as far as readers use it without ``harness.spec.sections``."""

    name: str
    plugins: NotRequired[list[str]]
    metrics: NotRequired[list[str]]
    backbones: NotRequired[dict[str, NetworkRecord]]
    backbone: NetworkRecord
    datasets: dict[str, _DatasetEntry]
    methods: dict[str, _MethodEntry]
    train: TrainRecord
    split: NotRequired[_SplitSection]
    search: _Search
    confirm: ConfirmRecord
    evaluate: NotRequired[list[EvaluationEntryRecord]]
    launch: dict[str, object]
    budget: NotRequired[_Budget | None]


SUBGROUPS = "subgroups"
"""The kind of evaluation that divides the test predictions by metadata, and has no images of its own."""


def evaluations_of(sweep: SweepRecord, dataset: str) -> list[EvaluationEntryRecord]:
    """The declared evaluations of the models of a dataset, which may be one of several tasks."""
    task = sweep["datasets"].get(dataset, {"dataset": dataset}).get("task")
    in_file = dataset if task is None else task["dataset"]
    return [entry for entry in sweep.get("evaluate", []) if (of := entry.get("of")) is None or in_file in of]


def domains_in(sweep: SweepRecord, dataset: str) -> tuple[str, tuple[str, ...]]:
    """The column that tells the domains of a dataset apart, and those that it is tested on; neither where it is split
    otherwise, or is not of the sweep any more.
    """
    entry = sweep["datasets"].get(dataset)
    if entry is None:
        return "", ()
    own, task, split = entry.get("domain"), entry.get("task"), sweep.get("split", {})
    by, given = (split.get("by"), split.get("test")) if own is None else (own["by"], own["test"])
    return (by or "", tuple((task and task.get("domain")) or given[0])) if given else ("", ())


def tested_domains(sweep: SweepRecord, dataset: str) -> tuple[str, ...]:
    """The domains that a dataset is tested on; none where it is split otherwise."""
    return domains_in(sweep, dataset)[1]


def searches_in(sweep: SweepRecord) -> range:
    """The numbers of the searches that each method has on each dataset."""
    split, search = sweep.get("split", {}), sweep["search"]
    number, first = search.get("repeats", 1), search.get("first", 0)
    if split.get("tune") == "each":
        number = split.get("folds") or len(split.get("seeds") or ())
    return range(first, first + number)


def cap_hours(sweep: SweepRecord) -> float | None:
    """Device-hours that a run may use; None where there is no limit."""
    budget = sweep.get("budget")
    return None if budget is None else budget["device_hours"]


class DeclaredComparison(TypedDict):
    """The comparison that a launch declared."""

    metric: str
    control: str | None
    family: Family
    correction: Correction
    margin: Number | None
    looks: list[Count] | None
    alpha: Annotated[float, Within(gt=0, lt=1)]


class _DeclaredSearch(TypedDict):
    trials: Count
    sampler: str


class _DeclaredMethod(TypedDict):
    method: str
    backbone: Any
    space: Space


class Declared(TypedDict):
    """All that a launch declared."""

    hypotheses: list[str]
    comparison: DeclaredComparison
    seeds: list[Seed]
    evaluate: NotRequired[list[EvaluationEntryRecord]]
    search: _DeclaredSearch
    repeat: NotRequired[bool]
    vary: NotRequired[list[str]]
    """What each replicate draws anew, where that is more than a seed."""
    train: dict[str, object]
    split: dict[str, object]
    backbone: dict[str, object]
    backbones: NotRequired[dict[str, object]]
    datasets: dict[str, dict[str, object]]
    methods: dict[str, _DeclaredMethod]
    slots: NotRequired[dict[str, Count]]
    code: NotRequired[dict[str, dict[str, str | int]]]


class DeclarationRecord(TypedDict):
    """``declaration.json`` and each amendment: what a launch declared, and in what that differs from the last."""

    time: Moment
    confirmed: Count
    hash: NotRequired[str]
    changed: NotRequired[list[str]]
    declared: Declared


SWEEP: Form[SweepRecord] = Form(SweepRecord)
DECLARATION: Form[DeclarationRecord] = Form(DeclarationRecord)
