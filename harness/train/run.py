"""From a trial's request to its committed result, whatever happens on the way."""

from __future__ import annotations

import platform
import resource
import time
import traceback

import torch
from torch import Tensor

from harness.core.errors import DataError, RequestError, one_line
from harness.core.infrastructure import is_infrastructure
from harness.core.lease import LeaseLost
from harness.networks.backbones import save_model
from harness.networks.costs import cost, pretrained
from harness.run.trial import TrialFolder
from harness.run.trial_records import (
    Circumstances,
    DeviceRecord,
    Failed,
    Metrics,
    Trained,
    TrialRequest,
    TrialResult,
    repeated,
)
from harness.train import determinism
from harness.train.device import versions
from harness.train.evaluations import Scored, cases_of, predictions, score
from harness.train.job import Control, Interrupted, NotFiniteError, OutOfRoom, Pruned, TrialJob, out_of_memory
from harness.train.kept import keep
from harness.train.loop import Training
from harness.train.rungs import pruned_result
from harness.train.step_choice import settled


def run_trial(
    job: TrialJob,
    request: TrialRequest,
    folder: TrialFolder,
    device: torch.device,
    control: Control,
    resident: Tensor | None = None,
    keep_exception: bool = False,
) -> TrialResult:
    """Train, evaluate, and commit the result; a failure of the trial is a result too.

    Args:
        request: the content of ``trial.json``, repeated in the result.
        resident: the dataset's images already on the device, if they are.
        keep_exception: raise a bug instead of recording it (for a debugger).

    Raises:
        Interrupted: stopped from outside; the checkpoint is written.
        LeaseLost: another process owns the trial now; ``folder`` has to be ``held``.
        OutOfRoom: memory ran out, and ``control`` says that the device is shared.
        RequestError: the request itself is wrong, so other trials would fail alike.
        OSError: the infrastructure failed; nothing is recorded, the trial stays to be done.
    """
    started = time.time()
    clock = time.perf_counter()
    training: Training | None = None
    outcome: Trained | Failed | None
    scored = Scored({}, {})
    kernels: determinism.Kernels | None = None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        outcome = pruned_result(job, folder)
        if outcome is None:
            deterministic = determinism.wanted(job, folder, device, control, resident)
            with determinism.kernels(device, deterministic) as kernels:
                training = Training(settled(job, folder, device, control, resident), folder, device, control, resident)
                outcome, scored = _train_and_evaluate(training)
    except (Interrupted, LeaseLost):
        raise
    except Pruned:
        outcome = pruned_result(job, folder)
        assert outcome is not None
    except Exception as error:
        if isinstance(error, RequestError) and not isinstance(error, DataError):
            raise
        if is_infrastructure(error):
            raise
        if keep_exception:
            raise
        if control.shares_device and cause_of(error) == "oom":
            raise OutOfRoom(describe(error)) from error
        control.log(traceback.format_exc())
        curve = training.progress.curve if training else []
        steps = curve[-1]["step"] if curve else 0
        outcome = {"status": "failed", "cause": cause_of(error), "message": describe(error), "steps": steps}
    if training is not None:
        seconds = training.progress.seconds
    else:
        seconds = sum(decision["seconds"] for decision in folder.decisions()[-1:])
    ran_on: DeviceRecord = {
        "name": _device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "host": platform.node(),
    }
    if kernels is not None:
        ran_on["deterministic"] = kernels.deterministic
        ran_on["not_deterministic"] = sorted(kernels.lacking)
    circumstances: Circumstances = {
        "time": {
            "started": started,
            "ended": time.time(),
            "attempt_seconds": time.perf_counter() - clock,
            "train_seconds": seconds,
            "epoch_ends": [] if training is None else training.progress.epoch_ends,
        },
        "memory": {"peak_bytes": _peak_bytes(device)},
        "device": {**ran_on, **versions()},
    }
    if scored.times:
        circumstances["time"]["evaluating"] = scored.times
    folder.finish({**repeated(request), **outcome, **scored.part, **circumstances})
    return folder.result()


def cause_of(error: BaseException) -> str:
    """The kind of a failure: ``oom``, ``nan``, ``data``, ``configuration`` or ``bug``."""
    if out_of_memory(error) is not None:
        return "oom"
    if isinstance(error, NotFiniteError):
        return "nan"
    if isinstance(error, DataError):
        return "data"
    if isinstance(error, ValueError) and _raised_in(error, "adapt"):
        return "configuration"
    return "bug"


def describe(error: BaseException) -> str:
    """One line: type, message, and the innermost place in the code."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return one_line(f"{type(error).__name__}: {error}{place}")[:500]


def _train_and_evaluate(training: Training) -> tuple[Trained, Scored]:
    job, folder = training.job, training.folder
    progress = training.run()
    validation = training.logits("val")
    metrics: Metrics = {"val": training.scores("val", validation)}
    fitted = training.fitted(validation)
    scored = Scored({}, {})
    if job.opens_test:
        logits = training.logits("test")
        metrics["test"] = training.scores("test", logits, fitted)
        test = cases_of(job.data, training.data.positions["test"].numpy())
        folder.write_predictions(predictions(test.case_ids, test.groups, test.labels, logits))
        if job.evaluations:
            precision = training.context.precision
            given, model, data = job.evaluations, training.model, training.data
            scored = score(job, given, model, data, precision, folder, training.control, fitted)
    training.unfold()
    if job.keep:
        keep(training.model, folder, folder.fence)
    size = job.train.image_size
    before = pretrained(job.backbone, job.weights, size, job.normalisation)
    costs = cost(training.model, before, size, training.context.optimizer)
    if job.save_model:
        training.method.merge(training.model)
        save_model(training.model, folder.model_path, {"backbone": job.backbone}, folder.fence)
    head = sum(p.numel() for p in training.model.head.parameters())
    total = sum(p.numel() for p in training.model.parameters())
    trained_head = sum(p.numel() for p in training.model.head.parameters() if p.requires_grad)
    trained = sum(p.numel() for p in training.model.parameters() if p.requires_grad)
    outcome: Trained = {
        "status": "done",
        "cause": None,
        "message": None,
        "metrics": metrics,
        "best_epoch": progress.best_epoch,
        "epochs": progress.epoch,
        "steps": progress.curve[-1]["step"],
        "parameters": {"trainable": trained - trained_head, "head": head, "total": total},
        "on_features": training.features is not None,
        "cost": costs,
        "compiled": training.compiled,
    }
    if fitted:
        outcome["fitted"] = {name: [*numbers] for name, numbers in fitted.items()}
    if progress.schedule:
        outcome["schedule"] = progress.schedule
    return outcome, scored


def _raised_in(error: BaseException, function: str) -> bool:
    return any(frame.name == function for frame in traceback.extract_tb(error.__traceback__))


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
