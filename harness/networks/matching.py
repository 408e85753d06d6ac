"""Which networks a file of weights fits, and how it reads as one of them; no network gets values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.core.errors import RequestError
from harness.networks.architectures import build_extractor, classifiers_of
from harness.networks.fitting import Reading, readings
from harness.networks.foreign import ForeignFile
from harness.networks.hollow import hollow
from harness.networks.names import families

Report = Callable[[str], None]
"""Told in a few words what is looked at."""

_ALIKE = 0.3
"""A family is looked at as a whole where its first network has this share of its names in the file."""


@dataclass(frozen=True)
class Match:
    """A network and the best reading of a file as that network."""

    name: str
    wanted: int
    """Tensors of the network."""
    reading: Reading


def match_with(file: ForeignFile, name: str) -> Match | None:
    """How a file reads as a network; None where it has none of its names.

    Raises:
        RequestError: there is no such network, or it does not end in one linear classifier.
    """
    network = hollow(lambda: build_extractor(name, None).module)
    state = network.state_dict()
    found = readings(file.mappings, state, classifiers_of(name, network))
    return Match(name, len(state), found[0]) if found else None


def matches_among(file: ForeignFile, pattern: str, report: Report) -> list[Match]:
    """The networks whose tensors a file has, the best first: those that it fits, then by the share of their tensors.

    Args:
        file: the weights.
        pattern: of the networks to compare with.
        report: called before each network.
    """
    found = [match for match in _among(file, pattern, report) if match.reading.tensors]
    return sorted(found, key=lambda match: (not match.reading.complete, -len(match.reading.tensors) / match.wanted))


def _among(file: ForeignFile, pattern: str, report: Report) -> Iterator[Match]:
    for family, (first, *others) in families(pattern).items():
        report(f"{family}: {first}")
        match = _attempt(file, first)
        if match is None:
            continue
        yield match
        if match.reading.named < _ALIKE * match.wanted:
            continue
        for number, name in enumerate(others, start=2):
            report(f"{family}: {name}, {number} of {len(others) + 1}")
            other = _attempt(file, name)
            if other is not None:
                yield other


def _attempt(file: ForeignFile, name: str) -> Match | None:
    """As ``match_with``; None too for a network that this program cannot use, or that its package cannot build."""
    try:
        return match_with(file, name)
    except (RequestError, RuntimeError, TypeError, ImportError):
        return None
