"""What a split gives away: identical images, patients or lesions that stand on more than one side.

Only the table of records is read, no pixel, so that every sweep can afford to look before it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.data.decoded import DecodedDataset
from harness.data.split import Split, indices
from harness.run.data_records import LeakFacts

_TEST = 2
"""Place of the test side in what ``indices`` returns."""


@dataclass(frozen=True, slots=True)
class Leaks:
    """How much of the test side is known from training or validation; all counts."""

    duplicate_clusters: int
    """Groups of pixel-identical images that stand on more than one side."""
    duplicate_test: int
    """Test images that have an identical copy in train or validation."""
    groups: int
    """Given groups (patients, lesions) that stand on more than one side."""
    group_test: int
    """Test images whose group is in train or validation too."""
    test: int
    """All test images."""

    @property
    def any(self) -> bool:
        """Whether identical images or a group stand on more than one side."""
        return bool(self.duplicate_clusters or self.groups)

    def sentence(self) -> str:
        """What is on more than one side in plain words: without a full stop, counts with thousands separators.

        Where nothing was found, images alone are spoken of: of patients nobody may know anything.
        """
        parts = []
        if self.duplicate_clusters:
            what = ("group of identical images stands", "groups of identical images stand")
            parts.append(self._part(self.duplicate_clusters, what, self.duplicate_test, "an exact copy"))
        if self.groups:
            what = ("patient or lesion stands", "patients or lesions stand")
            parts.append(self._part(self.groups, what, self.group_test, "another image of the same one"))
        return "; ".join(parts) or "no identical images stand on more than one side"

    def to_json(self) -> LeakFacts:
        """The counts by their names."""
        return {
            "duplicate_clusters": self.duplicate_clusters,
            "duplicate_test": self.duplicate_test,
            "groups": self.groups,
            "group_test": self.group_test,
            "test": self.test,
        }

    def _part(self, number: int, what: tuple[str, str], known: int, copy: str) -> str:
        have = "has" if known == 1 else "have"
        consequence = f"so that {known:,} of the {self.test:,} test images {have} {copy} in training or validation"
        if not known:
            consequence = f"but none of the {self.test:,} test images is concerned"
        return f"{number:,} {what[number != 1]} on more than one side, {consequence}"


def find_leaks(data: DecodedDataset, split: Split) -> Leaks:
    """Count the identical images and the given groups that a split puts on more than one side.

    Near-duplicates are left to ``harness.data.audit``, which reads the pixels.

    Raises:
        RequestError: the split is not one of this dataset.
    """
    sides = indices(split, data)
    duplicates, duplicate_test = _straddling(data.records["pixels"].to_list(), sides)
    groups, group_test = _straddling(data.records["group"].to_list(), sides)
    return Leaks(duplicates, duplicate_test, groups, group_test, len(split.test))


def _straddling(keys: Sequence[str | None], sides: Sequence[npt.NDArray[np.int64]]) -> tuple[int, int]:
    """Keys on more than one side, and test rows whose key is on another side; a missing key equals no other."""
    held = [[keys[row] for row in rows if keys[row] is not None] for rows in sides]
    train, val, test = map(set, held)
    known = train | val
    return len((train & val) | (known & test)), sum(key in known for key in held[_TEST])
