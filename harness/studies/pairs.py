"""Whether each method of a sweep can act on its network: found before anything is launched, and without data."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harness.core.errors import RequestError, one_line
from harness.method import Hyperparameters, Method, NotDefinedError
from harness.networks.backbones import Model, build_model
from harness.space.parameters import Choice, Space, Value, defaults
from harness.spec.messages import Place
from harness.spec.sections import SweepSpec
from harness.studies.loading import read_space

if TYPE_CHECKING:
    from harness.plugins import Catalogue


@dataclass(frozen=True, slots=True)
class NamedMethod:
    """A method with the search space that a sweep gives it, a network, and where the sweep names the method."""

    label: str
    method: type[Method]
    space: Space
    backbone: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """How a method takes a network with one configuration."""

    undefined: str | None = None
    """Why what it does is not defined there (``NotDefinedError``)."""
    refusal: str | None = None
    """Why it cannot act there in this configuration (any other ``ValueError``)."""
    bug: str | None = None
    """What else it raised."""
    trains_head_alone: bool = False
    """Whether nothing of the network trains, and the method does not say that this is meant."""


def check_pairs(spec: SweepSpec, catalogue: Catalogue, place: Place, note: Callable[[str], None]) -> None:
    """Let each method act on its network, with random weights and its default settings; loads no weights and no data.

    For what a search may choose among names or numbers (``Choice``), each choice is asked for as well, one at a time.

    Args:
        spec: as loaded, checked against the plugins, with backbones that exist.
        catalogue: the plugins found.
        place: says where a value was written, such as ``LoadedSweep.place``.
        note: takes a line on what is odd but no reason to stop.

    Raises:
        RequestError: a method is not defined on its network, cannot act on it, or would train nothing.
    """
    for pair in _pairs(spec, catalogue, place):
        found, where = fit(pair.method, pair.backbone, tuple(defaults(pair.space).items())), place(*pair.keys)
        if found.undefined is not None:
            raise RequestError(f"{where}: {pair.method.name} is not defined on {pair.backbone}: {found.undefined}")
        if found.refusal is not None:
            raise RequestError(f"{where}: cannot act on {pair.backbone}: {found.refusal}")
        if found.bug is not None:
            note(f"note: {pair.label}: a bug shows on {pair.backbone}: {found.bug}")
            continue
        if found.trains_head_alone:
            meant = "if this is meant, let expected_trainable return 0"
            note(f"note: {pair.label}: nothing below the head trains on {pair.backbone}; {meant}")
        for name, value, reason in _undefined_choices(pair):
            raise RequestError(
                f"{place(*pair.keys, name)}: the search may choose {value}, and {pair.method.name} is not defined on "
                f"{pair.backbone} then: {reason}; give {{choice: [...]}} of what there is"
            )
    _network.cache_clear()


def _pairs(spec: SweepSpec, catalogue: Catalogue, place: Place) -> Iterator[NamedMethod]:
    for label, entry in spec.methods.items():
        keys: tuple[str, ...] = ("methods", label)
        cls = catalogue.find(Method, entry.method, place(*keys)).cls
        space = read_space(cls.space, entry.hyperparameters, lambda *below, at=keys: place(*at, *below))
        for network in dict.fromkeys(spec.network(label, dataset).network for dataset in spec.datasets):
            yield NamedMethod(label, cls, space, network, keys)
    networks = dict(spec.networks())
    for way, source in spec.sources():
        # The network that is trained first is that of the section whose weights it gives.
        section = networks[way[:-1]]
        cls = catalogue.find(Method, source.method, place(*way, "method")).cls
        inside = (*way, "hyperparameters")
        space = read_space(cls.space, source.hyperparameters, lambda *below, at=inside: place(*at, *below))
        yield NamedMethod(source.method, cls, space, section.network, (*way, "method"))


def _undefined_choices(pair: NamedMethod) -> Iterator[tuple[str, Value, str]]:
    """Name, value and reason of each choice of the space with which the method is not defined on the network."""
    usual = defaults(pair.space)
    for name, parameter in pair.space.items():
        for value in parameter.choices if isinstance(parameter, Choice) else ():
            if value != usual[name] and (reason := _undefined(pair, {**usual, name: value})) is not None:
                yield name, value, reason


def _undefined(pair: NamedMethod, hp: Hyperparameters) -> str | None:
    try:
        # The count says it as adapt does, and changes nothing.
        pair.method().expected_trainable(_network(pair.backbone), hp)
    except NotDefinedError as error:
        return one_line(str(error))
    except Exception:  # noqa: BLE001  (a bug is its trials' failure; with the defaults, fit has named it)
        return None
    return None


@functools.lru_cache(maxsize=1)
def _network(backbone: str) -> Model:
    """The network that pairs are tried on; who changes it takes a copy."""
    return build_model(backbone, None, classes=2, seed=0)[0]


@functools.lru_cache(maxsize=256)
def fit(method: type[Method], backbone: str, hp: tuple[tuple[str, Value], ...]) -> Fit:
    """How a method takes a network of random weights; torch's generators stay as they are.

    Args:
        method: the class.
        backbone: as for ``build_model``.
        hp: the configuration, all hyperparameters.
    """
    with torch.random.fork_rng(devices=[]):
        model = _network(backbone)
        try:
            return _acting(method(), model, dict(hp))
        except NotDefinedError as error:
            return Fit(undefined=one_line(str(error)))
        except (ValueError, RequestError) as error:
            return Fit(refusal=one_line(str(error)))
        except Exception as error:  # noqa: BLE001  (a bug in one method is its trials' failure, not the sweep's end)
            return Fit(bug=one_line(f"{type(error).__name__}: {error}"))


def _acting(method: Method, model: Model, hp: Hyperparameters) -> Fit:
    changed = copy.deepcopy(model)
    method.adapt(changed, hp)
    trained = {id(parameter) for group in method.param_groups(changed, hp) for parameter in group.params}
    if not trained:
        raise ValueError("it trains nothing, not even the head; leave requires_grad on what is to train")
    below = any(id(parameter) in trained for parameter in changed.backbone.parameters())
    # Counting takes as long as adapting, so only where it tells something.
    return Fit(trains_head_alone=not below and method.expected_trainable(model, hp) != 0)
