"""The kept models of one method on one dataset: which there are, and each as it was after its training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from harness.core.errors import RequestError
from harness.metrics.logits import sigmoid, softmax
from harness.metrics.parts import FloatArray
from harness.metrics.table import evaluate, fit_on_validation
from harness.networks.backbones import Model
from harness.predict.temperature import fitted_temperature
from harness.run.cells import CellName, confirm_trials, parse_cell, searches_by_cell
from harness.run.directory import RunDirectory
from harness.run.links import refuse_links
from harness.run.record_values import Scores
from harness.run.trial import TrialFolder
from harness.run.trial_records import TrialResult, scores_on
from harness.spec.sections import SweepSpec
from harness.studies.jobs import job_of
from harness.studies.reopened import reopened
from harness.studies.study import Roots, Study
from harness.train.data import resident_images
from harness.train.device import usable_device
from harness.train.evaluate import batch_logits, predict
from harness.train.kept import MOST_DIFFERENCE, Restored, restored


@dataclass(frozen=True, slots=True)
class KeptReplicate:
    """A confirm trial that kept its model."""

    study: str
    """Name of its study: one of the searches of its method on its dataset."""
    seed: int
    folder: TrialFolder


@dataclass(frozen=True, slots=True)
class KeptCell:
    """A method on a dataset, and the replicates of it that kept their models."""

    run: RunDirectory
    cell: CellName
    kept: tuple[KeptReplicate, ...]
    """At least one, by seed."""
    finished: int
    """Replicates that are done, whether they kept a model or not."""

    @property
    def name(self) -> str:
        """``METHOD@DATASET``."""
        return self.cell.studies[0]


@dataclass(frozen=True, slots=True, eq=False)
class KeptModel:
    """The model of one replicate, as it was after its training, on a device."""

    seed: int
    classes: tuple[str, ...]
    multi_label: bool
    """Whether an image may bear several classes: each then has a probability of its own."""
    size: int
    """Side of its images in pixels."""
    batch: int
    """Images that the trial scored at once."""
    max_pixels: int
    """Most pixels of an image file."""
    temperature: float
    """1 where none was fitted."""
    restored: Restored

    def logits(self, images: npt.NDArray[np.uint8]) -> FloatArray:
        """Logits as the trial's own evaluation computes them, not divided by the temperature.

        Args:
            images: shape (batch, size, size, 3), RGB.

        Returns:
            Shape (batch, classes).
        """
        found = self.restored
        with found.kernels(), torch.inference_mode():
            inputs = found.data.normalised(torch.from_numpy(images))
            return batch_logits(found.model, inputs, found.precision).cpu().numpy()

    def probabilities(self, images: npt.NDArray[np.uint8]) -> FloatArray:
        """Probabilities of shape (batch, classes); those of an image sum to 1 unless it may bear several classes."""
        logits = self.logits(images) / self.temperature
        return sigmoid(logits) if self.multi_label else softmax(logits)


def find_kept(run: RunDirectory, cell: str, replicate: int | None = None) -> KeptCell:
    """The replicates of a cell whose models were kept; images are not needed for that.

    Args:
        run: the run directory.
        cell: ``METHOD@DATASET``, or ``METHOD@DATASET:SEED`` for one replicate.
        replicate: seed of the only one that is wanted; None for all.

    Raises:
        RequestError: there is no such run, cell or replicate, or no model was kept.
        TornFileError: a file of the run is not readable.
    """
    run.require()
    refuse_links(run)
    found = parse_cell(run, cell)
    if len(found.methods) > 1:
        raise RequestError(f"CELL {cell}: names two methods; models of one can be used, write METHOD@DATASET")
    if replicate is not None and found.seed not in (None, replicate):
        raise RequestError(f"CELL {cell}: names another replicate than --replicate {replicate}; leave one out")
    seed = found.seed if replicate is None else replicate
    (method,) = found.methods
    done = [
        (KeptReplicate(study.name, one.replicate.seed, one.folder), result)
        for study in searches_by_cell(run)[method, found.dataset]
        for one in confirm_trials([study])
        if one.folder.finished and (result := one.folder.result())["status"] == "done"
    ]
    kept = sorted((one for one, _ in done if one.folder.trained_path.exists()), key=lambda one: one.seed)
    if not kept:
        raise RequestError(f"{found.studies[0]}: {_nothing_kept([result for _, result in done])}")
    chosen = [one for one in kept if seed in (None, one.seed)]
    if not chosen:
        known = ", ".join(str(one.seed) for one in kept)
        raise RequestError(f"{found.studies[0]}: no model of replicate {seed} was kept; those of {known} were")
    return KeptCell(run, replace(found, seed=seed), tuple(chosen), len(done))


def _nothing_kept(done: Sequence[TrialResult]) -> str:
    """Why there is no model, what to set, and what that would cost."""
    if not done:
        return "no confirm trial is done yet; run the sweep command again"
    hours = sum(result["time"]["train_seconds"] for result in done if "time" in result) / 3600
    return (
        "no model was kept; write `confirm: {keep: chosen}` in the sweep file, move the "
        f"{len(done)} folders of its confirm trials out of the run and run the sweep command again, which trains them "
        f"again: about {hours:.2g} device-hours by their records"
    )


def open_models(
    found: KeptCell,
    *,
    device: str | None = None,
    trusted: bool = False,
    plugins: Sequence[Path] = (),
    data_root: Path | None = None,
    temperature: bool = True,
) -> list[KeptModel]:
    """Build each kept model again, check it, and fit its temperature.

    Nothing is written into the run, and no test image is read. A model's validation scores are computed again and
    compared with those of its trial; the temperature comes from the same predictions.

    Args:
        found: which models.
        device: cpu or cuda:N; None for the first GPU, else the CPU.
        trusted: whether the plugins that the run names may be imported.
        plugins: folders whose plugins are imported in their place.
        data_root: folder of the raw archives; None for the usual one.
        temperature: whether one is fitted.

    Raises:
        RequestError: the images of the dataset, a plugin or a device is missing, or code, data or settings have changed
            since the models were trained.
        TornFileError: a file of the run is damaged.
    """
    place = usable_device(device)
    run, (method,) = found.run, found.cell.methods
    # What models are scored on further is no matter here, and need not be on this machine.
    spec = SweepSpec.model_validate({**run.spec(), "evaluate": []})
    if found.cell.dataset not in spec.datasets or method not in spec.methods:
        raise RequestError(f"{found.name}: the sweep no longer names it, so its models cannot be built again")
    roots = Roots.here(data_root)
    studies = {study.name: study for study in reopened(run, spec, roots, trusted, plugins, [found.cell.dataset])}
    return [_opened(studies, one, place, temperature) for one in found.kept]


def _opened(studies: dict[str, Study], one: KeptReplicate, device: torch.device, temperature: bool) -> KeptModel:
    folder = one.folder
    request, result = folder.request(), folder.result()
    study = studies.get(one.study)
    if study is None or not study.asks_for("confirm", request):
        raise RequestError(f"{folder.path}: was trained with other code, data or settings than the run has now")
    # A search job has no test side: nothing here can come from test images.
    job = replace(job_of(study, request), stage="search", evaluations=())
    model = restored(job, folder, device, resident_images(job.data, torch.device("cpu")))
    with model.kernels():
        logits = predict(model.model, model.data, "val", job.train.eval_batch_size, model.precision)
    labels = model.data.targets("val").cpu().numpy()
    fitted = fit_on_validation(logits, labels, job.further)
    scores = evaluate(logits, labels, job.dataset.ordinal, job.further, fitted)
    _compare(scores, scores_on(result, "val"), folder.trained_path)
    return KeptModel(
        seed=one.seed,
        classes=job.data.classes,
        multi_label=job.data.multi_label,
        size=job.train.image_size,
        batch=job.train.eval_batch_size,
        max_pixels=job.dataset.max_pixels,
        temperature=fitted_temperature(logits, labels) if temperature else 1.0,
        restored=model,
    )


def _compare(now: Scores, recorded: Scores, kept: Path) -> None:
    """Refuse a model that does not score on the validation images what its trial recorded."""
    for name, before in recorded.items():
        after = now.get(name)
        if not isinstance(before, float) or not isinstance(after, float) or not math.isfinite(before):
            continue
        if abs(after - before) > MOST_DIFFERENCE * max(1.0, abs(before)):
            raise RequestError(
                f"{kept}: gives another validation {name} ({after:.4g}) than the trial recorded ({before:.4g}); the "
                "code of the method or a library has changed, so this model cannot be used"
            )


def load_model(
    run: str | Path,
    cell: str,
    replicate: int,
    *,
    device: str = "cpu",
    trusted: bool = False,
    plugins: Sequence[str | Path] = (),
    data_root: str | Path | None = None,
) -> Model:
    """A kept model of a run for a program of your own, in evaluation mode.

    It maps float32 images of shape (N, 3, size, size) to logits of shape (N, classes). Scale images to [0, 1], resize
    them to the run's ``train.image_size`` and normalise them by ``model.normalisation`` (``mean`` and ``std`` of the
    three channels). The images of the run's dataset have to be on this machine, as for ``python -m harness.predict``.

    Args:
        run: run directory, which is only read.
        cell: ``METHOD@DATASET``.
        replicate: seed of the confirm trial whose model is wanted.
        device: cpu or cuda:N.
        trusted: import the plugins that the run names; their code is executed.
        plugins: folders whose plugins are imported in their place.
        data_root: folder of the raw archives; None for the usual one.

    Raises:
        RequestError: the model was not kept, or cannot be built again; the message says why.
        TornFileError: a file of the run is damaged.
    """
    found = find_kept(RunDirectory(Path(run)), cell, replicate)
    (model,) = open_models(
        found,
        device=device,
        trusted=trusted,
        plugins=[Path(folder) for folder in plugins],
        data_root=None if data_root is None else Path(data_root),
        temperature=False,
    )
    return model.restored.model
