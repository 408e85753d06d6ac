"""Hyperparameters that exist only where others have certain values, and those that must not exceed another.

A configuration is complete all the same: where a hyperparameter does not count, it has its default. So two
configurations that differ only there are one, and a method may read it at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.core.errors import suggestion
from harness.space.parameters import Choice, Float, Int, Parameter, Space, Value, defaults, wanted


def counts(space: Space, name: str, configuration: Mapping[str, Value]) -> bool:
    """Whether a hyperparameter counts in a configuration: all that its ``when`` names counts and has such a value."""
    return all(
        configuration[parent] in values and counts(space, parent, configuration)
        for parent, values in wanted(space[name]).items()
    )


def with_defaults(space: Space, configuration: Mapping[str, Value]) -> dict[str, Value]:
    """The configuration with the default of each hyperparameter that does not count in it."""
    return {
        name: value if counts(space, name, configuration) else space[name].default
        for name, value in configuration.items()
    }


def broken(space: Space, configuration: Mapping[str, Value]) -> list[tuple[str, str]]:
    """(name, other) of each hyperparameter that exceeds the one that it must not, where both count."""
    return [
        (name, other)
        for name, other in _limits(space)
        if configuration[name] > configuration[other]  # type: ignore[operator]  # both are numbers: check_conditions
        and counts(space, name, configuration)
        and counts(space, other, configuration)
    ]


def constrained(space: Space) -> bool:
    """Whether some hyperparameter must not exceed another."""
    return next(_limits(space), None) is not None


def conditional(space: Space) -> bool:
    """Whether some hyperparameter counts only at times."""
    return any(wanted(parameter) for parameter in space.values())


def parents_first(space: Space) -> list[str]:
    """All names, sorted, but each after those that its ``when`` names."""
    found: list[str] = []

    def add(name: str) -> None:
        for parent in sorted(wanted(space[name])):
            add(parent)
        if name not in found:
            found.append(name)

    for name in sorted(space):
        add(name)
    return found


def check_conditions(space: Space) -> None:
    """Check what hyperparameters say of each other.

    Raises:
        ValueError: the message begins with the hyperparameter's name.
    """
    for name, parameter in space.items():
        for parent, values in wanted(parameter).items():
            _check_parent(space, name, parent, values)
        limit = getattr(parameter, "at_most", None)
        if limit is not None:
            _check_limit(space, name, limit)
    for name in space:
        _check_no_circle(space, name, ())
    for name, other in broken(space, defaults(space)):
        default, least = space[name].default, space[other].default
        raise ValueError(f"{name}: at_most {other}: the default {default} exceeds {least}; slot 0 runs the defaults")


def check_configuration(space: Space, configuration: Mapping[str, Value]) -> None:
    """Raise ValueError unless a configuration has a value in its range for every hyperparameter, no other, and keeps
    what they say of each other."""
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
    for name, value in with_defaults(space, configuration).items():
        if configuration[name] != value:
            raise ValueError(
                f"{name}: {configuration[name]!r} where it does not count; it has its default {value!r} there"
            )
    for name, other in broken(space, configuration):
        raise ValueError(f"{name}: {configuration[name]!r} exceeds {other}, which is {configuration[other]!r}")


def _check_parent(space: Space, name: str, parent: str, values: tuple[Value, ...]) -> None:
    place = f"{name}: when: {parent}"
    if parent not in space:
        raise ValueError(f"{place}: no such hyperparameter{suggestion(parent, space)}")
    other = space[parent]
    if isinstance(other, Float):
        raise ValueError(f"{place} is a real number, which equals no value; take a choice or a whole number")
    kind = type(other.default)
    for value in values:
        if type(value) is not kind:
            raise ValueError(f"{place}: {value!r} is not of the kind of {other.default!r}")
    if not values:
        raise ValueError(f"{place}: lists no value")


def _check_limit(space: Space, name: str, limit: str) -> None:
    if limit not in space or limit == name:
        raise ValueError(f"{name}: at_most: no such other hyperparameter {limit!r}{suggestion(limit, space)}")
    if isinstance(space[limit].default, str | bool):
        raise ValueError(f"{name}: at_most: {limit} is not a number")


def _check_no_circle(space: Space, name: str, above: tuple[str, ...]) -> None:
    if name in above:
        raise ValueError(f"{name}: when: it depends on itself ({' → '.join((*above, name))})")
    for parent in wanted(space[name]):
        _check_no_circle(space, parent, (*above, name))


def _limits(space: Space) -> Iterator[tuple[str, str]]:
    return ((name, p.at_most) for name, p in space.items() if isinstance(p, Float | Int) and p.at_most is not None)


def condition_in_words(parameter: Parameter) -> str:
    """`` where optimizer is sgd, at most head_lr``; empty where nothing is said."""
    parts = [f"where {name} is {' or '.join(map(str, values))}" for name, values in wanted(parameter).items()]
    limit = getattr(parameter, "at_most", None)
    parts += [] if limit is None else [f"at most {limit}"]
    return f" {', '.join(parts)}" if parts else ""
