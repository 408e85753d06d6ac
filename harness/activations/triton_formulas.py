"""What a tile of numbers becomes: for each variant its formula and its gradient, which the kernels call.

A formula gets x in float32, and a tuple of coefficients and one of constants that broadcast with it. Its gradient
returns the slope in x and a tuple with the derivative by each coefficient. Both follow the formula's own module, whose
docstring has the equations; a NaN stays one. What is not used of a result is not compiled.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from harness.activations import bspline, rational, window
from harness.activations.bspline import B4, B8
from harness.activations.formulas import Formula
from harness.activations.hinge import KNOTS, H
from harness.activations.mixture import SHUT, M
from harness.activations.rational import R21, R54
from harness.activations.slope import SLOPE
from harness.activations.window import W3, W4, W5

triton: Any = importlib.import_module("triton")
tl: Any = importlib.import_module("triton.language")


def jit(function: Callable[..., Any]) -> Any:
    """A function that triton compiles where a kernel calls it, or launches as one."""
    return triton.jit(function)


MOST = tl.constexpr(torch.finfo(torch.float32).max)
REACH = tl.constexpr(window.REACH)
WIDEST = tl.constexpr(rational.REACH)
SHUTS = tl.constexpr(SHUT)
FIRST_KNOT, SECOND_KNOT, THIRD_KNOT = (tl.constexpr(knot) for knot in KNOTS)
B4_WIDTH, B8_WIDTH = tl.constexpr(B4.width), tl.constexpr(B8.width)
R54_START_2, R54_START_4 = tl.constexpr(R54.start[1]), tl.constexpr(R54.start[3])
assert bspline.REACH and R21.start == (1.0,) and R54.start[::2] == (0.0, 0.0)


class Variant(NamedTuple):
    """A function of one value, trained per channel, as the kernels compute it."""

    value: Any
    """(x, coefficients, constants) → f(x)."""
    gradient: Any
    """(x, coefficients, constants) → (df/dx, (df/dφ for each coefficient φ))."""
    coefficients: int
    constants: int


# Comparisons and not min and max, which would turn a NaN into a number.


@jit
def _clip(x, most: tl.constexpr):  # type: ignore[no-untyped-def]
    return tl.where(x > most, most, tl.where(x < -most, -most, x))


@jit
def _negative(x):  # type: ignore[no-untyped-def]
    """min(x, 0), finite, and its slope."""
    finite = tl.where(x < -MOST, -MOST, x)
    return tl.where(x > 0, 0.0, finite), tl.where((x <= 0) & (x >= -MOST), 1.0, 0.0)


@jit
def _positive(x):  # type: ignore[no-untyped-def]
    """max(x, 0), finite, and its slope."""
    finite = tl.where(x > MOST, MOST, x)
    return tl.where(x < 0, 0.0, finite), tl.where((x >= 0) & (x <= MOST), 1.0, 0.0)


@jit
def _sign(x):  # type: ignore[no-untyped-def]
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, 0.0))


# W


@jit
def _window(x, p, q, a0, a1, a2, scale):  # type: ignore[no-untyped-def]
    raw = x / scale
    z = _clip(raw, REACH)
    size, side = tl.abs(z), _sign(z)
    height = tl.exp(-0.5 * z * z)
    low, below = _negative(x)
    high, above = _positive(x)
    inner = a0 + a1 * z + a2 * size
    value = scale * height * inner + q * low + p * high
    bend = height * (a1 + a2 * side - z * inner)
    slope = tl.where(tl.abs(raw) > REACH, 0.0, bend) + q * below + p * above
    bump = scale * height
    return value, slope, (high, low, bump, bump * z, bump * size)


@jit
def _w3(x, coefficients, constants):  # type: ignore[no-untyped-def]
    value, _, _ = _window(x, 0.0, coefficients[0], coefficients[1], 0.0, coefficients[2], constants[0])
    return value


@jit
def _w3_gradient(x, coefficients, constants):  # type: ignore[no-untyped-def]
    _, slope, by = _window(x, 0.0, coefficients[0], coefficients[1], 0.0, coefficients[2], constants[0])
    return slope, (by[1], by[2], by[4])


@jit
def _w4(x, coefficients, constants):  # type: ignore[no-untyped-def]
    q, a0, a1, a2 = coefficients
    value, _, _ = _window(x, 0.0, q, a0, a1, a2, constants[0])
    return value


@jit
def _w4_gradient(x, coefficients, constants):  # type: ignore[no-untyped-def]
    q, a0, a1, a2 = coefficients
    _, slope, by = _window(x, 0.0, q, a0, a1, a2, constants[0])
    return slope, (by[1], by[2], by[3], by[4])


@jit
def _w5(x, coefficients, constants):  # type: ignore[no-untyped-def]
    p, q, a0, a1, a2 = coefficients
    value, _, _ = _window(x, p, q, a0, a1, a2, constants[0])
    return value


@jit
def _w5_gradient(x, coefficients, constants):  # type: ignore[no-untyped-def]
    p, q, a0, a1, a2 = coefficients
    _, slope, by = _window(x, p, q, a0, a1, a2, constants[0])
    return slope, by


# H


@jit
def _hinge(x, coefficients, constants):  # type: ignore[no-untyped-def]
    q, v1, v2, v3 = coefficients
    scale, centre = constants
    low, below = _negative(x)
    first, first_on = _positive(x - (centre + scale * FIRST_KNOT))
    second, second_on = _positive(x - (centre + scale * SECOND_KNOT))
    third, third_on = _positive(x - (centre + scale * THIRD_KNOT))
    value = q * low + v1 * first + v2 * second + v3 * third
    slope = q * below + v1 * first_on + v2 * second_on + v3 * third_on
    return value, slope, (low, first, second, third)


@jit
def _h(x, coefficients, constants):  # type: ignore[no-untyped-def]
    value, _, _ = _hinge(x, coefficients, constants)
    return value


@jit
def _h_gradient(x, coefficients, constants):  # type: ignore[no-untyped-def]
    _, slope, by = _hinge(x, coefficients, constants)
    return slope, by


# M


@jit
def _mixture(x, coefficients, constants):  # type: ignore[no-untyped-def]
    q, share, log_sharpness = coefficients
    size = tl.abs(_clip(x, MOST))
    u = _clip(tl.exp(log_sharpness) * size / constants[0], SHUTS)
    gate = tl.sigmoid(-u)
    damped = gate * (1 - gate) * u
    low, below = _negative(x)
    value = q * low - share * size * gate
    slope = q * below + _sign(x) * share * (damped - gate)
    return value, slope, (low, -size * gate, share * size * damped)


@jit
def _m(x, coefficients, constants):  # type: ignore[no-untyped-def]
    value, _, _ = _mixture(x, coefficients, constants)
    return value


@jit
def _m_gradient(x, coefficients, constants):  # type: ignore[no-untyped-def]
    _, slope, by = _mixture(x, coefficients, constants)
    return slope, by


# A slope on the negative side


@jit
def _slope(x, coefficients, constants):  # type: ignore[no-untyped-def]
    low, _ = _negative(x)
    return coefficients[0] * low


@jit
def _slope_gradient(x, coefficients, constants):  # type: ignore[no-untyped-def]
    low, below = _negative(x)
    return coefficients[0] * below, (low,)


# Ratios


@jit
def _ratio(z, above, under, rise, bend, scale):  # type: ignore[no-untyped-def]
    """s P / (1 + |Q|) of P, Q, P' and Q', its slope, and its derivatives by the constants of P and of Q."""
    side, share = _sign(under), 1 / (1 + tl.abs(under))
    ratio = above * share
    return scale * ratio, (rise - ratio * side * bend) * share, scale * share, -scale * ratio * side * share


@jit
def _small_ratio(x, coefficients, constants):  # type: ignore[no-untyped-def]
    a0, a1, a2, b1 = coefficients
    raw = x / constants[0]
    z = _clip(raw, WIDEST)
    value, slope, by_above, by_under = _ratio(
        z, a0 + z * (a1 + z * a2), (1 + b1) * z, a1 + 2 * a2 * z, 1 + b1, constants[0]
    )
    slope = tl.where(tl.abs(raw) >= WIDEST, 0.0, slope)
    return value, slope, (by_above, by_above * z, by_above * z * z, by_under * z)


@jit
def _r21(x, coefficients, constants):  # type: ignore[no-untyped-def]
    value, _, _ = _small_ratio(x, coefficients, constants)
    return value


@jit
def _r21_gradient(x, coefficients, constants):  # type: ignore[no-untyped-def]
    _, slope, by = _small_ratio(x, coefficients, constants)
    return slope, by


@jit
def _large_ratio(x, coefficients, constants):  # type: ignore[no-untyped-def]
    a0, a1, a2, a3, a4, a5, b1, b2, b3, b4 = coefficients
    b2, b4 = b2 + R54_START_2, b4 + R54_START_4
    raw = x / constants[0]
    z = _clip(raw, WIDEST)
    above = a0 + z * (a1 + z * (a2 + z * (a3 + z * (a4 + z * a5))))
    rise = a1 + z * (2 * a2 + z * (3 * a3 + z * (4 * a4 + z * 5 * a5)))
    under = z * (b1 + z * (b2 + z * (b3 + z * b4)))
    bend = b1 + z * (2 * b2 + z * (3 * b3 + z * 4 * b4))
    value, slope, c0, d0 = _ratio(z, above, under, rise, bend, constants[0])
    slope = tl.where(tl.abs(raw) >= WIDEST, 0.0, slope)
    square = z * z
    cube, fourth = square * z, square * square
    by = (
        c0, c0 * z, c0 * square, c0 * cube, c0 * fourth, c0 * fourth * z,
        d0 * z, d0 * square, d0 * cube, d0 * fourth,
    )  # fmt: skip
    return value, slope, by


@jit
def _r54(x, coefficients, constants):  # type: ignore[no-untyped-def]
    value, _, _ = _large_ratio(x, coefficients, constants)
    return value


@jit
def _r54_gradient(x, coefficients, constants):  # type: ignore[no-untyped-def]
    _, slope, by = _large_ratio(x, coefficients, constants)
    return slope, by


# B-splines


@jit
def _splines(x, coefficients, scale, COUNT: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    z = x / (scale * WIDTH)
    nothing = tl.where(z == z, 0.0, z)
    value, slope, by = nothing, nothing, ()
    for number in tl.static_range(COUNT):
        away = z - (number - (COUNT - 1) / 2)
        distance = tl.abs(away)
        outer = tl.where(distance >= 2, 0.0, 2 - distance)
        inner = tl.where(distance >= 1, 0.0, 1 - distance)
        spline = (outer * outer * outer - 4 * inner * inner * inner) / 6
        value += coefficients[number] * spline
        slope += coefficients[number] / (2 * WIDTH) * (4 * inner * inner - outer * outer) * _sign(away)
        by = by + (scale * spline,)  # type: ignore[assignment]  # noqa: RUF005  (triton knows no other way)
    return scale * value, slope, by


@jit
def _b4(x, coefficients, constants):  # type: ignore[no-untyped-def]
    value, _, _ = _splines(x, coefficients, constants[0], 4, B4_WIDTH)
    return value


@jit
def _b4_gradient(x, coefficients, constants):  # type: ignore[no-untyped-def]
    _, slope, by = _splines(x, coefficients, constants[0], 4, B4_WIDTH)
    return slope, by


@jit
def _b8(x, coefficients, constants):  # type: ignore[no-untyped-def]
    value, _, _ = _splines(x, coefficients, constants[0], 8, B8_WIDTH)
    return value


@jit
def _b8_gradient(x, coefficients, constants):  # type: ignore[no-untyped-def]
    _, slope, by = _splines(x, coefficients, constants[0], 8, B8_WIDTH)
    return slope, by


# Curvature tuning: β and c are the sigmoids of the two coefficients.


@jit
def _curved(x, coefficients):  # type: ignore[no-untyped-def]
    raw_beta, raw_share = coefficients
    sharpness, width = tl.exp(raw_beta), tl.sigmoid(-raw_beta)
    share, rest = tl.sigmoid(raw_share), tl.sigmoid(-raw_share)
    inner = x / width
    # log(1 + exp(u)) with an exponential that is at most 1.
    softplus = tl.log(1 + tl.exp(-tl.abs(inner))) + tl.where(inner < 0, 0.0, inner)
    gate, step = tl.sigmoid(sharpness * x), tl.sigmoid(inner)
    swish = gate * x
    value = share * swish + rest * width * softplus
    bend = sharpness * swish * (1 - gate)
    slope = share * (gate + bend) + rest * step
    by_beta = share * x * bend - rest * width * (1 - width) * (softplus - step * inner)
    by_share = share * rest * (swish - width * softplus)
    return value, slope, (by_beta, by_share)


@jit
def _curvature(x, coefficients, constants):  # type: ignore[no-untyped-def]
    value, _, _ = _curved(x, coefficients)
    return value


@jit
def _curvature_gradient(x, coefficients, constants):  # type: ignore[no-untyped-def]
    _, slope, by = _curved(x, coefficients)
    return slope, by


CURVATURE = Variant(_curvature, _curvature_gradient, coefficients=2, constants=0)
"""Of two numbers, whose sigmoids are β and c."""

_FUNCTIONS: Mapping[Formula, tuple[Any, Any]] = {
    W3: (_w3, _w3_gradient),
    W4: (_w4, _w4_gradient),
    W5: (_w5, _w5_gradient),
    H: (_h, _h_gradient),
    M: (_m, _m_gradient),
    SLOPE: (_slope, _slope_gradient),
    R21: (_r21, _r21_gradient),
    R54: (_r54, _r54_gradient),
    B4: (_b4, _b4_gradient),
    B8: (_b8, _b8_gradient),
}
VARIANTS: Mapping[Formula, Variant] = {
    formula: Variant(value, gradient, len(formula.names), len(formula.constants))
    for formula, (value, gradient) in _FUNCTIONS.items()
}
"""Δ of each formula that has a kernel."""
