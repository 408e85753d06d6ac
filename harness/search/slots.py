"""Results of search trials as what their slots taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from harness.core.files import TornFileError
from harness.metrics.table import METRICS
from harness.run.directory import TrialFolder
from harness.search import Asked
from harness.spec.search import SearchSpec


def finished_slot(
    slot: int, trials: Sequence[TrialFolder], results: Sequence[dict[str, Any]], search: SearchSpec
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
            curve = tuple(sign_of(search.metric) * line["val"][search.metric] for line in trials[0].curve())
        except (KeyError, TypeError) as error:
            raise TornFileError(trials[0].curve_path) from error
    pruned = results[0]["status"] == "pruned"
    return Asked(slot, results[0]["hyperparameters"], slot_score(results, search.metric), pruned, curve)


def result_of(trial: TrialFolder) -> dict[str, Any] | None:
    """The result of a trial; None while it is not finished.

    Raises:
        TornFileError: it is not readable.
    """
    try:
        return trial.result()
    except FileNotFoundError:
        return None


def slot_score(results: Sequence[dict[str, Any] | None], metric: str) -> float | None:
    """Mean validation score over a slot's tuning seeds, signed so that higher is better.

    None when a seed has no result yet, failed, or has no defined score.
    """
    values = [r["metrics"]["val"].get(metric) for r in results if r is not None and r["status"] == "done"]
    if len(values) < len(results) or any(value is None for value in values):
        return None
    return sign_of(metric) * fmean(values)


def epoch_score(line: Mapping[str, Any], metric: str) -> float:
    """The validation score of one line of a curve, signed so that higher is better."""
    return sign_of(metric) * float(line["val"][metric])


def sign_of(metric: str) -> int:
    """1 where more of a metric is better, -1 where less is."""
    return 1 if METRICS[metric] else -1
