"""What a sweep will cost and what it can show: ``python -m harness.plan FILE``. Nothing is started."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.arguments import add_sweep_arguments, parse, user_path
from harness.core.errors import EXIT_DONE, RequestError, run_command

if TYPE_CHECKING:
    from harness.core.console import Console
    from harness.launcher import Launcher
    from harness.plan.detectable import Spread
    from harness.plan.document import Plan
    from harness.plugins import Catalogue
    from harness.spec.sections import SweepSpec
    from harness.studies.study import Roots

DESCRIPTION = (
    "Say what a sweep will cost (trials, device-hours, disk) and what it can show (the smallest differences that its "
    "seeds and test cases would find), before it runs."
)
EPILOG = """
Times come from a short probe on this machine, unless --like or --seconds-per-step gives them. --like also takes the
output of --json: probe where the GPUs are, plan anywhere.
exit codes: 0 planned, 2 the request was wrong, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.plan``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.plan",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sweep_arguments(result)
    result.add_argument("--json", action="store_true", help="the plan as JSON")
    add_means(result)
    result.add_argument("--no-probe", action="store_true", help="measure nothing")
    return result


def add_means(result: argparse.ArgumentParser) -> None:
    """Add the options that say what a plan rests on."""
    group = result.add_argument_group("what the plan rests on")
    group.add_argument(
        "--like", type=user_path, metavar="RUN",
        help="take times and the spread over seeds from an earlier run, or times from the JSON of an earlier plan",
    )  # fmt: skip
    group.add_argument(
        "--seconds-per-step", action="append", default=[], metavar="METHOD=S",
        help="time of a step of a method (or of METHOD@DATASET), validation included; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--seed-sd", type=_positive, metavar="X",
        help="standard deviation of a method's score over seeds (default: that of --like or --pilot, else assumed to "
        "be 0.01)",
    )  # fmt: skip
    group.add_argument(
        "--disagree", type=_positive, metavar="X",
        help="share of the test cases on which two methods differ (default: that of --like, else assumed to be 0.1)",
    )  # fmt: skip
    group.add_argument(
        "--pilot", type=_seeds, metavar="SEEDS",
        help="measure the spread over seeds: train each method's default configuration with this many seeds first",
    )  # fmt: skip
    group.add_argument("--want", type=_positive, metavar="X", help="smallest difference you want to detect")
    group.add_argument(
        "--workers", dest="at_once", type=_count, metavar="N", help="trials at the same time (default: as launched)"
    )


def defaults_of_means() -> dict[str, object]:
    """The options of ``add_means`` where none is given."""
    empty = argparse.ArgumentParser()
    add_means(empty)
    return vars(empty.parse_args([]))


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parse(parser(), argv)
    return run_command(lambda: plan(arguments))


def plan(arguments: argparse.Namespace) -> int:
    """Carry out the command line."""
    from harness.core.console import Console
    from harness.plan.page import page
    from harness.studies.loading import catalogue_for, launcher_of, load_sweep
    from harness.studies.pairs import check_pairs
    from harness.studies.preview import dataset_lines, spaces_table

    console = Console(stderr=True)
    loaded = load_sweep(arguments.file, arguments.assignments)
    catalogue = catalogue_for(loaded, console)
    check_pairs(loaded.spec, catalogue, loaded.place, console.whole_line)
    launcher = launcher_of(loaded.spec, catalogue, loaded.place)
    made = planned(arguments, loaded.spec, catalogue, launcher, console, probing=not arguments.no_probe)
    if arguments.json:
        print(json.dumps(made.to_json(), indent=2))
        return EXIT_DONE
    out = Console()
    out.print(spaces_table(loaded.spec, catalogue))
    for line in dataset_lines(loaded.spec, catalogue):
        out.print(line, highlight=False, markup=False)
    out.print()
    out.print(page(made), highlight=False)
    return EXIT_DONE


def planned(
    arguments: argparse.Namespace,
    spec: SweepSpec,
    catalogue: Catalogue,
    launcher: Launcher,
    console: Console,
    probing: bool,
) -> Plan:
    """The plan of a sweep.

    Args:
        arguments: with the options of ``add_means``, ``data_root`` and ``run_dir``.
        launcher: that the sweep names.
        probing: whether what nothing is known of is measured here.

    Raises:
        RequestError: an option is wrong, or something that the sweep names is missing.
    """
    from harness.data.decoding_bar import DecodingBar
    from harness.plan.detectable import DISAGREEMENT, SEED_SD, assumed
    from harness.plan.document import Means, make_plan
    from harness.plan.earlier import earlier_spreads, earlier_times, given_times
    from harness.plan.shapes import study_shapes
    from harness.run.directory import RunDirectory
    from harness.studies.overlaps import find_overlaps
    from harness.studies.planner import Planner
    from harness.studies.study import Roots

    roots = Roots.here(arguments.data_root)
    run = RunDirectory(arguments.run_dir or Path("runs") / spec.name)
    folder = next(path for path in (run.path, *run.path.parents) if path.is_dir())
    with DecodingBar(console) as bar:
        studies = Planner(spec, catalogue, run, roots, bar.update).studies()
        overlaps = find_overlaps(spec, studies, roots.cache, bar.update)
    shapes = study_shapes(studies)
    measured = given_times(_given(arguments.seconds_per_step), shapes)
    spreads = {}
    if arguments.like is not None:
        measured = {**earlier_times(arguments.like, shapes), **measured}
        if arguments.like.is_dir() and arguments.seed_sd is None and arguments.disagree is None:
            spreads = earlier_spreads(RunDirectory(arguments.like), spec.search.metric)
    if arguments.pilot is not None:
        if arguments.seed_sd is not None or spreads:
            given = "--like" if spreads else "--seed-sd"
            raise RequestError(f"--pilot: {given} tells the spread over seeds already; leave one of the two out")
        spreads = _piloted(arguments, spec, catalogue, roots, folder, console)
    failed: dict[str, str] = {}
    unknown = [shape for shape in shapes if shape.name not in measured]
    if probing and unknown:
        from harness.launch.this_machine import places
        from harness.plan.probing import probe

        with console.status(f"probing {len(unknown)} studies") as status:
            done: list[str] = []

            def progress(name: str) -> None:
                done.append(name)
                status.update(f"probing: {name} ({len(set(done))} of {len(unknown)} studies)")

            found = probe(spec, unknown, roots, folder, launcher.places() or places(spec.launch), progress)
        measured, failed = {**measured, **found.measured}, found.failed
    sd, share = arguments.seed_sd or SEED_SD, arguments.disagree or DISAGREEMENT
    known = "assumed" if arguments.seed_sd is None else "given"
    origin = f"{known} SD of a score {100 * sd:.2g}"
    return make_plan(
        spec,
        studies,
        shapes,
        Means(
            measured=measured,
            failed=failed,
            spreads=spreads,
            assumed=assumed(sd, share, spec.search.metric, origin),
            wanted=arguments.want,
            workers=arguments.at_once or launcher.trials_at_once(),
            folder=folder,
            copies_code=launcher.copies_code,
            overlaps=overlaps,
        ),
    )


def _piloted(
    arguments: argparse.Namespace,
    spec: SweepSpec,
    catalogue: Catalogue,
    roots: Roots,
    folder: Path,
    console: Console,
) -> dict[str, Spread]:
    """What a pilot says of the spread over seeds; nothing is left of it."""
    import tempfile

    from harness.plan.detectable import DISAGREEMENT
    from harness.plan.pilot import pilot
    from harness.run.directory import RunDirectory

    with tempfile.TemporaryDirectory(prefix=".pilot-", dir=folder) as place, console.status("pilot") as status:
        run, share = RunDirectory(Path(place) / "run"), arguments.disagree or DISAGREEMENT

        def progress(done: int, of: int) -> None:
            status.update(f"pilot: {done} of {of} trials")

        return pilot(spec, catalogue, run, roots, arguments.pilot, share, progress)


def _given(pairs: Sequence[str]) -> dict[str, float]:
    given = {}
    for pair in pairs:
        name, _, text = pair.rpartition("=")
        try:
            given[name] = _positive(text)
        except argparse.ArgumentTypeError as error:
            raise RequestError(f"--seconds-per-step {pair}: {error}; write METHOD=SECONDS") from error
        if not name:
            raise RequestError(f"--seconds-per-step {pair}: write METHOD=SECONDS")
    return given


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer ≥ 1")
    return int(text)


def _seeds(text: str) -> int:
    if not text.isdigit() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer ≥ 2: one seed shows no spread")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
