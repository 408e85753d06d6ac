"""timm's ``config.json`` beside weights: the network that they are of, and what images it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import RequestError
from harness.core.files import parse_json
from harness.networks.normalisation import Normalisation, normalisation_of

NAME = "config.json"
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class PretrainedConfig:
    """What timm says of weights."""

    architecture: str | None
    """timm's name of the network; None where the file is of another program."""
    normalisation: Normalisation | None


def read_config(path: Path) -> PretrainedConfig:
    """Read a ``config.json``; of another program's, nothing is known.

    Raises:
        RequestError: it names a mean and standard deviation that are not three numbers each.
    """
    with path.open("rb") as stream:
        content = parse_json(stream.read(_MOST_BYTES)) or {}
    architecture = content.get("architecture")
    # Before timm 0.9 there was one level.
    stated = content.get("pretrained_cfg", content)
    if not isinstance(architecture, str) or not isinstance(stated, dict) or not {"mean", "std"} <= stated.keys():
        return PretrainedConfig(architecture if isinstance(architecture, str) else None, None)
    try:
        return PretrainedConfig(architecture, normalisation_of(stated["mean"], stated["std"]))
    except (ValueError, TypeError) as error:
        raise RequestError(f"{path}: mean and std are not three numbers each; correct them") from error
