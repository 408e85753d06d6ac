"""Results of search trials as what their slots taught."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from harness.core.files import TornFileError
from harness.metrics.table import METRICS
from harness.run.directory import TrialFolder
from harness.run.records import CurveLine, TrialResult, score_of
from harness.search import Asked
from harness.spec.search import SearchSpec


def finished_slot(
    slot: int, trials: Sequence[TrialFolder], results: Sequence[TrialResult], search: SearchSpec
) -> Asked:
    """What a slot taught whose trials are finished.

    Args:
        slot: its number.
        trials: one a tuning seed, in their order; the first one alone where that was pruned.
        results: theirs, each of which repeats what was asked.
        search: how the study is searched.
    """
    curve: tuple[float, ...] = ()
    if search.pruner != "none" and results[0]["status"] != "failed":
        try:
            curve = tuple(epoch_score(line, search.metric) for line in trials[0].curve())
        except TypeError as error:
            raise TornFileError(trials[0].curve_path) from error
    pruned = results[0]["status"] == "pruned"
    return Asked(slot, results[0]["hyperparameters"], slot_score(results, search.metric), pruned, curve)


def result_of(trial: TrialFolder) -> TrialResult | None:
    """The result of a trial; None while it is not finished.

    Raises:
        TornFileError: it is not readable.
    """
    try:
        return trial.result()
    except FileNotFoundError:
        return None


def slot_score(results: Sequence[TrialResult | None], metric: str) -> float | None:
    """Mean validation score over a slot's tuning seeds, signed so that higher is better.

    None when a seed has no result yet, failed, or has no defined score.
    """
    values = [score_of(r["metrics"]["val"], metric) for r in results if r is not None and r["status"] == "done"]
    scores = [value for value in values if value is not None]
    return None if len(scores) < len(results) else sign_of(metric) * fmean(scores)


def epoch_score(line: CurveLine, metric: str) -> float:
    """The validation score of one line of a curve, signed so that higher is better.

    Raises:
        TypeError: it is not defined.
    """
    score = score_of(line["val"], metric)
    if score is None:
        raise TypeError(f"{metric} of epoch {line['epoch']} is not defined")
    return sign_of(metric) * float(score)


def sign_of(metric: str) -> int:
    """1 where more of a metric is better, -1 where less is."""
    return 1 if METRICS[metric] else -1
