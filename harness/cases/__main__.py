"""Test images that all, none or only one method gets right: ``python -m harness.cases RUN DATASET --out FILE``.

Nothing is trained, and nothing is written into the run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.core.arguments import check_out, parse, user_path
from harness.core.errors import EXIT_DONE, RequestError, run_command, suggestion
from harness.core.output import complain, say

if TYPE_CHECKING:
    import polars as pl

    from harness.data.decoded import DecodedDataset
    from harness.run.directory import RunDirectory

_EPILOG = """
FILE ends in .html (a page with the images inside; the images of the dataset have to be on this machine) or in .csv or
.parquet (a row a case and method: how many replicates were tested on it, how many were right, what most of them say).
Looking at test images and changing a method afterwards uses the test split up: see the page.
exit codes: 0 done, 2 the request was wrong
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.cases``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.cases",
        description="Show the test images that all methods, none, or only one of them gets right.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("run", type=user_path, metavar="RUN", help="run directory, which is only read")
    result.add_argument("dataset", metavar="DATASET", help="label of a dataset of the run")
    result.add_argument("--out", required=True, type=user_path, metavar="FILE", help=".html, .csv or .parquet")
    result.add_argument("--code", action="store_true", help="import the plugins that the run names, if you trust it")
    result.add_argument(
        "--plugins", action="append", default=[], type=user_path, metavar="DIR",
        help="import the plugins of this folder in place of those that the run names; may be repeated",
    )  # fmt: skip
    result.add_argument("--data-root", type=user_path, metavar="DIR", help="folder of the raw archives")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parse(parser(), argv)
    return run_command(lambda: cases(arguments))


def cases(arguments: argparse.Namespace) -> int:
    """Carry out the command line."""
    from harness.cases.agreement import agreement
    from harness.core.files import write_atomic
    from harness.core.frame_files import write_table
    from harness.run.directory import RunDirectory
    from harness.run.links import refuse_links

    run = RunDirectory(arguments.run)
    run.require()
    refuse_links(run)
    check_out(arguments.out, run.path, (".html", ".csv", ".parquet"))
    predictions = _predictions(run, arguments.dataset)
    judged = agreement(predictions)
    if judged.is_empty():
        raise RequestError(f"{arguments.dataset}: no test image was given to every method, so nothing can be compared")
    tested = {case for frames in predictions.values() for frame in frames for case in frame["case_id"]}
    left_out = len(tested) - judged["case_id"].n_unique()
    if arguments.out.suffix.lower() == ".html":
        from harness.cases.sheet import sheet

        data = _images(run, arguments)
        write_atomic(arguments.out, sheet(arguments.dataset, judged, list(predictions), data, left_out).encode())
    else:
        write_table(judged, arguments.out)
    counts = judged.unique("case_id")["kind"].value_counts(sort=True)
    for kind, number in counts.iter_rows():
        say(f"{number:6,} right by {kind}")
    if left_out:
        complain(f"note: {left_out:,} tested images are left out: not every method was tested on them")
    say(str(arguments.out))
    return EXIT_DONE


def _predictions(run: RunDirectory, dataset: str) -> dict[str, list[pl.DataFrame]]:
    """Method → test predictions of its replicates that are done; methods in the order of the sweep file."""
    from harness.run.cells import confirm_trials, searches_by_cell

    spec, searches = run.spec(), searches_by_cell(run)
    known = {name for _, name in searches}
    if dataset not in known:
        raise RequestError(f"{dataset!r} is none of the datasets of {run.path}{suggestion(dataset, known)}")
    found, absent = {}, []
    for method in spec["methods"]:
        done = [
            one.folder.predictions()
            for one in confirm_trials(searches.get((method, dataset), ()))
            if one.folder.finished and one.folder.result()["status"] == "done"
        ]
        if done:
            found[method] = done
        else:
            absent.append(method)
    if not found:
        raise RequestError(f"{dataset}: no confirm trial is done yet; run the sweep command again")
    if "label" not in next(iter(found.values()))[0].columns:
        raise RequestError(
            f"{dataset}: an image may bear several classes, and right or wrong is said of one class alone"
        )
    if absent:
        complain(f"note: no confirm trial is done yet of {', '.join(absent)}")
    return found


def _images(run: RunDirectory, arguments: argparse.Namespace) -> DecodedDataset:
    """The decoded dataset as the run has it."""
    from harness.spec.sections import SweepSpec
    from harness.studies.reopened import reopened
    from harness.studies.study import Roots

    # What models are scored on further is no matter here, and need not be on this machine.
    spec = SweepSpec.model_validate({**run.spec(), "evaluate": []})
    roots = Roots.here(arguments.data_root)
    studies = reopened(run, spec, roots, arguments.code, arguments.plugins, [arguments.dataset])
    return studies[0].dataset.data


if __name__ == "__main__":
    sys.exit(main())
