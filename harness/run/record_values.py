"""Kinds of value in the files of a run directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypeAlias, TypedDict

from harness.core.json_form import Law, Within
from harness.space.parameters import ParameterForm, Setting, from_json

Count: TypeAlias = Annotated[int, Within(ge=0, lt=2**63)]


Seed: TypeAlias = Annotated[int, Within(ge=0, lt=2**63)]


Moment: TypeAlias = Annotated[float, Within(ge=0, lt=253402300800)]
"""Seconds since the epoch, before the year 10000."""


Stage: TypeAlias = Literal["source", "search", "confirm"]


Status: TypeAlias = Literal["done", "pruned", "failed"]


Configuration: TypeAlias = dict[str, Setting]


Side: TypeAlias = Literal["val", "test"]


SplitSide: TypeAlias = Literal["train", "val", "test"]


Score: TypeAlias = float | None
"""Null, or not a number in older runs, where it is not defined."""


Scores: TypeAlias = dict[str, Score | list[Any]]
"""Metric → value: a number, or a list of what is counted class by class, which nobody reads back."""


def _no_space(value: Any) -> str | None:
    try:
        from_json(value)
    except (ValueError, TypeError, KeyError) as error:
        return str(error)
    return None


Space: TypeAlias = Annotated[dict[str, ParameterForm], Law(_no_space)]


class NetworkRecord(TypedDict):
    """A network and its weights: the name of some, a file, null for none, or what is trained first."""

    name: str
    weights: Any
    mean: NotRequired[list[float] | None]
    """Of the images that the weights were trained on, by colour channel, where the weights do not say so."""
    std: NotRequired[list[float] | None]
    stem: NotRequired[Literal["small"] | None]
    """Of a sweep file; where networks go by one name, it is part of that."""


def score_of(scores: Mapping[str, object], metric: str) -> Score:
    """The single number that a metric has; None where it is not defined, was not computed, or is a list."""
    value = scores.get(metric)
    return value if isinstance(value, int | float) else None
