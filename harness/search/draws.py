"""A random value for each hyperparameter, from a stream that hangs on its own name.

Adding a hyperparameter to a space, or fixing one, changes the values of no other (as in DomainBed). That holds for
the ``random`` sampler and for the first ``startup`` slots of every sampler that learns; what is learned from a history
depends on all hyperparameters together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.seeds import derive_seed
from harness.space import Choice, Float, Int, Value


def random_configuration(varied: Mapping[str, Float | Int | Choice], study: str, slot: int) -> dict[str, Value]:
    """Independent values, uniform on the scale of each hyperparameter."""
    return {name: _value(parameter, derive_seed("ask", study, slot, name)) for name, parameter in varied.items()}


def _value(parameter: Float | Int | Choice, seed: int) -> Value:
    share = seed / 2**63
    if isinstance(parameter, Choice):
        return parameter.choices[min(int(share * len(parameter.choices)), len(parameter.choices) - 1)]
    # A whole number stands for all that is rounded to it.
    margin = 0.5 if isinstance(parameter, Int) else 0.0
    low, high = parameter.low - margin, parameter.high + margin
    drawn = low * math.exp(share * math.log(high / low)) if parameter.log else low + share * (high - low)
    within = min(max(drawn, parameter.low), parameter.high)
    return round(within) if isinstance(parameter, Int) else within
