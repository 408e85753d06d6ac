"""From a number of the report to what it was made of: ``python -m analysis.trace RUN CELL``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, RequestError, run_command

if TYPE_CHECKING:
    from analysis.runs.trials_of import TracedCell
    from harness.core.console import Console
    from harness.run.cells import CellName
    from harness.run.directory import RunDirectory

SCOPE = "retraining on this data, scored on this test set"
_NO_SCOPE = "none: replicates of different splits or searches are not independent, so their interval is in the report"
_CONFIDENCE = 0.95
_EPILOG = """
CELL is one of
  METHOD@DATASET         the number of one method on one dataset
  METHOD@DATASET:SEED    one trial of it
  FIRST,SECOND@DATASET   the difference of two methods, first minus second, paired by seed
with the labels of the sweep file, for example gpaf@isic2018, gpaf@isic2018:1000, gpaf,lora_c@isic2018.
exit codes: 0 done, 2 the request was wrong
"""


class TracedScore(TypedDict):
    """A mean and its interval, as ``trace`` tells it."""

    n: int
    undefined: int
    confidence: float
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None


class Trace(TypedDict):
    """What a number was made of, as ``trace`` tells it."""

    metric: str
    scope: str
    score: TracedScore
    differences: NotRequired[dict[int, float | None]]
    cells: list[TracedCell]


def trace(run: RunDirectory, cell: CellName) -> Trace:
    """What a number was made of, as plain data.

    Args:
        run: the run directory.
        cell: as ``parse_cell`` gives it.

    Returns:
        ``metric``, ``scope`` in words; ``score``: ``n`` (trials in it), ``undefined``, ``mean``, ``sd``, ``low``,
        ``high``, ``confidence`` (of Student's t over seeds; None where it does not exist); ``cells``, one or two as
        ``trials_of.cell_of`` describes; for a difference also ``differences``, seed → difference.

    Raises:
        RequestError: the seed is none of the cell's.
        TornFileError: a file of the run is not readable.
    """
    from analysis.runs.trials_of import cell_of

    cells = [cell_of(run, method, cell.dataset) for method in cell.methods]
    if cell.seed is not None:
        (only,) = cells
        trials = [trial for trial in only["trials"] if trial["seed"] == cell.seed]
        if not trials:
            from harness.pages.contents import ranges

            known = ranges([trial["seed"] for trial in only["trials"]]) or "none yet"
            raise RequestError(f"CELL {cell.studies[0]}:{cell.seed}: no such confirm seed; it has {known}")
        cells = [{**only, "trials": trials}]
    scores = [{trial["seed"]: trial["score"] for trial in one["trials"] if trial["status"] == "done"} for one in cells]
    metric = cells[0]["metric"]
    alike = not any(len({(trial["split"], trial["configuration"]) for trial in one["trials"]}) > 1 for one in cells)
    alike = alike and all(trial["split"] is None for one in cells for trial in one["trials"])
    scope = SCOPE if alike else _NO_SCOPE
    if len(cells) == 1:
        return {"metric": metric, "scope": scope, "score": _score(list(scores[0].values()), alike), "cells": cells}
    both = sorted(scores[0].keys() & scores[1].keys())
    differences = {seed: _less(scores[0][seed], scores[1][seed]) for seed in both}
    return {
        "metric": metric,
        "scope": scope,
        "score": _score(list(differences.values()), alike),
        "differences": differences,
        "cells": cells,
    }


def _less(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _score(values: Sequence[float | None], alike: bool) -> TracedScore:
    """Mean and interval; without a mean where a trial leaves the metric undefined, as in the report.

    Args:
        values: one a trial.
        alike: whether all are of one split and one configuration; else there is no interval.
    """
    known = [value for value in values if value is not None]
    found: TracedScore = {
        "n": len(known),
        "undefined": len(values) - len(known),
        "confidence": _CONFIDENCE,
        "mean": None,
        "sd": None,
        "low": None,
        "high": None,
    }
    if not known or found["undefined"]:
        return found
    import numpy as np

    from analysis.stats.estimate import mean_over_seeds

    found["mean"] = float(np.mean(known))
    if len(known) > 1:
        estimate = mean_over_seeds(np.array(known), _CONFIDENCE)
        found["sd"] = float(np.std(known, ddof=1))
        found |= {"low": estimate.low, "high": estimate.high} if alike else {}
    return found


def _show(cell: CellName, found: Trace, console: Console) -> None:
    metric = str(found["metric"]).replace("_", " ")
    title = " − ".join(cell.methods) + f" on {cell.dataset}"
    console.print(f"{title}: {_in_words(cell, found['score'], metric)}", style="bold")
    if "differences" in found:
        from harness.pages.contents import number

        pairs = ", ".join(f"{seed}: {number(value)}" for seed, value in found["differences"].items())
        console.print(f"Differences by seed: {pairs or 'no seed is done in both'}")
        console.print("The interval over seeds and cases, and the corrected p value, are in the report.")
    for one in found["cells"]:
        _show_cell(one, console)


def _in_words(cell: CellName, score: TracedScore, metric: str) -> str:
    from harness.pages.contents import number

    if score["undefined"]:
        return f"no mean of the test {metric}: undefined in {score['undefined']} trials"
    if score["mean"] is None:
        return "no trial is done yet"
    what = f"{'difference of the ' if len(cell.methods) > 1 else ''}test {metric} {number(score['mean'])}"
    if cell.seed is not None:
        return f"{what} (one trial, seed {cell.seed})"
    told = f"{what}, mean of {score['n']} seeds"
    if score["sd"] is not None:
        told += f", SD {number(score['sd'])}"
    if score["low"] is None:
        return told
    span = f"[{number(score['low'])}, {number(score['high'])}]"
    return f"{told}, {score['confidence']:.0%} t interval over seeds {span} ({SCOPE})"


def _show_cell(one: TracedCell, console: Console) -> None:
    from rich import box
    from rich.table import Table

    from analysis.runs.trials_of import choice_in_words, configurations, hyperparameters_in_words
    from harness.pages.contents import NOT_AVAILABLE, device_in_words, number

    choices, trials = one["choices"], one["trials"]
    console.print(f"\n{one['cell']} (plugin {one['plugin']})", style="bold")
    console.print(f"Commit: {one['commit'] or NOT_AVAILABLE}")
    if not choices:
        console.print("Nothing is chosen yet: the search goes on.")
        return
    for choice in choices:
        console.print(f"Chosen: {choice_in_words(choice, one['metric'])}")
    different = configurations(one)
    for configuration, hyperparameters in different.items():
        console.print(f"Configuration {configuration}: {hyperparameters_in_words(hyperparameters)}")
    own = ("Configuration",) if len(different) > 1 else ()
    head = ("Seed", *own, "Score", "Status", "Device", "Host", "Job", "Attempts", "Training s")
    table = Table(*head, box=box.SIMPLE_HEAD)
    for trial in trials:
        table.add_row(
            str(trial["seed"]) if trial["split"] is None else f"{trial['seed']}, split {trial['split']}",
            *([trial["configuration"]] if own else []),
            number(trial["score"]),
            trial["status"] if trial["cause"] is None else f"{trial['status']}: {trial['cause']}",
            device_in_words(trial["device"], trial["threads"]),
            trial["host"] or NOT_AVAILABLE,
            NOT_AVAILABLE if trial["job"] is None else str(trial["job"]),
            str(trial["attempts"]),
            number(trial["seconds"], 1),
        )
    console.print(table)
    for trial in trials:
        if trial["message"]:
            console.print(f"seed {trial['seed']} {trial['status']}: {trial['message']}")
    console.print("Logs:", *(f"  {trial['log']}" for trial in trials), sep="\n")


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m analysis.trace``."""
    result = argparse.ArgumentParser(
        prog="python -m analysis.trace",
        description="Trace a number of the report to its trials, configuration, commit, job and log.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("run", type=user_path, metavar="RUN", help="the run directory")
    result.add_argument("cell", metavar="CELL", help="what to trace, see below")
    result.add_argument("--json", action="store_true", help="print plain data instead of text")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = parse(parser(), argv)

    def command() -> int:
        from harness.run.cells import parse_cell
        from harness.run.directory import RunDirectory
        from harness.run.links import refuse_links

        run = RunDirectory(options.run)
        refuse_links(run)
        cell = parse_cell(run, options.cell)
        found = trace(run, cell)
        if options.json:
            print(json.dumps(found, indent=2))
        else:
            from harness.core.console import Console

            _show(cell, found, Console(soft_wrap=True, markup=False, highlight=False))
        return EXIT_DONE

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
