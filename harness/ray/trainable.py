"""What runs in Ray's worker processes: a slot of a study, by the harness's own training code."""

from __future__ import annotations

import math
import os
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ray import tune

from harness.core.errors import RequestError, one_line
from harness.core.lease import given_back
from harness.ray.inheritance import give, inherit
from harness.ray.slot_run import POLL_SECONDS, Left, SeedRun, SlotRun
from harness.run.directory import RunDirectory
from harness.run.spent import STOPPED_BY_ERROR
from harness.studies.study import Roots
from harness.train.data import resident_images
from harness.train.device import usable_device
from harness.work.claims import ClaimedTrial, Proposal
from harness.work.scheduler import Scheduler
from harness.work.worker import load_studies


@dataclass(frozen=True)
class SearchPlace:
    """What all trials of a driver need to know; small and plain, because Ray carries it to other machines."""

    run: str
    study: str
    data_root: str
    cache_root: str
    home: str
    """The user's own home; Ray's processes have another one."""
    threads: int
    """CPU threads of a trial."""
    share: int
    """Trials that share one accelerator."""
    leave: str
    """A file whose presence tells the trials to give themselves back."""
    population: bool
    """Whether trials may go on from each other's state."""


def configuration(place: SearchPlace, slot: int, proposal: Proposal) -> dict[str, Any]:
    """What Tune hands to ``SlotTrainable``."""
    return {"member": {"place": asdict(place), "slot": slot, "proposal": asdict(proposal)}}


def decision_file(place: SearchPlace, slot: int) -> Path:
    """Where the driver leaves what was decided at a rung of a slot."""
    return Path(place.leave).with_name(f"slot-{slot:04d}.json")


class SlotTrainable(tune.Trainable):
    """One slot after the other: Tune keeps the process and gives it the next one (``reuse_actors``)."""

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare the process, whose driver has one study."""
        self._place = place = SearchPlace(**config["member"]["place"])
        os.environ["HOME"] = place.home
        self._device = usable_device()
        if self._device.type == "cuda" and place.share > 1:
            # So that a trial that wants too much runs out of memory itself, and not its neighbours.
            torch.cuda.set_per_process_memory_fraction(1.0 / place.share, self._device)
        self._scheduler: Scheduler | None = None
        self._resident: torch.Tensor | None = None
        self._slot_run: SlotRun | None = None
        self._next(config)

    def step(self) -> dict[str, object]:
        """Train an epoch of the slot."""
        try:
            if self._slot_run is None:
                self._slot_run = self._take_up(None)
            return dict(self._slot_run.step(self._check))
        except Left:
            self._give_back()
            return {"epoch": 0, "score": math.nan, "done": True, "status": "left"}
        except (RequestError, OSError) as error:
            self._give_back()
            message = one_line(f"{error}")
            return {"epoch": 0, "score": math.nan, "done": True, "status": "refused", "message": message}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Put the state of the slot where another one can go on from it."""
        assert self._slot_run is not None
        give(self._slot_run.first.folder, self._slot, Path(checkpoint_dir))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from what ``save_checkpoint`` has put there, under the hyperparameters that this slot now has."""
        self._slot_run = self._take_up(Path(checkpoint))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Give the slot back and take another one, or the same with other hyperparameters."""
        self._give_back()
        self._next(new_config)
        return True

    def cleanup(self) -> None:
        """Give the slot back."""
        self._give_back()

    def _next(self, config: dict[str, Any]) -> None:
        self._slot = int(config["member"]["slot"])
        self._proposal = Proposal(**config["member"]["proposal"])

    def _take_up(self, inherited: Path | None) -> SlotRun:
        """Claim the slot, waiting for whoever may still have it, and make it ready."""
        place = self._place
        if self._scheduler is None:
            run, roots = RunDirectory(Path(place.run)), Roots(Path(place.data_root), Path(place.cache_root))
            plan = run.plan()
            spec, studies = load_studies(run, roots)
            self._scheduler = Scheduler.of(run, spec, studies, place.threads, plan=plan)
        study = self._scheduler.state(place.study).study
        if self._resident is None:
            self._resident = resident_images(study.dataset.data, self._device)
        first_seed, *others = study.search.seeds
        first = self._claim(self._scheduler, first_seed)
        if inherited is not None and first.taken is not None:
            with given_back(first.taken.lease, STOPPED_BY_ERROR):
                inherit(first.taken, self._slot, self._proposal.hyperparameters, inherited)
        first.start(self._device, self._resident, waits=True, checkpoint_each_epoch=place.population)
        return SlotRun(first, [partial(self._other, seed) for seed in others], study.measure)

    def _other(self, seed: int) -> SeedRun:
        assert self._scheduler is not None and self._resident is not None
        run = self._claim(self._scheduler, seed)
        run.start(self._device, self._resident, waits=False)
        return run

    def _claim(self, scheduler: Scheduler, seed: int) -> SeedRun:
        folder = scheduler.state(self._place.study).study.folder.search_trial(self._slot, seed)
        taken: ClaimedTrial | None = None
        while not folder.finished and taken is None:
            self._check()
            taken = scheduler.claim_slot(self._place.study, self._slot, seed, self._proposal)
            if taken is None and not folder.finished:
                if scheduler.exhausted() is not None:
                    raise Left
                time.sleep(POLL_SECONDS)
        return SeedRun(folder, taken, decision_file(self._place, self._slot))

    def _check(self) -> None:
        if Path(self._place.leave).exists():
            raise Left

    def _give_back(self) -> None:
        if self._slot_run is not None:
            self._slot_run.leave()
            self._slot_run = None
