"""Ray Tune's population-based training over the slots of a study.

At intervals the worst quarter of the slots take over the state of one of the best quarter, with its hyperparameters
changed a little (Jaderberg et al. 2017). A slot's schedule is in its folder, and ``confirm`` follows it from the first
epoch on: weights that were taken over were trained under just this schedule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import PopulationBasedTraining

from harness.core.seeds import derive_seed
from harness.ray.searcher import SCORE, curve_scores, slot_of
from harness.ray.unsaved import Unsaved
from harness.space.conditions import with_defaults
from harness.space.parameters import Float, Space, Value
from harness.work.state import StudyState

INTERVALS = 8
"""So many times at most a slot may change on the way."""
QUANTILE = 0.25
RESAMPLED = 0.25
FACTORS = (0.8, 1.2)


class Population(Unsaved, PopulationBasedTraining):
    """Ray's scheduler with explorations that stay in the space, and a state that is rebuilt from the folders."""

    def __init__(self, state: StudyState) -> None:
        self._state = state
        self._interval = max(1, state.study.train.epochs // INTERVALS)
        super().__init__(
            time_attr="epoch",
            metric=SCORE,
            mode="max",
            perturbation_interval=self._interval,
            quantile_fraction=QUANTILE,
            # ``_get_new_config`` below takes its place; Ray wants one of the two.
            custom_explore_fn=lambda configuration: configuration,
            log_config=False,
        )

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Take a slot in, with what its curve says of it."""
        super().on_trial_add(tune_controller, trial)
        scores = curve_scores(self._state, slot_of(trial))
        if scores:
            known = self._trial_state[trial]
            known.last_score, known.last_train_time = max(scores), len(scores)
            known.last_perturbation_time = len(scores) - len(scores) % self._interval

    def _get_new_config(self, trial: Trial, trial_to_clone: Trial) -> tuple[dict[str, Any], dict[str, Any]]:
        proposal, own = trial_to_clone.config["member"]["proposal"], trial.config["member"]
        epoch = self._trial_state[trial_to_clone].last_train_time
        rng = np.random.default_rng(derive_seed("explore", self._state.study.name, slot_of(trial), int(epoch or 0)))
        new = explore(self._state.study.space, proposal["hyperparameters"], rng)
        return {"member": {**own, "proposal": {**own["proposal"], "hyperparameters": new}}}, {}


def explore(space: Space, hyperparameters: Mapping[str, Value], rng: np.random.Generator) -> dict[str, Value]:
    """Other values near the given ones, as in Ray's ``PopulationBasedTraining``, but never outside of the space.

    Each real-valued hyperparameter is multiplied by 0.8 or 1.2, or with probability 1/4 drawn anew. Whole numbers and
    choices stay: the tensors that are taken over have their shapes from them.
    """
    new = dict(hyperparameters)
    for name, parameter in space.items():
        if not isinstance(parameter, Float):
            continue
        if rng.random() < RESAMPLED:
            low, high = (
                (np.log(parameter.low), np.log(parameter.high)) if parameter.log else (parameter.low, parameter.high)
            )
            drawn = rng.uniform(low, high)
            value = np.exp(drawn) if parameter.log else drawn
        else:
            value = float(hyperparameters[name]) * FACTORS[rng.integers(2)]
        new[name] = float(np.clip(value, parameter.low, parameter.high))
    return with_defaults(space, new)
