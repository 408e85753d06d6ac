"""f(x) = base(x) + Δ(x): the module that adds a trained Δ, zero at first, to a network's own activation."""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor, nn

from harness.activations.bases import RELU, Base
from harness.activations.formulas import Execution, Formula


class PreservingActivation(nn.Module):
    """base(x) + Δ(x) on inputs (N, C, …), exactly the base until the first step.

    With zero coefficients, value and input gradient equal the base's bit for bit in every execution, also at
    ±inf. (A NaN stays one, in the value and in the gradient.) Float16 and bfloat16 inputs are computed in float32 and
    returned in their own dtype.

    Args:
        formula: the family of Δ.
        channels: C.
        base: the activation that the pretrained network has here; ``Base.of(module)`` tells it.
        groups: number of sets of coefficients: ``channels`` for one a channel, 1 for one a site, or a divisor
            of ``channels`` for neighbouring channels in common. None is one a channel.
        execution: ``plain`` is autograd's own, the reference; ``fused`` keeps only x for the backward pass;
            ``compiled`` is that through torch.compile, ``triton`` through a CUDA kernel; ``auto`` is ``triton`` on a
            GPU where there is a kernel, else ``fused``.
        coefficients: a parameter of shape (len(names), groups) that another site has already, to share it.

    Raises:
        ValueError: a count that does not divide, or a shape that does not fit.
    """

    coefficients: nn.Parameter

    def __init__(
        self,
        formula: Formula,
        channels: int,
        *,
        base: Base = RELU,
        groups: int | None = None,
        execution: Execution = "plain",
        coefficients: nn.Parameter | None = None,
    ) -> None:
        super().__init__()
        groups = channels if groups is None else groups
        if groups < 1 or channels % groups:
            raise ValueError(f"{channels} channels cannot be shared out among {groups} groups of equal size")
        if execution not in get_args(Execution):
            raise ValueError(f"no execution {execution!r}; known: {', '.join(get_args(Execution))}")
        shape = (len(formula.names), groups)
        if coefficients is None:
            coefficients = nn.Parameter(torch.zeros(shape))
        elif coefficients.shape != shape:
            raise ValueError(f"shared coefficients have the shape {tuple(coefficients.shape)}, this site needs {shape}")
        self.formula, self.channels, self.base, self.execution = formula, channels, base, execution
        self.coefficients = coefficients
        for name in formula.constants:
            self.register_buffer(name, torch.full((channels,), 1.0 if name == "scale" else 0.0))

    def forward(self, x: Tensor, kappa: Tensor | None = None) -> Tensor:
        """Values of the shape, dtype and memory format of ``x``.

        Args:
            x: shape (N, C, …).
            kappa: shape (C,), what is added of the five-point Laplacian of images x; None is nothing.
        """
        from harness.activations.fused import evaluate

        return evaluate(self.formula, self.base, self.execution, x, self._per_channel(), self._constants(), kappa)

    def set_statistics(self, scale: Tensor, centre: Tensor | None = None) -> None:
        """Fill the frozen buffers.

        Args:
            scale: standard deviation of each channel's input, shape (C,), positive, in units of the input.
            centre: mean of each channel's input, shape (C,); None is 0. Ignored where the formula has none.
        """
        given = {"scale": scale, "centre": torch.zeros_like(scale) if centre is None else centre}
        with torch.no_grad():
            for name in self.formula.constants:
                self.get_buffer(name).copy_(given[name])

    def deviation(self) -> Tensor:
        """E[(Δ / scale)²] of each channel, shape (C,), under the frozen statistics; differentiable."""
        coefficients, constants = self._per_channel(), self._constants().to(self.coefficients.dtype)
        return self.formula.mean_square(coefficients.unbind(), constants.unbind())

    def extra_repr(self) -> str:
        """What is not visible from the sub-modules."""
        return f"{self.base.kind}, channels={self.channels}, coefficients={tuple(self.coefficients.shape)}"

    def _per_channel(self) -> Tensor:
        repeats = self.channels // self.coefficients.shape[1]
        return self.coefficients if repeats == 1 else self.coefficients.repeat_interleave(repeats, dim=1)

    def _constants(self) -> Tensor:
        buffers = [self.get_buffer(name) for name in self.formula.constants]
        return buffers[0][None] if len(buffers) == 1 else torch.stack(buffers)


def mean_deviation(activations: list[PreservingActivation]) -> Tensor:
    """Mean over all channels of all sites of E[(Δ / scale)²]: 0 at first, differentiable, a scalar."""
    return torch.cat([activation.deviation() for activation in activations]).mean()


def negative_part(x: Tensor) -> Tensor:
    """min(x, 0), and the lowest finite number at -inf, so that a coefficient of 0 makes 0 of it."""
    return x.clamp(torch.finfo(x.dtype).min, 0.0)


def positive_part(x: Tensor) -> Tensor:
    """max(x, 0), and the largest finite number at inf."""
    return x.clamp(0.0, torch.finfo(x.dtype).max)


def where_negative(values: Tensor, x: Tensor) -> Tensor:
    """The values where x is finite and at most 0, else 0, in the shape of x.

    On a CPU in a tenth of the time of a mask. It takes a subnormal x for 0.
    """
    return torch.ops.aten.hardtanh_backward(values, x, -math.inf, torch.finfo(x.dtype).smallest_normal)  # type: ignore[no-any-return]
