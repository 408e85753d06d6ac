"""Damaged files of a trial: cut short, emptied, lost, of another version, or not of one training."""

from __future__ import annotations

from collections.abc import Iterator, Set
from operator import itemgetter
from pathlib import Path
from typing import TypeAlias

from harness.core.file_checks import is_checkpoint, is_parquet, is_safetensors
from harness.core.files import is_too_much
from harness.doctor.finding import Finding
from harness.doctor.json_files import WORDS, Judgement, judged
from harness.run import trial_records
from harness.run.trial import ReplacedFileError, TrialFolder, digest
from harness.run.trial_contents import CHECKPOINT, CURVE, DECISIONS, REQUEST, RESULT, SCHEDULE
from harness.run.trial_records import TrainedResult, TrialResult

_asked = itemgetter("stage", "slot", "seed", "hyperparameters", "identity")

Fault: TypeAlias = tuple[Path, tuple[str, str]]
"""A file, with the kind of what is wrong with it and that in words."""

REPLACED = ("replaced", "is not the file that the trial's result was made with")
AGAIN = "the sweep then trains the trial again"


def examine(trial: TrialFolder, thorough: bool) -> Iterator[Finding]:
    """Everything that is wrong with the files of a trial, the lease apart.

    Args:
        trial: the trial.
        thorough: read whole checkpoints and predictions.
    """
    yield from examine_beside(trial, judge_result(trial.content(RESULT)), thorough)


def judge_result(content: bytes | None) -> Judgement[TrialResult]:
    """Whether the file of a result holds one; None where there is none."""
    return judged(content, trial_records.RESULT)


def examine_beside(trial: TrialFolder, result: Judgement[TrialResult], thorough: bool) -> Iterator[Finding]:
    """The same where the file of the result was judged before anything else was looked at."""
    faults = dict(_faults(trial, result, thorough))
    finished = bool(faults) and trial.finished
    evaluations = {trial.evaluation_path(name) for name in _evaluated(result)} if faults else set()
    for path, (kind, what) in faults.items():
        # These say nothing of the training, and a kept model can be scored again.
        if path == trial.trained_path or (path in evaluations and trial.trained_path.exists()):
            yield _beside_the_training(trial, path, kind, what)
            continue
        aside = _with_companions(trial, path, finished)
        moved = ", ".join(one.name for one in aside)
        goes_on = AGAIN if path != trial.checkpoint_path else "the sweep then begins the trial at its start"
        remedy = f"--fix sets aside {moved}; {goes_on}"
        yield Finding(kind, path, what, remedy, aside=aside, trial=trial, damage=True)


def _beside_the_training(trial: TrialFolder, path: Path, kind: str, what: str) -> Finding:
    """A damaged file that is no reason to train again."""
    if path == trial.trained_path:
        then = "the trial's results stay, and its model cannot be scored on anything further"
    else:
        then = "`python -m harness.evaluate RUN` scores the kept model again"
    return Finding(kind, path, what, f"--fix sets aside {path.name}; {then}", aside=(path,), trial=trial, damage=True)


def _evaluated(result: Judgement[TrialResult]) -> list[str]:
    """Names of the evaluations that a result has."""
    whole = result.whole
    return [] if whole is None else [record["evaluation"] for record in whole.get("evaluations", ())]


def _faults(trial: TrialFolder, result: Judgement[TrialResult], thorough: bool) -> Iterator[Fault]:
    # One list in place of a question a file; a file that comes afterwards is looked at the next time.
    names = trial.names()
    asked = judged(trial.content(REQUEST) if REQUEST in names else None, trial_records.REQUEST)
    if asked.fault == "missing" and not names & {RESULT, CURVE, CHECKPOINT}:
        return
    if asked.fault is not None:
        yield trial.request_path, (asked.fault, asked.what)
    if result.fault not in (None, "missing"):
        yield trial.result_path, (result.fault, result.what)
    elif result.fault is None and asked.fault is None and _asked(asked.value) != _asked(result.value):
        yield trial.result_path, ("other version", f"is not of what {trial.request_path.name} asks for")
    done = result.whole if result.whole is not None and result.whole["status"] == "done" else None
    curve = trial.content(CURVE) if CURVE in names else None
    yield from _curve(trial, curve, done, result.fault != "missing")
    yield from _lines(trial, names)
    if result.fault != "missing":
        yield from _outcome(trial, names, thorough, done)
    elif CHECKPOINT in names:
        yield from _checkpoint(trial, thorough)


def _curve(trial: TrialFolder, content: bytes | None, result: TrainedResult | None, finished: bool) -> Iterator[Fault]:
    """The curve; of a trial that is done it ends at the step at which the training did."""
    if content is None:
        if result is not None:
            yield trial.curve_path, ("missing", WORDS["missing"])
        return
    if is_too_much(content):
        yield trial.curve_path, ("torn", WORDS["torn"])
        return
    last = None
    for line in content.splitlines():
        found = judged(line or b"null", trial_records.CURVE)
        if found.fault is not None:
            yield trial.curve_path, (found.fault, found.what)
            return
        last = found.value["step"]
    if last is None:
        if finished or content:
            yield trial.curve_path, ("empty", WORDS["empty"])
    elif result is not None:
        sealed = result.get("files", {}).get(CURVE)
        if sealed is not None and sealed != digest(content):
            yield trial.curve_path, REPLACED
        elif last != result["steps"]:
            yield trial.curve_path, ("torn", f"ends at step {last}, the training at step {result['steps']}")


def _lines(trial: TrialFolder, names: Set[str]) -> Iterator[Fault]:
    """What else is written line by line."""
    for name, form in ((DECISIONS, trial_records.DECISION), (SCHEDULE, trial_records.SCHEDULE)):
        content = trial.content(name) if name in names else None
        if content is None:
            continue
        if is_too_much(content) or any(form.parse(line) is None for line in content.splitlines()):
            yield trial.path / name, ("torn", WORDS["torn"])


def _checkpoint(trial: TrialFolder, thorough: bool) -> Iterator[Fault]:
    path = trial.checkpoint_path
    if not path.exists():
        return  # the trial has finished since its files were listed
    whole = is_checkpoint(path, thorough)
    # Looked at once more, because a trial that finishes meanwhile removes it.
    if not path.exists():
        return
    if not whole:
        kind = "torn" if path.stat().st_size else "empty"
        yield path, (kind, WORDS[kind])
    if not (whole and thorough):
        return
    from harness.train.checkpoint import DamagedCheckpointError, load_checkpoint

    try:
        load_checkpoint(path)
    except DamagedCheckpointError:
        yield path, ("other version", WORDS["other version"])


def _evaluations(trial: TrialFolder, result: TrainedResult, thorough: bool) -> Iterator[Fault]:
    """The predictions for images besides the test split."""
    names = dict.fromkeys(record["evaluation"] for record in result.get("evaluations", ()))
    present = set(trial.evaluation_names()) if names else set()
    for name in names:
        path = trial.evaluation_path(name)
        if name not in present:
            # A kept model can be scored again, and the sweep command says that it lacks this.
            if not trial.trained_path.exists():
                yield path, ("missing", WORDS["missing"])
        elif not is_parquet(path):
            yield path, ("torn", WORDS["torn"])
        elif thorough:
            yield from _evaluation(trial, name, path)


def _trained(trial: TrialFolder, names: Set[str], result: TrainedResult, thorough: bool) -> Iterator[Fault]:
    """What the training changed in its network, where that was kept."""
    path = trial.trained_path
    if path.name not in names:
        return  # whoever needs the room may remove it
    sealed = result.get("files", {}).get(path.name)
    if not is_safetensors(path):
        yield path, ("torn", WORDS["torn"])
    elif thorough and sealed is not None and sealed != digest(trial.content(path.name) or b""):
        yield path, REPLACED


def _evaluation(trial: TrialFolder, name: str, path: Path) -> Iterator[Fault]:
    from polars.exceptions import PolarsError

    try:
        columns = trial.evaluation(name).columns
    except ReplacedFileError:
        yield path, REPLACED
        return
    except (PolarsError, OSError):
        yield path, ("torn", WORDS["torn"])
        return
    if not {"set", "severity", "case_id", "group", "logit_0"} <= set(columns):
        yield path, ("other version", WORDS["other version"])


def _outcome(trial: TrialFolder, names: Set[str], thorough: bool, done: TrainedResult | None) -> Iterator[Fault]:
    """What a trial leaves beside its result, if it is done."""
    if trial.stage == "search":
        return
    path = trial.model_path if trial.stage == "source" else trial.predictions_path
    if path.name not in names:
        if done is not None:
            yield path, ("missing", WORDS["missing"])
    elif not path.stat().st_size:
        yield path, ("empty", WORDS["empty"])
    elif not (is_safetensors if trial.stage == "source" else is_parquet)(path):
        yield path, ("torn", WORDS["torn"])
    elif trial.stage == "confirm" and thorough:
        yield from _predictions(trial)
    if trial.stage == "confirm" and done is not None:
        yield from _evaluations(trial, done, thorough)
        yield from _trained(trial, names, done, thorough)


def _predictions(trial: TrialFolder) -> Iterator[Fault]:
    from polars.exceptions import PolarsError

    try:
        columns = trial.predictions().columns
    except ReplacedFileError:
        yield trial.predictions_path, REPLACED
        return
    except (PolarsError, OSError):
        yield trial.predictions_path, ("torn", WORDS["torn"])
        return
    absent = [name for name in ("case_id", "group", "logit_0") if name not in columns]
    if absent or not {"label", "label_0"} & set(columns):
        yield trial.predictions_path, ("other version", WORDS["other version"])


def _with_companions(trial: TrialFolder, path: Path, finished: bool) -> tuple[Path, ...]:
    """What has to go with a damaged file: a trial whose request or result is in doubt begins anew."""
    files = [path]
    if finished or path == trial.request_path:
        files = [trial.result_path, trial.checkpoint_path, trial.curve_path, trial.decisions_path]
        files += [trial.schedule_path, trial.predictions_path, trial.trained_path]
        files += [*map(trial.evaluation_path, trial.evaluation_names()), path]
    return tuple(dict.fromkeys(one for one in files if one.exists()))


def orphaned(trial: TrialFolder) -> Iterator[Finding]:
    """A checkpoint of a finished trial: its worker died between the two."""
    path = trial.checkpoint_path
    if trial.finished and path.exists():
        size = path.stat().st_size / 1e6
        what = f"{size:.1f} MB that belong to a finished trial; nothing reads them"
        yield Finding("orphaned checkpoint", path, what, "--fix sets it aside", aside=(path,))


def lost(trial: TrialFolder) -> Iterator[Finding]:
    """Files that a trial once had and that the sweep makes again by itself."""
    lease = trial.lease()
    if lease is None:
        return
    path = trial.result_path
    if not trial.finished and lease.content.get("released") == "finished":
        what = "is missing, although the trial's worker has written it"
        yield Finding("missing", path, what, "the sweep trains the trial again by itself", by="sweep")
    elif not trial.finished and lease.dead and trial.curve_path.exists() and not trial.checkpoint_path.exists():
        epochs = (trial.content(CURVE) or b"").count(b"\n")
        what = f"is missing; the {epochs} epochs of the curve are lost"
        yield Finding("missing", trial.checkpoint_path, what, "the sweep begins the trial at its start", by="sweep")
    log = trial.log_path
    if trial.finished and lease.content.get("device") and not (log.exists() and log.stat().st_size):
        kind = "empty" if log.exists() else "missing"
        yield Finding(kind, log, f"{WORDS[kind]}; nothing depends on it", "nothing to be done", by="nobody")
