"""The folder that ``python -m harness.data`` writes: the card, and the split and the audit for other tools."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.csv_cells import guarded
from harness.core.files import write_atomic, write_json
from harness.data.card import SIDES, label_text, worst_pairs
from harness.data.pictures import pair_picture, sample_grid
from harness.pages.cards import write_card_page

if TYPE_CHECKING:
    from harness.data.audit import Audit, ImagePair
    from harness.data.decoded import DecodedDataset
    from harness.data.split import Split
    from harness.run.data_records import Card

FILES = {
    "split.json": "the case ids of each side, as a sweep records them",
    "split.csv": "a line an image: case_id, side, class, group (what must stay together)",
}
AUDIT_FILES = {"audit.csv": "every pair of images that are identical or nearly so, worst first"}


def write_folder(folder: Path, card: Card, data: DecodedDataset, split: Split, audit: Audit | None) -> Path:
    """Write everything; what an earlier call has written is replaced, and its audit removed where there is none now.

    Args:
        folder: exists, and so does ``figures`` in it.
        card: of this dataset, split and audit.
        data: the dataset.
        split: the sides.
        audit: what the pixels show, if they were looked at.

    Returns:
        The path of the page, ``card.html``.
    """
    write_json(folder / "split.json", split.to_json())
    write_atomic(folder / "split.csv", _csv(("case_id", "side", "class", "group"), _cases(data, split)))
    pairs = () if audit is None else worst_pairs(audit)
    if audit is None:
        (folder / "audit.csv").unlink(missing_ok=True)
    else:
        write_atomic(folder / "audit.csv", _csv(_PAIR_HEAD, map(_pair, [*audit.identical, *audit.near])))
    if not pairs:
        (folder / "figures" / "pairs.png").unlink(missing_ok=True)
    pictured = pair_picture(data, pairs) if pairs else None
    files = FILES if audit is None else {**FILES, **AUDIT_FILES}
    return write_card_page(folder, card["name"], card, sample_grid(data, split), pictured, files)


_PAIR_HEAD = (
    *("kind", "similarity", "first", "first_side", "first_class"),
    *("second", "second_side", "second_class", "two_sides", "two_labels"),
)


def _pair(pair: ImagePair) -> Sequence[str]:
    return (
        pair.kind,
        f"{pair.similarity:.4f}",
        *(pair.first, pair.sides[0], pair.labels[0]),
        *(pair.second, pair.sides[1], pair.labels[1]),
        "yes" if pair.straddles else "no",
        "yes" if pair.conflicting else "no",
    )


def _cases(data: DecodedDataset, split: Split) -> Iterable[Sequence[str]]:
    for side in SIDES:
        for case_id in getattr(split, side):
            row = data.rows[case_id]
            yield case_id, side, label_text(data, row), data.groups[row]


def _csv(head: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(map(guarded, row) for row in rows)
    return stream.getvalue().encode()
