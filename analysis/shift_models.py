"""The shape of what evaluations beside the test split add to ``results.json``."""

from __future__ import annotations

from pydantic import Field

from analysis.axis_models import HeldOutRecord, LearningCurveRecord, OnNetworksRecord
from analysis.result_models import (
    ClaimRecord,
    ComparisonDocument,
    ComparisonRecord,
    Flag,
    IntervalRecord,
    Number,
    ResultModel,
    ScoreRecord,
)


class DropRecord(ResultModel):
    """What one method loses under a shift."""

    dataset: str
    method: str
    seeds: list[int]
    reference: Number = Field(description="Mean score on the reference.")
    shifted: Number = Field(description="Mean score under the shift.")
    drop: IntervalRecord = Field(description="What is lost, above zero where the score is worse under the shift.")


class DropDifferenceRecord(ResultModel):
    """What a loses more than b under a shift."""

    dataset: str
    a: str
    b: str
    difference: IntervalRecord = Field(description="Above zero where a loses more.")
    p_adjusted: Number
    family: int


class CorruptionErrorRecord(ResultModel):
    """The mean corruption error of a method relative to the control."""

    dataset: str
    method: str
    mean: IntervalRecord | None = Field(description="Null where it does not exist.")
    by_set: dict[str, Number] = Field(description="Kind of damage → errors over those of the control.")


class BeyondLineRecord(ResultModel):
    """The effective robustness of a method: accuracy under the shift beyond the line of the control's trainings."""

    dataset: str
    method: str
    beyond_line: IntervalRecord | None = Field(description="Null where the line says nothing.")
    why: str = Field(description="Why it says nothing; empty where it does.")


class SeverityRecord(ResultModel):
    """The primary metric at one severity, mean over kinds of damage and seeds."""

    dataset: str
    method: str
    severity: int
    mean: Number
    low: Number = Field(description="Of the lowest seed.")
    high: Number


class ShiftRecord(ResultModel):
    """One evaluation beside the test split: a question, and a family of comparisons, of its own."""

    name: str
    kind: str
    sets: list[str]
    severities: list[int]
    reference: str = Field(description="What drops are measured from, in words.")
    is_test_split: bool = Field(
        description="Whether the test split is this shift, so that its comparisons are the main ones."
    )
    cases: dict[str, int] = Field(description="Dataset → cases of each set.")
    left_out: dict[str, dict[str, int]] = Field(description="Dataset → reason → cases that were not scored.")
    comparisons: list[ComparisonRecord] = Field(description="By the means over all sets; as on the test split.")
    scores: list[ScoreRecord]
    claims: list[ClaimRecord]
    drops: list[DropRecord]
    drop_differences: list[DropDifferenceRecord]
    corruption_errors: list[CorruptionErrorRecord]
    effective_robustness: list[BeyondLineRecord]
    by_severity: list[SeverityRecord]
    by_set: dict[str, dict[str, dict[str, Number]]] = Field(description="Dataset → method → kind → mean score.")
    flags: list[Flag]


class SubgroupRecord(ResultModel):
    """Some of the test cases."""

    name: str
    cases: int
    units: int = Field(description="Patients or lesions among them; cases where these are not known.")


class SubgroupScoreRecord(ResultModel):
    """One method by subgroup."""

    method: str
    means: dict[str, Number]
    worst: str
    best: str
    lowest: IntervalRecord = Field(description="Score of the worst subgroup; the interval allows for its selection.")
    gap: IntervalRecord = Field(description="Best minus worst, likewise.")


class WorstDifferenceRecord(ResultModel):
    """The worst subgroup of a minus that of b."""

    a: str
    b: str
    difference: IntervalRecord


class SubgroupsRecord(ResultModel):
    """The methods by subgroup of the test cases; exploratory."""

    dataset: str
    column: str
    metric: str = Field(description="The primary one, or accuracy where a subgroup lacks a class.")
    undefined: list[str] = Field(description="Subgroups in which the primary metric is not defined.")
    without: int = Field(description="Test cases without a value.")
    groups: list[SubgroupRecord]
    scores: list[SubgroupScoreRecord]
    differences: list[WorstDifferenceRecord]


class WholeDocument(ComparisonDocument):
    """The member ``comparison`` of results.json; an absent number is null."""

    shifts: list[ShiftRecord] = Field(
        default=[], description="Evaluations beside the test split; the member is absent without any."
    )
    learning_curves: list[LearningCurveRecord] = Field(
        default=[], description="Datasets trained on in several sizes; the member is absent without any."
    )
    on_networks: list[OnNetworksRecord] = Field(
        default=[], description="Declared pairs on several networks; the member is absent without any."
    )
    held_out_domains: list[HeldOutRecord] = Field(
        default=[], description="Domains that were tested in turn; the member is absent without any."
    )
    subgroups: list[SubgroupsRecord] = Field(
        default=[], description="The test cases by metadata; the member is absent without any."
    )
