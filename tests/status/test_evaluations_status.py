"""How far the evaluations of a run are, from its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import made_up_records
import polars as pl
import pytest
from made_up_runs import begin, choose, facts, finish, make_run, shown

from harness.evaluations.subgroups import Subgroups
from harness.run.directory import RunDirectory
from harness.run.sweep_records import SUBGROUPS
from harness.run.trial import TrialFolder
from harness.status import __main__ as status
from harness.status.status import StatusReader

CORRUPTIONS = {"name": "damage", "kind": "corruptions", "options": {"corruptions": "medical"}}
KEYS = ("name", "confirm_trials", "trained", "scored", "kept", "lacking", "scorable")


def evaluated(path: Path, *entries: dict[str, Any], **changes: Any) -> RunDirectory:
    """A run with evaluations; its search is over, and no confirm trial has begun."""
    run = make_run(path, ["m"], slots=1)
    run.write_spec({**run.spec(), "evaluate": list(entries), **changes})
    finish(run.study("m@small").search_trial(0, 0))
    choose(run.study("m@small"), of=1)
    return run


def confirm(run: RunDirectory, seed: int, kept: bool, *scored: str) -> TrialFolder:
    """A finished confirm trial whose model was scored on some evaluations."""
    trial = run.study("m@small").confirm_trial("c0ffee", seed)
    begin(trial, 4).release("finished")
    if kept:
        trial.trained_path.write_bytes(b"tensors")
    for name in scored:
        trial.write_evaluation(name, pl.DataFrame({"set": ["a"]}))
    trial.finish(made_up_records.result("confirm", seed=seed, evaluations=[record(name) for name in scored]))
    return trial


def record(name: str) -> dict[str, Any]:
    return {
        "evaluation": name, "kind": "corruptions", "set": "a", "severity": 1, "reference": "test", "cases": 1,
        "scores": {}, "left_out": {}, "fingerprint": "f" * 64,
    }  # fmt: skip


def flat(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command prints, wherever it breaks lines."""
    return " ".join(shown(run, capsys).split())


def rows(run: RunDirectory) -> list[list[Any]]:
    return [[row[key] for key in KEYS] for row in facts(run)["evaluations"]]


def test_a_run_without_evaluations_says_nothing_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", ["m"])
    assert facts(run)["evaluations"] == [] and "evaluation" not in shown(run, capsys)


def test_what_is_scored_and_what_scores_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = evaluated(tmp_path / "a run", CORRUPTIONS)
    reader = StatusReader(run)
    assert rows(run) == [["damage", 2, 0, 0, 0, 0, 0]]
    confirm(run, 1000, True, "damage")
    assert "evaluation damage: 1 of 2 confirm trials scored, 1 has a kept model workers" in flat(run, capsys)
    late = confirm(run, 1001, True)
    assert rows(run) == [["damage", 2, 2, 1, 2, 1, 1]]
    told = "evaluation damage: 1 of 2 confirm trials scored, 2 have a kept model; 1 lacks it: "
    command = f"python -m harness.evaluate '{run.path}'"
    assert f"{told}score the 1 whose model was kept with `{command}` workers" in flat(run, capsys)
    assert facts(run)["evaluations"][0]["command"] == command
    page = tmp_path / "page.html"
    assert status.main([str(run.path), "--html", str(page)]) == 0
    assert "evaluation damage: 1 of 2 confirm trials scored" in page.read_text()

    # Whoever watches sees what is scored later, though the trial was finished before.
    assert reader.read().to_json()["evaluations"] == json.loads(json.dumps(facts(run)["evaluations"]))
    late.write_evaluation("damage", pl.DataFrame({"set": ["a"]}))
    late.add_evaluations([record("damage")], "")  # type: ignore[list-item]
    row = reader.read().evaluations[0].to_json()
    assert (row["scored"], row["lacking"], row["command"]) == (2, 0, None)
    # Predictions that are gone are not scored any more.
    late.evaluation_path("damage").unlink()
    assert rows(run) == [["damage", 2, 2, 1, 2, 1, 1]]


def test_a_model_that_was_not_kept_cannot_be_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = evaluated(tmp_path / "run", CORRUPTIONS, plugins=["mine"])
    confirm(run, 1000, False)
    finish(run.study("m@small").confirm_trial("c0ffee", 1001), None)
    assert rows(run) == [["damage", 2, 1, 0, 0, 1, 0]]
    told = "evaluation damage: 0 of 2 confirm trials scored, none has a kept model; 1 lacks it: "
    assert f"{told}1 kept no model (confirm.keep) and would have to be trained again workers" in flat(run, capsys)
    trial = run.study("m@small").confirm_trial("c0ffee", 1000)
    trial.trained_path.write_bytes(b"tensors")
    # The plugins that the run names are imported only where the user says so.
    assert f"`python -m harness.evaluate {run.path} --code`" in flat(run, capsys)


def test_evaluations_of_some_datasets_by_domain_and_by_subgroup(tmp_path: Path) -> None:
    other = {**CORRUPTIONS, "name": "other", "of": ["large"]}
    own = {**CORRUPTIONS, "of": ["digits_by_site"]}
    split = {"kind": "domain", "by": "site", "test": [["a"]]}
    subgroups = {"name": "groups", "kind": SUBGROUPS, "options": {"subgroups": ["sex"]}}
    task = {"dataset": "digits_by_site", "per_class": None, "fraction": None, "backbone": None, "domain": ["a"]}
    datasets = {"small": {"dataset": "digits", "task": task}}
    run = evaluated(tmp_path / "run", other, own, subgroups, split=split, datasets=datasets)
    confirm(run, 1000, True, "in_distribution")
    # Subgroups divide the test predictions, so that there is nothing to score.
    assert rows(run) == [["in_distribution", 2, 1, 1, 1, 0, 0], ["damage", 2, 1, 0, 1, 1, 1]]
    assert Subgroups.name == SUBGROUPS
