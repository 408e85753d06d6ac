"""The trials of one study as a run's files show them, each read until it is finished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.core.errors import one_line
from harness.core.files import TornFileError
from harness.core.lease import LeaseView
from harness.run.outcome import score_in
from harness.run.record_values import Status
from harness.run.spent import Spent, recorded, spent
from harness.run.trial import TrialFolder
from harness.run.trial import digest as digest_of
from harness.run.trial_records import TrialOutcome, TrialResult
from harness.studies.overview import Failure, Ledger, RunningTrial


class Finished(NamedTuple):
    """What is remembered of a result."""

    status: Status
    score: float | None
    """Validation score as the metric is read; None unless it is done and has one."""
    failure: Failure | None
    seconds: float | None
    spent: Spent
    steps: int
    span: tuple[float, float] | None
    """When its last attempt began and ended, seconds since the epoch."""
    digest: str | None
    """Of the file of the result, as ``trial_folder.digest`` has it; None where only its content was at hand."""


@dataclass
class Tally:
    """Sums over the trials of a study."""

    interrupted: int = 0
    running: list[RunningTrial] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)
    begun: int = 0
    ended: Counter[Status] = field(default_factory=Counter)
    steps: int = 0
    spent: Spent = field(default_factory=Spent)

    def ledger(self, others: Tally, slots: int, slots_begun: int, known_before: int = 0) -> Ledger:
        """What the study has used, its trials outside the comparison included."""
        return Ledger(
            slots,
            slots_begun,
            self.begun + others.begun,
            self.ended["pruned"] + others.ended["pruned"],
            self.steps + others.steps,
            Spent.total((self.spent, others.spent)),
            known_before,
        )


class Trials:
    """The trials of one study, each read until it is finished.

    Args:
        study: its name.
    """

    def __init__(self, study: str) -> None:
        self._study = study
        self._finished: dict[str, Finished] = {}
        self.damaged: list[str] = []

    def unread(self, trials: Iterable[TrialFolder]) -> list[TrialFolder]:
        """Those of which no result was seen yet."""
        return [trial for trial in trials if str(trial.path) not in self._finished]

    def result(self, trial: TrialFolder, metric: str, read: TrialResult | None = None) -> Finished | None:
        """What came out of a trial; None while it is not finished, or when its result is not readable.

        Args:
            trial: the trial.
            metric: that its search goes by.
            read: its result, where somebody has read that.
        """
        key = str(trial.path)
        found = self._finished.get(key)
        if found is None:
            try:
                if read is not None:
                    found = self._remembered(trial, read, metric, None)
                else:
                    _, content = trial.read_result()
                    found = self._remembered(trial, trial.outcome_in(content, metric), metric, digest_of(content))
            except FileNotFoundError:
                return None
            except TornFileError as error:
                self.damaged.append(str(error.path))
                return None
            self._finished[key] = found
        return found

    def take(self, trial: TrialFolder, content: bytes, metric: str, digest: str) -> None:
        """Read the result of a trial from what its file holds; ``result`` says so where it is not readable."""
        try:
            outcome = trial.outcome_in(content, metric)
        except TornFileError:
            return
        self._finished[str(trial.path)] = self._remembered(trial, outcome, metric, digest)

    def digests(self) -> dict[str, str]:
        """The digest of each result that was read here, by the path of the trial's folder."""
        return {path: found.digest for path, found in self._finished.items() if found.digest is not None}

    def tally(self, trials: Iterable[tuple[TrialFolder, Finished | None]], epochs: int | None, now: float) -> Tally:
        """Sums over trials whose folders exist, each with what came out of it."""
        found = list(trials)
        ended = [result for _, result in found if result is not None]
        sums = Tally(
            failures=[result.failure for result in ended if result.failure is not None],
            seconds=[result.seconds for result in ended if result.failure is None and result.seconds is not None],
            spans=[result.span for result in ended if result.span is not None],
            begun=len(ended),
            ended=Counter(result.status for result in ended),
            steps=sum(result.steps for result in ended),
            spent=Spent.total(result.spent for result in ended),
        )
        for trial, result in found:
            if result is None:
                self._add_unfinished(trial, epochs, now, sums)
        return sums

    def _add_unfinished(self, trial: TrialFolder, epochs: int | None, now: float, sums: Tally) -> None:
        attempts = trial.attempts()
        if not attempts:
            return
        sums.begun += 1
        sums.spent = Spent.total((sums.spent, spent(attempts, finished=False)))
        latest = attempts[-1]
        lease = LeaseView(len(attempts), latest, max(0.0, now - float(latest["last_seen"])))
        if lease.dead:
            # It may have ended between the two looks.
            sums.interrupted += not trial.finished
            return
        try:
            epoch = len(trial.curve())
        except TornFileError:
            self.damaged.append(str(trial.curve_path))
            epoch = 0
        host, pid = str(latest.get("hostname", "")), latest.get("pid")
        sums.running.append(
            RunningTrial(
                self._study, trial.stage, trial.name, epoch, epochs, host, pid, latest.get("slurm_job"),
                lease.number, lease.age, latest.get("claimed"), latest.get("device"),
            )
        )  # fmt: skip

    def _remembered(
        self, trial: TrialFolder, result: TrialResult | TrialOutcome, metric: str, digest: str | None
    ) -> Finished:
        time = result.get("time")
        # The first is that of the last attempt alone, the second that of all, without what surrounds a training.
        seconds = None if time is None else max(float(time["attempt_seconds"]), float(time["train_seconds"]))
        used = recorded(result) or spent(trial.attempts(), finished=True)
        failure = None
        if result["status"] == "failed":
            title = f"{self._study} {trial.stage} {trial.name}"
            failure = Failure(title, str(result.get("cause")), one_line(str(result.get("message"))))
        span = None
        if time is not None and "started" in time and "ended" in time:
            span = float(time["started"]), float(time["ended"])
        steps = int(result.get("steps") or 0)
        return Finished(result["status"], score_in(result, metric), failure, seconds, used, steps, span, digest)
