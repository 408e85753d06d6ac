"""A study as the scheduler sees it: its progress, what its engine asks, and what was begun."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.core.files import parse_json
from harness.method import Method
from harness.run.news import Item
from harness.run.study_folder import Place
from harness.run.study_records import ChoiceRecord
from harness.run.trial import TrialFolder
from harness.run.trial_records import ScheduleLine
from harness.search import Asked
from harness.search.rungs import Judge
from harness.search.slots import finished_slot
from harness.space.parameters import Value
from harness.studies.choice import Searched
from harness.studies.progress import StudyProgress
from harness.studies.results import TrialResults
from harness.studies.study import Study


class StudyState:
    """A study as the run directory shows it; looks only at what is not finished yet.

    Args:
        study: what it is.
        leader: the study whose choice it takes, if it does.

    Attributes:
        study: what it is.
        engine: asks its slots.
        results: of its trials, as far as they were looked for.
        progress: what follows from them.
    """

    def __init__(self, study: Study, leader: StudyState | None = None) -> None:
        self.study, self.engine, self._leader = study, study.engine(), leader
        self.results = TrialResults(study.folder, study.search.metric)
        self.progress: StudyProgress = StudyProgress(
            study.design, self.results, self.choice, None if leader is None else leader.progress
        )
        self._searched = Searched(study.name, self.progress, self.results.whole, study.space, study.search)
        self._choice: ChoiceRecord | None = None
        self._recorded = False
        self._known: dict[int, Asked] = {}
        """Finished slots."""
        self._running: dict[int, Asked] = {}
        """Slots that were seen asked and are not finished."""

    def slots_to_claim(self) -> Iterator[int]:
        """The slots that workers may claim by themselves now, in order, from the first that is not finished."""
        if self.engine.driven:
            return
        first = self.progress.first_open()
        for slot in range(first, self.study.slots):
            # What follows needs no fewer slots.
            if len(self.engine.prerequisites(slot)) > first:
                return
            yield slot

    def asked(self, slot: int) -> Asked | None:
        """What is known of a slot; None before it was asked."""
        if slot in self._known:
            return self._known[slot]
        if self.progress.slot_finished(slot):
            results = [self.results.whole(place) for _, place in self.progress.slot_trials(slot)]
            self._known[slot] = finished_slot(
                slot, self._folders(slot)[0], results, self.study.search, self.study.measure
            )
            return self._known[slot]
        if slot not in self._running:
            trial = next((trial for trial in self._folders(slot) if trial.has_request()), None)
            if trial is None:
                return None
            self._running[slot] = Asked(slot, trial.request()["hyperparameters"])
        return self._running[slot]

    def learn(self, place: Place, item: Item) -> None:
        """Take what a worker has told of a trial of this study."""
        if item.kind == "ended" and item.content:
            self.results.take(place, item.content)
        elif item.kind == "claimed" and item.content and place.slot is not None and place.slot not in self._known:
            asked = parse_json(item.content)
            if asked is not None:
                self._running.setdefault(place.slot, Asked(place.slot, asked))

    def judge(self, slot: int, seed: int) -> Judge | None:
        """What decides at the rungs of a search trial whose prerequisites are finished; None where nothing does."""
        if not self.study.design.first_alone or seed != self.study.search.seeds[0] or self.engine.driven:
            return None
        before = self.engine.before(slot)
        known = [asked for n in before if (asked := self.asked(n)) is not None]
        return Judge(self.study.search, self.study.name, slot, known)

    def ask(self, slot: int) -> dict[str, Value]:
        """The configuration of a slot whose prerequisites are finished; as recorded, where it was asked before."""
        already = self.asked(slot)
        if already is not None:
            return dict(already.hyperparameters)
        return self.engine.propose(slot, [asked for n in range(slot) if (asked := self.asked(n)) is not None])

    def as_trained(self, slot: int) -> tuple[dict[str, Value], Sequence[ScheduleLine]]:
        """The hyperparameters that a finished slot began with, and how they changed on the way."""
        return self._searched.as_trained(slot)

    def choice(self) -> ChoiceRecord | None:
        """What the search chooses; None before all that a choice rests on is finished, or when all of it failed."""
        if self._choice is None:
            self._choice = self._searched.choice() if self._leader is None else followed(self._leader)
        return self._choice

    def unrecorded(self) -> bool:
        """Whether there is a choice that was not recorded here, or found recorded."""
        return not self._recorded and self.choice() is not None

    def record_choice(self) -> None:
        """Record the choice, if it can be made, with what other rules take; nothing happens where it is recorded."""
        choice = self.choice()
        if self._recorded or choice is None:
            return
        recorded = self.study.folder.chosen()
        if recorded is None or {key: value for key, value in recorded.items() if key != "rules"} != choice:
            self.study.folder.choose(choice if self._leader else self._searched.with_rules(choice))
        self._recorded = True

    def is_begun(self, place: Place) -> bool:
        """Whether a trial has its result, or was ever claimed."""
        return self.progress.is_finished(place) or self.study.folder.trial(place).claimed

    def begun(self) -> int:
        """How many trials of its present stage were begun: slots that were asked, then what follows the search."""
        if self.progress.searched():
            return sum(map(self.is_begun, self.progress.following()))
        return next((slot for slot in range(self.study.slots) if self.asked(slot) is None), self.study.slots)

    def unconfirmed(self) -> int:
        """How many trials that follow the search nobody has begun: re-evaluations, confirm trials, the repetition."""
        return self.progress.total_following() - sum(map(self.is_begun, self.progress.following()))

    def fits(self, seconds_left: float) -> bool:
        """Whether a trial can end, or write a checkpoint, within a time."""
        if self.study.method.cls.fit is Method.fit:
            return True
        # Trained in one go, without a place to stop: assume 1.5 × the longest one so far.
        lasted = [result["time"]["attempt_seconds"] for result in self.results.read.values() if "time" in result]
        return 1.5 * max(lasted, default=0.0) < seconds_left

    def _folders(self, slot: int) -> list[TrialFolder]:
        return [self.study.folder.trial(place) for _, place in self.progress.slot_trials(slot)]


def followed(leader: StudyState) -> ChoiceRecord | None:
    """What a study takes from the one that is searched in its place; None before that has chosen."""
    choice = leader.choice()
    if choice is None:
        return None
    taken: ChoiceRecord = {**choice, "leader": leader.study.name}
    taken.pop("again", None)
    return taken
