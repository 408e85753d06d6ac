"""Whether two run directories hold the same results, bit for bit, and whether a run did anything twice.

Nothing that a run directory can hold makes the comparison raise: what is missing, torn or unreadable is a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import RequestError, one_line
from harness.core.files import TornFileError, open_stream
from harness.run.directory import RunDirectory
from harness.run.study_folder import StudyFolder
from harness.run.study_records import ChoiceRecord
from harness.run.trial import TrialFolder
from harness.run.trial_records import CurveLine

VARYING = ("time", "memory", "device", "spent", "files")
"""Parts of a result that depend on the machine and the moment."""
SHOWN = 160
"""Characters of a message in a line."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What one run has of something."""

    value: Any = None
    problem: str | None = None
    """Why it cannot be compared: missing, or why it cannot be read."""

    @property
    def missing(self) -> bool:
        return self.problem == "missing"


def run_differences(first: RunDirectory, second: RunDirectory) -> list[str]:
    """Every difference in trials, configurations, metrics, curves, predictions, weights and choices, a line each.

    Two runs without any trial are no two equal runs: that is a line as well.
    """
    lines: list[str] = []
    found = []
    for run in (first, second):
        listed, problems = _listed(run)
        found.append(listed)
        lines += problems
    trials = [{name: trial for name, trial in one.items() if isinstance(trial, TrialFolder)} for one in found]
    studies = [{name: study for name, study in one.items() if isinstance(study, StudyFolder)} for one in found]
    for one, other, run in ((found[0], found[1], first), (found[1], found[0], second)):
        lines += [f"{name}: only in one run ({run.path})" for name in sorted(one.keys() - other.keys())]
    for name in sorted(trials[0].keys() & trials[1].keys()):
        lines += [f"{name}: {what} differ" for what in trial_differences(trials[0][name], trials[1][name])]
    if not any(trials):
        lines.append(f"{first.path}, {second.path}: no trials to compare")
    for name in sorted(studies[0].keys() & studies[1].keys()):
        lines += [f"{name}: {what} differ" for what in _study_differences(studies[0][name], studies[1][name])]
    return lines


def trial_differences(first: TrialFolder, second: TrialFolder) -> list[str]:
    """What differs between two trials, in words that "differ" may follow; exact comparison, floats included."""
    both = (first, second)
    requests = _both(both, lambda trial: trial.request())
    results = _both(both, lambda trial: trial.result())
    parts = _compared("requests", *requests)
    parts += _compared_results(*results)
    if any(result.missing for result in results):
        # What a trial that never ended has written so far depends on the moment.
        return parts
    done = [result.problem is None and result.value["status"] == "done" for result in results]
    parts += _compared("curves", *_both(both, _curve), may_lack=not any(done))
    parts += _compared("decisions", *_both(both, _decisions))
    parts += _compared("schedules", *_both(both, lambda trial: trial.schedule()))
    if all(done) and first.stage == "confirm":
        parts += _compared("predictions", *_both(both, lambda trial: trial.predictions()), equal=_equal_tables)
        parts += _compared("predictions of evaluations", *_both(both, _evaluations), equal=_equal_evaluations)
    if all(done):
        parts += _compared("weights", *_both(both, _weights), may_lack=first.stage != "source")
    return parts


def repeated_work(run: RunDirectory) -> list[str]:
    """Trials that were finished by more than one attempt, or that were never finished, a line each."""
    listed, lines = _listed(run)
    for name, trial in listed.items():
        if not isinstance(trial, TrialFolder):
            continue
        attempts = _found(trial.attempts)
        if attempts.problem is not None:
            lines.append(f"{name}: its attempts cannot be read: {attempts.problem}")
        else:
            times = sum(attempt.get("released") == "finished" for attempt in attempts.value)
            if times > 1:
                lines.append(f"{name}: finished {times} times")
        finished = _found(lambda trial=trial: trial.finished)  # type: ignore[misc]
        if not finished.value:
            lines.append(f"{name}: never finished{f' ({finished.problem})' if finished.problem else ''}")
    return lines


def _listed(run: RunDirectory) -> tuple[dict[str, TrialFolder | StudyFolder], list[str]]:
    """Trials and studies of a run by their paths in it, and what could not be listed, a line each."""
    listed: dict[str, TrialFolder | StudyFolder] = {}
    problems = []
    folders = _found(run.study_folders)
    parts: list[tuple[str, Callable[[], Iterator[TrialFolder]]]] = [("sources", lambda: iter(run.sources()))]
    if folders.problem is None:
        for study in folders.value:
            listed[str(study.path.relative_to(run.path))] = study
            parts.append((str(study.path.relative_to(run.path)), study.every_trial))
    else:
        problems.append(f"{run.path}: its studies cannot be listed: {folders.problem}")
    for name, trials in parts:
        found = _found(lambda trials=trials: list(trials()))  # type: ignore[misc]
        if found.problem is not None:
            problems.append(f"{run.path}: trials of {name} cannot be listed: {found.problem}")
            continue
        listed |= {str(trial.path.relative_to(run.path)): trial for trial in found.value}
    return listed, problems


def _study_differences(first: StudyFolder, second: StudyFolder) -> list[str]:
    both = (first, second)
    parts = _compared("studies", *_both(both, lambda study: study.description()))
    return parts + _compared("chosen configurations", *_both(both, _chosen), may_lack=True)


def _chosen(study: StudyFolder) -> ChoiceRecord:
    choice = study.chosen()
    if choice is None:
        raise FileNotFoundError(study.chosen_path)
    return choice


def _compared_results(first: _Found, second: _Found) -> list[str]:
    if first.problem is not None or second.problem is not None:
        return _compared("results", first, second)
    if first.value["status"] != second.value["status"]:
        return [f"results (first: {_outcome(first.value)}; second: {_outcome(second.value)})"]
    return [] if _same(_invariant(first.value), _invariant(second.value)) else ["results"]


def _compared(
    name: str, first: _Found, second: _Found, may_lack: bool = False, equal: Callable[[Any, Any], bool] | None = None
) -> list[str]:
    """The name of something that differs, with what is wrong where it is missing or cannot be read."""
    if first.problem is None and second.problem is None:
        return [] if (equal or _same)(first.value, second.value) else [name]
    if first.missing and second.missing:
        return [] if may_lack else [f"{name} (missing in both runs)"]
    words = [
        f"{which}: {found.problem or _outcome(found.value)}" for which, found in (("first", first), ("second", second))
    ]
    return [f"{name} ({'; '.join(words)})"]


def _outcome(value: Any) -> str:
    """A result in a few words; of anything else, that it is there."""
    if not isinstance(value, Mapping) or "status" not in value:
        return "there"
    if value["status"] != "failed":
        return str(value["status"])
    return one_line(f"failed, {value.get('cause')}: {value.get('message')}")[:SHOWN]


def _both(folders: tuple[Any, Any], read: Callable[[Any], Any]) -> tuple[_Found, _Found]:
    first, second = (_found(lambda folder=folder: read(folder)) for folder in folders)  # type: ignore[misc]
    return first, second


def _found(read: Callable[[], Any]) -> _Found:
    """What a reader returns, or why it cannot: every way in which a file can be wrong is a difference, not an error."""
    from polars.exceptions import PanicException, PolarsError
    from safetensors import SafetensorError

    try:
        return _Found(read())
    except FileNotFoundError:
        return _Found(problem="missing")
    except TornFileError:
        return _Found(problem="torn")
    # Polars panics at some damaged files, and a panic is no ``Exception``.
    except (RequestError, OSError, ValueError, TypeError, PolarsError, PanicException, SafetensorError) as error:
        return _Found(problem=one_line(f"unreadable, {type(error).__name__}: {error}")[:SHOWN])


def _curve(trial: TrialFolder) -> list[CurveLine]:
    return _whole(trial.curve_path, trial.curve())


def _decisions(trial: TrialFolder) -> list[dict[str, object]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in trial.decisions()]


def _whole(path: Path, lines: list[Any]) -> list[Any]:
    """The lines of a file that must be there."""
    if not lines and not path.exists():
        raise FileNotFoundError(path)
    return lines


def _weights(trial: TrialFolder) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """The tensors of a kept network; the order of a file's metadata is no part of it."""
    from safetensors.numpy import load

    with open_stream(trial.model_path) as stream:
        tensors = load(stream.read())
    return {name: (str(tensor.dtype), tensor.shape, tensor.tobytes()) for name, tensor in tensors.items()}


def _evaluations(trial: TrialFolder) -> dict[str, Any]:
    names = dict.fromkeys(record["evaluation"] for record in trial.result().get("evaluations", ()))
    return {name: trial.evaluation(name) for name in names}


def _equal_evaluations(first: Any, second: Any) -> bool:
    return first.keys() == second.keys() and all(_equal_tables(first[name], second[name]) for name in first)


def _equal_tables(first: Any, second: Any) -> bool:
    return bool(first.schema == second.schema and first.equals(second))


def _same(first: Any, second: Any) -> bool:
    """Equality of JSON values to the last bit: NaN is NaN, and 0.0 is not -0.0."""
    return repr(_ordered(first)) == repr(_ordered(second))


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return [(key, _ordered(value[key])) for key in sorted(value)]
    return [_ordered(entry) for entry in value] if isinstance(value, list) else value


def _invariant(result: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in result.items() if key not in VARYING}
