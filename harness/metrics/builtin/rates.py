"""Rates of the classes that not every trial computes: what a decision for or against a class is worth."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np

from harness.metrics.cases import MultiLabelCases, ScoredCases
from harness.metrics.influence import by_confusion, mean_values, rates_slope
from harness.metrics.metric import Metric
from harness.metrics.parts import FloatArray, IntArray, class_counts, mean, ratio
from harness.metrics.repeated import RepeatedCases, RepeatedMultiLabelCases

_WITH = slice(1, None)
"""Of the two classes without and with a label, the latter."""


_HITS, _SUPPORT, _CALLED, _CASES = np.eye(4)
"""Each of the counts of a class that ``class_counts`` gives, as the weights with which a rate adds them up."""
_REJECTIONS = _CASES - _SUPPORT - _CALLED + _HITS
"""Cases that are neither of the class nor predicted to be."""


class _MeanRate(Metric):
    """The mean over classes of a rate; with several labels an image of having each label.

    Undefined where one class's rate is, since averages over the other classes are not comparable.
    """

    higher_is_better, bounds = True, (0.0, 1.0)
    on_request = True
    counted: ClassVar[FloatArray]
    """Weights of a class's counts in the numerator of its rate."""
    among: ClassVar[FloatArray]
    """The same for the denominator."""

    def rates(self, confusion: IntArray) -> list[float | None]:
        """Each class's rate by the counts; None where its denominator is 0."""
        counts = class_counts(confusion)
        return ratio(self.counted @ counts, self.among @ counts)

    def value(self, cases: ScoredCases) -> float | None:
        return mean(self.rates(cases.confusion))

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        return mean(self.per_class(cases))

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        return self._of(cases, slice(None))

    def multi_label_case_values(self, cases: RepeatedMultiLabelCases) -> FloatArray | None:
        return mean_values(self._of(alone, _WITH) for alone in cases.each_class())

    def per_class(self, cases: ScoredCases | MultiLabelCases) -> list[float | None]:
        if isinstance(cases, MultiLabelCases):
            return [rate for table in cases.confusion for rate in self.rates(table)[_WITH]]
        return self.rates(cases.confusion)

    def _of(self, cases: RepeatedCases, classes: slice) -> FloatArray | None:
        slope = partial(rates_slope, counted=self.counted, among=self.among, classes=classes)
        return by_confusion(cases, lambda table: mean(self.rates(table)[classes]), slope)


class MacroSpecificity(_MeanRate):
    """Mean over classes of TN / (TN + FP), the share of the other cases that are not taken for the class.

    With two classes it is the balanced accuracy. See Altman and Bland 1994 (BMJ 308:1552). The classes' own values are
    in every result, as ``specificity``.
    """

    name = "macro_specificity"
    label, phrase = "Macro specificity", "macro specificity"
    pseudo_values = "macro specificity"
    counted, among = _REJECTIONS, _CASES - _SUPPORT

    def chance(self, classes: int | None) -> float | None:
        return 1 - 1 / classes if classes else None


class MacroPositivePredictiveValue(_MeanRate):
    """Mean over classes of TP / (TP + FP), the share of cases called so that are; undefined if a class is never called.

    With one label each it is the macro precision of Sokolova and Lapalme 2009; predictive values: Altman and Bland 1994
    (BMJ 309:102). They hold for the share of cases that each class has in this test set.
    """

    name = "macro_ppv"
    label, phrase = "Macro PPV", "macro positive predictive value"
    pseudo_values = "macro positive predictive value"
    counted, among = _HITS, _CALLED


class MacroNegativePredictiveValue(_MeanRate):
    """Mean over classes of TN / (TN + FN), the share of the cases not called so that are not; undefined if all are.

    With two classes and one label each it is ``macro_ppv``. See Altman and Bland 1994 (BMJ 309:102).
    """

    name = "macro_npv"
    label, phrase = "Macro NPV", "macro negative predictive value"
    pseudo_values = "macro negative predictive value"
    counted, among = _REJECTIONS, _CASES - _CALLED


class MacroF2(_MeanRate):
    """Mean over classes of F2 = 5 TP / (5 TP + 4 FN + FP), which counts sensitivity twice as much as precision.

    It is F-beta of van Rijsbergen 1979 with beta = 2: (1 + b²) P R / (b² P + R). Undefined, as ``macro_f1`` is, where a
    class has no case.
    """

    name = "macro_f2"
    label, phrase = "Macro F2", "macro-F2"
    pseudo_values = "macro-F2"
    counted, among = 5 * _HITS, 4 * _SUPPORT + _CALLED

    def rates(self, confusion: IntArray) -> list[float | None]:
        present = confusion.sum(axis=1) > 0
        return [rate if one else None for rate, one in zip(super().rates(confusion), present, strict=True)]
