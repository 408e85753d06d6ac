"""Deterministic kernels on a GPU (``train.deterministic``): sums that come out the same whenever they are made again.

On a CPU nothing changes: its kernels are deterministic. On a GPU ``auto`` takes them where that costs less than
``MOST_COST``, which the first trial of a study on a kind of device measures, for a clock must not decide twice.
"""

from __future__ import annotations

import importlib
import re
import statistics
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TextIO

import torch
from torch import Tensor

from harness.core.errors import one_line
from harness.run.measured_choices import determinism_path
from harness.run.records import KERNEL_CHOICE
from harness.run.trial import TrialFolder
from harness.train.job import Control, Interrupted, TrialJob, out_of_memory
from harness.train.loop import Training
from harness.train.speed.graph import EAGER_STEPS
from harness.train.speed.recorded_choice import device_kind, file_name, free_memory, recorded
from harness.train.timed_steps import TimedSteps

_settings: Any = importlib.import_module("torch.utils.deterministic")

MOST_COST = 0.1
"""Share of a step's time that deterministic kernels may cost more; from there on ``auto`` goes without."""
ROUNDS = 3
SECONDS = 0.2
"""Of the steps of a round, about."""
_LACKING = re.compile(r"(?:^|\s)(\S+) does not have a deterministic implementation")


@dataclass
class Kernels:
    """Which kernels a trial runs on."""

    deterministic: bool
    """Whether torch was told to take deterministic ones; on a CPU all are."""
    lacking: set[str] = field(default_factory=set)
    """Operations that were used and have none."""


def wanted(job: TrialJob, folder: TrialFolder, device: torch.device, control: Control, resident: Tensor | None) -> bool:
    """Whether a trial is to run on deterministic kernels; measured now where that is left open and nobody has.

    A trial outside of a study measures nothing, and takes them.

    Raises:
        Interrupted: stopped from outside; nothing is begun.
    """
    asked = job.train.deterministic
    if asked != "auto":
        return asked
    if device.type != "cuda" or job.study is None:
        return True
    kind = device_kind(device)
    path = determinism_path(job.study, file_name(kind))
    found = recorded(
        path, kind, device, control, lambda: measure(job, folder, device, control, resident), KERNEL_CHOICE
    )
    control.log(f"deterministic kernels: {found['choice']}, as recorded for {kind} ({found['reason']})")
    return found["choice"]


@contextmanager
def kernels(device: torch.device, deterministic: bool) -> Iterator[Kernels]:
    """Run on deterministic kernels, or on the fastest; all settings of torch are as before in the end.

    Operations without a deterministic kernel still run, and are noted: torch would refuse whole networks for one.
    """
    if device.type != "cuda" or not deterministic:
        yield Kernels(device.type != "cuda")
        return
    found = Kernels(True)
    before = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark, _settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic = True
    # It takes whatever was quickest just now.
    torch.backends.cudnn.benchmark = False
    # Nothing here reads what it has not written.
    _settings.fill_uninitialized_memory = False
    try:
        with _noting(found.lacking):
            yield found
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark, _settings.fill_uninitialized_memory = cudnn


def measure(
    job: TrialJob, folder: TrialFolder, device: torch.device, control: Control, resident: Tensor | None
) -> dict[str, object]:
    """Time steps of a training like this one without and with deterministic kernels, one training at a time in memory.

    Returns:
        ``choice``, whether to take them; ``reason``, in words; ``seconds_per_step``, ``ratio``, ``not_deterministic``,
        ``torch``.
    """
    # One that is not there: nothing of the trial itself is read or written.
    nowhere, untested = TrialFolder(folder.path / "measured", "search"), replace(job, stage="search")
    times: dict[bool, list[float]] = {False: [], True: []}
    lacking: set[str] = set()
    # The free side before and after, so that a device that grows slower while it gets warm favours neither.
    for deterministic in (False, True, False):
        try:
            with kernels(device, deterministic) as found:
                steps = TimedSteps(Training(untested, nowhere, device, control, resident))
                warm = steps.seconds(EAGER_STEPS + 2) / (EAGER_STEPS + 2)
                count = max(1, round(SECONDS / warm))
                times[deterministic] += [steps.seconds(count) / count for _ in range(ROUNDS)]
                lacking |= found.lacking
        except Interrupted:
            raise
        except Exception as error:
            if not deterministic or out_of_memory(error) is not None:
                raise
            return {"choice": False, "reason": f"impossible: {one_line(f'{type(error).__name__}: {error}')[:200]}"}
        del steps
        free_memory(device)
    return {**decision(times), "not_deterministic": sorted(lacking), "torch": torch.__version__}


def decision(times: dict[bool, list[float]]) -> dict[str, object]:
    """What the measured times say.

    Args:
        times: seconds a step, without (False) and with (True) deterministic kernels.
    """
    free, deterministic = statistics.median(times[False]), statistics.median(times[True])
    ratio = deterministic / free
    return {
        "choice": ratio < 1 + MOST_COST,
        "reason": f"{ratio:.2f} times the time a step",
        "seconds_per_step": {"free": free, "deterministic": deterministic},
        "ratio": ratio,
    }


@contextmanager
def _noting(lacking: set[str]) -> Iterator[None]:
    """Note the operations that torch warns of, in the place of showing a warning for each use."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=".*does not have a deterministic implementation")
        show = warnings.showwarning

        def note(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            said = _LACKING.search(str(message))
            if said is None:
                show(message, category, filename, lineno, file, line)
            else:
                lacking.add(said.group(1))

        warnings.showwarning = note
        yield
