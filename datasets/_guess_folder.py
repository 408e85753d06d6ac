"""Patients and masks that the names of a user's own files probably tell of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

PATIENT_PATTERNS = (r"^([^/]*[0-9][^/]*)/", r"^([A-Za-z]*[0-9]+)[_-]", r"^([A-Za-z]+[_-]?[0-9]+)[_-]")
"""Where a patient's id may be in a path below a class folder: a folder of its own, or the beginning of the name."""

_LARGEST = 0.5
"""A name that more than this share of the images has is no patient's."""


def patient_pattern(paths: Sequence[PurePosixPath]) -> tuple[str, int] | None:
    """A ``group_pattern`` that every path matches and that finds several images of one patient, and how many patients.

    Args:
        paths: of the images, below their class folders.
    """
    for pattern in PATIENT_PATTERNS:
        found = [re.search(pattern, str(path)) for path in paths]
        counts = Counter(match[1] for match in found if match is not None)
        several = sum(counts.values()) == len(paths) and 2 < len(counts) < len(paths)
        if several and counts.most_common(1)[0][1] <= _LARGEST * len(paths):
            return pattern, len(counts)
    return None
