"""Confirmed models scored on corruptions, on another dataset and by subgroup; what is wrong is refused beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sites import sites_sweep
from tiny import run_inline

from harness.metrics.table import evaluate
from harness.run.directory import RunDirectory
from harness.run.trial import ReplacedFileError, TrialFolder

CORRUPTIONS = {"corruptions": ["gaussian_noise", "contrast_down"], "severities": [1, 5]}
MAP = {"sieben": "seven", "acht": "eight"}
OTHER = {"dataset": "other_digits", "classes": MAP, "options": {"first": 240, "images": 90}}
SUBGROUPS = {"subgroups": ["site", "age_decade"], "least": 3}
EVALUATE = [CORRUPTIONS, OTHER, SUBGROUPS]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> RunDirectory:
    folder = tmp_path_factory.mktemp("evaluated")
    file = sites_sweep(folder, evaluate=EVALUATE, split={"kind": "grouped"}, methods=["linear_probe", "bn_affine"])
    run_inline(file, folder / "run", shared_cache, report=False)
    return RunDirectory(folder / "run")


def confirmed(run: RunDirectory) -> list[TrialFolder]:
    return [trial for study in run.studies() for trial in study.trials("confirm")]


def logits(frame: pl.DataFrame) -> Any:
    return frame.select(pl.col("^logit_.*$")).to_numpy()


def test_each_set_has_its_record_and_its_predictions(run: RunDirectory) -> None:
    for trial in confirmed(run):
        result, test = trial.result(), trial.predictions()
        records = result["evaluations"]
        assert [(r["evaluation"], r["set"], r["severity"], r["reference"]) for r in records] == [
            ("corruptions", "gaussian_noise", 1, "test"), ("corruptions", "gaussian_noise", 5, "test"),
            ("corruptions", "contrast_down", 1, "test"), ("corruptions", "contrast_down", 5, "test"),
            ("other_digits", "other_digits", 0, "test"),
        ]  # fmt: skip
        assert result["test_reference"] == ""
        for record in records:
            frame = trial.evaluation(record["evaluation"])
            own = frame.filter((pl.col("set") == record["set"]) & (pl.col("severity") == record["severity"]))
            assert record["cases"] == len(own)
            assert record["scores"] == evaluate(logits(own), own["label"].to_numpy(), False)
        for _, own in trial.evaluation("corruptions").group_by("set", "severity"):
            assert own.select("case_id", "group", "label").equals(test.select("case_id", "group", "label"))
            assert not np.array_equal(logits(own), logits(test))


def test_classes_without_a_partner_are_left_out_and_counted(run: RunDirectory) -> None:
    for trial in confirmed(run):
        (record,) = [one for one in trial.result()["evaluations"] if one["kind"] == "dataset"]
        frame = trial.evaluation("other_digits")
        left = record["left_out"]["of a class without partner (neun)"]
        assert set(frame["label"]) == {0, 1} and left > 0 and len(frame) + left == 90


def test_every_method_sees_the_same_damaged_images(run: RunDirectory) -> None:
    columns = ["set", "severity", "case_id", "group", "label"]
    frames = [trial.evaluation("corruptions").select(columns) for trial in confirmed(run) if "-s1000" in trial.name]
    assert len(frames) == 2 and frames[0].equals(frames[1])


def test_predictions_that_were_replaced_are_refused(run: RunDirectory, tmp_path: Path) -> None:
    import shutil

    from harness.doctor.trial_files import examine

    trial = TrialFolder(Path(shutil.copytree(confirmed(run)[0].path, tmp_path / "trial")), "confirm")
    assert list(examine(trial, thorough=True)) == []
    changed = trial.evaluation("corruptions").with_columns(pl.col("logit_0") + 1)
    trial.write_evaluation("corruptions", changed)
    with pytest.raises(ReplacedFileError):
        trial.evaluation("corruptions")
    assert "replaced" in {finding.kind for finding in examine(trial, thorough=True)}
    trial.evaluation_path("corruptions").unlink()
    assert {finding.kind for finding in examine(trial, thorough=False)} == {"missing"}


def test_the_archive_has_the_predictions(run: RunDirectory) -> None:
    from harness.run.inventory import artefact

    names = [name for name in artefact(run) if "/evaluations/" in name]
    assert len(names) == 2 * len(confirmed(run))
    assert "cases/digit_sites.parquet" in artefact(run)


def test_exports_have_the_scores(run: RunDirectory) -> None:
    from harness.export.trials import trials_of

    for study in run.studies():
        for trial in trials_of(study):
            own = {name for name in trial.scores() if name.startswith(("corruptions/", "other_digits/"))}
            if trial.stage == "confirm":
                assert {"corruptions/contrast_down/5/accuracy", "other_digits/other_digits/accuracy"} <= own
            else:
                assert not own


def test_two_runs_are_compared_by_their_evaluations_too(run: RunDirectory, tmp_path: Path) -> None:
    import shutil

    from harness.proof.comparison import run_differences

    other = RunDirectory(Path(shutil.copytree(run.path, tmp_path / "other")))
    assert run_differences(run, other) == []
    trial = confirmed(other)[0]
    trial.write_evaluation("corruptions", trial.evaluation("corruptions").with_columns(pl.col("logit_0") + 1e-12))
    (line,) = run_differences(run, other)
    assert "predictions of evaluations" in line


def test_training_never_knows_of_evaluations(run: RunDirectory, tmp_path: Path, shared_cache: Path) -> None:
    file = sites_sweep(tmp_path, split={"kind": "grouped"}, methods=["linear_probe", "bn_affine"])
    run_inline(file, tmp_path / "run", shared_cache, report=False)
    for one, other in zip(confirmed(run), confirmed(RunDirectory(tmp_path / "run")), strict=True):
        assert one.request() == other.request() and one.predictions().equals(other.predictions())


BAD: list[tuple[dict[str, Any], str]] = [
    ({"evaluate": [{**OTHER, "classes": {"siben": "seven"}}]}, "has no class 'siben'; did you mean 'sieben'?"),
    ({"evaluate": [{**OTHER, "classes": {"sieben": "sevn"}}]}, "evaluate.0.classes.sieben: digit_sites has no class "
     "'sevn'; did you mean 'seven'?"),
    ({"evaluate": [{"dataset": "other_digits"}]}, "no class of other_digits (sieben, acht, neun) has the name of one"),
    ({"evaluate": [{"dataset": "copied_digits"}]}, "are training or validation images of digit_sites ("),
    ({"evaluate": [{"dataset": "other_digit"}]}, "no dataset is called 'other_digit'; did you mean 'other_digits'?"),
    ({"evaluate": [{"corruptions": "medical"}]}, "there is no table for the modality 'handwritten digits'"),
    ({"evaluate": [{"corruptions": ["fog"]}]}, "'fog' is unknown; known: black_corner"),
    ({"evaluate": [{"corruptions": "mri", "severities": [6]}]}, "evaluate.0.severities.0: must be at most 5, got 6"),
    ({"evaluate": [{"corruption": "mri"}]}, "no evaluation is called 'corruption'; did you mean 'corruptions'?"),
    ({"evaluate": [CORRUPTIONS, CORRUPTIONS]}, "two evaluations are called 'corruptions'; give one of them a name"),
    ({"evaluate": [{**CORRUPTIONS, "name": "test"}]}, "'test' is what the harness calls its own set"),
    ({"evaluate": [{**CORRUPTIONS, "of": ["digits"]}]}, "evaluate.0.of: no dataset has the label 'digits'"),
    ({"evaluate": [{"subgroups": ["sites"]}]}, "there is no column of metadata 'sites'; did you mean 'site'?"),
    ({"evaluate": [{"subgroups": ["scanner"]}]}, "subgroups.0: scanner: nobody wrote it down"),
    ({"evaluate": [{"subgroups": ["age"]}]}, "age is a number; write age_decade for its bands of ten"),
    ({"evaluate": [{"subgroups": ["site"], "least": 40}]}, "test cases of digit_sites, fewer than 40"),
    ({"split": {"kind": "domain", "by": "site"}}, "split.test: is missing: a split by domain needs it"),
    ({"split": {"kind": "grouped", "by": "site"}}, "split.by: belongs to a split by domain"),
    ({"split": {"kind": "domain", "by": "sight", "test": ["north"]}}, "no column of metadata 'sight'; did you mean"),
    ({"split": {"kind": "domain", "by": "site", "test": ["north"], "folds": 3}}, "the test side of a split by domain"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "what"), BAD)
def test_bad_input_takes_one_line_and_nothing_is_begun(
    tmp_path: Path, shared_cache: Path, changes: dict[str, Any], what: str
) -> None:
    file = sites_sweep(tmp_path, **{"split": {"kind": "grouped"}, **changes})
    done = run_inline(file, tmp_path / "run", shared_cache, expect=2)
    line = " ".join(done.stderr.split())
    assert what in line and "Traceback" not in line
    assert not (tmp_path / "run" / "studies").exists()
