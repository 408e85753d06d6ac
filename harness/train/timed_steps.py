"""A training whose steps are only timed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from harness.networks.backbones import set_training_mode
from harness.train.job import Interrupted
from harness.train.loop import Training


class TimedSteps:
    """Steps of a training, on batches as it would have them; nothing of the trial itself is begun."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self._numbers = itertools.cycle(range(training.total_steps))
        self._batches = self._drawn()

    def seconds(self, steps: int) -> float:
        """Wall seconds of so many further steps.

        Raises:
            Interrupted: stopped from outside.
        """
        training = self.training
        if training.control.stop.is_set():
            raise Interrupted
        set_training_mode(training.model, training.method.batch_norm)
        self._wait()
        began = time.perf_counter()
        for positions, number in itertools.islice(zip(self._batches, self._numbers, strict=True), steps):
            training.step(positions, number)
        self._wait()
        return time.perf_counter() - began

    def _drawn(self) -> Iterator[Tensor]:
        for epoch in itertools.count():
            yield from self.training.batches(epoch)

    def _wait(self) -> None:
        if self.training.device.type == "cuda":
            torch.cuda.synchronize(self.training.device)
