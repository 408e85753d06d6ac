"""What the files of a run say of its datasets: splits, cards, and images that two of them share."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from harness.core.json_form import Form, Law, Length
from harness.core.origin import GroupState
from harness.run.record_values import Count
from harness.space.parameters import Number

MOST_CLASSES = 10_000


class _Sides(TypedDict):
    train: list[str]
    val: list[str]
    test: list[str]


class SplitRecord(_Sides):
    """``splits/DATASET.json``: case ids of each side."""

    kind: str
    seed: int
    in_distribution: NotRequired[list[str]]
    """Of a split by domain: held-out cases of the training domains."""
    left_out: NotRequired[dict[str, Count]]
    """Cases on no side, by reason."""


class _Counts(TypedDict):
    train: list[Count]
    val: list[Count]
    test: list[Count]


class _SideSizes(TypedDict):
    train: Count
    val: Count
    test: Count


class Identical(TypedDict):
    """Sets of images with the same pixels, and the images in them."""

    sets: Count
    images: Count


class SplitFacts(TypedDict):
    """What a card says of a split."""

    kind: NotRequired[str]
    seed: NotRequired[int]
    digest: NotRequired[str]
    in_distribution: NotRequired[Count]
    """Of a split by domain: held-out cases of the training domains."""
    left_out: NotRequired[dict[str, Count]]
    """Cases on no side, by reason."""


class LeakFacts(TypedDict):
    """What a split gives away: counts as ``harness.data.leaks.Leaks`` has them, and the finding in words."""

    duplicate_clusters: NotRequired[Count]
    duplicate_test: NotRequired[Count]
    groups: NotRequired[Count]
    group_test: NotRequired[Count]
    test: NotRequired[Count]
    any: NotRequired[bool]
    sentence: NotRequired[str]


class PairCounts(TypedDict):
    """Pairs of one kind: all, those on two sides, those of a test image among them, those of two labels."""

    pairs: Count
    straddling: Count
    test: Count
    conflicting: Count


class PairFacts(TypedDict):
    """A pair of images that are the same, or nearly, as ``harness.data.audit.Pair`` has it."""

    first: str
    second: str
    sides: list[str]
    labels: list[str]
    kind: Literal["identical", "near"]
    similarity: Number


class _PairKinds(TypedDict):
    identical: PairCounts
    near: PairCounts


class ColumnFacts(TypedDict):
    """A column of metadata: what ``harness.data.metadata.column_facts`` says of it."""

    name: str
    kind: Literal["category", "number"]
    missing: Count
    """Images without a value."""
    absent: NotRequired[str]
    """Why no image has one."""
    values: NotRequired[dict[str, Count]]
    """Of a category: images with each value, the most frequent first."""
    further: NotRequired[Count]
    """Values that are not among these."""
    range: NotRequired[list[Number]]
    """Of numbers: the lowest and the highest."""


class AuditFacts(TypedDict):
    """What a look at the pixels has found; of single pairs the worst ones."""

    kinds: _PairKinds
    worst: list[PairFacts]
    random_pairs: Count
    false_alarms: Count
    notes: list[str]


class Card(TypedDict):
    """``cards/DATASET.json``: facts about a dataset (``harness.data.card.make_card``)."""

    name: str
    title: NotRequired[str]
    summary: NotRequired[str]
    modality: NotRequired[str]
    licence: NotRequired[str]
    citation: NotRequired[str]
    classes: Annotated[list[str], Length(1, MOST_CLASSES)]
    multi_label: NotRequired[bool]
    images: Count
    image_size: NotRequired[Count]
    resize: NotRequired[str]
    fingerprint: NotRequired[str]
    split: SplitFacts
    sides: NotRequired[_SideSizes]
    counts: _Counts
    shares: NotRequired[dict[str, list[Number]]]
    source: NotRequired[str]
    group_state: NotRequired[GroupState]
    official_by_patient: NotRequired[bool]
    groups: NotRequired[Count | None]
    identical: NotRequired[Identical]
    clusters: NotRequired[Count]
    near_joined: NotRequired[bool]
    left_out: NotRequired[dict[str, Count]]
    absent: NotRequired[list[str]]
    notes: NotRequired[list[str]]
    metadata: NotRequired[list[ColumnFacts]]
    pictured: NotRequired[Count]
    leaks: NotRequired[LeakFacts]
    allow_leakage: NotRequired[str | None]
    audit: NotRequired[AuditFacts | None]


_Pair = Length(2, 2)


class DatasetOverlap(TypedDict):
    """Images that two datasets of a sweep share."""

    datasets: Annotated[list[str], _Pair]
    """Labels of the sweep file."""
    sources: Annotated[list[str], _Pair]
    """What each says of where its images come from."""
    identical: Annotated[list[Count], _Pair]
    """Images of each that the other has, pixel by pixel before the resize."""
    near: Annotated[list[Count], _Pair] | None
    """Further images of each that the other has nearly; null where nobody looked for them."""
    named: list[Annotated[list[str], _Pair]]
    """Case ids of the first few pairs."""


class BackboneOverlap(TypedDict):
    """Tested images of a dataset that are training or validation images of a backbone that is trained first."""

    backbone: str
    """Name of the dataset that it is trained on."""
    dataset: str
    """Label of the dataset that is tested."""
    test: Count
    """Its tested images, of all splits."""
    identical: Count
    """Those of them that the backbone sees."""
    near: Count | None
    """Further ones of which it sees nearly the same; null where nobody looked for them."""
    named: list[Annotated[list[str], _Pair]]
    """Case ids of the first few pairs: what the backbone sees, and what is tested."""


class OverlapsRecord(TypedDict):
    """``overlaps.json``: images that two datasets share, or that a backbone sees before they are tested."""

    datasets: list[DatasetOverlap]
    backbones: list[BackboneOverlap]
    allow_leakage: str | None
    """The reason that the sweep file gives."""


def _miscounted(card: Card) -> str | None:
    of_side = card["counts"]
    for side, counts in (("train", of_side["train"]), ("val", of_side["val"]), ("test", of_side["test"])):
        if len(counts) != len(card["classes"]):
            return f"counts.{side}: {len(counts)} counts for {len(card['classes'])} classes"
    return None


def group_state_of(card: Card) -> GroupState:
    """What is known of patients and lesions; a card from before that was recorded tells whether there were groups."""
    return card.get("group_state") or ("known" if card.get("groups") else "unknown")


SPLIT: Form[SplitRecord] = Form(SplitRecord)


CARD: Form[Card] = Form(Annotated[Card, Law(_miscounted)])


OVERLAPS: Form[OverlapsRecord] = Form(OverlapsRecord)
