"""From a sweep file to a checked specification; what is wrong takes one line with file and line number."""

from __future__ import annotations

import copy
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.arguments import user_path
from harness.core.errors import RequestError, suggestion
from harness.core.plugin_options import Options
from harness.data.options import read_options, with_options
from harness.dataset import Dataset
from harness.launcher import Launcher
from harness.method import Method
from harness.metrics.metric import Metric
from harness.networks.references import is_file
from harness.plugins import Catalogue, discover
from harness.search import Engine, Sampler, find_sampler, is_driven
from harness.search.sampler import find_engine, in_one_line
from harness.space.parameters import Parameter, Space
from harness.spec.entries import BackboneSpec, DatasetSpec
from harness.spec.messages import Place, validated
from harness.spec.search import SearchSpec
from harness.spec.sections import SweepSpec
from harness.spec.source import YamlSource
from harness.spec.space_forms import override
from harness.studies.evaluations import read_evaluation

if TYPE_CHECKING:
    from harness.core.console import Console


@dataclass(frozen=True)
class LoadedSweep:
    """A specification and where each part of it was written."""

    spec: SweepSpec
    source: YamlSource

    def place(self, *keys: str | int) -> str:
        """Where a value stands, as ``sweeps/x.yaml:12: train.epochs`` or ``--set train.epochs``."""
        return self.source.place(keys)


def load_sweep(path: Path, assignments: Sequence[str] = ()) -> LoadedSweep:
    """Read a sweep file and apply ``a.b=value`` assignments in their order.

    Plugin folders and ``.safetensors`` files are taken relative to the sweep file's folder and made absolute.

    Raises:
        RequestError: the file, an assignment, a key or a value is wrong, or a path leads nowhere.
    """
    return _load(YamlSource.read(path), path.parent, assignments)


def load_mapping(data: Mapping[str, object], assignments: Sequence[str] = ()) -> LoadedSweep:
    """The same for a sweep that is given as plain data; relative paths start at the current folder.

    Raises:
        RequestError: as for ``load_sweep``, with keys for places.
    """
    return _load(YamlSource(copy.deepcopy(dict(data))), Path(), assignments)


def _load(source: YamlSource, folder: Path, assignments: Sequence[str]) -> LoadedSweep:
    for assignment in assignments:
        source.set(assignment)
    _check_texts(source.data, source, ())
    spec = validated(SweepSpec, source)
    return LoadedSweep(_with_absolute_paths(spec, folder, source), source)


def _check_texts(data: Any, source: YamlSource, keys: tuple[str | int, ...]) -> None:
    """Refuse control characters: no name, path or sentence has one, and they would reach terminals and file names."""
    below = data.items() if isinstance(data, Mapping) else enumerate(data) if isinstance(data, list) else ()
    for key, value in below:
        for text in (key, value):
            for sign in text if isinstance(text, str) and not text.isprintable() else "":
                if unicodedata.category(sign) == "Cc" and sign not in "\n\r\t":
                    raise RequestError(f"{source.place((*keys, key))}: holds the control character {sign!r}; remove it")
        _check_texts(value, source, (*keys, key))


def catalogue_for(loaded: LoadedSweep, console: Console) -> Catalogue:
    """The plugins for a sweep, all of whose names, options and networks are checked; imports torch, downloads nothing.

    Raises:
        RequestError: as ``check_against`` and ``check_backbones``.
    """
    with console.status("loading plugins"):
        catalogue = discover([Path(folder) for folder in loaded.spec.plugins])
    check_against(loaded.spec, catalogue, loaded.place)
    check_backbones(loaded.spec, loaded.place)
    return catalogue


def check_against(spec: SweepSpec, catalogue: Catalogue, place: Place) -> None:
    """Check every name, option and hyperparameter of a specification against the plugins.

    Args:
        spec: as loaded.
        catalogue: the plugins found.
        place: says where a value was written, such as ``LoadedSweep.place``.

    Raises:
        RequestError: an unknown or broken plugin, or an option or hyperparameter that it does not take.
    """
    _chosen_launcher(spec, catalogue, place)
    for label, dataset in {spec.in_file(label): entry for label, entry in spec.datasets.items()}.items():
        _check_dataset(dataset, catalogue, place, ("datasets", label), label)
    _check_metric(spec, catalogue, place)
    check_evaluations(spec, catalogue, place)
    sampler = _checked_sampler(spec, catalogue, place)
    for label, method in spec.methods.items():
        keys = ("methods", label)
        named = place(*keys) if method.method == label else place(*keys, "method")
        space = catalogue.find(Method, method.method, named).cls.space
        varied = read_space(space, method.hyperparameters, lambda *below, at=keys: place(*at, *below))
        _at_its_place(partial(_check_space, sampler, varied, spec.search, label), place, ())
    for way, source in spec.sources():
        space = catalogue.find(Method, source.method, place(*way, "method")).cls.space
        inside = (*way, "hyperparameters")
        for name, value in source.hyperparameters.items():
            if isinstance(value, Mapping | list):
                raise RequestError(f"{place(*inside, name)}: this training is not searched; give one value")
        read_space(space, source.hyperparameters, lambda *below, at=inside: place(*at, *below))
        _check_dataset(source.dataset, catalogue, place, (*way, "dataset"), None)
    # Last: where a method is misspelt, its plugin tells so, and the control may be right.
    control = spec.confirm.control
    if control is not None and control not in spec.methods:
        known = suggestion(control, spec.methods)
        raise RequestError(f"{place('confirm', 'control')}: no method has the label {control!r}{known}")


def check_evaluations(spec: SweepSpec, catalogue: Catalogue, place: Place) -> None:
    """Check the names and options of all evaluations, and of the datasets that these need.

    Args:
        spec: as loaded.
        catalogue: the plugins found.
        place: says where a value was written, such as ``LoadedSweep.place``.

    Raises:
        RequestError: an unknown or broken plugin, or an option that it does not take.
    """
    for index, evaluation in enumerate(spec.evaluate):
        keys_of = partial(place, "evaluate", index)
        _, found = read_evaluation(evaluation, catalogue, keys_of)
        for one in found.datasets:
            cls = catalogue.find(Dataset, one.dataset, keys_of("dataset")).cls
            with_options(cls, one.options, partial(keys_of, "options"))


def check_backbones(spec: SweepSpec, place: Place) -> None:
    """Check the names of all networks and published weights; imports torch, downloads nothing.

    Args:
        spec: as loaded.
        place: says where a value was written, such as ``LoadedSweep.place``.

    Raises:
        RequestError: there is no such network, or no such weights of it.
    """
    from harness.networks.backbones import check_backbone

    for way, backbone in spec.networks():
        weights = backbone.weights if isinstance(backbone.weights, str) else None
        # Its messages name the section backbone, wherever the file has this one.
        here = lambda _, *below, way=way: place(*way, *below)  # noqa: E731
        _at_its_place(partial(check_backbone, backbone.network, weights), here, ())


def launcher_of(spec: SweepSpec, catalogue: Catalogue, place: Place) -> Launcher:
    """The launcher that a sweep names, unless its engine has one of its own.

    Args:
        spec: as loaded.
        catalogue: the plugins found.
        place: says where a value was written, such as ``LoadedSweep.place``.

    Raises:
        RequestError: there is none of that name, it is broken, or it has no such options.
    """
    cls, options = _chosen_launcher(spec, catalogue, place)
    if is_driven(spec.search):
        return find_engine(spec.search, catalogue, place).cls.launcher(spec.launch)
    return cls(spec.launch, options)


def _chosen_launcher(spec: SweepSpec, catalogue: Catalogue, place: Place) -> tuple[type[Launcher], Options]:
    cls = catalogue.find(Launcher, spec.launch.kind, place("launch", "kind")).cls
    return cls, read_options(cls, spec.launch.options, lambda *below: place("launch", "options", *below))


def _at_its_place(check: Callable[[], object], place: Place, way: tuple[str, ...]) -> None:
    """Run a check whose message begins with dotted keys, and say where in the file these stand."""
    try:
        check()
    except RequestError as error:
        dotted, _, text = str(error).partition(": ")
        raise RequestError(f"{place(*way, *dotted.split('.'))}: {text}") from error


def read_space(space: Space, given: Mapping[str, object], place: Place) -> dict[str, Parameter]:
    """A method's search space with a sweep's hyperparameters applied; ``place`` is relative to these.

    Raises:
        RequestError: an unknown hyperparameter, or a value or range that it does not take.
    """
    result = dict(space)
    for name, entry in given.items():
        # One at a time, so that each message has the line of its own entry.
        prefix = place(name).removesuffix(f".{name}")
        result[name] = override(space, {name: entry}, prefix)[name]
    return result


def _checked_sampler(spec: SweepSpec, catalogue: Catalogue, place: Place) -> type[Sampler]:
    plugin = find_sampler(spec.search, catalogue, place)
    _at_its_place(partial(_check_settings, plugin.cls, spec.search), place, ())
    if issubclass(plugin.cls, Engine) and spec.launch.kind != "local":
        what = f"the engine {plugin.name} starts processes of its own; {plugin.cls.launch}"
        raise RequestError(f"{place('launch', 'kind')}: {what}")
    return plugin.cls


def _check_settings(sampler: type[Sampler], search: SearchSpec) -> None:
    with in_one_line(sampler):
        sampler.check(search)


def _check_space(sampler: type[Sampler], space: Space, search: SearchSpec, label: str) -> None:
    with in_one_line(sampler):
        sampler(space, search, label).check_order()


def _check_dataset(
    spec: DatasetSpec, catalogue: Catalogue, place: Place, keys: tuple[str, ...], label: str | None
) -> None:
    named = place(*keys) if spec.dataset == label else place(*keys, "dataset")
    cls = catalogue.find(Dataset, spec.dataset, named).cls
    with_options(cls, spec.options, lambda *below: place(*keys, *below))


def _check_metric(spec: SweepSpec, catalogue: Catalogue, place: Place) -> None:
    """Whether there are the listed metrics and that of the search, and every dataset can have the latter; the datasets
    are known to exist."""
    for index, name in enumerate(spec.metrics):
        catalogue.find(Metric, name, place("metrics", index))
    named = place("search", "metric")
    metric = catalogue.find(Metric, spec.search.metric, named).cls
    for label, entry in spec.datasets.items():
        dataset = catalogue.find(Dataset, entry.dataset, label).cls
        if metric.needs_order and not dataset.ordinal:
            raise RequestError(
                f"{named}: {metric.name} needs classes in an order, and those of {label} have none; choose another "
                "metric"
            )
        if dataset.multi_label and not metric.multi_label:
            raise RequestError(
                f"{named}: {metric.name} needs one label an image, and those of {label} may have several; choose "
                "another metric"
            )


def _with_absolute_paths(spec: SweepSpec, folder: Path, source: YamlSource) -> SweepSpec:
    plugins = []
    for index, given in enumerate(spec.plugins):
        found = (folder / user_path(given)).resolve()
        if not found.is_dir():
            raise RequestError(f"{source.place(('plugins', index))}: no such folder: {found}")
        plugins.append(str(found))
    networks = {keys: _with_absolute_weights(one, folder, source, keys) for keys, one in spec.networks()}
    methods = {
        label: method.model_copy(update={"backbone": networks.get(("methods", label, "backbone"))})
        for label, method in spec.methods.items()
    }
    backbones = {label: networks["backbones", label] for label in spec.backbones}
    backbone = next(iter(backbones.values()), None) or networks["backbone",]
    launch = spec.launch.model_copy(update={"profile": _absolute_profile(spec.launch.profile, folder, source)})
    search = spec.search
    if search.warm_start is not None:
        places = [(base / user_path(search.warm_start)).resolve() for base in (folder, Path())]
        # Whether it is there is looked at when the run is planned: afterwards it is not needed any more.
        search = search.model_copy(update={"warm_start": str(next((p for p in places if p.is_dir()), places[0]))})
    parts = {"plugins": plugins, "backbones": backbones, "backbone": backbone, "methods": methods}
    parts |= {"launch": launch, "search": search}
    return spec.model_copy(update=parts)


def _absolute_profile(given: str | None, folder: Path, source: YamlSource) -> str | None:
    if given is None:
        return None
    places = [(base / user_path(given)).resolve() for base in (folder, Path())]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise RequestError(f"{source.place(('launch', 'profile'))}: no such file: {places[0]}")
    return str(found)


def _with_absolute_weights(
    backbone: BackboneSpec, folder: Path, source: YamlSource, keys: tuple[str, ...]
) -> BackboneSpec:
    weights = backbone.weights
    if not isinstance(weights, str) or not is_file(weights):
        return backbone
    found = (folder / user_path(weights)).resolve()
    if not found.is_file():
        raise RequestError(f"{source.place((*keys, 'weights'))}: no such file: {found}")
    return backbone.model_copy(update={"weights": str(found)})
