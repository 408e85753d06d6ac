"""The section of the sweep file that says what confirmed models are scored on besides their test split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field

from harness.spec.forms import Label, Name, PluginOf, Section, fault, shown

RESERVED = ("test", "in_distribution")
"""What the harness calls its own sets."""


class EvaluationEntry(BaseModel, extra="allow"):
    """An evaluation as a file writes it: the first key names the plugin, every further one is an option of it."""

    name: Label = Field(default_factory=str, description="What the evaluation is called; by default its plugin.")
    of: list[Label] = Field(default_factory=list, description="Labels of the datasets that it is for; by default all.")


class EvaluationSpec(Section):
    """One evaluation: the plugin's name and its options."""

    name: Label = Field(description="What it is called, and the file of its predictions.", examples=["corruptions"])
    kind: Annotated[Name, PluginOf("evaluation")] = Field(description="Name of the evaluation plugin.")
    of: Annotated[list[Label], Field(min_length=1, max_length=100)] | None = Field(
        None, description="Labels of the datasets whose models it is for; null: of every dataset."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the plugin.")


def evaluations(given: Any) -> Any:
    """The spelled-out entries of a list: ``- corruptions: medical`` is the plugin and its option of the same name.

    Raises:
        PydanticCustomError: an item is neither a name nor a mapping.
    """
    if not isinstance(given, list):
        return given
    return [_entry(index, item) for index, item in enumerate(given)]


def _entry(index: int, item: Any) -> Any:
    if isinstance(item, str):
        return {"name": item, "kind": item}
    if isinstance(item, EvaluationSpec):
        return item
    if not isinstance(item, Mapping) or not item:
        raise fault([index], f"expected a plugin with its options, such as `corruptions: medical`, got {shown(item)}")
    if "kind" in item:
        return {"name": item["kind"], **item}
    options = {key: value for key, value in item.items() if key not in ("name", "of")}
    kind = next(iter(options), None)
    if kind is None:
        raise fault([index], "names no evaluation; write one, such as `corruptions: medical`")
    # Of another dataset, its name says more than that it is one.
    name = options[kind] if kind == "dataset" else kind
    own = {key: item[key] for key in ("name", "of") if key in item}
    return {"name": name, "kind": kind, **own, "options": options}


def check_names(given: list[EvaluationSpec]) -> list[EvaluationSpec]:
    """Refuse a name that two evaluations share, or that the harness uses itself."""
    for index, one in enumerate(given):
        if one.name in RESERVED:
            raise fault([index], f"{one.name!r} is what the harness calls its own set; take another name (`name: ...`)")
        if any(one.name == other.name for other in given[:index]):
            raise fault([index], f"two evaluations are called {one.name!r}; give one of them a name (`name: ...`)")
    return given
