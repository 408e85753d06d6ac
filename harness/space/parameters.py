"""The search space of a method: typed hyperparameters, each with its default.

A method declares its space in code; a sweep file may override any part of it (``harness.spec.space_forms``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypeAlias, TypedDict, cast

from harness.core.json_form import Within

Value: TypeAlias = bool | int | float | str
When: TypeAlias = Mapping[str, Value | Sequence[Value]]
"""Name of another hyperparameter → the value, or the values, with which this one counts."""


@dataclass(frozen=True, slots=True)
class Float:
    """A real number in ``[low, high]``; ``log`` searches its logarithm.

    ``when`` and ``at_most`` of all kinds: see ``harness.space.conditions``. ``within``: the numbers that the method can
    train with at all, such as ``(0, 1]``; by default what ``harness.space.intervals`` says of the name.
    """

    default: float
    low: float
    high: float
    log: bool = False
    when: When = field(default_factory=dict, hash=False)
    at_most: str | None = None
    within: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check_range(self)


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number in ``[low, high]``, both included; ``log`` searches its logarithm."""

    default: int
    low: int
    high: int
    log: bool = False
    when: When = field(default_factory=dict, hash=False)
    at_most: str | None = None
    within: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check_range(self)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of ``choices``. Text choices are all that the method understands; numbers are examples."""

    default: Value
    choices: tuple[Value, ...]
    when: When = field(default_factory=dict, hash=False)
    within: str | None = field(default=None, compare=False)

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
    within: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.allowed and self.default not in self.allowed:
            raise ValueError(f"{self.default!r} is not among {list(self.allowed)}")


Number: TypeAlias = Annotated[float, Within()]
Setting: TypeAlias = bool | int | Number | str
"""A ``Value`` as a file holds it: a number is finite."""


class ParameterForm(TypedDict):
    """A hyperparameter of a space as JSON."""

    kind: Literal["Float", "Int", "Choice", "Fixed"]
    default: Setting
    low: NotRequired[Number]
    high: NotRequired[Number]
    log: NotRequired[bool]
    choices: NotRequired[list[Setting]]
    allowed: NotRequired[list[Setting]]
    when: NotRequired[dict[str, list[Setting]]]
    at_most: NotRequired[str | None]


Parameter: TypeAlias = Float | Int | Choice | Fixed
Space: TypeAlias = Mapping[str, Parameter]


def defaults(space: Space) -> dict[str, Value]:
    """The default configuration: the one that slot 0 of every study runs."""
    return {name: parameter.default for name, parameter in space.items()}


def searched(space: Space) -> dict[str, Float | Int | Choice]:
    """The hyperparameters that the search varies, by name, so that their order in a file or class changes no ask.

    One whose ``when`` names a fixed value that is another never counts, and is left out.
    """
    return {
        name: parameter
        for name, parameter in sorted(space.items())
        if not isinstance(parameter, Fixed)
        and not (isinstance(parameter, Choice) and len(parameter.choices) == 1)
        and _may_count(space, parameter)
    }


def wanted(parameter: Parameter) -> dict[str, tuple[Value, ...]]:
    """The ``when`` of a hyperparameter: name → all values with which it counts."""
    when: When = {} if isinstance(parameter, Fixed) else parameter.when
    return {
        name: (values,) if isinstance(values, bool | int | float | str) else tuple(values)
        for name, values in when.items()
    }


def _may_count(space: Space, parameter: Parameter) -> bool:
    def possible(other: Parameter, value: Value) -> bool:
        if isinstance(other, Choice):
            return value in other.choices
        if isinstance(other, Fixed):
            return value == other.default
        return not isinstance(value, str) and other.low <= value <= other.high

    return all(
        _may_count(space, space[name]) and any(possible(space[name], value) for value in values)
        for name, values in wanted(parameter).items()
    )


def to_json(space: Space) -> dict[str, ParameterForm]:
    """A JSON form that keeps the kind of each hyperparameter."""
    forms = {
        name: {
            "kind": type(parameter).__name__,
            # What says nothing is left out, so that the identity of a space without conditions is what it always was.
            **{
                key: value
                for key, value in asdict(parameter).items()
                if key != "within" and (key not in ("when", "at_most") or value)
            },
            **(
                {"when": when} if (when := {other: list(values) for other, values in wanted(parameter).items()}) else {}
            ),
        }
        for name, parameter in space.items()
    }
    # ``asdict`` tells no types.
    return cast(dict[str, ParameterForm], forms)


def from_json(content: Mapping[str, ParameterForm]) -> dict[str, Parameter]:
    """The space that ``to_json`` wrote."""
    kinds: dict[str, type[Any]] = {"Float": Float, "Int": Int, "Choice": Choice, "Fixed": Fixed}
    space: dict[str, Parameter] = {}
    for name, entry in content.items():
        fields: dict[str, object] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
        }
        space[name] = kinds[str(fields.pop("kind"))](**fields)
    return space


def _check_range(parameter: Float | Int) -> None:
    if not parameter.low <= parameter.default <= parameter.high:
        raise ValueError(f"default {parameter.default} is not in [{parameter.low}, {parameter.high}]")
    if parameter.log and parameter.low <= 0:
        raise ValueError(f"a logarithmic range must start above 0, got {parameter.low}")
