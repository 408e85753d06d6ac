"""Ray Tune's ``OptunaSearch`` over the slots of a study, rebuilt from the study's folders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
from ray.tune.experiment import Trial
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from harness.core.seeds import derive_seed
from harness.ray.unsaved import Unsaved
from harness.search import Asked
from harness.search.mirror import distributions, outcome
from harness.search.slots import epoch_score
from harness.space.conditions import with_defaults
from harness.space.parameters import defaults, searched
from harness.work.claims import Proposal
from harness.work.state import StudyState

SCORE = "score"
EPOCH_NUMBER = "training_iteration"
"""What Ray's searchers take the number of an epoch from."""


class SlotSearcher(Unsaved, Searcher):
    """Gives each of Tune's trials a slot that is not finished, and lets ``OptunaSearch`` propose what it runs.

    What a slot was once asked to run it runs again; finished slots are in the searcher's history from the beginning.

    Args:
        state: the study.
        halted: whether no further slot is to begin.
        configuration: what Tune hands to the trial of a slot.
    """

    def __init__(
        self,
        state: StudyState,
        halted: Callable[[], bool],
        configuration: Callable[[int, Proposal], dict[str, Any]],
    ) -> None:
        super().__init__(metric=SCORE, mode="max")
        self._state, self._halted, self._configuration = state, halted, configuration
        study = state.study
        self._varied = searched(study.space)
        self._todo: Iterator[int] = iter([n for n in range(study.slots) if not state.progress.slot_finished(n)])
        self._known = [n for n in range(study.slots) if state.progress.slot_finished(n)]
        self._slots: dict[str, int] = {}
        sampler = _sampler(state, len(self._known))
        storage = optuna.storages.InMemoryStorage()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna.create_study(
            storage=storage, sampler=sampler, study_name=study.name, direction="maximize"
        )
        known = [*study.known_before, *map(self._slot, self._known)]
        self._optuna.add_trials([self._recorded(entry) for entry in known])
        self._inner = OptunaSearch(
            distributions(self._varied),
            metric=SCORE,
            mode="max",
            sampler=sampler,
            study_name=study.name,
            storage=storage,
        )

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next slot with its configuration."""
        slot = None if self._halted() else next(self._todo, None)
        if slot is None:
            finished: Any = Searcher.FINISHED  # what Ray documents, and does not declare
            return finished  # type: ignore[no-any-return]
        self._slots[trial_id] = slot
        fixed = defaults(self._state.study.space)
        asked = self._state.asked(slot)
        before = asked.hyperparameters if asked is not None else fixed if slot == 0 else None
        if before is not None:
            self._optuna.enqueue_trial({name: before[name] for name in self._varied})
        # Without anything to search there is the default alone, and Optuna has no space to ask from.
        found = self._inner.suggest(trial_id) if self._varied else None
        asked_for = with_defaults(self._state.study.space, {**fixed, **(found or {})})
        return self._configuration(slot, Proposal(asked_for, tuple(self._known)))

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take note of an epoch."""
        if self._varied:
            self._inner.on_trial_result(trial_id, {SCORE: result[SCORE], EPOCH_NUMBER: result["epoch"]})

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna how the slot ended."""
        status = (result or {}).get("status", "pruned")
        if not self._varied or result is None or status in ("left", "refused"):
            return
        if status == "pruned" and not math.isnan(result[SCORE]):
            self.on_trial_result(trial_id, result)
        self._inner.on_trial_complete(
            trial_id, {SCORE: result[SCORE]} if status == "done" else None, error=status == "failed"
        )
        self._known.append(self._slots[trial_id])

    def save(self, checkpoint_path: str) -> None:
        """Nothing is kept of Tune's own state: the run directory has it all."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Never used: a search resumes from the run directory."""
        raise NotImplementedError

    def _slot(self, slot: int) -> Asked:
        entry = self._state.asked(slot)
        assert entry is not None
        return entry

    def _recorded(self, entry: Asked) -> optuna.trial.FrozenTrial:
        state, value = outcome(entry)
        return optuna.trial.create_trial(
            state=state,
            value=value,
            params={name: entry.hyperparameters[name] for name in self._varied},
            distributions=distributions(self._varied),
            intermediate_values={len(entry.curve): max(entry.curve)} if entry.pruned else None,
        )


def slot_of(trial: Trial) -> int:
    """The slot that one of Tune's trials runs."""
    return int(trial.config["member"]["slot"])


def curve_scores(state: StudyState, slot: int) -> list[float]:
    """The validation score after each epoch that a slot's first trial has on its curve; higher is better."""
    study = state.study
    curve = study.folder.search_trial(slot, study.search.seeds[0]).curve()
    return [epoch_score(line, study.measure) for line in curve]


def _sampler(state: StudyState, known: int) -> optuna.samplers.BaseSampler:
    """The sampler; its stream is named by how much was known when the driver began, so that none is drawn twice."""
    search, name = state.study.search, state.study.name
    seed = derive_seed("ray", name, known) % 2**32
    samplers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, n_startup_trials=search.startup, multivariate=True),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
    }
    return samplers[search.sampler]()
