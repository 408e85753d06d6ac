"""The experiment that compares a method with itself, through the whole harness, at its smallest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.runs.evidence import evidence_of
from benchmarks.twins import CHOICES, SEEDS, TRIALS, called_different, main
from harness.run.directory import RunDirectory


def test_twins_differ_in_their_searches_alone_and_are_counted(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(shared_cache))
    choice = "vary: [seed, split, search]"
    arguments = ["--pairs", "1", "--choices", choice, "--folder", str(tmp_path / "runs")]
    assert main([*arguments, "--out", str(tmp_path / "twins.json")]) == 0
    (row,) = json.loads((tmp_path / "twins.json").read_text())["rows"]
    # Two labels, their searches and replicates, and what the backbone takes is not among the studies.
    assert (row["pairs"], row["trainings"]) == (1, 2 * (TRIALS + SEEDS))
    assert row["called_different"] in (0, 1) and row["low"] <= row["rate"] <= row["high"]
    (path,) = (tmp_path / "runs").rglob("run/spec.json")
    run = RunDirectory(path.parent)
    first, second = (study.description() for study in run.studies())
    assert first["identity"] == second["identity"] and first["label"] != second["label"]
    asked = [[trial.request()["hyperparameters"] for trial in study.trials("search")] for study in run.studies()]
    assert asked[0][0] == asked[1][0] and asked[0][1:] != asked[1][1:]
    ((one, other, p, different),) = called_different(evidence_of([run]), "digits")
    assert {one, other} == {"t000", "t001"} and p is not None
    assert different == (p <= 0.05) == bool(row["called_different"])


def test_every_choice_is_one_that_a_sweep_may_make() -> None:
    from benchmarks.twins import sweep_of
    from harness.spec.sections import SweepSpec

    for choice in CHOICES:
        spec = SweepSpec.model_validate(sweep_of("digits", choice, ["t000", "t001"]))
        assert len(spec.replication.seeds) == SEEDS
