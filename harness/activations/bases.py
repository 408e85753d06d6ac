"""The pretrained activations that can be a base: their values and gradients, as torch itself computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.networks.activation_calls import Kind, arguments_of, kind_of

_aten: Any = torch.ops.aten
# As torch has them in its own source, where selu is an elu of these.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


class _TorchKernels(NamedTuple):
    value: Callable[..., Tensor]
    """(x, arguments) → the activation."""
    gradient: Callable[..., Tensor]
    """(upstream gradient, x, arguments) → the gradient of x, by the kernel that autograd takes."""


_KINDS: Mapping[Kind, _TorchKernels] = {
    "relu": _TorchKernels(F.relu, lambda g, x: _aten.threshold_backward(g, x, 0)),
    "relu6": _TorchKernels(F.relu6, lambda g, x: _aten.hardtanh_backward(g, x, 0.0, 6.0)),
    "leaky_relu": _TorchKernels(F.leaky_relu, lambda g, x, slope: _aten.leaky_relu_backward(g, x, slope, False)),
    "elu": _TorchKernels(F.elu, lambda g, x, alpha: _aten.elu_backward(g, alpha, 1.0, 1.0, False, x)),
    "selu": _TorchKernels(F.selu, lambda g, x: _aten.elu_backward(g, _SELU_ALPHA, _SELU_SCALE, 1.0, False, x)),
    # In its backward pass torch divides by alpha in single precision, whatever the tensors have.
    "celu": _TorchKernels(
        F.celu, lambda g, x, alpha: _aten.elu_backward(g, alpha, 1.0, 1.0 / float(np.float32(alpha)), False, x)
    ),
    "silu": _TorchKernels(F.silu, _aten.silu_backward),
    "gelu": _TorchKernels(
        lambda x, form: F.gelu(x, approximate=form), lambda g, x, form: _aten.gelu_backward(g, x, approximate=form)
    ),
    "mish": _TorchKernels(F.mish, _aten.mish_backward),
    "hardswish": _TorchKernels(F.hardswish, _aten.hardswish_backward),
    "softplus": _TorchKernels(F.softplus, _aten.softplus_backward),
}


@dataclass(frozen=True, slots=True)
class Base:
    """A pretrained activation: what it computes, and with which arguments of torch's function."""

    kind: Kind
    arguments: tuple[float | str, ...] = ()
    channel_dim: int = 1
    """Where the network has the channels, 1 or -1. torch takes another kernel for another layout, whose last bit may
    differ (GELU on a CPU)."""

    @classmethod
    def of(cls, module: nn.Module, channel_dim: int = 1) -> Base:
        """That of an activation module and of the layout of its input, as an ``ActivationSite`` has them.

        Raises:
            ValueError: it is none that torch has.
        """
        kind = kind_of(module)
        if kind is None:
            raise ValueError(f"{type(module).__name__} is no activation that can be a base; known: {', '.join(_KINDS)}")
        return cls(kind, arguments_of(module), channel_dim)

    @property
    def is_relu(self) -> bool:
        """Whether it is ReLU, which is cheap enough to be computed beside Δ."""
        return self.kind == "relu"

    def __call__(self, x: Tensor) -> Tensor:
        """Its values, of the dtype and shape of ``x``, (N, C, …)."""
        value = _KINDS[self.kind].value(x.movedim(1, self.channel_dim), *self.arguments)
        return value.movedim(self.channel_dim, 1)

    def gradient(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient of x, bit for bit as autograd gives it for the pretrained network."""
        both = gradient.movedim(1, self.channel_dim), x.movedim(1, self.channel_dim)
        return _KINDS[self.kind].gradient(*both, *self.arguments).movedim(self.channel_dim, 1)


RELU = Base("relu")
