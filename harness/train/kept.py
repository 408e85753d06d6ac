"""What a training changed in its network, kept so that its model gives the same logits again, to the last bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from harness.core.errors import RequestError
from harness.core.files import Fence, TornFileError, read_with_status, write_atomic
from harness.method import Method
from harness.networks.backbones import Model
from harness.run.record_values import Configuration
from harness.run.trial import TrialFolder
from harness.run.trial_records import TrainedResult
from harness.train.checkpoint import changing_tensors, restore
from harness.train.data import TrialData
from harness.train.determinism import Kernels, kernels
from harness.train.evaluate import predict
from harness.train.evaluations import Scored, score
from harness.train.job import Control, TrialJob
from harness.train.network import build_network, folds
from harness.train.progress import in_force
from harness.train.speed.folding import FoldedNorms
from harness.train.step import autocast_dtype

MOST_DIFFERENCE = 0.05
"""Of the largest test logit: so much half precision and other kernels may change, and no more."""


def keep(model: Model, folder: TrialFolder, fence: Fence | None) -> None:
    """Write the tensors that training may have changed; what else the network consists of follows from the request.

    Args:
        model: after its training, before anything is merged.
        folder: of the trial.
        fence: as for ``harness.core.files.write_atomic``.
    """
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in changing_tensors(model).items()}
    write_atomic(folder.trained_path, save(tensors), fence)


def kept(folder: TrialFolder) -> dict[str, Tensor]:
    """What was kept.

    Raises:
        FileNotFoundError: nothing was.
        TornFileError: the file is damaged, or not the one that the trial's result was made with.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    _, content = read_with_status(folder.trained_path)
    folder.check_sealed(folder.trained_path.name, content)
    try:
        return load(content)
    except SafetensorError as error:
        raise TornFileError(folder.trained_path) from error


@dataclass(frozen=True, eq=False)
class Restored:
    """A kept model, as it was after its training."""

    model: Model
    """In evaluation mode, on the device."""
    data: TrialData
    """What its job may see; ``normalised`` makes its input of other images."""
    precision: torch.dtype | None
    """Autocast dtype of the trial, or None for full float32."""
    deterministic: bool
    """Whether the trial ran on deterministic kernels."""

    def kernels(self) -> AbstractContextManager[Kernels]:
        """The kernels of the trial, while it lasts."""
        return kernels(self.data.device, self.deterministic)


def restored(job: TrialJob, folder: TrialFolder, device: torch.device, resident: Tensor | None = None) -> Restored:
    """The model that a finished trial kept: built, adapted and filled as in the trial.

    On the same kind of device it gives the trial's logits, to the last bit.

    Args:
        job: of the trial; it trains nothing.
        folder: of the trial.
        device: where the model is to run.
        resident: the dataset's images, where they are to be left; None for the device.

    Raises:
        FileNotFoundError: the trial kept no model.
        TornFileError: a file of the trial is damaged.
        RequestError: what was kept does not fit the network that the method builds now.
    """
    result, tensors = folder.result(), kept(folder)
    if result["status"] != "done":
        raise RequestError(f"{folder.path}: is not done; only a trained model can be used")
    deterministic = result.get("device", {}).get("deterministic", True)
    with kernels(device, deterministic):
        method = job.method()
        model, data = build_network(job, method, _hyperparameters(result), device, resident)
        _put_back(model, tensors, folder)
        model.eval()
        # What a method does after its best epoch it does to a network that is not folded.
        if folds(job, method, model) and type(method).finish is Method.finish:
            FoldedNorms(model, data.made_up())
    return Restored(model, data, autocast_dtype(job.train, device), deterministic)


def score_kept(job: TrialJob, folder: TrialFolder, device: torch.device, control: Control) -> Scored:
    """Score the kept model of a finished trial on the evaluations of a job, and write its predictions.

    The same logits come out as if the evaluations had been part of the trial. Its test logits are compared with those
    that are recorded.

    Args:
        job: of the trial, with the evaluations to score; it trains nothing.
        folder: of the trial, held.
        device: where to score.
        control: as for a trial.

    Raises:
        FileNotFoundError: the trial kept no model.
        TornFileError: a file of the trial is damaged.
        RequestError: what was kept does not give the recorded predictions any more.
        Interrupted: stopped from outside; nothing is recorded.
    """
    found = restored(job, folder, device)
    model, data, precision = found.model, found.data, found.precision
    with found.kernels():
        control.log(f"test split opened: {data.count('test')} cases, to compare the kept model")
        _compare(predict(model, data, "test", job.train.eval_batch_size, precision), folder, control)
        fitted = folder.result().get("fitted")
        return score(job, job.evaluations, model, data, precision, folder, control, fitted)


def _compare(logits: npt.NDArray[np.float64], folder: TrialFolder, control: Control) -> None:
    """Refuse a model that does not give the recorded test predictions."""
    recorded = folder.predictions().select(pl.col("^logit_.*$")).to_numpy()
    if recorded.shape != logits.shape:
        raise RequestError(f"{folder.predictions_path}: is of other cases than the split has now; run the sweep again")
    largest = float(np.abs(recorded - logits).max())
    control.log(f"the kept model's test logits differ from the recorded ones by at most {largest:.3g}")
    if largest > MOST_DIFFERENCE * max(1.0, float(np.abs(recorded).max())):
        raise RequestError(
            f"{folder.trained_path}: gives other test predictions than the trial recorded (logits differ by up to "
            f"{largest:.3g}); the code of the method or a library has changed, so this model cannot be scored"
        )


def _put_back(model: Model, tensors: Mapping[str, Tensor], folder: TrialFolder) -> None:
    try:
        restore(model, dict(tensors))
    except (ValueError, RuntimeError) as error:
        why = f"does not fit the network that the method builds now ({error})"
        raise RequestError(f"{folder.trained_path}: {why}") from error


def _hyperparameters(result: TrainedResult) -> Configuration:
    """Those that the kept network was built with: in force at its best epoch."""
    return in_force(result.get("schedule", []), result.get("best_epoch", math.inf)) or result["hyperparameters"]
