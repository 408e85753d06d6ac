"""From a specification to its studies: each dataset is opened once, and each study gets its identity."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import cast

from harness.core.errors import RequestError
from harness.core.identity import canonical_hash
from harness.data.cache import is_decoded, prepare
from harness.data.card import make_card
from harness.data.decoded import DecodedDataset
from harness.data.domain import Domain, make_domain_split
from harness.data.leaks import find_leaks
from harness.data.near_clusters import are_joined, join_near_duplicates
from harness.data.options import with_options
from harness.data.split import Split, SplitKind, kind_for, make_folds, make_split
from harness.data.subset import keep_training
from harness.dataset import Dataset
from harness.method import Method
from harness.metrics.metric import Metric
from harness.metrics.table import standard
from harness.networks.normalisation import Normalisation, normalisation_of
from harness.plugins import Catalogue, Plugin
from harness.run.data_records import Card
from harness.run.directory import RunDirectory
from harness.run.record_values import NetworkRecord
from harness.run.study_records import DatasetIdentity, SearchIdentity, StudyIdentity
from harness.run.sweep_records import TrainIdentity
from harness.search import Sampler, find_sampler
from harness.search.warm_start import prior_of
from harness.space.parameters import Parameter, defaults, to_json
from harness.spec.entries import BackboneSpec, DatasetSpec, SourceSpec
from harness.spec.messages import Place
from harness.spec.replicates import PUBLISHED, Replication
from harness.spec.sections import SweepSpec
from harness.spec.space_forms import method_space
from harness.spec.train import TrainSpec
from harness.studies.evaluations import EvaluationPlanner, external_datasets
from harness.studies.study import PROTOCOL, PreparedDataset, Roots, Source, Study

BUILT_IN = "built in"
"""What an identity says in the place of the code of a metric whose code the protocol version covers."""


def further_metrics(catalogue: Catalogue, spec: SweepSpec) -> list[Plugin[Metric]]:
    """The metrics of a sweep that not every trial computes, by name: those in its plugin folders, those that it lists,
    and that of its search."""
    found = {plugin.name: plugin for plugin in catalogue.given(Metric)}
    asked = [(f"metrics.{index}", name) for index, name in enumerate(spec.metrics)]
    for place, name in [*asked, ("search.metric", spec.search.metric)]:
        if name not in standard():
            found[name] = catalogue.find(Metric, name, place)
    return [found[name] for name in sorted(found)]


def settings_identity(
    spec: SweepSpec,
    train: TrainSpec,
    plugin: Plugin[Method],
    space: Mapping[str, Parameter],
    sampler: Plugin[Sampler],
    metrics: Sequence[Plugin[Metric]] = (),
) -> StudyIdentity:
    """The parts of a study's identity that need no data: protocol, code, search space and settings.

    The code of a built-in sampler or metric is none of them: the protocol version covers it. That a metric is computed
    which not every trial computes is one of them, since a result without it would lack a value.

    Args:
        spec: the specification of the sweep.
        train: how the study's trials train.
        plugin: the method.
        space: its search space, as the sweep has it.
        sampler: what asks the study's slots.
        metrics: what ``further_metrics`` returned.
    """
    identity: StudyIdentity = {
        "protocol": PROTOCOL,
        "method": {"name": plugin.name, "code": plugin.code},
        "space": to_json(space),
        # A model tells no types when it is dumped.
        "train": cast(TrainIdentity, train.identity()),
        "search": cast(SearchIdentity, spec.search.identity()),
    }
    if metrics:
        identity["metrics"] = _code_of(metrics)
    if not sampler.builtin:
        identity["sampler"] = {"name": sampler.name, "code": sampler.code}
    return identity


def _normalisation(backbone: BackboneSpec) -> Normalisation | None:
    """As the sweep file gives it."""
    return None if backbone.mean is None or backbone.std is None else normalisation_of(backbone.mean, backbone.std)


def _split(data: DecodedDataset, kind: SplitKind, domain: Domain | None, seed: int) -> Split:
    return make_split(data, kind, seed) if domain is None else make_domain_split(data, domain, seed)


def _code_of(metrics: Sequence[Plugin[Metric]]) -> dict[str, str]:
    return {plugin.name: BUILT_IN if plugin.builtin else plugin.code for plugin in metrics}


class Planner:
    """Builds the studies of a specification, opening each dataset once."""

    def __init__(
        self,
        spec: SweepSpec,
        catalogue: Catalogue,
        run: RunDirectory,
        roots: Roots,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self._spec, self._catalogue, self._run, self._roots = spec, catalogue, run, roots
        self._progress = progress
        self._metrics = further_metrics(catalogue, spec)
        self._further = tuple(plugin.cls() for plugin in self._metrics)
        self._decoded: dict[str, DecodedDataset] = {}
        self._sources: dict[str, Source] = {}
        self._starts: dict[str, NetworkRecord] = {}

    def studies(self, datasets: Collection[str] | None = None) -> list[Study]:
        """All studies, in the order of the sweep file: dataset by dataset, method by method.

        Args:
            datasets: labels of those that are opened; None for all.

        Raises:
            RequestError: something named in the specification is missing or does not fit.
        """
        spec = self._spec
        wanted = {label: entry for label, entry in spec.datasets.items() if datasets is None or label in datasets}
        prepared = {label: self._prepare(label, entry, spec.training(label)) for label, entry in wanted.items()}
        prepared = {label: self._with_splits(dataset) for label, dataset in prepared.items()}
        for dataset in prepared.values():
            self._check_leaks(dataset)
        evaluations = EvaluationPlanner(
            spec.evaluate, self._catalogue, self._external, self._roots.cache, self._progress
        )
        prepared = {label: self._with_evaluations(dataset, evaluations) for label, dataset in prepared.items()}
        return [
            self._study(label, dataset, number)
            for dataset in prepared.values()
            for label in spec.methods
            for number in self._replication(dataset).numbers
        ]

    def _replication(self, dataset: PreparedDataset) -> Replication:
        """Which replicates confirm each method on a dataset."""
        return self._spec.replication.with_kind(dataset.split.kind)

    def _with_splits(self, dataset: PreparedDataset) -> PreparedDataset:
        """The dataset with the splits that its replicates draw; as it is where all share one."""
        kind, data = dataset.split.kind, dataset.data
        spec, names, train = self._spec, self._replication(dataset).splits, self._spec.training(dataset.label)
        if not names:
            return dataset
        if kind == "official":
            raise RequestError(f"datasets.{dataset.label}: {PUBLISHED}")
        try:
            if spec.split.folds is None:
                whole = [_split(data, kind, self._domain(dataset.label), seed) for seed in names]
            else:
                whole = make_folds(data, kind, spec.split.seed, spec.split.folds)
            kept = [keep_training(one, data, *train.one_size) for one in whole]
        except RequestError as error:
            raise RequestError(f"datasets.{dataset.label}: {error}") from error
        # A split by domain divides the images of the training domains alone; the test side is no part of what is drawn.
        tested = sum(len(one.in_distribution or one.test) for one in whole)
        overlap = tested / sum(len(one.train) for one in whole)
        first = kept[0]
        return replace(
            dataset,
            split=first,
            leaks=find_leaks(data, first),
            others=dict(zip(names, kept, strict=True)),
            overlap=overlap,
        )

    def _check_leaks(self, dataset: PreparedDataset) -> None:
        # A backbone that is trained here first opens no test side, so its own data may leak.
        if self._spec.split.allow_leakage is not None:
            return
        for split in (dataset.split, *dataset.others.values()):
            leaks = find_leaks(dataset.data, split)
            if leaks.any:
                why = "" if self._spec.split.kind else " (the default here, because it is by patient)"
                raise RequestError(
                    f"datasets.{dataset.label}: the {split.kind} split{why} leaks: {leaks.sentence()}; write `split: "
                    '{kind: grouped}`, or say in `split.allow_leakage: "..."` why this may be'
                )

    def undecoded(self) -> list[str]:
        """Datasets of the specification that ``studies`` would have to decode or look through first, by label."""
        spec, roots = self._spec, self._roots
        wanted = [(spec.in_file(label), entry, spec.training(label)) for label, entry in spec.datasets.items()]
        wanted += [
            (given.dataset.dataset, given.dataset, spec.train.merged(given.train)) for _, given in spec.sources()
        ]
        missing = []
        for label, entry, train in wanted:
            dataset, code = self._plugin(label, entry)
            known = is_decoded(dataset, code, train.image_size, roots.data, roots.cache)
            if known and spec.split.near_duplicates:
                known = are_joined(prepare(dataset, code, train.image_size, roots.data, roots.cache), roots.cache)
            missing += [] if known else [label]
        for name, one, _ in external_datasets(spec.evaluate, self._catalogue):
            dataset, code = self._plugin(name, DatasetSpec(dataset=one.dataset, options=dict(one.options)))
            known = is_decoded(dataset, code, spec.train.image_size, roots.data, roots.cache)
            missing += [] if known else [name]
        return list(dict.fromkeys(missing))

    def card(self, prepared: PreparedDataset) -> Card:
        """Facts about a dataset for the report."""
        reason = self._spec.split.allow_leakage
        return make_card(prepared.dataset, prepared.data, prepared.split, prepared.leaks, allow_leakage=reason)

    def _study(self, label: str, dataset: PreparedDataset, number: int) -> Study:
        spec, replication = self._spec, self._replication(dataset)
        tuned_on = replication.tuned_on(number)
        if tuned_on is not None:
            dataset = replace(dataset, split=dataset.split_of(tuned_on))
        entry, train = spec.methods[label], spec.training(dataset.label)
        place = f"methods.{label}"
        plugin = self._catalogue.find(Method, entry.method, place)
        space = method_space(plugin.cls.space, entry.hyperparameters, train, place)
        backbone = spec.network(label, dataset.label)
        source = self._source(backbone) if isinstance(backbone.weights, SourceSpec) else None
        folder = self._run.search_of(label, dataset.label, number)
        search, tuned_as = spec.search, spec.tuned_as(dataset.label)
        leader = None if tuned_as is None else self._run.search_of(label, tuned_as, number).name
        sampler = find_sampler(search, self._catalogue)
        identity: StudyIdentity = {
            **settings_identity(spec, train, plugin, space, sampler, self._metrics),
            "backbone": self._start(backbone, source),
            "dataset": cast(DatasetIdentity, dataset.identity()),
        }
        prior = None if leader else prior_of(folder, search, space, identity)
        if prior is not None:
            identity["prior"] = prior.identity
        return Study(
            label=label,
            method=plugin,
            space=space,
            backbone=backbone.network,
            weights=backbone.weights if isinstance(backbone.weights, str) else None,
            source=source,
            dataset=dataset,
            train=train,
            search=search,
            sampler=sampler,
            slots=0 if leader else sampler.cls(space, search, folder.name).slots,
            replicates=replication.of_search(number),
            repeat=spec.confirm.repeat and number == search.first,
            identity=identity,
            folder=folder,
            normalisation=_normalisation(backbone),
            prior=prior,
            further=self._further,
            task=spec.datasets[dataset.label].task,
            leader=leader,
            number=number,
            keep=spec.confirm.keep,
            resampled=replication.resampled,
        )

    def _source(self, backbone: BackboneSpec) -> Source:
        given = backbone.weights
        assert isinstance(given, SourceSpec)
        key = canonical_hash(backbone.model_dump(mode="json"))
        if key not in self._sources:
            train = self._spec.train.merged(given.train)
            plugin = self._catalogue.find(Method, given.method, "backbone.weights.method")
            hyperparameters = defaults(
                method_space(plugin.cls.space, given.hyperparameters, train, "backbone.weights.hyperparameters")
            )
            dataset = self._prepare(f"source-{key[:8]}", given.dataset, train, of_source=True)
            identity = canonical_hash(
                {
                    "protocol": PROTOCOL,
                    "method": {"name": plugin.name, "code": plugin.code},
                    "backbone": backbone.network,
                    "dataset": dataset.identity(),
                    "train": train.identity(),
                    "metric": self._spec.search.metric,
                    "hyperparameters": hyperparameters,
                    "seed": given.seed,
                    **({"metrics": _code_of(self._metrics)} if self._metrics else {}),
                }
            )
            self._sources[key] = Source(
                method=plugin.cls,
                hyperparameters=hyperparameters,
                backbone=backbone.network,
                dataset=dataset,
                train=train,
                metric=self._spec.search.metric,
                seed=given.seed,
                identity=identity,
                folder=self._run.source(identity[:16]),
                further=self._further,
            )
        return self._sources[key]

    def _prepare(self, label: str, entry: DatasetSpec, train: TrainSpec, of_source: bool = False) -> PreparedDataset:
        """A dataset, decoded and split.

        Args:
            label: how the sweep calls it.
            entry: its plugin and options.
            train: how trials train.
            of_source: whether a backbone is trained on it first: it need not have the domains of the sweep's datasets.
        """
        place, size = f"datasets.{label}", train.image_size
        dataset, code = self._plugin(label, entry)
        data, report = self._open(label, dataset, code, size), self._progress
        if self._spec.split.near_duplicates:
            data = join_near_duplicates(
                data,
                self._roots.cache,
                None if report is None else lambda done, total: report(f"{label}: near-duplicates", done, total),
            )
        try:
            asked = None if self._spec.split.kind == "domain" else self._spec.split.kind
            domain = None if of_source else self._domain(label)
            kind = kind_for(asked, dataset) if domain is None else "domain"
            whole = _split(data, kind, domain, self._spec.split.seed)
            split = keep_training(whole, data, *train.one_size)
        except RequestError as error:
            raise RequestError(f"{place}: {error}") from error
        total = train.epochs * train.steps_per_epoch(len(split.train))
        if not isinstance(train.warmup, float) and (rising := train.warmup_steps(total)) >= total:
            raise RequestError(
                f"train.warmup: takes {rising:,} steps, and a training on {dataset.name} has {total:,}; shorten it"
            )
        return PreparedDataset(label, dataset, data, split, find_leaks(data, split), self._roots.cache)

    def _open(self, label: str, dataset: Dataset, code: str, size: int) -> DecodedDataset:
        options = dataset.options.model_dump(mode="json")
        key = canonical_hash({"name": dataset.name, "options": options, "size": size})
        report = self._progress
        if key not in self._decoded:
            self._decoded[key] = prepare(
                dataset,
                code,
                size,
                self._roots.data,
                self._roots.cache,
                None if report is None else lambda done, total: report(label, done, total),
            )
        return self._decoded[key]

    def _external(self, name: str, options: Mapping[str, object], place: Place) -> DecodedDataset:
        """A dataset that an evaluation needs."""
        plugin = self._catalogue.find(Dataset, name, place("dataset"))
        dataset = with_options(plugin.cls, options, lambda *keys: place("options", *keys))
        return self._open(name, dataset, plugin.code, self._spec.train.image_size)

    def _with_evaluations(self, dataset: PreparedDataset, planner: EvaluationPlanner) -> PreparedDataset:
        label = self._spec.in_file(dataset.label)
        return replace(dataset, evaluations=planner.of(label, dataset.dataset, dataset.data, dataset.splits))

    def _domain(self, label: str) -> Domain | None:
        """What is tested of a dataset that is split by domain."""
        found = self._spec.domain(label)
        return None if found is None else Domain(*found)

    def _plugin(self, label: str, entry: DatasetSpec) -> tuple[Dataset, str]:
        """A dataset with its options, and the hash of its code."""
        place = f"datasets.{label}"
        plugin = self._catalogue.find(Dataset, entry.dataset, place)
        dataset = with_options(plugin.cls, entry.options, lambda *keys: ".".join((place, *map(str, keys))))
        return dataset, plugin.code

    def _start(self, backbone: BackboneSpec, source: Source | None) -> NetworkRecord:
        """What is hashed of a backbone."""
        if source is not None:
            return {"name": backbone.network, "weights": source.identity}
        key = canonical_hash(backbone.model_dump(mode="json"))
        if key not in self._starts:
            from harness.networks.content import content_of

            assert not isinstance(backbone.weights, SourceSpec)
            found = content_of(backbone.network, backbone.weights, _normalisation(backbone))
            start: NetworkRecord = {"name": backbone.network, "weights": found.weights}
            if found.normalisation is not None:
                start["mean"], start["std"] = list(found.normalisation.mean), list(found.normalisation.std)
            self._starts[key] = start
        return self._starts[key]
