"""A run's state in a terminal: tables of studies and running trials, and a summary in words."""

from __future__ import annotations

import time

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.launch.display import cut_off, duration, study_table
from harness.status.status import RunStatus
from harness.studies.halt import REMEDY
from harness.studies.overview import RunningTrial

MOST_LISTED = 5
"""Workers of one state, and damaged files, that are named one by one."""


def details(found: RunStatus) -> list[RenderableType]:
    """Studies and backbones as rows, then the running trials."""
    overview = found.overview
    running = overview.running
    shown: list[RenderableType] = [study_table(overview.parts)]
    if running:
        shown += ["", _running(running)]
    return shown


def summary(found: RunStatus, cut: bool = False) -> list[RenderableType]:
    """What matters most, a line each.

    Args:
        found: how the run stands.
        cut: cut lines off at the terminal's edge, but for those with a command that is to be given.
    """
    # Not as markup: a message may hold brackets.
    commands = [found.workers.command, *(one.command for one in found.evaluations)]
    return [
        cut_off(line) if cut and not any(one and one in line for one in commands) else Text(line)
        for line in sentences(found)
    ]


def sentences(found: RunStatus) -> list[str]:
    """What matters most, in words."""
    overview = found.overview
    parts = overview.parts
    done, failed = sum(part.done for part in parts), sum(part.failed for part in parts)
    waiting = sum(part.interrupted for part in parts)
    pruned = sum(part.pruned for part in parts)
    ended = f"{pruned} of them pruned, " if pruned else ""
    counts = f"{done + failed}/{sum(part.total for part in parts)} trials done, {ended}{failed} failed"
    counts += f", {len(overview.running)} running" + (f", {waiting} interrupted" if waiting else "")
    lines = [f"{overview.name}: {counts}", *_failures(found)]
    for part in overview.studies:
        if part.name in overview.blocked:
            why = "its backbone could not be trained" if part.leader is None else f"{part.leader} has chosen nothing"
            lines.append(f"blocked: {part.name}: {why}")
    for name in overview.leftovers:
        lines.append(f"not counted: {name} is not in the sweep file any more")
    lines += [f"damaged: {path}" for path in found.damaged[:MOST_LISTED]]
    if found.damaged:
        lines.append("damaged files are set aside and computed again by the sweep command with --repair")
    lines += [one.words for one in found.evaluations]
    return [*lines, *_budget(found), *_devices(found), *_workers(found), _end(found), _report(found)]


def _failures(found: RunStatus) -> list[str]:
    return [
        f"failed: {count} × {example.cause}, such as {example.trial}: {example.message}"
        for count, example in found.overview.failures()
    ]


def _workers(found: RunStatus) -> list[str]:
    workers = found.workers
    counts = ", ".join(f"{count} {state}" for state, count in workers.counts())
    lines = [f"workers: {counts or 'none'}"]
    # Those that run are seen by their trials.
    for state, count in workers.counts():
        if state == "running":
            continue
        named = [worker for worker in workers.states if worker.state == state][:MOST_LISTED]
        listed = ", ".join(f"{worker.id} ({worker.reason})" if worker.reason else worker.id for worker in named)
        lines.append(f"  {state}: {listed}" + (" …" if count > MOST_LISTED else ""))
    if workers.trouble is not None:
        lines.append(f"Slurm could not be asked: {workers.trouble}")
    if workers.cancelled:
        lines.append("cancelled: no more jobs are submitted until the sweep command is given again")
    if workers.gone:
        lines.append(_gone(found))
    return lines


def _gone(found: RunStatus) -> str:
    command = found.workers.command or "the sweep command"
    if found.overview.complete or found.overview.exhausted:
        return f"no job is left to write the report; write it with: {command}"
    left = sum(part.left for part in found.overview.parts)
    return f"no job is left, and {left} {'trial is' if left == 1 else 'trials are'} not done; go on with: {command}"


def _budget(found: RunStatus) -> list[str]:
    overview = found.overview
    if overview.cap is None:
        return []
    return [f"budget: {overview.spent / 3600:.3g} of {overview.cap / 3600:.3g} device-hours used"]


def _devices(found: RunStatus) -> list[str]:
    use = found.devices
    if use is None:
        return []
    since = duration(use.until - use.since)
    places = "one trial" if use.places == 1 else f"{use.places} trials"
    lines = [f"devices: at work {100 * use.share:.0f} % of {since}, {places} at a time at most"]
    if found.gpus is not None:
        lines.append(f"GPUs of this machine busy now: {', '.join(f'{percent} %' for percent in found.gpus)}")
    return lines


def _end(found: RunStatus) -> str:
    if found.overview.halted is not None:
        return f"stopped: {found.overview.halted}; {REMEDY}"
    if found.overview.complete:
        return "complete"
    if found.overview.exhausted:
        return "ended: budget exhausted; raise budget.device_hours and run the sweep command again to go on"
    if found.expected_end is None:
        why = "no trial is done yet" if found.overview.running else "no trial is running"
        return f"expected end: unknown ({why})"
    left = found.expected_end - found.at
    form = "%H:%M" if left < 12 * 3600 else "%a %d %b %H:%M"
    return f"expected end: {time.strftime(form, time.localtime(found.expected_end))} (in {duration(left)})"


def _report(found: RunStatus) -> str:
    return {
        "none": "report: not written yet",
        "current": f"report: {found.report_page}",
        "outdated": f"report: older than the results ({found.report_page})",
    }[found.report]


def _running(trials: list[RunningTrial]) -> Table:
    rows = [running_cells(trial) for trial in trials]
    shown = [place for place, name in enumerate(RUNNING) if name != "job" or any(row[place] for row in rows)]
    table = Table(box=None, pad_edge=False)
    table.add_column("running")
    for place in shown[1:]:
        table.add_column(RUNNING[place], justify="right", no_wrap=True)
    for row in rows:
        table.add_row(cut_off(row[0]), *(Text(row[place]) for place in shown[1:]))
    return table


RUNNING = ("study", "trial", "epoch", "host", "job", "try", "seen")
"""What is shown of a running trial: the last is how long ago its worker was heard of."""


def running_cells(trial: RunningTrial) -> tuple[str, ...]:
    """The values of ``RUNNING``."""
    epoch = str(trial.epoch) if trial.epochs is None else f"{trial.epoch}/{trial.epochs}"
    seen = f"{duration(trial.lease_age)} ago"
    return trial.study, trial.trial, epoch, trial.host, trial.job or "", str(trial.attempt), seen
