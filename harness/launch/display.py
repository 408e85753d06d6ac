"""How a sweep stands, on a display that is refreshed in place."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from harness.core.console import Console
from harness.studies.overview import RunningTrial, StudyOverview, seconds_left
from harness.studies.reading import StudyReader, clock

if TYPE_CHECKING:
    from harness.work.scheduler import Scheduler

PLAIN_SECONDS = 15.0
"""How often a line is printed where the output is no terminal."""


class Display:
    """Shows studies as rows, running trials with their epochs, and the time left.

    On a terminal it is refreshed in place; elsewhere it is a line now and then.
    """

    def __init__(self, scheduler: Scheduler, workers: int, console: Console) -> None:
        self._console = console
        self._readers = [
            StudyReader(state.study.folder, state.study.repeat, state.results.read) for state in scheduler.states
        ]
        self._live = Live(console=console, refresh_per_second=4, transient=False) if console.is_terminal else None
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
        now = clock(self._readers[0].folder.path)
        rows = [row for reader in self._readers if (row := reader.read(now)) is not None]
        running = [trial for row in rows for trial in row.running]
        failed = sum(row.failed for row in rows)
        finished = failed + sum(row.done for row in rows)
        total = sum(row.total for row in rows)
        pruned = sum(row.pruned for row in rows)
        ended = f"{pruned} of them pruned, " if pruned else ""
        seconds = seconds_left(rows)
        left = f"about {duration(seconds)} left" if seconds else ""
        if self._live is not None:
            self._bar.update(self._task, completed=finished, total=total, left=left)
            self._live.update(Group(study_table(rows), *_running_lines(running), self._bar))
        elif last or time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(
                f"{finished}/{total} trials done, {ended}{failed} failed, {len(running)} running{left and '; ' + left}"
            )


def study_table(rows: Sequence[StudyOverview]) -> Table:
    """Studies as rows: trials by state, and the best validation score so far."""
    table = Table(box=None, pad_edge=False)
    # The one column that may become narrower; the numbers keep their room.
    table.add_column("study")
    for column in ("done", "run", "fail", "left", "best val"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        best = "" if row.best is None else f"{row.best:.4f}"
        table.add_row(cut_off(row.name), str(row.done), str(len(row.running)), str(row.failed), str(row.left), best)
    return table


def cut_off(name: str) -> Text:
    """A name on one line, cut off where its column is narrower; not markup, because a label may hold brackets."""
    return Text(name, no_wrap=True, overflow="ellipsis")


def _running_lines(running: Sequence[RunningTrial]) -> list[RenderableType]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), TextColumn("epoch"))
    bar = Progress(*columns, MofNCompleteColumn())
    for trial in running:
        bar.add_task(trial.title, completed=trial.epoch, total=trial.epochs)
    return [bar] if running else []


def duration(seconds: float) -> str:
    """A time span to two or three figures: ``40 s``, ``12 min``, ``3.4 h``, ``2.1 days``."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 1440:.1f} days"
