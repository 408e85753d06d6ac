"""A page with the test images that all, none or only one method gets right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from harness.cases.agreement import ALL, MIXED, NONE, only
from harness.data.decoded import DecodedDataset
from harness.data.pictures import case_grid, draw_key
from harness.pages import page
from harness.pages.contents import PageSection, PageTable, Picture, count, numbered

MOST_SHOWN = 24
"""Images of each kind on a page."""

WARNING = (
    "These are test images. Who changes a method, its settings or the data after looking at them has used the test "
    "split: a claim about the changed method needs images that nobody has looked at."
)
LOCAL = "The images are inside this file. Keep it where the images themselves may be."


def sheet(dataset: str, judged: pl.DataFrame, methods: Sequence[str], data: DecodedDataset, left_out: int) -> str:
    """The page as HTML; every text is escaped.

    Args:
        dataset: its label.
        judged: as ``agreement`` gives it.
        methods: in the order of the sweep file.
        data: the images.
        left_out: tested cases that not every method was tested on.
    """
    kinds = [NONE, *(map(only, methods) if len(methods) > 1 else ()), MIXED, ALL]
    cases = judged.unique("case_id", keep="first", maintain_order=True)
    lead = (
        f"{count(len(cases))} test images on which {len(methods)} methods were tested. A method gets an image right "
        "where more than half of its replicates that were tested on it do."
    )
    flags = [WARNING, LOCAL]
    if left_out:
        flags.append(f"{count(left_out)} further test images are left out: not every method was tested on them.")
    sections = [_counts(cases, kinds, data.classes), *_pictures(judged, cases, kinds, data)]
    return page.html(f"Test images of {dataset}", lead, flags, numbered(sections))


def _counts(cases: pl.DataFrame, kinds: Sequence[str], classes: Sequence[str]) -> PageSection:
    rows = []
    for kind in kinds:
        of_kind = cases.filter(pl.col("kind") == kind)
        by_class = [of_kind.filter(pl.col("label") == label).height for label in range(len(classes))]
        rows.append((kind, count(of_kind.height), *map(count, by_class)))
    head = ("right by", "all", *classes)
    table = PageTable(
        "Test images by who gets them right, and by class", head, "l" + "r" * (len(head) - 1), (("", tuple(rows)),)
    )
    return PageSection("How many", (), (table,))


def _pictures(
    judged: pl.DataFrame, cases: pl.DataFrame, kinds: Sequence[str], data: DecodedDataset
) -> Iterator[PageSection]:
    wrong = judged.filter(pl.col("predicted") != pl.col("label"))
    for number, kind in enumerate(kinds):
        of_kind = cases.filter(pl.col("kind") == kind)
        if of_kind.is_empty():
            continue
        shown = sorted(of_kind["case_id"].to_list(), key=draw_key)[:MOST_SHOWN]
        drawn = [(case_id, _words(case_id, of_kind, wrong, data.classes)) for case_id in shown]
        caption = f"{len(shown)} of {count(of_kind.height)} images, drawn by their case ids alone"
        alt = f"{len(shown)} test images that {kind} gets right: case id, label, and what it is taken for"
        picture = Picture(caption, alt, f"cases_{number}", case_grid(data, drawn))
        yield PageSection(f"Right by {kind}", (), (picture,))


def _words(case_id: str, of_kind: pl.DataFrame, wrong: pl.DataFrame, classes: Sequence[str]) -> str:
    """Its label, and the class that most of the methods that err take it for."""
    label = classes[of_kind.row(by_predicate=pl.col("case_id") == case_id, named=True)["label"]]
    taken = wrong.filter(pl.col("case_id") == case_id)["predicted"]
    return label if taken.is_empty() else f"{label} → {classes[int(taken.mode().min())]}"  # type: ignore[arg-type]
