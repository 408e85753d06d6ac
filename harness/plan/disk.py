"""How much room a run takes, and how many files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from harness.data.split import indices
from harness.plan.parts import Measured
from harness.plan.shapes import StudyShape
from harness.studies.study import PreparedDataset, Source, Study

LEASE_AND_LOG = 900
"""Bytes of a trial's lease and log."""
TYPICAL = Measured(parts=(), origin="typical", epoch_bytes=340.0, result_bytes=3400)
"""Sizes where nothing was measured."""
SEARCH_FILES, CONFIRM_FILES = 5, 6
"""Request, result, curve, lease and log; and the predictions."""
STUDY_FILES, STUDY_BYTES = 2, 3600
"""Description and choice."""


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes of the parts of a run directory, the report left out."""

    results: int
    """Requests, results, leases, logs, descriptions of studies."""
    curves: int
    predictions: int
    data: int
    """Splits, cards."""
    backbones: int
    """Networks that are trained first."""
    kept: int
    """What confirmed models keep to be scored again."""
    code: int
    """The copy of the code that workers import; one for each version that is launched."""
    checkpoints: int
    """At most at one time, one a worker; gone when the run is done."""
    decoded: int
    """Decoded images, outside of the run directory and shared by all runs."""
    files: int
    """That stay in the run directory."""

    @property
    def stays(self) -> int:
        """Bytes of the run directory when the run is done."""
        return self.results + self.curves + self.predictions + self.data + self.backbones + self.kept + self.code


def disk(
    shapes: Sequence[StudyShape],
    studies: Sequence[Study],
    measured: Mapping[str, Measured],
    workers: int,
    code: tuple[int, int],
) -> Disk:
    """What a run will take.

    Args:
        shapes: of the studies, backbones that are trained first among them.
        studies: the same without these.
        measured: by name; typical sizes stand in where something is missing.
        workers: trials that run at the same time.
        code: files and bytes of the copy of the code.
    """
    datasets = {study.dataset.label: study.dataset for study in studies}
    rows = {label: predictions_bytes(dataset) for label, dataset in datasets.items()}
    results = curves = predictions = kept = files = 0
    keeps = {study.name: study.keep for study in studies}
    largest = 0
    for shape in shapes:
        sizes = measured.get(shape.name, TYPICAL)
        confirmed = shape.confirm_trials + shape.repeats
        epochs = 1 if any(parts.fit is not None for parts in sizes.parts) else shape.shape.epochs
        results += shape.trials * ((sizes.result_bytes or TYPICAL.result_bytes or 0) + LEASE_AND_LOG)
        curves += round(shape.trials * epochs * (sizes.epoch_bytes or TYPICAL.epoch_bytes or 0.0))
        files += (shape.search_trials + shape.reevaluations) * SEARCH_FILES + confirmed * CONFIRM_FILES
        largest = max(largest, sizes.checkpoint_bytes or 0)
        if not shape.trained_first:
            keeping = {"none": 0, "chosen": shape.confirm_trials, "all": confirmed}[keeps[shape.name]]
            kept, files = kept + keeping * (sizes.kept_bytes or 0), files + keeping
            predictions += confirmed * rows[shape.dataset]
            tests = len(datasets[shape.dataset].split.test)
            predictions += round(shape.confirm_trials * shape.evaluated * rows[shape.dataset] / max(1, tests))
            files += shape.confirm_trials * len(datasets[shape.dataset].evaluations)
            results, files = results + STUDY_BYTES, files + STUDY_FILES
    sources = {study.source.identity: study.source for study in studies if study.source is not None}
    used = (*datasets.values(), *(source.dataset for source in sources.values()))
    decoded = {id(one.data): one.data.images.nbytes for one in used}
    backbones = sum(_model_bytes(source) for source in sources.values())
    data = sum(_split_bytes(dataset) for dataset in datasets.values())
    # A split, a card and its picture; the trained network.
    files += 3 * len(datasets) + len(sources) + code[0]
    return Disk(
        results, curves, predictions, data, backbones, kept, code[1], workers * largest, sum(decoded.values()), files
    )  # fmt: skip


def predictions_bytes(dataset: PreparedDataset) -> int:
    """Bytes of a file of predictions of the test side: one is written in memory, with random logits."""
    data = dataset.data
    test = indices(dataset.split, data)[2]
    draw = np.random.default_rng(0)
    columns: dict[str, object] = {
        "case_id": [data.case_ids[row] for row in test],
        "group": [data.groups[row] for row in test],
        "label": draw.integers(0, len(data.classes), len(test)),
    }
    # float32 networks: their logits fill half of a float64.
    logits = draw.normal(size=(len(data.classes), len(test))).astype(np.float32).astype(np.float64)
    columns |= {f"logit_{place}": own for place, own in enumerate(logits)}
    stream = io.BytesIO()
    pl.DataFrame(columns).write_parquet(stream)
    return len(stream.getvalue())


def _model_bytes(source: Source) -> int:
    """Bytes of the tensors of a network; its head is of no account."""
    from harness.networks.backbones import build_model

    model, _ = build_model(source.backbone, None, classes=2, seed=0)
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def _split_bytes(dataset: PreparedDataset) -> int:
    split = dataset.split
    # As JSON with an indentation of four spaces, quotes, comma and end of line.
    return sum(len(case.encode()) + 8 for side in (split.train, split.val, split.test) for case in side) + 20_000
