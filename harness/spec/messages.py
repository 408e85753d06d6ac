"""What pydantic finds wrong, in plain words."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeAlias, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from harness.core.errors import RequestError, shortened, suggestion
from harness.spec.forms import OverridesOf, shown
from harness.spec.source import YamlSource

Keys: TypeAlias = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
}
_NOTHING = ("none", "null", "nil", "nothing", "n/a", "na", "")
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("below", "lt"),
}

Place: TypeAlias = Callable[..., str]
"""Says where a value was written: ``place("train", "epochs")`` gives ``x.yaml:3: train.epochs``."""


def validated(model: type[Model], source: YamlSource) -> Model:
    """The content of a file as a model.

    Raises:
        RequestError: what is wrong first, with file and line.
    """
    try:
        return model.model_validate(source.data)
    except ValidationError as error:
        keys, text = explain(model, error)
        raise RequestError(f"{source.place(keys)}: {text}") from error


def explain(model: type[BaseModel], error: ValidationError) -> tuple[Keys, str]:
    """Keys of the first thing that is wrong, and what is wrong with it in one line.

    An unknown key comes first, because a misspelt key is often what makes another one missing.
    """
    # What is left out for the sake of another fault is no fault of its own.
    every = (one for one in error.errors(include_url=False) if one["type"] != "default_factory_not_called")
    found = sorted(every, key=lambda one: one["type"] != "extra_forbidden")
    keys, text = _explain(model, found[0])
    return keys, text + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")


def _explain(model: type[BaseModel], error: ErrorDetails) -> tuple[Keys, str]:
    context = error.get("ctx", {})
    # Union branches are tagged "<…>"; "[key]" says that a mapping's key is wrong, not its value.
    *above, last = error["loc"] or ("",)
    wrong_key = error["type"] == "extra_forbidden"
    loc = (*above, *(() if wrong_key else (last,)))
    keys = tuple(key for key in loc if key not in ("[key]", "") and not re.fullmatch("<[a-z]+>", str(key)))
    # A key of the file's own may look like the tag of a branch.
    keys += (last,) if wrong_key else ()
    keys += tuple(context.get("keys", ()))
    return keys, _text(model, keys, error["type"], error["input"], context) or _foreign(error)


def _text(model: type[BaseModel], keys: Keys, kind: str, given: Any, context: Mapping[str, Any]) -> str | None:
    got = f"got {shown(given)}"
    if kind == "fault":
        return str(context["message"])
    if kind == "extra_forbidden":
        return f"unknown key{suggestion(str(keys[-1]), _fields(model, keys[:-1]))}"
    if kind == "missing":
        example = _example(str(keys[-1]), _fields(model, keys[:-1]))
        return f"missing; add it{example}"
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, {got}{_meant(model, keys, kind, given)}"
    if kind == "string_type":
        quotes = "; put it in quotes" if isinstance(given, bool | int | float) else ""
        return f"expected text, {got}{quotes}"
    if kind == "string_unicode":
        return f"{shown(given)} holds half a character; write the character itself"
    if kind in _BOUNDS:
        words, limit = _BOUNDS[kind]
        return f"must be {words} {_number(context[limit])}, {got}"
    if kind == "literal_error":
        known = [word.strip("'") for word in re.split(", | or ", context["expected"])]
        remedy = _meant(model, keys, kind, given) or suggestion(str(given), known)
        return f"{shown(given)} is not allowed{remedy}"
    if kind == "string_pattern_mismatch":
        return f"{shown(given)} is no label; use letters, digits, '.', '_' and '-', a letter or digit first"
    if kind == "string_too_long":
        return f"longer than {context['max_length']:,} characters; shorten it"
    if kind == "string_too_short":
        least = context["min_length"]
        if least == 1:
            return "is empty; write a name"
        return f"{shown(given)} is too short{_meant(model, keys, kind, given)}; write at least {least} characters"
    if kind == "too_short":
        return "is empty; list at least one"
    if kind == "too_long":
        return f"has {context['actual_length'] or 'too many'} entries; at most {context['max_length']:,} are allowed"
    return None


def _meant(model: type[BaseModel], keys: Keys, kind: str, given: Any) -> str:
    """What somebody who wrote a value of a wrong kind probably meant, as a closing remark."""
    if isinstance(given, str) and given.strip().lower() in _NOTHING and _may_be_null(model, keys):
        return "; write null for none"
    if kind in ("list_type", "tuple_type") and isinstance(given, bool | int | float | str) and given != "":
        return f"; write [{shortened(str(given))}]"
    if kind in ("int_type", "int_from_float") and isinstance(given, float) and given.is_integer() and abs(given) < 1e15:
        return f"; write {int(given)}"
    if kind in ("int_type", "int_from_float", "float_type") and isinstance(given, str) and len(given) < 40:
        number = _number_in(given.strip())
        return "" if number is None else f"; write {number}"
    if kind == "bool_type" and isinstance(given, str) and given.lower() in ("true", "false"):
        return f"; write {given.lower()} without quotes"
    return ""


def _number_in(text: str) -> str | None:
    """The number that a text probably stands for."""
    if re.fullmatch(r"[-+]?[0-9]+(:[0-5]?[0-9])+", text):
        # Readers of YAML 1.1 take 1:30 for 90.
        parts = [int(part) for part in text.lstrip("+-").split(":")]
        whole = sum(part * 60**power for power, part in enumerate(reversed(parts)))
        return f"{'-' if text[0] == '-' else ''}{whole}"
    if re.fullmatch("0o[0-7]+", text):
        return str(int(text, 8))
    if re.fullmatch(r"[-+]?[0-9]{1,3}(,[0-9]{3})+", text):
        return text.replace(",", "")
    if re.fullmatch(r"[0-9]+(\.[0-9]+)? ?%", text):
        return f"{float(text.rstrip(' %')) / 100:g}"
    if re.fullmatch(r"[-+]?0*[0-9]+", text):
        return f"{int(text)} without quotes"
    if re.fullmatch(r"[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?", text):
        return f"{text} without quotes"
    return None


def _may_be_null(model: type[BaseModel], keys: Keys) -> bool:
    field = _fields(model, keys[:-1]).get(str(keys[-1])) if keys else None
    return field is not None and any(kind is type(None) for kind in _flat([field.annotation]))


def _foreign(error: ErrorDetails) -> str:
    """The words of a check that is not ours: of a plugin's own options, or of a union of kinds."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    message = str(error["msg"])
    return f"{message[0].lower()}{message[1:]}, got {shown(error['input'])}"


def _fields(model: type[BaseModel], keys: Sequence[str | int]) -> dict[str, FieldInfo]:
    """The fields that may stand under ``keys``."""
    types_: list[Any] = [model]
    for key in keys:
        below: list[Any] = []
        for kind in _flat(types_):
            if _is_model(kind) and key in kind.model_fields:
                field = kind.model_fields[str(key)]
                below += [field.annotation, *field.metadata]
            elif get_origin(kind) is dict:
                below.append(get_args(kind)[1])
        types_ = below
    return {name: field for kind in _flat(types_) if _is_model(kind) for name, field in kind.model_fields.items()}


def _flat(types_: Sequence[Any]) -> Iterator[Any]:
    """The members of all unions, with the models that stand for mappings of overrides."""
    for kind in types_:
        if isinstance(kind, OverridesOf):
            yield kind.model
        elif get_origin(kind) in (Annotated, Union, types.UnionType):
            yield from _flat([*get_args(kind), *getattr(kind, "__metadata__", ())])
        else:
            yield kind


def _is_model(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, BaseModel)


def _example(key: str, fields: Mapping[str, FieldInfo]) -> str:
    examples = fields[key].examples if key in fields else None
    if not examples:
        return ""
    text = yaml.safe_dump(examples[0], default_flow_style=True, sort_keys=False, width=1000)
    # A scalar alone is followed by YAML's mark of the end of a document.
    return f", for example `{key}: {text.splitlines()[0]}`"


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
