"""A hyperparameter of a search space in words."""

from __future__ import annotations

from typing import Any

from harness.space.parameters import ParameterForm


def domain_phrase(parameter: ParameterForm) -> str:
    """Among which values a hyperparameter is searched, and where; ``fixed`` where it is not."""
    kind, domain = parameter["kind"], "fixed"
    if kind == "Choice":
        domain = "one of " + ", ".join(map(value_phrase, parameter["choices"]))
    elif kind in ("Float", "Int"):
        scale = ", log" if parameter.get("log") else ""
        domain = f"[{value_phrase(parameter['low'])}, {value_phrase(parameter['high'])}]{scale}"
    for name, values in parameter.get("when", {}).items():
        domain += f", where {name} is {' or '.join(map(value_phrase, values))}"
    return domain + (f", at most {parameter['at_most']}" if parameter.get("at_most") else "")


def value_phrase(value: Any) -> str:
    """A value of a hyperparameter."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
