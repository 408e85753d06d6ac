"""Names that differ in their spelling alone, which a reader would take for one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from analysis.comparison.evidence import Evidence
from analysis.stats.cautions import Caution

_LOOKALIKES = str.maketrans("аеорсухіјѕһԁԛԝоαεικνορτυχ", "aeopcyxijshdqwoaeikvoptux")
"""Cyrillic and Greek letters that look like Latin ones, in lower case."""


def canonical(name: str) -> str:
    """The name without what a reader hardly sees.

    Case, composed or decomposed accents, full-width forms, letters of other scripts that look Latin, invisible
    characters, and which of spaces, dashes, underscores and nothing separates its words. Between two digits a
    separator counts: ``r1_6`` is not ``r16``.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).translate(_LOOKALIKES)
    seen = "".join(letter for letter in folded if unicodedata.category(letter) not in ("Cf", "Cc", "Co", "Cn"))
    dashed = "".join("-" if unicodedata.category(letter) in ("Pd", "Pc", "Zs") else letter for letter in seen)
    return re.sub(r"(?<!\d)-+|-+(?!\d)", "", re.sub(r"-+", "-", dashed)) or name


def nearly_equal(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The groups of two and more different names that are the same but for their spelling, in their order."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(canonical(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def spelling_cautions(evidence: Evidence) -> Iterator[Caution]:
    """A caution for each group of methods, datasets or metrics whose names are nearly equal."""
    kinds = (
        ("methods", evidence.methods, "their seeds are split between them and the family of comparisons is too large"),
        ("datasets", evidence.datasets, "it counts more than once in averages, ranks and the family of comparisons"),
        ("metrics", evidence.plan.metrics, "its values are split between them"),
    )
    for kind, names, consequence in kinds:
        for group in nearly_equal(names):
            if kind == "datasets" and len({evidence.about(name).source for name in group}) == 1:
                continue
            listed = " and ".join(repr(name) if name.isascii() else ascii(name) for name in group)
            yield Caution(
                "nearly_equal_names",
                f"The {kind} {listed} differ in spelling alone and are treated as different; if they are one, "
                f"{consequence}.",
            )
