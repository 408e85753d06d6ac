"""Ray Tune's asynchronous successive halving over the slots of a study, rebuilt from the curves in its folders.

Ray loses the rungs of a search that is resumed (ray#30838: what comes after runs as if nothing had been before). Here
every new driver tells its scheduler the curves on the disk first; what the rungs hold depends on these alone.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from harness.core.files import write_json
from harness.core.seeds import derive_seed
from harness.ray.searcher import SCORE, curve_scores, slot_of
from harness.ray.trainable import SearchPlace, decision_file
from harness.ray.unsaved import Unsaved
from harness.search.rungs import Judge, RungDecision
from harness.work.state import StudyState


class Halving(Unsaved, AsyncHyperBandScheduler):
    """``asha``: one bracket; ``hyperband``: all of them, side by side, none waiting for others.

    Args:
        state: the study.
        place: where decisions are left for the trials.
    """

    def __init__(self, state: StudyState, place: SearchPlace) -> None:
        search, epochs = state.study.search, state.study.train.epochs
        first = min(search.first_rung, epochs)
        brackets = 1 + int(math.log(epochs / first, search.reduction)) if search.pruner == "hyperband" else 1
        super().__init__(
            time_attr="epoch",
            metric=SCORE,
            mode="max",
            max_t=epochs,
            grace_period=first,
            reduction_factor=search.reduction,
            brackets=brackets,
            stop_last_trials=False,
        )
        self._state, self._place = state, place
        for slot in range(state.study.slots):
            if state.progress.slot_finished(slot):
                self._recall(slot, f"slot-{slot}")

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Take a slot in, with the rungs that it has met before."""
        self._recall(slot_of(trial), trial.trial_id)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Decide after an epoch; what is decided at a rung is left for the trial, which records it."""
        slot, epoch, met = slot_of(trial), int(result["epoch"]), self._met(trial.trial_id)
        worse = super().on_trial_result(tune_controller, trial, result) == TrialScheduler.STOP
        if self._met(trial.trial_id) == met:
            return str(TrialScheduler.CONTINUE)
        decision = self._decision(slot, epoch, float(result[SCORE]), worse)
        write_json(decision_file(self._place, slot), asdict(decision))
        return str(TrialScheduler.STOP if decision.prune else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Enter the rungs that the slot's curve reaches."""
        self._enter(self._trial_info.pop(trial.trial_id), slot_of(trial), trial.trial_id)

    def rungs(self) -> list[dict[float, list[float]]]:
        """For each bracket, milestone in epochs → the scores that were met there, ascending."""
        return [{milestone: sorted(met.values()) for milestone, met in b._rungs} for b in self._brackets]

    def _decision(self, slot: int, epoch: int, value: float, worse: bool) -> RungDecision:
        state, search = self._state, self._state.study.search
        slots = [n for n in range(state.study.slots) if state.progress.slot_finished(n)]
        finished = [asked for n in slots if (asked := state.asked(n))]
        anchored = {asked.slot for asked in finished} >= set(range(search.anchors))
        judge = Judge(search, state.study.name, slot, finished if anchored else [])
        reason, tau, mean = judge.distrust(state.study.train.epochs, epoch)
        if slot < search.anchors:
            reason = "goes on: an anchor trains to the end"
        prune = worse and reason is None
        if reason is None:
            reason = f"{search.pruner}: {'worse than others at this rung' if prune else 'goes on'}"
        # The step is the trial's to tell.
        return RungDecision(epoch, 0, value, prune, reason, len(finished), tau, mean)

    def _recall(self, slot: int, trial_id: str) -> None:
        # Ray draws the bracket from a generator whose state ends with the process.
        sizes = np.array([len(bracket._rungs) for bracket in self._brackets])
        odds = np.exp(sizes - sizes.max())
        rng = np.random.default_rng(derive_seed("bracket", self._state.study.name, slot))
        bracket = self._brackets[int(rng.choice(len(self._brackets), p=odds / odds.sum()))]
        self._trial_info[trial_id] = bracket
        self._enter(bracket, slot, trial_id)

    def _enter(self, bracket: Any, slot: int, trial_id: str) -> None:
        best = -math.inf
        for epoch, score in enumerate(curve_scores(self._state, slot), start=1):
            best = max(best, score)
            bracket.on_result(SimpleNamespace(trial_id=trial_id), epoch, best)

    def _met(self, trial_id: str) -> int:
        return sum(trial_id in met for _, met in self._trial_info[trial_id]._rungs)
