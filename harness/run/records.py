"""What a launch leaves in a run directory: plan, budget, machine, workers, and what it measured on a device.

Members that a run from an earlier version may lack are ``NotRequired``, here as in the other records.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from harness.core.json_form import Form, Length
from harness.run.record_values import Count, Moment
from harness.space.parameters import Number


class ExhaustedRecord(TypedDict):
    """``exhausted.json``: a budget that was used up, in device-seconds."""

    cap: Number
    used: Number


class PlanTokenRecord(TypedDict):
    """``plan.json``: the plan that counts now."""

    token: str
    changing: bool


class _Measured(TypedDict):
    device: str
    reason: str


class StepChoiceRecord(_Measured):
    """``steps/DEVICE/choice.json``: whether a study compiles steps on a kind of device, as it measured."""

    choice: Literal["auto", "compiled"]


class KernelChoiceRecord(_Measured):
    """``kernels/DEVICE/choice.json``: whether a study takes deterministic kernels on a kind of device."""

    choice: bool


class MachineRecord(TypedDict):
    """The machine of the first launch."""

    system: NotRequired[str]
    processor: NotRequired[str]
    cpu: NotRequired[str | None]
    cores: NotRequired[Count | None]
    memory_bytes: NotRequired[Count | None]
    gpus: NotRequired[list[str] | None]


class EnvironmentRecord(TypedDict):
    """``environment.json``: commit, versions and machine of the first launch."""

    commit: str | None
    dirty: bool | None
    python: str
    packages: dict[str, str | None]
    machine: MachineRecord


class WorkerReportRecord(TypedDict):
    """``workers/NAME.json``: what a worker is at."""

    trial: str | None
    since: Moment
    claimable: Count
    memory: NotRequired[Annotated[list[Count], Length(2, 2)] | None]


EXHAUSTED: Form[ExhaustedRecord] = Form(ExhaustedRecord)
STEP_CHOICE: Form[StepChoiceRecord] = Form(StepChoiceRecord)
KERNEL_CHOICE: Form[KernelChoiceRecord] = Form(KernelChoiceRecord)
PLAN: Form[PlanTokenRecord] = Form(PlanTokenRecord)
ENVIRONMENT: Form[EnvironmentRecord] = Form(EnvironmentRecord)
WORKER_REPORT: Form[WorkerReportRecord] = Form(WorkerReportRecord)
