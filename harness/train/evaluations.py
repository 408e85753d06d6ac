"""Scoring a confirmed model on images besides its test split: opened here, for confirm trials alone, and logged."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from harness.core.errors import RequestError
from harness.data.decoded import DecodedDataset
from harness.evaluation import Cases, Evaluation, EvaluationSet, Images, Opened
from harness.metrics.fitted import Fitted
from harness.metrics.table import evaluate
from harness.networks.backbones import Model
from harness.run.trial import TrialFolder
from harness.run.trial_records import EvaluatedPart, EvaluationRecord, EvaluationTime
from harness.train.data import Side, TrialData
from harness.train.evaluate import batch_logits
from harness.train.job import Control, Interrupted, NotFiniteError, TrialJob


@dataclass(frozen=True, eq=False)
class ExternalCases:
    """A decoded dataset that an evaluation opens, and which of its cases."""

    data: DecodedDataset
    rows: npt.NDArray[np.int64]
    """Those that are no copies of what the model may have seen."""
    left_out: Mapping[str, int]
    """How many others there are, by reason."""


@dataclass(frozen=True, eq=False)
class GivenEvaluation:
    """An evaluation of a trial's model."""

    name: str
    evaluation: Evaluation
    fingerprint: str
    external: Mapping[str, ExternalCases] = field(default_factory=dict)
    """By the name of the plugin."""


@dataclass(frozen=True)
class Scored:
    """What a model scored."""

    part: EvaluatedPart
    times: dict[str, EvaluationTime]


class QuarantineError(Exception):
    """A trial that may see no evaluation asked for one."""


def score(
    job: TrialJob,
    given: Sequence[GivenEvaluation],
    model: Model,
    data: TrialData,
    precision: torch.dtype | None,
    folder: TrialFolder,
    control: Control,
    fitted: Fitted | None = None,
) -> Scored:
    """Score a model on evaluations, and write its predictions beside those of the test split.

    Args:
        job: of the trial, which has to be a confirm trial.
        given: the evaluations.
        model: as it is after its training, on the device.
        data: of the trial; it has a test side.
        precision: autocast dtype, or None for full float32.
        folder: of the trial.
        control: told what is opened; stops between two batches.
        fitted: what the validation cases of the trial decided for metrics that need it.

    Raises:
        QuarantineError: the trial is no confirm trial.
        Interrupted: stopped from outside.
        NotFiniteError: a logit is not finite.
        RequestError: an evaluation gives what cannot be scored.
    """
    if not job.opens_test:
        raise QuarantineError(f"a {job.stage} trial asked for evaluations")
    records: list[EvaluationRecord] = []
    times: dict[str, EvaluationTime] = {}
    for one in given:
        scorer = _Scorer(job, one, model, data, precision, control, fitted)
        frames = list(scorer.frames(records))
        times[one.name] = {"images": scorer.making, "model": scorer.scoring}
        if frames:
            folder.write_evaluation(one.name, pl.concat(frames))
    part: EvaluatedPart = {}
    if records:
        part = {"evaluations": records, "test_reference": "in_distribution" if job.split.in_distribution else ""}
    return Scored(part, times)


def making_seconds(
    job: TrialJob,
    given: Sequence[GivenEvaluation],
    model: Model,
    data: TrialData,
    images: int,
    whole: bool = False,
) -> float:
    """Seconds that it takes to make or read an image of evaluations, on average; nothing is scored.

    Args:
        job: whose test side is used; a plan gives validation images in its place.
        given: the evaluations.
        model: of the trial.
        data: likewise.
        images: at a time, and of each set at most unless it is made as a whole.
        whole: make all images of each set.
    """
    seconds, made = 0.0, 0
    for one in given:
        scorer = _Scorer(job, one, model, data, None, Control())
        for found in one.evaluation.sets(scorer.opened()):
            began = time.perf_counter()
            made += sum(map(len, itertools.islice(found.batches(images), None if whole else 1)))
            seconds += time.perf_counter() - began
    return seconds / made if made else 0.0


class _Scorer:
    """One evaluation of one model."""

    def __init__(
        self,
        job: TrialJob,
        given: GivenEvaluation,
        model: Model,
        data: TrialData,
        precision: torch.dtype | None,
        control: Control,
        fitted: Fitted | None = None,
    ) -> None:
        self._fitted = fitted
        self._job, self._given, self._model, self._data = job, given, model.eval(), data
        self._precision, self._control = precision, control
        self.making = self.scoring = 0.0

    def frames(self, records: list[EvaluationRecord]) -> Iterator[pl.DataFrame]:
        """The predictions set by set; their records are appended."""
        given, job = self._given, self._job
        for one in given.evaluation.sets(self.opened()):
            self._check(one)
            what = f"{given.name}: {one.name}, severity {one.severity}"
            self._control.log(f"evaluation opened: {what}: {len(one.case_ids)} cases")
            logits = self._logits(one)
            if not np.isfinite(logits).all():
                raise NotFiniteError(f"logits of the evaluation {given.name}, {one.name}, are not finite")
            records.append(
                {
                    "evaluation": given.name,
                    "kind": given.evaluation.name,
                    "set": one.name,
                    "severity": one.severity,
                    "reference": one.reference,
                    "cases": len(one.case_ids),
                    "scores": evaluate(logits, one.labels, job.dataset.ordinal, job.further, self._fitted),
                    "left_out": dict(one.left_out),
                    "fingerprint": given.fingerprint,
                }
            )
            yield predictions(one.case_ids, one.groups, one.labels, logits).select(
                pl.lit(one.name).alias("set"), pl.lit(one.severity, pl.Int64).alias("severity"), pl.all()
            )
        self._control.log(
            f"evaluation {given.name}: {self.making:.1f} s to make images, {self.scoring:.1f} s to score them"
        )

    def _check(self, one: EvaluationSet) -> None:
        count = len(one.case_ids)
        if not count or len(one.groups) != count or len(one.labels) != count:
            raise RequestError(
                f"evaluation {self._given.name}: the set {one.name} has {count} cases, {len(one.groups)} groups and "
                f"{len(one.labels)} labels; as many of each are needed, and at least one"
            )

    def opened(self) -> Opened:
        """What the evaluation may see."""
        given, data = self._given, self._data
        held = self._side("in_distribution") if len(data.positions["in_distribution"]) else None
        external = {name: _external(one) for name, one in given.external.items()}
        left_out = {name: one.left_out for name, one in given.external.items()}
        return Opened(
            given.name,
            self._job.dataset.modality, self._side("test"), held, external, left_out, self._model, data.device,
            lambda images: data.normalised(torch.from_numpy(images)),
        )  # fmt: skip

    def _side(self, side: Side) -> Cases:
        return cases_of(self._job.data, self._data.positions[side].numpy())

    def _logits(self, one: EvaluationSet) -> npt.NDArray[np.float64]:
        """Float64, shape (cases, classes), batch by batch as ``harness.train.evaluate.predict`` computes them."""
        data, chunks, done = self._data, [], 0
        began, making = time.perf_counter(), 0.0
        batches = one.batches(self._job.train.eval_batch_size)
        with torch.inference_mode():
            while True:
                if self._control.stop.is_set():
                    raise Interrupted
                asked = time.perf_counter()
                images = next(batches, None)
                making += time.perf_counter() - asked
                if images is None:
                    break
                inputs = data.normalised(torch.from_numpy(np.ascontiguousarray(images)))
                chunks.append(batch_logits(self._model, inputs, self._precision))
                done += len(images)
        if done != len(one.case_ids):
            what = f"{self._given.name}: {one.name}"
            raise RequestError(f"evaluation {what}: {done} images for {len(one.case_ids)} cases")
        # Asked for once a set, so that a GPU works on while the next images are made.
        logits = torch.cat(chunks).cpu().numpy()
        self.making += making
        self.scoring += time.perf_counter() - began - making
        return logits


def cases_of(data: DecodedDataset, rows: npt.NDArray[np.int64]) -> Cases:
    """Some of a decoded dataset's cases."""

    def pixels(start: int, stop: int) -> Images:
        return np.asarray(data.images[rows[start:stop]])

    return Cases(
        tuple(data.case_ids[row] for row in rows),
        tuple(data.groups[row] for row in rows),
        data.labels[rows],
        data.classes,
        pixels,
    )


def _external(one: ExternalCases) -> Cases:
    return cases_of(one.data, one.rows)


def predictions(
    case_ids: Sequence[str], groups: Sequence[str], labels: npt.NDArray[np.int64], logits: npt.NDArray[np.float64]
) -> pl.DataFrame:
    """Predictions as ``harness.run.trial.TrialFolder.write_predictions`` describes them."""
    columns: dict[str, Sequence[str] | npt.NDArray[Any]] = {"case_id": list(case_ids), "group": list(groups)}
    columns.update({"label": labels} if labels.ndim == 1 else _numbered("label", labels))
    columns.update(_numbered("logit", logits))
    return pl.DataFrame(columns)


def _numbered(name: str, table: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    return {f"{name}_{k}": column for k, column in enumerate(table.T)}
