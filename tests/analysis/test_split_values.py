"""Splits with a search each: the interval counts the images that splits share, and says what it draws anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_up import CLASSES, logits, made_up

from analysis.comparison.case_values import case_values
from analysis.comparison.compare import analyse
from analysis.comparison.evidence import Evidence, Predictions, SplitImages
from analysis.comparison.pairs import DatasetValues
from analysis.comparison.scores import Pair
from analysis.stats.scopes import scope_phrase
from analysis.stats.shared_images import mean_over_images
from analysis.stats.twoway import by_group
from harness.metrics.table import evaluate
from tests.analysis.test_replicates import HELD

SEEDS = range(1000, 1010)
CASES, POOL = 60, 300
Change = Callable[[Evidence], Evidence]


def sides_of(splits: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    # Whole groups of three are tested, as a grouped split keeps them.
    return [np.sort((rng.permutation(POOL // 3)[: CASES // 3, None] * 3 + np.arange(3)).ravel()) for _ in range(splits)]


def nested(splits: int, group_size: int = 1) -> Evidence:
    """Ten seeds on so many splits in turn, each with a search of its own."""
    evidence = made_up({"control": 1.5, "gpaf": 1.9}, ["alpha"], SEEDS, CASES, family="vs_control", control="control")
    tests, predictions, cells = sides_of(splits), {}, {}
    known: dict[str, dict[int, np.ndarray]] = {}
    of_seed = {seed: f"split {place % splits}" for place, seed in enumerate(SEEDS)}
    labels = np.arange(POOL) % len(CLASSES)
    for method, level in (("control", 1.5), ("gpaf", 1.9)):
        scores: dict[str, dict[int, float | None]] = {}
        for place, seed in enumerate(SEEDS):
            whole, _ = logits(level, seed, POOL, method)
            known.setdefault(method, {})[seed] = own = whole[tests[place % splits]]
            for name, value in evaluate(own, labels[tests[place % splits]]).items():
                if value is None or isinstance(value, float):
                    scores.setdefault(name, {})[seed] = value
        cells["alpha", method] = replace(
            evidence.cells["alpha", method],
            scores=scores, splits=of_seed, tuned_on=of_seed, searches={seed: of_seed[seed] for seed in SEEDS},
        )  # fmt: skip
    for number, test in enumerate(tests):
        own_seeds = [seed for place, seed in enumerate(SEEDS) if place % splits == number]
        groups = None if group_size == 1 else np.unique(test // group_size, return_inverse=True)[1]
        predictions[f"split {number}"] = Predictions(
            labels=labels[test], classes=CLASSES, groups=groups, case_ids=tuple(f"case {case:03d}" for case in test),
            logits={method: {seed: known[method][seed] for seed in own_seeds} for method in known},
        )  # fmt: skip
    trained = {(one, other): 0.003 + 0.001 * (one == other) for one in predictions for other in predictions}
    images = SplitImages(predictions=predictions, trained=trained)
    return replace(
        evidence, cells=cells, predictions=lambda dataset: predictions["split 0"], images=lambda dataset: images,
        overlap={"alpha": 0.25},
    )  # fmt: skip


def pair(evidence: Evidence, metric: str = "balanced_accuracy") -> Pair:
    return DatasetValues(evidence, "alpha").pair(metric, "gpaf", "control")


@pytest.mark.parametrize(("splits", "group_size"), [(10, 1), (5, 1), (5, 3)])
@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_the_interval_is_that_of_rows_of_splits_with_common_images(splits: int, group_size: int, metric: str) -> None:
    evidence, tests = nested(splits, group_size), sides_of(splits)
    found = pair(evidence, metric)
    images = evidence.images("alpha")
    assert images is not None and found.estimate is not None
    values, units = [], []
    for number, test in enumerate(tests):
        own = images.predictions[f"split {number}"]
        tables = [
            case_values([metric], np.stack([own.logits[name][seed] for seed in sorted(own.logits[name])]), own)[metric]
            for name in ("gpaf", "control")
        ]
        row = (tables[0] - tables[1]).mean(axis=0)
        values.append(row if own.groups is None else by_group(row[None], own.groups)[0])
        units.append(test if group_size == 1 else np.unique(test // group_size))
    trained = group_size * np.array([[images.trained[a, b] for b in images.predictions] for a in images.predictions])
    expected = mean_over_images(values, units, trained)
    assert found.interval == "over_images" and found.replicates == found.splits == splits
    assert found.estimate.estimate == pytest.approx(expected.estimate)
    assert found.estimate.standard_error == pytest.approx(expected.standard_error)
    scores = evidence.cells["alpha", "gpaf"].scores[metric], evidence.cells["alpha", "control"].scores[metric]
    assert found.estimate.estimate == pytest.approx(
        np.mean([scores[0][seed] - scores[1][seed] for seed in SEEDS])  # type: ignore[operator]
    )


def test_it_claims_new_sets_and_new_searches_and_holds_nothing_fixed() -> None:
    analysis = analyse(nested(10))
    (found,) = analysis.of("primary")
    assert found.pair.drawn.names == ("retraining", "new_training_and_test_sets", "new_search")
    assert not HELD.search(scope_phrase(found.pair.drawn))
    assert found.outcome == "better", "the difference is large, and common images are no bar to finding it"
    assert found.detectable is not None and found.detectable < 0.2
    score = analysis.score("alpha", "gpaf")
    assert score is not None and score.widest is not None and score.widest[0] == "over_images"
    estimate = score.widest[1]
    assert estimate.low is not None and estimate.high is not None and 0 < estimate.low < estimate.high < 1


def elsewhere(evidence: Evidence) -> Evidence:
    return _cells(evidence, tuned_on=dict.fromkeys(SEEDS, "split 0"))


def one_search(evidence: Evidence) -> Evidence:
    return _cells(evidence, searches={})


def unread(evidence: Evidence) -> Evidence:
    return replace(evidence, images=lambda dataset: None)


def lost(evidence: Evidence) -> Evidence:
    images = evidence.images("alpha")
    assert images is not None
    first = images.predictions["split 0"]
    cut = replace(first, logits={"control": first.logits["control"]})
    broken = replace(images, predictions={**images.predictions, "split 0": cut})
    return replace(evidence, images=lambda dataset: broken)


def uneven(evidence: Evidence) -> Evidence:
    return _without(evidence, SEEDS[-1])


@pytest.mark.parametrize("change", [elsewhere, one_search, unread, lost, uneven])
def test_without_what_it_rests_on_the_scores_alone_are_analysed(change: Change) -> None:
    found = pair(change(nested(5)))
    assert found.interval == "over_splits" and found.estimate is not None and found.estimate.low is not None


def _cells(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, cells={key: replace(cell, **changes) for key, cell in evidence.cells.items()})


def _without(evidence: Evidence, seed: int) -> Evidence:
    def rest(values: dict[int, Any]) -> dict[int, Any]:
        return {one: value for one, value in values.items() if one != seed}

    return replace(
        evidence,
        cells={
            key: replace(cell, scores={name: rest(dict(own)) for name, own in cell.scores.items()})
            for key, cell in evidence.cells.items()
        },
    )


def test_halves_of_the_seeds_use_their_own_splits_alone() -> None:
    values = DatasetValues(nested(10), "alpha")
    halves = [values.pair("balanced_accuracy", "gpaf", "control", part) for part in (slice(0, 5), slice(5, None))]
    assert [half.interval for half in halves] == ["over_images"] * 2
    means: Sequence[float] = [half.estimate.estimate for half in halves if half.estimate is not None]
    whole = values.pair("balanced_accuracy", "gpaf", "control").estimate
    assert whole is not None and whole.estimate == pytest.approx(np.mean(means))
