"""What is locked at the first launch, and what of a later sweep file differs from it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from tiny import ROOT, run_inline, tiny_sweep

from harness.plugins import discover
from harness.run.directory import RunDirectory
from harness.studies.declaration import Deviation, _code_changes, deviations, locked
from harness.studies.loading import load_sweep
from harness.studies.study import Roots
from harness.sweep.prepare import plan_run


def plan(run: RunDirectory, folder: Path, cache: Path, **changes: Any) -> None:
    spec = load_sweep(tiny_sweep(folder, **changes)).spec
    run.create()
    plan_run(run, spec, discover(), Roots(cache, cache), Console(quiet=True), rerun_stale=False, repair=False)


def test_the_first_launch_locks_and_later_ones_amend(tmp_path: Path, shared_cache: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    said: dict[str, Any] = {
        "hypotheses": ["LoRA-C beats the linear probe."],
        "confirm": {"seeds": 2, "control": "linear_probe"},
    }
    plan(run, tmp_path, shared_cache, **said)
    first = locked(run)
    assert first is not None and first.changes == () and first.confirmed == 0
    assert first.declared["hypotheses"] == said["hypotheses"] and first.declared["seeds"] == [1000, 1001]
    assert first.declared["slots"] == {"linear_probe@small": 2, "lora_c@small": 2}
    content = (run.path / "declaration.json").read_bytes()

    plan(run, tmp_path, shared_cache, **said)
    assert run.amendments() == []
    study = run.study("lora_c@small")
    confirmed = study.confirm_trial("c0ffee", 1000)
    confirmed.create()
    asked = {"stage": "confirm", "slot": None, "seed": 1000, "hyperparameters": {}, "identity": "f00d"}
    confirmed.write_request({**asked, "conditioned_on": [], "threads": 1, "study": study.name})
    confirmed.finish({**asked, "status": "failed", "cause": "bug", "message": "no"})
    more = {
        "methods": ["linear_probe", "lora_c", "bn_affine"],
        "confirm": {**said["confirm"], "seeds": 3, "margin": 0.1},
    }
    plan(run, tmp_path, shared_cache, **{**said, **more})
    plan(run, tmp_path, shared_cache, **{**said, **more})
    (amendment,) = run.amendments()
    assert "comparison.margin: null → 0.1" in amendment["changed"]
    changed = locked(run)
    assert changed is not None
    assert [change.deviation for change in changed.changes] == [
        Deviation("confirm.margin: null → 0.1, which the report does not follow", "none"),
        Deviation("2 confirm seeds were declared; added 1002", "run", look=True),
        Deviation("the method bn_affine was added", "method", "bn_affine"),
    ]
    assert {(change.time, change.confirmed) for change in changed.changes} == {(amendment["time"], 1)}
    assert len(changed.reaching("small", ("lora_c", "linear_probe"))) == 1
    assert len(changed.reaching("small", ("bn_affine", "linear_probe"))) == 2

    # What is taken back holds no more, and both changes stay on record.
    plan(run, tmp_path, shared_cache, **{**said, "methods": more["methods"]})
    back = locked(run)
    assert back is not None and [change.deviation.label for change in back.changes] == ["bn_affine"]
    assert back.changes[0].time == amendment["time"] and len(run.amendments()) == 2
    assert (run.path / "declaration.json").read_bytes() == content


def test_seeds_may_grow_to_a_planned_look() -> None:
    declared: dict[str, Any] = {
        "hypotheses": [],
        "comparison": {"metric": "auc", "looks": [2, 3]},
        "seeds": [1000, 1001],
        **{part: {} for part in ("search", "train", "split", "backbone", "datasets", "methods")},
    }
    now = copy.deepcopy(declared)
    now["seeds"] = [1000, 1001, 1002]
    assert deviations(declared, now) == []
    now["seeds"] = [1000, 1001, 1002, 1003]
    assert [deviation.look for deviation in deviations(declared, now)] == [True]
    now["seeds"] = [1000, 1002, 1003]
    assert deviations(declared, now)[0].what == "2 confirm seeds were declared; added 1002, 1003 and taken out 1001"
    now = {**declared, "train": {"epochs": 3}, "comparison": {"metric": "nll", "looks": [2, 3]}}
    assert [(deviation.what, deviation.reach) for deviation in deviations(declared, now)] == [
        ("search.metric: auc → nll, which the report does not follow", "run"),
        ("train.epochs: added (3)", "run"),
    ]


def record(time: float, confirmed: int, **code: str) -> dict[str, Any]:
    return {"time": time, "confirmed": confirmed, "declared": {"code": {"method": code}}}


def test_code_may_change_until_a_test_result_exists_and_taking_it_back_changes_nothing() -> None:
    run = [record(0, 0, gpaf="a"), record(1, 0, gpaf="b"), record(2, 6, gpaf="c"), record(3, 7, gpaf="b")]
    found = [(change.deviation.reach, change.deviation.label, change.time) for change in _code_changes(run)]
    assert found == [("none", "gpaf", 1.0), ("method", "gpaf", 2.0), ("method", "gpaf", 3.0)]


def test_a_method_that_was_away_comes_back_as_what_it_was_or_was_changed() -> None:
    gone = record(1, 5, other="x")
    assert not list(_code_changes([record(0, 0, gpaf="a"), gone, record(2, 5, gpaf="a")]))
    (change,) = _code_changes([record(0, 0, gpaf="a"), gone, record(2, 5, gpaf="b")])
    assert change.deviation.what == "the code of the method gpaf was changed" and change.deviation.reach == "method"


def test_records_from_before_code_was_recorded_accuse_nobody() -> None:
    old = {"time": 0.0, "confirmed": 0, "declared": {}}
    assert not list(_code_changes([old, record(1, 5, gpaf="a")]))


def test_an_edit_after_test_results_is_an_amendment_and_what_was_set_aside_counts(
    tmp_path: Path, shared_cache: Path
) -> None:
    """The history of a method: its set-aside trainings are in the ledger, and its comparisons are exploratory."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    source = (ROOT / "methods" / "linear_probe.py").read_text().replace('name = "linear_probe"', 'name = "mine"')
    (plugins / "mine.py").write_text(source)
    small: dict[str, Any] = {"search": {"trials": 1}, "train": {"epochs": 1, "batch_size": 64, "image_size": 8}}
    file = tiny_sweep(
        tmp_path, methods=["mine", "linear_probe"], plugins=["plugins"],
        confirm={"seeds": 2, "control": "linear_probe"}, **small,
    )  # fmt: skip
    run = RunDirectory(tmp_path / "run")
    run_inline(file, run.path, shared_cache)
    before = (run.path / "report" / "report.md").read_text()
    (plugins / "mine.py").write_text(source + "\nAFTERTHOUGHT = 1\n")
    rerun = run_inline(file, run.path, shared_cache, "--stale", "rerun")
    after = (run.path / "report" / "report.md").read_text()
    assert "set aside as stale" in rerun.stderr and after != before
    found = locked(run)
    assert found is not None
    (change,) = found.changes
    assert change.deviation == Deviation("the code of the method mine was changed", "method", "mine")
    assert change.confirmed == 4, "the test results of the trials that were set aside have been seen"
    assert "comparisons with mine are exploratory" in after
    assert "3 trials of mine" in after and "2 of them had test results" in after and "mine, set aside 1" in after
    results = json.loads((run.path / "report" / "results.json").read_text())
    (aside,) = results["set_aside"]
    assert (aside["study"], aside["trials"], aside["confirmed"]) == ("mine@small.1", 3, 2)
    assert sum(aside["seconds"].values()) > 0
