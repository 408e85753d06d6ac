"""Which activations can take the place of a network's own, what they cost, and which of them start as it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from harness.activations.base import PreservingActivation
from harness.activations.bases import RELU, Base
from harness.activations.bspline import B4, B8
from harness.activations.curvature import CurvatureTuning
from harness.activations.dynamic import DynamicReLU, FunnelReLU, KleinGordonLaplacian, KleinGordonWave, MetaAcon
from harness.activations.formulas import Formula
from harness.activations.mixture import M
from harness.activations.pointwise import (
    APL,
    SMU,
    AconC,
    AReLU,
    PReLU,
    ScaledActivation,
    ScaleShiftAfterReLU,
    SReLU,
    Swish,
)
from harness.activations.rational import R21, R54
from harness.activations.slope import SLOPE
from harness.activations.splines import PadeUnit, PiecewiseLinearUnit
from harness.core.errors import suggestion


@dataclass(frozen=True)
class Activation:
    """One entry of the family."""

    build: Callable[[int], nn.Module]
    """Channels → the module with its initial values, random ones from torch's global generator."""
    count: Callable[[int], int]
    """Channels of a site → trained scalars of that site, from the source's formula."""
    exact_at_init: bool
    """Whether it then computes ReLU bit for bit, whatever its scale."""
    of_images: bool = False
    """Whether it takes (N, C, H, W) alone."""
    on_base: Callable[[int, Base], nn.Module] | None = None
    """Where it is added to the network's own activation, channels and this → the module, which starts as it."""


def _each(number: int) -> Callable[[int], int]:
    return lambda channels: number * channels


def _site(number: int) -> Callable[[int], int]:
    return lambda channels: number


def _meta_acon(channels: int) -> int:
    hidden = max(16, channels // 16)
    return 2 * channels * hidden + 3 * hidden + 5 * channels


def _dynamic(channels: int, outputs: int) -> int:
    hidden = max(1, channels // 8)
    return (channels + 1) * hidden + (hidden + 1) * outputs


def _residual(formula: Formula) -> Activation:
    def build(channels: int, base: Base = RELU) -> nn.Module:
        return PreservingActivation(formula, channels, base=base, execution="auto")

    return Activation(build, _each(len(formula.names)), True, on_base=build)


ACTIVATIONS: Mapping[str, Activation] = {
    "relu": Activation(lambda _: nn.ReLU(), _site(0), True),
    "leaky": Activation(lambda _: nn.LeakyReLU(0.01), _site(0), False),
    "silu": Activation(lambda _: nn.SiLU(), _site(0), False),
    "gelu": Activation(lambda _: nn.GELU(), _site(0), False),
    "mish": Activation(lambda _: nn.Mish(), _site(0), False),
    "softplus": Activation(lambda _: nn.Softplus(), _site(0), False),
    "prelu0": Activation(PReLU, _each(1), True),
    "ssf_after_relu": Activation(ScaleShiftAfterReLU, _each(2), True),
    "swish_beta": Activation(Swish, _each(1), False),
    "acon_c": Activation(AconC, _each(3), False),
    "acon_c_official": Activation(partial(AconC, official=True), _each(3), False),
    "meta_acon": Activation(MetaAcon, _meta_acon, False, of_images=True),
    "srelu": Activation(SReLU, _each(4), True),
    "apl": Activation(APL, _each(4), True),
    "pau": Activation(partial(PadeUnit, groups=1), _site(10), False),
    "pau_channel": Activation(lambda channels: PadeUnit(channels, groups=channels), _each(10), False),
    "pwlu": Activation(PiecewiseLinearUnit, _each(21), True),
    "dy_relu_a": Activation(partial(DynamicReLU, per_channel=False), lambda c: _dynamic(c, 4), True),
    "dy_relu_b": Activation(partial(DynamicReLU, per_channel=True), lambda c: _dynamic(c, 4 * c), True),
    "frelu": Activation(FunnelReLU, _each(11), True, of_images=True),
    "smu": Activation(lambda _: SMU(), _site(1), False),
    "arelu": Activation(lambda _: AReLU(), _site(2), False),
    "t_ct": Activation(CurvatureTuning, _each(2), False),
    "t_ct_relu": Activation(partial(CurvatureTuning, beta=0.999), _each(2), False),
    "s_ct": Activation(partial(CurvatureTuning, trained=False), _site(0), False),
    "prelu_residual": _residual(SLOPE),
    "swish_residual": _residual(M),
    "pau_residual": _residual(R54),
    "pau_residual_4": _residual(R21),
    "kan_residual": _residual(B8),
    "kan_residual_4": _residual(B4),
    "kglap": Activation(KleinGordonLaplacian, _each(3), False, of_images=True),
    "kggen": Activation(KleinGordonWave, _each(3), False),
}
"""By the name that a sweep file gives. ``t_ct_relu`` is T-CT from β = 0.999, as close to ReLU as its form can start.
The residuals are learned forms of others, as GPAF has its own: a Δ that is 0 at first, added to what the network has;
those that end in ``_4`` have as many coefficients as W4."""


def build_activation(
    kind: str, channels: int, scale: Tensor | None = None, beta: float | None = None, base: Base = RELU
) -> nn.Module:
    """An activation of the family for inputs (N, C, …).

    Args:
        kind: a name in ``ACTIVATIONS``.
        channels: C.
        scale: standard deviation of each channel's input, shape (C,); None leaves it at 1, to be set later.
        beta: β of ``t_ct`` or ``s_ct`` at first, in (0, 1); None is 0.8.
        base: what the network has there; a residual is added to it, the others replace it.

    Raises:
        ValueError: an unknown name, or ``beta`` where it means nothing.
    """
    if kind not in ACTIVATIONS:
        raise ValueError(f"no activation {kind!r}{suggestion(kind, ACTIVATIONS)}")
    entry = ACTIVATIONS[kind]
    if beta is None:
        module = entry.build(channels) if entry.on_base is None else entry.on_base(channels, base)
    elif kind in ("t_ct", "s_ct"):
        module = CurvatureTuning(channels, trained=kind == "t_ct", beta=beta)
    else:
        raise ValueError(f"beta belongs to t_ct and s_ct, not to {kind}")
    if scale is not None and isinstance(module, PreservingActivation | ScaledActivation):
        module.set_statistics(scale)
    return module
