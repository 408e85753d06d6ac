"""One recorded trial trained again through the harness's own code, and what came out otherwise.

The run directory is only read. What trains is imported when it is needed, so that the rest of ``analysis`` stays free
of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.environment import capture
from harness.core.errors import RequestError
from harness.core.identity import differences
from harness.proof.comparison import VARYING
from harness.run.record_values import Scores, Side, score_of
from harness.run.trial_records import scores_on

if TYPE_CHECKING:
    import polars as pl
    import torch

    from harness.run.directory import RunDirectory
    from harness.run.trial import TrialFolder
    from harness.studies.study import Roots, Study

_TRAINING_PARTS = ("protocol", "method", "backbone", "dataset", "train")


def what_changed(run: RunDirectory, study: Study) -> list[str]:
    """What is not as it was when the run was planned or launched, a line each: code, data, settings, versions.

    The search space and the settings of the search are not looked at: the configuration is known.
    """
    from harness.train.device import accelerators

    def training(identity: Mapping[str, object]) -> dict[str, object]:
        return {part: identity[part] for part in _TRAINING_PARTS if part in identity}

    lines = differences(training(study.folder.description()["identity"]), training(study.identity))
    try:
        recorded = run.environment()
    except FileNotFoundError:
        return [*lines, "environment: the run has no record of it"]
    kept = ("commit", "dirty", "python", "packages")
    before, now = ({name: found.get(name) for name in kept} for found in (recorded, capture(accelerators())))
    return lines + differences(before, now)


def compare(recorded: TrialFolder, again: TrialFolder, metric: str) -> list[str]:
    """Every way in which two runs of one confirm trial differ, a line each; empty where they are the same bit for bit.

    Compared are metrics, learning curve and predictions, and what else both results have; times, memory and device
    are not.

    Args:
        recorded: of the run directory.
        again: the repetition.
        metric: the primary one, whose two values are said.

    Raises:
        TornFileError: a file of the recorded trial is not readable.
    """
    before, now = recorded.result(), again.result()
    if now["status"] != "done":
        return [f"it failed this time: {now['cause']}: {now['message']}"]
    lines: list[str] = []
    sides: tuple[Side, ...] = ("val", "test")
    for side in sides:
        lines += _metric_lines(side, scores_on(before, side), scores_on(now, side), metric)
    then: Mapping[str, object] = before
    names = sorted((before.keys() & now.keys()) - {"metrics", *VARYING})
    lines += [f"{name} differs" for name in names if then[name] != dict(now)[name]]
    if recorded.curve() != again.curve():
        lines.append("the learning curves differ")
    try:
        predictions = recorded.predictions(as_sealed=False)
    except FileNotFoundError:
        return [*lines, "the run has lost the predictions of this trial"]
    if not predictions.equals(again.predictions()):
        lines.append(_prediction_line(predictions, again.predictions()))
    return lines


def _metric_lines(side: Side, before: Scores, now: Scores, primary: str) -> Iterator[str]:
    names = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    if not names:
        return
    apart = {
        name: abs(one - other)
        for name in names
        if (one := score_of(before, name)) is not None and (other := score_of(now, name)) is not None
    }
    where = "validation" if side == "val" else "test"
    largest = max(apart, key=lambda name: apart[name], default=None)
    told = "" if largest is None else f"; the largest difference is {apart[largest]:.3g} ({largest})"
    yield f"{where} metrics differ: {', '.join(names)}{told}"
    if primary in names:
        yield f"{where} {primary}: recorded {before.get(primary)!r}, now {now.get(primary)!r}"


def _prediction_line(before: pl.DataFrame, now: pl.DataFrame) -> str:
    facts = [name for name in before.columns if not name.startswith("logit_")]
    if before.columns != now.columns or not before.select(facts).equals(now.select(facts)):
        return "the predictions are of other cases, labels or classes"
    logits = [frame.select([name for name in frame.columns if name not in facts]).to_numpy() for frame in (before, now)]
    apart = abs(logits[0] - logits[1])
    # With several labels an image each logit decides by its sign; otherwise the largest does.
    decided = [one.argmax(axis=1, keepdims=True) if "label" in facts else one > 0 for one in logits]
    cases, other = int(apart.any(axis=1).sum()), int((decided[0] != decided[1]).any(axis=1).sum())
    return (
        f"the predictions differ in {cases} of {len(before)} cases, logits by up to {apart.max():.3g}; "
        f"what they decide differs in {other}"
    )


def repeat(study: Study, recorded: TrialFolder, again: TrialFolder, run: RunDirectory, device: torch.device) -> None:
    """Train one recorded confirm trial again: the same configuration, seed, split and number of threads.

    Args:
        study: as its plugins and data are now.
        recorded: the trial to repeat.
        again: an empty folder for it; on return it holds the result, a failure too.
        run: whose backbone is taken where the run trained one first.
        device: where to run.

    Raises:
        RequestError: the data or weights do not allow to run it.
    """
    import torch

    from harness.studies.jobs import job_of
    from harness.train.job import Control
    from harness.train.run import run_trial

    request = recorded.request()
    again.create()
    again.write_request(request)
    # Where a measurement has decided, it is not made again.
    measured: dict[str, object] = {}
    if study.train.step == "measured":
        measured["step"] = "compiled" if recorded.result().get("compiled") else "auto"
    if study.train.deterministic == "auto":
        measured["deterministic"] = bool(recorded.result()["device"].get("deterministic", False))
    # Nothing that other trials left in the cache is used: all that a training computes is computed again.
    job = replace(
        job_of(study, request), weights=_weights(run, study), train=study.train.merged(measured), cache=None, study=None
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(int(recorded.result()["device"]["threads"]))
    try:
        with again.log_path.open("a", encoding="utf-8") as log:
            run_trial(job, request, again, device, Control(log=lambda line: print(line, file=log)))
    finally:
        torch.set_num_threads(threads)


def _weights(run: RunDirectory, study: Study) -> str | Path | None:
    # What is to be repeated is this trial, so it starts from the backbone that it started from.
    weights = study.folder.description()["backbone"]["weights"]
    if not isinstance(weights, Mapping):
        return study.weights
    path = run.source(str(weights["source"])[:16]).model_path
    if not path.exists():
        raise RequestError(f"{path}: the backbone that the run trained first is gone; run the sweep command again")
    return path


def planned(
    run: RunDirectory, method: str, dataset: str, roots: Roots, trusted: bool = False, plugins: Sequence[Path] = ()
) -> list[Study]:
    """The studies of a cell, one a search, with the plugins and data of today; no other dataset is prepared.

    Args:
        run: the run directory, perhaps a stranger's.
        method: its label.
        dataset: its label.
        roots: where raw archives and decoded images are.
        trusted: import the plugin folders that the run names, and so run their code.
        plugins: folders of plugins to import in place of those.

    Raises:
        RequestError: the sweep names it no more, its plugins or data are not there, or they may not be imported.
    """
    from harness.spec.sections import SweepSpec
    from harness.studies.planner import Planner
    from harness.studies.reopened import catalogue_of

    spec = SweepSpec.model_validate(run.spec())
    if method not in spec.methods or dataset not in spec.datasets:
        raise RequestError(
            f"CELL {method}@{dataset}: the sweep names it no more; run the sweep command with both again"
        )
    only = {"methods": {method: spec.methods[method]}, "datasets": {dataset: spec.datasets[dataset]}}
    catalogue = catalogue_of(run, spec, trusted, plugins)
    return Planner(spec.model_copy(update=only), catalogue, run, roots).studies()
