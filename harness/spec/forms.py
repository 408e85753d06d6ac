"""The parts that the sweep file's sections are made of, and its short forms of listing methods and datasets.

``[a, {b: {x: 1}}]`` and ``{a: null, b: {x: 1}}`` both mean the labels ``a`` and ``b``, each a plugin of that
name unless the reserved key ``method`` or ``dataset`` names another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic_core import PydanticCustomError, core_schema

from harness.core.errors import shortened

LARGEST_SEED = 2**53 - 1
"""Above it, what reads JSON elsewhere rounds whole numbers."""
MOST_SEEDS = 1000

PLUGIN = "x-plugin"
"""Where the form of a key says which kind of plugin the key names."""

SMALL_STEM = ":small_stem"
"""Behind the name of a network that has ``backbone.stem: small``, wherever networks go by one name."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]


class Section(BaseModel):
    """A part of the sweep file: unknown keys are errors, values are not converted, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DatasetEntry(BaseModel, extra="allow"):
    """A dataset as a file writes it: every other key is an option of the plugin."""

    dataset: str = Field(default_factory=str, description="Name of the dataset plugin; the label by default.")
    domain: dict[str, Any] | None = Field(None, description="Its own split by domain: `by` and `test`, as in split.")


class BackboneEntry(BaseModel, extra="allow"):
    """The keys in which a method's backbone differs from the sweep's."""


class MethodEntry(BaseModel, extra="allow"):
    """A method as a file writes it: every other key is a hyperparameter, a value or a search range."""

    method: str = Field(default_factory=str, description="Name of the method plugin; the label by default.")
    backbone: BackboneEntry | None = Field(None, description="Keys that replace those of the sweep's backbone.")


DatasetListing: TypeAlias = list[str | dict[str, DatasetEntry | None]] | dict[str, DatasetEntry | None]
MethodListing: TypeAlias = list[str | dict[str, MethodEntry | None]] | dict[str, MethodEntry | None]


def shown(value: Any) -> str:
    """A value as a message shows it."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    # As digits, a whole number of thousands of them is an error of its own.
    many = isinstance(value, int) and abs(value) >= 10**100
    return "a number of many digits" if many else shortened(repr(value))


def fault(keys: Sequence[str | int], message: str) -> PydanticCustomError:
    """An error of our own, at ``keys`` below the place that is being checked."""
    return PydanticCustomError("fault", "{message}", {"keys": list(keys), "message": message})


def by_kind(kinds: Mapping[Any, str], expected: str) -> Discriminator:
    """Choose the branch of a union by the kind of the value, so that an error speaks of that branch alone."""

    def tag(value: Any) -> str | None:
        return next((name for kind, name in kinds.items() if isinstance(value, kind)), None)

    return Discriminator(tag, "wrong_kind", f"expected {expected}")


def distinct(seeds: list[int]) -> list[int]:
    """Refuse a seed that is listed twice."""
    seen: set[int] = set()
    for index, seed in enumerate(seeds):
        if seed in seen:
            raise fault([index], f"seed {seed} is listed twice; remove one")
        seen.add(seed)
    return seeds


Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Seeds = Annotated[list[Seed], Field(min_length=1, max_length=MOST_SEEDS), AfterValidator(distinct)]


class OverridesOf:
    """Marks a mapping that holds some of a model's keys, each checked as the model does; stored as given."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Check as the model, keep the keys that were given."""
        return core_schema.no_info_after_validator_function(
            lambda checked: checked.model_dump(exclude_unset=True),
            handler.generate_schema(self.model),
            serialization=core_schema.plain_serializer_function_ser_schema(dict),
        )


class PluginOf:
    """Marks a text as the name of a plugin of a kind: any may be written, editors offer those that are built in."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The form of the text, with the kind."""
        return {**handler(schema), PLUGIN: self.kind}


def entries(given: Any, spell_out: Callable[[str, Any], Any]) -> Any:
    """Labels with their spelled-out entries.

    Raises:
        PydanticCustomError: neither list nor mapping; an item is neither a name nor a one-key mapping, or a label comes
            twice.
    """
    if isinstance(given, Mapping):
        return {label: spell_out(label, entry) for label, entry in given.items()}
    if not isinstance(given, list):
        example = f"write [{shortened(given)}]" if isinstance(given, str) and given else "such as [a, b]"
        raise fault([], f"expected a list of names, got {shown(given)}; {example}")
    listed: dict[str, object] = {}
    for index, item in enumerate(given):
        if isinstance(item, Mapping) and len(item) == 1:
            label, entry = next(iter(item.items()))
        elif isinstance(item, str):
            label, entry = item, None
        else:
            raise fault([index], "expected a name, or one name with its settings, such as `lora_c: {rank: 4}`")
        if label in listed:
            again = f"label one of them anew, such as `{label}_2`, and name the plugin in its settings"
            raise fault([index], f"{label!r} is listed twice; {again}")
        listed[label] = spell_out(label, entry)
    return listed


def dataset_entry(label: str | None, entry: Any) -> Any:
    """``{dataset, options}`` from a file's entry; without a label the key ``dataset`` is required."""
    return _spelled_out(label, entry, "dataset", "options", ("domain",))


def method_entry(label: str, entry: Any, backbone: Mapping[str, object] | None) -> Any:
    """``{method, backbone, hyperparameters}`` from a file's entry, its backbone merged over the sweep's."""
    spelled = _spelled_out(label, entry, "method", "hyperparameters", ("backbone",))
    if not isinstance(spelled, dict) or not isinstance(spelled.get("backbone"), Mapping):
        return spelled
    own = as_we_spell_it(spelled["backbone"])
    if backbone is not None and {"name", "weights"} & own.keys():
        # They say what images the sweep's weights were trained on, and these are others.
        backbone = {key: value for key, value in backbone.items() if key not in ("mean", "std")}
    return {**spelled, "backbone": None if backbone is None else {**backbone, **own}}


def as_we_spell_it(backbone: Any) -> Any:
    """A backbone as a file has it, in torchvision's and timm's own spellings of names and weights.

    ``timm:resnet50.a1_in1k`` is the network ``timm:resnet50`` with the weights ``a1_in1k``, and so are the weights
    ``resnet50.a1_in1k`` of that network; ``ResNet50_Weights.IMAGENET1K_V2`` are the weights ``IMAGENET1K_V2``.
    ``resnet18:small_stem`` is ``resnet18`` with ``stem: small``.
    """
    if not isinstance(backbone, Mapping):
        return backbone
    whole, given = str(backbone.get("name")), backbone.get("weights")
    if whole.endswith(SMALL_STEM):
        backbone = {**backbone, "name": whole.removesuffix(SMALL_STEM), "stem": "small"}
        whole = backbone["name"]
    if not whole.startswith("timm:"):
        owner, dot, member = given.partition("_Weights.") if isinstance(given, str) else ("", "", "")
        return {**backbone, "weights": member} if dot and owner.lower() == whole else backbone
    name, _, weights = whole.partition(".")
    plain = name.removeprefix("timm:")
    if isinstance(given, str) and given.startswith(f"{plain}."):
        backbone = {**backbone, "weights": given.removeprefix(f"{plain}.")}
    # A repository's name is refused as a whole, later on.
    if not weights or "/" in name:
        return backbone
    if backbone.get("weights", weights) != weights:
        raise fault(["weights"], f"the name {whole} says {weights}; leave weights out, or write {name}")
    return {**backbone, "name": name, "weights": weights}


def _spelled_out(label: str | None, entry: Any, plugin: str, rest: str, reserved: tuple[str, ...]) -> Any:
    if entry is None:
        entry = {}
    if not isinstance(entry, Mapping):
        return entry
    named = {} if label is None else {plugin: label}
    if isinstance(entry.get(rest), Mapping):
        return {**named, **entry}
    own = {key: value for key, value in entry.items() if key in (plugin, *reserved)}
    return {**named, **own, rest: {key: value for key, value in entry.items() if key not in own}}
