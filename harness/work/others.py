"""What one worker knows of trials that others have, so that it need not ask after each of them again and again.

A lease that was seen alive cannot be dead before it expires, and a living owner renews it long before. So it is not
looked at again before that; earlier only to see that it was renewed, and that is done by one worker for all, which
tells the others (``harness.run.news``). All of this only saves looks: a claim itself looks at the lease, by the file
server's clock, as ever.

Leases of this host are looked at each time: their owner's end shows at once.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.core.clock import server_now
from harness.core.files import NoPlainFileError
from harness.core.lease import EXPIRY_SECONDS, LeaseView
from harness.core.owner import host_identity, slurm_start
from harness.run.news import Item, News, owner_mark
from harness.run.trial import TrialFolder

AGAIN_SECONDS = 90.0
"""After so long a lease is looked at once more: late enough that it costs little, early enough that one of many idle
workers does it before the lease could expire, which all would want to see."""
DOUBTFUL_SECONDS = 30.0
"""A lease that was not renewed for so long belongs to an owner that is probably gone."""
CLOCK_SECONDS = 300.0
"""So long it is believed that the file server's clock runs as this host's does."""
SLACK_SECONDS = 10.0
"""What is to be looked at later than ever after one look was told by another clock, and is looked at now."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A trial that a living worker has."""

    again: float
    """When to look at it again, by the file server's clock."""
    here: bool
    """Whether that worker is of this host, or of an earlier start of this job, so that its end shows at once."""
    doubted: bool
    """Whether that worker is probably gone, so that its lease may be dead then."""


class Others:
    """Trials that other workers have, as far as it is known.

    Args:
        news: what workers tell one another.
    """

    def __init__(self, news: News) -> None:
        self._news, self._root = news, len(str(news.run.path)) + 1
        self._known: dict[str, _Known] = {}
        self._offset: float | None = None
        """The file server's clock less this process's monotonic one."""
        self._asked, self._asked_at = False, -math.inf
        """Whether the file server's clock was asked in this look, and when it was, on the monotonic one."""
        self._looking, self._only_known = False, False
        self._missed: set[str] = set()
        """Trials that were found without a result in this look."""
        self._seen: list[Item] = []
        """What was found in this look, to be told."""

    @contextmanager
    def look(self) -> Iterator[list[tuple[Path, Item]]]:
        """One look at the run, given what others told since the last one, with the folder of each trial.

        Within it each trial is looked at once at most, and one that is known to be another's is not.

        Raises:
            OSError: the file of the news cannot be read.
        """
        items = list(self._news.new())
        for item in items:
            self._take(item)
        self._looking, self._asked = True, False
        if time.monotonic() - self._asked_at > CLOCK_SECONDS:
            self._clock()
        try:
            yield [(self._news.run.path / item.trial, item) for item in items]
        finally:
            self._looking = False
            self._missed.clear()
            seen, self._seen = self._seen, []
            self._news.tell(seen)

    @contextmanager
    def only_known(self) -> Iterator[None]:
        """No trial is looked at as long as this lasts."""
        self._only_known = True
        try:
            yield
        finally:
            self._only_known = False

    @property
    def looking(self) -> bool:
        """Whether a look is going on."""
        return self._looking

    def worth_a_look(self, trial: TrialFolder) -> bool:
        """Whether a trial that had no result may have one now."""
        if not self._looking:
            return True
        name = self._name(trial)
        return not self._only_known and name not in self._missed and not self.has(trial)

    def missed(self, trial: TrialFolder) -> None:
        """Note that a trial has no result yet."""
        if self._looking:
            self._missed.add(self._name(trial))

    def has(self, trial: TrialFolder) -> bool:
        """Whether the worker of another host is known to have a trial, so that nothing need be looked at."""
        known = self._known.get(self._name(trial)) if self._looking else None
        return known is not None and not known.here and 0 < known.again - self._now() <= AGAIN_SECONDS + SLACK_SECONDS

    def probably_has(self, trial: TrialFolder) -> bool:
        """Whether a worker had a trial when that was last known."""
        known = self._known.get(self._name(trial))
        return known is not None and self._now() < known.again

    def view(self, trial: TrialFolder) -> LeaseView | None:
        """The lease of a trial, looked at now; what it says is remembered and told."""
        lease = trial.lease(lambda folder: self._clock())
        name = self._name(trial)
        if lease is None or lease.dead:
            self._known.pop(name, None)
        else:
            left = EXPIRY_SECONDS - lease.age
            item = Item(
                "doubted" if lease.age > DOUBTFUL_SECONDS else "held",
                name,
                self._clock() + min(left, AGAIN_SECONDS),
                owner_mark(lease.content.get("host", "")),
                lease.content.get("slurm_job") or "",
            )
            known = self._take(item)
            if self._looking and known is not None and not known.here:
                self._seen.append(item)
        return lease

    def claimed(self, trial: TrialFolder, hyperparameters: Mapping[str, object]) -> None:
        """Tell that this process has claimed a trial in this look."""
        again = self._now() + AGAIN_SECONDS
        asked = json.dumps(dict(hyperparameters), ensure_ascii=False).encode()
        job = slurm_start().get("slurm_job") or ""
        item = Item("claimed", self._name(trial), again, owner_mark(host_identity()), job, asked)
        self._take(item)
        self._news.tell([item])

    def ended(self, trial: TrialFolder) -> None:
        """Tell that this process has finished a trial, with its result, or given it back."""
        content = None
        # Others then look for themselves.
        with suppress(OSError, NoPlainFileError):
            content = trial.result_line()
        item = Item("ended", self._name(trial), content=content or b"")
        self._take(item)
        self._news.tell([item])

    def doubtful_in(self) -> float:
        """Seconds until the first lease may be dead whose owner is probably gone; infinite where there is none."""
        if self._offset is None:
            return math.inf
        now = self._now()
        doubted = (known.again - now for known in self._known.values() if known.doubted)
        return min((seconds for seconds in doubted if seconds > 0), default=math.inf)

    def _take(self, item: Item) -> _Known | None:
        if item.kind == "ended":
            self._known.pop(item.trial, None)
            return None
        job = slurm_start().get("slurm_job") or ""
        here = item.owner == owner_mark(host_identity()) or (bool(job) and item.job == job)
        known = self._known[item.trial] = _Known(item.again, here, item.kind == "doubted")
        return known

    def _clock(self) -> float:
        """The file server's clock, asked once a look."""
        if not (self._looking and self._asked):
            # Afterwards: the clock of this look then errs to the early side, for which a lease is younger.
            told = server_now(self._news.run.path)
            self._asked_at = time.monotonic()
            self._offset, self._asked = told - self._asked_at, True
        return self._now()

    def _now(self) -> float:
        """The file server's clock as it probably is; minus infinity before it was ever asked."""
        return -math.inf if self._offset is None else time.monotonic() + self._offset

    def _name(self, trial: TrialFolder) -> str:
        return str(trial.path)[self._root :]
