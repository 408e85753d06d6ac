"""The sweep file as typed sections.

Every section can be left out but ``name``, ``backbone``, ``datasets`` and ``methods``. The models take the
forms that a file may use (lists of names, short mappings) and the spelled-out one that ``model_dump`` writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from harness.core.twins import twin_label
from harness.spec.budget import BudgetSpec, Hypothesis
from harness.spec.forms import (
    PLUGIN,
    DatasetEntry,
    DatasetListing,
    Label,
    MethodListing,
    Name,
    OverridesOf,
    PluginOf,
    Section,
    Seed,
    as_we_spell_it,
    by_kind,
    dataset_entry,
    entries,
    fault,
    method_entry,
)
from harness.spec.replicates import ConfirmSpec, Replication, SplitSpec
from harness.spec.search import MOST_EPOCHS, SearchSpec

MOST_LABELS = 100
MOST_TRIALS = 1_000_000
"""Of a sweep; a run directory has a folder for each."""


CountOrAuto = Annotated[
    Annotated[int, Field(ge=1, le=1000), Tag("<count>")] | Annotated[Literal["auto"], Tag("<auto>")],
    by_kind({int: "<count>", str: "<auto>"}, "a whole number or auto"),
]


class AugmentOverrides(Section):
    """The fields of ``harness.dataset.Augmentation``; the rest stays as the dataset has it."""

    flip_horizontal: bool = Field(True, description="Mirror left and right.")
    flip_vertical: bool = Field(False, description="Mirror top and bottom.")
    rotate: float = Field(10.0, ge=0, le=180, description="Largest rotation either way, in degrees.")
    zoom: float = Field(0.1, ge=0, lt=1, description="Largest relative change of size either way.")
    shift: float = Field(0.05, ge=0, lt=1, description="Largest shift either way, as a fraction of the side.")
    brightness: float = Field(0.1, ge=0, le=1, description="Largest additive change, as a fraction of full scale.")
    contrast: float = Field(0.1, ge=0, lt=1, description="Largest relative change of contrast either way.")


class TrainSpec(Section):
    """How every trial trains."""

    epochs: int = Field(30, ge=1, le=MOST_EPOCHS, description="Passes over the training data.")
    batch_size: int = Field(64, ge=2, le=65_536, description="Images per training step.")
    eval_batch_size: int = Field(256, ge=1, le=65_536, description="Images per forward pass in evaluation.")
    image_size: int = Field(224, ge=8, le=1024, description="Side of the square images, in pixels.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Arithmetic of the forward and backward pass; auto selects what the device does well.",
    )
    warmup: float = Field(0.05, ge=0, le=0.5, description="Fraction of the steps in which the learning rate rises.")
    patience: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] | None = Field(
        None,
        description="Epochs without a better validation score before training stops; null: never early.",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced weights the loss of each class by its inverse frequency."
    )
    sampling: Literal["natural", "balanced"] = Field(
        "natural",
        description="balanced draws each class equally often, with replacement; natural draws each image once.",
    )
    fraction: Annotated[float, Field(ge=1e-6, le=1)] | None = Field(
        None, description="Share of each class's training images to use, for low-data studies; null: all."
    )
    per_class: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        None, description="Maximum number of training images per class; null: no limit."
    )
    label_smoothing: float = Field(0.0, ge=0, le=0.5, description="Probability mass spread over all classes.")
    clip_norm: Annotated[float, Field(ge=1e-6, le=1e6)] | None = Field(
        None, description="Largest gradient norm; null: no clipping."
    )
    features: Literal["once", "each_step"] = Field(
        "once",
        description="If only the head trains. once: the features of each image are computed once for all trials, "
        "without augmentation; each_step: at each step, from augmented images.",
    )
    step: Literal["auto", "plain", "compiled", "measured"] = Field(
        "auto",
        description="auto: on a GPU, steps that allow it are recorded once as a CUDA graph and replayed; plain: never; "
        "compiled: as auto, with the network compiled; measured: auto or compiled, decided by timing once for each "
        "study and kind of device, and recorded.",
    )
    deterministic: Annotated[
        Annotated[bool, Tag("<switch>")] | Annotated[Literal["auto"], Tag("<auto>")],
        by_kind({bool: "<switch>", str: "<auto>"}, "auto, true or false"),
    ] = Field(
        "auto",
        description="Deterministic kernels on a GPU. auto: if they cost less than a tenth of the time, measured once "
        "for each study and kind of device, and recorded; true: always; false: never. No effect on a CPU.",
    )
    augment: Annotated[
        Annotated[bool, Tag("<switch>")] | Annotated[dict[str, Any], OverridesOf(AugmentOverrides), Tag("<overrides>")],
        by_kind({bool: "<switch>", Mapping: "<overrides>"}, "true, false or a mapping of augmentation settings"),
    ] = Field(True, description="true: the dataset's own augmentation; false: none; a mapping changes parts of it.")

    @model_validator(mode="before")
    @classmethod
    def _earlier_name(cls, given: Any) -> Any:
        """``graphs: auto`` and ``off`` are what ``step`` now calls ``auto`` and ``plain``."""
        if not isinstance(given, Mapping) or given.get("graphs") not in ("auto", "off"):
            return given
        rest = {key: value for key, value in given.items() if key != "graphs"}
        return {"step": {"auto": "auto", "off": "plain"}[given["graphs"]], **rest}

    def identity(self) -> dict[str, object]:
        """What it says of a trial's result, as plain data; ``deterministic: auto`` is what a sweep always was."""
        # Left out, so that results from before there was the key stay what they are.
        skipped = {"deterministic"} if self.deterministic == "auto" else None
        return self.model_dump(mode="json", exclude=skipped)

    def merged(self, overrides: Mapping[str, object]) -> TrainSpec:
        """This section with some keys replaced, checked again."""
        return TrainSpec.model_validate({**self.model_dump(), **overrides})


class DatasetSpec(Section):
    """One dataset: the plugin's name and its options."""

    dataset: Name = Field(description="Name of the dataset plugin.", examples=["pathmnist"])
    options: dict[str, object] = Field(default_factory=dict, description="Options of the plugin.")


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


class LaunchSpec(Section):
    """What starts the workers."""

    kind: Annotated[Name, PluginOf("launcher")] = Field(
        "local",
        description="local: processes on this machine; slurm: jobs of a cluster; inline: in the sweep's own process, "
        "one trial after the other; or the name of a launcher plugin.",
    )
    profile: Name | None = Field(
        None, description="File that describes the cluster, relative to the sweep file or to the current folder."
    )
    workers: CountOrAuto = Field(
        "auto",
        description="Number of workers, on Slurm of jobs; auto: one for each device, as many as fit the cores, or at "
        "most 16 jobs.",
    )
    threads: CountOrAuto = Field("auto", description="CPU threads per worker; auto divides the cores evenly.")
    trials_per_device: CountOrAuto = Field(
        1,
        description="Workers that share one accelerator; auto: as many as fit, judged by the memory that trials took.",
    )
    retries: int = Field(5, ge=0, le=1000, description="New attempts at a trial after a failure of the infrastructure.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Options of a launcher plugin; the built-in launchers have none."
    )


class SweepSpec(Section):
    """Methods × datasets, how they are tuned, which seeds confirm them, where they run."""

    name: Label = Field(description="Name of the sweep and of its run directory.", examples=["my_sweep"])
    plugins: list[Name] = Field(
        default=[], max_length=MOST_LABELS, description="Additional folders with plugins, relative to the sweep file."
    )
    backbone: BackboneSpec = Field(
        description="The network that every method starts from.",
        examples=[{"name": "resnet50", "weights": "IMAGENET1K_V2"}],
    )
    datasets: dict[Label, DatasetSpec] = Field(
        min_length=1, max_length=MOST_LABELS, description="Names, or labels with options.", examples=[["pathmnist"]]
    )
    methods: dict[Label, MethodSpec] = Field(
        min_length=1,
        max_length=MOST_LABELS,
        description="Names, or labels with hyperparameters.",
        examples=[["linear_probe", "lora_c"]],
    )
    train: TrainSpec = Field(default_factory=TrainSpec, description="How every trial trains.")
    split: SplitSpec = Field(default_factory=SplitSpec, description="How each dataset is divided.")
    search: SearchSpec = Field(default_factory=SearchSpec, description="How hyperparameters are tuned.")
    confirm: ConfirmSpec = Field(
        default_factory=ConfirmSpec, description="How the chosen configurations are confirmed."
    )
    launch: LaunchSpec = Field(default_factory=LaunchSpec, description="What starts the workers.")
    budget: BudgetSpec = Field(default_factory=BudgetSpec, description="What the run may cost.")
    hypotheses: list[Hypothesis] = Field(
        default=[],
        max_length=100,
        description="What the sweep is meant to show, one sentence each; locked with the plan at the first launch.",
    )

    @field_validator("datasets", mode="before", json_schema_input_type=DatasetListing)
    @classmethod
    def _datasets(cls, given: Any) -> Any:
        return entries(given, dataset_entry)

    @field_validator("methods", mode="before", json_schema_input_type=MethodListing)
    @classmethod
    def _methods(cls, given: Any, info: ValidationInfo) -> Any:
        # The sweep's own backbone is absent here when it is wrong; its error is then the one to report.
        common = info.data.get("backbone")
        return entries(given, lambda label, entry: method_entry(label, entry, common and common.model_dump()))

    @model_validator(mode="after")
    def _agree(self) -> SweepSpec:
        chosen = [] if isinstance(self.confirm.seeds, int) else self.confirm.seeds
        for index, seed in enumerate(chosen):
            if seed in self.search.tuning_seeds:
                where = "search.seeds" if seed in self.search.seeds else "the re-evaluation of search.choose: top_k"
                raise fault(["confirm", "seeds", index], f"seed {seed} tunes in {where}; take fresh ones")
        if self.train.sampling == self.train.class_weights == "balanced":
            raise fault(["train", "sampling"], "balanced corrects a second time what class_weights has; choose one")
        if self.trials > MOST_TRIALS:
            raise fault(
                ["search", "trials"],
                f"{self.trials:,} trials of all methods and datasets; at most {MOST_TRIALS:,} fit into a run",
            )
        for one in self.replication.faults():
            raise one
        self._add_twin()
        if self.confirm.family == "vs_control" and self.confirm.control is None:
            raise fault(
                ["confirm", "family"], "vs_control needs confirm.control; name a method there, or take all_pairs"
            )
        return self

    def _add_twin(self) -> None:
        """The control once more, as a method like any other: a study's draws follow from its name."""
        if not self.confirm.twin:
            return
        control = self.confirm.control
        if control is None:
            raise fault(["confirm", "twin"], "needs confirm.control: the twin is the control under a second name")
        if control not in self.methods:
            # Another check tells so, with what was probably meant.
            return
        label = twin_label(control)
        if self.methods.setdefault(label, self.methods[control]) != self.methods[control]:
            raise fault(["methods", label], "is the name of the control's twin (confirm.twin); give it another label")

    @property
    def compared(self) -> int:
        """How many methods are compared: all but a twin."""
        return len(self.methods) - self.confirm.twin

    @property
    def trials(self) -> int:
        """The trials of all studies together, at most: a small space has fewer slots."""
        seeds = self.confirm.seeds if isinstance(self.confirm.seeds, int) else len(self.confirm.seeds)
        again = self.search.top if self.search.choose == "top_k" else 0
        searched = self.search.trials * len(self.search.seeds) + again
        study = self.replication.searches * searched + seeds + self.confirm.repeat
        return len(self.methods) * len(self.datasets) * study

    @property
    def replication(self) -> Replication:
        """Which replicates confirm each method on each dataset."""
        return Replication(self.split, self.search, self.confirm)

    def sources(self) -> list[tuple[tuple[str, ...], SourceSpec]]:
        """Every backbone to train first, with the keys under which the file has it."""
        backbones: list[tuple[tuple[str, ...], BackboneSpec]] = [(("backbone",), self.backbone)]
        backbones += [
            (("methods", label, "backbone"), method.backbone)
            for label, method in self.methods.items()
            if method.backbone is not None and method.backbone.weights != self.backbone.weights
        ]
        return [((*keys, "weights"), b.weights) for keys, b in backbones if isinstance(b.weights, SourceSpec)]


def json_schema(known: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """JSON Schema (2020-12) of the sweep file, for editors.

    Args:
        known: kind of plugin → names that an editor offers; others are allowed.
    """
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **SweepSpec.model_json_schema()}
    _offer(schema, known)
    return schema


def _offer(form: Any, known: Mapping[str, Sequence[str]]) -> None:
    """Where a form is that of a plugin's name, add those that are known."""
    if isinstance(form, list):
        for one in form:
            _offer(one, known)
    elif isinstance(form, dict):
        for one in form.values():
            _offer(one, known)
        kind = form.pop(PLUGIN, None)
        if kind is not None:
            text = {key: form.pop(key) for key in ("type", "minLength", "maxLength")}
            form["anyOf"] = [{"enum": sorted(known.get(kind, ())), "type": "string"}, text]
