"""Networks and their weights: ``python -m harness.networks list | inspect FILE | fetch SWEEP``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness.core.arguments import add_file_arguments, parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, run_command
from harness.core.output import say

if TYPE_CHECKING:
    from harness.core.console import Console
    from harness.networks.fitting import Reading
    from harness.networks.foreign import ForeignFile
    from harness.networks.matching import Match
    from harness.spec.entries import BackboneSpec

DESCRIPTION = "List networks, say what a file of weights holds and fits, and download what a sweep needs."
EPILOG = """
exit codes: 0 done, 1 the file does not fit the network, 2 the request was wrong, 130 interrupted
"""
_SHOWN = 12
"""Networks that are named of those that a file fits."""
_CLOSE = 5
"""Networks that are named where it fits none."""


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.networks``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.networks",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = result.add_subparsers(required=True, metavar="COMMAND", dest="command")
    listing = commands.add_parser("list", help="the networks and their published weights")
    listing.add_argument(
        "pattern", nargs="?", default="*", metavar="PATTERN",
        help="a part of the name, or a pattern such as 'timm:*lite*' (default: all)",
    )  # fmt: skip
    listing.set_defaults(act=_list)
    inspecting = commands.add_parser("inspect", help="what a file of weights holds, and which networks it fits")
    inspecting.add_argument("file", type=user_path, metavar="FILE", help="a file of weights")
    inspecting.add_argument(
        "--as", dest="name", metavar="NAME",
        help="read it as this network; a pattern compares with the networks of these names (default: with all, which "
        "takes minutes)",
    )  # fmt: skip
    inspecting.set_defaults(act=_inspect)
    fetching = commands.add_parser("fetch", help="download the weights of a sweep, and say what its datasets lack")
    add_file_arguments(fetching)
    fetching.set_defaults(act=_fetch)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parse(parser(), argv)
    return run_command(lambda: arguments.act(arguments))


def _list(arguments: argparse.Namespace) -> int:
    from harness.core.console import Console
    from harness.core.extras import install
    from harness.networks.names import has_timm, published

    console = Console(stderr=True)
    with console.status("loading the lists"):
        found = list(published(arguments.pattern))
    width = max((len(name) for name, _ in found), default=0)
    for name, weights in found:
        say(f"{name:<{width}}  {', '.join(weights)}".rstrip())
    if not has_timm():
        console.print(f"note: timm's networks need timm; {install('timm')}", soft_wrap=True, highlight=False)
    if not found:
        raise RequestError(f"PATTERN: no network has {arguments.pattern!r} in its name; leave it out for all")
    return EXIT_DONE


def _inspect(arguments: argparse.Namespace) -> int:
    from harness.core.console import Console
    from harness.networks.foreign import read_foreign
    from harness.networks.matching import match_with, matches_among

    console = Console(stderr=True)
    with console.status(f"reading {arguments.file}") as status:
        file = read_foreign(arguments.file)
        wanted = arguments.name or "*"
        if not set(wanted) & set("*?["):
            match = match_with(file, wanted)
            found = [] if match is None else [match]
        else:
            found = matches_among(file, wanted, lambda what: status.update(f"comparing with {what}"))
    say(_contents(file))
    if not found:
        say(f"fits: nothing; none of its tensors has a name of one of {wanted}'s")
        return EXIT_SOME_FAILED
    for line in _fits(found):
        say(line)
    _print_reading(found[0], Console())
    say(_normalisation(file))
    return EXIT_DONE if found[0].reading.complete else EXIT_SOME_FAILED


def _contents(file: ForeignFile) -> str:
    held = "; ".join(
        f"{len(mapping.tensors):,} tensors {'in ' + ' > '.join(mapping.place) if mapping.place else 'at the top'} "
        f"(the first is {next(iter(mapping.tensors))})"
        for mapping in file.mappings[:_SHOWN]
    )
    more = len(file.mappings) - _SHOWN
    return f"{file.path}: {held}" + (f"; {more:,} more mappings" if more > 0 else "")


def _fits(found: Sequence[Match]) -> Iterable[str]:
    """The networks that a file fits, or how far it is from the closest."""
    whole = [match.name for match in found if match.reading.complete]
    if whole:
        more = len(whole) - _SHOWN
        yield f"fits: {', '.join(whole[:_SHOWN])}" + (f" and {more:,} more" if more > 0 else "")
        return
    for match in found[:_CLOSE]:
        yield (
            f"does not fit {match.name}: {len(match.reading.tensors):,} of {match.wanted:,} tensors; "
            f"{match.reading.lacks()}"
        )


def _print_reading(match: Match, out: Console) -> None:
    from rich.table import Table

    table = Table("what", "tensors", "values", "which", box=None, pad_edge=False)
    for row in _rows(match.reading):
        table.add_row(*row)
    say(f"as {match.name}: {match.reading.where}")
    out.print(table)


def _rows(reading: Reading) -> Iterable[tuple[str, str, str, str]]:
    """Tensors of one fate and note a row."""
    import math

    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for line in reading.lines:
        note = line.note if line.fate in ("left out", "taken", "renamed") else ""
        shown = f"{line.stored} → {line.name}" if line.fate == "renamed" else line.stored or line.name
        if line.fate == "other shape":
            shown = f"{line.name} {line.shape}, not {line.note}"
        groups.setdefault((line.fate, note), []).append((shown, math.prod(line.shape)))
    for (fate, note), members in groups.items():
        what = f"{fate} ({note})" if note else fate
        names = [name for name, _ in members]
        which = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"
        yield what, f"{len(members):,}", f"{sum(count for _, count in members):,}", which
    for place, count in reading.besides.items():
        yield "left out (another mapping)", f"{count:,}", "", " > ".join(place) or "the top of the file"


def _normalisation(file: ForeignFile) -> str:
    if file.normalisation is None:
        return "normalisation: the file says none; write backbone.mean and backbone.std"
    return f"normalisation: mean {list(file.normalisation.mean)}, std {list(file.normalisation.std)}"


def _fetch(arguments: argparse.Namespace) -> int:
    from harness.core.console import Console
    from harness.data.cache import default_data_root
    from harness.studies.loading import catalogue_for, load_sweep
    from harness.studies.needs import needed_files, needed_weights

    console = Console(stderr=True)
    loaded = load_sweep(arguments.file, arguments.assignments)
    catalogue = catalogue_for(loaded, console)
    wanted = needed_weights(loaded.spec)
    for number, backbone in enumerate(wanted, start=1):
        with console.status(f"weights {number} of {len(wanted)}: {backbone.network}, {backbone.weights}"):
            summary = _load(backbone)
        say(f"weights: {backbone.network}, {backbone.weights}: here, and whole" + (f": {summary}" if summary else ""))
    if not wanted:
        say("weights: none are needed; the backbones begin at random, or are trained in the run")
    root = (arguments.data_root or default_data_root()).absolute()
    for needed in needed_files(loaded.spec, catalogue, root):
        if not needed.missing:
            say(f"dataset: {needed.label}: nothing is missing in {root}")
            continue
        remedy = f"python -m harness.data {needed.dataset} --download" if needed.downloads else "see its documentation"
        say(f"dataset: {needed.label}: {', '.join(needed.missing)} missing in {root}, and not fetched here: {remedy}")
    return EXIT_DONE


def _load(backbone: BackboneSpec) -> str | None:
    """Build the network once: what is not in the cache is downloaded, and what does not fit shows.

    Returns:
        What was taken from where; None for published weights.
    """
    from harness.networks.backbones import build_model, loaded_state
    from harness.networks.normalisation import normalisation_of

    given = None
    if backbone.mean is not None and backbone.std is not None:
        given = normalisation_of(backbone.mean, backbone.std)
    assert isinstance(backbone.weights, str)
    build_model(backbone.network, backbone.weights, 2, 0, given)
    _, loaded = loaded_state(backbone.network, backbone.weights)
    return None if loaded is None else loaded.summary()


if __name__ == "__main__":
    sys.exit(main())
