"""The activation of Curvature Tuning: a mixture of Swish and softplus."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.activations.fused import check_execution, kernels_serve
from harness.activations.grid import Grid
from harness.activations.pointwise import ChannelActivation


class CurvatureTuning(ChannelActivation):
    """c σ(β x / (1 - β)) x + (1 - c) (1 - β) softplus(x / (1 - β)) (Hu et al. 2025, arXiv 2502.07783).

    ``trained`` (T-CT) has β and c per channel, each the sigmoid of a trained number; otherwise (S-CT) both are
    fixed and nothing trains. As β tends to 1, the function tends to ReLU.

    Args:
        channels: C.
        trained: whether β and c train.
        beta: at first, in (0, 1).
        share: c at first, in (0, 1).
        execution: of a trained one: ``fused``, in parts; ``triton``, a CUDA kernel; ``auto`` is that on a GPU.
    """

    def __init__(
        self,
        channels: int,
        trained: bool = True,
        beta: float = 0.8,
        share: float = 0.5,
        execution: Literal["auto", "fused", "triton"] = "auto",
    ) -> None:
        super().__init__()
        if not (0 < beta < 1 and 0 < share < 1):
            raise ValueError(f"curvature tuning needs beta and c between 0 and 1, got {beta} and {share}")
        self.trained, self.beta, self.share, self.execution = trained, beta, share, execution
        if trained:
            self.add(channels, raw_beta=math.log(beta / (1 - beta)), raw_share=math.log(share / (1 - share)))

    def forward(self, x: Tensor) -> Tensor:
        """Values of the shape and dtype of ``x``.

        Raises:
            RequestError: the execution is not possible on this machine.
        """
        if not (self.trained and self._takes_kernel(x)):
            return super().forward(x)
        check_execution("triton", x.device.type)
        from harness.activations import triton_formulas, triton_kernels

        return triton_kernels.evaluate(triton_formulas.CURVATURE, None, x, self._raw())

    def function(self, x: Tensor) -> Tensor:
        """The formula above."""
        if self.trained:
            result: Tensor = _TrainedCurvature.apply(x, self._raw().to(x.dtype))
            return result
        value, width = x.new_tensor(self.beta / (1 - self.beta)), x.new_tensor(1 - self.beta)
        return self.share * torch.sigmoid(value * x) * x + (1 - self.share) * width * F.softplus(x / width)

    def _raw(self) -> Tensor:
        return torch.stack((self.get_parameter("raw_beta"), self.get_parameter("raw_share")))

    def _takes_kernel(self, x: Tensor) -> bool:
        if self.execution != "auto":
            return self.execution == "triton"
        # Where the whole network is compiled, the compiler is to see single operations.
        return not torch.compiler.is_compiling() and kernels_serve(x.device.type, x.dtype)


class _TrainedCurvature(torch.autograd.Function):
    """The formula with β = σ(raw[0]) and c = σ(raw[1]); it keeps x alone where autograd keeps six like it.

    exp(raw) is β / (1 - β) and σ(-raw) is 1 - β, which keeps its digits where β is close to 1.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, raw: Tensor) -> Tensor:
        ctx.save_for_backward(x, raw)
        grid = Grid(x)
        result = torch.empty_like(x, memory_format=grid.layout)
        values, results = grid.view(x), grid.view(result)
        sharpness, width, share, rest = grid.spread(_curvature(raw))
        height = rest * width
        for part in grid.parts():
            z = values[part]
            swish = (sharpness * z).sigmoid_().mul_(z).mul_(share)
            torch.addcmul(swish, _softplus(z / width), height, out=results[part])
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, raw = ctx.saved_tensors
        grid = Grid(x)
        to_x = torch.empty_like(x, memory_format=grid.layout) if ctx.needs_input_grad[0] else None
        values, gradients = grid.view(x), grid.view(gradient)
        results = None if to_x is None else grid.view(to_x)
        sharpness, width, share, rest = grid.spread(_curvature(raw))
        fall = rest * width * (1 - width)
        sums = [torch.zeros_like(row) for row in (share, share)]
        for part in grid.parts():
            z, upstream = values[part], gradients[part]
            inner = z / width
            softplus, step = _softplus(inner), inner.sigmoid()
            gate = (sharpness * z).sigmoid_()
            swish = gate * z
            # x dσ(sharpness x)/dx, which both the slope and the derivative by raw[0] are made of.
            bend = torch.addcmul(swish, swish, gate, value=-1).mul_(sharpness)
            if results is not None:
                slope = gate.add_(bend).mul_(share).addcmul_(rest, step)
                torch.mul(upstream, slope, out=results[part])
            by_share = swish.addcmul_(width, softplus, value=-1)
            moved = softplus.addcmul_(step, inner, value=-1)
            by_beta = bend.mul_(z).mul_(share).addcmul_(fall, moved, value=-1)
            for total, product in zip(sums, (by_beta, by_share), strict=True):
                total += product.mul_(upstream).sum_to_size(total.shape)
        by_beta, by_share = grid.gather(sums)
        _, _, share, rest = _curvature(raw)
        return to_x, torch.stack((by_beta, by_share * share * rest))


def _curvature(raw: Tensor) -> Tensor:
    """β / (1 - β), 1 - β, c and 1 - c, shape (4, C)."""
    return torch.stack((torch.exp(raw[0]), torch.sigmoid(-raw[0]), torch.sigmoid(raw[1]), torch.sigmoid(-raw[1])))


def _softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), right to the rounding of 1: log1p takes many times as long where an exp(-|x|) is subnormal."""
    return x.abs().neg_().exp_().add_(1).log_().add_(torch.relu(x))
