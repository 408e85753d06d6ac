"""What methods are scored on beside their own source's test split, in the form that the comparison reads.

The scores of a shift are evidence of the same form as those of the test split: the same trainings, scored on other
cases, or on damaged copies of the same. So they are compared by the same analysis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from analysis.comparison.evidence import Averaged, Evidence, Predictions
from harness.metrics.facts import MetricFacts


@dataclass(frozen=True, slots=True, eq=False)
class ShiftTables:
    """The metrics of all methods under the parts of a shift, by case."""

    predictions: Predictions
    """The cases; ``averaged`` has the means over all sets."""
    by_set: Mapping[str, Mapping[str, Averaged]] = field(default_factory=dict)
    """Set → method → mean over its severities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One question: how the methods do on some cases that are not like those they were trained on.

    Where a shift has several sets (corruptions at several severities), its scores are the means over all of them, each
    with the same weight. That mean is what verdicts are about.
    """

    name: str
    """Of the evaluation, and of its set where it has several that are no damaged copies of the same cases."""
    kind: str
    sets: tuple[str, ...]
    severities: tuple[int, ...]
    """Ascending; empty where there are none."""
    evidence: Evidence
    """The scores under the shift; datasets are those that have it."""
    reference: Evidence
    """The scores that a drop is measured from."""
    reference_name: str
    """In words."""
    declared: bool = False
    """Whether the comparison under the shift is the main one of the report: the test split is the shift itself."""
    undefined: str = ""
    """The primary metric of the report, where it is not defined on these cases, which lack a class: methods are
    compared by accuracy there. Empty where it is defined."""
    same_cases: bool = False
    """Whether its cases are those of the reference."""
    by_severity: Mapping[tuple[str, str], Mapping[tuple[str, int], Mapping[int, float | None]]] = field(
        default_factory=dict
    )
    """(dataset, method) → (set, severity) → seed → score by the primary metric."""
    error_rates: Mapping[tuple[str, str], Mapping[str, Mapping[int, float]]] = field(default_factory=dict)
    """(dataset, method) → set → seed → error rate, the mean over severities."""
    parts: Callable[[str], ShiftTables | None] = lambda dataset: None
    """Reads the parts of a dataset; None where replicates have test cases of their own, or predictions are missing."""
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Dataset → reason → cases that were not scored."""
    cases: Mapping[str, int] = field(default_factory=dict)
    """Dataset → cases of each set."""

    @property
    def measure(self) -> MetricFacts:
        """What is said of the primary metric."""
        return self.evidence.plan.facts(self.evidence.plan.metric)
