"""Score the kept models of a run on further images: ``python -m harness.evaluate RUN [--add ENTRY]``.

Nothing is trained. Models are kept where the sweep file says ``confirm.keep``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.core.arguments import add_reuse_arguments, parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_SOME_FAILED, RequestError, run_command
from harness.core.output import say

if TYPE_CHECKING:
    from harness.evaluate.missing import Lacking
    from harness.run.directory import RunDirectory
    from harness.spec.sections import SweepSpec
    from harness.studies.study import Study

MOST_WORKERS = 64

_EPILOG = """
ENTRY is an entry of the sweep file's section evaluate, such as 'corruptions: medical', or a YAML file that has this
section. It becomes part of the run; add it to the sweep file too, so that the next sweep command knows it.
exit codes: 0 nothing is missing any more, 1 some models were not kept or not scored, 2 the request was wrong,
130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.evaluate``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.evaluate",
        description="Score the kept models of a run on the evaluations that they lack; nothing is trained.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("run", type=user_path, metavar="RUN", help="run directory")
    result.add_argument(
        "--add", action="append", default=[], metavar="ENTRY", help="a further evaluation; may be repeated"
    )
    result.add_argument("--dry-run", action="store_true", help="say what is missing and what would be scored, and stop")
    add_reuse_arguments(result)
    result.add_argument(
        "--workers", type=_workers, default=1, metavar="N",
        help="processes that share the models (default: 1), on every GPU in turn where --device is not given; each "
        "takes as many threads as the trials had",
    )  # fmt: skip
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parse(parser(), argv)
    return run_command(lambda: evaluate(arguments))


def evaluate(arguments: argparse.Namespace) -> int:
    """Carry out the command line."""
    from harness.core.visible_gpus import take_device
    from harness.evaluate.missing import still_lacking, words
    from harness.evaluate.processes import devices, score_in_processes
    from harness.run.directory import RunDirectory
    from harness.run.links import refuse_links
    from harness.train.device import usable_device

    run = RunDirectory(arguments.run)
    run.require()
    refuse_links(run)
    places = devices(arguments.device, arguments.workers)
    # Refused before anything is recorded.
    device = str(usable_device(take_device(places[0])))
    spec = _with_added(run, arguments.add)
    studies = _studies(run, spec, arguments)
    found = _missing(studies)
    for line in words(found, run.path):
        say(line)
    if arguments.dry_run:
        return EXIT_DONE
    if arguments.add:
        _record(run, spec, studies)
    kept = [one for one in found if one.kept]
    if len(places) > 1 and len(kept) > 1:
        code = score_in_processes(_share, arguments, places[: len(kept)])
    else:
        code = _score(kept, device)
    if code != EXIT_DONE:
        if code == EXIT_INTERRUPTED:
            say("interrupted; run the same command again")
        return code
    left = [one for one in kept if still_lacking(one)]
    say(f"{len(kept) - len(left)} models scored" if kept else "no model was scored")
    if left:
        say(f"{len(left)} models are not scored, another process has or had them; run the same command again")
    return EXIT_DONE if len(kept) == len(found) and not left else EXIT_SOME_FAILED


def _share(arguments: argparse.Namespace, device: str) -> int:
    """What one of several processes does: score what no other one has taken; the exit code."""
    from harness.run.directory import RunDirectory

    def score() -> int:
        run = RunDirectory(arguments.run)
        studies = _studies(run, _with_added(run, []), arguments)
        return _score([one for one in _missing(studies) if one.kept], device)

    return run_command(score)


def _score(kept: Sequence[Lacking], device: str) -> int:
    from harness.evaluate.scoring import score_all
    from harness.train.device import usable_device

    return EXIT_DONE if score_all(kept, usable_device(device)) else EXIT_INTERRUPTED


def _missing(studies: Sequence[Study]) -> list[Lacking]:
    from harness.evaluate.missing import lacking

    return list(lacking(studies))


def _with_added(run: RunDirectory, given: Sequence[str]) -> SweepSpec:
    """The specification of a run with further evaluations."""
    from harness.spec.messages import validated
    from harness.spec.sections import SweepSpec
    from harness.spec.source import YamlSource

    recorded: dict[str, Any] = dict(run.spec())
    if not given:
        return SweepSpec.model_validate(recorded)
    entries = [entry for text in given for entry in _entries(text)]
    source = YamlSource({**recorded, "evaluate": [*recorded.get("evaluate", []), *entries]})
    return validated(SweepSpec, source)


def _entries(text: str) -> list[Any]:
    """The entries that an argument gives: of a file's section ``evaluate``, or itself as YAML."""
    from harness.spec.source import YamlSource
    from harness.spec.yaml_reading import load

    path = user_path(text)
    if path.suffix in (".yaml", ".yml"):
        section = YamlSource.read(path).data.get("evaluate")
        if not isinstance(section, list):
            raise RequestError(
                f"--add {text}: has no section evaluate, a list; write `evaluate: [corruptions: medical]`"
            )
        return section
    _, entry = load(text, lambda line: "--add")
    return list(entry) if isinstance(entry, list) else [entry]


def _studies(run: RunDirectory, spec: SweepSpec, arguments: argparse.Namespace) -> list[Study]:
    """The studies of a run, which have to be as they were planned."""
    from harness.studies.reopened import reopened
    from harness.studies.study import Roots

    roots = Roots.here(arguments.data_root)
    return reopened(run, spec, roots, arguments.code, arguments.plugins)


def _record(run: RunDirectory, spec: SweepSpec, studies: Sequence[Study]) -> None:
    """Make the added evaluations part of the run."""
    from harness.core.lease import hold
    from harness.studies.declaration import declaration, declare

    with hold(run.lock_folder):
        declare(run, declaration(spec, studies))
        run.write_spec(spec.model_dump(mode="json"))


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} must be an integer from 1 to {MOST_WORKERS}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
