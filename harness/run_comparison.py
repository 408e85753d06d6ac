"""Whether two run directories hold the same results, bit for bit, and whether a run did anything twice."""

from __future__ import annotations

from typing import Any

from harness.store import RunDirectory, TrialFolder

VARYING = ("time", "memory", "device", "spent")
"""Parts of a result that depend on the machine and the moment."""


def run_differences(first: RunDirectory, second: RunDirectory) -> list[str]:
    """Every difference in trials, configurations, metrics, curves, predictions and choices, a line each.

    Two runs without any trial are no two equal runs: that is a line as well.
    """
    trials = [{str(trial.path.relative_to(run.path)): trial for trial in run.trials()} for run in (first, second)]
    lines = [f"{name}: only in one run" for name in sorted(trials[0].keys() ^ trials[1].keys())]
    for name in sorted(trials[0].keys() & trials[1].keys()):
        lines += [f"{name}: {what} differ" for what in trial_differences(trials[0][name], trials[1][name])]
    if not any(trials):
        lines.append(f"{first.path}, {second.path}: no trials to compare")
    for study in first.studies():
        if study.chosen() != second.study(study.name).chosen():
            lines.append(f"{study.name}: chosen configurations differ")
    return lines


def trial_differences(first: TrialFolder, second: TrialFolder) -> list[str]:
    """What differs between two trials; exact comparison, floats included."""
    parts = []
    if first.request() != second.request():
        parts.append("requests")
    if not (first.finished and second.finished):
        return [*parts, "results (one is missing)"]
    if _invariant(first.result()) != _invariant(second.result()):
        parts.append("results")
    if first.curve() != second.curve():
        parts.append("curves")
    if _decided(first) != _decided(second):
        parts.append("decisions")
    confirmed = first.stage == "confirm" and first.result()["status"] == "done"
    if confirmed and not first.predictions().equals(second.predictions()):
        parts.append("predictions")
    return parts


def repeated_work(run: RunDirectory) -> list[str]:
    """Trials that were finished by more than one attempt, or that were never finished, a line each."""
    lines = []
    for trial in run.trials():
        name = str(trial.path.relative_to(run.path))
        finished = sum(attempt.get("released") == "finished" for attempt in trial.attempts())
        if finished > 1:
            lines.append(f"{name}: finished {finished} times")
        if not trial.finished:
            lines.append(f"{name}: never finished")
    return lines


def _decided(trial: TrialFolder) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in trial.decisions()]


def _invariant(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key not in VARYING}
