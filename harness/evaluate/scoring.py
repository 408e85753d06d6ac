"""Scoring kept models one after the other, each under a lease, so that any number of processes can share them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import torch

from harness.core.console import Console
from harness.core.lease import claim, given_back, keep_alive
from harness.core.stopping import asked_to_stop
from harness.evaluate.missing import Lacking, still_lacking
from harness.studies.jobs import job_of
from harness.train.job import Control, Interrupted
from harness.train.kept import score_kept


def score_all(found: Sequence[Lacking], device: torch.device) -> bool:
    """Score every model that no other process has taken; False where that was interrupted.

    Args:
        found: models that were kept.
        device: where to score.
    """
    console = Console(stderr=True)
    with asked_to_stop() as stop:
        for place, one in enumerate(found):
            try:
                _score(one, device, stop, console, f"{place + 1}/{len(found)}")
            except Interrupted:
                return False
            if stop.is_set():
                return False
    return True


def _score(one: Lacking, device: torch.device, stop: threading.Event, console: Console, number: str) -> None:
    lease = claim(one.trial.evaluations_folder())
    if lease is None:
        # Somebody else scores it now.
        return
    with given_back(lease, "stopped"), keep_alive(lease):
        # Somebody else may have scored it since it was found.
        names = still_lacking(one)
        if names:
            title = f"{number} {one.study.name} {one.trial.name}: {', '.join(names)}"
            console.print(title, soft_wrap=True, highlight=False, markup=False)
            request = one.trial.request()
            job = job_of(one.study, request)
            job = replace(job, evaluations=[given for given in job.evaluations if given.name in names])
            # Sums on a CPU depend on the number of threads in the last bit.
            torch.set_num_threads(int(request["threads"]))
            folder = one.trial.held(lease)
            with one.trial.log_path.open("a", encoding="utf-8") as log:
                control = Control(stop=stop, log=lambda line: print(f"evaluate: {line}", file=log, flush=True))
                scored = score_kept(job, folder, device, control)
            folder.add_evaluations(scored.part.get("evaluations", []), scored.part.get("test_reference", ""))
    lease.release("finished")
