"""The data statement says what the cards of the run say, and nothing that they do not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from analysis.comparison.compare import analyse
from analysis.runs.conduct import conduct_of
from analysis.runs.evidence import evidence_of
from analysis.runs.summary import summarise
from analysis.words.data import data_statement

if TYPE_CHECKING:
    from analysis.report_files import ReportPaths
    from tests.analysis.conftest import RunBuilder

CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "origin": ({"source": "ham10000"}, "Made-up shapes (drawing; source ham10000; licence CC0), Nobody (2026)."),
    "classes": ({}, "300 images of 2 classes (disc: 212, square: 88)."),
    "few used": ({"images": 310}, "310 images, of which the split uses 300, of 2 classes"),
    "several labels": ({"multi_label": True}, "square: 88; an image counts in each class that it bears)."),
    "patients": ({"groups": 77}, "Patients or lesions: 77."),
    "no patients": ({"group_state": "none"}, "Patients or lesions: each image is a unit of its own."),
    "unknown patients": ({"group_state": "unknown"}, "It is not known which images show the same patient"),
    "split": ({}, "all images of a patient, lesion or duplicate on one side: 180 training, 48 validation and 72 test"),
    "nothing left out": ({"left_out": {}}, "No file of the archive was left out."),
    "left out": ({"left_out": {"unreadable": 3, "no label": 1200}}, "Left out: unreadable: 3; no label: 1,200."),
    "leak": (
        {"leaks": {"any": True, "sentence": "2 test images are training images"}},
        "The split leaks: 2 test images are training images.",
    ),
    "identical": ({"identical": {"sets": 1, "images": 2}}, "Identical images: 1 set of the same pixels, 2 images"),
    "not audited": ({"audit": None}, "Near-duplicates were not looked for."),
    "joined": ({"audit": None, "near_joined": True}, "those that were found are on one side."),
    "preparation": ({"resize": "cropped", "notes": ["alpha dropped."]}, "Preparation: cropped; alpha dropped."),
}


@pytest.mark.parametrize(("changes", "said"), CHANGES.values(), ids=CHANGES)
def test_a_fact_of_a_card_is_in_the_statement(unfinished: RunBuilder, changes: dict[str, Any], said: str) -> None:
    run = unfinished.run
    card = {**run.cards()["beta"], **changes}
    run.write_card("beta", card)  # type: ignore[arg-type]
    text = " ".join(data_statement(analyse(evidence_of([run])), conduct_of([summarise(run)])))
    _, _, own = text.partition("beta: ")
    assert said in own
    assert "None" not in text and "  " not in text


def test_images_that_datasets_share_are_told(unfinished: RunBuilder, tmp_path: Path) -> None:
    run = unfinished.run
    pair = {
        "datasets": ["alpha", "beta"], "sources": ["one", "other"], "identical": [3, 4], "near": None,
        "named": [["a1", "b1"]],
    }  # fmt: skip
    run.write_overlaps({"datasets": [pair], "backbones": [], "allow_leakage": None})  # type: ignore[typeddict-item]
    *_, last = data_statement(analyse(evidence_of([run])), conduct_of([summarise(run)]))
    assert "3 images of alpha and 4 of beta are the same" in last


def test_report_and_paper_have_it(report: ReportPaths) -> None:
    for path in (report.html, report.markdown, report.html.parent / "paper.tex"):
        text = path.read_text()
        assert "Made-up shapes (drawing; licence CC0)" in text, path
    assert "Data statement" in report.html.read_text()
