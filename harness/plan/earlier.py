"""Times, sizes and spreads from what was done before: a plan's own JSON, or a run directory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from harness.core.errors import RequestError, suggestion
from harness.plan.detectable import Spread
from harness.plan.parts import Measured, Parts
from harness.plan.shapes import StudyShape
from harness.run.directory import RunDirectory
from harness.run.study_folder import StudyName
from harness.run.study_records import StudyRecord
from harness.run.trial import TrialFolder
from harness.run.trial_contents import CURVE, REQUEST, RESULT
from harness.run.trial_records import TrainedResult


def earlier_times(path: Path, shapes: Sequence[StudyShape]) -> dict[str, Measured]:
    """What an earlier plan or run says of the studies, by name; those of which it says nothing are left out.

    A study of the same method on another dataset stands in where the run has no other: a step depends on the size of
    images and batch, not on how many images there are.

    Args:
        path: a file that ``harness.plan --json`` wrote, or a run directory.
        shapes: the studies that are planned.

    Raises:
        RequestError: it is neither.
    """
    if path.is_dir():
        run = RunDirectory(path)
        run.require()
        return _of_run(run, shapes)
    return _of_plan(path, shapes)


def earlier_spreads(run: RunDirectory, metric: str) -> dict[str, Spread]:
    """Dataset → how the differences between an earlier run's methods vary; empty where nothing was compared."""
    from analysis.runs.spread import spreads_of

    return {
        dataset: Spread(one.seed_sd, one.components, f"run {run.path.name}, median of {one.pairs} pairs")
        for dataset, one in spreads_of(run, metric).items()
    }


def given_times(given: Mapping[str, float], shapes: Sequence[StudyShape]) -> dict[str, Measured]:
    """Times that somebody gave: seconds a step, its share of validation included, by method or by study.

    Raises:
        RequestError: no study has that name.
    """
    known = {shape.name for shape in shapes} | {shape.method for shape in shapes}
    for name in given:
        if name not in known:
            raise RequestError(f"--seconds-per-step {name}: no method or study has this name{suggestion(name, known)}")
    found = {}
    for shape in shapes:
        step = given.get(shape.name, given.get(shape.method))
        if step is not None:
            found[shape.name] = Measured(parts=(Parts(step=step),), origin="given")
    return found


def _of_plan(path: Path, shapes: Sequence[StudyShape]) -> dict[str, Measured]:
    try:
        document = json.loads(path.read_text())
        measured = {str(name): dict(entry) for name, entry in document["measured"].items()}
        own = {name: Measured.from_json(entry, f"{path.name}: {entry['origin']}") for name, entry in measured.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            f"--like {path}: neither a run directory nor what `python -m harness.plan FILE --json` printed"
        ) from error
    return _matched(own, shapes)


def _of_run(run: RunDirectory, shapes: Sequence[StudyShape]) -> dict[str, Measured]:
    found = {}
    for study in run.studies():
        trials = [(trial, trial.result()) for trial in study.every_trial() if trial.finished]
        done = [(trial, result) for trial, result in trials if result["status"] == "done"]
        if done:
            found[study.name] = _measured(run, done, study.description())
    return _matched(found, shapes)


def _measured(
    run: RunDirectory, done: Sequence[tuple[TrialFolder, TrainedResult]], description: StudyRecord
) -> Measured:
    sizes = [trial.sizes() for trial, _ in done]
    curves = [(own[CURVE], result["epochs"]) for own, (_, result) in zip(sizes, done, strict=True)]
    images = len(run.split(str(description["dataset"]))["train"])
    making = _making([result for _, result in done])
    return Measured(
        parts=tuple(_parts(trial, result, images, making) for trial, result in done),
        origin=f"run {run.path.name}, {done[0][1]['device']['name']}",
        peak_bytes=max(result["memory"]["peak_bytes"] for _, result in done),
        checkpoint_bytes=None,
        epoch_bytes=fmean(size / max(1, epochs) for size, epochs in curves),
        result_bytes=round(fmean(own[REQUEST] + own[RESULT] for own in sizes)),
    )


def _evaluating(result: TrainedResult) -> float:
    """Seconds in which a trial's model was scored on more than its test split."""
    return sum(one["images"] + one["model"] for one in result["time"].get("evaluating", {}).values())


def _making(results: Sequence[TrainedResult]) -> float:
    """Seconds of an image of an evaluation, scoring it included."""
    scored = sum(record["cases"] for result in results for record in result.get("evaluations", ()))
    return sum(map(_evaluating, results)) / scored if scored else 0.0


def _parts(trial: TrialFolder, result: TrainedResult, images: int, making: float) -> Parts:
    trained, steps = float(result["time"]["train_seconds"]), int(result["steps"] or 0)
    # What dead attempts did again would not be done again.
    spent = trial.spent()
    total = max(trained, spent.seconds - spent.lost_seconds - _evaluating(result))
    if steps == 0:
        return Parts(start=total - trained, making=making, fit=trained / images)
    return Parts(start=total - trained, step=trained / steps, making=making)


def _matched(own: Mapping[str, Measured], shapes: Sequence[StudyShape]) -> dict[str, Measured]:
    def candidates(shape: StudyShape) -> Iterator[str]:
        yield shape.name
        yield from (name for name in own if StudyName.of(name).method == shape.method)

    found = {}
    for shape in shapes:
        name = next((name for name in candidates(shape) if name in own), None)
        if name is not None:
            found[shape.name] = own[name]
    return found
