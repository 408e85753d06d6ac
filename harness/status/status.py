"""All that can be said of a run while it goes on: its trials, its workers and its report."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from harness.run.directory import RunDirectory
from harness.status.devices import DeviceUse, device_use, gpus_here
from harness.status.evaluations import EvaluationReader, EvaluationState
from harness.status.workers import WorkerCounts, WorkerReader
from harness.studies.overview import RunOverview, StudyOverview
from harness.studies.reading import RunReader, clock
from harness.work.reporting import shows_results

ReportState = Literal["none", "current", "outdated"]


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run at one moment."""

    path: Path
    at: float
    """Seconds since the epoch, by this machine's clock."""
    overview: RunOverview
    workers: WorkerCounts
    report: ReportState
    report_page: Path
    devices: DeviceUse | None
    """None before the first trial begins."""
    gpus: list[int] | None
    """How busy each GPU of this machine is, in percent; None where that cannot be told, or no trial uses them."""
    evaluations: tuple[EvaluationState, ...] = ()

    @property
    def expected_end(self) -> float | None:
        """Seconds since the epoch; None where nothing tells, or when nothing is left."""
        seconds = self.overview.seconds_left
        over = self.overview.complete or self.overview.exhausted
        return None if seconds is None or over else self.at + seconds

    @property
    def damaged(self) -> list[str]:
        """Files that cannot be read."""
        return [*(path for part in self.overview.parts for path in part.damaged), *self.workers.damaged]

    def to_json(self) -> dict[str, object]:
        """The same facts as plain data; keys are added in later versions, never renamed."""
        overview = self.overview
        return {
            "run": str(self.path),
            "name": overview.name,
            "time": self.at,
            "complete": overview.complete,
            "halted": overview.halted,
            "trials": {
                key: sum(_counts(part)[key] for part in overview.parts)
                for key in ("total", "done", "pruned", "running", "failed", "interrupted", "left")
            },
            "studies": [{**_row(part), "blocked": part.name in overview.blocked} for part in overview.studies],
            "sources": [_row(part) for part in overview.sources],
            "failures": [
                {"cause": example.cause, "count": count, "trial": example.trial, "message": example.message}
                for count, example in overview.failures()
            ],
            "running": [asdict(trial) for trial in overview.running],
            "ledger": [_used(part) for part in overview.parts],
            "budget": {
                "device_hours": None if overview.cap is None else overview.cap / 3600,
                "used_device_hours": overview.spent / 3600,
                "exhausted": overview.exhausted,
            },
            "devices": None if self.devices is None else {**asdict(self.devices), "share": self.devices.share},
            "gpus_here": self.gpus,
            "seconds_left": overview.seconds_left,
            "expected_end": self.expected_end,
            "workers": [asdict(worker) for worker in self.workers.states],
            "slurm_trouble": self.workers.trouble,
            "cancelled": self.workers.cancelled,
            "no_job_left": self.workers.gone,
            "command": self.workers.command,
            "evaluations": [one.to_json() for one in self.evaluations],
            "report": {"state": self.report, "page": str(self.report_page)},
            "leftovers": list(overview.leftovers),
            "damaged": self.damaged,
        }


class StatusReader:
    """Reads all that can be said of a run, again and again.

    Args:
        run: the run directory.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run, self._runs, self._workers = run, RunReader(run), WorkerReader(run)
        self._evaluations = EvaluationReader(run)

    def read(self) -> RunStatus:
        """The run as it is now.

        Raises:
            RequestError: no sweep was begun there, or what says what it is cannot be read.
        """
        self._run.require()
        now = clock(self._run.path)
        overview = self._runs.read(now)
        report = self._report()
        over = (overview.complete or overview.exhausted) and report == "current"
        workers = self._workers.read(overview.running, now, over)
        return RunStatus(
            path=self._run.path,
            at=time.time(),
            overview=overview,
            workers=workers,
            report=report,
            report_page=self._run.report_page,
            devices=device_use(overview, now),
            gpus=gpus_here(overview.running),
            evaluations=self._evaluations.read(overview),
        )

    def _report(self) -> ReportState:
        if shows_results(self._run, self._runs.seen()):
            return "current"
        return "outdated" if self._run.report_state.exists() else "none"


def _counts(part: StudyOverview) -> dict[str, int]:
    return {
        "total": part.total,
        "done": part.done,
        "pruned": part.pruned,
        "running": len(part.running),
        "failed": part.failed,
        "interrupted": part.interrupted,
        "left": part.left,
    }


def _used(part: StudyOverview) -> dict[str, str | float]:
    ledger, spent = part.ledger, part.ledger.spent
    return {
        "name": part.name,
        "slots": ledger.slots,
        "slots_begun": ledger.slots_begun,
        "known_before": ledger.known_before,
        "trials": ledger.trials,
        "failed": part.failed,
        "pruned": ledger.pruned,
        "steps": ledger.steps,
        "attempts": spent.attempts,
        "interrupted": spent.interrupted,
        "died": spent.died,
        "device_seconds": spent.seconds,
        "lost_seconds": spent.lost_seconds,
    }


def _row(part: StudyOverview) -> dict[str, str | float | None]:
    return {"name": part.name, **_counts(part), "metric": part.metric, "best": part.best, "complete": part.complete}
