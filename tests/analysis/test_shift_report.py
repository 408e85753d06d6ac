"""What a report says of evaluations beside the test split and of subgroups."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up import FORBIDDEN
from made_up_shifts import SEEDS, with_subgroups, write_shifted

from analysis.comparison_results import schema
from analysis.report import write_report
from analysis.report_files import ReportPaths
from analysis.shift_models import WholeDocument


@pytest.fixture(scope="module")
def written(shared_builder: Callable[..., Any]) -> ReportPaths:
    run = write_shifted(shared_builder, datasets=("alpha", "beta"))
    columns = {
        "sex": lambda case: None if case % 20 == 0 else "female" if case % 5 < 2 else "male",
        "site": lambda case: "north" if case % 3 == 0 else "south",
    }
    return write_report(with_subgroups(run, columns))


def section(paths: ReportPaths, title: str) -> str:
    text = paths.markdown.read_text(encoding="utf-8")
    found = re.search(rf"^## A?\d+\. {re.escape(title)}\n(.*?)(?=^## )", text, re.DOTALL | re.MULTILINE)
    assert found, title
    return found.group(1)


def test_each_shift_has_a_section_with_verdicts_drops_and_scope(written: ReportPaths) -> None:
    damaged, external = (section(written, f"Under shift: {name}") for name in ("corruptions", "elsewhere"))
    assert "damaged in 3 ways (gaussian_noise, defocus_blur and contrast), at severities 1, 3 and 5" in damaged
    assert "scoring new cases of the same source under these kinds of damage" in damaged
    assert re.search(r"On alpha, as tuned here, gpaf scored 0\.\d+ higher than control", damaged)
    assert "On alpha, it was 0." in damaged and "mean corruption error relative to control" in damaged
    assert "180 cases of elsewhere, which no training and no search saw" in external
    assert "no class of the same name: odd (3)" in external
    assert "corruption error" not in external and "paired by case" not in external


def test_no_sentence_claims_more_than_the_design(written: ReportPaths) -> None:
    for title in ("Under shift: corruptions", "Under shift: elsewhere", "Subgroups of the test cases"):
        prose = [line for line in section(written, title).splitlines() if line and line[0] not in "|!"]
        assert not any(re.search("other hospitals|in general|robust to", line) for line in prose)
        assert not any(FORBIDDEN.search(line) for line in prose if "Detectable" not in line)


def test_one_external_set_counts_once_in_averages_over_datasets(written: ReportPaths) -> None:
    assert "On average over these 2 datasets of 1 source" in section(written, "Under shift: elsewhere")
    assert "On average over these 2 datasets," in section(written, "Under shift: corruptions")


def test_subgroups_name_the_smallest_and_what_is_in_none(written: ReportPaths) -> None:
    text = section(written, "Subgroups of the test cases")
    assert "the smallest is female with 84 cases. 12 test cases have no value and belong to no subgroup." in text
    # Each site lacks a class, so that the mean over classes does not exist there.
    assert "Balanced accuracy is not defined in north and south" in text
    assert "These intervals allow for the choice of the worst" in text
    assert "Accuracy by site" in section(written, "Subgroups of the test cases: tables")


def test_many_methods_are_told_by_their_range(builder: Callable[..., Any], no_figures: None, tmp_path: Path) -> None:
    levels = {"control": 1.2, **{f"m{place}": 1.2 + 0.1 * place for place in range(1, 7)}}
    run = write_shifted(builder, levels=levels, evaluations=("elsewhere",), seeds=SEEDS[:3], cases=120)
    halves = {"half": lambda case: "first" if case < 60 else "second"}
    paths = write_report(with_subgroups(run, halves), tmp_path / "report")
    assert re.search(r"It was from \S+ for \w+ \(95 % .*\) to \S+ for \w+ ", section(paths, "Under shift: elsewhere"))
    text = section(paths, "Subgroups of the test cases")
    assert (
        re.search(r"the worst subgroup was (first|second) \(\d of 7 methods\)", text) and "scored worst in" not in text
    )


def test_the_numbers_are_in_results_json_by_its_schema(written: ReportPaths) -> None:
    whole = json.loads(written.results.read_text(encoding="utf-8"))["comparison"]
    read = WholeDocument.model_validate(whole).model_dump(mode="json")
    assert {name: member for name, member in read.items() if name in whole} == whole
    assert {"shifts", "subgroups"} <= schema()["properties"].keys()  # type: ignore[attr-defined]
    damaged, external = whole["shifts"]
    assert (damaged["name"], damaged["sets"][0], damaged["severities"]) == ("corruptions", "gaussian_noise", [1, 3, 5])
    assert damaged["claims"][0]["statement"].endswith("damaged test images (corruptions: mean over 3 kinds of damage).")
    assert {one["method"] for one in damaged["corruption_errors"]} == {"gpaf", "lora_c"}
    drop = external["drops"][0]
    assert drop["drop"]["estimate"] == pytest.approx(drop["reference"] - drop["shifted"])
    assert drop["seeds"] == list(SEEDS) and external["left_out"]["alpha"] == {"no class of the same name: odd": 3}
    assert [(one["dataset"], one["column"]) for one in whole["subgroups"]] == [
        ("alpha", "sex"), ("alpha", "site"), ("beta", "sex"), ("beta", "site"),
    ]  # fmt: skip
    assert whole["subgroups"][0]["scores"][0]["means"].keys() == {"female", "male"}


def test_tables_and_figures_are_written_and_the_paper_has_those_that_are_read(written: ReportPaths) -> None:
    folder = written.html.parent
    paper = (folder / "paper.tex").read_text(encoding="utf-8")
    for name in ("shift_drops_corruptions", "shift_errors_corruptions", "shift_claims_elsewhere"):
        assert (folder / "tables" / f"{name}.tex").exists()
    assert "mean corruption error" in paper and "what each method loses" in paper
    assert {"forest_corruptions.pdf", "severity_corruptions_alpha.svg"} <= {
        path.name for path in (folder / "figures").iterdir()
    }
    assert not (folder / "figures" / "severity_elsewhere_alpha.svg").exists()


def test_a_run_without_evaluations_says_nothing_of_shifts(
    builder: Callable[..., Any], no_figures: None, tmp_path: Path
) -> None:
    paths = write_report(write_shifted(builder, evaluations=()), tmp_path / "report")
    whole = json.loads(paths.results.read_text(encoding="utf-8"))["comparison"]
    assert not {"shifts", "subgroups"} & whole.keys()
    text = paths.markdown.read_text(encoding="utf-8")
    assert "Under shift" not in text and "Subgroups" not in text
    assert not list((paths.html.parent / "tables").glob("shift_*"))


def test_a_split_by_domain_says_that_the_test_split_is_the_shift(
    builder: Callable[..., Any], no_figures: None, tmp_path: Path
) -> None:
    run = write_shifted(builder, evaluations=(), domain=["rosendahl"])
    paths = write_report(run, tmp_path / "report")
    text = section(paths, "Under shift: rosendahl")
    assert "The test split is itself a shift: all of its cases are of rosendahl" in text
    assert "loses from held-out cases of the training domains to this" in text
    findings = section(paths, "Findings")
    assert "scoring new cases of rosendahl" in findings and "new cases of the same source" not in findings
