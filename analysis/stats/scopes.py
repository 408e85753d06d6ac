"""What an interval or verdict holds for: a closed list of what is drawn anew, and the words for it.

A plan says these words before anything trains, and the report of the same design says them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Draw = Literal["retraining", "new_cases", "new_training_and_test_sets", "new_search", "new_datasets"]
"""Everything that an interval may draw anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnAnew:
    """What an interval draws anew beside the training itself; all else is held fixed."""

    sets: bool = False
    """New training and test sets, and with them new cases."""
    cases: bool = False
    """New cases of the same source."""
    search: bool = False
    """New searches for the configurations of both methods."""
    one_searched: bool = False
    """The searches saw one of the splits, on which the others depend: that one is held fixed."""
    partly: bool = False
    """Of an average: some of its datasets draw other sets or searches anew as well."""
    scored: str = ""
    """Which new cases are scored, in words; empty for new cases of the training's own source."""

    def __and__(self, other: DrawnAnew) -> DrawnAnew:
        """What both draw anew."""
        return DrawnAnew(
            sets=self.sets and other.sets,
            cases=self.cases and other.cases,
            search=self.search and other.search,
            one_searched=self.one_searched or other.one_searched,
            partly=self.partly or other.partly or (self.sets, self.search) != (other.sets, other.search),
            scored=self.scored if self.scored == other.scored else "new cases of each of these kinds",
        )

    @property
    def names(self) -> tuple[Draw, ...]:
        """The same by the closed list; new training and test sets have new cases in them."""
        found: dict[Draw, bool] = {
            "retraining": True,
            "new_cases": self.cases and not self.sets,
            "new_training_and_test_sets": self.sets,
            "new_search": self.search,
        }
        return tuple(name for name, drawn in found.items() if drawn)

    @property
    def width(self) -> tuple[bool | str, ...]:
        """For sorting: more is wider."""
        return self.sets, self.cases, self.search, not self.one_searched, not self.partly, self.scored


def domains_scored(domains: Sequence[str]) -> str:
    """``DrawnAnew.scored`` of a split by domain, whose test side is these domains on every split."""
    return f"new cases of {listed(domains)}"


def scope_phrase(drawn: DrawnAnew) -> str:
    """What was drawn anew behind an interval, and what is held fixed."""
    retraining = "retraining with new seeds"
    sets = f"{retraining} on new training {'sets' if drawn.scored else 'and test sets'} of the same source"
    anew = [sets if drawn.sets else retraining]
    if drawn.search:
        anew.insert(0, "searching anew")
    if drawn.cases and (drawn.scored or not drawn.sets):
        anew.append(f"scoring {drawn.scored or 'new cases of the same source'}")
    held = [] if drawn.sets else ["this training set", "this split" if drawn.cases else "these test cases"]
    held += [] if drawn.search else ["the configurations that were chosen"]
    held += ["the split that was searched"] if drawn.one_searched else []
    if not held:
        return listed(anew)
    return f"{listed(anew)}, {'on some of the datasets ' if drawn.partly else ''}given {listed(held)}"


def scopes_phrase(where: Mapping[DrawnAnew, Sequence[str]]) -> str:
    """What is drawn anew on several datasets, the widest first, with their names where more than the cases differs.

    Args:
        where: what is drawn anew, with the datasets of which that is so.
    """
    kinds = widest_first(where)
    drawn, scored = {(one.sets, one.search) for one in kinds}, {one.scored for one in kinds if one.cases}
    if len(drawn) < 2 and len(scored) < 2:
        return "; or, where an analysis of single cases was not possible, for ".join(map(scope_phrase, kinds))
    return "; for ".join(f"{scope_phrase(kind)} ({', '.join(dict.fromkeys(where[kind]))})" for kind in kinds)


def widest_first(kinds: Iterable[DrawnAnew]) -> tuple[DrawnAnew, ...]:
    """Different ones, those that draw most anew first."""
    return tuple(sorted(set(kinds), key=lambda drawn: drawn.width, reverse=True))


def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; with semicolons where an entry has a comma of its own."""
    mark = ";" if any("," in word for word in words) else ","
    if len(words) < 3:
        return " and ".join(words)
    return f"{f'{mark} '.join(words[:-1])} and {words[-1]}"
