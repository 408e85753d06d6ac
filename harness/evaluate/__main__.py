"""Score the kept models of a run on further images: ``python -m harness.evaluate RUN [--add ENTRY]``.

Nothing is trained. Models are kept where the sweep file says ``confirm.keep``.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_SOME_FAILED, RequestError, run_command
from harness.core.output import say

if TYPE_CHECKING:
    import torch

    from harness.evaluate.missing import Lacking
    from harness.run.directory import RunDirectory
    from harness.spec.sections import SweepSpec
    from harness.studies.study import Roots, Study

_EPILOG = """
ENTRY is an entry of the sweep file's section evaluate, such as 'corruptions: medical', or a YAML file that has this
section. It becomes part of the run; add it to the sweep file too, so that the next sweep command knows it.
exit codes: 0 nothing is missing any more, 1 some models were not kept, 2 the request was wrong, 130 interrupted
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
    result.add_argument("--code", action="store_true", help="import the plugins that the run names, if you trust it")
    result.add_argument(
        "--plugins", action="append", default=[], type=user_path, metavar="DIR",
        help="import the plugins of this folder in place of those that the run names; may be repeated",
    )  # fmt: skip
    result.add_argument("--data-root", type=user_path, metavar="DIR", help="folder of the raw archives")
    result.add_argument("--device", help="cpu or cuda:N (default: the first GPU, else the CPU)")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parse(parser(), argv)
    return run_command(lambda: evaluate(arguments))


def evaluate(arguments: argparse.Namespace) -> int:
    """Carry out the command line."""
    from harness.data.cache import default_cache_root, default_data_root
    from harness.evaluate.missing import lacking, words
    from harness.run.directory import RunDirectory
    from harness.run.links import refuse_links
    from harness.studies.study import Roots
    from harness.train.device import usable_device

    run = RunDirectory(arguments.run)
    run.require()
    refuse_links(run)
    roots = Roots((arguments.data_root or default_data_root()).absolute(), default_cache_root().absolute())
    device = usable_device(arguments.device)
    spec = _with_added(run, arguments.add)
    studies = _studies(run, spec, roots, arguments.code, arguments.plugins)
    found = list(lacking(studies))
    for line in words(found, run.path):
        say(line)
    if arguments.dry_run:
        return EXIT_DONE
    if arguments.add:
        _record(run, spec, studies)
    kept = [one for one in found if one.kept]
    if not _score_all(kept, device):
        say("interrupted; run the same command again")
        return EXIT_INTERRUPTED
    say(f"{len(kept)} models scored" if kept else "no model was scored")
    return EXIT_DONE if len(kept) == len(found) else EXIT_SOME_FAILED


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


def _studies(run: RunDirectory, spec: SweepSpec, roots: Roots, trusted: bool, plugins: Sequence[Path]) -> list[Study]:
    """The studies of a run, which have to be as they were planned."""
    from harness.core.identity import differences
    from harness.plugins import discover
    from harness.run.code import plugin_folders
    from harness.studies.loading import check_evaluations
    from harness.studies.planner import Planner

    if spec.plugins and not (trusted or plugins):
        raise RequestError(
            f"{run.path}: names plugins in {', '.join(spec.plugins)}, whose code would run here; "
            "add --code if you trust them, or --plugins DIR to use others"
        )
    catalogue = discover(list(plugins) or plugin_folders(spec.plugins))
    check_evaluations(spec, catalogue, lambda *keys: ".".join(map(str, keys)))
    studies = Planner(spec, catalogue, run, roots).studies()
    for study in studies:
        changed = differences(study.folder.description()["identity"], study.identity) if study.folder.exists else []
        if changed:
            raise RequestError(
                f"{study.name}: {changed[0]} since it was trained; undo the change, or use --code of its run"
            )
    return studies


def _record(run: RunDirectory, spec: SweepSpec, studies: Sequence[Study]) -> None:
    """Make the added evaluations part of the run."""
    from harness.core.lease import hold
    from harness.studies.declaration import declaration, declare

    with hold(run.lock_folder):
        declare(run, declaration(spec, studies))
        run.write_spec(spec.model_dump(mode="json"))


def _score_all(found: Sequence[Lacking], device: torch.device) -> bool:
    """Score models one after the other; False where that was interrupted."""
    from harness.core.console import Console
    from harness.train.job import Interrupted

    console, stop = Console(stderr=True), threading.Event()
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for place, one in enumerate(found):
            title = f"{place + 1}/{len(found)} {one.study.name} {one.trial.name}: {', '.join(one.names)}"
            console.print(title, soft_wrap=True, highlight=False, markup=False)
            try:
                _score(one, device, stop)
            except Interrupted:
                return False
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return True


def _score(one: Lacking, device: torch.device, stop: threading.Event) -> None:
    import torch

    from harness.core.lease import claim, given_back, keep_alive
    from harness.studies.jobs import job_of
    from harness.train.job import Control
    from harness.train.kept import score_kept

    request = one.trial.request()
    job = job_of(one.study, request)
    job = replace(job, evaluations=[given for given in job.evaluations if given.name in one.names])
    place = one.trial.evaluations_folder()
    lease = claim(place)
    if lease is None:
        # Somebody else scores it now.
        return
    # Sums on a CPU depend on the number of threads in the last bit.
    torch.set_num_threads(int(request["threads"]))
    with given_back(lease, "stopped"), keep_alive(lease):
        folder = one.trial.held(lease)
        with one.trial.log_path.open("a", encoding="utf-8") as log:
            control = Control(stop=stop, log=lambda line: print(f"evaluate: {line}", file=log, flush=True))
            scored = score_kept(job, folder, device, control)
        folder.add_evaluations(scored.part.get("evaluations", []), scored.part.get("test_reference", ""))
    lease.release("finished")


if __name__ == "__main__":
    sys.exit(main())
