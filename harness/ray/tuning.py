"""One study, searched by Ray Tune's ``Tuner``."""

from __future__ import annotations

import os
import random
import shutil
import threading
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import TrialScheduler

from harness.core.errors import RequestError
from harness.core.seeds import derive_seed
from harness.ray.halving import Halving
from harness.ray.population import Population
from harness.ray.searcher import SlotSearcher
from harness.ray.trainable import SearchPlace, SlotTrainable, configuration
from harness.ray.unsaved import Unsaved
from harness.work.claims import Proposal
from harness.work.scheduler import Scheduler
from harness.work.state import StudyState


class SearchStopper(Unsaved, tune.Stopper):
    """Ends a search when the driver is told to stop, or a trial says that it cannot run here."""

    def __init__(self, stop: threading.Event, leave: Path) -> None:
        self._stop, self._leave = stop, leave
        self.refusal: str | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Look at a result; none of them ends its trial."""
        if result.get("status") == "refused":
            self.refusal = str(result["message"])
        return False

    def stop_all(self) -> bool:
        """Whether all trials are to end; those that run then give themselves back."""
        told = self._stop.is_set() or self.refusal is not None
        if told:
            self._leave.touch()
        return told


def search(scheduler: Scheduler, place: SearchPlace, gpu: float, folder: Path, stop: threading.Event) -> None:
    """Search a study to its end, or until ``stop`` is set.

    Args:
        scheduler: knows the study.
        place: what its trials need to know.
        gpu: the share of a GPU that each gets; 0 on the CPU.
        folder: for Tune's own files, which are removed afterwards.

    Raises:
        RequestError: a trial cannot run here.
    """
    state = scheduler.state(place.study)
    resources = {"cpu": place.threads, **({"gpu": gpu} if gpu else {})}
    watch = SearchStopper(stop, Path(place.leave))
    random.seed(derive_seed("tune", place.study))
    try:
        tune.Tuner(
            tune.with_resources(SlotTrainable, resources),
            param_space=_population(state, place) if place.population else None,
            tune_config=tune.TuneConfig(
                scheduler=_scheduler(state, place),
                search_alg=None if place.population else _searcher(scheduler, state, place),
                num_samples=1 if place.population else state.study.slots,
                max_concurrent_trials=None if place.population else state.study.search.concurrency,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=folder.name,
                storage_path=str(folder.parent),
                stop=watch,
                # Whether a trial whose process dies is worth another attempt is decided by its folder.
                failure_config=tune.FailureConfig(max_failures=-1),
                # Checkpoints are in the trials' folders; Tune's own only hand a state on from one slot to another.
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if watch.refusal is not None:
        raise RequestError(watch.refusal)


def prepare_tune() -> None:
    """Keep Tune from writing, printing and handling signals on its own; before it is used."""
    os.environ |= {
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        # Its state is not read back, so once at the end is more than enough.
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
    }


def _searcher(scheduler: Scheduler, state: StudyState, place: SearchPlace) -> SlotSearcher:
    return SlotSearcher(
        state,
        lambda: place.study not in [left.study.name for left in scheduler.to_be_driven()],
        lambda slot, proposal: configuration(place, slot, proposal),
    )


def _scheduler(state: StudyState, place: SearchPlace) -> TrialScheduler | None:
    pruner = state.study.search.pruner
    if pruner == "pbt":
        return Population(state)
    return None if pruner == "none" else Halving(state, place)


def _population(state: StudyState, place: SearchPlace) -> dict[str, Any]:
    """Every slot that is not finished, as it stands."""
    members = []
    for slot in range(state.study.slots):
        if state.progress.slot_finished(slot):
            continue
        schedule = state.study.folder.search_trial(slot, state.study.search.seeds[0]).schedule()
        now = schedule[-1]["hyperparameters"] if schedule else state.ask(slot)
        members.append(configuration(place, slot, Proposal(now))["member"])
    return {"member": tune.grid_search(members)}
