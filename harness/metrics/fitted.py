"""Metrics with a number that validation cases decide, such as a threshold, which other cases are then scored with."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from harness.metrics.cases import MultiLabelCases, ScoredCases
from harness.metrics.metric import Metric
from harness.metrics.parts import mean

Fitted: TypeAlias = Mapping[str, Sequence[float | None]]
"""Name of a metric → what the validation cases of a training decided: a number for the second of two classes, or one
for each label where an image may bear several; None where they leave it open, empty where it is not defined."""


class FittedMetric(Metric):
    """A score for which validation cases decide a number first; of two classes, the second one is the finding.

    With several labels an image it is the mean over the labels, each with a number of its own.
    """

    by_case = False

    @abstractmethod
    def fit(self, validation: ScoredCases) -> float | None:
        """The number that validation cases of two classes decide; None where these leave it open."""

    @abstractmethod
    def value_at(self, cases: ScoredCases, number: float) -> float | None:
        """The metric of cases of two classes with that number; None where these cases leave it undefined."""

    def fitted(self, validation: ScoredCases | MultiLabelCases) -> list[float | None]:
        """``fit`` of each question that the cases put."""
        return [self.fit(alone) for alone in _questions(validation)]

    def value_with(self, cases: ScoredCases | MultiLabelCases, numbers: Sequence[float | None]) -> float | None:
        """The metric of any cases.

        Args:
            cases: any.
            numbers: what ``fitted`` gave of validation cases.

        Raises:
            ValueError: the cases put another number of questions.
        """
        asked = _questions(cases)
        if len(asked) != len(numbers):
            raise ValueError(f"the metric {self.name!r} has {len(numbers)} numbers for {len(asked)} questions")
        own = [
            None if number is None else self.value_at(one, number) for one, number in zip(asked, numbers, strict=True)
        ]
        return mean(own) if own else None

    def value(self, cases: ScoredCases) -> float | None:
        """Nothing: these cases alone do not decide it.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"the metric {self.name!r} needs what validation cases decided; no other cases may decide it")


def fit_metrics(metrics: Iterable[Metric], validation: ScoredCases | MultiLabelCases) -> dict[str, list[float | None]]:
    """What validation cases decide for those of some metrics that need it, by name."""
    return {metric.name: metric.fitted(validation) for metric in metrics if isinstance(metric, FittedMetric)}


def _questions(cases: ScoredCases | MultiLabelCases) -> list[ScoredCases]:
    if isinstance(cases, MultiLabelCases):
        return cases.each_class()
    return [cases] if cases.classes == 2 else []
