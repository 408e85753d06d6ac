"""Run one trial here and now, in this process: ``python -m harness.trial --method M --dataset D``.

For debugging a method or a dataset. It runs the very code that a sweep runs; killed or interrupted, the same command
resumes from the checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_SOME_FAILED, RequestError, run_command
from harness.core.files import TornFileError
from harness.core.output import say
from harness.core.stopping import asked_to_stop
from harness.run.record_values import score_of
from harness.run.trial_records import sides_of

if TYPE_CHECKING:
    from harness.core.console import Console
    from harness.run.trial_records import TrialRequest, TrialResult
    from harness.spec.sections import SweepSpec
    from harness.studies.study import Study
    from harness.train.job import ProgressFacts
    from harness.work.claims import ClaimedTrial


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.trial``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.trial",
        description="Run one trial in this process, with a progress bar; made for debugging.",
        epilog="exit codes: 0 done, 1 the trial failed, 2 the request was wrong, 130 interrupted",
    )
    result.add_argument("--method", required=True, metavar="M", help="name of a method")
    result.add_argument("--dataset", required=True, metavar="D", help="name of a dataset")
    result.add_argument(
        "--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE",
        help="any key of a sweep file, e.g. train.epochs=1, train.image_size=224, backbone.name=resnet50, "
        "methods.M.lr=0.01 or datasets.D.size=64; may be repeated",
    )  # fmt: skip
    result.add_argument("--seed", type=int, default=0, help="seed of the trial (default: %(default)s)")
    result.add_argument(
        "--stage", choices=("search", "confirm"), default="search",
        help="search sees training and validation images; confirm opens the test split too (default: %(default)s)",
    )  # fmt: skip
    result.add_argument("--out", type=user_path, metavar="DIR", help="trial folder (default: runs/trials/NAME)")
    result.add_argument("--save-model", action="store_true", help="keep the trained model (safetensors)")
    result.add_argument(
        "--plugins", type=user_path, action="append", default=[], metavar="DIR", help="additional folder of plugins"
    )
    result.add_argument("--data-root", type=user_path, metavar="DIR", help="folder of the raw archives")
    result.add_argument("--device", help="cpu or cuda:N (default: the first GPU, else the CPU)")
    result.add_argument("--pdb", action="store_true", help="open the debugger where an error is raised")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parse(parser(), argv)
    return run_command(lambda: trial(arguments))


def trial(arguments: argparse.Namespace) -> int:
    """Carry out the command line."""
    try:
        return _trial(arguments)
    except TornFileError as error:
        raise RequestError(
            f"{error.path}: torn or edited, not readable; delete {error.path.parent} and run the same command again"
        ) from error


def _trial(arguments: argparse.Namespace) -> int:
    from harness.core.console import Console
    from harness.train.device import usable_device

    console = Console(stderr=True)
    if arguments.seed < 0:
        raise RequestError(f"--seed {arguments.seed}: must be 0 or more")
    if arguments.device is not None:
        usable_device(arguments.device)
    spec, study = _study(arguments, console)
    folder = arguments.out or Path("runs") / "trials" / _name(arguments, study)
    taken = _claim(arguments, spec, study, folder.absolute(), console)
    if taken is None:
        return EXIT_DONE
    try:
        result = _run(arguments, taken, console)
    except Exception:
        if not arguments.pdb:
            raise
        import pdb
        import traceback

        traceback.print_exc()
        taken.lease.release("debugger")
        pdb.post_mortem(sys.exc_info()[2])
        return EXIT_SOME_FAILED
    if result is None:
        _line(console, f"interrupted; the same command resumes from {taken.folder.checkpoint_path}")
        return EXIT_INTERRUPTED
    return _show(taken, result, console)


def _study(arguments: argparse.Namespace, console: Console) -> tuple[SweepSpec, Study]:
    from harness.data.decoding_bar import DecodingBar
    from harness.dataset import Dataset
    from harness.method import Method
    from harness.plugins import discover
    from harness.run.directory import RunDirectory
    from harness.studies.loading import check_against, check_backbones, load_mapping
    from harness.studies.pairs import check_pairs
    from harness.studies.planner import Planner
    from harness.studies.study import Roots

    with console.status("loading plugins"):
        catalogue = discover([folder.absolute() for folder in arguments.plugins])
    # Names are checked before anything else, so that a slip says which option it stands in.
    catalogue.find(Method, arguments.method, "--method")
    catalogue.find(Dataset, arguments.dataset, "--dataset")
    loaded = load_mapping(
        {
            "name": "trial",
            "backbone": {"name": "resnet18"},
            "datasets": {arguments.dataset: {}},
            "methods": {arguments.method: {}},
            # Small images: an epoch is to take a laptop a minute or two, not a quarter of an hour.
            "train": {"image_size": 64},
            "search": {"seeds": [arguments.seed], "trials": 1},
            "confirm": {"seeds": [arguments.seed + 1000]},
        },
        arguments.assignments,
    )
    spec = loaded.spec
    check_against(spec, catalogue, loaded.place)
    check_backbones(spec, loaded.place)
    if not arguments.pdb:  # which is to open where the method raises
        check_pairs(spec, catalogue, loaded.place, console.whole_line)
    weights = spec.backbone.weights
    others = "" if spec.backbone.stem else " (--set backbone.weights=IMAGENET1K_V1 for others)"
    start = weights if isinstance(weights, str) else f"random weights{others}"
    _line(console, f"{spec.backbone.network} from {start}, images of {spec.train.image_size} px")
    roots = Roots.here(arguments.data_root)
    with DecodingBar(console) as bar:
        studies = Planner(spec, catalogue, RunDirectory(Path("runs") / "trials"), roots, bar.update).studies()
    if len(studies) != 1 or studies[0].source is not None:
        raise RequestError("--set: a trial has one method, one dataset, and a backbone that needs no training first")
    return spec, studies[0]


def _name(arguments: argparse.Namespace, study: Study) -> str:
    from harness.space.parameters import defaults

    identity = study.trial_identity(arguments.stage, defaults(study.space), arguments.seed)
    return f"{study.name}-{identity[:10]}"


def _claim(
    arguments: argparse.Namespace, spec: SweepSpec, study: Study, path: Path, console: Console
) -> ClaimedTrial | None:
    import torch

    from harness.run.trial import TrialFolder
    from harness.space.parameters import defaults
    from harness.studies.jobs import job_of
    from harness.work.claims import ClaimedTrial

    folder = TrialFolder(path, arguments.stage)
    try:
        folder.create()
    except (FileExistsError, NotADirectoryError) as error:
        raise RequestError(f"{path}: not a folder; choose another --out") from error
    if not folder.has_request() and any(not entry.name.startswith(".") for entry in path.iterdir()):
        raise RequestError(f"{path}: holds other files and no trial; choose an empty --out")
    hyperparameters = defaults(study.space)
    request: TrialRequest = {
        "stage": arguments.stage,
        "study": study.name,
        "slot": None,
        "seed": arguments.seed,
        "hyperparameters": hyperparameters,
        "conditioned_on": [],
        "threads": torch.get_num_threads(),
        "identity": study.trial_identity(arguments.stage, hyperparameters, arguments.seed),
    }
    folder.write_request(request)
    if folder.request().get("identity") != request["identity"]:
        raise RequestError(f"{path}: holds another trial (settings, code or data differ); choose another --out")
    if folder.finished:
        _line(console, f"already done; remove {path} to run it again")
        _show(ClaimedTrial(folder, None, request, None, ""), folder.result(), console)  # type: ignore[arg-type]
        return None
    lease = folder.claim(progress=0)
    if lease is None:
        raise RequestError(f"{path}: another process runs this trial; wait for it or choose another --out")
    # One trial is no study, so nothing that a study measures is looked for or recorded.
    job = replace(job_of(study, request), save_model=arguments.save_model, study=None)
    return ClaimedTrial(folder.held(lease), lease, folder.request(), job, f"{study.name} {arguments.stage}")


def _run(arguments: argparse.Namespace, taken: ClaimedTrial, console: Console) -> TrialResult | None:
    import torch

    from harness.core.lease import LeaseLost, keep_alive
    from harness.run.spent import STOPPED_BY_ERROR
    from harness.train.device import usable_device
    from harness.train.job import Control, Interrupted
    from harness.train.run import run_trial
    from harness.work.running import trial_log

    torch.set_num_threads(int(taken.request["threads"]))
    device = usable_device(arguments.device)
    with asked_to_stop(signal.SIGUSR2) as stop:
        try:
            with (
                trial_log(taken) as log,
                keep_alive(taken.lease),
                _progress(console, taken.title, taken.job.metric) as progress,
            ):
                control = Control(stop=stop, log=log.info, progress=progress)
                result = run_trial(
                    taken.job, taken.request, taken.folder, device, control, keep_exception=arguments.pdb
                )
        except Interrupted:
            taken.lease.release("interrupted")
            return None
        except LeaseLost as error:
            raise RequestError(
                f"{error}: another process has taken this trial over; nothing more was written"
            ) from error
        except BaseException:
            with contextlib.suppress(OSError):  # a full disk must not hide the error that is being raised
                taken.lease.release(STOPPED_BY_ERROR)
            raise
    taken.lease.release("finished")
    return result


@contextlib.contextmanager
def _progress(console: Console, title: str, metric: str) -> Iterator[Any]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeRemainingColumn(),
        console=console,
    ) as bar:  # fmt: skip
        line = bar.add_task(title, total=None)

        def update(facts: ProgressFacts) -> None:
            if "steps" in facts:
                bar.update(line, completed=facts["step"], total=facts["steps"])
            if "val" in facts:
                shown = {name: score_of(facts["val"], name) for name in dict.fromkeys((metric, "auc", "nll"))}
                values = ", ".join(f"{n} {v:.4f}" if v is not None else f"{n} n/a" for n, v in shown.items())
                bar.console.print(f"epoch {facts['epoch']}/{facts['epochs']}: validation {values}", highlight=False)

        yield update


def _line(console: Console, text: str) -> None:
    """Print what names a path or a user's own words: a bracket in it is no markup."""
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def _show(taken: ClaimedTrial, result: TrialResult, console: Console) -> int:
    if result["status"] != "done":
        _line(console, f"failed: {result['cause']}: {result['message']}")
        _line(console, f"log: {taken.folder.log_path}")
        return EXIT_SOME_FAILED
    for side, metrics in sides_of(result):
        scalars = {name: value for name, value in metrics.items() if not isinstance(value, list)}
        say(f"{side}: " + ", ".join(f"{n} {v:.4f}" if v is not None else f"{n} n/a" for n, v in scalars.items()))
    parameters = result["parameters"]
    say(f"trained: {parameters['trainable']:,} parameters and a head of {parameters['head']:,}")
    say(str(taken.folder.path))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
