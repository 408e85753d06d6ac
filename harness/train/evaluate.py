"""Logits of a whole side of the split, in large batches without gradients."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.networks.backbones import Model
from harness.train.data import Side, TrialData


def predict(
    model: Model, data: TrialData, side: Side, batch_size: int, precision: torch.dtype | None
) -> npt.NDArray[np.float64]:
    """Float64 logits, shape (cases of the side, classes), in the side's order, with the network in evaluation mode.

    Raises:
        KeyError: the trial was not given this side.
    """
    model.eval()
    chunks = []
    with torch.inference_mode():
        for positions in torch.split(data.positions[side], batch_size):
            chunks.append(batch_logits(model, data.evaluation_batch(positions), precision))
    return torch.cat(chunks).cpu().numpy()


def batch_logits(model: Model, images: Tensor, precision: torch.dtype | None) -> Tensor:
    """Float64 logits, shape (batch, classes), on the device.

    Args:
        model: in evaluation mode.
        images: normalised, as ``TrialData.evaluation_batch`` gives them.
        precision: autocast dtype, or None for full float32.
    """
    with torch.autocast(images.device.type, precision, enabled=precision is not None):
        logits: Tensor = model(images)
    return logits.double()
