"""Workers of a run in virtual time, and what they ask of a file server together.

Nothing is trained and no file is touched: each event costs what ``benchmarks.workers`` has counted of the real code,
and what a training writes costs what is assumed in ``ASSUMED``. How often a worker looks is the real rule
(``harness.work.worker.pause``), and so is when a lease is looked at again (``harness.work.others``).
"""

from __future__ import annotations

import collections
import heapq
import random
from dataclasses import dataclass
from typing import Any

from harness.core.lease import RENEW_SECONDS

ASSUMED = {"seconds of a training": 600, "operations of a training": 200, "workers of a host": 8}


@dataclass(frozen=True)
class Costs:
    """Operations of what happens to a file server, as counted of the real code."""

    look: int
    """Of an idle worker."""
    claim: int
    """From a look that finds a trial to the beginning of its training, and telling of its end."""
    lease: int
    """A look at the lease of another host, beside the look that it is a part of."""
    finish: int
    """The result, and giving the trial back."""
    renew: int
    training: int = ASSUMED["operations of a training"]
    """What a training writes between: curve, checkpoints, log."""


@dataclass(frozen=True)
class Load:
    """What is simulated."""

    workers: int
    trials: int
    at_once: int
    """Trials that may run at the same time: where searches wait for results, fewer than there are workers."""
    seconds: float = ASSUMED["seconds of a training"]
    on_a_host: int = ASSUMED["workers of a host"]


LOADS = (
    Load(125, 12_500, 125), Load(250, 25_000, 250), Load(500, 50_000, 500), Load(1000, 100_000, 1000),
    Load(250, 6250, 66), Load(1000, 25_000, 264),
)  # fmt: skip
"""First all workers have a trial, then a good quarter, and the others wait; these take longer to simulate."""


class Simulation:
    """Workers of a run in virtual time; a look and a claim take none.

    Args:
        load: how many workers, and what they do.
        costs: of each thing.
        seed: of what is drawn.
    """

    def __init__(self, load: Load, costs: Costs, seed: int = 0) -> None:
        # Here, so that earlier versions can be counted too.
        from harness.work.bell import LISTEN_SECONDS
        from harness.work.others import AGAIN_SECONDS
        from harness.work.worker import PAUSE_AT_ONCE, pause

        self._listen, self._again, self._spread_from, self._pause = LISTEN_SECONDS, AGAIN_SECONDS, PAUSE_AT_ONCE, pause
        self.load, self.costs, self._random = load, costs, random.Random(seed)
        self.now, self.operations = 0.0, collections.Counter[str]()
        self._minutes = collections.Counter[int]()
        self._left, self._running, self._finished = load.trials, 0, 0
        self._events: list[tuple[float, int, int, bool]] = []
        self._looks = [0] * load.workers
        self._due = [0] * load.workers
        """Number of the event that is each worker's next; an earlier one counts no more."""
        self._leases: list[tuple[float, int]] = []
        self._runs = [0] * load.workers
        """Number of the trial that each worker runs; 0 where it is idle."""
        self._begun = 0

    def run(self) -> dict[str, Any]:
        """Let all trials be done; what that took."""
        for worker in range(self.load.workers):
            self._schedule(worker, self._random.uniform(0.0, 60.0), ends=False)
        while self._finished < self.load.trials:
            self.now, number, worker, ends = heapq.heappop(self._events)
            if number != self._due[worker]:
                continue
            if ends:
                self._end(worker)
            self._look(worker)
        seconds, total = self.now, sum(self.operations.values())
        # Everybody starts within the first minute, and the last one has no full minute.
        later = [self._minutes[minute] / 60 for minute in range(1, int(seconds // 60))]
        return {
            "workers": self.load.workers, "trials": self.load.trials, "at_once": self.load.at_once,
            "hours": seconds / 3600, "operations": total, "per_second": total / seconds,
            "first_minute": self._minutes[0] / 60, "worst_minute": max(later, default=0.0),
            "per_trial": total / self.load.trials, "of": dict(self.operations),
        }  # fmt: skip

    def _look(self, worker: int) -> None:
        self._pay("looks", self.costs.look)
        if self._left > 0 and self._running < self.load.at_once:
            self._claim(worker)
            return
        self._look_at_leases()
        seconds = self._pause(self._looks[worker])
        if seconds >= self._spread_from:
            seconds *= self._random.uniform(0.5, 1.5)
        self._looks[worker] += 1
        self._schedule(worker, seconds, ends=False)

    def _look_at_leases(self) -> None:
        """One worker looks for all at leases that nobody has looked at for long, and tells the others."""
        while self._leases and self._leases[0][0] <= self.now:
            _, place = heapq.heappop(self._leases)
            worker, trial = divmod(place, self.load.trials + 1)
            if self._runs[worker] == trial:
                self._pay("leases", self.costs.lease)
                heapq.heappush(self._leases, (self.now + self._again, place))

    def _claim(self, worker: int) -> None:
        # The look that found it is a part of what was counted.
        self._pay("claims", self.costs.claim - self.costs.look)
        self._begun += 1
        self._left, self._running, self._looks[worker] = self._left - 1, self._running + 1, 0
        self._runs[worker] = self._begun
        heapq.heappush(self._leases, (self.now + self._again, worker * (self.load.trials + 1) + self._begun))
        seconds = self.load.seconds * self._random.uniform(0.5, 1.5)
        every = min(60.0, seconds)
        for minute in range(int(seconds // every)):
            self._pay("renewals", round(every / RENEW_SECONDS) * self.costs.renew, self.now + (minute + 0.5) * every)
        self._pay("trainings", self.costs.training, self.now + seconds / 2)
        self._schedule(worker, seconds, ends=True)
        self._ring(worker)

    def _end(self, worker: int) -> None:
        self._pay("ends", self.costs.finish)
        self._running, self._finished, self._runs[worker] = self._running - 1, self._finished + 1, 0
        self._ring(worker)

    def _ring(self, worker: int) -> None:
        """Idle workers of the same host look within a few hundredths of a second."""
        first = worker - worker % self.load.on_a_host
        for other in range(first, min(first + self.load.on_a_host, self.load.workers)):
            if other != worker and not self._runs[other]:
                self._schedule(other, self._listen, ends=False)

    def _schedule(self, worker: int, seconds: float, ends: bool) -> None:
        self._due[worker] += 1
        heapq.heappush(self._events, (self.now + seconds, self._due[worker], worker, ends))

    def _pay(self, what: str, operations: int, when: float | None = None) -> None:
        self.operations[what] += operations
        self._minutes[int((self.now if when is None else when) // 60)] += operations
