"""A study as its folders show it: what is asked, what is finished, what was chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness.core.identity import configuration_hash
from harness.core.many_files import each
from harness.method import Method
from harness.run.directory import TrialFolder
from harness.run.index import ResultIndex
from harness.run.records import ChoiceRecord, TrialResult
from harness.search import Asked, best_slots, choose, compared
from harness.search.rungs import Judge
from harness.search.slots import finished_slot, result_of, sign_of, slot_score
from harness.space.parameters import Value
from harness.studies.study import Schedule, Study


@dataclass
class StudyState:
    """A study as the run directory shows it; refreshed by looking only at what is not finished yet."""

    study: Study
    results: dict[str, TrialResult] = field(default_factory=dict)
    """Results by the path of the trial's folder."""
    known: dict[int, Asked] = field(default_factory=dict)
    """Finished slots."""

    def __post_init__(self) -> None:
        self.engine = self.study.engine()
        self._best: list[int] | None = None
        self._chosen: dict[str, Value] | None = None
        self._schedule: Schedule = ()
        self._slots: dict[int, list[tuple[int, TrialFolder]]] = {}
        self._running: dict[int, Asked] = {}
        """Slots that were seen asked and are not finished."""
        self._first_open = 0
        """All slots before it are finished."""

    def result(self, folder: TrialFolder) -> TrialResult | None:
        """The result of a trial, None while it is not finished."""
        key = str(folder.path)
        if key not in self.results:
            result = result_of(folder)
            if result is None:
                return None
            self.results[key] = result
        return self.results[key]

    def slot_trials(self, slot: int) -> list[tuple[int, TrialFolder]]:
        """Tuning seeds of a slot with their trials; where the first one was pruned there are no others."""
        if slot not in self._slots:
            seeds = self.study.search.seeds
            self._slots[slot] = [(seed, self.study.folder.search_trial(slot, seed)) for seed in seeds]
        trials = self._slots[slot]
        result = self.result(trials[0][1]) if len(trials) > 1 else None
        return trials[:1] if result is not None and result["status"] == "pruned" else trials

    def open_trials(self, slot: int) -> list[tuple[int, TrialFolder]]:
        """Tuning seeds of a slot with their trials that may run now and have no result yet."""
        first, *others = self.slot_trials(slot)
        if self.study.search.pruner != "none" and self.result(first[1]) is None:
            # The first seed decides at the rungs for the whole slot.
            return [first]
        return [(seed, folder) for seed, folder in (first, *others) if self.result(folder) is None]

    def slot_finished(self, slot: int) -> bool:
        """Whether every trial of a slot has its result."""
        return slot in self.known or all(self.result(folder) is not None for _, folder in self.slot_trials(slot))

    def slots_to_claim(self) -> Iterator[int]:
        """The slots that workers may claim by themselves now, in order, from the first that is not finished."""
        if self.engine.driven:
            return
        while self._first_open < self.study.slots and self.slot_finished(self._first_open):
            self._first_open += 1
        for slot in range(self._first_open, self.study.slots):
            # What follows needs no fewer slots.
            if len(self.engine.prerequisites(slot)) > self._first_open:
                return
            yield slot

    def asked(self, slot: int) -> Asked | None:
        """What is known of a slot; None before it was asked."""
        if slot in self.known:
            return self.known[slot]
        if not self.slot_finished(slot):
            if slot not in self._running:
                folder = next((folder for _, folder in self.slot_trials(slot) if folder.has_request()), None)
                if folder is None:
                    return None
                self._running[slot] = Asked(slot, folder.request()["hyperparameters"])
            return self._running[slot]
        trials = [folder for _, folder in self.slot_trials(slot)]
        results = [result for folder in trials if (result := self.result(folder)) is not None]
        self.known[slot] = finished_slot(slot, trials, results, self.study.search)
        return self.known[slot]

    def judge(self, slot: int, seed: int) -> Judge | None:
        """What decides at the rungs of a search trial whose prerequisites are finished; None where nothing does."""
        if self.study.search.pruner == "none" or seed != self.study.search.seeds[0] or self.engine.driven:
            return None
        before = self.engine.before(slot)
        known = [asked for n in before if (asked := self.asked(n)) is not None]
        return Judge(self.study.search, self.study.name, slot, known)

    def ask(self, slot: int) -> dict[str, Value]:
        """The configuration of a slot whose prerequisites are finished; as recorded, where it was asked before."""
        already = self.asked(slot)
        if already is not None:
            return dict(already.hyperparameters)
        return self.engine.ask(slot, [asked for n in range(slot) if (asked := self.asked(n)) is not None])

    def searched(self) -> bool:
        """Whether the search is complete."""
        return len(self.known) == self.study.slots or all(
            self.slot_finished(slot) for slot in reversed(range(self.study.slots))
        )

    def reevaluations(self) -> list[tuple[int, int, TrialFolder]]:
        """The best slots that are trained once more before one is chosen, each with the further seed and its trial.

        Empty before the search is complete, or where the choice needs none.
        """
        seed = self.study.search.further_seed
        if seed is None or not self.searched():
            return []
        if self._best is None:
            self._best = [entry.slot for entry in best_slots(self._history(), self.study.search.top)]
        return [(slot, seed, self.study.folder.reevaluation(slot, seed)) for slot in self._best]

    def as_trained(self, slot: int) -> tuple[dict[str, Value], Schedule]:
        """The hyperparameters that a finished slot began with, and how they changed on the way."""
        result = self.result(self.slot_trials(slot)[0][1])
        schedule = [] if result is None else result.get("schedule", [])
        asked = self.asked(slot)
        assert asked is not None
        return (schedule[0]["hyperparameters"] if schedule else dict(asked.hyperparameters)), schedule

    def confirm_folders(self) -> list[tuple[int, TrialFolder]]:
        """Confirm seeds with their trials; empty before the search is complete or when all of it failed."""
        hyperparameters = self.chosen()
        if hyperparameters is None:
            return []
        name = configuration_hash(hyperparameters, self.schedule())
        return [(seed, self.study.folder.confirm_trial(name, seed)) for seed in self.study.confirm_seeds]

    def after_search(self) -> list[TrialFolder]:
        """The trials that follow a complete search: re-evaluations, and once there is a choice its confirm trials."""
        again = [folder for _, _, folder in self.reevaluations()]
        return [*again, *(folder for _, folder in self.confirm_folders())]

    def repeat_folder(self) -> TrialFolder | None:
        """The repetition of the first confirm trial; None before that one is done, where it failed, or if not asked."""
        hyperparameters = self.chosen() if self.study.repeat else None
        if hyperparameters is None or self._first_confirmed() != "done":
            return None
        name = configuration_hash(hyperparameters, self.schedule())
        return self.study.folder.repeat_trial(name, self.study.confirm_seeds[0])

    def folders(self) -> list[TrialFolder]:
        """Every trial that the study is now known to have, begun or not, in the order in which they are to run."""
        search = [folder for slot in range(self.study.slots) for _, folder in self.slot_trials(slot)]
        repeat = self.repeat_folder()
        return [*search, *self.after_search(), *([] if repeat is None else [repeat])]

    def chosen(self) -> dict[str, Value] | None:
        """The configuration that the complete search chose; recorded on first sight, with what other rules take."""
        if self._chosen is not None:
            return dict(self._chosen)
        if not self._may_choose():
            return None
        study, again = self.study, self._again()
        found = choose(self._history(), study.space, study.search, again)
        if found is None:
            return None
        best, sign = found.slot, sign_of(self.study.search.metric)
        assert best.score is not None
        begins_with, schedule = self.as_trained(best.slot)
        choice: ChoiceRecord = {
            "slot": best.slot,
            "metric": self.study.search.metric,
            "value": sign * best.score,
            "hyperparameters": begins_with,
            "configuration": configuration_hash(begins_with, schedule),
            "of": self.study.slots,
            "rule": study.search.choose,
        }
        if schedule:
            choice["schedule"] = list(schedule)
        if found.expected is not None:
            choice["expected"] = sign * found.expected
        if again:
            choice["again"] = {str(slot): score and sign * score for slot, score in again.items()}
        recorded = study.folder.chosen()
        if recorded is None or {key: value for key, value in recorded.items() if key != "rules"} != choice:
            rules = compared(self._history(), study.space, study.search, again)
            choice["rules"] = {
                rule: {"slot": one.slot.slot, "promised": sign * one.promised} for rule, one in rules.items()
            }
            study.folder.choose(choice)
        self._chosen, self._schedule = begins_with, schedule
        return dict(begins_with)

    def schedule(self) -> Schedule:
        """The changes of hyperparameters that the chosen configuration makes on the way; empty where it makes none."""
        self.chosen()
        return self._schedule

    def begun(self) -> int:
        """How many trials of its present stage were begun: slots that were asked, then what follows the search."""
        if self.searched():
            return sum(self.result(folder) is not None or folder.claimed for folder in self.after_search())
        return next((slot for slot in range(self.study.slots) if self.asked(slot) is None), self.study.slots)

    def unconfirmed(self) -> int:
        """How many trials that follow the search nobody has begun: re-evaluations, confirm trials, the repetition.

        0 where all of the search failed.
        """
        wanted = len(self.study.confirm_seeds) + self.study.repeat
        if not self.searched():
            return self.study.reevaluations + wanted
        if not self._may_choose():
            return len(self.reevaluations()) + wanted - self.begun()
        if self.chosen() is None:
            return 0
        wanted += len(self.reevaluations())
        repeat = self.repeat_folder()
        if self._first_confirmed() not in ("done", None):
            wanted -= self.study.repeat
        return wanted - self.begun() - (repeat is not None and repeat.claimed)

    def complete(self) -> bool:
        """Whether nothing of the study is left to do."""
        if not self._may_choose() or any(self.result(folder) is None for _, folder in self.confirm_folders()):
            return False
        repeat = self.repeat_folder()
        return repeat is None or self.result(repeat) is not None

    def total(self) -> int:
        """Number of trials of the study; the repetition counts unless what it repeats has failed."""
        study = self.study
        repeats = int(study.repeat and self._first_confirmed() in ("done", None))
        again = len(self.reevaluations()) if self.searched() else study.reevaluations
        search = sum(len(self.slot_trials(slot)) for slot in range(study.slots))
        return search + again + len(study.confirm_seeds) + repeats

    def finished(self) -> list[TrialResult]:
        """Results so far, search first."""
        return [result for folder in self.folders() if (result := self.result(folder)) is not None]

    def fits(self, seconds_left: float) -> bool:
        """Whether a trial can end, or write a checkpoint, within a time."""
        if self.study.method.cls.fit is Method.fit:
            return True
        # Trained in one go, without a place to stop: as long as the longest one so far, and some more.
        lasted = [result["time"]["attempt_seconds"] for result in self.results.values() if "time" in result]
        return 1.5 * max(lasted, default=0.0) < seconds_left

    def _history(self) -> list[Asked]:
        return [asked for slot in range(self.study.slots) if (asked := self.asked(slot)) is not None]

    def _may_choose(self) -> bool:
        """Whether all that a choice rests on is finished."""
        return self.searched() and all(self.result(folder) is not None for *_, folder in self.reevaluations())

    def _again(self) -> dict[int, float | None]:
        """Slot → score on the further seed, signed so that higher is better; None where that training failed."""
        metric = self.study.search.metric
        return {slot: slot_score([self.result(folder)], metric) for slot, _, folder in self.reevaluations()}

    def _first_confirmed(self) -> str | None:
        """The status of the first confirm trial; None while it is not finished."""
        folders = self.confirm_folders()
        result = self.result(folders[0][1]) if folders else None
        return None if result is None else str(result["status"])


def read_begun(states: Sequence[StudyState], index: ResultIndex | None = None) -> None:
    """Read the results of all trials that exist; all studies at once, because one keeps no slow file server busy.

    Args:
        states: of the studies.
        index: says what was read before.

    Raises:
        TornFileError: a result is not readable.
    """
    begun = each(lambda state: list(state.study.folder.every_trial()), states)
    waiting = [(state, trial) for state, trials in zip(states, begun, strict=True) for trial in trials]
    if index is None:
        each(lambda pair: pair[0].result(pair[1]), waiting)
        return
    results = index.results([trial for _, trial in waiting])
    for state, trial in waiting:
        result = results.get(path := str(trial.path))
        if result is not None:
            state.results[path] = result
