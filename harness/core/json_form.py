"""The form of a JSON file: what it must hold, checked when it is read.

A folder of ours may be a stranger's, edited, or damaged by a disk. A file whose JSON has another form than its name
promises is as torn as one that was cut in two, and is refused in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    NotRequired,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from harness.core.files import TornFileError, is_too_much, parse_json, read_with_status

if TYPE_CHECKING:
    from pydantic_core import CoreSchema, SchemaValidator


R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Within:
    """Bounds of a number, in ``Annotated``. No number that is bounded is infinite or not a number."""

    ge: float | None = None
    gt: float | None = None
    lt: float | None = None
    le: float | None = None


@dataclass(frozen=True, slots=True)
class Length:
    """Bounds of a list's length, in ``Annotated``."""

    least: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Law:
    """What a value must be beyond its shape, in ``Annotated``.

    Args:
        broken: what is wrong with a value of that shape, in words; None where nothing is.
    """

    broken: Callable[[Any], str | None]


@dataclass(frozen=True, slots=True)
class Told:
    """Which of several TypedDicts a value must be is told by a member of it, a literal of each; in ``Annotated``."""

    by: str


class Form(Generic[R]):
    """The form of one kind of file.

    Args:
        shape: a TypedDict. Its members may be of plain types, lists, dicts, unions, literals, and annotated with the
            bounds above; others are allowed.
        rest: keep what the shape does not name; without, reading takes half the time.
    """

    def __init__(self, shape: type[R] | Any, rest: bool = True) -> None:
        self._shape, self._rest = shape, rest

    def read(self, path: Path) -> R:
        """The JSON object that a file holds.

        Raises:
            TornFileError: it has another form; the message names the file and the remedy.
            OSError: it cannot be read.
        """
        value = self.parse(read_with_status(path)[1])
        if value is None:
            raise TornFileError(path)
        return value

    def parse(self, content: bytes) -> R | None:
        """The JSON object that a file holds; None where it has another form."""
        if self._rest:
            # Not what the validator makes of it, to which 10.0 may be the whole number 10: hashes tell these apart.
            value = parse_json(content)
            if value is None or not self._validator.isinstance_python(value, strict=True):
                return None
            return cast(R, value)
        if is_too_much(content):
            return None
        try:
            some: R = self._validator.validate_json(content, strict=True)
        except ValueError:
            return None
        return some

    def fault(self, value: Any) -> str | None:
        """In what a value differs from this form, in words; None where it has it."""
        from pydantic_core import ValidationError

        try:
            self._validator.validate_python(value, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            return f"{'.'.join(map(str, first['loc'])) or 'all of it'}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        return None

    @cached_property
    def _validator(self) -> SchemaValidator:
        # The core alone, in a third of the time that pydantic itself takes to load: the status command reads little.
        from pydantic_core import SchemaValidator

        return SchemaValidator(_schema(self._shape, self._rest))


def _schema(shape: Any, rest: bool) -> CoreSchema:
    from pydantic_core import core_schema as core

    origin, parts = get_origin(shape), get_args(shape)
    if origin is Annotated:
        return _bounded(parts[0], parts[1:], rest)
    if origin is list:
        return core.list_schema(_schema(parts[0], rest))
    if origin is dict:
        return core.dict_schema(_schema(parts[0], rest), _schema(parts[1], rest))
    if origin is Literal:
        return core.literal_schema(list(parts))
    if origin in (Union, UnionType):
        some: list[CoreSchema | tuple[CoreSchema, str]] = [
            _schema(part, rest) for part in parts if part is not NoneType
        ]
        # The first that fits, in the order of the type: trying all of them for each score took most of the time.
        one = _schema(parts[0], rest) if len(some) == 1 else core.union_schema(some, mode="left_to_right")
        return core.nullable_schema(one) if NoneType in parts else one
    if hasattr(shape, "__total__"):
        fields = {}
        for name, hint in get_type_hints(shape, include_extras=True).items():
            optional = get_origin(hint) is NotRequired
            inner = get_args(hint)[0] if optional else hint
            fields[name] = core.typed_dict_field(_schema(inner, rest), required=shape.__total__ and not optional)
        return core.typed_dict_schema(fields, extra_behavior="allow" if rest else "ignore")
    plain: dict[Any, CoreSchema] = {
        Any: core.any_schema(),
        object: core.any_schema(),
        NoneType: core.none_schema(),
        bool: core.bool_schema(),
        int: core.int_schema(),
        float: core.float_schema(),
        str: core.str_schema(),
    }
    return plain[shape]


def _bounded(shape: Any, bounds: tuple[Any, ...], rest: bool) -> CoreSchema:
    from pydantic_core import PydanticCustomError
    from pydantic_core import core_schema as core

    schema = _schema(shape, rest)
    for bound in bounds:
        if isinstance(bound, Within):
            limits = {name: limit for name in ("ge", "gt", "lt", "le") if (limit := getattr(bound, name)) is not None}
            finite = {"allow_inf_nan": False} if shape is float else {}
            schema = {**schema, **limits, **finite}
        elif isinstance(bound, Length):
            schema = {**schema, "min_length": bound.least, "max_length": bound.most}
        elif isinstance(bound, Told):
            kinds = {word: _schema(kind, rest) for kind in get_args(shape) for word in _words(kind, bound.by)}
            schema = core.tagged_union_schema(kinds, bound.by)
        elif isinstance(bound, Law):

            def checked(value: Any, law: Law = bound) -> Any:
                broken = law.broken(value)
                if broken is not None:
                    raise PydanticCustomError("law", "{broken}", {"broken": broken})
                return value

            schema = core.no_info_after_validator_function(checked, schema)
    return schema


def _words(kind: Any, member: str) -> tuple[Any, ...]:
    return get_args(get_type_hints(kind, include_extras=True)[member])
