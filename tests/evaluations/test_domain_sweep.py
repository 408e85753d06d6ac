"""A sweep that is tested on a site that it has not trained on: its records, and who may open what."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from sites import sites_sweep
from tiny import run_inline

from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> RunDirectory:
    folder = tmp_path_factory.mktemp("domain")
    file = sites_sweep(folder)
    run_inline(file, folder / "run", shared_cache, report=False)
    return RunDirectory(folder / "run")


def confirmed(run: RunDirectory) -> list[TrialFolder]:
    return [trial for study in run.studies() for trial in study.trials("confirm")]


def test_the_held_out_part_of_the_training_sites_is_scored(run: RunDirectory) -> None:
    split, cases = run.split("digit_sites"), run.cases("digit_sites")
    assert cases is not None
    for trial in confirmed(run):
        result, frame = trial.result(), trial.evaluation("in_distribution")
        (record,) = result["evaluations"]
        assert (record["evaluation"], record["kind"], record["set"]) == ("in_distribution",) * 3
        assert (record["severity"], record["reference"]) == (0, "in_distribution")
        assert result["test_reference"] == "in_distribution"
        assert sorted(frame["case_id"]) == sorted(split["in_distribution"])
        assert frame.columns == ["set", "severity", *trial.predictions().columns]
        assert frame.schema["severity"] == pl.Int64 and set(frame["set"]) == {"in_distribution"}
        assert "evaluations/in_distribution.parquet" in result["files"]
        sites = dict(cases.select("case_id", "site").iter_rows())
        assert {sites[case] for case in frame["case_id"]} == {"south", "west"}
        assert {sites[case] for case in trial.predictions()["case_id"]} == {"north"}


def test_search_trials_open_nothing(run: RunDirectory) -> None:
    for study in run.studies():
        for trial in study.trials("search"):
            assert "opened" not in trial.log_path.read_text()
            assert "evaluations" not in trial.result() and trial.evaluation_names() == []
        for trial in study.trials("confirm"):
            log = trial.log_path.read_text()
            assert log.count("evaluation opened: in_distribution") == 1 and log.count("test split opened") == 1


def test_the_card_says_what_is_held_out_and_left_out(run: RunDirectory) -> None:
    split = run.cards()["digit_sites"]["split"]
    assert split["kind"] == "domain" and split["in_distribution"] == len(run.split("digit_sites")["in_distribution"])
    assert "no value of the domain's column" in json.dumps(split["left_out"])


def test_every_site_is_left_out_in_turn_beside_a_split_of_another_kind(tmp_path: Path, shared_cache: Path) -> None:
    file = sites_sweep(
        tmp_path,
        datasets=[
            {"digit_sites": {}},
            {"elsewhere": {"dataset": "digit_sites", "domain": {"by": "site", "test": [["north"], ["south", "west"]]}}},
        ],
        split={"kind": "grouped"},
        confirm={"seeds": 3, "vary": ["seed", "split", "search"]},
    )
    run_inline(file, tmp_path / "run", shared_cache)
    run = RunDirectory(tmp_path / "run")
    results = json.loads((run.report / "results.json").read_text())["comparison"]
    assert [one["domains"] for one in results["held_out_domains"]] == [
        {"elsewhere.north": "north", "elsewhere.south-west": "south, west"}
    ]
    assert "elsewhere was tested on north and (south, west) in turn" in (run.report / "report.md").read_text()
    # A tuning has seen test images of other splits only where these are not always the same.
    report = (run.report / "report.md").read_text()
    assert "digit_sites: 2 of 3 replicates of each method have configurations tuned on another split" in report
    assert "elsewhere.north: 2 of 3 replicates" not in report
    assert "On digit_sites configurations were tuned on images that are among the test images" in report
    assert "was split by site: the images of north are tested, and the others were divided into 64 %" in report
    assert "On elsewhere.north and elsewhere.south-west the test images are the same on every split" in report
    study, split = run.study("linear_probe@elsewhere.north").description(), run.split("elsewhere.north")
    assert study["overlap"] == pytest.approx(len(split["in_distribution"]) / len(split["train"]), rel=0.05)
    kinds = {label: run.split(label)["kind"] for label in run.spec()["datasets"]}
    assert kinds == {"digit_sites": "grouped", "elsewhere.north": "domain", "elsewhere.south-west": "domain"}
    for label, tested in (("elsewhere.north", {"north"}), ("elsewhere.south-west", {"south", "west"})):
        sites = dict(run.cases(label).select("case_id", "site").iter_rows())  # type: ignore[union-attr]
        split = run.split(label)
        assert {sites[case] for case in split["test"]} == tested
        assert not tested & {sites[case] for side in ("train", "val", "in_distribution") for case in split[side]}
    references = {
        study.name: trial.result().get("test_reference") for study in run.studies() for trial in study.trials("confirm")
    }
    assert {name: bool(found) for name, found in references.items()} == {
        name: "elsewhere" in name for name in references
    }
