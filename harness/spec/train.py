"""The section ``train`` of the sweep file: how every trial trains."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from harness.spec.forms import OverridesOf, Section, by_kind, fault
from harness.spec.search import MOST_EPOCHS

MOST_MILESTONES = 100
MOST_SIZES = 20

Curve = Literal["cosine", "linear", "step", "constant"]
OptimizerKind = Literal["adamw", "adam", "sgd"]


PerClass = Annotated[int, Field(ge=1, le=100_000_000)]
Size = Annotated[
    Annotated[PerClass, Tag("<number>")] | Annotated[Literal["all"], Tag("<all>")],
    by_kind({int: "<number>", str: "<all>"}, "a whole number or all"),
]
Fraction = Annotated[float, Field(ge=1e-6, le=1)]


class AugmentOverrides(Section):
    """The fields of ``harness.dataset.Augmentation``; the rest stays as the dataset has it."""

    flip_horizontal: bool = Field(True, description="Mirror left and right.")
    flip_vertical: bool = Field(False, description="Mirror top and bottom.")
    rotate: float = Field(10.0, ge=0, le=180, description="Largest rotation either way, in degrees.")
    zoom: float = Field(0.1, ge=0, lt=1, description="Largest relative change of size either way.")
    shift: float = Field(0.05, ge=0, lt=1, description="Largest shift either way, as a fraction of the side.")
    brightness: float = Field(0.1, ge=0, le=1, description="Largest additive change, as a fraction of full scale.")
    contrast: float = Field(0.1, ge=0, lt=1, description="Largest relative change of contrast either way.")


def _ascending(epochs: list[int]) -> list[int]:
    for index, (earlier, later) in enumerate(itertools.pairwise(epochs), start=1):
        if later <= earlier:
            raise fault([index], f"must be above the one before it, {earlier}, got {later}")
    return epochs


def _sizes(given: list[Any]) -> list[Any]:
    """Refuse training sizes that are not each larger than the one before; ``all`` is the largest."""
    if len(given) < 2:
        raise fault([], "lists one size; write it without brackets, or list several")
    numbers = [math.inf if size == "all" else size for size in given]
    for index, (earlier, later) in enumerate(itertools.pairwise(numbers), start=1):
        if later <= earlier:
            raise fault([index], f"must be above the one before it, {given[index - 1]}, got {given[index]}")
    return given


def _named(given: Any) -> Any:
    """``sgd`` is short for ``{kind: sgd}``."""
    return {"kind": given} if isinstance(given, str) else given


def _only_for(kind: str, given: ScheduleSpec | OptimizerSpec, keys: Sequence[str]) -> None:
    """Refuse keys that say nothing here; a resolved file has all of them, with their defaults."""
    for key in keys:
        if getattr(given, key) != type(given).model_fields[key].default:
            raise fault([key], f"belongs to {kind}, not to {given.kind}; leave it out")


class WarmupSpec(Section):
    """The beginning of a training, in steps or in epochs."""

    steps: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = Field(
        None, description="Steps in which the learning rate rises."
    )
    epochs: Annotated[float, Field(ge=0, le=MOST_EPOCHS)] | None = Field(
        None, description="Epochs in which it rises, in place of steps; parts of one are allowed."
    )

    @model_validator(mode="after")
    def _one_unit(self) -> WarmupSpec:
        if (self.steps is None) == (self.epochs is None):
            raise fault([], "needs either steps or epochs, such as {epochs: 5}")
        return self


class ScheduleSpec(Section):
    """How the learning rate goes after the warm-up."""

    kind: Curve = Field(
        "cosine",
        description="cosine and linear: down to 0; step: times factor at each milestone; constant: as it is.",
    )
    milestones: Annotated[
        list[Annotated[int, Field(ge=1, le=MOST_EPOCHS)]],
        Field(max_length=MOST_MILESTONES),
        AfterValidator(_ascending),
    ] = Field(default=[], description="step: the epochs, ascending, after which the learning rate falls.")
    factor: float = Field(0.1, gt=0, lt=1, description="step: what it is multiplied by at each milestone.")

    @model_validator(mode="after")
    def _milestones_where_they_count(self) -> ScheduleSpec:
        if self.kind == "step" and not self.milestones:
            raise fault([], "step needs milestones, such as {kind: step, milestones: [50, 75], factor: 0.1}")
        if self.kind != "step":
            _only_for("step", self, ("milestones", "factor"))
        return self


class OptimizerSpec(Section):
    """What makes steps of gradients."""

    kind: OptimizerKind = Field(
        description="adamw: decay beside the gradient; adam: decay as part of the gradient (L2); sgd: likewise.",
        examples=["sgd"],
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd: its momentum.")
    nesterov: bool = Field(False, description="sgd: Nesterov's form of the momentum.")

    @model_validator(mode="after")
    def _momentum_where_it_counts(self) -> OptimizerSpec:
        if self.kind != "sgd":
            _only_for("sgd", self, ("momentum", "nesterov"))
        if self.nesterov and self.momentum == 0:
            raise fault(["nesterov"], "needs a momentum above 0")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """What ``harness.train.step.build_optimizer`` takes beside the kind."""
        return {"momentum": self.momentum, "nesterov": self.nesterov} if self.kind == "sgd" else {}


NamedOptimizer = Annotated[OptimizerSpec, BeforeValidator(_named, json_schema_input_type=OptimizerKind | OptimizerSpec)]
NamedSchedule = Annotated[ScheduleSpec, BeforeValidator(_named, json_schema_input_type=Curve | ScheduleSpec)]


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
    optimizer: NamedOptimizer | None = Field(
        None,
        description="The optimiser of every method; null: each method's hyperparameter `optimizer`, AdamW unless the "
        "sweep file gives another.",
    )
    schedule: NamedSchedule = Field(
        default_factory=ScheduleSpec, description="How the learning rate goes after the warm-up."
    )
    warmup: Annotated[
        Annotated[float, Field(ge=0, le=0.5), Tag("<fraction>")] | Annotated[WarmupSpec, Tag("<length>")],
        by_kind(
            {(int, float): "<fraction>", (Mapping, WarmupSpec): "<length>"},
            "a fraction such as 0.05, {steps: N} or {epochs: N}",
        ),
    ] = Field(
        0.05,
        description="Beginning of the training, in which the learning rate rises: a fraction of the steps, a number of "
        "steps or of epochs.",
    )
    drop_last: bool = Field(
        True,
        description="true: what is left of an epoch after the last whole batch is left out; false: it is a smaller "
        "batch.",
    )
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
    fraction: (
        Annotated[
            Annotated[Fraction, Tag("<share>")]
            | Annotated[list[Fraction], Field(max_length=MOST_SIZES), AfterValidator(_sizes), Tag("<sizes>")],
            by_kind({(int, float): "<share>", list: "<sizes>"}, "a number or a list of numbers"),
        ]
        | None
    ) = Field(
        None,
        description="Share of each class's training images to use, for low-data studies; a list makes a task of each; "
        "null: all.",
    )
    per_class: (
        Annotated[
            Annotated[PerClass, Tag("<number>")]
            | Annotated[list[Size], Field(max_length=MOST_SIZES), AfterValidator(_sizes), Tag("<sizes>")],
            by_kind({int: "<number>", list: "<sizes>"}, "a number or a list such as [10, 100, all]"),
        ]
        | None
    ) = Field(
        None,
        description="Maximum number of training images per class; a list makes a task of each; null: no limit.",
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
        """What it says of a trial's result, as plain data; a later key is left out where it says what always was."""
        skipped = {key for key, always in _BEFORE.items() if getattr(self, key) == always}
        return self.model_dump(mode="json", exclude=skipped)

    @property
    def sizes(self) -> tuple[dict[str, Any], ...]:
        """The key and value of each training size, where the section lists several; else none."""
        for key, given in (("per_class", self.per_class), ("fraction", self.fraction)):
            if isinstance(given, list):
                return tuple({key: size} for size in given)
        return ()

    @property
    def one_size(self) -> tuple[float | None, int | None]:
        """``fraction`` and ``per_class`` of one training.

        Raises:
            TypeError: the section lists several sizes; each task has one (``harness.spec.tasks``).
        """
        if isinstance(self.fraction, list) or isinstance(self.per_class, list):
            raise TypeError("the section train lists several sizes, and a training has one")
        return self.fraction, self.per_class

    def faults(self) -> Iterator[PydanticCustomError]:
        """What does not fit together, with its key.

        Not checked where the section is read: a backbone that is trained first gives a part of one.
        """
        if self.sampling == self.class_weights == "balanced":
            yield fault(["sampling"], "balanced corrects a second time what class_weights has; choose one")
        if isinstance(self.fraction, list) and self.per_class is not None:
            yield fault(["per_class"], "train.fraction lists training sizes already; keep one of the two")
        if isinstance(self.per_class, list) and self.fraction is not None:
            yield fault(["fraction"], "train.per_class lists training sizes already; keep one of the two")
        for index, epoch in enumerate(self.schedule.milestones):
            if epoch >= self.epochs:
                yield fault(
                    ["schedule", "milestones", index],
                    f"is not reached: the training has {self.epochs} epochs; give a smaller one, or leave it out",
                )
        if isinstance(self.warmup, WarmupSpec) and self.warmup.epochs is not None and self.warmup.epochs >= self.epochs:
            yield fault(["warmup", "epochs"], f"must be below the training's {self.epochs} epochs")

    def steps_per_epoch(self, images: int) -> int:
        """Training steps of an epoch of so many images, at least one.

        A batch of one image beside larger ones is left out as well: batch norms have no statistics over it.
        """
        whole, rest = divmod(images, self.batch_size)
        return max(1, whole if self.drop_last or rest < 2 else whole + 1)

    def warmup_steps(self, total: int) -> int:
        """Steps in which the learning rate rises, of all ``total`` steps of the training."""
        if not isinstance(self.warmup, WarmupSpec):
            return math.ceil(self.warmup * total)
        if self.warmup.steps is not None:
            return self.warmup.steps
        assert self.warmup.epochs is not None
        return math.ceil(self.warmup.epochs * (total // self.epochs))

    def optimizer_or(self, own: str) -> OptimizerSpec:
        """The optimiser of a training; ``own`` is the kind that the method's hyperparameters name.

        Raises:
            ValueError: there is no such kind.
        """
        if self.optimizer is not None:
            return self.optimizer
        if own not in (kinds := get_args(OptimizerKind)):
            raise ValueError(f"optimizer={own} is none of {', '.join(kinds)}")
        return OptimizerSpec.model_validate({"kind": own})

    def merged(self, overrides: Mapping[str, object]) -> TrainSpec:
        """This section with some keys replaced, checked again."""
        return TrainSpec.model_validate({**self.model_dump(), **overrides})


_BEFORE: dict[str, object] = {
    "deterministic": "auto",
    "optimizer": None,
    "schedule": ScheduleSpec(),
    "drop_last": True,
}
"""Keys that came later, and what every training was before: results from then stay what they are."""
