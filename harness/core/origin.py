"""Where images come from, and what is known of which of them show one patient: words of plugins and records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias, get_args

GroupState: TypeAlias = Literal["known", "none", "unknown"]
"""What is known of which images show one patient or lesion: each image names its own; there is nothing to know, because
every image is by design a unit of its own; or nobody can tell.
"""

_SOURCE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def is_source(name: object) -> bool:
    """Whether this can name a source: up to 64 lower-case letters, digits, ``.``, ``_`` and ``-``, such as ``lits``."""
    return isinstance(name, str) and _SOURCE.fullmatch(name) is not None


def fault_of(source: object, groups: object, official_by_patient: object) -> str | None:
    """Why a dataset cannot say this of itself, as the end of "CLASS …"; None if it can."""
    if not is_source(source):
        return f"has the source {source!r}; use lower-case letters, digits, '.', '_' and '-', such as 'ham10000'"
    if groups not in get_args(GroupState):
        return f"says {groups!r} of its groups; it is one of {', '.join(get_args(GroupState))}"
    if not isinstance(official_by_patient, bool):
        return f"says {official_by_patient!r} of official_by_patient, which is True or False"
    return None


def group_fault(said: GroupState, given: Iterable[str | None]) -> str | None:
    """Why the groups of a dataset's images contradict what it says of them, as the end of "CLASS …"; None if not."""
    any_given = any(group is not None for group in given)
    if said == "known" and not any_given:
        return "says that its groups are known, but no record has one; give each its patient, or say 'unknown'"
    if said == "none" and any_given:
        return "says that each image is a unit of its own, but records have groups; say 'known', or leave them out"
    return None


def group_state(said: GroupState, given: Iterable[str | None]) -> GroupState:
    """What is known of the groups of a dataset, by what it says and by the group of each of its images.

    Groups that are given count, whatever is said. Where some images have one and others not, nobody can tell which of
    the others belong together: that is unknown.
    """
    groups = list(given)
    if groups and None not in groups:
        return "known"
    return "none" if said == "none" else "unknown"


def one_of(source: str, datasets: Sequence[str]) -> str:
    """``one source (NAME)``, or ``tasks of one dataset (NAME)``: what labels of one source are; as ``one_source``."""
    alone = len(set(datasets)) == 1
    return f"tasks of one dataset ({datasets[0]})" if alone else f"one source ({source})"


def one_source(labels: Sequence[str], source: str, datasets: Sequence[str]) -> str:
    """That several labels of a sweep or report, two at least, are not independent, in a sentence.

    Args:
        labels: all of the source.
        source: its name.
        datasets: the dataset of each label, which is the label itself where it is no task among several.
    """
    named = f"{', '.join(labels[:-1])} and {labels[-1]}"
    return f"{named} are {one_of(source, datasets)} and count once in averages, ranks and claims about new datasets."
