"""Which GPUs this process may use, as ``CUDA_VISIBLE_DEVICES`` says and CUDA reads it; torch is not asked."""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping

VARIABLE = "CUDA_VISIBLE_DEVICES"

_NUMBER = re.compile(r"\s*\+?\d+")
_KINDS = ("MIG-", "GPU-")


def visible_gpus(value: str) -> list[str]:
    """The GPUs that a value of the variable shows, in their order; none for ``NoDevFiles``, ``-1`` or an empty one.

    CUDA takes what comes before the first entry that names no GPU, shows nothing where one is named twice, and reads
    either numbers or names of one kind, whichever comes first. Numbers beyond the last GPU cannot be known here.

    Args:
        value: numbers, or names that begin with ``GPU-`` or ``MIG-``, with commas between them.
    """
    found: list[str] = []
    first = _kind(value.partition(",")[0])
    for entry in value.split(","):
        kind = _kind(entry)
        if kind is None or kind != first:
            break
        # As CUDA does, which reads a number up to its first other character.
        number = _NUMBER.match(entry)
        name = str(int(number.group())) if kind == "" and number is not None else entry.strip()
        if name in found:
            return []
        found.append(name)
    return found


def devices_of(value: str | None, expected: int) -> list[str]:
    """What workers are given as their device, one for each GPU or part of a GPU.

    Args:
        value: of the variable; None where it is not set.
        expected: GPUs of this process where the variable is not set.

    Returns:
        ``cuda:0``, ``cuda:1``, …; names of MIG instances where there are several, because CUDA shows a process no
        more than one of them.
    """
    if value is None:
        return [f"cuda:{index}" for index in range(expected)]
    found = visible_gpus(value)
    if len(found) > 1 and found[0].startswith("MIG-"):
        return found
    return [f"cuda:{index}" for index in range(len(found))]


def take_device(device: str, environment: MutableMapping[str, str] = os.environ) -> str:
    """What torch calls a device from `devices_of`; a MIG instance becomes the only GPU of this process.

    Called before this process has used a GPU: CUDA reads the variable once.
    """
    if not device.startswith("MIG-"):
        return device
    environment[VARIABLE] = device
    return "cuda:0"


def _kind(entry: str) -> str | None:
    """The beginning of a name, empty for a number, None for what names no GPU."""
    if _NUMBER.match(entry):
        return ""
    return next((kind for kind in _KINDS if entry.strip().startswith(kind)), None)
