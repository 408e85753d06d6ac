"""The scale of each channel at an activation: from the norm before it, or measured on training images."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

FLOOR = 0.05
"""Least scale of a channel, as a share of its site's median: a dead channel must not be divided by 0."""


class Statistics(NamedTuple):
    """Of the input of one activation, channel by channel: float32, shape (C,), in units of the input."""

    scale: Tensor
    """Standard deviation, positive, not below ``FLOOR`` times the site's median."""
    centre: Tensor
    """Mean."""


def scale_from_norm(norm: _BatchNorm) -> Statistics:
    """|gamma| and beta of a batch norm directly before the activation: what its output has on pretraining data.

    Raises:
        ValueError: the norm has no affine parameters.
    """
    if norm.weight is None or norm.bias is None:
        raise ValueError("this batch norm has no scale and shift; calibrate on training images instead")
    return Statistics(_with_floor(norm.weight.detach().float().abs()), norm.bias.detach().float().clone())


def calibrate(
    model: nn.Module, modules: Mapping[str, nn.Module], batches: Iterable[Tensor], most: int = 50
) -> dict[str, Statistics]:
    """Mean and standard deviation, over images and pixels, of what goes into each of ``modules``.

    The model runs in evaluation mode without gradients; its modes are restored afterwards and nothing of it is changed.
    Sums are float64 and taken in the order of the batches.

    Args:
        model: called with each batch.
        modules: by any name; the first argument of each call has shape (N, C, …). A module that is called
            several times in a pass pools what it sees.
        batches: training images as the model takes them; no more than ``most`` are drawn.
        most: largest number of batches, at least 1.

    Raises:
        ValueError: there was no batch, a module was never called, or saw what is not finite.
    """
    totals: dict[str, _Total] = {name: _Total() for name in modules}
    handles = [
        module.register_forward_pre_hook(lambda _, inputs, total=totals[name]: total.add(inputs[0]))
        for name, module in modules.items()
    ]
    try:
        with _evaluation(model), torch.no_grad():
            for batch in itertools.islice(batches, most):
                model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: total.statistics(name) for name, total in totals.items()}


class _Total:
    """Count, mean and sum of squared distances from it, joined batch by batch (Chan, Golub and LeVeque 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, x: Tensor) -> None:
        values = x.detach().double().transpose(0, 1).flatten(1)
        count = values.shape[1]
        if count == 0:
            return
        mean = values.mean(1)
        away = mean - self.mean
        joined = self.count + count
        self.squares = self.squares + (values - mean[:, None]).square().sum(1) + away**2 * (self.count * count / joined)
        self.mean = self.mean + away * (count / joined)
        self.count = joined

    def statistics(self, name: str) -> Statistics:
        if not isinstance(self.mean, Tensor) or not isinstance(self.squares, Tensor):
            raise ValueError(f"{name}: saw no image while the scale was calibrated; give at least one training batch")
        deviation = (self.squares / self.count).sqrt()
        if not (deviation.isfinite().all() and self.mean.isfinite().all()):
            raise ValueError(f"{name}: its input is not finite on training images, so it has no scale")
        return Statistics(_with_floor(deviation.float()), self.mean.float())


def _with_floor(scale: Tensor) -> Tensor:
    alive = scale[scale > 0]
    if not alive.numel():
        # A site that is dead as a whole has no unit of its own.
        return torch.ones_like(scale)
    median = scale.median()
    return scale.clamp_min(FLOOR * (median if median > 0 else alive.median()))


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
