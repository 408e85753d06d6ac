"""The trials of a run as the targets need them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from harness.run.directory import RunDirectory
from harness.run.record_values import Scores, Stage
from harness.run.study_folder import AGAIN, StudyFolder
from harness.run.trial import TrialFolder
from harness.run.trial_records import CurveLine, Time, TrialRequest, TrialResult, sides_of


@dataclass(frozen=True, slots=True)
class ExportedTrial:
    """A trial that was begun."""

    study: str
    """``METHOD@DATASET``."""
    stage: Stage | Literal["again", "repeat"]
    """search, again (one of the best slots, on a further tuning seed), confirm or repeat."""
    name: str
    """Name of its folder."""
    request: TrialRequest
    result: TrialResult | None
    """None while it is not finished."""
    curve: list[CurveLine]
    begun: float
    """When it was asked for, seconds since the epoch."""
    heard: float
    """When an unfinished trial wrote the last line of its curve; else when it was asked for."""

    @property
    def stable_id(self) -> str:
        """Sixteen hexadecimal digits that name this trial within its run: the same in every export.

        What identifies its study is in it, so that a trial that is trained again with other code is another.
        """
        return _digest([self.study, self.stage, self.name, self.request["identity"]])

    @property
    def state(self) -> str:
        """Sixteen hexadecimal digits that change when there is more, or something else, to export."""
        return _digest([self.result, self.curve])

    @property
    def facts(self) -> dict[str, str | int | None]:
        """What names it beside its hyperparameters."""
        asked = self.request
        return {
            "study": self.study,
            "stage": self.stage,
            "slot": asked["slot"],
            "seed": asked["seed"],
            "identity": asked["identity"],
        }

    @property
    def _time(self) -> Time | None:
        return None if self.result is None else self.result.get("time")

    @property
    def started(self) -> float | None:
        """When its last attempt began, seconds since the epoch."""
        return None if self._time is None else self._time.get("started")

    @property
    def epoch_ends(self) -> list[float]:
        """When each line of the curve was written, seconds since the epoch.

        Results of earlier versions do not know it, nor do unfinished trials: what is known last stands for all. An
        export that follows a sweep sees most lines as they are written.
        """
        known = [] if self._time is None else self._time.get("epoch_ends", [])
        if len(known) == len(self.curve):
            return [float(moment) for moment in known]
        return [self.ended or self.heard] * len(self.curve)

    @property
    def ended(self) -> float | None:
        """When it ended."""
        return None if self._time is None else self._time.get("ended")

    def scores(self) -> dict[str, float]:
        """Scalar metrics of the result as ``val/NAME`` and, after confirm, ``test/NAME``; empty unless it is done.

        Of an evaluation ``EVALUATION/SET/NAME``, with the severity behind the set where it has one.
        """
        if self.result is None:
            return {}
        sides: list[tuple[str, Scores]] = [*sides_of(self.result)]
        for one in self.result.get("evaluations", ()):
            severity = f"/{one['severity']}" if one["severity"] else ""
            sides.append((f"{one['evaluation']}/{one['set']}{severity}", one["scores"]))
        return {f"{side}/{name}": value for side, scores in sides for name, value in _numbers(scores)}

    def epochs(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Each epoch's step and scalars: ``train/loss`` and ``val/NAME``."""
        for line in self.curve:
            found = line.get("train_loss")
            loss = {} if found is None else {"train/loss": found}
            yield int(line["step"]), {**loss, **{f"val/{name}": value for name, value in _numbers(line["val"])}}


def trials_of(study: StudyFolder) -> Iterator[ExportedTrial]:
    """The begun trials of a study: search, re-evaluations, confirm, repetitions.

    Raises:
        TornFileError: a file of a trial is not readable.
    """
    for folder in study.every_trial():
        if folder.has_request():
            yield read_trial(study, folder, folder.result() if folder.finished else None)


def all_trials(run: RunDirectory) -> Iterator[ExportedTrial]:
    """The begun trials of all studies, with a progress bar.

    Raises:
        TornFileError: a file of a trial is not readable.
    """
    from rich.progress import track

    from harness.core.console import Console

    for study in track(run.studies(), "studies", console=Console(stderr=True), transient=True):
        yield from trials_of(study)


def read_trial(study: StudyFolder, folder: TrialFolder, result: TrialResult | None) -> ExportedTrial:
    """A trial that was begun.

    Args:
        study: that it is of.
        folder: of the trial.
        result: of the trial, read before; None where it is not finished.

    Raises:
        FileNotFoundError: it was not begun, or was set aside.
        TornFileError: a file of it is not readable.
    """
    place = study.place_of(folder.path)
    assert place is not None
    repeats = place.part == "confirm" and place.name.endswith(AGAIN)
    begun, curve = folder.request_path.stat().st_mtime, folder.curve()
    return ExportedTrial(
        study=study.name,
        stage="repeat" if repeats else place.part,
        name=folder.name,
        request=folder.request(),
        result=result,
        curve=curve,
        begun=begun,
        heard=folder.curve_path.stat().st_mtime if curve and result is None else begun,
    )


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _numbers(scores: Scores) -> Iterator[tuple[str, float]]:
    return ((name, float(value)) for name, value in scores.items() if isinstance(value, int | float))
