"""The contract of a metric: what it is called, which way it points, and how it is computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from harness.core.pluggable import Pluggable
from harness.metrics.facts import MetricFacts
from harness.metrics.influence import mean_values
from harness.metrics.parts import FloatArray, mean

if TYPE_CHECKING:
    from harness.metrics.cases import MultiLabelCases, ScoredCases
    from harness.metrics.repeated import RepeatedCases, RepeatedMultiLabelCases

PER_CLASS = "_per_class"
"""Ends the name of a metric's list over classes."""
COUNTS = ("sensitivity", "specificity", "confusion", "support")
"""What is stored beside metrics: counts and rates, class by class."""
LONGEST_TEXT = 80


class Metric(Pluggable, ABC):
    """A score of predictions: one number for a set of cases.

    A subclass sets ``name``, ``label``, ``phrase``, ``higher_is_better`` and ``bounds``, and defines ``value``.
    """

    kind = "metric"
    required = ("label", "phrase", "higher_is_better", "bounds")

    label: ClassVar[str]
    """Heading of a table's column, such as ``Balanced accuracy``."""
    phrase: ClassVar[str]
    """Its name within a sentence, such as ``balanced accuracy``."""
    higher_is_better: ClassVar[bool]
    bounds: ClassVar[tuple[float, float]]
    """Smallest and largest value that it can have; infinite where there is none."""
    needs_order: ClassVar[bool] = False
    """Whether it is defined for classes in an order alone."""
    multi_label: ClassVar[bool] = True
    """Whether it is defined where an image may have several labels."""
    compared: ClassVar[bool] = True
    """Whether methods are compared by it although it is not the primary metric."""
    on_request: ClassVar[bool] = False
    """Of a built-in metric: whether only those trials compute it whose sweep file names it."""
    by_case: ClassVar[bool] = True
    """Of a built-in metric: whether a report can compute the value of each case, and so has intervals over cases."""
    place: ClassVar[int] = 100
    """Its place among the columns of a table; those of one place are in the order of their names."""
    pseudo_values: ClassVar[str | None] = None
    """How a methods section names it where ``case_values`` are pseudo-values, the metric plus the influence of each
    case; None where they are each case's own score."""

    @abstractmethod
    def value(self, cases: ScoredCases) -> float | None:
        """The metric of cases with one label each; None where these cases leave it undefined.

        Args:
            cases: logits and labels, and what metrics share of them.
        """

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        """The metric of cases with any number of labels; None where these cases leave it undefined.

        By default the unweighted mean over the classes of ``value`` for each class alone (has the image the label?).
        """
        return mean([self.value(alone) for alone in cases.each_class()])

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        """A value for each training and case, whose mean over the cases is the metric of that training, exactly.

        A report makes the interval over seeds and test cases of them. It does so for built-in metrics alone, because
        it runs none of a plugin's code.

        Args:
            cases: as several trainings predict them.

        Returns:
            Shape (seeds, cases); None, as by default, where these cases leave the metric undefined or it has no such
            values.
        """
        return None

    def multi_label_case_values(self, cases: RepeatedMultiLabelCases) -> FloatArray | None:
        """``case_values`` of cases with any number of labels.

        By default the mean over the classes of ``case_values`` for each class alone.
        """
        return mean_values(self.case_values(alone) for alone in cases.each_class())

    def per_class(self, cases: ScoredCases | MultiLabelCases) -> list[float | None] | None:
        """The metric of each class, which is stored as ``NAME_per_class``; None where there is no such thing."""
        return None

    def chance(self, classes: int | None) -> float | None:
        """What a constant prediction scores, where that is a fixed number.

        Args:
            classes: how many there are; None where that is not known.
        """
        return None

    @classmethod
    def facts(cls) -> MetricFacts:
        """What is said of it."""
        low, high = cls.bounds
        return MetricFacts(
            name=cls.name,
            label=cls.label,
            phrase=cls.phrase,
            higher_is_better=cls.higher_is_better,
            bounds=(float(low), float(high)),
            needs_order=cls.needs_order,
            compared=cls.compared,
            pseudo_values=cls.pseudo_values,
            by_case=cls.by_case,
        )

    @classmethod
    def fault(cls) -> str | None:
        """Why it cannot be used."""
        if cls.name in COUNTS or cls.name.endswith(PER_CLASS):
            return f"is called {cls.name!r}, which names something else in a result; choose another name"
        if not cls.documented():
            return "has no docstring; write what it measures and where it is defined, its first line is in lists"
        for attribute in ("label", "phrase"):
            text = getattr(cls, attribute)
            if not isinstance(text, str) or not text.strip() or not text.isprintable() or len(text) > LONGEST_TEXT:
                return f"has the {attribute} {text!r}; write up to {LONGEST_TEXT} characters on one line"
        if not isinstance(cls.higher_is_better, bool):
            return f"has higher_is_better = {cls.higher_is_better!r}; write True or False"
        try:
            low, high = map(float, cls.bounds)
        except (TypeError, ValueError):
            return f"has the bounds {cls.bounds!r}; write two numbers, such as (0.0, 1.0)"
        if not low < high:
            return f"has the bounds {cls.bounds!r}; the first must be below the second"
        return None
