"""A run that is exported while its sweep goes on: what has changed since it was looked at last.

A look costs what one of ``harness.status`` does, and reads the request and curve of each trial that goes on. A finished
trial is read once, until the sweep is planned anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType

from rich.status import Status

from harness.core.console import Console
from harness.core.many_files import each
from harness.export.contract import ExportedRun
from harness.export.trials import ExportedTrial, read_trial
from harness.run.directory import PlanToken, RunDirectory
from harness.run.index import ResultIndex
from harness.run.study_folder import StudyFolder
from harness.run.trial import TrialFolder
from harness.studies.overview import RunOverview
from harness.studies.reading import RunReader, Seen, clock

PLAIN_SECONDS = 60.0
"""How often a line is printed where the output is no terminal."""


class FollowedRun(ExportedRun):
    """A run of which ``trials`` gives what is new or has changed since it was given last.

    Args:
        directory: the run directory.
        stop: no further trial is given once it is set.
    """

    def __init__(self, directory: RunDirectory, stop: threading.Event) -> None:
        super().__init__(directory)
        self._stop, self._reader, self._index = stop, RunReader(directory), ResultIndex(directory)
        self._seen = Seen({}, {})
        self._plan: PlanToken | None = None
        self._states: dict[str, str] = {}
        self._finished: set[str] = set()

    def look(self) -> RunOverview:
        """How the run stands; ``trials`` then gives what has changed by now.

        Raises:
            RequestError: no sweep was begun there, or what says what it is cannot be read.
        """
        plan = self.directory.plan()
        if plan != self._plan:
            # Trials may have been set aside, after which others take their places.
            self._finished, self._plan = set(), plan
        overview = self._reader.read(clock(self.directory.path))
        self._seen = self._reader.seen()
        return overview

    def _read(self) -> Iterator[ExportedTrial]:
        for study in self.directory.studies():
            # Studies that are not in the sweep file any more are not among those that were seen.
            listed = self._seen.listed.get(study.name)
            folders = [
                folder
                for folder in (study.every_trial() if listed is None else listed)
                if str(folder.path) not in self._finished
            ]
            for folder, trial in zip(folders, self._trials(study, folders), strict=True):
                path = str(folder.path)
                if trial is not None and self._states.get(path) != trial.state:
                    yield trial
                    # Whoever has not written it gets it again.
                    self._states[path] = trial.state
                if trial is not None and trial.result is not None:
                    self._finished.add(path)
                if self._stop.is_set():
                    return

    def _trials(self, study: StudyFolder, folders: Sequence[TrialFolder]) -> list[ExportedTrial | None]:
        """Each trial as far as it is by now; None where it was not begun, or was set aside meanwhile."""
        results = self._index.results(folders)

        def read(folder: TrialFolder) -> ExportedTrial | None:
            try:
                return read_trial(study, folder, results.get(str(folder.path)))
            except FileNotFoundError:
                return None

        return each(read, folders)


class FollowLine:
    """One line on standard error that says how far the export is; elsewhere than on a terminal one now and then."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status = Status("", console=self._console) if self._console.is_terminal else None
        self._last: tuple[float, str] = (-PLAIN_SECONDS, "")

    def __enter__(self) -> FollowLine:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, overview: RunOverview, exported: int) -> None:
        """Say how the run stands, and how many trials were exported, unless nothing has changed."""
        total, left = (sum(getattr(part, name) for part in overview.parts) for name in ("total", "left"))
        line = f"{exported} trials exported; {total - left} of {total} finished, {len(overview.running)} running"
        shown, before = self._last
        if self._status is not None:
            self._status.update(line)
        elif line != before and time.monotonic() - shown >= PLAIN_SECONDS:
            self._last = time.monotonic(), line
            self._console.whole_line(line)
