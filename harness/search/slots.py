"""Results of search trials as what their slots taught."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.files import TornFileError
from harness.metrics.facts import MetricFacts
from harness.run.outcome import mean_score, outcome_of
from harness.run.record_values import score_of
from harness.run.trial import TrialFolder
from harness.run.trial_records import CurveLine, TrialResult
from harness.search import Asked
from harness.spec.search import SearchSpec


def finished_slot(
    slot: int, first: TrialFolder, results: Sequence[TrialResult], search: SearchSpec, metric: MetricFacts
) -> Asked:
    """What a slot taught whose trials are finished.

    Args:
        slot: its number.
        first: the trial of its first tuning seed, which alone was pruned if the slot was.
        results: of its trials, in the order of the seeds; each repeats what was asked.
        search: how the study is searched.
        metric: by which it is searched.
    """
    curve: tuple[float, ...] = ()
    if search.pruner != "none" and results[0]["status"] != "failed":
        try:
            curve = tuple(epoch_score(line, metric) for line in first.curve())
        except TypeError as error:
            raise TornFileError(first.curve_path) from error
    pruned = results[0]["status"] == "pruned"
    return Asked(slot, results[0]["hyperparameters"], slot_score(results, metric), pruned, curve)


def slot_score(results: Sequence[TrialResult | None], metric: MetricFacts) -> float | None:
    """The score of a slot, signed so that higher is better.

    Args:
        results: of its trials, one a tuning seed; None for one that is not finished.
        metric: that its search goes by.
    """
    mean = mean_score(None if result is None else outcome_of(result, metric.name) for result in results)
    return None if mean is None else metric.sign * mean


def epoch_score(line: CurveLine, metric: MetricFacts) -> float:
    """The validation score of one line of a curve, signed so that higher is better.

    Raises:
        TypeError: it is not defined.
    """
    score = score_of(line["val"], metric.name)
    if score is None:
        raise TypeError(f"{metric.name} of epoch {line['epoch']} is not defined")
    return metric.sign * float(score)
