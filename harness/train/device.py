"""The device that a process trains on, and what this machine has to offer."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypedDict

import torch

from harness.core.errors import RequestError, one_line

CUBLAS_WORKSPACES = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""Workspaces of a fixed size for each stream, as NVIDIA's manual of cuBLAS asks for where results are to repeat."""


class Versions(TypedDict, total=False):
    """Of what drives a GPU."""

    cuda: str
    driver: str


def accelerators() -> dict[str, object]:
    """``gpus``, the names of this machine's GPUs, beside ``versions``."""
    return {"gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())], **versions()}


def versions() -> Versions:
    """``cuda`` and ``driver``: their versions, as far as there are any."""
    found: Versions = {}
    if torch.version.cuda is not None:
        found["cuda"] = str(torch.version.cuda)
    driver = Path("/proc/driver/nvidia/version")
    if driver.exists() and (version := re.search(r"\b\d+\.\d+(\.\d+)?\b", driver.read_text())):
        found["driver"] = version.group()
    return found


def usable_device(name: str | None = None) -> torch.device:
    """The device of that name, tried out; a GPU is this process's current one from here on.

    Every process that trains takes its device here, before anything else of CUDA: what names no device (streams,
    recordings, kernels of triton, pinned memory) would otherwise go to the first GPU, or hold memory there.

    Args:
        name: cpu, cuda or cuda:N; None for the first GPU, or the CPU where there is none.

    Raises:
        RequestError: there is no such device, or it cannot be used here.
    """
    if name is None:
        name = "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda":
            device = torch.device("cuda", device.index or 0)
            # Read when cuBLAS starts; without it no sum of it is deterministic.
            os.environ.setdefault(*CUBLAS_WORKSPACES)
            torch.cuda.set_device(device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, AttributeError) as error:
        count = torch.cuda.device_count()
        known = ", ".join(["cpu", *(f"cuda:{index}" for index in range(count))])
        reason = one_line(str(error)).partition(". ")[0][:60]
        raise RequestError(f"--device {name}: cannot be used here ({reason}); known: {known}") from error
    return device
