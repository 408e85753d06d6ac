"""Run the trials behind a number again and compare: ``python -m analysis.reproduce RUN CELL``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.arguments import add_reuse_arguments, parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, run_command

if TYPE_CHECKING:
    import torch

    from harness.run.cells import CellName
    from harness.run.directory import RunDirectory
    from harness.run.trial import TrialFolder

_EPILOG = """
CELL is METHOD@DATASET (all its confirm trials) or METHOD@DATASET:SEED (one of them), with the labels of the sweep file.
On the same kind of device with as many threads a CPU gives the same bits again. Elsewhere the largest difference tells
how far apart the trials are.
exit codes: 0 all identical, 1 some differ, 2 the request was wrong
"""


def _wanted(run: RunDirectory, cell: CellName) -> list[tuple[int, TrialFolder]]:
    """The recorded trials to repeat, by seed."""
    from harness.pages.contents import ranges
    from harness.run.cells import confirm_trials, searches_by_cell, without_result

    (name,) = cell.studies
    folders = {
        trial.replicate.seed: trial.folder
        for trial in confirm_trials(searches_by_cell(run)[cell.methods[0], cell.dataset])
    }
    results = {seed: folder.result() for seed, folder in folders.items() if folder.finished}
    done = [seed for seed, result in results.items() if result["status"] == "done"]
    if cell.seed is not None and cell.seed not in done:
        state = "no confirm seed of it"
        if cell.seed in folders:
            result = results.get(cell.seed)
            state = f"not done ({without_result(folders[cell.seed]) if result is None else result.get('cause')})"
        raise RequestError(f"CELL {name}: seed {cell.seed} is {state}; done: {ranges(done) or 'none'}")
    if not done:
        raise RequestError(f"CELL {name}: none of its confirm trials is done; there is nothing to repeat")
    return [(seed, folders[seed]) for seed in done if cell.seed in (None, seed)]


def reproduce(options: argparse.Namespace) -> int:
    """Carry out the command line."""
    from harness.core.console import Console
    from harness.core.files import TornFileError
    from harness.doctor.trial_files import examine
    from harness.pages.contents import device_in_words
    from harness.proof.rerun import compare, planned, repeat, what_changed
    from harness.run.cells import parse_cell
    from harness.run.directory import RunDirectory
    from harness.run.links import refuse_links
    from harness.run.trial import TrialFolder
    from harness.studies.study import Roots

    run, console = RunDirectory(options.run), Console(soft_wrap=True, markup=False, highlight=False)
    refuse_links(run)
    cell = _one_cell(parse_cell(run, options.cell), options.seed)
    wanted = _wanted(run, cell)
    for _, recorded in wanted:
        for finding in examine(recorded, thorough=False):
            raise TornFileError(finding.place)
    devices = {seed: recorded.result()["device"] for seed, recorded in wanted}
    device = _device(options.device, {facts["name"] for facts in devices.values()})
    roots = Roots.here(options.data_root)
    with _scratch(options.keep) as scratch:
        studies = planned(run, cell.methods[0], cell.dataset, roots, options.code, options.plugins)
        of_name = {study.name: study for study in studies}
        changed = what_changed(run, studies[0])
        for line in changed or ["code, data, settings and versions are as recorded"]:
            console.print(f"changed: {line}" if changed else line)
        different = 0
        for seed, recorded in wanted:
            study, again = of_name[recorded.path.parents[1].name], TrialFolder(scratch / recorded.name, "confirm")
            with console.status(f"seed {seed}"):
                repeat(study, recorded, again, run, device)
            problems = compare(recorded, again, study.search.metric)
            places = [device_in_words(one["name"], one["threads"]) for one in (devices[seed], again.result()["device"])]
            where = places[0] if places[0] == places[1] else f"recorded on {places[0]}, now {places[1]}"
            console.print(f"seed {seed}: {'different' if problems else 'identical'} ({where})")
            for problem in problems:
                console.print(f"  {problem}")
            different += bool(problems)
    console.print(f"{len(wanted) - different} of {len(wanted)} trials identical, bit for bit")
    return EXIT_SOME_FAILED if different else EXIT_DONE


def _one_cell(cell: CellName, seed: int | None) -> CellName:
    if len(cell.methods) > 1:
        raise RequestError(f"CELL: a difference is not run again as such; reproduce {' and '.join(cell.studies)}")
    if seed is None:
        return cell
    if cell.seed not in (None, seed):
        raise RequestError(f"--seed {seed}: CELL names seed {cell.seed}; give one of the two")
    return replace(cell, seed=seed)


def _device(given: str | None, recorded: set[str]) -> torch.device:
    """The device that was asked for, else the first of the kind that the trials ran on, else the CPU."""
    from harness.train.device import usable_device

    return usable_device("cpu" if given is None and recorded == {"cpu"} else given)


@contextmanager
def _scratch(keep: Path | None) -> Iterator[Path]:
    """An empty folder, which is removed afterwards unless it was asked for by name."""
    from harness.core.refusals import leaving_nothing

    if keep is None:
        with tempfile.TemporaryDirectory(prefix="gpaf-reproduce-") as folder:
            yield Path(folder)
        return
    with leaving_nothing(keep):
        try:
            keep.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise RequestError(f"--keep {keep}: not a folder; choose another") from error
        if any(keep.iterdir()):
            raise RequestError(f"--keep {keep}: not empty; choose a new folder")
        yield keep.absolute()


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m analysis.reproduce``."""
    result = argparse.ArgumentParser(
        prog="python -m analysis.reproduce",
        description="Run the confirm trials behind a number again, with the recorded configuration, seed and split, "
        "and compare metrics, learning curves and predictions with the recorded ones.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("run", type=user_path, metavar="RUN", help="the run directory; it is only read")
    result.add_argument("cell", metavar="CELL", help="what to repeat, see below")
    result.add_argument("--seed", type=int, metavar="N", help="repeat only this confirm seed")
    result.add_argument(
        "--keep", type=user_path, metavar="DIR", help="keep the repeated trials here (default: remove them)"
    )
    add_reuse_arguments(result, device="the kind that the trials ran on")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = parse(parser(), argv)
    return run_command(lambda: reproduce(options))


if __name__ == "__main__":
    sys.exit(main())
