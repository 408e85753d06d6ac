"""base(x) + Δ(x) as one operation that keeps only x for its backward pass.

Autograd's own way keeps every intermediate of Δ, about ten tensors of the size of x. Here Δ and its derivatives
are computed again in the backward pass: in parts that stay in a processor's cache (``fused``), by a kernel that
torch.compile makes at the first use (``compiled``), or by the kernels of ``triton_kernels`` (``triton``).
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.activations.bases import Base
from harness.activations.formulas import Execution, Formula, broadcast, widen
from harness.activations.grid import Grid
from harness.activations.laplacian import laplacian
from harness.core.errors import RequestError

if TYPE_CHECKING:
    from harness.activations.triton_formulas import Variant


def evaluate(
    formula: Formula,
    base: Base,
    execution: Execution,
    x: Tensor,
    coefficients: Tensor,
    constants: Tensor,
    kappa: Tensor | None = None,
) -> Tensor:
    """base(x) + Δ(x), and kappa times the Laplacian of x; differentiable once with respect to x and the coefficients.

    Args:
        formula: the family of Δ.
        base: the activation to which Δ is added.
        execution: how it is computed; ``plain`` can be differentiated any number of times.
        x: floating point, shape (N, C, …).
        coefficients: shape (len(formula.names), C).
        constants: shape (len(formula.constants), C), without gradient.
        kappa: shape (C,), for x of shape (N, C, H, W); None adds nothing.

    Raises:
        RequestError: the execution is not possible on this machine.
    """
    if execution == "auto":
        # Where the whole network is compiled, the compiler is to see the formula itself.
        execution = "plain" if torch.compiler.is_compiling() else choose_execution(formula, x.device.type, x.dtype)
    check_execution(execution, x.device.type)
    if execution == "triton":
        from harness.activations import triton_kernels

        return triton_kernels.evaluate(_variant(formula), base, x, coefficients, constants, kappa)
    if execution == "plain":
        value = _value(formula, x, None if base.is_relu else base(x), coefficients, constants)
    else:
        value = _Fused.apply(x, coefficients, constants, formula, base, execution)
    if kappa is None:
        return value
    wide = widen(x)
    return (widen(value) + broadcast(kappa, wide) * laplacian(wide)).to(x.dtype)


@functools.cache
def choose_execution(formula: Formula, device_type: str, dtype: torch.dtype) -> Execution:
    """What ``auto`` is on ``cpu`` or ``cuda``: the kernel on a GPU where there is one, else ``fused``."""
    if not kernels_serve(device_type, dtype):
        return "fused"
    from harness.activations.triton_formulas import VARIANTS

    return "triton" if formula in VARIANTS else "fused"


def kernels_serve(device_type: str, dtype: torch.dtype) -> bool:
    """Whether ``auto`` may be a kernel of triton there; on a CPU it never is."""
    return device_type == "cuda" and dtype != torch.float64 and kernels_run_on(device_type)


def kernels_run_on(device_type: str) -> bool:
    """Whether kernels of triton can be launched there; on a CPU its interpreter runs them, where it is asked to."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    return importlib.util.find_spec("triton") is not None and (device_type == "cuda" or interpreted)


def check_execution(execution: Execution, device_type: str) -> None:
    """Check that an execution is possible on ``cpu`` or ``cuda``.

    Raises:
        RequestError: what it needs is not there.
    """
    if execution == "triton":
        if not kernels_run_on(device_type):
            raise RequestError(f"execution=triton: needs a CUDA device and triton, this is {device_type}; take fused")
    elif execution == "compiled" and device_type == "cpu" and not _has_compiler():
        raise RequestError("execution=compiled: torch.compile finds no C++ compiler (CXX, g++, clang++); take fused")


class _Kernels(NamedTuple):
    """The two computations of one formula, as one execution does them."""

    value: Callable[[Tensor, Tensor | None, Tensor, Tensor], Tensor]
    """(x, base's value or None for ReLU, coefficients, constants) → base(x) + Δ(x)."""
    gradients: Callable[[Tensor, Tensor, Tensor | None, Tensor, Tensor, bool], tuple[Tensor | None, Tensor]]
    """(x, gradient, base's gradient or None for ReLU, coefficients, constants, whether that of x is wanted) → gradients
    of x, which may be None where it is not wanted, and of the coefficients."""


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, coefficients: Tensor, constants: Tensor, formula: Formula, base: Base, execution: Execution
    ) -> Tensor:
        ctx.save_for_backward(x, coefficients, constants)
        ctx.base, ctx.kernels = base, _kernels(formula, execution)
        # torch.compile would make a kernel for each number of channels of a parameter and for each kind of input, and
        # give up after eight.
        x, coefficients = x.detach(), coefficients.detach()
        value: Tensor = ctx.kernels.value(x, None if base.is_relu else base(x), coefficients, constants)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, coefficients, constants = (tensor.detach() for tensor in ctx.saved_tensors)
        base_gradient = None if ctx.base.is_relu else ctx.base.gradient(gradient, x)
        given = x, gradient.detach(), base_gradient, coefficients, constants
        to_x, to_coefficients = ctx.kernels.gradients(*given, ctx.needs_input_grad[0])
        return to_x, to_coefficients.to(coefficients.dtype), None, None, None, None


@functools.cache
def _kernels(formula: Formula, execution: Execution) -> _Kernels:
    if execution == "compiled":
        return _Kernels(_compiled(_value, formula), _with_all(_compiled(_gradients, formula)))
    return _Kernels(functools.partial(_value_in_parts, formula), functools.partial(_gradients_in_parts, formula))


def _with_all(gradients: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., tuple[Tensor, Tensor]]:
    """The same whether or not the gradient of x is wanted: compiling twice would cost more than it saves."""
    return lambda *given: gradients(*given[:-1])


def _compiled(function: Any, formula: Formula) -> Callable[..., Any]:
    # torch counts recompilations by code object and gives up after a few; with its own, each formula has its own count.
    own = FunctionType(function.__code__.replace(), function.__globals__, function.__name__)
    return functools.partial(torch.compile(own, dynamic=True), formula)


def _value(formula: Formula, x: Tensor, base_value: Tensor | None, coefficients: Tensor, constants: Tensor) -> Tensor:
    wide = widen(x)
    delta = formula.delta(wide, broadcast(coefficients, wide).unbind(), broadcast(constants, wide).unbind())
    base = torch.relu(wide) if base_value is None else widen(base_value)
    return (base + delta).to(x.dtype)


def _gradients(
    formula: Formula, x: Tensor, gradient: Tensor, base_gradient: Tensor | None, coefficients: Tensor, constants: Tensor
) -> tuple[Tensor, Tensor]:
    wide, wide_gradient = widen(x), widen(gradient)
    others = [axis for axis in range(x.dim()) if axis != 1]
    rows = broadcast(coefficients, wide).unbind(), broadcast(constants, wide).unbind()
    slope, sums = formula.derivatives(wide, wide_gradient, *rows, lambda product: product.sum(others))
    assert slope is not None
    relu = torch.ops.aten.threshold_backward
    base = relu(wide_gradient, wide, 0) if base_gradient is None else widen(base_gradient)
    return torch.addcmul(base, wide_gradient, slope).to(x.dtype), torch.stack(sums)


def _value_in_parts(
    formula: Formula, x: Tensor, base_value: Tensor | None, coefficients: Tensor, constants: Tensor
) -> Tensor:
    grid = Grid(x)
    result = torch.empty_like(x, memory_format=grid.layout)
    values, results = grid.view(x), grid.view(result)
    base_values = None if base_value is None else grid.view(base_value)
    rows = grid.spread(coefficients), grid.spread(constants)
    for part in grid.parts():
        wide = widen(values[part])
        base = torch.relu(wide) if base_values is None else widen(base_values[part])
        torch.add(base, formula.delta(wide, *rows), out=results[part])
    return result


def _gradients_in_parts(
    formula: Formula,
    x: Tensor,
    gradient: Tensor,
    base_gradient: Tensor | None,
    coefficients: Tensor,
    constants: Tensor,
    with_x: bool,
) -> tuple[Tensor | None, Tensor]:
    grid = Grid(x)
    to_x = torch.empty_like(x, memory_format=grid.layout) if with_x else None
    values, gradients = grid.view(x), grid.view(gradient)
    base_gradients = None if base_gradient is None else grid.view(base_gradient)
    results = None if to_x is None else grid.view(to_x)
    rows = grid.spread(coefficients), grid.spread(constants)
    sums = [torch.zeros_like(row) for row in rows[0]]

    def total(product: Tensor) -> Tensor:
        return product.sum_to_size(sums[0].shape)

    for part in grid.parts():
        wide, wide_gradient = widen(values[part]), widen(gradients[part])
        slope, found = formula.derivatives(wide, wide_gradient, *rows, total, with_x)
        for one, more in zip(sums, found, strict=True):
            one += more
        if results is None or slope is None:
            continue
        if base_gradients is None:
            base = torch.ops.aten.threshold_backward(wide_gradient, wide, 0)
        else:
            base = widen(base_gradients[part])
        torch.addcmul(base, wide_gradient, slope, out=results[part])
    return to_x, grid.gather(sums)


def _variant(formula: Formula) -> Variant:
    from harness.activations.triton_formulas import VARIANTS

    if formula not in VARIANTS:
        raise RequestError(f"execution=triton: there is no kernel for {formula}; take fused")
    return VARIANTS[formula]


@functools.cache
def _has_compiler() -> bool:
    chosen = os.environ.get("CXX")
    return any(shutil.which(name) for name in ([chosen] if chosen else ["g++", "clang++", "c++", "cl"]))
