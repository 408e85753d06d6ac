"""What one study of a run says so far: its scores, its search, its cost, and what is missing."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from analysis.runs.costs import StudyCost, study_cost
from analysis.stats.estimate import Estimate, mean_over_seeds
from harness.metrics.facts import MetricFacts
from harness.run.record_values import Space
from harness.run.study_folder import StudyFolder
from harness.run.study_records import ChoiceRecord, ReplicateChoice, StudyPrior, StudyRecord, choice_for, reevaluated
from harness.run.sweep_records import AugmentationRecord


@dataclass(frozen=True, slots=True)
class SeedScore:
    """One metric on the test split over the confirm seeds of one study.

    The scope is "seeds": retraining on this data, scored on this test set. It says nothing about new cases.
    """

    metric: str
    values: dict[int, float | None]
    """Seed → value; None where the metric is undefined."""
    mean: float | None
    """None without a seed, or when one leaves the metric undefined: a mean of the others would hide that."""
    sd: float | None
    """Sample standard deviation; None with ``mean``, or for one seed."""
    over_seeds: Estimate | None
    """None with ``sd``; without an interval where all seeds agree."""

    @property
    def undefined(self) -> int:
        """Seeds whose value is undefined."""
        return sum(value is None for value in self.values.values())


@dataclass(frozen=True, slots=True)
class Stage:
    """How far one stage of a study is."""

    declared: int
    done: int
    failed: int
    causes: dict[str, int]
    pruned: int = 0
    """Trials that the search ended at a rung."""

    @property
    def missing(self) -> int:
        """Declared trials without a result."""
        return max(0, self.declared - self.done - self.failed - self.pruned)


@dataclass(frozen=True, slots=True)
class StudySummary:
    """One method on one dataset."""

    dataset: str
    method: str
    plugin: str
    summary: str
    missing: tuple[str, ...]
    """What is still to come, in words; empty when the study is complete."""
    search: Stage
    confirm: Stage
    slots: int
    seeds: tuple[int, ...]
    """Confirm seeds that are done, ascending."""
    search_seeds: tuple[int, ...]
    space: Space
    augmentation: AugmentationRecord | None
    """The largest random changes of training images as the dataset has them; None in studies that do not tell."""
    prior: StudyPrior | None
    """What an earlier run had found, where the search began from that, as ``study.json`` tells it."""
    chosen: ChoiceRecord | None
    """What the search chose, of several searches the first; None until all of them have chosen."""
    searches: int
    """How many searches the method had on the dataset."""
    configurations: tuple[ReplicateChoice, ...]
    """The different configurations that replicates are trained with, in the order of their seeds; empty with
    ``chosen``."""
    splits: int
    """How many splits the replicates draw; 0 where all share one."""
    again: Stage
    """The best slots on a further tuning seed, where the choice rests on that."""
    default_value: float | None
    """Validation score of slot 0, mean over the search seeds; None unless every one of them is done."""
    confirmed_value: float | None
    """Validation score of the chosen configuration, mean over the confirm seeds."""
    scores: dict[str, SeedScore]
    trainable: tuple[int, ...]
    """Distinct counts of trained parameters among the confirm trials, head not counted."""
    head: tuple[int, ...]
    on_features: bool
    """Whether every confirm trial that is done trained the head alone, on features that were computed once."""
    train_seconds: float | None
    """Median over the trials of both stages that are done."""
    cost: StudyCost

    @property
    def state(self) -> str:
        """``complete``, or the stage that is not."""
        if not self.missing:
            return "complete"
        if self.search.missing:
            return "search unfinished" if self.search.done + self.search.failed + self.search.pruned else "not begun"
        return "confirmation unfinished" if self.chosen is not None else "nothing chosen"


def dataset_and_method(description: StudyRecord) -> tuple[str, str]:
    """What a study is of, by label."""
    return str(description["dataset"]), str(description["label"])


def study_summary(
    searches: Sequence[tuple[StudyFolder, StudyRecord]], own: pl.DataFrame, metric: str, metrics: Iterable[str]
) -> StudySummary:
    """What the files of a study say.

    Args:
        searches: the folder and description of each search of its method on its dataset, by number.
        own: its ``frames.trials``.
        metric: the primary one.
        metrics: all that tables show.
    """
    description = searches[0][1]
    choices = [folder.chosen() for folder, _ in searches]
    made = [choice for choice in choices if choice is not None]
    chosen = made[0] if len(made) == len(choices) else None
    dataset, method = dataset_and_method(description)
    searched, repeated, confirmed = (own.filter(pl.col("stage") == s) for s in ("search", "again", "confirm"))
    slots, search_seeds = sum(int(one["search_slots"]) for _, one in searches), list(description["search_seeds"])
    confirm_seeds = [int(seed) for _, one in searches for seed in one["confirm_seeds"]]
    done = confirmed.filter(pl.col("status") == "done").sort("seed")
    # Where the first tuning seed was pruned, the slot has no other trials.
    unneeded = searched.filter(pl.col("status") == "pruned").height * (len(search_seeds) - 1)
    search = _stage(searched, slots * len(search_seeds) - unneeded)
    again = _stage(repeated, sum(reevaluated(one) for _, one in searches))
    confirm = _stage(confirmed, len(confirm_seeds))
    finished = confirmed.filter(pl.col("status") != "unfinished")
    waiting = sorted(set(confirm_seeds) - set(finished["seed"]))
    first = searched.filter(pl.col("search_number") == description.get("search_number", 0))
    default = first.filter((pl.col("slot") == 0) & (pl.col("status") == "done"))
    timed = own.filter((pl.col("status") == "done") & pl.col("stage").is_in(["search", "again", "confirm"]))
    seconds = timed["train_seconds"].drop_nulls().to_list()
    return StudySummary(
        dataset=dataset,
        method=method,
        plugin=str(description["method"]),
        summary=str(description.get("summary", "")),
        missing=tuple(_missing(search, again, chosen, waiting)),
        search=search,
        confirm=confirm,
        slots=slots,
        seeds=tuple(done["seed"]),
        search_seeds=tuple(search_seeds),
        space=description["space"],
        augmentation=description["identity"].get("dataset", {}).get("augmentation"),
        prior=description.get("prior"),
        chosen=chosen,
        searches=len(searches),
        configurations=tuple(_confirmed_configurations(made)) if chosen is not None else (),
        splits=len({one["split"] for _, record in searches for one in record.get("replicates", ())}),
        again=again,
        default_value=_mean(default[f"val_{metric}"], len(search_seeds)),
        confirmed_value=_mean(done[f"val_{metric}"], done.height),
        scores={name: _score(name, done) for name in metrics},
        trainable=_distinct(done["trainable"]),
        head=_distinct(done["head"]),
        on_features=done.height > 0 and bool(done["on_features"].fill_null(False).all()),
        train_seconds=statistics.median(seconds) if seconds else None,
        cost=study_cost(done, timed),
    )


def _confirmed_configurations(choices: Sequence[ChoiceRecord]) -> Iterator[ReplicateChoice]:
    own = [one for choice in choices for one in choice.get("replicates", {}).items()]
    every = [one for _, one in sorted(own, key=lambda pair: int(pair[0]))]
    every = every or [choice_for(choice, 0) for choice in choices]
    yield from {one["configuration"]: one for one in every}.values()


def _stage(trials: pl.DataFrame, declared: int) -> Stage:
    failed = trials.filter(pl.col("status") == "failed")
    causes = failed.select(pl.col("cause").fill_null("unknown")).group_by("cause").len().sort("cause")
    done = trials.filter(pl.col("status") == "done").height
    pruned = trials.filter(pl.col("status") == "pruned").height
    return Stage(declared, done, failed.height, dict(causes.iter_rows()), pruned)


def _missing(search: Stage, again: Stage, chosen: ChoiceRecord | None, waiting: Sequence[int]) -> list[str]:
    parts = []
    if search.missing > 0:
        parts.append(f"search: {search.missing} of {search.declared} trials have no result")
    if chosen is None:
        if again.missing > 0:
            parts.append(f"re-evaluation: {again.missing} of {again.declared} trials have no result")
        parts.append("no configuration chosen yet")
    if waiting:
        parts.append(f"confirm: no result for {_seeds(waiting)}")
    return parts


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _score(metric: str, done: pl.DataFrame) -> SeedScore:
    values: dict[int, float | None] = dict(done.select("seed", f"test_{metric}").iter_rows())
    defined = [value for value in values.values() if value is not None]
    if not defined or len(defined) < len(values):
        return SeedScore(metric, values, None, None, None)
    mean = statistics.mean(defined)
    if len(defined) == 1:
        return SeedScore(metric, values, mean, None, None)
    return SeedScore(metric, values, mean, statistics.stdev(defined), mean_over_seeds(np.array(defined)))


def _mean(values: pl.Series, expected: int) -> float | None:
    if expected == 0 or len(values) != expected or values.null_count():
        return None
    return float(statistics.mean(values.to_list()))


def _distinct(values: pl.Series) -> tuple[int, ...]:
    return tuple(sorted(values.drop_nulls().unique()))


def optimism(study: StudySummary, metric: MetricFacts) -> float | None:
    """By how much the chosen configuration looked better in the search than it is, on the same validation images.

    What the search promised (the best validation score, or what its model expected) minus the mean validation score
    over the confirm seeds, with the sign turned where lower is better; None while either is unknown. A test score in
    its place would mix the luck of the selection with the difference of two sets of images.
    """
    # On another split, or by another search, the same promise was not made.
    mean = study.confirmed_value if not study.splits and len(study.configurations) < 2 else None
    promised = None if study.chosen is None else study.chosen.get("expected", study.chosen["value"])
    if promised is None or mean is None:
        return None
    return metric.sign * (float(promised) - mean)


def shown_hyperparameters(study: StudySummary) -> dict[str, str]:
    """Name → the chosen values as text, several where replicates differ; empty while nothing is chosen."""
    values: dict[str, list[str]] = {}
    for one in study.configurations:
        for name, value in sorted(one["hyperparameters"].items()):
            values.setdefault(name, []).append(_text(value))
    return {name: " / ".join(dict.fromkeys(own)) for name, own in values.items()}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)
