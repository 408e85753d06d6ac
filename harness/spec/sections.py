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

from harness.core.errors import suggestion
from harness.core.twins import twin_label
from harness.spec.budget import BudgetSpec, Hypothesis
from harness.spec.entries import BackboneSpec, DatasetSpec, MethodSpec, SourceSpec
from harness.spec.evaluations import EvaluationEntry, EvaluationSpec, check_names, evaluations
from harness.spec.forms import (
    PLUGIN,
    DatasetListing,
    Label,
    MethodListing,
    Name,
    PluginOf,
    Section,
    by_kind,
    dataset_entry,
    entries,
    fault,
    method_entry,
)
from harness.spec.replicates import ConfirmSpec, Replication, SplitSpec
from harness.spec.search import SearchSpec
from harness.spec.tasks import network_labels, tasks_of
from harness.spec.train import TrainSpec

MOST_LABELS = 100
MOST_TRIALS = 1_000_000
"""Of a sweep; a run directory has a folder for each."""


CountOrAuto = Annotated[
    Annotated[int, Field(ge=1, le=1000), Tag("<count>")] | Annotated[Literal["auto"], Tag("<auto>")],
    by_kind({int: "<count>", str: "<auto>"}, "a whole number or auto"),
]


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
    notify: list[Name] = Field(
        default=[],
        max_length=MOST_LABELS,
        description="Your own command, word by word and without a shell: it is run when the sweep has finished or "
        "stopped, and when a trial has failed for good.",
        examples=[["/home/you/bin/tell_me", "--quietly"]],
    )


def _first_network(checked: dict[str, Any]) -> Any:
    """What ``backbone`` is where the file lists several; nothing where it names none, which is refused later."""
    return next(iter(checked["backbones"].values()), None)


class SweepSpec(Section, json_schema_extra={"anyOf": [{"required": ["backbone"]}, {"required": ["backbones"]}]}):
    """Methods × datasets, how they are tuned, which seeds confirm them, where they run."""

    name: Label = Field(description="Name of the sweep and of its run directory.", examples=["my_sweep"])
    plugins: list[Name] = Field(
        default=[], max_length=MOST_LABELS, description="Additional folders with plugins, relative to the sweep file."
    )
    backbones: Annotated[
        dict[Label, BackboneSpec],
        BeforeValidator(network_labels, json_schema_input_type=list[BackboneSpec] | dict[Label, BackboneSpec]),
    ] = Field(
        default={},
        max_length=MOST_LABELS,
        description="Several networks, in the place of `backbone`: every method starts from each of them, in a task of "
        "its own for every dataset.",
    )
    backbone: BackboneSpec = Field(
        default_factory=_first_network,
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
    evaluate: Annotated[
        list[EvaluationSpec],
        BeforeValidator(evaluations, json_schema_input_type=list[str | EvaluationEntry]),
        AfterValidator(check_names),
    ] = Field(
        default=[], max_length=MOST_LABELS, description="What confirmed models are scored on besides their test split."
    )
    metrics: list[Annotated[Name, PluginOf("metric")]] = Field(
        default=[],
        max_length=MOST_LABELS,
        description="Metrics that trials compute beside those that every trial computes and those of plugin folders.",
        examples=[["average_precision", "macro_f2"]],
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
        self._add_tasks()
        chosen = [] if isinstance(self.confirm.seeds, int) else self.confirm.seeds
        for index, seed in enumerate(chosen):
            if seed in self.search.tuning_seeds:
                where = "search.seeds" if seed in self.search.seeds else "the re-evaluation of search.choose: top_k"
                raise fault(["confirm", "seeds", index], f"seed {seed} tunes in {where}; take fresh ones")
        self._check_training()
        if self.trials > MOST_TRIALS:
            raise fault(
                ["search", "trials"],
                f"{self.trials:,} trials of all methods and datasets; at most {MOST_TRIALS:,} fit into a run",
            )
        if self.search.sizes == "largest" and not self.train.sizes:
            raise fault(["search", "sizes"], "train lists no training sizes, so that none is the largest; leave it out")
        listed = [self.in_file(label) for label in self.datasets]
        for index, evaluation in enumerate(self.evaluate):
            for label in evaluation.of or ():
                if label not in listed:
                    known = suggestion(label, listed)
                    raise fault(["evaluate", index, "of"], f"no dataset has the label {label!r}{known}")
        for one in self.replication.faults():
            raise one
        self._add_twin()
        if self.confirm.family == "vs_control" and self.confirm.control is None:
            raise fault(
                ["confirm", "family"], "vs_control needs confirm.control; name a method there, or take all_pairs"
            )
        return self

    def _add_tasks(self) -> None:
        """Put every dataset's tasks in its place, unless they are there already, as in a resolved file."""
        named: BackboneSpec | None = self.backbone
        if named is None:
            example = "`backbone: {name: resnet50, weights: IMAGENET1K_V2}`"
            raise fault(["backbone"], f"missing; add it, for example {example}, or list several as `backbones`")
        if self.backbones and self.backbone != next(iter(self.backbones.values())):
            raise fault(["backbone"], "backbones lists the networks already; keep one of the two")
        for label, method in self.methods.items() if self.backbones else ():
            if method.backbone is not None:
                raise fault(["methods", label, "backbone"], "every method starts from each of backbones; leave it out")
        listed = dict(self.datasets)
        if any(entry.task is not None for entry in listed.values()):
            return
        self.datasets.clear()
        for label, entry in listed.items():
            for task in tasks_of(label, self._tested(entry), self.train, list(self.backbones)):
                self.datasets[task.name] = entry if task.name == label else entry.model_copy(update={"task": task})

    def _tested(self, entry: DatasetSpec) -> list[list[str]]:
        """The domains of a dataset that are tested together, once for each task; none but of a split by domain."""
        return (self.split.test or []) if entry.domain is None else entry.domain.test

    def _check_training(self) -> None:
        trainings: list[tuple[tuple[str, ...], TrainSpec]] = [(("train",), self.train)]
        for keys, source in self.sources():
            train = self.train.merged(source.train)
            if train.sizes:
                raise fault([*keys, "train"], "train lists several sizes; say here which one this training has")
            trainings.append(((*keys, "train"), train))
        for keys, train in trainings:
            for error in train.faults():
                context = error.context or {}
                raise fault([*keys, *context["keys"]], context["message"])
        given: list[tuple[tuple[str, ...], Mapping[str, object], TrainSpec]] = [
            (("methods", label), method.hyperparameters, self.train) for label, method in self.methods.items()
        ]
        given += [
            ((*keys, "hyperparameters"), source.hyperparameters, self.train.merged(source.train))
            for keys, source in self.sources()
        ]
        for keys, hyperparameters, train in given:
            if train.optimizer is not None and "optimizer" in hyperparameters:
                raise fault([*keys, "optimizer"], "train.optimizer gives it to every method; leave out one of the two")

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
        tuned = sum(self.tuned_as(label) is None for label in self.datasets) * self.replication.searches * searched
        return len(self.methods) * (tuned + len(self.datasets) * (seeds + self.confirm.repeat))

    @property
    def replication(self) -> Replication:
        """Which replicates confirm each method on each dataset."""
        return Replication(self.split, self.search, self.confirm)

    def training(self, dataset: str) -> TrainSpec:
        """How every trial on a dataset trains: ``train``, at the size of its task."""
        task = self.datasets[dataset].task
        return self.train if task is None else task.training(self.train)

    def domain(self, dataset: str) -> tuple[str, tuple[str, ...]] | None:
        """The column that tells the domains of a dataset apart, and the values that are tested; None where it is split
        otherwise.
        """
        entry = self.datasets[dataset]
        by = self.split.by if entry.domain is None else entry.domain.by
        if by is None:
            return None
        chosen = None if entry.task is None else entry.task.domain
        return by, tuple(chosen or self._tested(entry)[0])

    def network(self, method: str, dataset: str) -> BackboneSpec:
        """The network that a method starts from on a dataset."""
        own, task = self.methods[method].backbone, self.datasets[dataset].task
        return own or (self.backbone if task is None or task.backbone is None else self.backbones[task.backbone])

    def networks(self) -> list[tuple[tuple[str, ...], BackboneSpec]]:
        """Every network that a method starts from, with the keys under which the file has it; the sweep's own first."""
        found: dict[tuple[str, ...], BackboneSpec] = {("backbones", name): one for name, one in self.backbones.items()}
        found = found or {("backbone",): self.backbone}
        for label, method in self.methods.items():
            if method.backbone is not None:
                found["methods", label, "backbone"] = method.backbone
        return list(found.items())

    def tuned_as(self, dataset: str) -> str | None:
        """The task whose choices a dataset takes; None where it has searches of its own."""
        task = self.datasets[dataset].task
        if task is None or self.search.sizes == "each" or not self.train.sizes:
            return None
        largest = task.model_copy(update=self.train.sizes[-1]).name
        return None if largest == dataset else largest

    def in_file(self, dataset: str) -> str:
        """The label that the sweep file gives to a dataset, which may be one of several tasks."""
        task = self.datasets[dataset].task
        return dataset if task is None else task.dataset

    def sources(self) -> list[tuple[tuple[str, ...], SourceSpec]]:
        """Every backbone to train first, with the keys under which the file has it."""
        own = [] if self.backbones else [self.backbone.weights]
        return [
            ((*keys, "weights"), one.weights)
            for keys, one in self.networks()
            if isinstance(one.weights, SourceSpec) and (keys[0] != "methods" or one.weights not in own)
        ]


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
