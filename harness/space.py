"""The search space of a method: typed hyperparameters, each with its default.

A method declares its space in code; a sweep file may override any part of it::

    lr: 0.001                      # fixed
    lr: {log: [1e-4, 1e-2]}        # searched on a logarithmic scale
    lr: {uniform: [0.0, 0.5]}      # searched on a linear scale
    rank: {int: [1, 32]}           # whole numbers; {log_int: [1, 32]} on a logarithmic scale
    rank: {choice: [1, 2, 4, 8]}   # one of these
    rank: {choice: [1, 2], default: 2}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from harness.errors import RequestError, suggestion

Value: TypeAlias = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Float:
    """A real number in ``[low, high]``; ``log`` searches its logarithm."""

    default: float
    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self)


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number in ``[low, high]``, both included; ``log`` searches its logarithm."""

    default: int
    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of ``choices``. Text choices are all that the method understands; numbers are examples."""

    default: Value
    choices: tuple[Value, ...]

    def __post_init__(self) -> None:
        if len(set(self.choices)) != len(self.choices) or not self.choices:
            raise ValueError(f"choices must be distinct and at least one, got {list(self.choices)}")
        if self.default not in self.choices:
            raise ValueError(f"default {self.default!r} is not among {list(self.choices)}")


@dataclass(frozen=True, slots=True)
class Fixed:
    """A hyperparameter that is searched only where a sweep file asks for it.

    ``allowed`` lists every value that the method understands; empty admits any value of the default's type.
    """

    default: Value
    allowed: tuple[Value, ...] = ()

    def __post_init__(self) -> None:
        if self.allowed and self.default not in self.allowed:
            raise ValueError(f"{self.default!r} is not among {list(self.allowed)}")


Parameter: TypeAlias = Float | Int | Choice | Fixed
Space: TypeAlias = Mapping[str, Parameter]

_FORMS = ("log", "uniform", "int", "log_int", "choice")


def defaults(space: Space) -> dict[str, Value]:
    """The default configuration: the one that slot 0 of every study runs."""
    return {name: parameter.default for name, parameter in space.items()}


def searched(space: Space) -> dict[str, Float | Int | Choice]:
    """The hyperparameters that the search varies, by name, so that their order in a file or class changes no ask."""
    return {
        name: parameter
        for name, parameter in sorted(space.items())
        if not isinstance(parameter, Fixed) and not (isinstance(parameter, Choice) and len(parameter.choices) == 1)
    }


def check_configuration(space: Space, configuration: Mapping[str, Value]) -> None:
    """Raise ValueError unless a configuration has a value in its range for every hyperparameter, and no other."""
    if configuration.keys() != space.keys():
        raise ValueError(f"a configuration of {sorted(configuration)} where the space has {sorted(space)}")
    for name, value in configuration.items():
        parameter = space[name]
        if isinstance(parameter, Float | Int):
            number = type(value) in ((int,) if isinstance(parameter, Int) else (int, float))
            fits = number and not isinstance(value, str) and parameter.low <= value <= parameter.high
        else:
            fits = value in parameter.choices if isinstance(parameter, Choice) else value == parameter.default
        if not fits:
            raise ValueError(f"{name}: {value!r} is not in the space of this study: {parameter}")


def override(space: Space, given: Mapping[str, Any], place: str) -> dict[str, Parameter]:
    """The space with the entries of a sweep file applied.

    Args:
        space: the method's own space.
        given: hyperparameter name → fixed value or one of the forms above.
        place: where the entries stand, for messages.

    Raises:
        RequestError: unknown name, wrong form, wrong type, or a default outside the new range.
    """
    result = dict(space)
    for name, entry in given.items():
        if name not in space:
            raise RequestError(f"{place}.{name}: no such hyperparameter{suggestion(name, space)}")
        try:
            result[name] = _parse(space[name], entry)
        except ValueError as error:
            raise RequestError(f"{place}.{name}: {error}") from error
    return result


def to_json(space: Space) -> dict[str, dict[str, Any]]:
    """A JSON form that keeps the kind of each hyperparameter."""
    return {name: {"kind": type(parameter).__name__, **asdict(parameter)} for name, parameter in space.items()}


def from_json(content: Mapping[str, Mapping[str, Any]]) -> dict[str, Parameter]:
    """The space that ``to_json`` wrote."""
    kinds: dict[str, type[Any]] = {"Float": Float, "Int": Int, "Choice": Choice, "Fixed": Fixed}
    space: dict[str, Parameter] = {}
    for name, entry in content.items():
        fields = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
        space[name] = kinds[str(fields.pop("kind"))](**fields)
    return space


def _parse(declared: Parameter, entry: Any) -> Parameter:
    if not isinstance(entry, Mapping):
        return Fixed(_typed(declared, entry), _allowed(declared))
    unknown = set(entry) - {*_FORMS, "default"}
    if unknown:
        word = str(sorted(map(str, unknown))[0])
        raise ValueError(f"unknown form {word!r}{suggestion(word, (*_FORMS, 'default'))}")
    forms = [form for form in _FORMS if form in entry]
    if len(forms) != 1:
        raise ValueError(f"needs exactly one of {', '.join(_FORMS)}")
    form, domain = forms[0], entry[forms[0]]
    if not isinstance(domain, Sequence) or isinstance(domain, str) or not domain:
        raise ValueError(f"{form} needs a list, got {domain!r}")
    values = tuple(_typed(declared, value) for value in domain)
    default = _typed(declared, entry.get("default", declared.default))
    if form == "choice":
        if default not in values and "default" not in entry and len(values) == 1:
            default = values[0]
        _needs_default(default in values, default, f"among {list(values)}")
        return Choice(default, values)
    if len(values) != 2 or any(isinstance(value, str | bool) for value in values):
        raise ValueError(f"{form} needs two numbers [low, high], got {list(domain)}")
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


def _typed(declared: Parameter, value: Any) -> Value:
    expected = type(declared.default)
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not expected or (isinstance(value, float) and not math.isfinite(value)):
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
        raise ValueError(f"expected {names[expected]}, got {value!r}")
    allowed = _allowed(declared)
    if allowed and value not in allowed:
        raise ValueError(f"{value!r} is not one of {list(allowed)}{suggestion(str(value), allowed)}")
    assert isinstance(value, bool | int | float | str)
    return value


def _check_range(parameter: Float | Int) -> None:
    if not parameter.low <= parameter.default <= parameter.high:
        raise ValueError(f"default {parameter.default} is not in [{parameter.low}, {parameter.high}]")
    if parameter.log and parameter.low <= 0:
        raise ValueError(f"a logarithmic range must start above 0, got {parameter.low}")
