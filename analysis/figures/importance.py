"""How much each hyperparameter mattered in a search, measured without a model of the scores.

The finished slots are put into three groups of equal size by the value of one hyperparameter (a category is a group of
its own). Its importance is the share of the variance of the validation scores that lies between the groups, corrected
for their number: ``epsilon² = 1 - (1 - eta²) (n - 1) / (n - groups)`` (Kelley, PNAS 21, 1935). It sees effects of
any shape, but not those that only two hyperparameters have together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from analysis.stats.estimate import FloatArray

if TYPE_CHECKING:
    import polars as pl

FEWEST_TRIALS = 8
"""Below these a share of variance says nothing."""
GROUPS, REARRANGEMENTS, CHANCE = 3, 500, 0.95
NOISE_SEEDS = 3
"""Fewest seeds from which their variance is estimated."""


@dataclass(frozen=True, slots=True)
class Importance:
    """One hyperparameter."""

    name: str
    share: float
    """Of the variance, at most 1; below 0 where the groups differ less than chance would have it on average."""
    by_chance: float
    """What 95 % of random rearrangements of the scores stay below."""


@dataclass(frozen=True, slots=True)
class SearchImportance:
    """The search of one method on one dataset."""

    dataset: str
    method: str
    trials: int
    importances: tuple[Importance, ...]
    """The largest first; without those that never varied, or took nearly as many values as there were trials."""
    seed_noise: float | None
    """Share of the same variance that other seeds alone would give, in [0, 1]; None without enough confirm seeds."""


def importances(trials: pl.DataFrame, metric: str) -> list[SearchImportance]:
    """The importance of every hyperparameter in every search with enough finished slots.

    Several search seeds of a slot are averaged. The noise of the seed is the variance of the validation score over the
    confirm seeds of the chosen configuration, divided by the number of search seeds.

    Args:
        trials: ``frames.trials`` of a run.
        metric: that the search optimised, without its prefix.

    Returns:
        One a study, by dataset and method.
    """
    import json

    import polars as pl

    done = trials.filter((pl.col("status") == "done") & pl.col(f"val_{metric}").is_not_null())
    result = []
    slots = slot_scores(trials, metric)
    for (dataset, method), own in sorted(slots.group_by(["dataset", "method"])):
        if own.height < FEWEST_TRIALS:
            continue
        own = own.sort("search_number", "slot")
        scores = own["score"].to_numpy()
        confirmed = done.filter(
            (pl.col("stage") == "confirm") & pl.col("chosen") & (pl.col("dataset") == dataset)
            & (pl.col("method") == method)
        )[f"val_{metric}"].to_numpy()  # fmt: skip
        spread, noise = float(np.var(scores, ddof=1)), None
        if len(confirmed) >= NOISE_SEEDS and spread > 0:
            noise = min(1.0, float(np.var(confirmed, ddof=1)) / own["seeds"][0] / spread)
        settings = [json.loads(text) for text in own["hyperparameters"]]
        result.append(SearchImportance(str(dataset), str(method), own.height, of_settings(settings, scores), noise))
    return result


def slot_scores(trials: pl.DataFrame, metric: str) -> pl.DataFrame:
    """The finished search slots: ``dataset``, ``method``, ``search_number``, ``slot``, ``score``, ``seconds``,
    ``seeds`` and their ``hyperparameters``.

    ``score`` is the mean over the search seeds; a slot that lacks one of them is not finished. ``seconds`` of training
    are the sum over them, null where one recorded none.
    """
    import polars as pl

    search, value = trials.filter(pl.col("stage") == "search"), pl.col(f"val_{metric}")
    study = ["dataset", "method"]
    wanted = search.group_by(study).agg(pl.col("seed").n_unique().alias("wanted"))
    own = search.filter((pl.col("status") == "done") & value.is_not_null()).group_by([*study, "search_number", "slot"])
    time = pl.col("train_seconds")
    table = own.agg(
        value.mean().alias("score"),
        pl.when(time.null_count() == 0).then(time.sum()).alias("seconds"),
        pl.len().alias("seeds"),
        pl.col("hyperparameters").first(),
    )
    return (
        table.join(wanted, on=study).filter(pl.col("seeds") == pl.col("wanted")).sort([*study, "search_number", "slot"])
    )


def of_settings(settings: Sequence[Mapping[str, object]], scores: FloatArray) -> tuple[Importance, ...]:
    """The importance of each hyperparameter, the largest first.

    Args:
        settings: one a trial, name → value; a name may be absent where it did not apply.
        scores: shape (n,), finite.
    """
    if np.ptp(scores) == 0:
        return ()
    rng = np.random.default_rng(0)
    random = np.stack([rng.permutation(scores) for _ in range(REARRANGEMENTS)])
    result = []
    for name in sorted({name for one in settings for name in one}):
        groups = _groups([one.get(name) for one in settings])
        number = int(groups.max()) + 1
        if number < 2 or number > len(scores) // 2:
            continue
        share = float(_share(groups, scores[None])[0])
        by_chance = float(np.quantile(_share(groups, random), CHANCE))
        result.append(Importance(name, share, by_chance))
    return tuple(sorted(result, key=lambda one: (-one.share, one.name)))


def _groups(values: Sequence[Any]) -> npt.NDArray[np.int64]:
    """The group of each trial, from 0 without gaps."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(values) and len(set(numbers)) > GROUPS:
        array = np.array(numbers, dtype=np.float64)
        # Trials with the same value have the same middle rank, so they stay together.
        middle = (array[None] < array[:, None]).sum(axis=1) + (array[None] == array[:, None]).sum(axis=1) / 2
        keys: list[Any] = np.minimum(GROUPS - 1, (GROUPS * middle / len(values)).astype(np.int64)).tolist()
    else:
        keys = [repr(value) for value in values]
    order = {key: place for place, key in enumerate(sorted(set(keys)))}
    return np.array([order[key] for key in keys], dtype=np.int64)


def _share(groups: npt.NDArray[np.int64], scores: FloatArray) -> FloatArray:
    """Epsilon squared of each row of ``scores``, shape (rows, n)."""
    count, number = scores.shape[1], int(groups.max()) + 1
    members = np.eye(number)[groups]
    centred = scores - scores.mean(axis=1, keepdims=True)
    between = (np.square(centred @ members) / members.sum(axis=0)).sum(axis=1)
    eta = between / np.square(centred).sum(axis=1)
    result: FloatArray = 1 - (1 - eta) * (count - 1) / (count - number)
    return result
