"""The plan says what other choices of replicates would cost and let a verdict claim."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tiny import tiny_sweep

from analysis.comparison.draws import replicates_of
from analysis.comparison.evidence import Cell
from analysis.comparison.scores import drawn_by, interval_over_splits
from analysis.stats.power import detectable_noncentrality
from analysis.stats.scopes import domains_scored
from analysis.stats.twoway import Components
from harness.plan.__main__ import main as plan
from harness.plan.detectable import DrawnSplits
from harness.plan.scopes import ScoredSide, choices, drawn_anew
from harness.spec.sections import SweepSpec

SEARCH, CONFIRM, METHODS = 3, 10, 2


def sweep(**sections: Any) -> SweepSpec:
    """A sweep of two methods."""
    methods = {name: {"method": name} for name in ("linear_probe", "bn_affine")}
    given = {"name": "made_up", "backbone": {"name": "resnet20"}, "datasets": {"digits": {"dataset": "digits"}}}
    return SweepSpec.model_validate({**given, "methods": methods, **sections})


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
    held = "given this training set, this split and the configurations that were chosen"
    assert choices["vary: [seed]"]["holds"].endswith(held)
    wide = (
        "searching anew and retraining with new seeds on new training and test sets of the same source, given the "
        "split that was searched"
    )
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


ABROAD = domains_scored(["elsewhere"])
DESIGNS: list[dict[str, Any]] = [
    {"confirm": {"vary": ["seed"]}},
    {"confirm": {"vary": ["seed", "split"]}},
    {},
    {"search": {"repeats": 5}},
    {"search": {"repeats": 5}, "confirm": {"vary": ["seed", "search"]}},
    {"split": {"folds": 5}},
    {"split": {"folds": 5, "tune": "each"}},
    {"split": {"seeds": [0, 1, 2], "tune": "each"}},
    {"split": {"seeds": [4]}},
]


def possible() -> list[tuple[ScoredSide, dict[str, Any]]]:
    """Designs on test sides of each kind, without those that are refused."""
    sides = [ScoredSide("grouped"), ScoredSide("domain", "new cases of elsewhere"), ScoredSide("official")]
    every = itertools.product(sides, DESIGNS)
    return [(a, b) for a, b in every if next(sweep(**b).replication.with_kind(a.kind).faults(), None) is None]


@pytest.mark.parametrize(("side", "design"), possible())
def test_a_plan_says_of_a_design_what_the_report_says_of_it(side: ScoredSide, design: dict[str, Any]) -> None:
    one = sweep(**design).replication
    splits, searched, searches = dict[int, str](), dict[int, str](), dict[int, str]()
    own = one.with_kind(side.kind)
    for number in own.numbers:
        for turn, replicate in enumerate(own.of_search(number)):
            if replicate.split is not None:
                splits[replicate.seed], searched[replicate.seed] = str(replicate.split), str(own.tuned_on(number))
            if "search" in own.varied:
                searches[replicate.seed] = f"{number} {turn}" if own.resampled else str(number)
    cell = Cell(
        dataset="data", method="method", declared=own.seeds, scores={}, splits=splits, tuned_on=searched,
        searches=searches,
    )  # fmt: skip
    found = replicates_of([cell, cell], own.seeds)
    interval = interval_over_splits(found) if found.several_splits else "two_way"
    assert drawn_anew(one, side) == drawn_by(interval, found, side.scored)


def test_on_other_domains_no_new_test_set_is_promised() -> None:
    spec = sweep(split={"kind": "domain", "by": "site", "test": ["elsewhere"]})
    found = {one.written: one for one in choices(spec, [], {}, {"a": ScoredSide("domain", ABROAD)}, {})}
    (own,) = [one for one in found.values() if one.chosen]
    assert own.holds == (
        "searching anew, retraining with new seeds on new training sets of the same source and scoring new cases of "
        "elsewhere, given the split that was searched; no configuration has seen its test images"
    )
    # The domain is given, so that no fold of it can be drawn.
    assert "vary: [seed, split, search]; split.seeds: 0 to 4; split.tune: each" in found
    assert not any("test sets" in one.holds for one in found.values())


def test_datasets_with_other_test_sides_are_told_apart() -> None:
    sides = {
        "own": ScoredSide("grouped"),
        "theirs": ScoredSide("official"),
        "abroad": ScoredSide("domain", "new cases of x"),
    }
    found = choices(sweep(), [], {}, sides, {})
    (chosen,) = [one.holds for one in found if one.chosen]
    whole = "searching anew and retraining with new seeds on new training and test sets of the same source, given the "
    assert f"{whole}split that was searched (own); for " in chosen
    assert "scoring new cases of x, given the split that was searched (abroad); for " in chosen
    assert chosen.endswith("given this training set, this split and the configurations that were chosen (theirs)")
    # No choice is offered that the publisher's split forbids.
    assert [one.written for one in found if "split" in one.written and not one.chosen] == []


def test_cases_that_all_splits_share_do_not_average_out_over_splits() -> None:
    """A domain that is left out has the same cases on every split: more splits say no more of new cases."""
    cases, units = Components(seed=0.0, case=0.1, interaction=0.0), 200
    found = [DrawnSplits(many, 0.3, one_side=True).detectable(cases, many, units, 0.05) for many in (10, 200)]
    noncentral = [detectable_noncentrality(many - 1, 0.05) for many in (10, 200)]
    assert found == pytest.approx([one * math.sqrt(0.1 / units) for one in noncentral])
    assert DrawnSplits(10, 0.3).detectable(cases, 10, units, 0.05) < found[0]


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
