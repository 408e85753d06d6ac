"""What a clock decides for a study on a kind of device: measured once, recorded, and kept to by everyone."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch

from harness.core import lease as leases
from harness.core.files import encode_json, write_exclusive
from harness.core.json_form import Form
from harness.train.job import Control, Interrupted

R = TypeVar("R")


def device_kind(device: torch.device) -> str:
    """The model of a GPU, or the instruction set of a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu {torch.backends.cpu.get_cpu_capability()}"


def file_name(kind: str) -> str:
    """A kind of device as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9]+", "-", kind)


def recorded(
    path: Path,
    kind: str,
    device: torch.device,
    control: Control,
    measure: Callable[[], Mapping[str, object]],
    form: Form[R],
) -> R:
    """What is recorded at a path, measured now if nobody has; the folder holds the leases of those who measure.

    Args:
        path: of the record.
        kind: of the device, noted in it.
        device: on which it is measured; its memory is given back afterwards.
        control: stops the waiting for others.
        measure: returns ``choice`` and ``reason``, and what else is worth keeping.
        form: what the file must hold.

    Raises:
        Interrupted: stopped from outside; nothing is begun.
    """
    while not path.exists():
        if control.stop.is_set():
            raise Interrupted
        path.parent.mkdir(parents=True, exist_ok=True)
        lease = leases.claim(path.parent)
        if lease is None:
            time.sleep(leases.POLL_SECONDS)
            continue
        try:
            with leases.keep_alive(lease):
                # The last owner may have finished between the two looks.
                if not path.exists():
                    found = measure()
                    write_exclusive(path, encode_json({"device": kind, **found}), fence=lease.check)
                    free_memory(device)
        finally:
            lease.release("measured")
    return form.read(path)


def free_memory(device: torch.device) -> None:
    """Give back what trainings took that are gone, so that it does not count as memory that a trial takes."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
