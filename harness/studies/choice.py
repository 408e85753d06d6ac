"""What a complete search chooses: a function of its results, which records nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.core.identity import configuration_hash
from harness.core.seeds import derive_seed
from harness.run.study_folder import Place
from harness.run.study_records import ChoiceRecord, ReplicateChoice, RuledRecord
from harness.run.trial_records import ScheduleLine, TrialResult
from harness.search import Asked, choose, compared
from harness.space.parameters import Space
from harness.spec.search import SearchSpec
from harness.studies.progress import StudyProgress


@dataclass(frozen=True, slots=True)
class Searched:
    """A search that a choice can be made of.

    Attributes:
        study: its name, which its resamples depend on.
        progress: of the study.
        result: gives the whole result of a finished trial.
        space: the study's space.
        search: how the study is searched.
    """

    study: str
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
        if self.progress.design.resampled:
            seeds = (one.seed for one in self.progress.design.replicates)
            choice["replicates"] = {str(seed): self._resampled(seed) for seed in seeds}
        return choice

    def _resampled(self, seed: int) -> ReplicateChoice:
        """What the rule takes of as many slots as there are, drawn with replacement (Efron's bootstrap).

        It depends on the study, the seed of the replicate and the results alone.
        """
        history, again = self._history(), self.progress.again()
        rng = np.random.default_rng(derive_seed("resample", self.study, seed))
        found = None
        # A draw in which no slot has a score is drawn anew; in the whole search one has.
        while found is None:
            drawn = set(rng.integers(0, len(history), len(history)).tolist())
            kept = {slot: score for slot, score in again.items() if slot in drawn}
            found = choose([one for one in history if one.slot in drawn], self.space, self.search, kept)
        hyperparameters, schedule = self.as_trained(found.slot.slot)
        own: ReplicateChoice = {
            "slot": found.slot.slot,
            "configuration": configuration_hash(hyperparameters, schedule),
            "hyperparameters": hyperparameters,
        }
        return {**own, "schedule": schedule} if schedule else own

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
