"""A dataset's card: what it is, how it was split and what the split gives away, as plain data.

A card is a JSON object. Those of a sweep lie in its run directory, ``python -m harness.data`` writes one of its
own, and ``harness.pages.cards`` makes a page of either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.core.errors import one_line
from harness.core.origin import group_state
from harness.data.metadata import column_facts
from harness.data.split import Split, exact_counts, indices
from harness.dataset import Dataset
from harness.run.data_records import AuditFacts, Card, PairCounts, SplitFacts

if TYPE_CHECKING:
    from harness.data.audit import Audit, ImagePair
    from harness.data.decoded import DecodedDataset
    from harness.data.leaks import Leaks

SIDES = ("train", "val", "test")
MOST_CLASSES = 24
"""How many classes the sample grid shows at most."""
MOST_PAIRS = 24
"""How many pairs of an audit are listed and pictured at most."""

_MOST_NOTES = 20


def make_card(
    dataset: Dataset,
    data: DecodedDataset,
    split: Split,
    leaks: Leaks,
    audit: Audit | None = None,
    allow_leakage: str | None = None,
) -> Card:
    """Everything that a reader of results should know of a dataset, ready for JSON.

    Args:
        dataset: the plugin.
        data: its decoded images.
        split: the sides that trainings see.
        leaks: what the split gives away.
        audit: what a look at the pixels has found; its single pairs are left out but for the worst ones.
        allow_leakage: the user's reason for going on with a split that leaks.

    Returns:
        ``name``, ``title``, ``summary``, ``modality``, ``licence``, ``citation``: of the plugin.
        ``classes``, ``multi_label``, ``images``, ``image_size`` (pixels), ``resize`` (in words), ``fingerprint``.
        ``split``: ``kind``, ``seed``, ``digest``.
        ``sides``: side → images. ``counts``: side → images of each class; with several labels an image counts
        in each class that it bears. ``shares``: side or ``all`` → ``counts`` as fractions of the side's images.
        ``source``: where the images come from. ``group_state``: what is known of patients and lesions (``known``,
        ``none``, ``unknown``). ``official_by_patient``: whether the publisher's split is by patient.
        ``groups``: given patients or lesions, null where none are given. ``identical``: ``sets`` of images with the
        same pixels and the ``images`` in them. ``clusters``: what a grouped split keeps on one side;
        ``near_joined``: near-duplicates among it.
        ``left_out``: files that are no images of the dataset, by reason. ``absent``: classes that a side lacks, a
        clause each. ``notes``: inexact counts, sentences of the decoder. ``metadata``: a ``ColumnFacts`` a column.
        ``pictured``: classes in the sample grid.
        ``leaks``: the counts, ``any`` and ``sentence``. ``allow_leakage``. ``audit``: null or as ``_audited`` says.
    """
    counts, sides = class_counts(data, split)
    given = data.records["group"].to_list()
    groups = {group for group in given if group is not None}
    repeated = [times for times in Counter(data.records["pixels"].to_list()).values() if times > 1]
    doc = (type(dataset).__doc__ or "").strip()
    size = int(data.images.shape[1])
    return {
        "name": dataset.name,
        "title": dataset.title,
        "summary": one_line(doc.partition("\n\n")[0]),
        "modality": dataset.modality,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "classes": list(data.classes),
        "multi_label": data.multi_label,
        "images": len(data.labels),
        "image_size": size,
        "resize": f"each image is squashed to {size} × {size} pixels by Pillow's antialiased bilinear filter: the "
        "aspect ratio is not kept, nothing is cropped; one that has this size is taken as it is",
        "fingerprint": data.fingerprint,
        "split": _split_facts(split),
        "sides": {"train": sides[0], "val": sides[1], "test": sides[2]},
        "counts": {"train": counts[0].tolist(), "val": counts[1].tolist(), "test": counts[2].tolist()},
        "shares": {
            side: (column / max(images, 1)).round(6).tolist()
            for side, column, images in (
                *zip(SIDES, counts, sides, strict=True),
                ("all", np.sum(counts, axis=0), sum(sides)),
            )
        },
        "source": dataset.source,
        "group_state": group_state(dataset.groups, given),
        "official_by_patient": dataset.official_by_patient,
        "groups": len(groups) or None,
        "identical": {"sets": len(repeated), "images": sum(repeated)},
        "clusters": len(set(data.groups)),
        "near_joined": data.near_joined,
        "left_out": dict(data.left_out),
        "absent": _absent(data.classes, counts),
        "notes": [*_inexact(split, len(data.labels)), *_first(data.notes)],
        "metadata": column_facts(data),
        "pictured": min(len(data.classes), MOST_CLASSES),
        "leaks": {**leaks.to_json(), "any": leaks.any, "sentence": leaks.sentence()},
        "allow_leakage": allow_leakage,
        "audit": None if audit is None else _audited(audit),
    }


def _split_facts(split: Split) -> SplitFacts:
    facts: SplitFacts = {"kind": split.kind, "seed": split.seed, "digest": split.digest}
    if split.in_distribution:
        facts["in_distribution"] = len(split.in_distribution)
    if split.left_out:
        facts["left_out"] = dict(split.left_out)
    return facts


def _absent(classes: Sequence[str], counts: Sequence[npt.NDArray[np.int64]]) -> list[str]:
    """Which classes have too few images for the split."""
    lacks = {"train": "training", "val": "validation", "test": "test"}
    return [
        f"class {name!r} has no {lacks[side]} image"
        for side, column in zip(SIDES, counts, strict=True)
        for name, images in zip(classes, column.tolist(), strict=True)
        if not images
    ]


def class_counts(data: DecodedDataset, split: Split) -> tuple[list[npt.NDArray[np.int64]], list[int]]:
    """Images of each class on each side, int64 of shape (classes,), and images of each side, in the order of SIDES."""
    sides = indices(split, data)
    borne = borne_classes(data)
    return [borne[rows].sum(axis=0, dtype=np.int64) for rows in sides], [len(rows) for rows in sides]


def borne_classes(data: DecodedDataset) -> npt.NDArray[np.bool_]:
    """Which classes each image bears, shape (images, classes)."""
    if data.multi_label:
        return data.labels.astype(np.bool_)
    return np.equal.outer(data.labels, np.arange(len(data.classes)))


def label_text(data: DecodedDataset, row: int) -> str:
    """The class of an image; of several ``a+b``, and ``none`` where it bears none."""
    if not data.multi_label:
        return data.classes[int(data.labels[row])]
    return "+".join(name for name, borne in zip(data.classes, data.labels[row], strict=True) if borne) or "none"


def worst_pairs(audit: Audit, most: int = MOST_PAIRS) -> tuple[ImagePair, ...]:
    """The pairs to look at first, in the audit's order.

    Of each fault (two labels, identical on two sides, nearly identical on two sides) as many as of the others,
    because hundreds of one would hide the rest.
    """
    pairs = [*audit.identical, *audit.near]
    faults = (
        [pair for pair in pairs if pair.conflicting],
        [pair for pair in audit.identical if pair.straddles],
        [pair for pair in audit.near if pair.straddles],
        pairs,
    )
    chosen: dict[ImagePair, None] = {}
    for turn in zip_longest(*faults):
        chosen.update(dict.fromkeys(pair for pair in turn if pair is not None))
        if len(chosen) >= most:
            break
    return tuple(sorted(list(chosen)[:most], key=pairs.index))


def _audited(audit: Audit) -> AuditFacts:
    """Counts of pairs by kind, the worst pairs, and how far the search for near-duplicates can be trusted.

    The list of all pairs may be longer than the dataset and has a file of its own.
    """
    return {
        "kinds": {"identical": _counted(audit.identical), "near": _counted(audit.near)},
        "worst": [
            {
                "first": pair.first,
                "second": pair.second,
                "sides": list(pair.sides),
                "labels": list(pair.labels),
                "kind": pair.kind,
                "similarity": round(pair.similarity, 4),
            }
            for pair in worst_pairs(audit)
        ],
        "random_pairs": audit.random_pairs,
        "false_alarms": audit.false_alarms,
        "notes": list(audit.notes),
    }


def _inexact(split: Split, images: int) -> list[str]:
    """That the clusters allowed no split of exactly 64 / 16 / 20 per cent."""
    wanted = exact_counts(images)
    if split.kind in ("official", "domain") or (len(split.val), len(split.test)) == wanted[1:]:
        return []
    numbers = " / ".join(f"{count:,}" for count in wanted)
    return [f"The groups do not come out even at {numbers} images; the sides are the nearest that they allow."]


def _counted(pairs: Sequence[ImagePair]) -> PairCounts:
    return {
        "pairs": len(pairs),
        "straddling": sum(pair.straddles for pair in pairs),
        "test": sum(pair.straddles and "test" in pair.sides for pair in pairs),
        "conflicting": sum(pair.conflicting for pair in pairs),
    }


def _first(notes: Sequence[str]) -> list[str]:
    rest = len(notes) - _MOST_NOTES
    return [*notes[:_MOST_NOTES], *([f"and {rest:,} more like these"] if rest > 0 else [])]
