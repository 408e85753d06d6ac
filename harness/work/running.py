"""Running a claimed trial: its lease is kept alive, its log written, and the claim given back however it ends."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.core.lease import LeaseLost, given_back, keep_alive
from harness.core.output import printable_lines
from harness.run.code import own_snapshot
from harness.run.spent import STOPPED_BY_ERROR
from harness.run.trial_records import TrialResult
from harness.train.job import Control, Interrupted, OutOfRoom
from harness.train.run import run_trial
from harness.work.claims import ClaimedTrial

if TYPE_CHECKING:
    import torch


def run_claimed(
    taken: ClaimedTrial,
    device: torch.device,
    stop: threading.Event,
    resident: torch.Tensor | None = None,
    checkpoint_each_epoch: bool = False,
    shares_device: bool = False,
) -> TrialResult | None:
    """Run a claimed trial to its end and commit its result.

    Args:
        stop: asks for a checkpoint and an orderly end.
        resident: the dataset's images already on the device, if they are.
        checkpoint_each_epoch: whether the checkpoint is on the disk before the trial's judge is asked.
        shares_device: whether a lack of memory may be others' fault.

    Returns:
        What is in ``result.json``; None when it was interrupted, or another worker has taken it over.

    Raises:
        OutOfRoom: memory ran out on a shared device; the trial stays to be done.
        RequestError, OSError: as ``harness.train.run.run_trial``; the trial stays to be done.
    """
    import torch

    with given_back(taken.lease, STOPPED_BY_ERROR):
        taken.lease.note(device=str(device), code=own_snapshot())
    # A trial keeps the number of threads that it began with: sums on a CPU depend on it in the last bit.
    torch.set_num_threads(int(taken.request["threads"]))
    with contextlib.ExitStack() as stack:
        with given_back(taken.lease, STOPPED_BY_ERROR):
            log = stack.enter_context(trial_log(taken))
            stack.enter_context(keep_alive(taken.lease))
        log.info("start %s, attempt %d, %s", taken.title, taken.lease.number, taken.request["hyperparameters"])
        control = Control(
            stop=stop,
            log=log.info,
            judge=taken.judge,
            shares_device=shares_device,
            checkpoint_each_epoch=checkpoint_each_epoch,
        )
        try:
            result = run_trial(taken.job, taken.request, taken.folder, device, control, resident)
        except Interrupted:
            taken.lease.release("interrupted")
            log.info("interrupted; checkpoint written")
            return None
        except OutOfRoom as error:
            taken.lease.release("out of memory beside others")
            log.info("%s; given back, because the device is shared", error)
            raise
        except LeaseLost:
            log.info("another worker has taken this trial over")
            return None
        except BaseException:
            with contextlib.suppress(OSError):  # a full disk must not hide the error that is being raised
                taken.lease.release(STOPPED_BY_ERROR)
            raise
        taken.lease.release("finished")
        log.info("%s %s", result["status"], result["message"] or "")
        return result


class _Shown(logging.Formatter):
    """Control characters, of a plugin's message for instance, as their escapes: a terminal that shows the log obeys."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


@contextlib.contextmanager
def trial_log(taken: ClaimedTrial) -> Iterator[logging.Logger]:
    """A logger that writes into the trial's ``log.txt``."""
    logger = logging.Logger(taken.title)
    handler = logging.FileHandler(taken.folder.log_path, encoding="utf-8")
    handler.setFormatter(_Shown("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        handler.close()
