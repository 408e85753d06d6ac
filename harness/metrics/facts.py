"""What is said of a metric; it is read where neither the metric's code nor arrays are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import Annotated, TypedDict

from harness.core.json_form import Length, Within


class MetricRecord(TypedDict):
    """What ``study.json`` says of a metric that not every trial has."""

    name: str
    label: str
    phrase: str
    higher_is_better: bool
    bounds: Annotated[list[Annotated[float, Within()] | None], Length(2, 2)]
    compared: bool


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """What is said of a metric wherever its values are shown or compared; it needs none of its code."""

    name: str
    label: str
    phrase: str
    higher_is_better: bool = True
    bounds: tuple[float, float] = (-inf, inf)
    needs_order: bool = False
    compared: bool = True
    pseudo_values: str | None = None
    by_case: bool = True
    """False of a built-in metric that a report reads as it was recorded, because validation cases were part of it."""
    recorded_only: bool = False
    """Whether it is known from what a study recorded: a plugin computed it, whose code is not at hand."""

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.higher_is_better else -1

    @property
    def direction(self) -> str:
        """Which values are the good ones, in words."""
        return f"{'higher' if self.higher_is_better else 'lower'} is better"

    @property
    def in_text(self) -> str:
        """The label within a sentence: a name keeps its capital letter, as in the phrase, and so does an acronym."""
        keeps = self.label[1:2].isupper() or self.phrase.startswith(self.label[:1])
        return self.label if keeps else self.label[:1].lower() + self.label[1:]

    def to_json(self) -> MetricRecord:
        """Plain data for ``study.json``: what readers need who must not load the metric's code."""
        return {
            "name": self.name,
            "label": self.label,
            "phrase": self.phrase,
            "higher_is_better": self.higher_is_better,
            "bounds": [bound if isfinite(bound) else None for bound in self.bounds],
            "compared": self.compared,
        }

    @classmethod
    def told(cls, record: MetricRecord) -> MetricFacts:
        """The inverse of ``to_json``."""
        low, high = record["bounds"]
        return cls(
            name=str(record["name"]),
            label=str(record["label"]),
            phrase=str(record["phrase"]),
            higher_is_better=bool(record["higher_is_better"]),
            bounds=(-inf if low is None else float(low), inf if high is None else float(high)),
            compared=bool(record["compared"]),
            recorded_only=True,
        )
