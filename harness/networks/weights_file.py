"""Networks in safetensors files: tensors ``backbone.…`` and ``head.…``, name, normalisation as metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from harness.core.errors import RequestError
from harness.networks.architectures import READ_FILES, normalisation_of
from harness.networks.normalisation import Normalisation

_PREFIX = "backbone."


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


def missing_file(path: Path) -> RequestError:
    """The error for a path at which there is no file."""
    return RequestError(f"backbone.weights: no file {path}; correct the path")


def load_backbone(backbone: nn.Module, name: str, path: Path) -> Normalisation:
    """Put the stored backbone into a network of the same architecture; return the stored normalisation.

    Raises:
        RequestError: no such file, a damaged one, or one that holds another architecture.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            keys = [key for key in file.keys() if key.startswith(_PREFIX)]  # noqa: SIM118  (no mapping)
            stored = {key.removeprefix(_PREFIX): file.get_tensor(key) for key in keys}
        normalisation = normalisation_of(json.loads(metadata["mean"]), json.loads(metadata["std"]))
    except FileNotFoundError as error:
        raise missing_file(path) from error
    except (SafetensorError, OSError) as error:
        raise RequestError(f"{path}: not a readable safetensors file ({error}); write it again") from error
    except (KeyError, ValueError, TypeError) as error:
        raise RequestError(f"{path}: its metadata lack the normalisation; {READ_FILES}") from error
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
