"""The data statement: what each dataset is, whose it is, how it was divided, what was left out, and what leaks."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.comparison.compare import Analysis
from analysis.comparison.draws import cells_on, splits_of
from analysis.comparison.phrases import counted, listed
from analysis.runs.conduct import Conduct
from analysis.words.methods import split_way
from harness.pages.cards import group_sentences, groups_phrase, identical_phrase, leak_sentences
from harness.pages.contents import count
from harness.pages.overlaps import overlap_notes, overlap_warnings
from harness.run.data_records import Card, OverlapsRecord
from harness.run.record_values import SplitSide

_SIDES: dict[SplitSide, str] = {"train": "training", "val": "validation", "test": "test"}
MOST_CLASSES = 20
"""Classes whose images a sentence counts one by one."""


def data_statement(analysis: Analysis, conduct: Conduct) -> tuple[str, ...]:
    """A paragraph for each dataset that has a card, then one on images that several of them share.

    Of several tasks of one dataset the first is told in full, and of the others what differs.
    """
    evidence, told, paragraphs = analysis.evidence, set[str](), []
    for label in evidence.datasets:
        card = conduct.cards.get(label)
        if card is None:
            continue
        parts = [content_sentence(card), split_sentence(analysis, conduct, label)]
        if (name := evidence.in_file_of(label)) not in told:
            told.add(name)
            parts = [origin_sentence(card), parts[0], patients_sentence(card), parts[1]]
            parts += [excluded_sentence(card), preparation_sentence(card), *leaks_found(card)]
        paragraphs.append(f"{label}: {' '.join(filter(None, parts))}")
    shared = [sentence for found in conduct.overlaps for sentence in overlap_sentences(found)]
    return (*paragraphs, " ".join(shared)) if shared else tuple(paragraphs)


def origin_sentence(card: Card) -> str:
    """Title, kind of image, source, licence and citation."""
    known = {
        "": card.get("modality"),
        "source ": card.get("source"),
        "licence ": card.get("licence"),
    }
    facts = "; ".join(f"{what}{text}" for what, text in known.items() if text)
    citation = (card.get("citation") or "").rstrip(".")
    return f"{card.get('title') or card['name']}{f' ({facts})' if facts else ''}{f', {citation}' if citation else ''}."


def content_sentence(card: Card) -> str:
    """How many images there are, of which classes."""
    sides = tuple(_SIDES)
    totals = [sum(numbers) for numbers in zip(*(card["counts"][side] for side in sides), strict=True)]
    used = sum(card["sides"][side] for side in sides) if "sides" in card else sum(totals)
    of = "" if used == card["images"] else f", of which the split uses {count(used)},"
    named = [f"{name}: {count(total)}" for name, total in zip(card["classes"], totals, strict=True)]
    if len(named) > MOST_CLASSES:
        named = [*named[:MOST_CLASSES], f"and {len(named) - MOST_CLASSES} more"]
    several = "; an image counts in each class that it bears" if card.get("multi_label") else ""
    return f"{count(card['images'])} images{of} of {counted(len(totals), 'class')} ({', '.join(named)}{several})."


def patients_sentence(card: Card) -> str:
    """What is known of patients and lesions."""
    said = " ".join(group_sentences(card))
    return said or f"Patients or lesions: {groups_phrase(card)}."


def split_sentence(analysis: Analysis, conduct: Conduct, label: str) -> str:
    """How the images were divided, and into how many."""
    evidence, card = analysis.evidence, conduct.cards[label]
    counts = card["counts"]
    sizes = {side: card["sides"][side] if "sides" in card else sum(counts[side]) for side in _SIDES}
    images = listed([f"{count(number)} {_SIDES[side]}" for side, number in sizes.items()])
    several = len(splits_of(cells_on(evidence, label)))
    drawn = f", {several} times; the first has {images} images" if several else f": {images} images"
    rest = "; ".join(f"{why}: {count(cases)}" for why, cases in card["split"].get("left_out", {}).items())
    way = split_way(label, evidence.about(label), conduct.spec)
    return f"Split {way}{drawn}{f'. On no side: {rest}' if rest else ''}."


def excluded_sentence(card: Card) -> str:
    """Which files of the archive were left out; empty where the card does not tell."""
    if "left_out" not in card:
        return ""
    parts = [f"{why}: {count(files)}" for why, files in card["left_out"].items()]
    return f"Left out: {'; '.join(parts)}." if parts else "No file of the archive was left out."


def preparation_sentence(card: Card) -> str:
    """How an image became what a network is given."""
    parts = [card.get("resize"), *card.get("notes", ())]
    said = "; ".join(part.rstrip(".") for part in parts if part)
    return f"Preparation: {said}." if said else ""


def leaks_found(card: Card) -> Iterator[str]:
    """What the split gives away, as far as it was looked for."""
    yield from leak_sentences(card)
    identical = card.get("identical")
    if identical is not None:
        yield f"Identical images: {identical_phrase(identical)}."
    if "audit" not in card:
        return
    audit = card["audit"]
    if audit is not None:
        near = audit["kinds"]["near"]
        yield f"Pairs of nearly identical images: {count(near['pairs'])}, on two sides {count(near['straddling'])}."
    elif card.get("near_joined"):
        yield "Near-duplicates were looked for; those that were found are on one side."
    else:
        yield "Near-duplicates were not looked for."


def overlap_sentences(found: OverlapsRecord) -> Iterator[str]:
    """Images that datasets share, or that a backbone sees."""
    yield from overlap_warnings(found)
    yield from overlap_notes(found)
