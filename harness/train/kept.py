"""What a training changed in its network, kept so that its model gives the same logits again, to the last bit."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from harness.core.errors import RequestError
from harness.core.files import Fence, TornFileError, read_with_status, write_atomic
from harness.networks.backbones import Model
from harness.run.trial import TrialFolder
from harness.run.trial_records import TrainedResult
from harness.train.checkpoint import changing_tensors, restore
from harness.train.progress import in_force


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


def put_back(model: Model, tensors: Mapping[str, Tensor], folder: TrialFolder) -> None:
    """Put what was kept into a network that was built and adapted as the trial's.

    Raises:
        RequestError: the code of the method builds another network now.
    """
    try:
        with torch.no_grad():
            restore(model, dict(tensors))
    except (ValueError, RuntimeError) as error:
        why = f"does not fit the network that the method builds now ({error})"
        raise RequestError(f"{folder.trained_path}: {why}") from error


def hyperparameters_of(result: TrainedResult) -> Mapping[str, bool | int | float | str]:
    """The hyperparameters that the kept network was built with: those in force at its best epoch."""
    best = result.get("best_epoch", math.inf)
    return in_force(result.get("schedule", []), best) or result["hyperparameters"]
