"""What differs from the declaration is exploratory: in tables, claims, words and flags."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from analysis.comparison.compare import analyse
from analysis.report import write_report
from analysis.runs.evidence import evidence_of
from analysis.words.findings import results_paragraphs

if TYPE_CHECKING:
    from tests.analysis.conftest import RunBuilder

SEEDS = (1000, 1001, 1002)
DECLARED_METHOD = {"method": "probe", "backbone": None, "space": {}}


@pytest.fixture
def run(builder: Callable[..., RunBuilder]) -> RunBuilder:
    """Three methods, each a little better than the one before, confirmed on four seeds."""
    made = builder(["one", "two", "three"], ["alpha"])
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    for place, method in enumerate(("one", "two", "three")):
        folder = made.study(method, "alpha", seeds=[*SEEDS, 1003])
        made.searched(folder, [0.7, 0.8, 0.75])
        made.choose(folder, 1, 0.8)
        for seed in (*SEEDS, 1003):
            logits = rng.normal(size=(60, 2)) + (0.3 + place) * np.eye(2)[labels]
            made.predicted(folder.confirm_trial("c0ffee", seed), seed, logits, labels)
    return made


def declared(seeds: tuple[int, ...] = SEEDS, methods: tuple[str, ...] = ("one", "two"), **comparison: Any) -> Any:
    """A declaration as a launch records it."""
    terms = {"metric": "balanced_accuracy", "control": "one", "family": "vs_control", "correction": "holm"}
    return {
        "hypotheses": ["Method two is better than one."],
        "comparison": {**terms, "margin": 0.01, "looks": None, "alpha": 0.05, **comparison},
        "seeds": list(seeds),
        "repeat": False,
        "search": {"trials": 3, "sampler": "tpe"},
        **{part: {} for part in ("train", "split", "backbone")},
        "datasets": {"alpha": {}},
        "methods": dict.fromkeys(methods, DECLARED_METHOD),
        "slots": {},
    }


def lock(run: RunBuilder, first: Any, *later: Any) -> None:
    run.run.declare({"time": 0.0, "confirmed": 0, "declared": first})
    for number, own in enumerate(later, start=1):
        run.run.amend({"time": 86400.0 * number, "confirmed": 6, "declared": own})


def test_comparisons_with_an_added_method_are_exploratory(run: RunBuilder) -> None:
    now = declared(methods=("one", "two", "three"), margin=0.5)
    lock(run, declared((*SEEDS, 1003)), {**now, "seeds": [*SEEDS, 1003]})
    analysis = analyse(evidence_of([run.run]))
    primary = {one.pair.first: one for one in analysis.of("primary")}
    # The locked family has one comparison; the added one is corrected for all three pairs.
    assert [(primary[name].declared, primary[name].family) for name in ("two", "three")] == [(True, 1), (False, 3)]
    assert analysis.evidence.plan.margin == 0.01, "the report keeps to the margin that was locked"
    said = [one.sentence for one in analysis.cautions if one.code == "not_declared"]
    assert said == [
        "Changed after the launch, on 1970-01-02 00:00 UTC, when 6 confirm trials had results: the method three was "
        "added; comparisons with three are exploratory.",
        "Changed after the launch, on 1970-01-02 00:00 UTC, when 6 confirm trials had results: confirm.margin: "
        "0.01 → 0.5, which the report does not follow.",
    ]
    text = " ".join(results_paragraphs(analysis))
    assert "On alpha, as tuned here, two scored " in text
    assert "On alpha, exploratory because of a change after the declaration, as tuned here, three scored " in text


@pytest.mark.usefixtures("no_figures")
def test_seeds_added_after_a_look_make_everything_exploratory(run: RunBuilder) -> None:
    every = ("one", "two", "three")
    lock(run, declared(methods=every), declared((*SEEDS, 1003), every))
    paths = write_report(run.run)
    results = json.loads(paths.results.read_text())
    assert all("1003" in flag and "a look that was not planned" in flag for flag in results["flags"][-1:])
    comparison = results["comparison"]
    assert not any(one["declared"] for one in comparison["comparisons"])
    assert [claim["declared"] for claim in comparison["claims"]] == [False, False]
    page = paths.markdown.read_text()
    assert "exploratory: supported" in page and "three vs one (exploratory)" in page
    assert "Method two is better than one." in page and "Declaration" in page
    assert "2 comparisons of the family rest on something that was changed after the declaration" in page


def test_what_is_as_declared_bears_no_label(run: RunBuilder) -> None:
    same = declared((*SEEDS, 1003), ("one", "two", "three"))
    lock(run, same)
    analysis = analyse(evidence_of([run.run]))
    assert all(one.declared == (one.role != "exploratory") for one in analysis.comparisons)
    assert not any(one.code == "not_declared" for one in analysis.cautions)
    assert analysis.evidence.plan.beforehand
    without = copy.deepcopy(same)
    without["methods"] = {"two": DECLARED_METHOD, "three": DECLARED_METHOD}
    without["comparison"]["control"] = "three"
    run.run.amend({"time": 5.0, "confirmed": 0, "declared": without})
    spec = run.run.spec()
    del spec["methods"]["one"]
    run.run.write_spec({**spec, "confirm": {**spec["confirm"], "control": "three"}})
    analysis = analyse(evidence_of([run.run]))
    assert analysis.evidence.plan.control == "three"
    assert [one.declared for one in analysis.of("primary")] == [False]
    assert any("The declared control one was taken out" in one.sentence for one in analysis.cautions)
