"""Mappings of tensors in files that other programs have written: safetensors, and PyTorch's own files.

A PyTorch file is a pickle. It is read with ``weights_only=True``: nothing in it is run, and a file that would need to
run something is refused.
"""

from __future__ import annotations

import json
import re
import warnings
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from harness.core.errors import RequestError, one_line
from harness.core.file_checks import is_checkpoint
from harness.core.zip_checks import DAMAGE
from harness.networks.normalisation import Normalisation, normalisation_of

_DEEPEST = 8
"""Levels of nesting that are searched for tensors; a training state has two to five."""
_MOST_MAPPINGS = 100_000

_WEB_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")
_LFS = b"version https://git-lfs"
_REFUSED = re.compile(r"GLOBAL (\S+) (?:was not|whose module)")


@dataclass(frozen=True)
class StoredMapping:
    """Tensors by name, as one mapping of a file holds them."""

    place: tuple[str, ...]
    """The keys that lead to it; empty for the file's outermost mapping."""
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class ForeignFile:
    """What is in a file: each mapping that holds tensors, the outer before the inner, in the file's order."""

    path: Path
    mappings: tuple[StoredMapping, ...]
    normalisation: Normalisation | None
    """What the file's own metadata say; None where they say nothing."""


def read_foreign(path: Path) -> ForeignFile:
    """Read every mapping of tensors in a file; of a PyTorch file nothing is run.

    Raises:
        RequestError: there is no such file, it is damaged or something else, holds no tensors, or would run code.
    """
    head = check_kind(path)
    file = _safetensors(path) if path.suffix.lower() == ".safetensors" else _pytorch(path, head)
    if not file.mappings:
        raise RequestError(
            f"{path}: holds no mapping of names to tensors; write a network's state dict, "
            "torch.save(net.state_dict(), FILE)"
        )
    return file


def check_kind(path: Path) -> bytes:
    """The beginning of a file, which is not what is often downloaded in the place of weights.

    Raises:
        RequestError: there is no such file, it is empty, a web page, or a pointer to the weights.
    """
    head = _head(path)
    if not head:
        raise RequestError(f"{path}: the file is empty; download or write it again")
    if head.lstrip().lower().startswith(_WEB_PAGES):
        raise RequestError(f"{path}: is a web page, not weights; download the file itself instead of the page about it")
    if head.startswith(_LFS):
        raise RequestError(f"{path}: is a pointer of Git LFS, not the weights; run `git lfs pull` where it comes from")
    return head


def missing_file(path: Path) -> RequestError:
    """The error for a path at which there is no file."""
    return RequestError(f"backbone.weights: no file {path}; correct the path")


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """A safetensors file, its header read and checked.

    Raises:
        RequestError: there is none, or what is read of it within the context is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError as error:
        raise missing_file(path) from error
    except (SafetensorError, OSError, RuntimeError, ValueError, AttributeError) as error:
        # A kind of number that this version of torch lacks is no SafetensorError.
        reason = one_line(str(error))
        raise RequestError(f"{path}: not a readable safetensors file ({reason}); write it again") from error


def stated_normalisation(path: Path, metadata: Mapping[str, str]) -> Normalisation | None:
    """The normalisation in a safetensors file's metadata, as JSON under ``mean`` and ``std``; None without them.

    Raises:
        RequestError: they are not three numbers each.
    """
    if not {"mean", "std"} <= metadata.keys():
        return None
    try:
        return normalisation_of(json.loads(metadata["mean"]), json.loads(metadata["std"]))
    except (ValueError, TypeError, RecursionError) as error:
        raise RequestError(
            f"{path}: mean and std in its metadata are not three numbers each; write it again"
        ) from error


def _head(path: Path) -> bytes:
    if not path.is_file():
        raise missing_file(path)
    with path.open("rb") as stream:
        return stream.read(512)


def _safetensors(path: Path) -> ForeignFile:
    with open_safetensors(path) as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
        stated = stated_normalisation(path, file.metadata() or {})
    return ForeignFile(path, (StoredMapping((), tensors),) if tensors else (), stated)


def _pytorch(path: Path, head: bytes) -> ForeignFile:
    if head.startswith(b"PK") and not _is_whole_archive(path):
        raise RequestError(f"{path}: damaged or truncated; download or write it again")
    try:
        # The options of a training, in many checkpoints: a plain holder of values that runs nothing.
        with torch.serialization.safe_globals([Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged file can raise anything.
        reason = one_line(str(error)) or type(error).__name__
        refused = _REFUSED.search(reason)
        if refused:
            raise RequestError(
                f"{path}: needs {refused[1]} to be run, and nothing in a file of weights is; where you trust it, write "
                "its tensors alone: torch.save(net.state_dict(), FILE)"
            ) from error
        if "TorchScript" in reason:
            raise RequestError(
                f"{path}: is a TorchScript program, which is not run; write its tensors alone: "
                "torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE)"
            ) from error
        raise RequestError(
            f"{path}: not a readable PyTorch file ({reason[:120]}); download or write it again"
        ) from error
    return ForeignFile(path, tuple(_mappings(content)), None)


def _is_whole_archive(path: Path) -> bool:
    """Whether a zip archive has its directory, and is no longer unpacked: torch stores without packing."""
    try:
        return is_checkpoint(path.resolve(), thorough=False)
    except DAMAGE:
        return False


def _mappings(content: object) -> Iterator[StoredMapping]:
    """Each mapping with tensors in it; a network that was saved whole is none, since it is never built."""
    left: list[tuple[tuple[str, ...], object]] = [((), content)]
    seen: set[int] = set()
    while left and len(seen) < _MOST_MAPPINGS:
        place, value = left.pop()
        if not isinstance(value, Mapping) or id(value) in seen or len(place) > _DEEPEST:
            continue
        seen.add(id(value))
        tensors = {key: entry for key, entry in value.items() if isinstance(key, str) and _is_plain(entry)}
        if tensors:
            yield StoredMapping(place, tensors)
        left += [
            ((*place, str(key)), entry) for key, entry in reversed(list(value.items())) if isinstance(entry, Mapping)
        ]


def _is_plain(value: object) -> bool:
    """Whether it is a tensor of numbers one by one: neither sparse nor quantised, nor without content."""
    return (
        type(value) in (Tensor, nn.Parameter)
        and isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_quantized
        and value.device.type == "cpu"
    )
