"""What given weights are, by their content: the part of a study's identity that a backbone is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from harness.networks.backbones import known_normalisation, loaded_state
from harness.networks.normalisation import Normalisation
from harness.networks.references import is_file, is_hub


@dataclass(frozen=True)
class Content:
    """Weights, wherever they are."""

    weights: str | None
    """The name of published ones, a hash of given ones, None for random ones."""
    normalisation: Normalisation | None
    """Where it does not follow from ``weights``."""


def content_of(name: str, weights: str | None, normalisation: Normalisation | None) -> Content:
    """What a backbone starts from.

    A file of our own form is the hash of its bytes. Any other is the hash of the tensors that are taken from it, so
    that one network in several forms of file is one, and another reading of a file is another one.

    Args:
        name: of the network, as for ``build_model``.
        weights: likewise.
        normalisation: as the sweep file gives it; None for what the weights say.

    Raises:
        RequestError: given weights cannot be had, do not fit, or lack a normalisation.
    """
    if weights is None or not (is_hub(weights) or is_file(weights)):
        return Content(weights, normalisation)
    state, outcome = loaded_state(name, weights)
    if outcome is None or outcome.reading is None:
        with Path(weights).open("rb") as stream:
            return Content(hashlib.file_digest(stream, "sha256").hexdigest(), normalisation)
    return Content(_digest(state), known_normalisation(weights, normalisation, outcome.normalisation))


def _digest(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
