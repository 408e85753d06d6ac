"""Loads given weights into a network: a file of our own form, anyone's file, or a repository of the Hub."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.core.errors import RequestError
from harness.networks.config_file import NAME as CONFIG
from harness.networks.config_file import read_config
from harness.networks.fitting import Reading, readings, same_tensors
from harness.networks.foreign import ForeignFile, check_kind, read_foreign
from harness.networks.hub import hub_files
from harness.networks.normalisation import TIMM, Normalisation
from harness.networks.references import is_hub
from harness.networks.weights_file import is_own, load_own

_REMEDY = "correct backbone.name or backbone.weights (`python -m harness.networks inspect FILE` names what it fits)"


@dataclass(frozen=True)
class LoadedWeights:
    """What came of given weights."""

    path: Path
    """The file that was read, in the Hub's cache for a repository."""
    normalisation: Normalisation | None
    """What the weights themselves, or the configuration beside them, say; None where they say nothing."""
    says: str
    """Where the normalisation is from."""
    reading: Reading | None
    """None for a file of our own form; without the tensors, which would keep the whole file in memory."""
    rivals: tuple[str, ...] = ()
    """Where in the file the same network is with other values."""

    def summary(self) -> str:
        """What was taken from where, in a line."""
        if self.reading is None:
            return f"{self.path.name}: a file of our own form"
        counts = {fate: len(self.reading.of(fate)) for fate in ("taken", "renamed", "left out")}
        said = ", ".join(f"{count:,} tensors {fate}" for fate, count in counts.items() if count)
        return (
            f"{self.path.name}: {said}: {self.reading.where}"
            + (f"; normalisation from {self.says}" if self.says else "")
            + "".join(f"; also there, with other values: {rival}" for rival in self.rivals)
        )


def load_weights(backbone: nn.Module, name: str, weights: str | Path, classifiers: Iterable[str]) -> LoadedWeights:
    """Put given weights into a network of their architecture.

    Args:
        backbone: the network without its classifier.
        name: as for ``build_model``.
        weights: a file, or ``hf-hub:ORG/NAME``.
        classifiers: names of the modules that were the classifier.

    Raises:
        RequestError: they cannot be had or read, or do not fit: of the backbone something is missing, has another
            shape or is not finite, or something in the file has no place in it.
    """
    path, config = _files(weights)
    check_kind(path)
    if is_own(path):
        stated = load_own(backbone, name, path)
        return LoadedWeights(path, stated, "the file's metadata", None)
    file = read_foreign(path)
    normalisation, says = _normalisation(file, name, config, is_hub(str(weights)))
    best, *others = _fitting(file, name, backbone.state_dict(), classifiers)
    _check_values(path, best)
    backbone.load_state_dict({**backbone.state_dict(), **best.tensors})
    rivals = tuple(other.where for other in others if other.complete and not same_tensors(best, other))
    return LoadedWeights(path, normalisation, says, replace(best, tensors={}), rivals)


def _files(weights: str | Path) -> tuple[Path, Path | None]:
    if isinstance(weights, str) and is_hub(weights):
        found = hub_files(weights)
        return found.weights, found.config
    path = Path(weights)
    beside = path.with_name(CONFIG)
    return path, beside if beside.is_file() else None


def _normalisation(
    file: ForeignFile, name: str, config: Path | None, from_hub: bool
) -> tuple[Normalisation | None, str]:
    if file.normalisation is not None:
        return file.normalisation, "the file's metadata"
    if config is None:
        return None, ""
    stated = read_config(config)
    if stated.architecture != name.removeprefix(TIMM):
        # In a folder of several files, it may be another one's.
        if from_hub and stated.architecture is not None:
            raise RequestError(
                f"backbone.weights: does not fit {name}: the repository holds {stated.architecture}; write "
                f"backbone.name: {TIMM}{stated.architecture}"
            )
        return None, ""
    return stated.normalisation, f"{config.name} beside it"


def _fitting(file: ForeignFile, name: str, wanted: dict[str, Tensor], classifiers: Iterable[str]) -> list[Reading]:
    found = readings(file.mappings, wanted, classifiers)
    if not found or 10 * found[0].named < len(wanted):
        first = next(iter(file.mappings[0].tensors))
        raise RequestError(
            f"{file.path}: does not fit {name}: (next to) none of its tensors has a name of that network's (the first "
            f"is {first}); {_REMEDY}"
        )
    if not found[0].complete:
        best = found[0]
        raise RequestError(
            f"{file.path}: does not fit {name}: {best.lacks()} (the closest of {len(found)} readings, with "
            f"{len(best.tensors):,} of {len(wanted):,} tensors: {best.where}); {_REMEDY}"
        )
    return found


def _check_values(path: Path, reading: Reading) -> None:
    for name, tensor in reading.tensors.items():
        if not torch.isfinite(tensor).all():
            raise RequestError(f"{path}: {name} has values that are not finite; take an earlier state of that training")
