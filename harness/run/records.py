"""What the JSON files of a run directory hold: the form of each, and what its readers rely on beyond that.

Members that a run from an earlier version may lack are ``NotRequired``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypeAlias, TypedDict

from harness.core.json_form import Form, Law, Length, Within
from harness.core.origin import GroupState
from harness.core.replicates import Replicate
from harness.metrics.facts import MetricRecord
from harness.run.record_values import Configuration, Count, Moment, Score, Seed
from harness.run.trial_records import ScheduleLine
from harness.space.parameters import Number, ParameterForm, from_json

Family: TypeAlias = Literal["vs_control", "all_pairs"]
Correction: TypeAlias = Literal["holm", "bonferroni", "none"]


def _no_space(value: Any) -> str | None:
    try:
        from_json(value)
    except (ValueError, TypeError, KeyError) as error:
        return str(error)
    return None


Space: TypeAlias = Annotated[dict[str, ParameterForm], Law(_no_space)]


class NetworkRecord(TypedDict):
    """A network and its weights: the name of some, a file, null for none, or what is trained first."""

    name: str
    weights: Any


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


class TrainIdentity(TypedDict):
    """The section ``train`` of a sweep file; readers ask for no other of its members."""

    epochs: Annotated[int, Within(ge=1, lt=2**31)]


class SearchIdentity(TypedDict):
    """The section ``search``, without what may change while a study goes on."""

    metric: str
    pruner: NotRequired[str]


class StudyIdentity(TypedDict):
    """What makes two studies the same, part by part; compared and hashed as it is, with all that a section holds."""

    protocol: NotRequired[int]
    method: NotRequired[_CodeOf]
    space: NotRequired[dict[str, ParameterForm]]
    train: TrainIdentity
    search: SearchIdentity
    sampler: NotRequired[_CodeOf]
    backbone: NotRequired[NetworkRecord]
    dataset: NotRequired[dict[str, object]]
    metrics: NotRequired[dict[str, str]]
    """Of metrics that are not built in: name → hash of the code."""
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


class StudyMetricsPart(TypedDict, total=False):
    """What ``study.json`` has only where metrics are not built in."""

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
    search_slots: Annotated[int, Within(ge=1, lt=2**31)]
    search_seeds: list[Seed]
    choose: NotRequired[str]
    reevaluation: NotRequired[_Reevaluation]
    confirm_seeds: list[Seed]
    search_number: NotRequired[Count]
    replicates: NotRequired[list[ReplicateRecord]]
    overlap: NotRequired[Number]
    resampled: NotRequired[bool]
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
    search: _DeclaredSearch
    repeat: NotRequired[bool]
    vary: NotRequired[list[str]]
    """What each replicate draws anew, where that is more than a seed."""
    train: dict[str, object]
    split: dict[str, object]
    backbone: dict[str, object]
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


class ExhaustedRecord(TypedDict):
    """``exhausted.json``: a budget that was used up, in device-seconds."""

    cap: Number
    used: Number


class PlanTokenRecord(TypedDict):
    """``plan.json``: the plan that counts now."""

    token: str
    changing: bool


class _Measured(TypedDict):
    device: str
    reason: str


class StepChoiceRecord(_Measured):
    """``steps/DEVICE/choice.json``: whether a study compiles steps on a kind of device, as it measured."""

    choice: Literal["auto", "compiled"]


class KernelChoiceRecord(_Measured):
    """``kernels/DEVICE/choice.json``: whether a study takes deterministic kernels on a kind of device."""

    choice: bool


class _Budget(TypedDict):
    device_hours: Number | None


class _DatasetEntry(TypedDict):
    dataset: str
    options: NotRequired[dict[str, object]]


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
    control: NotRequired[str | None]
    twin: NotRequired[bool]
    vary: NotRequired[list[str] | None]
    family: NotRequired[Family | None]
    correction: NotRequired[Correction]
    margin: NotRequired[Number | None]
    looks: NotRequired[list[Count] | None]


class _Train(TrainIdentity):
    image_size: NotRequired[int]
    batch_size: NotRequired[int]
    features: NotRequired[str]
    augment: NotRequired[object]


class _SplitSection(TypedDict):
    kind: NotRequired[str | None]
    seed: NotRequired[int]
    seeds: NotRequired[list[Seed] | None]
    folds: NotRequired[Count | None]
    tune: NotRequired[str]
    near_duplicates: NotRequired[bool]
    allow_leakage: NotRequired[str | None]


class SweepRecord(TypedDict):
    """``spec.json``: the resolved sweep file, as far as readers use it without ``harness.spec.sections``."""

    name: str
    plugins: NotRequired[list[str]]
    backbone: NetworkRecord
    datasets: dict[str, _DatasetEntry]
    methods: dict[str, _MethodEntry]
    train: _Train
    split: NotRequired[_SplitSection]
    search: _Search
    confirm: ConfirmRecord
    launch: dict[str, object]
    budget: NotRequired[_Budget | None]


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


class MachineRecord(TypedDict):
    """The machine of the first launch."""

    system: NotRequired[str]
    processor: NotRequired[str]
    cpu: NotRequired[str | None]
    cores: NotRequired[Count | None]
    memory_bytes: NotRequired[Count | None]
    gpus: NotRequired[list[str] | None]


class EnvironmentRecord(TypedDict):
    """``environment.json``: commit, versions and machine of the first launch."""

    commit: str | None
    dirty: bool | None
    python: str
    packages: dict[str, str | None]
    machine: MachineRecord


class WorkerReportRecord(TypedDict):
    """``workers/NAME.json``: what a worker is at."""

    trial: str | None
    since: Moment
    claimable: Count
    memory: NotRequired[Annotated[list[Count], Length(2, 2)] | None]


STUDY: Form[StudyRecord] = Form(StudyRecord)
PRIOR: Form[PriorRecord] = Form(PriorRecord)
CHOICE: Form[ChoiceRecord] = Form(ChoiceRecord)
DECLARATION: Form[DeclarationRecord] = Form(DeclarationRecord)
EXHAUSTED: Form[ExhaustedRecord] = Form(ExhaustedRecord)
STEP_CHOICE: Form[StepChoiceRecord] = Form(StepChoiceRecord)
KERNEL_CHOICE: Form[KernelChoiceRecord] = Form(KernelChoiceRecord)
SWEEP: Form[SweepRecord] = Form(SweepRecord)
PLAN: Form[PlanTokenRecord] = Form(PlanTokenRecord)
ENVIRONMENT: Form[EnvironmentRecord] = Form(EnvironmentRecord)
WORKER_REPORT: Form[WorkerReportRecord] = Form(WorkerReportRecord)
