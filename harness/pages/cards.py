"""A dataset's card as part of a report, and as a page of its own.

A card is what ``harness.data.card`` writes: plain data. One that an older version wrote lacks some of it, which is
then left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from harness.core.files import write_atomic, write_json
from harness.core.origin import GroupState
from harness.pages import page
from harness.pages.contents import Facts, Item, PageSection, PageTable, Picture, count, number, numbered
from harness.run.data_records import AuditFacts, Card, ColumnFacts, Identical, group_state_of
from harness.run.record_values import SplitSide

_SIDES: dict[SplitSide, str] = {"train": "Training", "val": "Validation", "test": "Test"}
_KINDS: dict[Literal["identical", "near"], str] = {"identical": "Identical pixels", "near": "Nearly identical"}


def data_section(label: str, card: Card, picture: Picture | None) -> PageSection:
    """What a dataset is, how it was split, and what the split gives away.

    Args:
        label: as in the sweep file.
        card: its facts.
        picture: as ``sample_picture`` makes it.
    """
    pictures = () if picture is None else (picture,)
    sentences = (*leak_sentences(card), *group_sentences(card), *_audit_sentences(card))
    tables = (class_counts(label, card), *metadata_table(label, card))
    return PageSection(f"Data: {label}", sentences, (*tables, *pictures, Facts(facts(card))))


def audit_section(audit: AuditFacts, picture: Picture | None) -> PageSection:
    """What a look at the pixels has found.

    Args:
        audit: of a card.
        picture: the worst pairs, as ``pair_picture`` makes it.
    """
    items: list[Item] = [_pair_counts(audit)]
    if picture is not None:
        items.append(picture)
    if audit["worst"]:
        items.append(_worst_pairs(audit))
    notes = "; ".join(audit["notes"])
    return PageSection("Audit", (f"{notes[:1].upper()}{notes[1:].rstrip('.')}.",) if notes else (), tuple(items))


_NO_LEAK: dict[GroupState, str] = {
    "known": "No leak was found: no identical images and no patient or lesion stand on more than one side.",
    "none": "No leak was found: no identical images stand on more than one side, and each image is a unit of its own.",
    "unknown": "No identical images stand on more than one side; whether patients do is not known.",
}


def leak_sentences(card: Card) -> tuple[str, ...]:
    """Whether the split leaks and, where the user allowed it, why; nothing where the card does not know."""
    leaks = card.get("leaks")
    if leaks is None:
        return ()
    found = f"The split leaks: {leaks['sentence']}." if leaks["any"] else _NO_LEAK[group_state_of(card)]
    reason = card.get("allow_leakage")
    return (found, f"The sweep file allows leakage, with this reason: {reason}") if reason else (found,)


def group_sentences(card: Card) -> tuple[str, ...]:
    """That patients are not known, and what follows from that; nothing where they are, or there is nothing to know."""
    if group_state_of(card) != "unknown":
        return ()
    return (unknown_groups(card.get("official_by_patient", False), card["split"].get("kind")),)


def unknown_groups(official_by_patient: bool, split_kind: str | None) -> str:
    """That nobody knows which images show the same patient, and what follows from that.

    Args:
        official_by_patient: whether the publisher's split is by patient.
        split_kind: the kind in use; None where nothing is known of a split.
    """
    lead = "It is not known which images show the same patient"
    if official_by_patient and split_kind == "official":
        return (
            f"{lead}. The publisher kept the patients of the test side off the other sides, but where several test "
            "images show one patient they count as independent, and intervals are too narrow."
        )
    official = "; the publisher's own split is by patient" if official_by_patient else ""
    kept = f", so the grouped split kept identical images together, but not those of a patient{official}"
    return (
        f"{lead}{kept if split_kind == 'grouped' else official}. If several show one patient, scores are too high and "
        "intervals too narrow."
    )


def class_counts(label: str, card: Card) -> PageTable:
    """Images of each class on each side of the split, and their shares in per cent."""
    counts = [card["counts"][side] for side in _SIDES]
    sides = [card["sides"][side] for side in _SIDES] if "sides" in card else [sum(column) for column in counts]
    several = card.get("multi_label", False)

    def row(name: str, numbers: list[int]) -> tuple[str, ...]:
        together, images = [*numbers, sum(numbers)], [*sides, sum(sides)]
        shares = [100 * part / whole if whole else None for part, whole in zip(together, images, strict=True)]
        return (name, *map(count, together), *(number(share, 1) for share in shares))

    rows = [row(str(name), [column[index] for column in counts]) for index, name in enumerate(card["classes"])]
    rows.append(row("All images", sides))
    heads = (*_SIDES.values(), "All")
    return PageTable(
        caption=f"{label}: images by class and side of the split.",
        head=("Class", *heads, *(f"{head}, %" for head in heads)),
        align="lrrrrrrrr",
        groups=(("", tuple(rows)),),
        note="An image counts in each class that it bears, so that the classes do not add up." if several else "",
    )


def metadata_table(label: str, card: Card) -> tuple[PageTable, ...]:
    """What is known of the images beside their pixels and labels; nothing where nothing is."""
    columns = card.get("metadata", [])
    if not columns:
        return ()
    return (
        PageTable(
            caption=f"{label}: metadata.",
            head=("Column", "Values", "Missing"),
            align="llr",
            groups=(("", tuple((one["name"], _values(one), count(one["missing"])) for one in columns)),),
        ),
    )


def _optional(images: int | None) -> str | None:
    return None if images is None else count(images)


def _values(column: ColumnFacts) -> str:
    if column.get("absent"):
        return f"none: {column['absent']}"
    if "range" in column:
        lowest, highest = column["range"]
        return f"{lowest:g} to {highest:g}"
    values = [f"{name} {count(images)}" for name, images in column.get("values", {}).items()]
    further = column.get("further", 0)
    return ", ".join([*values, *([f"and {further:,} further values"] if further else [])])


def sample_picture(label: str, card: Card, png: bytes, stem: str) -> Picture:
    """The grid that ``harness.data.pictures.sample_grid`` draws; ``stem`` is its file name without a suffix."""
    names = card["classes"][: card["pictured"]]
    left_out = len(card["classes"]) - len(names)
    rest = f" of the first {len(names)} of {len(card['classes'])} classes" if left_out else " of each class"
    return Picture(
        caption=f"{label}: training images{rest}, drawn at random. No validation or test image is shown.",
        alt=f"Training images of {', '.join(map(str, names))}",
        stem=stem,
        png=png,
    )


def pair_picture(audit: AuditFacts, png: bytes, stem: str) -> Picture:
    """The worst pairs that ``harness.data.pictures.pair_picture`` draws; ``stem`` as above."""
    shown = len(audit["worst"])
    return Picture(
        caption="Pairs to look at first, some of each fault: under two labels, or on two sides of the split. "
        "Numbered as in the table that follows.",
        alt=f"{shown} pairs of images that are identical or nearly so, side by side",
        stem=stem,
        png=png,
    )


def write_card_page(
    folder: Path, label: str, card: Card, sample: bytes, pairs: bytes | None, files: Mapping[str, str]
) -> Path:
    """Write ``card.html`` (one file that needs nothing else), ``card.md`` with ``figures/``, and ``card.json``.

    Args:
        folder: exists.
        label: what to call the dataset.
        card: its facts.
        sample: the sample grid, PNG.
        pairs: the worst pairs of its audit, PNG; None without audit or pairs.
        files: what else lies in the folder: name → what it is.

    Returns:
        The path of ``card.html``.
    """
    pictures = [sample_picture(label, card, sample, "sample")]
    sections = [data_section(label, card, pictures[0])]
    audit = card["audit"]
    if audit is not None:
        found = None if pairs is None else pair_picture(audit, pairs, "pairs")
        pictures += [] if found is None else [found]
        sections.append(audit_section(audit, found))
    sections.append(PageSection("Files", (), (Facts(tuple(files.items())),)))
    flags = (*(leak_sentences(card) if card["leaks"]["any"] else ()), *group_sentences(card))
    (folder / "figures").mkdir(exist_ok=True)
    for picture in pictures:
        write_atomic(folder / "figures" / f"{picture.stem}.png", picture.png)
    parts = (str(card["title"]), str(card["summary"]), flags, numbered(sections))
    write_json(folder / "card.json", dict(card))
    write_atomic(folder / "card.md", page.markdown(*parts).encode())
    write_atomic(folder / "card.html", page.html(*parts).encode())
    return folder / "card.html"


def facts(card: Card) -> tuple[tuple[str, str], ...]:
    """What the card states in single words and sentences."""
    split, identical, clusters = card["split"], card.get("identical"), card.get("clusters")
    pairs = {
        "Title": card["title"],
        "Modality": card["modality"],
        "Images": _images(card),
        "Labels": "several an image" if card.get("multi_label") else None,
        "Left out": "; ".join(f"{why}: {count(files)}" for why, files in card.get("left_out", {}).items()) or None,
        "Too few images": "; ".join(card.get("absent", ())) or None,
        "Resize": card.get("resize"),
        "Source": card.get("source"),
        "Patients or lesions": groups_phrase(card),
        "Identical images": None if identical is None else identical_phrase(identical),
        "Kept together": None
        if clusters is None
        else f"{count(clusters)} {_clusters(card)}, each on one side if grouped",
        "Split": f"{split['kind']}, seed {split['seed']}, digest {split['digest']}",
        "Held out within the training domains": _optional(split.get("in_distribution")),
        "On no side": "; ".join(f"{why}: {count(cases)}" for why, cases in split.get("left_out", {}).items()) or None,
        "Fingerprint": card["fingerprint"],
        "Decoding": "; ".join(card.get("notes", ())) or None,
        "Licence": card["licence"],
        "Citation": card["citation"],
    }
    return tuple((term, str(text)) for term, text in pairs.items() if text is not None)


def groups_phrase(card: Card) -> str:
    """What is known of patients and lesions, and how many there are."""
    state, groups = group_state_of(card), card.get("groups")
    if state == "none":
        return "each image is a unit of its own"
    if state == "unknown":
        return f"not known{f', but {count(groups)} are named for some of the images' if groups else ''}"
    return "known" if groups is None else f"{count(groups)}"


def _clusters(card: Card) -> str:
    """What a cluster is."""
    near = " or nearly identical" if card.get("near_joined") else ""
    return f"groups of {'one patient or lesion, or of ' if card.get('groups') else ''}identical{near} images"


def _images(card: Card) -> str:
    used = sum(card["sides"][side] for side in _SIDES) if "sides" in card else card["images"]
    rest = "" if used == card["images"] else f", of which the split uses {count(used)}"
    return f"{count(card['images'])}{rest}"


def identical_phrase(identical: Identical) -> str:
    """How many images have the same pixels as others."""
    if not identical["sets"]:
        return "none"
    sets = "1 set" if identical["sets"] == 1 else f"{count(identical['sets'])} sets"
    return f"{sets} of the same pixels, {count(identical['images'])} images in all"


def _audit_sentences(card: Card) -> tuple[str, ...]:
    if "audit" not in card:
        return ()
    audit = card["audit"]
    if audit is None and card.get("near_joined"):
        return ("Near-duplicates were looked for; those that were found share a cluster.",)
    if audit is None:
        command = f"python -m harness.data {card['name']} --audit"
        return (f"Identical images were looked for, near-duplicates were not: {command} does that.",)
    near = audit["kinds"]["near"]["pairs"]
    return (f"The audit, below, found {count(near)} {'pair' if near == 1 else 'pairs'} of nearly identical images.",)


def _pair_counts(audit: AuditFacts) -> PageTable:
    parts: tuple[Literal["pairs", "straddling", "test", "conflicting"], ...] = (
        *("pairs", "straddling"),
        *("test", "conflicting"),
    )
    kinds = audit["kinds"]
    tried, wrong = audit["random_pairs"], audit["false_alarms"]
    share = f" ({number(100 * wrong / tried, 1)} %)" if tried else ""
    return PageTable(
        caption="Pairs of images that are the same, or nearly.",
        head=("Pairs", "Found", "On two sides", "Of these, with a test image", "Under two labels"),
        align="lrrrr",
        groups=(
            (
                "",
                tuple((name, *(count(kinds[kind][part]) for part in parts)) for kind, name in _KINDS.items()),
            ),
        ),
        note="Identical: one pair for each image beyond the first of a set. Nearly identical: by hash and "
        f"correlation; of {count(tried)} random pairs of different clusters the search takes {count(wrong)}{share} "
        "for near-duplicates. Neighbouring slices of one scan are such pairs too; they do not stop a sweep.",
    )


def _worst_pairs(audit: AuditFacts) -> PageTable:
    rows = tuple(
        (
            str(place),
            pair["kind"],
            number(pair["similarity"], 3),
            *(pair["first"], pair["second"]),
            *(" / ".join(dict.fromkeys(both)) for both in (pair["sides"], pair["labels"])),
        )
        for place, pair in enumerate(audit["worst"], 1)
    )
    return PageTable(
        caption="Pairs to look at first; audit.csv lists all.",
        head=("No.", "Kind", "Similarity", "First", "Second", "Sides", "Labels"),
        align="llrllll",
        groups=(("", rows),),
    )
