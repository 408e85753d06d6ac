"""The plan says what other choices of replicates would cost and let a verdict claim."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tiny import tiny_sweep

from analysis.stats.twoway import Components
from harness.plan.__main__ import main as plan
from harness.plan.detectable import DrawnSplits

SEARCH, CONFIRM, METHODS = 3, 10, 2


def planned(
    folder: Path, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> dict[str, Any]:
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(cache))
    changes = {"search": {"trials": SEARCH}, "confirm": {"seeds": CONFIRM}, **changes}
    file = tiny_sweep(folder, methods=["linear_probe", "bn_affine"], **changes)
    arguments = [str(file), "--json", "--no-probe", "--seconds-per-step", "linear_probe=1"]
    assert plan([*arguments, "--seconds-per-step", "bn_affine=2"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_each_choice_has_its_price_and_its_claim(
    tmp_path: Path, shared_cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = planned(tmp_path, shared_cache, capsys, monkeypatch)
    choices = {one["written"]: one for one in found["choices"]}
    once, five = METHODS * (SEARCH + CONFIRM), METHODS * (5 * SEARCH + CONFIRM)
    assert {written: one["trials"] for written, one in choices.items()} == {
        "vary: [seed]": once,
        "vary: [seed, split]": once,
        "vary: [seed, split, search]": once,
        "vary: [seed, search]; search.repeats: 5": five,
        "vary: [seed, split, search]; search.repeats: 5": five,
        "vary: [seed, split, search]; split.folds: 5; split.tune: each": five,
    }
    assert [written for written, one in choices.items() if one["chosen"]] == ["vary: [seed]"]
    assert choices["vary: [seed]"]["holds"].endswith("given this split and the configurations of one search")
    wide = "new training and test sets, new searches, given the split that is searched"
    assert choices["vary: [seed, split, search]"]["holds"] == wide
    assert choices["vary: [seed]"]["device_seconds"] == pytest.approx(found["device_seconds"])
    times = [choices[name]["device_seconds"]["middle"] for name in ("vary: [seed]", "vary: [seed, split]")]
    assert times[0] == times[1]
    more = choices["vary: [seed, search]; search.repeats: 5"]["device_seconds"]["middle"]
    assert more / times[0] == pytest.approx(five / once)


def test_many_small_searches_are_offered_for_at_most_twice_the_trainings(
    tmp_path: Path, shared_cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = planned(tmp_path, shared_cache, capsys, monkeypatch, search={"trials": 30})
    plain, *_, small = [one for one in found["choices"] if "search.trials" in one["written"] or one["chosen"]]
    assert small["written"].endswith("split.seeds: 0 to 9; split.tune: each; search.trials: 7")
    assert small["trials"] == METHODS * (10 * 7 + 10) == 2 * plain["trials"]
    assert small["holds"].endswith("no configuration has seen its test images")


def test_the_price_does_not_depend_on_which_choice_is_made(
    tmp_path: Path, shared_cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = []
    for changes in ({}, {"search": {"trials": SEARCH, "repeats": 5}}, {"split": {"folds": 5, "tune": "each"}}):
        found = planned(tmp_path, shared_cache, capsys, monkeypatch, **changes)
        prices.append({one["written"]: (one["trials"], one["device_seconds"]) for one in found["choices"]})
        (chosen,) = [one for one in found["choices"] if one["chosen"]]
        assert chosen["trials"] == found["trials"]
        assert chosen["device_seconds"] == pytest.approx(found["device_seconds"])
    for written in prices[0]:
        assert [one[written][0] for one in prices] == [prices[0][written][0]] * 3
        for name in ("low", "middle", "high"):
            values = [one[written][1][name] for one in prices]
            assert values == pytest.approx([values[0]] * 3)


# Where several replicates share a split, what varies within one is subtracted, so that the promise is less exact.
@pytest.mark.parametrize(("splits", "replicates", "off"), [(10, 10, 0.02), (5, 10, 0.08)])
def test_a_difference_that_is_promised_on_several_splits_is_found_as_often(
    splits: int, replicates: int, off: float
) -> None:
    """By the model that the promise rests on: correlated effects of splits, as Nadeau and Bengio take them."""
    components, units, overlap, level = Components(seed=4e-4, case=0.1, interaction=0.0), 200, 0.3125, 0.05
    detectable = DrawnSplits(splits, overlap).detectable(components, replicates, units, level)
    rng, n, m = np.random.default_rng(0), 20_000, replicates // splits
    between = components.case / units + (components.seed if m == 1 else 0.0)
    shared = overlap / (1 + overlap)
    common = rng.normal(0, math.sqrt(shared * between / (1 - shared)), (n, 1))
    own = rng.normal(0, math.sqrt(between), (n, splits))
    trained = 0.0 if m == 1 else rng.normal(0, math.sqrt(components.seed / m), (n, splits))
    means = detectable + common + own + trained
    square = means.var(axis=1, ddof=1)
    # The variance within a split is known in the limit; here it is taken as it is.
    error = np.sqrt(
        np.maximum(
            square / splits, (1 / splits + overlap) * square - overlap * (0.0 if m == 1 else components.seed / m)
        )
    )
    found = 2 * stats.t.sf(np.abs(means.mean(axis=1)) / error, splits - 1) < level
    assert found.mean() == pytest.approx(0.8, abs=off)


def test_one_split_is_the_two_way_analysis_and_splits_cost_power() -> None:
    components = Components(seed=2e-4, case=0.1, interaction=0.0)
    alone = DrawnSplits().detectable(components, 10, 200, 0.05)
    assert DrawnSplits(1, 0.5).detectable(components, 10, 200, 0.05) == alone
    found = [DrawnSplits(splits, 0.3125).detectable(components, 60, 200, 0.05) for splits in (3, 5, 10, 30)]
    assert found == sorted(found, reverse=True)
