"""Which slot of a finished search is taken, and which another rule would have taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.search.sampler import Asked
from harness.search.surrogate import expected_scores
from harness.space.parameters import Space
from harness.spec.search import Rule, SearchSpec

MOST_COMPARED = 100
"""With more slots no model is fitted merely to tell what it would have chosen: that takes the cube of their number."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The slot that a rule takes."""

    slot: Asked
    expected: float | None = None
    """What the rule expects of it, higher is better: by a model of all scores, or the mean over all tuning seeds; None
    where the best score itself decided."""

    @property
    def promised(self) -> float:
        """What the rule promises: ``expected``, else the score."""
        assert self.slot.score is not None
        return self.slot.score if self.expected is None else self.expected


def best_slots(history: Sequence[Asked], most: int) -> list[Asked]:
    """The slots with the best scores, best first, the earliest of equals first; those without a score are left out."""
    scored = [(entry.score, entry) for entry in history if entry.score is not None]
    return [entry for _, entry in sorted(scored, key=lambda pair: (-pair[0], pair[1].slot))[:most]]


def choose(
    history: Sequence[Asked], space: Space, search: SearchSpec, again: Mapping[int, float | None]
) -> Chosen | None:
    """The slot that ``search.choose`` takes, the earliest of equals; None when no slot has a score.

    Slots that failed or were pruned cannot be chosen.

    Args:
        history: what is known of each slot.
        space: the study's space.
        search: how the study is searched.
        again: slot → its score on the further tuning seed, None where that training failed; higher is better.
    """
    return chosen_by(search.choose, history, space, search, again) or chosen_by("best", history, space, search, again)


def chosen_by(
    rule: Rule, history: Sequence[Asked], space: Space, search: SearchSpec, again: Mapping[int, float | None]
) -> Chosen | None:
    """The slot that a rule takes; None where too little is known for it. For the arguments see ``choose``."""
    ranked = best_slots(history, len(history))
    if not ranked:
        return None
    if rule == "best":
        return Chosen(ranked[0])
    if rule == "surrogate_mean":
        finished = sorted(ranked, key=lambda entry: entry.slot)
        means = expected_scores(space, finished)
        place = 0 if means is None else int(means.argmax())
        return None if means is None else Chosen(finished[place], float(means[place]))
    # All seeds weigh alike: of slots that differ by chance alone the mean says most.
    seeds = len(search.seeds)
    means_of = {
        entry.slot: (seeds * entry.score + score) / (seeds + 1)
        for entry in ranked
        if entry.score is not None and (score := again.get(entry.slot)) is not None
    }
    if not means_of:
        return None
    taken = max((entry for entry in ranked if entry.slot in means_of), key=lambda e: (means_of[e.slot], -e.slot))
    return Chosen(taken, means_of[taken.slot])


def compared(
    history: Sequence[Asked], space: Space, search: SearchSpec, again: Mapping[int, float | None]
) -> dict[Rule, Chosen]:
    """What each rule takes, as far as it can be told from what was trained; for the arguments see ``choose``."""
    rules: list[Rule] = ["best", "top_k"]
    if search.choose == "surrogate_mean" or len(history) <= MOST_COMPARED:
        rules.append("surrogate_mean")
    found = {rule: chosen_by(rule, history, space, search, again) for rule in rules}
    return {rule: chosen for rule, chosen in found.items() if chosen is not None}
