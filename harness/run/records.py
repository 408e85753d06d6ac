"""What the JSON files of a run directory hold: the form of each, and what its readers rely on beyond that.

Members that a run from an earlier version may lack are ``NotRequired``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypeAlias, TypedDict, cast

from harness.core.json_form import Form, Law, Length, Told, Within
from harness.metrics.facts import MetricRecord
from harness.space.parameters import Number, ParameterForm, Setting, from_json

MOST_CLASSES = 10_000

Count: TypeAlias = Annotated[int, Within(ge=0, lt=2**63)]
Seed: TypeAlias = Annotated[int, Within(ge=0, lt=2**63)]
Moment: TypeAlias = Annotated[float, Within(ge=0, lt=253402300800)]
"""Seconds since the epoch, before the year 10000."""
Stage: TypeAlias = Literal["source", "search", "confirm"]
Status: TypeAlias = Literal["done", "pruned", "failed"]
Configuration: TypeAlias = dict[str, Setting]
Family: TypeAlias = Literal["vs_control", "all_pairs"]
Correction: TypeAlias = Literal["holm", "bonferroni", "none"]
Side: TypeAlias = Literal["val", "test"]
SplitSide: TypeAlias = Literal["train", "val", "test"]
Score: TypeAlias = float | None
"""Null, or not a number in older runs, where it is not defined."""
Scores: TypeAlias = dict[str, Score | list[Any]]
"""Metric → value: a number, or a list of what is counted class by class, which nobody reads back."""


def score_of(scores: Mapping[str, object], metric: str) -> Score:
    """The single number that a metric has; None where it is not defined, was not computed, or is a list."""
    value = scores.get(metric)
    return value if isinstance(value, int | float) else None


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


class StudyMetricsPart(TypedDict, total=False):
    """What ``study.json`` has only where metrics are not built in."""

    metrics: list[MetricRecord]


class StudyRecord(TypedDict):
    """``study.json``: what a study is."""

    label: str
    method: str
    dataset: str
    dataset_name: NotRequired[str]
    summary: NotRequired[str]
    space: Space
    backbone: NotRequired[NetworkRecord]
    search_slots: Annotated[int, Within(ge=1, lt=2**31)]
    search_seeds: list[Seed]
    choose: NotRequired[str]
    reevaluation: NotRequired[_Reevaluation]
    confirm_seeds: list[Seed]
    prior: NotRequired[StudyPrior]
    metrics: NotRequired[list[MetricRecord]]
    identity: StudyIdentity


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


class _Heir(TypedDict):
    slot: Count
    epoch: Count


# A class cannot have a member of this name.
_Inheritance = TypedDict("_Inheritance", {"from": NotRequired[_Heir]})


class ScheduleLine(_Inheritance):
    """A line of ``schedule.jsonl``: one change of the hyperparameters, and whose state the training continues from."""

    epoch: Count
    hyperparameters: Configuration


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


class TrialRequest(TypedDict):
    """``trial.json``: what a trial trains."""

    stage: Stage
    slot: Count | None
    seed: Seed
    hyperparameters: Configuration
    schedule: NotRequired[list[ScheduleLine]]
    conditioned_on: list[Count]
    threads: Annotated[int, Within(ge=1, lt=2**15)]
    identity: str
    repeat: NotRequired[bool]
    study: NotRequired[str]
    method: NotRequired[str]
    dataset: NotRequired[str]


class Time(TypedDict):
    """When the last attempt on a trial began and ended, and how long it and all training took, in seconds."""

    started: NotRequired[Moment]
    ended: NotRequired[Moment]
    attempt_seconds: Number
    train_seconds: Number
    epoch_ends: NotRequired[list[Moment]]


class ParameterCounts(TypedDict):
    """Parameters that train beside the head, of the head, and of the network."""

    trainable: Count
    head: Count
    total: Count


class MemoryRecord(TypedDict):
    """The most memory that a trial took."""

    peak_bytes: Count


class DeviceRecord(TypedDict):
    """What a trial ran on."""

    name: str
    threads: NotRequired[Count]
    torch: NotRequired[str]
    host: NotRequired[str]
    deterministic: NotRequired[bool]
    not_deterministic: NotRequired[list[str]]
    cuda: NotRequired[str]
    driver: NotRequired[str]


class SpentRecord(TypedDict):
    """What all attempts on a trial cost, as ``harness.run.spent.Spent``."""

    attempts: Count
    seconds: Number
    interrupted: Count
    died: Count
    lost_seconds: Number


class Repeated(TypedDict):
    """What a result repeats of the request."""

    stage: Stage
    slot: Count | None
    seed: Seed
    hyperparameters: Configuration
    identity: str


def repeated(request: TrialRequest) -> Repeated:
    """What a result repeats of the request."""
    return {
        "stage": request["stage"],
        "slot": request["slot"],
        "seed": request["seed"],
        "hyperparameters": request["hyperparameters"],
        "identity": request["identity"],
    }


class _Facts(TypedDict):
    cause: NotRequired[str | None]
    message: NotRequired[str | None]
    best_epoch: NotRequired[Count]
    parameters: NotRequired[ParameterCounts]
    on_features: NotRequired[bool]
    cost: NotRequired[dict[str, Number | None]]
    compiled: NotRequired[bool]
    schedule: NotRequired[list[ScheduleLine]]


class Metrics(TypedDict):
    """The scores on each side."""

    val: Scores
    test: NotRequired[Scores]


class Trained(_Facts):
    """What a training came to that has scores, at its end or where the search pruned it."""

    status: Literal["done", "pruned"]
    metrics: Metrics
    epochs: Count
    steps: Count


class Failed(_Facts):
    """What a training came to that failed for good."""

    status: Literal["failed"]
    metrics: NotRequired[dict[str, Scores]]
    epochs: NotRequired[Count]
    steps: NotRequired[Count]


class Circumstances(TypedDict):
    """When, where and in what memory a trial ran."""

    time: Time
    memory: MemoryRecord
    device: DeviceRecord


class _Kept(TypedDict):
    memory: NotRequired[MemoryRecord]
    device: NotRequired[DeviceRecord]
    files: NotRequired[dict[str, str]]
    spent: NotRequired[SpentRecord]


class TrainedResult(Repeated, Trained, _Kept):
    """``result.json`` of a training that came to scores."""

    time: Time


class FailedResult(Repeated, Failed, _Kept):
    """``result.json`` of a trial that failed for good."""

    time: NotRequired[Time]


TrialResult: TypeAlias = Annotated[TrainedResult | FailedResult, Told("status")]


def scores_on(result: TrialResult, side: Side) -> Scores:
    """The scores on a side; empty where a trial failed before, or opens no test side."""
    return dict(sides_of(result)).get(side, {})


def sides_of(result: TrialResult) -> list[tuple[str, Scores]]:
    """Each side with the scores on it."""
    metrics = result.get("metrics")
    return [] if metrics is None else cast("list[tuple[str, Scores]]", [*metrics.items()])


class TrialOutcome(TypedDict):
    """Of ``result.json`` what says how a run stands."""

    status: Status
    cause: NotRequired[str | None]
    message: NotRequired[str | None]
    metrics: NotRequired[dict[str, dict[str, object]]]
    steps: NotRequired[Count]
    time: NotRequired[Time]
    spent: NotRequired[SpentRecord]


class CurveLine(TypedDict):
    """A line of ``curve.jsonl``: one epoch."""

    epoch: Count
    step: Count
    train_loss: NotRequired[Score]
    val: Scores


class DecisionLine(TypedDict):
    """A line of ``decisions.jsonl``: one rung."""

    epoch: Count
    step: Count
    value: Number
    prune: bool
    reason: str
    known: Count
    agreement: Score
    mean_agreement: Score
    least_agreement: NotRequired[Number]
    seconds: Number


class _Sides(TypedDict):
    train: list[str]
    val: list[str]
    test: list[str]


class SplitRecord(_Sides):
    """``splits/DATASET.json``: case ids of each side."""

    kind: str
    seed: int


class _Counts(TypedDict):
    train: list[Count]
    val: list[Count]
    test: list[Count]


class _SideSizes(TypedDict):
    train: Count
    val: Count
    test: Count


class Identical(TypedDict):
    """Sets of images with the same pixels, and the images in them."""

    sets: Count
    images: Count


class _SplitFacts(TypedDict):
    kind: NotRequired[str]
    seed: NotRequired[int]
    digest: NotRequired[str]


class LeakFacts(TypedDict):
    """What a split gives away: counts as ``harness.data.leaks.Leaks`` has them, and the finding in words."""

    duplicate_clusters: NotRequired[Count]
    duplicate_test: NotRequired[Count]
    groups: NotRequired[Count]
    group_test: NotRequired[Count]
    test: NotRequired[Count]
    any: NotRequired[bool]
    sentence: NotRequired[str]


class PairCounts(TypedDict):
    """Pairs of one kind: all, those on two sides, those of a test image among them, those of two labels."""

    pairs: Count
    straddling: Count
    test: Count
    conflicting: Count


class PairFacts(TypedDict):
    """A pair of images that are the same, or nearly, as ``harness.data.audit.Pair`` has it."""

    first: str
    second: str
    sides: list[str]
    labels: list[str]
    kind: Literal["identical", "near"]
    similarity: Number


class _PairKinds(TypedDict):
    identical: PairCounts
    near: PairCounts


class AuditFacts(TypedDict):
    """What a look at the pixels has found; of single pairs the worst ones."""

    kinds: _PairKinds
    worst: list[PairFacts]
    random_pairs: Count
    false_alarms: Count
    notes: list[str]


class Card(TypedDict):
    """``cards/DATASET.json``: facts about a dataset (``harness.data.card.make_card``)."""

    name: str
    title: NotRequired[str]
    summary: NotRequired[str]
    modality: NotRequired[str]
    licence: NotRequired[str]
    citation: NotRequired[str]
    classes: Annotated[list[str], Length(1, MOST_CLASSES)]
    multi_label: NotRequired[bool]
    images: Count
    image_size: NotRequired[Count]
    resize: NotRequired[str]
    fingerprint: NotRequired[str]
    split: _SplitFacts
    sides: NotRequired[_SideSizes]
    counts: _Counts
    shares: NotRequired[dict[str, list[Number]]]
    groups: NotRequired[Count | None]
    identical: NotRequired[Identical]
    clusters: NotRequired[Count]
    near_joined: NotRequired[bool]
    left_out: NotRequired[dict[str, Count]]
    absent: NotRequired[list[str]]
    notes: NotRequired[list[str]]
    pictured: NotRequired[Count]
    leaks: NotRequired[LeakFacts]
    allow_leakage: NotRequired[str | None]
    audit: NotRequired[AuditFacts | None]


def _miscounted(card: Card) -> str | None:
    of_side = card["counts"]
    for side, counts in (("train", of_side["train"]), ("val", of_side["val"]), ("test", of_side["test"])):
        if len(counts) != len(card["classes"]):
            return f"counts.{side}: {len(counts)} counts for {len(card['classes'])} classes"
    return None


class DeclaredComparison(TypedDict):
    """The comparison that a launch declared."""

    metric: str
    control: str | None
    family: Family
    correction: Correction
    margin: Number
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


class PlanRecord(TypedDict):
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


class ConfirmRecord(TypedDict):
    """How the chosen configurations are trained on fresh seeds and compared."""

    seeds: Count | list[Seed]
    repeat: NotRequired[bool]
    control: NotRequired[str | None]
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
    kind: NotRequired[str]
    seed: NotRequired[int]
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
REQUEST: Form[TrialRequest] = Form(TrialRequest)
RESULT: Form[TrialResult] = Form(TrialResult)
OUTCOME: Form[TrialOutcome] = Form(TrialOutcome, rest=False)
CURVE: Form[CurveLine] = Form(CurveLine)
DECISION: Form[DecisionLine] = Form(DecisionLine)
SCHEDULE: Form[ScheduleLine] = Form(ScheduleLine)
SPLIT: Form[SplitRecord] = Form(SplitRecord)
CARD: Form[Card] = Form(Annotated[Card, Law(_miscounted)])
DECLARATION: Form[DeclarationRecord] = Form(DeclarationRecord)
EXHAUSTED: Form[ExhaustedRecord] = Form(ExhaustedRecord)
STEP_CHOICE: Form[StepChoiceRecord] = Form(StepChoiceRecord)
KERNEL_CHOICE: Form[KernelChoiceRecord] = Form(KernelChoiceRecord)
SWEEP: Form[SweepRecord] = Form(SweepRecord)
PLAN: Form[PlanRecord] = Form(PlanRecord)
ENVIRONMENT: Form[EnvironmentRecord] = Form(EnvironmentRecord)
WORKER_REPORT: Form[WorkerReportRecord] = Form(WorkerReportRecord)
