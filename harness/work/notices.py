"""Telling the user what became of a sweep, by a command of the user's own: ``launch.notify``.

Whoever sees it first tells it, mostly a worker, because on a cluster nobody else is there. A file of the run directory
is made first, so that nothing is told twice; a command that fails is one line on standard error and nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from harness.core.errors import RequestError, one_line, shortened
from harness.core.identity import canonical_hash
from harness.core.output import complain
from harness.run.answer import answer
from harness.run.study_folder import StudyName
from harness.studies.halt import REMEDY

if TYPE_CHECKING:
    from harness.run.directory import RunDirectory
    from harness.run.trial import TrialFolder
    from harness.run.trial_records import TrialResult
    from harness.work.scheduler import Scheduler

SECONDS = 30.0
"""A command that takes longer is killed."""
_LONGEST = 2000
"""Characters of a message: a variable of the environment must not be too long."""


class Notices:
    """Tells what became of a sweep.

    Args:
        run: the run directory.
        sweep: name of the sweep.
        command: the user's, by its words; nothing is told where there is none.
    """

    def __init__(self, run: RunDirectory, sweep: str, command: Sequence[str]) -> None:
        self._run, self._sweep, self._command = run, sweep, list(command)

    def failed(self, trial: TrialFolder, result: TrialResult) -> None:
        """Tell of a trial that failed for good, unless one of its method has done so by the same cause before.

        Args:
            trial: its folder.
            result: what came out.
        """
        method = "" if trial.stage == "source" else StudyName.of(trial.path.parent.parent.name).method
        place = trial.path.relative_to(self._run.path).as_posix()
        cause, said = str(result["cause"]), str(result["message"])
        facts: dict[str, object] = {"trial": place, "method": method, "cause": cause, "error": said}
        key = canonical_hash([method, cause])[:16]
        self._tell("failed", key, f"{place} failed for good: {cause}: {said}", facts)

    def ended(self, scheduler: Scheduler) -> None:
        """Tell that nothing is left to do, once for each state of the results; what failed and was not told first."""
        if self._command:
            try:
                self._ended(scheduler)
            except (OSError, RequestError) as error:
                _complain("the end", str(error))

    def _ended(self, scheduler: Scheduler) -> None:
        results = dict(_results(scheduler))
        failures = {trial: result for trial, result in results.items() if result["status"] == "failed"}
        for trial, result in failures.items():
            self.failed(trial, result)
        total = sum(state.progress.total() for state in scheduler.states)
        stopped = scheduler.halted()
        why = f"{stopped}; {REMEDY}" if stopped is not None else scheduler.exhausted()
        facts: dict[str, object] = {"trials": total, "failed_trials": len(failures), "answer": answer(self._run)}
        if self._run.report_page.exists():
            facts["report"] = str(self._run.report_page)
        known = sorted(
            [trial.path.relative_to(self._run.path).as_posix(), result["status"], result.get("time")]
            for trial, result in results.items()
        )
        key = canonical_hash([known, why])[:16]
        if why is not None:
            self._tell("halted", key, f"stopped: {why}", facts)
        else:
            failed = f", {len(failures)} of them failed" if failures else ""
            self._tell("finished", key, " ".join([f"finished: {total} trials{failed}.", *answer(self._run)]), facts)

    def _tell(self, event: str, key: str, message: str, facts: dict[str, object]) -> None:
        try:
            if self._command and self._run.first_to_tell(f"{event}-{key}"):
                trouble = self._said(event, shortened(one_line(f"{self._sweep}: {message}"), _LONGEST), facts)
                if trouble:
                    _complain(event, trouble)
        except OSError as error:
            _complain(event, str(error))

    def _said(self, event: str, message: str, facts: dict[str, object]) -> str:
        """Run the command; what went wrong, in words."""
        known = {"event": event, "sweep": self._sweep, "run": str(self._run.path), "message": message}
        variables = {f"GPAF_BENCH_{name.upper()}": value for name, value in known.items()}
        process = subprocess.Popen(
            self._command,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.communicate(json.dumps({**known, **facts}).encode(), timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return f"{self._command[0]} took longer than {SECONDS:.0f} s and was ended"
        finally:
            # With all that it has started, also where this process is told to end.
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return f"{self._command[0]} ended with exit code {process.returncode}" if process.returncode else ""


def _results(scheduler: Scheduler) -> Iterator[tuple[TrialFolder, TrialResult]]:
    """Each finished trial, and what came out."""
    for state in scheduler.states:
        for place in state.progress.trials():
            result = state.results.find(place)
            if result is not None:
                yield state.results.folder.trial(place), result


def _complain(event: str, trouble: str) -> None:
    complain(f"note: launch.notify ({event}): {one_line(trouble)}")
