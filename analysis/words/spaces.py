"""Search spaces in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from analysis.comparison.phrases import listed
from analysis.runs.spaces import domain_phrase, value_phrase
from harness.run.record_values import Space

MOST_TOLD = 12
"""Different hyperparameters that a sentence lists; more are left to the table."""


def space_sentences(spaces: Mapping[str, Space]) -> Iterator[str]:
    """What was searched, and from which default on; nothing where no space is known.

    Args:
        spaces: method → search space.
    """
    if not spaces:
        return
    told: dict[tuple[str, str, str], list[str]] = {}
    for method, space in spaces.items():
        for name, parameter in space.items():
            if parameter["kind"] != "Fixed":
                key = name, domain_phrase(parameter), value_phrase(parameter["default"])
                told.setdefault(key, []).append(method)
    idle = [method for method in spaces if not any(method in own for own in told.values())]
    if len(told) > MOST_TOLD:
        yield "The search spaces, with defaults and chosen values, are in a table of their own."
    elif told:
        parts = [
            f"{name} {domain}, default {default} ({_whose(methods, spaces)})"
            for (name, domain, default), methods in told.items()
        ]
        yield f"The search varied {'; '.join(parts)}. All other hyperparameters were fixed."
    if idle:
        yield f"There was nothing to search in {listed(idle)}."


def _whose(methods: list[str], spaces: Mapping[str, Space]) -> str:
    return "all methods" if len(methods) == len(spaces) > 1 else listed(methods)
