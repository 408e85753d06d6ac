"""A slot's trainings: that of the first tuning seed an epoch at a time, the others after it, from end to end."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict

from harness.core.files import read_json
from harness.core.lease import keep_alive
from harness.metrics.facts import MetricFacts
from harness.run.trial import TrialFolder
from harness.search.rungs import RungDecision
from harness.search.slots import slot_score
from harness.work.claims import ClaimedTrial
from harness.work.running import run_claimed

if TYPE_CHECKING:
    import torch

POLL_SECONDS = 0.5


class Left(Exception):
    """The driver wants its trials to be given back."""


@dataclass
class SeedRun:
    """The training of one seed, in a thread that waits after each epoch until it is told to go on."""

    folder: TrialFolder
    taken: ClaimedTrial | None
    """None where the trial is finished already."""
    decision: Path
    """The file in which the driver leaves what was decided at a rung."""
    scores: Sequence[float] = ()
    """Validation score after each epoch so far, higher is better."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _events: queue.SimpleQueue[BaseException | Sequence[float] | None] = field(default_factory=queue.SimpleQueue)
    _thread: threading.Thread | None = None

    @property
    def ended(self) -> bool:
        """Whether it has its result."""
        return self.folder.finished

    def start(
        self, device: torch.device, resident: torch.Tensor, *, waits: bool, checkpoint_each_epoch: bool = False
    ) -> None:
        """Make it ready; it trains when it is told to advance.

        Args:
            waits: whether it waits after each epoch; else the first advance trains to the end.
        """
        if self.taken is None:
            return
        taken = replace(self.taken, judge=self._judge) if waits else self.taken

        def train() -> None:
            with keep_alive(taken.lease):
                self._go.acquire()
            if self._stop.is_set():
                taken.lease.release("interrupted")
                return
            try:
                run_claimed(taken, device, self._stop, resident, checkpoint_each_epoch)
            except BaseException as error:  # noqa: BLE001  (raised again by ``advance``, in the thread that waits)
                self._events.put(error)
            else:
                self._events.put(None)

        self._thread = threading.Thread(target=train, name=taken.title, daemon=True)
        self._thread.start()

    def advance(self, check: Callable[[], None]) -> None:
        """Train one epoch, or to the end.

        Args:
            check: called now and then meanwhile; may raise ``Left``.

        Raises:
            RequestError, OSError: as ``harness.work.running.run_claimed``.
            Left: the trial is no longer this process's.
        """
        self._go.release()
        while True:
            try:
                event = self._events.get(timeout=POLL_SECONDS)
                break
            except queue.Empty:
                check()
        if isinstance(event, BaseException):
            raise event
        if event is not None:
            self.scores = event
        elif not self.ended:
            raise Left

    def leave(self) -> None:
        """Give the trial back: pruned where the driver has decided so, else with a checkpoint unless it is finished."""
        self._stop.set()
        self._go.release()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _judge(self, epochs: int, step: int, scores: Sequence[float]) -> RungDecision | None:
        self._events.put([*scores])
        self._go.acquire()
        if not self.decision.exists():
            return None
        found = RungDecision(**read_json(self.decision))
        # That of an epoch that was trained again after a crash may be of an earlier attempt.
        return replace(found, step=step) if found.epoch == len(scores) else None


class TuneReport(TypedDict):
    """What a slot tells Ray after an epoch."""

    epoch: int
    score: float
    done: bool
    status: NotRequired[str]


class SlotRun:
    """All trainings of a slot.

    Args:
        first: of the first tuning seed, ready.
        others: those of the others; each is called when its turn comes.
        metric: the validation metric of the search.
    """

    def __init__(self, first: SeedRun, others: Sequence[Callable[[], SeedRun]], metric: MetricFacts) -> None:
        self.first, self._others, self._metric = first, others, metric
        self._running = first

    def step(self, check: Callable[[], None]) -> TuneReport:
        """Train the next epoch; after the last one, the other seeds.

        Returns:
            ``epoch`` (finished ones), ``score`` (the best so far on the first seed, in the end the mean over the
            seeds; higher is better, not a number where the slot failed), ``done``, and in the end ``status``.
        """
        if not self.first.ended:
            self.first.advance(check)
        if not self.first.ended:
            return {"epoch": len(self.first.scores), "score": max(self.first.scores), "done": False}
        trials = [self.first.folder]
        if self.first.folder.result()["status"] == "pruned":
            # By a decision that an earlier driver has left.
            return {"epoch": len(self.first.scores), "score": math.nan, "done": True, "status": "pruned"}
        for other in self._others:
            self._running = other()
            while not self._running.ended:
                self._running.advance(check)
            trials.append(self._running.folder)
        score = slot_score([trial.result() for trial in trials], self._metric)
        status = "failed" if score is None else "done"
        epoch = max(1, len(trials[0].curve()))
        return {"epoch": epoch, "score": math.nan if score is None else score, "done": True, "status": status}

    def leave(self) -> None:
        """Give back what is running."""
        self._running.leave()
