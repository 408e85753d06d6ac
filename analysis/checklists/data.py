"""What a run says of its data: where they are from, how they were divided, what they lack.

Each teller gives None where the run does not know.
"""

from __future__ import annotations

from collections.abc import Callable

from analysis.checklists.form import DATA, METHODS, Reply, Teller, answer, of_run
from analysis.checklists.known import Known
from analysis.comparison.phrases import counted, listed
from analysis.runs.conduct import Conduct
from analysis.words.data import (
    MOST_CLASSES,
    content_sentence,
    excluded_sentence,
    leaks_found,
    origin_sentence,
    overlap_sentences,
    patients_sentence,
    preparation_sentence,
    split_sentence,
)
from analysis.words.methods import data_sentences
from harness.pages.contents import count, number
from harness.run.data_records import Card, group_state_of
from harness.run.sweep_records import SUBGROUPS, domains_in

MOST_COLUMNS = 12
"""Columns of metadata that an answer names."""


def _each(about: Callable[[Card], str], *where: str) -> Teller:
    """A teller that says something of the card of each dataset."""

    def tell(known: Known, conduct: Conduct) -> Reply | None:
        said = {name: about(conduct.cards[name]) for name in known.datasets}
        return answer((f"{name}: {text}" for name, text in said.items() if text), *where)

    return of_run(tell)


origins = _each(origin_sentence, DATA)
contents = _each(content_sentence, DATA)
exclusions = _each(excluded_sentence, DATA)
preparation = _each(preparation_sentence, DATA)
modality = _each(lambda card: f"kind of image: {card['modality']}." if card.get("modality") else "", DATA)
licences = _each(lambda card: f"licence {card['licence']}." if card.get("licence") else "", DATA)


def _named_classes(card: Card) -> str:
    names = card["classes"][:MOST_CLASSES]
    more = f" and {len(card['classes']) - len(names)} more" if len(names) < len(card["classes"]) else ""
    several = "; an image may bear several" if card.get("multi_label") else ""
    return f"{counted(len(card['classes']), 'class')}: {', '.join(names)}{more}{several}."


classes = _each(_named_classes, DATA)


def _imbalance(card: Card) -> str:
    tested = card["counts"]["test"]
    largest, smallest = max(tested), min(tested)
    if not smallest:
        return "a class has no test image."
    return (
        f"of the test images, {count(smallest)} are of the rarest class and {count(largest)} of the most frequent one, "
        f"a ratio of 1 to {number(largest / smallest, 1)}."
    )


imbalance = _each(_imbalance, DATA)


def _missing(card: Card) -> str:
    columns = card.get("metadata", [])[:MOST_COLUMNS]
    return ", ".join(f"{one['name']} is missing for {count(one['missing'])} images" for one in columns)


missing_values = _each(lambda card: f"{_missing(card)}." if _missing(card) else "", DATA)


def _by_side(card: Card) -> str:
    parts = []
    for side, name in (("train", "training"), ("val", "validation"), ("test", "test")):
        counts = card["counts"][side]  # type: ignore[literal-required]
        own = [f"{label}: {count(images)}" for label, images in zip(card["classes"], counts, strict=True)]
        parts.append(f"{name} {', '.join(own[:MOST_CLASSES])}{' …' if len(own) > MOST_CLASSES else ''}")
    names = [one["name"] for one in card.get("metadata", [])]
    known = f" Metadata on record: {', '.join(names[:MOST_COLUMNS])}." if names else " No metadata are on record."
    return f"{'; '.join(parts)}.{known}"


characteristics = _each(_by_side, DATA)
patients = _each(patients_sentence, DATA)
leaks = _each(lambda card: " ".join(leaks_found(card)), DATA)


@of_run
def overlaps(known: Known, conduct: Conduct) -> Reply | None:
    """Images that two datasets share, or that a backbone sees before they are tested."""
    return answer((one for found in conduct.overlaps for one in overlap_sentences(found)), DATA)


@of_run
def partitions(known: Known, conduct: Conduct) -> Reply | None:
    """How images were assigned to sides, with what sizes."""
    return answer((f"{name}: {split_sentence(known.analysis, conduct, name)}" for name in known.datasets), DATA)


@of_run
def subsets(known: Known, conduct: Conduct) -> Reply | None:
    """Whether training used fewer images than there are."""
    own = {
        name: [f"{key} {value}" for key in ("per_class", "fraction") if (value := task.get(key)) is not None]
        for name, entry in conduct.spec["datasets"].items()
        if (task := entry.get("task")) is not None
    }
    said = [f"{name}: a task with a part of the training images ({', '.join(parts)})." for name, parts in own.items()]
    whole = "The sweep file asks for no smaller training sets: all training images of each split were used."
    contents_of = contents(known)
    return answer((*(said or [whole]), *(contents_of.sentences if contents_of else ())), DATA)


def internal(known: Known) -> Reply | None:
    """What was tested on the same source."""
    return answer((*data_sentences(known.analysis, known.conduct),), METHODS)


@of_run
def external(known: Known, conduct: Conduct) -> Reply | None:
    """Tests on images of another source, domain or preparation."""
    spec = conduct.spec
    domains = [
        f"{name}: tested on {listed(tested)}, told apart by {by}, which training did not see."
        for name in spec["datasets"]
        for by, tested in [domains_in(spec, name)]
        if tested
    ]
    entries = [f"{one['name']} ({one['kind']})" for one in spec.get("evaluate", []) if one["kind"] != SUBGROUPS]
    declared = f"Declared evaluations beside the test split: {', '.join(entries)}." if entries else ""
    scored = f"Scored so far: {listed(list(known.shifts))}." if known.shifts else ""
    nothing = "" if domains or entries else "No images from another source, site or preparation were scored."
    return answer((*domains, declared, scored, nothing), METHODS)


@of_run
def subgroups(known: Known, conduct: Conduct) -> Reply | None:
    """Whether performance was looked at by subgroup."""
    own = [one for one in conduct.spec.get("evaluate", []) if one["kind"] == SUBGROUPS]
    if own:
        names = ", ".join(one["name"] for one in own)
        return Reply((f"Subgroups by metadata: {names}. Differences between them are exploratory.",), ())
    return Reply(("Performance by subgroup was not examined: the sweep file asks for none.",), ())


@of_run
def independence(known: Known, conduct: Conduct) -> Reply | None:
    """Whether test cases are independent of one another."""
    words = {
        "known": "cases of one patient or lesion count as one unit in the intervals.",
        "none": "each image is a unit of its own.",
        "unknown": "unknown: several test images may show one patient, and they count as independent.",
    }
    return answer((f"{name}: {words[group_state_of(conduct.cards[name])]}" for name in known.datasets), DATA)
