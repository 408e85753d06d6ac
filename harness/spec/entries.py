"""What a sweep lists: datasets, methods, and the networks that methods start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Tag, model_validator

from harness.spec.domains import DomainSpec
from harness.spec.forms import (
    SMALL_STEM,
    DatasetEntry,
    Name,
    OverridesOf,
    Section,
    Seed,
    as_we_spell_it,
    by_kind,
    dataset_entry,
    fault,
)
from harness.spec.tasks import TaskSpec
from harness.spec.train import TrainSpec


class DatasetSpec(Section):
    """One dataset: the plugin's name and its options."""

    dataset: Name = Field(description="Name of the dataset plugin.", examples=["pathmnist"])
    options: dict[str, object] = Field(default_factory=dict, description="Options of the plugin.")
    domain: DomainSpec | None = Field(
        None, description="Its split by domain, where that is not the sweep's: `{by: site, test: [rosendahl]}`."
    )
    task: TaskSpec | None = Field(
        None, description="Which of the dataset's tasks it is, in a resolved file; never written by hand."
    )

    def declared(self) -> dict[str, object]:
        """What a declaration says of it; later keys are left out where they say nothing."""
        idle = {"domain": self.domain is None, "task": self.task is None}
        return self.model_dump(mode="json", exclude={name for name, without in idle.items() if without})


class SourceSpec(Section):
    """A backbone that is trained inside this run first, from random weights, on another dataset."""

    method: Name = Field(description="Name of the method plugin that trains it.", examples=["full_finetune"])
    dataset: Annotated[
        DatasetSpec,
        BeforeValidator(
            lambda given: {"dataset": given} if isinstance(given, str) else dataset_entry(None, given),
            json_schema_input_type=str | DatasetEntry,
        ),
    ] = Field(description="A dataset's name, or its options with the key `dataset`.", examples=["pathmnist"])
    train: Annotated[dict[str, object], OverridesOf(TrainSpec)] = Field(
        default_factory=dict, description="Keys of the sweep's `train` section that differ for this training."
    )
    hyperparameters: dict[str, object] = Field(
        default_factory=dict,
        description="Values of the method's hyperparameters; the others have their defaults.",
    )
    seed: Seed = Field(0, description="Seed of this training.")


def _of_three_channels(given: list[float]) -> list[float]:
    if len(given) != 3:
        raise fault([], f"expected three numbers, one a colour channel, got {len(given)}")
    return given


_THREE = (AfterValidator(_of_three_channels), Field(json_schema_extra={"minItems": 3, "maxItems": 3}))
Means = Annotated[list[Annotated[float, Field(ge=0, le=10)]], *_THREE]
Spreads = Annotated[list[Annotated[float, Field(ge=1e-3, le=10)]], *_THREE]


class BackboneSpec(Section):
    """The network that every method starts from."""

    name: Name = Field(
        description="A torchvision model, `resnet20`, `timm:NAME`, or `timm:NAME.WEIGHTS` as timm writes it.",
        examples=["resnet50"],
    )
    weights: (
        Annotated[
            Annotated[Name, Tag("<name>")] | Annotated[SourceSpec, Tag("<source>")],
            by_kind({str: "<name>", (Mapping, SourceSpec): "<source>"}, "a name, a mapping or null"),
        ]
        | None
    ) = Field(
        None,
        description="Published weights by name, a file of weights (.safetensors, .pt, .pth, .bin, .ckpt, .tar), "
        "hf-hub:ORG/NAME, a backbone to train first, or null for random weights.",
    )
    mean: Means | None = Field(
        None,
        description="Mean of each colour channel, scaled to [0, 1], of the images that the weights were trained on; "
        "null takes what the weights say.",
        examples=[[0.485, 0.456, 0.406]],
    )
    std: Spreads | None = Field(
        None, description="Standard deviation of each, likewise.", examples=[[0.229, 0.224, 0.225]]
    )

    stem: Literal["small"] | None = Field(
        None,
        description="small: a 3×3 convolution without stride and no max-pooling, for images of some 32 pixels, in "
        "torchvision's ResNets; null: the network's own.",
    )

    @property
    def network(self) -> str:
        """The network with its stem in one name, as ``harness.networks.backbones.build_model`` takes it."""
        return f"{self.name}{SMALL_STEM}" if self.stem == "small" else self.name

    def declared(self) -> dict[str, object]:
        """What a declaration says of it; ``stem`` came later, and is left out where it says nothing."""
        return self.model_dump(mode="json", exclude={"stem"} if self.stem is None else None)

    @model_validator(mode="before")
    @classmethod
    def _own_spellings(cls, given: Any) -> Any:
        return as_we_spell_it(given)

    @model_validator(mode="after")
    def _whole_normalisation(self) -> BackboneSpec:
        if (self.mean is None) != (self.std is None):
            lacking, has = ("mean", "std") if self.mean is None else ("std", "mean")
            raise fault([lacking], f"is missing: {has} is given, and one is of no use without the other")
        if self.mean is not None and isinstance(self.weights, SourceSpec):
            raise fault(["mean"], "the training that makes these weights says what its images were; leave it out")
        return self


class MethodSpec(Section):
    """One method: the plugin's name and what of its search space this sweep changes."""

    method: Name = Field(description="Name of the method plugin.", examples=["lora_c"])
    backbone: BackboneSpec | None = Field(None, description="Its own backbone, if it is not the sweep's.")
    hyperparameters: dict[str, object] = Field(default_factory=dict, description="Values or search ranges by name.")
