"""How a sweep file writes hyperparameters::

lr: 0.001                      # fixed
lr: {log: [1e-4, 1e-2]}        # searched on a logarithmic scale
lr: {uniform: [0.0, 0.5]}      # searched on a linear scale
rank: {int: [1, 32]}           # whole numbers; {log_int: [1, 32]} on a logarithmic scale
rank: {choice: [1, 2, 4, 8]}   # one of these
rank: {choice: [1, 2], default: 2}
momentum: {uniform: [0.5, 0.99], when: {optimizer: sgd}}   # counts only there; elsewhere it has its default
lr: {log: [1e-4, 1e-2], at_most: head_lr}                  # never above another one
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.core.errors import RequestError, shortened, suggestion
from harness.space.conditions import check_conditions
from harness.space.intervals import interval_of
from harness.space.parameters import Choice, Fixed, Float, Int, Parameter, Space, Value
from harness.spec.forms import shown
from harness.spec.train import TrainSpec

_FORMS = ("log", "uniform", "int", "log_int", "choice")
_BESIDE = ("default", "when", "at_most")
_VALUES = (bool, int, float, str, list, tuple)

MOST_CHOICES = 1000
LONGEST_WORD = 200


def override(space: Space, given: Mapping[str, object], place: str) -> dict[str, Parameter]:
    """The space with the entries of a sweep file applied.

    Args:
        space: the method's own space.
        given: hyperparameter name → fixed value or one of the forms above.
        place: where the entries stand, for messages.

    Raises:
        RequestError: unknown name, wrong form, wrong type, a default outside the new range, or a condition that
            cannot hold.
    """
    result = dict(space)
    for name, entry in given.items():
        if name not in space:
            raise RequestError(f"{place}.{name}: no such hyperparameter{suggestion(name, space)}")
        try:
            result[name] = _parse(name, space[name], entry)
        except ValueError as error:
            raise RequestError(f"{place}.{name}: {error}") from error
    try:
        check_conditions(result)
    except ValueError as error:
        raise RequestError(f"{place}.{error}") from error
    return result


def method_space(space: Space, given: Mapping[str, object], train: TrainSpec, place: str) -> dict[str, Parameter]:
    """The space of a method in a sweep: ``override``, with the optimiser that ``train`` gives to all methods.

    Raises:
        RequestError: as ``override``.
    """
    result = override(space, given, place)
    if train.optimizer is not None and "optimizer" in result:
        result["optimizer"] = Fixed(train.optimizer.kind)
    return result


def _parse(name: str, declared: Parameter, entry: Any) -> Parameter:
    if not isinstance(entry, Mapping):
        return Fixed(_typed(name, declared, entry), _allowed(declared), within=declared.within)
    parameter = replace(_parse_form(name, declared, entry), within=declared.within)
    # Another range keeps the conditions that the method has declared.
    when = entry.get("when", {} if isinstance(declared, Fixed) else declared.when)
    if not isinstance(when, Mapping) or not all(isinstance(value, _VALUES) for value in when.values()):
        raise ValueError(f"when needs a mapping such as {{optimizer: sgd}} or {{rank: [4, 8]}}, got {shown(when)}")
    limit = entry.get("at_most", declared.at_most if isinstance(declared, Float | Int) else None)
    if isinstance(parameter, Choice):
        if "at_most" in entry:
            raise ValueError("at_most needs a range, a choice has no order")
        return replace(parameter, when=dict(when))
    if limit is not None and not isinstance(limit, str):
        raise ValueError(f"at_most needs the name of another hyperparameter, got {shown(limit)}")
    return replace(parameter, when=dict(when), at_most=limit)


def _parse_form(name: str, declared: Parameter, entry: Mapping[str, object]) -> Float | Int | Choice:
    unknown = set(entry) - {*_FORMS, *_BESIDE}
    if unknown:
        word = str(sorted(map(str, unknown))[0])
        raise ValueError(f"unknown form {word!r}{suggestion(word, (*_FORMS, *_BESIDE))}")
    forms = [form for form in _FORMS if form in entry]
    if len(forms) != 1:
        raise ValueError(f"needs exactly one of {', '.join(_FORMS)}")
    form, domain = forms[0], entry[forms[0]]
    if not isinstance(domain, Sequence) or isinstance(domain, str) or not domain:
        raise ValueError(f"{form} needs a list, got {shown(domain)}")
    if len(domain) > MOST_CHOICES:
        raise ValueError(f"{form} lists {len(domain):,} values; at most {MOST_CHOICES:,} are allowed")
    if form.startswith("log") and type(domain[0]) in (int, float) and domain[0] <= 0:
        raise ValueError(f"a logarithmic range must start above 0, got {shown(domain[0])}")
    values = tuple(_typed(name, declared, value) for value in domain)
    default = _typed(name, declared, entry.get("default", declared.default))
    if form == "choice":
        if default not in values and "default" not in entry and len(values) == 1:
            default = values[0]
        _needs_default(default in values, default, f"among {shortened(str(list(values)), 200)}")
        return Choice(default, values)
    if len(values) != 2 or any(isinstance(value, str | bool) for value in values):
        raise ValueError(f"{form} needs two numbers [low, high], got {shortened(str(list(domain)))}")
    low, high = values
    assert not isinstance(low, str) and not isinstance(high, str) and not isinstance(default, str)
    if low > high:
        raise ValueError(f"low {low} is above high {high}")
    _needs_default(low <= default <= high, default, f"in [{low}, {high}]")
    if form in ("int", "log_int"):
        if not all(float(value).is_integer() for value in (low, high, default)):
            raise ValueError(f"{form} needs whole numbers, got {list(domain)}")
        return Int(int(default), int(low), int(high), log=form == "log_int")
    if isinstance(declared.default, int):
        raise ValueError(f"{form} gives real numbers where the method wants whole ones; use int or log_int")
    return Float(float(default), float(low), float(high), log=form == "log")


def _needs_default(fits: bool, default: Value, where: str) -> None:
    if not fits:
        raise ValueError(f"the default {default!r} is not {where}; slot 0 runs it, so add `default: …`")


def _allowed(declared: Parameter) -> tuple[Value, ...]:
    if isinstance(declared, Fixed):
        return declared.allowed
    if isinstance(declared, Choice) and isinstance(declared.default, str):
        return declared.choices
    return ()


def _typed(name: str, declared: Parameter, value: Any) -> Value:
    expected = type(declared.default)
    if expected is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        value = float(value)
    if type(value) is not expected or (isinstance(value, float) and not math.isfinite(value)):
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
        raise ValueError(f"expected {names[expected]}, got {shown(value)}")
    if isinstance(value, str) and len(value) > LONGEST_WORD:
        raise ValueError(f"longer than {LONGEST_WORD} characters; shorten it")
    if isinstance(value, int | float) and not isinstance(value, bool):
        possible = interval_of(name, declared.within)
        if value not in possible:
            raise ValueError(f"must be {possible.in_words()}, got {shown(value)}")
    allowed = _allowed(declared)
    if allowed and value not in allowed:
        raise ValueError(f"{value!r} is not one of {list(allowed)}{suggestion(str(value), allowed)}")
    assert isinstance(value, bool | int | float | str)
    return value
