"""A sweep that is run to its end under disturbances."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED
from harness.proof.chaos.kinds import KINDS, Disturbance, Scene

LOOK_SECONDS = 0.03
MOST_AT_ONCE = 4
MOST_STARTS_WITHOUT_A_HIT = 20
"""So often in a row a sweep may end by a disturbance before another one hits; then something else is wrong."""


@dataclass
class HitTally:
    """What was done, over all disturbed runs.

    Attributes:
        wanted: disturbances that are to hit a trial in training.
        hits: by kind, those that did.
        others: by kind, those that came about otherwise: between trials, or while one began or ended.
        starts: how often the sweep command was given.
        refusals: how often it ended with an error line, after a disturbance, and was given again.
    """

    wanted: int
    hits: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    refusals: int = 0

    @property
    def enough(self) -> bool:
        """Whether nothing more has to be disturbed."""
        return self.hits.total() >= self.wanted


@dataclass
class DisturbedRun:
    """One run of the sweep.

    Attributes:
        kinds: of disturbances that may happen.
        pause: mean seconds between two of them; drawn from an exponential distribution so that no moment is spared.
        say: told how far it is.
    """

    scene: Scene
    tally: HitTally
    kinds: Sequence[str]
    pause: float
    say: Callable[[str], None]
    going_on: list[tuple[str, Disturbance]] = field(default_factory=list)
    _next: float = 0.0
    _waiting: str | None = None
    """A kind that begins as soon as nothing else is going on."""
    _fruitless: int = 0

    def carry_out(self) -> None:
        """Disturb the sweep, giving its command again whenever it was killed, until it has ended by itself.

        What went wrong on the way is added to the scene's problems.
        """
        sweep = self.scene.sweep
        try:
            while True:
                self.tally.starts += 1
                sweep.start(self.scene.run.path.with_suffix(".errors"))
                began, hits = time.monotonic(), self.tally.hits.total()
                while sweep.ended() is None:
                    self._look()
                    time.sleep(LOOK_SECONDS)
                self._stop_all()
                if not self._goes_on(time.monotonic() - began, self.tally.hits.total() > hits):
                    return
        finally:
            self._stop_all()
            sweep.end()

    def _look(self) -> None:
        scene, tally = self.scene, self.tally
        for entry in list(self.going_on):
            kind, disturbance = entry
            outcome = disturbance.poll()
            if outcome is not None:
                self.going_on.remove(entry)
                if outcome.happened:
                    (tally.hits if outcome.hit else tally.others)[kind] += 1
                    self.say(f"{tally.hits.total()} of {tally.wanted} disturbances have hit a trial in training")
        training = scene.watch.training(worker.pid for worker in scene.sweep.workers())
        targets = [attempt for pid, attempt in training.items() if pid not in scene.sweep.stopped]
        if tally.enough or not targets or len(self.going_on) >= MOST_AT_ONCE or time.monotonic() < self._next:
            return
        busy = {name for name, _ in self.going_on}
        kind = self._waiting or scene.rng.choices(self.kinds, [KINDS[name].weight for name in self.kinds])[0]
        # What meets all processes waits for what is going on, and the refusal of one command is looked at at a time.
        self._waiting = kind if KINDS[kind].alone and busy else None
        if self._waiting or (kind == "stale-rerun" and kind in busy) or any(KINDS[name].alone for name in busy):
            return
        self._next = time.monotonic() + scene.rng.expovariate(1 / self.pause)
        begun = KINDS[kind].begin(scene, scene.rng.choice(targets))
        if begun is not None:
            self.going_on.append((kind, begun))

    def _stop_all(self) -> None:
        for kind, disturbance in self.going_on:
            # One that has come about in the meantime counts, whatever ended the sweep.
            outcome = disturbance.poll()
            disturbance.stop()
            if outcome is not None and outcome.happened:
                (self.tally.hits if outcome.hit else self.tally.others)[kind] += 1
        self.going_on.clear()
        if self.scene.layer is not None:
            self.scene.layer.calm()

    def _goes_on(self, seconds: float, hit: bool) -> bool:
        """Whether the command has to be given again; notes how it ended where it should not have."""
        sweep, problems = self.scene.sweep, self.scene.problems
        code, errors = sweep.ended(), sweep.errors()
        last = errors.splitlines()[-1] if errors else "nothing"
        if "Traceback" in errors:
            problems.append(f"the sweep command ended with code {code} and a traceback: {last}")
        elif code in (EXIT_DONE, EXIT_SOME_FAILED):
            return False
        elif code is not None and code >= 0:
            self.tally.refusals += 1
            self.say(f"the sweep command ended with code {code}: {last}")
        self._fruitless = 0 if hit else self._fruitless + 1
        if self._fruitless > MOST_STARTS_WITHOUT_A_HIT:
            problems.append(f"the sweep command was given {self._fruitless} times and ended each time: {last}")
            return False
        return True
