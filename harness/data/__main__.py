"""Prepare a dataset, look at it, and audit its split. ``python -m harness.data DATASET``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, DataError, RequestError, run_command
from harness.core.output import say

if TYPE_CHECKING:
    from harness.core.console import Console
    from harness.data.audit import Audit
    from harness.data.decoded import DecodedDataset
    from harness.data.split import Split, SplitKind
    from harness.dataset import Dataset

DESCRIPTION = "Prepare a dataset, show what it is and how it splits, and write its card."
EPILOG = """
writes to --out: card.html, card.md with figures/, card.json; split.json and split.csv, to use elsewhere;
with --audit also audit.csv
exit codes: 0 done, 1 the split leaks or what is guessed cannot be used yet, 2 the request was wrong or the data are
damaged, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.data``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.data",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "dataset", metavar="DATASET",
        help="name of a dataset (python -m harness.plugins lists them); with --guess a folder, zip archive or table",
    )  # fmt: skip
    result.add_argument(
        "--guess", action="store_true",
        help="print the entry for the sweep file with which images of your own could be read, and what is odd about "
        "them; writes nothing",
    )  # fmt: skip
    result.add_argument(
        "--audit", action="store_true",
        help="read the pixels: identical and nearly identical images, the same image under two labels",
    )  # fmt: skip
    result.add_argument("--download", action="store_true", help="first download what the data root lacks")
    result.add_argument(
        "--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE",
        help="an option of the dataset, e.g. size=64; may be repeated",
    )  # fmt: skip
    result.add_argument("--size", type=int, default=224, metavar="PIXELS", help="side of the images (%(default)s)")
    result.add_argument(
        "--split", choices=("grouped", "random", "official"),
        help="grouped keeps a known patient or lesion, and duplicates, on one side; official is the publisher's "
        "(default: official where the publisher split by patient, else grouped)",
    )  # fmt: skip
    result.add_argument(
        "--near-duplicates", action="store_true",
        help="also keep mirrored, re-encoded and brightened copies on one side of a grouped split",
    )  # fmt: skip
    result.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the split (%(default)s)")
    result.add_argument(
        "--data-root", type=user_path, metavar="DIR",
        help="folder of the raw archives (default: $GPAF_BENCH_DATA, else the user's cache folder)",
    )  # fmt: skip
    result.add_argument(
        "--plugins", action="append", default=[], type=user_path, metavar="DIR", help="additional folder of plugins"
    )
    result.add_argument(
        "--out", type=user_path, metavar="DIR", help="where to write (default: runs/data/NAME-SPLIT-SEED)"
    )
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parse(parser(), argv)
    return run_command(lambda: _guess(arguments) if arguments.guess else _inspect(arguments))


def _guess(arguments: argparse.Namespace) -> int:
    from harness.core.console import Console
    from harness.data.cache import default_data_root
    from harness.data.guess import guess
    from harness.plugins import discover

    defaults = parser().parse_args([arguments.dataset])
    for option in ("audit", "download", "assignments", "size", "split", "near_duplicates", "seed", "out"):
        if getattr(arguments, option) != getattr(defaults, option):
            name = "set" if option == "assignments" else option.replace("_", "-")
            raise RequestError(f"--{name}: has no effect with --guess; leave it out, and use it with the entry")
    place = user_path(arguments.dataset).resolve()
    if not place.exists():
        raise RequestError(f"{place}: no such folder or file; --guess takes a path, not the name of a dataset")
    root = (arguments.data_root or default_data_root()).resolve()
    if place == root or not place.is_relative_to(root):
        if arguments.data_root:
            raise RequestError(
                f"{place}: not below the data root {root}; leave --data-root out, or name a folder above"
            )
        root = place.parent
    bars = Console(stderr=True)
    with bars.status("loading plugins"):
        catalogue = discover(arguments.plugins)
    with _bar(bars, "looking at images") as progress:
        found = guess(place, root, catalogue, progress)
    say(found.to_yaml())
    return EXIT_SOME_FAILED if found.faults else EXIT_DONE


def _inspect(arguments: argparse.Namespace) -> int:
    from harness.core.console import Console
    from harness.core.refusals import leaving_nothing
    from harness.data.split import kind_for

    bars = Console(stderr=True)
    # Made first: minutes of decoding should not end at a folder that cannot be written.
    dataset, code = _find(arguments, bars)
    kind = kind_for(arguments.split, dataset)
    out = arguments.out or Path("runs/data") / f"{dataset.name}-{kind}-{arguments.seed}"
    with leaving_nothing(out):
        return _written(arguments, dataset, code, kind, _folder(out), bars)


def _written(
    arguments: argparse.Namespace, dataset: Dataset, code: str, kind: SplitKind, out: Path, bars: Console
) -> int:
    """Prepare the dataset and write its page."""
    from harness.data.cache import default_cache_root
    from harness.data.card import make_card
    from harness.data.exports import write_folder
    from harness.data.leaks import find_leaks
    from harness.data.near_clusters import join_near_duplicates
    from harness.data.split import make_split
    from harness.data.terminal import print_card

    data = _prepare(arguments, dataset, code, bars)
    if arguments.near_duplicates:
        with _bar(bars, "comparing images") as progress:
            data = join_near_duplicates(data, default_cache_root().absolute(), progress)
    split = make_split(data, kind, arguments.seed)
    leaks = find_leaks(data, split)
    found = _audit(data, split, bars) if arguments.audit else None
    card = make_card(dataset, data, split, leaks, found)
    page = write_folder(out, card, data, split, found)
    print_card(card)
    say(str(page))
    return EXIT_SOME_FAILED if leaks.any else EXIT_DONE


def _find(arguments: argparse.Namespace, bars: Console) -> tuple[Dataset, str]:
    """The dataset with its options, and the hash of its code."""
    from harness.data.options import with_options
    from harness.dataset import Dataset
    from harness.plugins import discover
    from harness.spec.source import YamlSource

    given = YamlSource({})
    for assignment in arguments.assignments:
        given.set(assignment)
    with bars.status("loading plugins"):
        catalogue = discover(arguments.plugins)
    plugin = catalogue.find(Dataset, arguments.dataset, "DATASET")
    dataset = with_options(plugin.cls, given.data, lambda *keys: f"--set {'.'.join(map(str, keys))}".strip())
    return dataset, plugin.code


def _folder(out: Path) -> Path:
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RequestError(f"{out}: not a folder; choose another with --out") from error
    return out.absolute()


def _prepare(arguments: argparse.Namespace, dataset: Dataset, code: str, bars: Console) -> DecodedDataset:
    from harness.data.cache import default_cache_root, default_data_root, prepare
    from harness.data.decode import UnreadableImagesError

    root = (arguments.data_root or default_data_root()).absolute()
    if arguments.download:
        _download(dataset, root, bars)
    try:
        with _bar(bars, "decoding") as progress:
            return prepare(dataset, code, arguments.size, root, default_cache_root().absolute(), progress)
    except UnreadableImagesError as error:
        raise DataError(f"dataset {dataset.name}: {error}") from error


def _audit(data: DecodedDataset, split: Split, bars: Console) -> Audit:
    from harness.data.audit import audit

    with _bar(bars, "comparing images") as progress:
        return audit(data, split, progress)


def _download(dataset: Dataset, root: Path, bars: Console) -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    from harness.data.download import download

    if not dataset.downloads:
        bars.print(f"note: {dataset.name} names nothing that a program may download", markup=False)
        return
    tasks: dict[str, TaskID] = {}
    name_column = TextColumn("downloading {task.description}", markup=False)
    with Progress(name_column, BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=bars) as shown:

        def progress(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = shown.add_task(name, total=total)
            shown.update(tasks[name], completed=done, total=total)

        fetched = download(dataset, root, progress)
    for path in fetched:
        bars.print(f"downloaded: {path}", soft_wrap=True, highlight=False, markup=False)


@contextmanager
def _bar(bars: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A function that takes (done, total); the bar appears at its first call."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    task: TaskID | None = None
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=bars) as shown:

        def progress(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                task = shown.add_task(what, total=total)
            shown.update(task, completed=done, total=total)

        yield progress


if __name__ == "__main__":
    sys.exit(main())
