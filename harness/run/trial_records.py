"""What the JSON files of a trial hold: the form of each, and what its readers rely on beyond that.

Members that a run from an earlier version may lack are ``NotRequired``.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal, NotRequired, TypeAlias, TypedDict, cast, get_type_hints

from harness.core.json_form import Form, Told, Within
from harness.run.record_values import Configuration, Count, Moment, Score, Scores, Seed, Side, Stage, Status
from harness.space.parameters import Number


class _Heir(TypedDict):
    slot: Count
    epoch: Count


# A class cannot have a member of this name.
_Inheritance = TypedDict("_Inheritance", {"from": NotRequired[_Heir]})


class ScheduleLine(_Inheritance):
    """A line of ``schedule.jsonl``: one change of the hyperparameters, and whose state the training continues from."""

    epoch: Count
    hyperparameters: Configuration


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
    split: NotRequired[int]
    """Which of several splits, as ``harness.core.replicates`` has it; absent where it is the study's own."""
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
    evaluating: NotRequired[dict[str, EvaluationTime]]
    """Evaluation → what it took."""


class EvaluationTime(TypedDict):
    """What an evaluation took, in seconds."""

    images: Number
    """To make or read its images."""
    model: Number
    """To score them."""


class EvaluationRecord(TypedDict):
    """What a model scored on one set of an evaluation."""

    evaluation: str
    """Its name, and that of the file ``evaluations/NAME.parquet``."""
    kind: str
    """Its plugin."""
    set: str
    severity: Annotated[int, Within(ge=0, le=5)]
    """0 where there is none."""
    reference: Literal["test", "in_distribution"]
    """The set that it is compared with."""
    cases: Count
    scores: Scores
    left_out: dict[str, Count]
    """Cases that are in no set, by reason."""
    fingerprint: str
    """Of all that decides which images it has and what they look like, the test side apart."""


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
    fitted: NotRequired[dict[str, list[Number | None]]]
    """Metric → what validation cases decided for it (``harness.metrics.fitted``)."""
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


class EvaluatedPart(TypedDict, total=False):
    """What a result has only where its model was scored on more than the test split."""

    evaluations: list[EvaluationRecord]
    test_reference: Literal["", "in_distribution"]
    """The set that the test side is compared with; empty where it is the reference of others."""


class _Kept(TypedDict):
    memory: NotRequired[MemoryRecord]
    device: NotRequired[DeviceRecord]
    files: NotRequired[dict[str, str]]
    evaluations: NotRequired[list[EvaluationRecord]]
    test_reference: NotRequired[Literal["", "in_distribution"]]
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
    """Of ``result.json`` what says how a run stands; of the scores one on the validation side."""

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


REQUEST: Form[TrialRequest] = Form(TrialRequest)


RESULT: Form[TrialResult] = Form(TrialResult)


@functools.cache
def outcome_form(metric: str) -> Form[TrialOutcome]:
    """The form of a ``TrialOutcome`` by a metric.

    The values of all other scores, which nobody asks for, would take half as long as all the rest.
    """
    shape: Any = TypedDict  # mypy takes no names that are known only now
    scores = shape("scores", {"val": shape("val", {metric: object}, total=False)}, total=False)
    members = get_type_hints(TrialOutcome, include_extras=True)
    return Form(shape("outcome", {**members, "metrics": NotRequired[scores]}), rest=False)


CURVE: Form[CurveLine] = Form(CurveLine)


DECISION: Form[DecisionLine] = Form(DecisionLine)


SCHEDULE: Form[ScheduleLine] = Form(ScheduleLine)
