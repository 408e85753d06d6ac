"""What is locked at the first launch, and what of a later sweep file differs from it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from rich.console import Console
from tiny import tiny_sweep

from harness.declaration import Deviation, deviations, locked
from harness.planning import plan_run
from harness.plugins import discover
from harness.spec_loading import load_sweep
from harness.store import RunDirectory
from harness.studies import Roots


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
    asked = {"stage": "confirm", "slot": None, "seed": 1000, "hyperparameters": {}, "identity": {}}
    confirmed.write_request({**asked, "conditioned_on": [], "threads": 1, "study": study.name})
    confirmed.finish({**asked, "status": "failed", "cause": "bug", "message": "no"})
    more = {
        "methods": ["linear_probe", "lora_c", "bn_affine"],
        "confirm": {**said["confirm"], "seeds": 3, "margin": 0.1},
    }
    plan(run, tmp_path, shared_cache, **{**said, **more})
    plan(run, tmp_path, shared_cache, **{**said, **more})
    (amendment,) = run.amendments()
    assert "comparison.margin: 0.01 → 0.1" in amendment["changed"]
    changed = locked(run)
    assert changed is not None
    assert [change.deviation for change in changed.changes] == [
        Deviation("confirm.margin: 0.01 → 0.1, which the report does not follow", "none"),
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
