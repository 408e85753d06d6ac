"""Each method's metrics as tables of seeds × cases, which is what intervals over both are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from analysis.comparison.evidence import Predictions
from analysis.stats.cautions import Caution, absent_class
from analysis.stats.estimate import FloatArray
from harness.metrics.repeated import RepeatedCases, RepeatedMultiLabelCases
from harness.metrics.table import known_by_case


def case_values(metrics: Sequence[str], logits: FloatArray, predictions: Predictions) -> dict[str, FloatArray]:
    """Tables whose mean over cases is a metric of each seed, exactly.

    Args:
        metrics: which; those that are not built in are left out, and those that these labels leave undefined.
        logits: of one method, shape (seeds, cases, classes).
        predictions: of the dataset; they hold labels and groups.

    Returns:
        Metric → shape (seeds, cases), float64.

    Raises:
        ValueError: shapes that do not fit, or a logit that is not finite.
    """
    return {name: table for name, table in _tables(metrics, logits, predictions) if table is not None}


def tables_of(metrics: Sequence[str], predictions: Predictions, method: str) -> Mapping[str, FloatArray]:
    """The tables of one method, over all seeds of which there are predictions, ascending; as ``case_values``."""
    own = predictions.averaged.get(method)
    if own is not None:
        return own.values
    known = predictions.logits[method]
    return case_values(metrics, np.stack([known[seed] for seed in sorted(known)]), predictions)


def _tables(
    metrics: Sequence[str], logits: FloatArray, predictions: Predictions
) -> Iterator[tuple[str, FloatArray | None]]:
    wanted = [known_by_case()[name] for name in metrics if name in known_by_case()]
    if predictions.labels.ndim == 2:
        several = RepeatedMultiLabelCases(logits, predictions.labels, predictions.groups)
        yield from ((one.name, one.multi_label_case_values(several)) for one in wanted if one.multi_label)
    else:
        cases = RepeatedCases(logits, predictions.labels, predictions.groups)
        yield from ((one.name, one.case_values(cases)) for one in wanted)


def undefined(metric: str, predictions: Predictions) -> Caution | None:
    """Why the labels leave a metric without ``case_values``; None where it has none on any labels."""
    if metric not in known_by_case():
        return None
    support = predictions.support
    if predictions.labels.ndim == 2:
        support |= {f"absent {name}": predictions.cases - count for name, count in support.items()}
    return absent_class(support)
