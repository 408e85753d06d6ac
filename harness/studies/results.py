"""The results of a study's trials as its folder holds them, each read once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from harness.core.files import TornFileError
from harness.core.many_files import each
from harness.run.index import ResultIndex
from harness.run.outcome import Outcome, outcome_of
from harness.run.study_folder import Place, StudyFolder
from harness.run.trial import TrialFolder
from harness.run.trial_records import TrialResult


class Watch(Protocol):
    """Says which trials need no look."""

    def worth_a_look(self, trial: TrialFolder) -> bool:
        """Whether a trial that had no result may have one now."""

    def missed(self, trial: TrialFolder) -> None:
        """Note that a trial has no result yet."""


class TrialResults:
    """Results by trial; one that was not there is looked for again when it is asked for.

    Args:
        folder: of the study.
        metric: that its search goes by.
    """

    def __init__(self, folder: StudyFolder, metric: str) -> None:
        self.folder, self._metric = folder, metric
        self.read: dict[Place, TrialResult] = {}
        self._outcomes: dict[Place, Outcome] = {}
        self.watch: Watch | None = None
        """Says where no result need be looked for; None where it always is."""

    def get(self, place: Place, /) -> Outcome | None:
        """How a trial ended; None while it has not.

        Raises:
            TornFileError: its result is not readable.
        """
        found = self._outcomes.get(place)
        if found is None and (result := self.find(place)) is not None:
            found = self._outcomes[place] = outcome_of(result, self._metric)
        return found

    def find(self, place: Place) -> TrialResult | None:
        """The whole result of a trial; None while it is not finished.

        Raises:
            TornFileError: it is not readable.
        """
        found = self.read.get(place)
        if found is None:
            trial = self.folder.trial(place)
            if self.watch is not None and not self.watch.worth_a_look(trial):
                return None
            try:
                found = self.read[place] = trial.result()
            except FileNotFoundError:
                if self.watch is not None:
                    self.watch.missed(trial)
                return None
        return found

    def take(self, place: Place, content: bytes) -> None:
        """Take a result from what its file holds; nothing happens where that is none, or it is known."""
        if place not in self.read:
            with suppress(TornFileError):
                self.read[place] = self.folder.trial(place).result_in(content)

    def whole(self, place: Place) -> TrialResult:
        """The whole result of a trial that is finished."""
        found = self.find(place)
        assert found is not None
        return found


def read_begun(studies: Sequence[TrialResults], index: ResultIndex | None = None) -> None:
    """Read the results of all trials that exist; all studies at once, because one keeps no slow file server busy.

    Args:
        studies: the results of each.
        index: says what was read before.

    Raises:
        TornFileError: a result is not readable.
    """
    listed = each(lambda study: study.folder.listed(), studies)
    waiting = [
        (study, place, trial) for study, trials in zip(studies, listed, strict=True) for place, trial in trials.items()
    ]
    if index is None:
        each(lambda one: one[0].find(one[1]), waiting)
        return
    results = index.results([trial for *_, trial in waiting])
    for study, place, trial in waiting:
        result = results.get(str(trial.path))
        if result is not None:
            study.read[place] = result
