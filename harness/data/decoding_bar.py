"""The progress of decoding, on a terminal."""

from __future__ import annotations

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from harness.core.console import Console


class DecodingBar:
    """A progress bar for each dataset that is decoded; nothing is shown for those that were decoded before."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("reading {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=console,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> DecodingBar:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def update(self, label: str, done: int, total: int) -> None:
        """Show how many images of a dataset are decoded."""
        if label not in self._tasks:
            self._tasks[label] = self._progress.add_task(label, total=total)
        self._progress.update(self._tasks[label], completed=done, total=total)
