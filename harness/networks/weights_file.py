"""Networks in safetensors files: tensors ``backbone.…`` and ``head.…``, name, normalisation as metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from harness.core.errors import RequestError
from harness.networks.foreign import open_safetensors, stated_normalisation
from harness.networks.normalisation import Normalisation

_BACKBONE, _HEAD = "backbone.", "head."


def encode_network(
    tensors: Mapping[str, Tensor], name: str, normalisation: Normalisation, description: Mapping[str, str]
) -> bytes:
    """The content of a file; ``description`` may add to the metadata and replace them."""
    from safetensors.torch import save

    metadata = {
        "backbone": name,
        "mean": json.dumps(normalisation.mean),
        "std": json.dumps(normalisation.std),
        **description,
    }
    return save({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, metadata)


def is_own(path: Path) -> bool:
    """Whether a file has this form: its normalisation in the metadata, and tensors of a backbone and a head alone.

    Raises:
        RequestError: a safetensors file that is missing or damaged.
    """
    if path.suffix.lower() != ".safetensors":
        return False
    with open_safetensors(path) as file:
        stated = {"mean", "std"} <= (file.metadata() or {}).keys()
        return stated and all(key.startswith((_BACKBONE, _HEAD)) for key in file.keys())  # noqa: SIM118  (no mapping)


def load_own(backbone: nn.Module, name: str, path: Path) -> Normalisation:
    """Put the stored backbone into a network of the same architecture; return the stored normalisation.

    Raises:
        RequestError: no such file, a damaged one, or one that holds another architecture.
    """
    with open_safetensors(path) as file:
        metadata = file.metadata() or {}
        keys = [key for key in file.keys() if key.startswith(_BACKBONE)]  # noqa: SIM118  (no mapping)
        stored = {key.removeprefix(_BACKBONE): file.get_tensor(key) for key in keys}
    normalisation = stated_normalisation(path, metadata)
    assert normalisation is not None, "a file of this form"
    written = metadata.get("backbone") or name
    misfit = _misfit(backbone.state_dict(), stored)
    if written != name or misfit:
        what = f"holds {written}" if written != name else misfit
        raise RequestError(f"{path}: does not fit {name}: {what}; correct backbone.name or backbone.weights")
    backbone.load_state_dict(stored)
    return normalisation


def _misfit(wanted: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> str | None:
    missing, extra = sorted(wanted.keys() - stored.keys()), sorted(stored.keys() - wanted.keys())
    if missing:
        return f"{len(missing)} tensors are missing, the first is {missing[0]}"
    if extra:
        return f"{len(extra)} tensors have no place, the first is {extra[0]}"
    for key, tensor in wanted.items():
        if tensor.shape != stored[key].shape:
            return f"{key} has shape {tuple(stored[key].shape)}, not {tuple(tensor.shape)}"
    return None
