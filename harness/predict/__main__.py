"""Predict new images with kept models: ``python -m harness.predict RUN CELL IMAGES --out FILE``.

Nothing is trained, and nothing is written into the run. Models are kept where the sweep file says ``confirm.keep``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.core.arguments import add_reuse_arguments, parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, run_command
from harness.core.output import complain, say

if TYPE_CHECKING:
    import polars as pl

    from harness.predict.images import NewImage
    from harness.predict.models import KeptCell, KeptModel

_EPILOG = """
CELL is METHOD@DATASET with the labels of the sweep file, such as gpaf@isic2018. All replicates that kept a model are
an ensemble: the mean of their probabilities. --replicate SEED takes one of them.
FILE has a row an image: file, the probability of each class (p_CLASS), predicted, models and error. Where an image may
bear several classes, each has a probability of its own, and predicted names those above 0.5.
exit codes: 0 every image is predicted, 1 some images could not be read, 2 the request was wrong, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.predict``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.predict",
        description="Predict the classes of new images with the models that a run kept; nothing is trained.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("run", type=user_path, metavar="RUN", help="run directory, which is only read")
    result.add_argument("cell", metavar="CELL", help="one method on one dataset, see below")
    result.add_argument(
        "images", type=user_path, metavar="IMAGES", help="a folder with what is below it, a zip archive, or one image"
    )
    result.add_argument("--out", required=True, type=user_path, metavar="FILE", help="table to write, .csv or .parquet")
    result.add_argument(
        "--replicate", type=int, metavar="SEED", help="predict with this replicate alone (default: all that were kept)"
    )
    result.add_argument(
        "--no-temperature", action="store_true",
        help="take probabilities as they are (default: scale logits by a number that fits the validation images)",
    )  # fmt: skip
    add_reuse_arguments(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parse(parser(), argv)
    return run_command(lambda: predict(arguments))


def predict(arguments: argparse.Namespace) -> int:
    """Carry out the command line."""
    import torch

    from harness.core.frame_files import write_table
    from harness.predict.images import list_new
    from harness.predict.models import find_kept, open_models
    from harness.predict.table import check_destination
    from harness.run.directory import RunDirectory

    check_destination(arguments.out, arguments.run)
    found = find_kept(RunDirectory(arguments.run), arguments.cell, arguments.replicate)
    images = list_new(arguments.images)
    # Sums on a CPU depend on the number of threads in the last bit.
    torch.set_num_threads(int(found.kept[0].folder.request()["threads"]))
    models = open_models(
        found,
        device=arguments.device,
        trusted=arguments.code,
        plugins=arguments.plugins,
        data_root=arguments.data_root,
        temperature=not arguments.no_temperature,
    )
    for line in _notes(found, models):
        complain(f"note: {line}")
    frame = _predicted(models, images)
    write_table(frame, arguments.out)
    unread = frame["error"].count()
    say(f"{arguments.out}: {len(frame):,} images, {_by_whom(found, models)}")
    if unread:
        complain(f"{unread:,} images could not be read; the column error says why")
    return EXIT_SOME_FAILED if unread else EXIT_DONE


def _predicted(models: Sequence[KeptModel], images: list[NewImage]) -> pl.DataFrame:
    """The table, with a progress bar."""
    from rich.progress import Progress

    from harness.core.console import Console
    from harness.predict.images import batches
    from harness.predict.table import predictions_table

    first = models[0]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("images", total=len(images))
        parts = batches(images, first.batch, first.size, first.max_pixels)
        return predictions_table(models, parts, lambda number: progress.advance(task, number))


def _by_whom(found: KeptCell, models: Sequence[KeptModel]) -> str:
    """Which models predicted, and how."""
    seeds = ", ".join(str(model.seed) for model in models)
    who = f"replicate {seeds} of {found.name}"
    if len(models) > 1:
        who = f"mean of the probabilities of {len(models)} replicates of {found.name} ({seeds})"
    scaled = sorted(model.temperature for model in models)
    if scaled == [1.0] * len(models):
        return f"{who}, no temperature"
    span = f"{scaled[0]:.3g}" if len(scaled) == 1 else f"{scaled[0]:.3g} to {scaled[-1]:.3g}"
    return f"{who}, temperature {span} fitted on validation images"


def _notes(found: KeptCell, models: Sequence[KeptModel]) -> list[str]:
    """What a user should know of the models before believing their probabilities."""
    from harness.predict.temperature import HIGHEST, LOWEST

    notes = []
    if found.cell.seed is None and len(models) < found.finished:
        notes.append(f"{found.finished - len(models)} of {found.finished} finished replicates kept no model")
    for model in models:
        if model.temperature in (LOWEST, HIGHEST):
            notes.append(
                f"replicate {model.seed}: the temperature is at its limit {model.temperature:g}; its validation images "
                "say too little of how sure it may be"
            )
    return notes


if __name__ == "__main__":
    sys.exit(main())
