"""What is left to do in a run directory, as one process sees it; asking changes nothing.

What was once seen finished is not read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from harness.run.index import ResultIndex
from harness.run.trial import TrialFolder
from harness.studies.halt import halt_reason
from harness.studies.results import Watch, read_begun
from harness.studies.study import Source, Study
from harness.work.budget import Budget
from harness.work.claims import Candidate
from harness.work.state import StudyState


class OpenWork:
    """The studies of a sweep with what is left of them.

    Args:
        studies: all of the sweep.
        budget: the cap of the run, if it has one.
        index: of the run's results, which says what was read before; not kept.
        watch: says where no result need be looked for; None where it always is.
    """

    def __init__(
        self, studies: Sequence[Study], budget: Budget | None, index: ResultIndex | None, watch: Watch | None
    ) -> None:
        searched = {study.name: StudyState(study) for study in studies if study.leader is None}
        self.states = [
            searched[study.name] if study.leader is None else StudyState(study, searched[study.leader])
            for study in studies
        ]
        self._budget = budget
        self._sources: dict[Path, str] = {}
        for state in self.states:
            state.results.watch = watch
        read_begun([state.results for state in self.states], index)

    def complete(self) -> bool:
        """Whether nothing is left to do; a study whose backbone could not be trained has nothing left."""
        if self.halted() is not None or self.exhausted() is not None:
            return True
        return all(self._blocked(state.study) or state.progress.complete() for state in self.states)

    def state(self, study: str) -> StudyState:
        """A study by its name; raises ValueError where there is none."""
        found = next((state for state in self.states if state.study.name == study), None)
        if found is None:
            raise ValueError(f"{study}: no such study")
        return found

    def open_sources(self) -> bool:
        """Whether a backbone is still to be trained."""
        return self.halted() is None and next(self._open_sources(), None) is not None

    def to_be_driven(self) -> list[StudyState]:
        """The studies that a driver has to search now."""
        left = self.states if self.halted() is None else []
        return [state for state in left if self._driven(state) and self._affords("search", state.study.name)]

    def _driven(self, state: StudyState) -> bool:
        own = state.study.leader is None and state.engine.driven
        return own and self._ready(state.study) and not state.progress.searched()

    def halted(self) -> str | None:
        """Why it makes no sense to go on: the first trials of every method have failed alike; else None."""
        failed: dict[str, list[tuple[str, str]]] = {state.study.label: [] for state in self.states}
        for state in self.states:
            for result in state.results.read.values():
                if result["status"] != "failed":
                    return None
                failed[state.study.label].append((str(result["cause"]), str(result["message"])))
        return halt_reason(failed)

    def exhausted(self) -> str | None:
        """That the budget ends the run, in words; None while there is enough, or while anything is running."""
        if self._budget is None or self._budget.account(self.states).running or self._anything_affordable():
            return None
        if all(self._blocked(state.study) or state.progress.complete() for state in self.states):
            return None
        used, cap = self._budget.account(self.states).spent / 3600, self._budget.cap / 3600
        left = sum(state.progress.left() for state in self.states if not self._blocked(state.study))
        return (
            f"budget exhausted: {used:.3g} of {cap:.3g} device-hours are used, and what is left of them is not enough "
            f"for the next of {left} trials"
        )

    def _affords(self, stage: Literal["source", "search", "confirm"], study: str) -> bool:
        if self._budget is None:
            return True
        return self._budget.affords([s for s in self.states if not self._blocked(s.study)], stage, study)

    def _anything_affordable(self) -> bool:
        if any(True for _ in self._open_sources()) and self._affords("source", ""):
            return True
        for state in self.states:
            if self._ready(state.study):
                candidate = next(self._candidates(state), None)
                if candidate is not None and self._affords(candidate.begins, state.study.name):
                    return True
                if self._driven(state) and self._affords("search", state.study.name):
                    return True
        return False

    def _in_turn(self) -> list[StudyState]:
        """The studies in the order in which they are offered.

        Where a budget may end the run, dataset after dataset, and on each all methods alike: slot after slot, then
        seed after seed, so that what came about before the end can be compared.
        """
        if self._budget is None:
            return self.states
        places = {label: place for place, label in enumerate(dict.fromkeys(s.study.dataset.label for s in self.states))}
        return sorted(self.states, key=lambda s: (places[s.study.dataset.label], s.progress.searched(), s.begun()))

    def failed_sources(self) -> list[str]:
        """Messages of backbones that could not be trained; their studies cannot start."""
        failed = {}
        for state in self.states:
            source = state.study.source
            if source is not None and source.folder.finished:
                result = source.folder.result()
                if result["status"] != "done":
                    failed[source.identity] = f"{source.folder.path}: {result['cause']}: {result['message']}"
        return list(failed.values())

    def _open_sources(self) -> Iterator[Source]:
        seen = set()
        for state in self.states:
            source = state.study.source
            if source is not None and source.identity not in seen and not self._source_done(source):
                seen.add(source.identity)
                yield source

    def _source_done(self, source: Source) -> bool:
        if source.folder.path not in self._sources and source.folder.finished:
            self._sources[source.folder.path] = source.folder.result()["status"]
        return source.folder.path in self._sources

    def _ready(self, study: Study) -> bool:
        source = study.source
        return source is None or (self._source_done(source) and self._sources[source.folder.path] == "done")

    def _blocked(self, study: Study) -> bool:
        return study.source is not None and self._source_done(study.source) and not self._ready(study)

    def _candidates(self, state: StudyState) -> Iterator[Candidate]:
        progress, trial = state.progress, state.study.folder.trial
        for slot in state.slots_to_claim():
            if progress.slot_finished(slot):
                continue
            # An ask needs the hyperparameters of all slots before it.
            if slot > 0 and state.asked(slot - 1) is None:
                return
            for seed, place in progress.open_trials(slot):
                yield Candidate("search", slot, seed, trial(place))
        again = state.study.search.further_seed
        for slot, place in progress.reevaluations():
            if again is not None and not progress.is_finished(place):
                yield Candidate("search", slot, again, trial(place), reevaluates=True)
        confirm = progress.confirm_trials()
        for replicate, place in confirm:
            if not progress.is_finished(place):
                yield Candidate("confirm", None, replicate.seed, trial(place), split=replicate.split)
        repetition = progress.repetition()
        if repetition is not None and not progress.is_finished(repetition):
            replicate, first = confirm[0]
            yield Candidate("confirm", None, replicate.seed, trial(repetition), repeats=trial(first))

    def _free(self) -> Iterator[TrialFolder]:
        """What could be claimed if all who come did so in turn: an ask of a slot needs those before it."""
        for source in self._open_sources():
            yield source.folder
        for state in self.states:
            if not self._ready(state.study):
                continue
            progress = state.progress
            for slot in state.slots_to_claim():
                yield from (state.study.folder.trial(place) for _, place in progress.open_trials(slot))
            following = (place for place in progress.following() if not progress.is_finished(place))
            yield from map(state.study.folder.trial, following)
