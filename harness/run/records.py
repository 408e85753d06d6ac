"""What the JSON files of a run directory hold: the form of each, and what its readers rely on beyond that.

Members that a run from an earlier version may lack are ``NotRequired``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypeAlias, TypedDict

from harness.core.json_form import Form, Law, Length, Told, Within
from harness.space.parameters import from_json

MOST_CLASSES = 10_000

Number: TypeAlias = Annotated[float, Within()]
Count: TypeAlias = Annotated[int, Within(ge=0, lt=2**63)]
Seed: TypeAlias = Annotated[int, Within(ge=0, lt=2**63)]
Moment: TypeAlias = Annotated[float, Within(ge=0, lt=253402300800)]
"""Seconds since the epoch, before the year 10000."""
Setting: TypeAlias = bool | int | Number | str
Stage: TypeAlias = Literal["source", "search", "confirm"]
Configuration: TypeAlias = dict[str, Setting]
Score: TypeAlias = float | None
"""Null, or not a number in older runs, where it is not defined."""
Scores: TypeAlias = dict[str, Score | list[Any]]
"""Metric → value: a number, or a list of what is counted class by class, which nobody reads back."""


def _no_space(value: Any) -> str | None:
    try:
        from_json(value)
    except (ValueError, TypeError, KeyError) as error:
        return str(error)
    return None


class _Parameter(TypedDict):
    kind: Literal["Float", "Int", "Choice", "Fixed"]
    default: Setting
    low: NotRequired[Number]
    high: NotRequired[Number]
    log: NotRequired[bool]
    choices: NotRequired[list[Setting]]
    allowed: NotRequired[list[Setting]]
    when: NotRequired[dict[str, list[Setting]]]
    at_most: NotRequired[str | None]


Space: TypeAlias = Annotated[dict[str, _Parameter], Law(_no_space)]


class _Network(TypedDict):
    name: str
    weights: Any


class _Reevaluation(TypedDict):
    slots: Count
    seed: Seed | None


class _Prior(TypedDict):
    run: str
    observations: Count
    trials: Count
    steps: Count
    device_seconds: Number
    different: list[str]


class _SearchIdentity(TypedDict):
    metric: str


class _TrainIdentity(TypedDict):
    epochs: Annotated[int, Within(ge=1, lt=2**31)]


class _Identity(TypedDict):
    search: _SearchIdentity
    train: _TrainIdentity


class StudyRecord(TypedDict):
    """``study.json``: what a study is."""

    label: str
    method: str
    dataset: str
    dataset_name: NotRequired[str]
    summary: NotRequired[str]
    space: Space
    backbone: NotRequired[_Network]
    search_slots: Annotated[int, Within(ge=1, lt=2**31)]
    search_seeds: list[Seed]
    choose: NotRequired[str]
    reevaluation: NotRequired[_Reevaluation]
    confirm_seeds: list[Seed]
    prior: NotRequired[_Prior]
    identity: _Identity


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


class ScheduleLine(TypedDict):
    """A line of ``schedule.jsonl``: one change of the hyperparameters."""

    epoch: Count
    hyperparameters: Configuration


class _Ruled(TypedDict):
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
    rules: NotRequired[dict[str, _Ruled]]


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


class _Time(TypedDict):
    started: NotRequired[Moment]
    ended: NotRequired[Moment]
    attempt_seconds: Number
    train_seconds: Number
    epoch_ends: NotRequired[list[Moment]]


class _Parameters(TypedDict):
    trainable: Count
    head: Count
    total: Count


class _Memory(TypedDict):
    peak_bytes: Count


class _Device(TypedDict):
    name: str
    threads: NotRequired[Count]
    torch: NotRequired[str]
    host: NotRequired[str]
    deterministic: NotRequired[bool]
    not_deterministic: NotRequired[list[str]]


class _Spent(TypedDict):
    attempts: Count
    seconds: Number
    interrupted: Count
    died: Count
    lost_seconds: Number


class _Result(TypedDict):
    stage: Stage
    slot: Count | None
    seed: Seed
    hyperparameters: Configuration
    identity: str
    cause: NotRequired[str | None]
    message: NotRequired[str | None]
    best_epoch: NotRequired[Count]
    parameters: NotRequired[_Parameters]
    on_features: NotRequired[bool]
    cost: NotRequired[dict[str, Number | None]]
    compiled: NotRequired[bool]
    schedule: NotRequired[list[ScheduleLine]]
    memory: NotRequired[_Memory]
    device: NotRequired[_Device]
    files: NotRequired[dict[str, str]]
    spent: NotRequired[_Spent]


class _Metrics(TypedDict):
    val: Scores
    test: NotRequired[Scores]


class TrainedResult(_Result):
    """``result.json`` of a training that came to scores, at its end or where the search pruned it."""

    status: Literal["done", "pruned"]
    metrics: _Metrics
    epochs: Count
    steps: Count
    time: _Time


class FailedResult(_Result):
    """``result.json`` of a trial that failed for good."""

    status: Literal["failed"]
    metrics: NotRequired[dict[str, Scores]]
    epochs: NotRequired[Count]
    steps: NotRequired[Count]
    time: NotRequired[_Time]


TrialResult: TypeAlias = Annotated[TrainedResult | FailedResult, Told("status")]


class TrialOutcome(TypedDict):
    """Of ``result.json`` what says how a run stands."""

    status: Literal["done", "pruned", "failed"]
    cause: NotRequired[str | None]
    message: NotRequired[str | None]
    metrics: NotRequired[dict[str, dict[str, Any]]]
    steps: NotRequired[Count]
    time: NotRequired[_Time]
    spent: NotRequired[_Spent]


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


class _Leaks(TypedDict):
    sentence: NotRequired[str]
    any: NotRequired[bool]


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
    fingerprint: NotRequired[str]
    split: dict[str, Any]
    sides: NotRequired[_SideSizes]
    counts: _Counts
    groups: NotRequired[Count | None]
    identical: NotRequired[dict[str, Count]]
    left_out: NotRequired[dict[str, Count]]
    absent: NotRequired[list[str]]
    notes: NotRequired[list[str]]
    pictured: NotRequired[Count]
    leaks: NotRequired[_Leaks]
    allow_leakage: NotRequired[str | None]


def _miscounted(card: Mapping[str, Any]) -> str | None:
    for side, counts in card["counts"].items():
        if len(counts) != len(card["classes"]):
            return f"counts.{side}: {len(counts)} counts for {len(card['classes'])} classes"
    return None


class _Comparison(TypedDict):
    metric: str
    control: str | None
    family: str
    correction: str
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


class _Declared(TypedDict):
    hypotheses: list[str]
    comparison: _Comparison
    seeds: list[Seed]
    search: _DeclaredSearch
    train: dict[str, Any]
    split: dict[str, Any]
    backbone: dict[str, Any]
    datasets: dict[str, Any]
    methods: dict[str, _DeclaredMethod]
    code: NotRequired[dict[str, dict[str, str | int]]]


class DeclarationRecord(TypedDict):
    """``declaration.json`` and each amendment: what a launch declared."""

    time: Moment
    confirmed: Count
    declared: _Declared


class ExhaustedRecord(TypedDict):
    """``exhausted.json``: a budget that was used up, in device-seconds."""

    cap: Number
    used: Number


class PlanRecord(TypedDict):
    """``plan.json``: the plan that counts now."""

    token: str
    changing: bool


class StepChoiceRecord(TypedDict):
    """``steps/DEVICE/choice.json`` and ``kernels/DEVICE/choice.json``: what a study measured on a kind of device."""

    device: str
    choice: bool | str
    reason: str


class _Budget(TypedDict):
    device_hours: Number | None


class _DatasetEntry(TypedDict):
    dataset: str
    options: NotRequired[dict[str, Any]]


class _MethodEntry(TypedDict):
    method: str
    backbone: NotRequired[_Network | None]
    hyperparameters: NotRequired[dict[str, Any]]


class _Search(TypedDict):
    metric: str
    trials: Count
    seeds: list[Seed]
    pruner: NotRequired[str]
    choose: NotRequired[str]


class _Confirm(TypedDict):
    seeds: Count | list[Seed]
    repeat: NotRequired[bool]
    control: NotRequired[str | None]
    family: NotRequired[str | None]
    correction: NotRequired[str]
    margin: NotRequired[Number | None]
    looks: NotRequired[list[Count] | None]


class _Train(TypedDict):
    epochs: Annotated[int, Within(ge=1, lt=2**31)]


class SweepRecord(TypedDict):
    """``spec.json``: the resolved sweep file, as far as readers use it without ``harness.spec.sections``."""

    name: str
    plugins: NotRequired[list[str]]
    backbone: _Network
    datasets: dict[str, _DatasetEntry]
    methods: dict[str, _MethodEntry]
    train: _Train
    split: NotRequired[dict[str, Any]]
    search: _Search
    confirm: _Confirm
    launch: dict[str, Any]
    budget: NotRequired[_Budget | None]


class EnvironmentRecord(TypedDict):
    """``environment.json``: commit, versions and machine of the first launch."""

    commit: str | None
    dirty: bool | None
    python: str
    packages: dict[str, str | None]
    machine: dict[str, Any]


class WorkerReportRecord(TypedDict):
    """``workers/NAME.json``: what a worker is at."""

    trial: str | None
    since: Moment
    claimable: Count
    memory: NotRequired[Annotated[list[Count], Length(2, 2)] | None]


STUDY = Form(StudyRecord)
PRIOR = Form(PriorRecord)
CHOICE = Form(ChoiceRecord)
REQUEST = Form(TrialRequest)
RESULT = Form(TrialResult)
OUTCOME = Form(TrialOutcome, rest=False)
CURVE = Form(CurveLine)
DECISION = Form(DecisionLine)
SCHEDULE = Form(ScheduleLine)
SPLIT = Form(SplitRecord)
CARD = Form(Annotated[Card, Law(_miscounted)])
DECLARATION = Form(DeclarationRecord)
EXHAUSTED = Form(ExhaustedRecord)
STEP_CHOICE = Form(StepChoiceRecord)
SWEEP = Form(SweepRecord)
PLAN = Form(PlanRecord)
ENVIRONMENT = Form(EnvironmentRecord)
WORKER_REPORT = Form(WorkerReportRecord)
