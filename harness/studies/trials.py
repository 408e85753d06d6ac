"""The trials of one study as a run's files show them, each read until it is finished."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.core.errors import one_line
from harness.core.files import TornFileError
from harness.core.lease import LeaseView
from harness.run.directory import TrialFolder
from harness.run.records import TrialOutcome, TrialResult
from harness.run.spent import Spent, recorded, spent
from harness.run.trial import digest as digest_of
from harness.studies.overview import Failure, Ledger, RunningTrial


class Finished(NamedTuple):
    """What is remembered of a result."""

    failure: Failure | None
    score: float | None
    seconds: float | None
    spent: Spent
    steps: int
    pruned: bool
    """Ended by the search at a rung."""
    span: tuple[float, float] | None
    """When its last attempt began and ended, seconds since the epoch."""
    digest: str | None
    """Of the file of the result, as ``trial_folder.digest`` has it; None where only its content was at hand."""


@dataclass
class Tally:
    """Sums over the trials of a study."""

    done: int = 0
    interrupted: int = 0
    running: list[RunningTrial] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)
    begun: int = 0
    pruned: int = 0
    steps: int = 0
    spent: Spent = field(default_factory=Spent)

    def ledger(self, others: Tally, slots: int, slots_begun: int, known_before: int = 0) -> Ledger:
        """What the study has used, its trials outside the comparison included."""
        return Ledger(
            slots,
            slots_begun,
            self.begun + others.begun,
            self.pruned + others.pruned,
            self.steps + others.steps,
            self.spent + others.spent,
            known_before,
        )


class Trials:
    """The trials of one study, each read until it is finished.

    Args:
        study: its name.
        read: results that were read before, by the path of the trial's folder.
    """

    def __init__(self, study: str, read: Mapping[str, TrialResult] | None = None) -> None:
        self._study, self._read = study, read or {}
        self._finished: dict[str, Finished] = {}
        self.damaged: list[str] = []

    def unread(self, trials: Iterable[TrialFolder]) -> list[TrialFolder]:
        """Those of which no result was seen yet."""
        return [trial for trial in trials if str(trial.path) not in self._finished]

    def result(self, trial: TrialFolder, metric: str) -> Finished | None:
        """What came out of a trial; None while it is not finished, or when its result is not readable."""
        key = str(trial.path)
        found = self._finished.get(key)
        if found is None:
            try:
                if key in self._read:
                    found = self._remembered(trial, self._read[key], metric, None)
                else:
                    _, content = trial.read_result()
                    found = self._remembered(trial, trial.outcome_in(content), metric, digest_of(content))
            except FileNotFoundError:
                return None
            except TornFileError as error:
                self.damaged.append(str(error.path))
                return None
            self._finished[key] = found
        return found

    def take(self, trial: TrialFolder, content: bytes, metric: str, digest: str) -> None:
        """Read the result of a trial from what its file holds; ``result`` says so where it is not readable."""
        with suppress(TornFileError):
            self._finished[str(trial.path)] = self._remembered(trial, trial.outcome_in(content), metric, digest)

    def digests(self) -> dict[str, str]:
        """The digest of each result that was read here, by the path of the trial's folder."""
        return {path: found.digest for path, found in self._finished.items() if found.digest is not None}

    def tally(self, trials: Iterable[TrialFolder], metric: str, epochs: int | None, now: float) -> Tally:
        """Sums over trials whose folders exist."""
        sums = Tally()
        for trial in trials:
            result = self.result(trial, metric)
            if result is None:
                self._add_unfinished(trial, epochs, now, sums)
                continue
            sums.begun += 1
            sums.pruned += result.pruned
            sums.steps += result.steps
            sums.spent += result.spent
            sums.spans += [result.span] if result.span is not None else []
            sums.done += result.failure is None
            sums.failures += [result.failure] if result.failure is not None else []
            sums.seconds += [result.seconds] if result.failure is None and result.seconds is not None else []
        return sums

    def _add_unfinished(self, trial: TrialFolder, epochs: int | None, now: float, sums: Tally) -> None:
        attempts = trial.attempts()
        if not attempts:
            return
        sums.begun += 1
        sums.spent += spent(attempts, finished=False)
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
        failure = score = None
        if result["status"] == "done":
            metrics = result.get("metrics")
            found = None if metrics is None else metrics.get("val", {}).get(metric)
            score = float(found) if isinstance(found, int | float) else None
        elif result["status"] == "failed":
            title = f"{self._study} {trial.stage} {trial.name}"
            failure = Failure(title, str(result.get("cause")), one_line(str(result.get("message"))))
        span = None
        if time is not None and "started" in time and "ended" in time:
            span = float(time["started"]), float(time["ended"])
        steps = int(result.get("steps") or 0)
        return Finished(failure, score, seconds, used, steps, result["status"] == "pruned", span, digest)
