"""How a sweep stands, read from its run directory, and a display of it that is refreshed in place."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from harness.scheduler import Scheduler
from harness.store import TrialFolder
from harness.study_state import StudyState

PLAIN_SECONDS = 15.0
"""How often a line is printed where the output is no terminal."""


@dataclass(frozen=True, slots=True)
class StudyCounts:
    """Trials of a study by state."""

    name: str
    total: int
    done: int
    failed: int
    running: int
    best: float | None
    """Best validation score so far, as the metric is read (not signed)."""

    @property
    def left(self) -> int:
        """Trials that nobody has finished yet."""
        return self.total - self.done - self.failed


@dataclass(frozen=True, slots=True)
class RunningTrial:
    """A trial that a living worker holds."""

    title: str
    epoch: int
    epochs: int


def count(state: StudyState) -> tuple[StudyCounts, list[RunningTrial]]:
    """Counts of a study, and its running trials."""
    study = state.study
    finished = state.finished()
    failed = sum(result["status"] != "done" for result in finished)
    running = [
        RunningTrial(f"{study.name} {folder.stage} {folder.name}", len(folder.curve()), study.train.epochs)
        for folder in unfinished(state)
        if (view := folder.lease()) is not None and not view.dead
    ]
    metric = study.search.metric
    slots = [asked for slot in range(study.slots) if (asked := state.asked(slot)) is not None]
    scores = [asked.score for asked in slots if asked.score is not None]
    best = None
    if scores:
        from harness.metrics import METRICS

        best = max(scores) * (1 if METRICS[metric] else -1)
    counts = StudyCounts(study.name, state.total(), len(finished) - failed, failed, len(running), best)
    return counts, running


def unfinished(state: StudyState) -> list[TrialFolder]:
    """Trials of a study that were claimed and have no result yet."""
    return [folder for folder in state.folders() if state.result(folder) is None and folder.claimed]


class Display:
    """Shows studies as rows, running trials with their epochs, and the time left.

    On a terminal it is refreshed in place; elsewhere it is a line now and then.
    """

    def __init__(self, scheduler: Scheduler, workers: int, console: Console) -> None:
        self._scheduler, self._workers, self._console = scheduler, max(1, workers), console
        self._live = Live(console=console, refresh_per_second=4, transient=False) if console.is_terminal else None
        self._started = time.monotonic()
        self._at_start: float | None = None
        self._last_line = -PLAIN_SECONDS
        self._bar = Progress(
            TextColumn("trials"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
        )
        self._task: TaskID = self._bar.add_task("trials", left="")

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.refresh(last=True)
        if self._live is not None:
            self._live.stop()

    def refresh(self, last: bool = False) -> None:
        """Read the run directory and show what it says."""
        rows, running = [], []
        for state in self._scheduler.states:
            counts, trials = count(state)
            rows.append(counts)
            running.extend(trials)
        finished = sum(row.done + row.failed for row in rows)
        total = sum(row.total for row in rows)
        left = self._time_left(finished + sum(trial.epoch / trial.epochs for trial in running), total)
        if self._live is not None:
            self._bar.update(self._task, completed=finished, total=total, left=left)
            self._live.update(Group(_table(rows), *_running_lines(running), self._bar))
        elif last or time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self._last_line = time.monotonic()
            failed = sum(row.failed for row in rows)
            self._console.print(
                f"{finished}/{total} trials done, {failed} failed, {len(running)} running{left and '; ' + left}"
            )

    def _time_left(self, done: float, total: int) -> str:
        if self._at_start is None:
            self._at_start = done
        gained = done - self._at_start
        if gained < 0.5 or done >= total:
            return ""
        seconds = (total - done) * (time.monotonic() - self._started) / gained
        return f"about {_duration(seconds)} left"


def _table(rows: Sequence[StudyCounts]) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    table.add_column("study", overflow="ellipsis", no_wrap=True)
    for column in ("done", "run", "fail", "left", "best val"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        best = "" if row.best is None else f"{row.best:.4f}"
        table.add_row(row.name, str(row.done), str(row.running), str(row.failed), str(row.left), best)
    return table


def _running_lines(running: Sequence[RunningTrial]) -> list[RenderableType]:
    bar = Progress(TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("epoch"), MofNCompleteColumn())
    for trial in running:
        bar.add_task(trial.title, completed=trial.epoch, total=trial.epochs)
    return [bar] if running else []


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
