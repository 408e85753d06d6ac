"""Methods by subgroup of the test cases, on one split and on several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up import CLASSES, logits, made_up
from made_up_replicates import OVERLAP

from analysis.comparison.evidence import Evidence, Predictions, SplitImages
from analysis.comparison.subgroups import subgroup_findings
from analysis.stats.resampled import mean_over_splits
from analysis.stats.subgroups import extremes

SEEDS = tuple(range(1000, 1006))
LEVELS = {"control": 1.2, "gpaf": 1.8}
PLAN = {"family": "vs_control", "control": "control", "metric": "accuracy", "metrics": ("accuracy",)}


def evidence(**changes: object) -> Evidence:
    return made_up(LEVELS, ("alpha",), SEEDS, **{**PLAN, **changes})  # type: ignore[arg-type]


def sex(names: tuple[str, ...]) -> dict[str, str | None]:
    return {
        name: None if place % 40 == 0 else "female" if place % 4 == 1 else "male" for place, name in enumerate(names)
    }


def right(method: str, seed: int) -> np.ndarray:
    values, labels = logits(LEVELS[method], seed, 240, method + "alpha")
    return np.asarray(values.argmax(axis=1) == labels, dtype=np.float64)


def test_each_subgroup_has_its_cases_scores_and_extremes() -> None:
    whole = evidence()
    predictions = whole.predictions("alpha")
    assert predictions is not None
    values = sex(predictions.case_ids)
    found = subgroup_findings(whole, "alpha", "sex", values)
    assert found is not None
    assert [(one.name, one.cases, one.units) for one in found.groups] == [("female", 60, 60), ("male", 174, 174)]
    assert (found.smallest.name, found.without, found.metric, found.undefined) == ("female", 6, "accuracy", ())
    places = [[at for at, name in enumerate(predictions.case_ids) if values[name] == sex] for sex in ("female", "male")]
    tables = [np.array([right("gpaf", seed)[own] for seed in SEEDS]) for own in places]
    expected = extremes(tables, bounds=(0.0, 1.0))
    own = next(one for one in found.scores if one.method == "gpaf")
    assert own.means == pytest.approx([table.mean() for table in tables])
    assert own.extremes.worst == expected.worst
    assert own.extremes.lowest.low == pytest.approx(expected.lowest.low, abs=1e-9)
    (difference,) = found.differences
    assert (difference.first, difference.second, difference.seeds) == ("gpaf", "control", 6)
    assert difference.estimate.low is not None and difference.estimate.low > 0


def test_patients_count_once_within_a_subgroup() -> None:
    whole = evidence(group_size=4)
    predictions = whole.predictions("alpha")
    assert predictions is not None
    values = {name: "north" if place < 120 else "south" for place, name in enumerate(predictions.case_ids)}
    found = subgroup_findings(whole, "alpha", "site", values)
    assert found is not None and [(one.cases, one.units) for one in found.groups] == [(120, 30), (120, 30)]


def test_a_subgroup_without_a_class_leaves_the_mean_over_classes_undefined() -> None:
    whole = evidence(metric="balanced_accuracy", metrics=("balanced_accuracy",))
    predictions = whole.predictions("alpha")
    assert predictions is not None
    # Labels take turns, so every third case has the same one.
    values = {name: "nevi" if place % 3 == 0 else "others" for place, name in enumerate(predictions.case_ids)}
    found = subgroup_findings(whole, "alpha", "kind", values)
    assert found is not None and (found.metric, found.undefined) == ("accuracy", ("nevi", "others"))


def test_one_subgroup_or_one_case_is_nothing_to_compare() -> None:
    whole = evidence()
    predictions = whole.predictions("alpha")
    assert predictions is not None
    assert subgroup_findings(whole, "alpha", "sex", dict.fromkeys(predictions.case_ids, "male")) is None
    odd = {name: "rare" if place == 0 else "common" for place, name in enumerate(predictions.case_ids)}
    assert subgroup_findings(whole, "alpha", "sex", odd) is None
    assert subgroup_findings(replace(whole, predictions=lambda dataset: None), "alpha", "sex", odd) is None


def test_on_several_splits_each_training_has_one_score_by_subgroup() -> None:
    whole = evidence()
    cells = {
        place: replace(cell, splits={seed: f"split {at}" for at, seed in enumerate(SEEDS)})
        for place, cell in whole.cells.items()
    }
    sides = {}
    for at, seed in enumerate(SEEDS):
        own = {method: {seed: logits(level, seed, 240, method + "alpha")[0]} for method, level in LEVELS.items()}
        names = tuple(f"case {at} {case}" for case in range(240))
        labels = np.arange(240) % len(CLASSES)
        sides[f"split {at}"] = Predictions(labels=labels, classes=CLASSES, groups=None, logits=own, case_ids=names)
    trained = {(one, other): 0.0 for one in sides for other in sides}
    split = replace(
        whole,
        cells=cells,
        overlap={"alpha": OVERLAP},
        images=lambda dataset: SplitImages(predictions=sides, trained=trained),
    )
    values = {
        name: "female" if int(name.split()[-1]) % 4 == 1 else "male"
        for side in sides.values()
        for name in side.case_ids
    }
    found = subgroup_findings(split, "alpha", "sex", values)
    assert found is not None
    own = next(one for one in found.scores if one.method == "gpaf")
    by_training = [
        np.array([[right("gpaf", seed)[np.arange(240) % 4 == 1].mean()] for seed in SEEDS]),
        np.array([[right("gpaf", seed)[np.arange(240) % 4 != 1].mean()] for seed in SEEDS]),
    ]
    expected = extremes(
        by_training, bounds=(0.0, 1.0), shared=False, rows=lambda rows: mean_over_splits(rows, range(6), OVERLAP)
    )
    assert own.means == pytest.approx([table.mean() for table in by_training])
    assert (own.extremes.lowest.low, own.extremes.gap.high) == pytest.approx((expected.lowest.low, expected.gap.high))


def test_cases_that_all_splits_share_are_counted_on_top_of_the_splits() -> None:
    whole = evidence()
    cells = {
        place: replace(cell, splits={seed: f"split {at}" for at, seed in enumerate(SEEDS)})
        for place, cell in whole.cells.items()
    }
    split = replace(whole, cells=cells, overlap={"alpha": OVERLAP}, one_test_side=frozenset({"alpha"}))
    predictions = whole.predictions("alpha")
    assert predictions is not None
    values = sex(predictions.case_ids)
    one, apart = (subgroup_findings(own, "alpha", "sex", values) for own in (split, whole))
    assert one is not None and apart is not None
    widths = [
        (found.scores[1].extremes.gap.high or 0) - (found.scores[1].extremes.gap.low or 0) for found in (one, apart)
    ]
    # The splits' trainings overlap, so that they say less than as many independent ones.
    assert widths[0] > widths[1] > 0
