"""Metrics of ranking: whether cases of a class score higher than others."""

from __future__ import annotations

from harness.metrics.cases import MultiLabelCases, ScoredCases
from harness.metrics.influence import area_values, mean_values, precision_values
from harness.metrics.metric import Metric
from harness.metrics.parts import FloatArray, average_precision, mean
from harness.metrics.repeated import RepeatedCases, RepeatedMultiLabelCases


class AreaUnderCurve(Metric):
    """Mean over classes of the one-versus-rest ROC AUC, ties by midranks; with one label on softmax probabilities.

    With several labels an image it is, like ``accuracy``, that of MedMNIST (Yang et al. 2023).
    """

    name = "auc"
    label, phrase = "AUC", "AUC"
    higher_is_better, bounds = True, (0.0, 1.0)
    place = 2
    pseudo_values = "AUC (DeLong, DeLong and Clarke-Pearson 1988)"

    def value(self, cases: ScoredCases) -> float | None:
        return mean(cases.areas)

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        return mean(cases.areas)

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        scores, classes = cases.probabilities, range(cases.classes)
        return mean_values(area_values(scores[:, :, k], cases.labels == k, cases.groups) for k in classes)

    def multi_label_case_values(self, cases: RepeatedMultiLabelCases) -> FloatArray | None:
        classes = range(cases.classes)
        return mean_values(area_values(cases.logits[:, :, k], cases.actual[:, k], cases.groups) for k in classes)

    def per_class(self, cases: ScoredCases | MultiLabelCases) -> list[float | None]:
        return cases.areas

    def chance(self, classes: int | None) -> float | None:
        return 0.5


class AveragePrecision(Metric):
    """Mean over classes of the one-versus-rest average precision, the sum over thresholds of precision × recall gained.

    It is not interpolated (Davis and Goadrich 2006), and is scikit-learn's ``average_precision_score`` with the macro
    average. With one label it ranks softmax probabilities. A prediction that knows nothing has each class's share.
    """

    name = "average_precision"
    label, phrase = "Average precision", "average precision"
    higher_is_better, bounds = True, (0.0, 1.0)
    on_request = True
    pseudo_values = "average precision"

    def value(self, cases: ScoredCases) -> float | None:
        return mean(self.per_class(cases))

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        return mean(self.per_class(cases))

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        scores, classes = cases.probabilities, range(cases.classes)
        return mean_values(precision_values(scores[:, :, k], cases.labels == k) for k in classes)

    def multi_label_case_values(self, cases: RepeatedMultiLabelCases) -> FloatArray | None:
        classes = range(cases.classes)
        return mean_values(precision_values(cases.logits[:, :, k], cases.actual[:, k]) for k in classes)

    def per_class(self, cases: ScoredCases | MultiLabelCases) -> list[float | None]:
        if isinstance(cases, MultiLabelCases):
            return [average_precision(cases.logits[:, k], cases.actual[:, k]) for k in range(cases.classes)]
        return [average_precision(cases.probabilities[:, k], cases.labels == k) for k in range(cases.classes)]
