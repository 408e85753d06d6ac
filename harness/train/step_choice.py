"""Whether steps are compiled, where the sweep leaves that to a measurement: made once, recorded, and kept to.

A clock decides, so it must not decide twice: compiled and plain sums differ in their last bits. The first trial of a
study on a kind of device measures both; every later one, and every resume, repetition and worker there, takes what is
recorded. A trial that resumes from a checkpoint keeps what it began with, wherever it goes on.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from harness.run.measured_choices import step_choice_path
from harness.run.records import STEP_CHOICE
from harness.run.trial import TrialFolder
from harness.train.job import Control, TrialJob
from harness.train.loop import Training
from harness.train.speed.graph import EAGER_STEPS
from harness.train.speed.recorded_choice import device_kind, file_name, recorded
from harness.train.timed_steps import TimedSteps

ROUNDS = 5
SECONDS = 0.3
"""Of one side's steps in a round, about."""


def settled(
    job: TrialJob, folder: TrialFolder, device: torch.device, control: Control, resident: Tensor | None
) -> TrialJob:
    """The job with ``train.step`` as its study has it on this kind of device, measured now if nobody has.

    Raises:
        Interrupted: stopped from outside; nothing is begun.
    """
    if job.train.step != "measured" or folder.checkpoint_path.exists():
        return job
    if job.study is None:
        control.log("steps are not compiled: a trial outside of a study measures nothing")
        return _with_step(job, "auto")
    kind = device_kind(device)
    path = step_choice_path(job.study, file_name(kind))
    found = recorded(path, kind, device, control, lambda: measure(job, folder, device, control, resident), STEP_CHOICE)
    control.log(f"step: {found['choice']}, as recorded for {found['device']} ({found['reason']})")
    return _with_step(job, found["choice"])


def measure(
    job: TrialJob, folder: TrialFolder, device: torch.device, control: Control, resident: Tensor | None
) -> dict[str, object]:
    """Steps of a training like this one, compiled and not, in turn; nothing of the trial itself is begun.

    Returns:
        ``choice`` (``auto`` or ``compiled``) and ``reason``, in words; where both sides ran also what ``decision``
        gives, ``torch`` and ``threads``.
    """
    plain = TimedSteps(Training(_with_step(job, "auto"), folder, device, control, resident))
    if not plain.training.compilable:
        return {"choice": "auto", "reason": "this method's steps are not compiled"}
    compiled = TimedSteps(Training(_with_step(job, "compiled"), folder, device, control, resident))
    compiled.seconds(1)
    network = compiled.training.context.compiled
    if network is None or not network.works:
        return {"choice": "auto", "reason": "compiling failed"}
    # With these, libraries have chosen their algorithms, and a graph is recorded.
    count = max(
        1, round(SECONDS / (max(side.seconds(EAGER_STEPS + 2) for side in (plain, compiled)) / (EAGER_STEPS + 2)))
    )
    rounds = [(plain.seconds(count), compiled.seconds(count)) for _ in range(ROUNDS)]
    speeds = {
        "auto": [without / count for without, _ in rounds],
        "compiled": [with_it / count for _, with_it in rounds],
    }
    return {
        **decision(plain.training.total_steps, speeds, network.seconds),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def decision(steps: int, rounds: Mapping[str, Sequence[float]], compile_seconds: float) -> dict[str, object]:
    """What the measured times say; ``compiled`` where that saves more in one trial than compiling takes.

    Each trial has to earn it alone: another configuration, or another process, may have to compile again.

    Args:
        steps: of one trial.
        rounds: seconds a step of both sides, ``auto`` and ``compiled``, round by round.
        compile_seconds: that the compiling took.
    """
    ratio = statistics.median(one / other for one, other in zip(rounds["auto"], rounds["compiled"], strict=True))
    seconds = statistics.median(rounds["auto"])
    saved = steps * seconds * (1 - 1 / ratio)
    return {
        "choice": "compiled" if saved > compile_seconds else "auto",
        "reason": f"compiled {ratio:.2f} times as fast, {saved:.1f} s of a trial; compiling {compile_seconds:.1f} s",
        "seconds_per_step": {name: statistics.median(times) for name, times in rounds.items()},
        "ratio": ratio,
        "compile_seconds": compile_seconds,
        "steps": steps,
    }


def _with_step(job: TrialJob, step: str) -> TrialJob:
    return replace(job, train=job.train.merged({"step": step}))
