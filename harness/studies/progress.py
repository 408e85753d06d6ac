"""How far a study is: a function of what it asks for and of the results that its trials have.

Nothing is read or written here. The scheduler adds engines and claims (``harness.work.state``), the status adds leases
(``harness.studies.reading``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from harness.core.replicates import Replicate
from harness.metrics.facts import MetricFacts
from harness.run.outcome import Ended, mean_score, seeds_of_slot
from harness.run.study_folder import Place
from harness.run.study_records import choice_for, replicates_of

if TYPE_CHECKING:
    from harness.run.record_values import Status
    from harness.run.study_records import ChoiceRecord, StudyRecord


class Results(Protocol):
    """Results by trial. One that was there stays as it is; more may come between two questions."""

    def get(self, place: Place, /) -> Ended | None:
        """How a trial ended; None while it has not."""


@dataclass(frozen=True, slots=True)
class StudyDesign:
    """The trials that a study asks for, as far as they can be told before any has a result."""

    slots: int
    seeds: tuple[int, ...]
    """Tuning seeds of each slot."""
    first_alone: bool
    """Whether the first seed of a slot runs before its others, because what prunes it ends the slot."""
    metric: str
    choose: str | None
    """The rule of the choice; None in runs from before there were several."""
    reevaluations: int
    """How many of the best slots are trained once more before one is chosen, if as many have a score."""
    further_seed: int | None
    """The seed of these trainings; None where there are none."""
    replicates: tuple[Replicate, ...]
    repeat: bool
    """Whether the training of the first replicate is run a second time."""
    resampled: bool = False
    """Whether each replicate has a choice of its own, from a resample of the slots."""
    leader: str | None = None
    """Name of the study whose choice is taken, in the place of a search."""
    own_sign: int | None = None
    """Of a metric that not every trial has: 1 where more is better, -1 where less is."""

    @classmethod
    def recorded(cls, description: StudyRecord, repeat: bool) -> StudyDesign:
        """As ``study.json`` tells it; whether there is a repetition, the specification of the sweep says."""
        # Runs from before there were re-evaluations do not tell.
        again = description.get("reevaluation")
        further = None if again is None else again["seed"]
        search = description["identity"]["search"]
        own = {record["name"]: MetricFacts.told(record).sign for record in description.get("metrics", ())}
        return cls(
            slots=description["search_slots"],
            seeds=tuple(description["search_seeds"]),
            first_alone=search.get("pruner", "none") != "none",
            metric=search["metric"],
            choose=description.get("choose"),
            reevaluations=0 if again is None or further is None else again["slots"],
            further_seed=further,
            replicates=replicates_of(description),
            repeat=repeat,
            resampled=description.get("resampled", False),
            leader=description.get("leader"),
            own_sign=own.get(search["metric"]),
        )

    def agrees_with(self, choice: ChoiceRecord) -> bool:
        """Whether a choice is of this search: of as many slots, by the same rule, on no more re-evaluations, and for
        every replicate."""
        if choice.get("leader") != self.leader or (self.leader is None and choice["of"] != self.slots):
            return False
        chosen = choice.get("replicates")
        if (chosen is not None) != self.resampled:
            return False
        if chosen is not None and not {str(one.seed) for one in self.replicates} <= chosen.keys():
            return False
        if "rule" not in choice or self.choose is None:
            return True
        again = min(self.reevaluations, self.slots)
        return choice["rule"] == self.choose and len(choice.get("again", ())) <= again


class StudyProgress:
    """What is finished, what may run, and what is still to come.

    Args:
        design: the trials that the study asks for.
        results: theirs.
        chosen: what the search chose, None where that is not known; asked only when all that a choice rests on is
            finished and there is a slot to choose.
        leader: the progress of the study whose choice it takes, if it does; where that is not at hand, what it chose
            tells that its search is complete.
    """

    def __init__(
        self,
        design: StudyDesign,
        results: Results,
        chosen: Callable[[], ChoiceRecord | None] = lambda: None,
        leader: StudyProgress | None = None,
    ) -> None:
        self.design, self._leader = design, leader
        self._results, self._chosen = results, chosen
        # What is finished remains so.
        self._ended: dict[int, list[Ended]] = {}
        self._slots: dict[int, list[tuple[int, Place]]] = {}
        self._scores: dict[int, float | None] = {}
        self._first_open = 0

    @cached_property
    def sign(self) -> int:
        """1 where more of the metric is better, -1 where less is."""
        if self.design.own_sign is not None:
            return self.design.own_sign
        from harness.metrics.table import facts_of, known_metrics

        return facts_of(self.design.metric, known_metrics(), "search.metric").sign

    def slot_trials(self, slot: int) -> list[tuple[int, Place]]:
        """Tuning seeds of a slot with their trials; where the first one was pruned there are no others."""
        trials = self._slots.get(slot)
        if trials is None:
            trials = self._slots[slot] = [(seed, Place.search(slot, seed)) for seed in self.design.seeds]
        elif slot in self._ended:
            return trials
        if len(trials) == 1:
            return trials
        return trials[: len(seeds_of_slot(self.design.seeds, self._results.get(trials[0][1])))]

    def open_trials(self, slot: int) -> list[tuple[int, Place]]:
        """Tuning seeds of a slot with their trials that may run now and have no result yet."""
        trials = self.slot_trials(slot)
        if self.design.first_alone and not self.is_finished(trials[0][1]):
            return trials[:1]
        return [(seed, place) for seed, place in trials if not self.is_finished(place)]

    def is_finished(self, place: Place) -> bool:
        """Whether a trial has its result."""
        return self._results.get(place) is not None

    def slot_finished(self, slot: int) -> bool:
        """Whether every trial of a slot has its result."""
        if slot in self._ended:
            return True
        trials, ended = self.slot_trials(slot), list[Ended]()
        for _, place in trials:
            result = self._results.get(place)
            if result is None:
                return False
            ended.append(result)
        # Which trials a finished slot has is settled.
        self._slots[slot], self._ended[slot] = trials, ended
        return True

    def first_open(self) -> int:
        """The first slot that is not finished; the number of slots where all are."""
        while self._first_open < self.design.slots and self.slot_finished(self._first_open):
            self._first_open += 1
        return self._first_open

    def searched(self) -> bool:
        """Whether the search is complete."""
        if self._leader is not None:
            return self._leader.searched()
        slots = self.design.slots
        # Where it is not, the last slot says so at once.
        return len(self._ended) == slots or all(self.slot_finished(slot) for slot in reversed(range(slots)))

    def score(self, slot: int) -> float | None:
        """The validation score of a finished slot, signed so that higher is better; None of any other."""
        if slot not in self._scores:
            if not self.slot_finished(slot):
                return None
            mean = mean_score(self._ended[slot])
            self._scores[slot] = None if mean is None else self.sign * mean
        return self._scores[slot]

    def ranked(self) -> list[int]:
        """The slots that have a score, best first, the earliest of equals first."""
        scored = [(-score, slot) for slot in range(self.design.slots) if (score := self.score(slot)) is not None]
        return [slot for _, slot in sorted(scored)]

    def best_score(self) -> float | None:
        """The best validation score of a slot so far, as the metric is read; None before there is one."""
        scores = [score for slot in range(self.design.slots) if (score := self.score(slot)) is not None]
        return self.sign * max(scores) if scores else None

    def reevaluations(self) -> list[tuple[int, Place]]:
        """The best slots that are trained once more before one is chosen, best first, with their trials.

        Empty before the search is complete, or where the choice needs none.
        """
        seed = self.design.further_seed
        if seed is None or not self.searched():
            return []
        return [(slot, Place.again(slot, seed)) for slot in self.ranked()[: self.design.reevaluations]]

    def again(self) -> dict[int, float | None]:
        """Slot → score of its re-evaluation, signed so that higher is better; None where that failed."""
        results = {slot: self._results.get(place) for slot, place in self.reevaluations()}
        scores = {slot: None if result is None else result.score for slot, result in results.items()}
        return {slot: None if score is None else self.sign * score for slot, score in scores.items()}

    def may_choose(self) -> bool:
        """Whether all that a choice rests on is finished."""
        if self._leader is not None:
            return self._leader.may_choose()
        return self.searched() and all(self.is_finished(place) for _, place in self.reevaluations())

    def hopeless(self) -> bool:
        """Whether the search is complete and no slot has a score, so that nothing follows."""
        if self.design.leader is not None:
            return self._leader is not None and self._leader.hopeless()
        return self.searched() and all(self.score(slot) is None for slot in range(self.design.slots))

    def confirm_trials(self) -> list[tuple[Replicate, Place]]:
        """The replicates with their trials; empty as long as no choice is known."""
        choice = self._choice()
        if choice is None:
            return []
        names = ((one, choice_for(choice, one.seed)["configuration"]) for one in self.design.replicates)
        return [(one, Place.confirm(name, one)) for one, name in names]

    def repetition(self) -> Place | None:
        """The repetition of the first confirm trial; None before that one is done, where it failed, or if not asked."""
        choice = self._choice() if self.design.repeat else None
        if choice is None or self._first_confirmed() != "done":
            return None
        first = self.design.replicates[0]
        return Place.repeat(choice_for(choice, first.seed)["configuration"], first)

    def following(self) -> list[Place]:
        """The trials that follow the search, as far as they are known: re-evaluations, confirm trials, repetition."""
        repetition = self.repetition()
        trials = [place for _, place in (*self.reevaluations(), *self.confirm_trials())]
        return trials if repetition is None else [*trials, repetition]

    def trials(self) -> list[Place]:
        """Every trial that the study is now known to have, in the order in which they are to run."""
        search = [place for slot in range(self.design.slots) for _, place in self.slot_trials(slot)]
        return [*search, *self.following()]

    def complete(self) -> bool:
        """Whether nothing of the study is left to do."""
        if not self.may_choose():
            return False
        known = self.hopeless() or self._choice() is not None
        return known and all(self.is_finished(place) for place in self.following())

    def total_following(self) -> int:
        """Number of trials that follow the search; the repetition counts unless what it repeats has failed."""
        again = len(self.reevaluations()) if self.searched() else self.design.reevaluations
        if self.hopeless():
            return again
        repeats = self.design.repeat and self._first_confirmed() in ("done", None)
        return again + len(self.design.replicates) + repeats

    def total(self) -> int:
        """Number of trials of the study."""
        return sum(len(self.slot_trials(slot)) for slot in range(self.design.slots)) + self.total_following()

    def ended(self) -> Counter[Status]:
        """How many trials are done, pruned and failed."""
        return Counter(result.status for place in self.trials() if (result := self._results.get(place)) is not None)

    def left(self) -> int:
        """Number of trials that have no result."""
        return self.total() - self.ended().total()

    def _choice(self) -> ChoiceRecord | None:
        return self._chosen() if self.may_choose() and not self.hopeless() else None

    def _first_confirmed(self) -> Status | None:
        """How the first confirm trial ended; None while it has not."""
        trials = self.confirm_trials()
        result = self._results.get(trials[0][1]) if trials else None
        return None if result is None else result.status
