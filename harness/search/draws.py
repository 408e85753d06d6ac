"""A random value for each hyperparameter, from a stream that hangs on its own name.

Adding a hyperparameter to a space, or fixing one, changes the values of no other (as in DomainBed). That holds for
the ``random`` sampler and for the first ``startup`` slots of every sampler that learns; what is learned from a history
depends on all hyperparameters together. Where one must not exceed another, only these two are drawn again.
"""

from __future__ import annotations

import math

from harness.core.errors import RequestError
from harness.core.seeds import derive_seed
from harness.space.conditions import broken, with_defaults
from harness.space.parameters import Choice, Float, Int, Space, Value, defaults, searched

ATTEMPTS = 10_000


def random_configuration(space: Space, study: str, slot: int) -> dict[str, Value]:
    """A complete configuration: independent values, uniform on the scale of each hyperparameter.

    Raises:
        RequestError: nothing that keeps ``at_most`` was found.
    """
    varied = searched(space)
    drawn = defaults(space)
    again = dict.fromkeys(varied, 0)
    for _ in range(ATTEMPTS):
        for name, attempt in again.items():
            which = (name, attempt) if attempt else (name,)
            drawn[name] = _value(varied[name], derive_seed("ask", study, slot, *which))
        found = with_defaults(space, drawn)
        wrong = broken(space, found)
        if not wrong:
            return found
        names = sorted({name for pair in wrong for name in pair if name in varied})
        again = {name: again.get(name, 0) + 1 for name in names}
    name, other = wrong[0]
    raise RequestError(f"search: {name} is hardly ever at most {other}; change their ranges")


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
