"""The shape of what training sizes, networks and domains that are tested in turn add to ``results.json``."""

from __future__ import annotations

from pydantic import Field

from analysis.result_models import IntervalRecord, Number, ResultModel


class CurvePointRecord(ResultModel):
    """One method at one training size."""

    method: str
    images: int
    score: IntervalRecord


class AreaRecord(ResultModel):
    """The area under a learning curve over the logarithm of the size, as a mean score."""

    method: str
    area: IntervalRecord


class AreaDifferenceRecord(ResultModel):
    """The area of a minus that of b."""

    a: str
    b: str
    difference: IntervalRecord
    p_adjusted: Number
    family: int


class ImagesNeededRecord(ResultModel):
    """How many training images the control needs to score as a method does."""

    method: str
    images: int = Field(description="Training images of the method.")
    needed: Number = Field(description="Null where the sizes that were trained do not tell.")
    low: Number = Field(description="Null: fewer than the smallest size are not excluded.")
    high: Number = Field(description="Null: more than the largest size are not excluded.")
    reached: bool = Field(description="Whether the control reaches the score at its largest size.")


class LearningCurveRecord(ResultModel):
    """A dataset trained on in several sizes."""

    dataset: str
    images: list[int] = Field(description="Training images, ascending.")
    points: list[CurvePointRecord]
    areas: list[AreaRecord]
    differences: list[AreaDifferenceRecord]
    images_needed: list[ImagesNeededRecord]


class OnNetworksRecord(ResultModel):
    """A declared pair, network by network."""

    dataset: str
    a: str
    b: str
    outcomes: dict[str, str] = Field(description="Network → the verdict on it.")
    p_interaction: Number = Field(description="That the difference is the same on all, adjusted.")
    family: int


class NewDomainsRecord(ResultModel):
    """A declared pair as a claim about domains that were not tried."""

    a: str
    b: str
    difference: IntervalRecord | None = Field(description="Null where too few domains were held out.")
    p_adjusted: Number
    family: int


class HeldOutRecord(ResultModel):
    """Domains of a dataset that were tested in turn."""

    dataset: str
    domains: dict[str, str] = Field(description="Label of the task → the domains that it is tested on.")
    pairs: list[NewDomainsRecord]
