"""What a complete search chooses: a function of its results, which records nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.core.identity import configuration_hash
from harness.run.records import ChoiceRecord, RuledRecord
from harness.run.study_folder import Place
from harness.run.trial_records import ScheduleLine, TrialResult
from harness.search import Asked, choose, compared
from harness.space.parameters import Space
from harness.spec.search import SearchSpec
from harness.studies.progress import StudyProgress


@dataclass(frozen=True, slots=True)
class Searched:
    """A search that a choice can be made of.

    Attributes:
        progress: of the study.
        result: gives the whole result of a finished trial.
        space: the study's space.
        search: how the study is searched.
    """

    progress: StudyProgress
    result: Callable[[Place], TrialResult]
    space: Space
    search: SearchSpec

    def choice(self) -> ChoiceRecord | None:
        """The configuration that the rule of the search takes; None before all that it rests on is finished, or when
        no slot has a score."""
        if not self.progress.may_choose():
            return None
        again = self.progress.again()
        found = choose(self._history(), self.space, self.search, again)
        if found is None:
            return None
        slot, sign = found.slot.slot, self.progress.sign
        assert found.slot.score is not None
        hyperparameters, schedule = self.as_trained(slot)
        choice: ChoiceRecord = {
            "slot": slot,
            "metric": self.search.metric,
            "value": sign * found.slot.score,
            "hyperparameters": hyperparameters,
            "configuration": configuration_hash(hyperparameters, schedule),
            "of": self.progress.design.slots,
            "rule": self.search.choose,
        }
        if schedule:
            choice["schedule"] = schedule
        if found.expected is not None:
            choice["expected"] = sign * found.expected
        if again:
            choice["again"] = {str(slot): score and sign * score for slot, score in again.items()}
        return choice

    def with_rules(self, choice: ChoiceRecord) -> ChoiceRecord:
        """The same choice beside what each other rule would have taken."""
        rules = compared(self._history(), self.space, self.search, self.progress.again())
        sign = self.progress.sign
        told: dict[str, RuledRecord] = {
            str(rule): {"slot": one.slot.slot, "promised": sign * one.promised} for rule, one in rules.items()
        }
        return {**choice, "rules": told}

    def as_trained(self, slot: int) -> tuple[dict[str, bool | int | float | str], list[ScheduleLine]]:
        """The hyperparameters that a finished slot began with, and how they changed on the way."""
        result = self._first(slot)
        schedule = result.get("schedule", [])
        return (schedule[0]["hyperparameters"] if schedule else dict(result["hyperparameters"])), schedule

    def _history(self) -> list[Asked]:
        return [
            Asked(slot, self._first(slot)["hyperparameters"], self.progress.score(slot))
            for slot in range(self.progress.design.slots)
        ]

    def _first(self, slot: int) -> TrialResult:
        return self.result(self.progress.slot_trials(slot)[0][1])
