"""Finds a network's tensors in a file: in which mapping, behind which prefix, under whose names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from harness.networks.foreign import StoredMapping
from harness.networks.renaming import HARMLESS, LAYOUTS, NameLayout, Names, rank

Fate: TypeAlias = Literal["taken", "renamed", "left out", "no place", "other shape", "missing"]

_MOST_PREFIXES = 8
"""Prefixes of one mapping that are looked at, those with most of the network's names first."""


@dataclass(frozen=True)
class TensorLine:
    """What became of one tensor."""

    fate: Fate
    name: str
    """In the network; in the file, without the prefix, of one that the network does not have."""
    stored: str
    """In the file; empty for a missing one."""
    shape: tuple[int, ...]
    """In the file; in the network for a missing one."""
    note: str = ""
    """The network's shape where it is another one; why it is left out."""


@dataclass(frozen=True)
class Reading:
    """One way to read a file as a network: what was taken, renamed, left out and is missing, tensor by tensor."""

    place: tuple[str, ...]
    """The keys that lead to the mapping."""
    prefix: str
    """What all names in it begin with."""
    layout: str
    """Whose names they are."""
    lines: tuple[TensorLine, ...]
    tensors: Mapping[str, Tensor]
    """Those that were taken, by their names in the network."""
    besides: Mapping[tuple[str, ...], int]
    """Tensors of the file's other mappings, by the keys that lead there."""

    def of(self, *fates: Fate) -> list[TensorLine]:
        """The lines with some fates."""
        return [line for line in self.lines if line.fate in fates]

    @property
    def complete(self) -> bool:
        """Whether all of the network is in the file, and nothing there that belongs inside of it is left over."""
        return not self.of("missing", "other shape", "no place")

    @property
    def named(self) -> int:
        """How many of the network's tensors the mapping has by name, whatever their shapes."""
        return len(self.of("taken", "renamed", "other shape"))

    @property
    def where(self) -> str:
        """Mapping, prefix and names, as a message says it."""
        inside = f"in {' > '.join(self.place)}" if self.place else "at the top of the file"
        return f"{inside}, behind {self.prefix!r}, {self.layout}" if self.prefix else f"{inside}, {self.layout}"

    def lacks(self) -> str:
        """What keeps it from being complete; empty where it is."""
        said = []
        missing, shapes, over = self.of("missing"), self.of("other shape"), self.of("no place")
        if missing:
            said.append(f"{_count(missing, 'is', 'are')} missing, the first is {missing[0].name}")
        if shapes:
            first = shapes[0]
            said.append(f"{first.name} has {first.shape}, not {first.note}{_and_more(shapes)}")
        if over:
            said.append(f"{_count(over, 'has', 'have')} no place, the first is {over[0].stored}")
        return "; ".join(said)


def readings(
    mappings: Sequence[StoredMapping], wanted: Mapping[str, Tensor], classifiers: Iterable[str] = ()
) -> list[Reading]:
    """All ways to read some mappings as a network, the best first.

    Complete ones come first: of these a teacher or an average before the others, and a momentum copy last. Then those
    with more tensors taken and fewer left over; then the order of the layouts, and that of the file.

    Args:
        mappings: of a file.
        wanted: the network's state without its classifier.
        classifiers: names of the modules that were its classifier; their tensors are left out.
    """
    found: list[tuple[tuple[object, ...], Reading]] = []
    for number, layout in enumerate(LAYOUTS):
        names = layout.names(wanted)
        if not names:
            continue
        heads = tuple(layout.renames(head) for head in classifiers)
        for mapping in mappings:
            for prefix in _prefixes(mapping.tensors, names):
                reading = _read(mapping, prefix, layout, names, wanted, heads, _besides(mappings, mapping))
                order = rank((*mapping.place, *prefix.split(".")))
                counts = (-len(reading.tensors), len(reading.of("no place")))
                key = (1, *counts, order, number) if not reading.complete else (0, order, *counts, number)
                found.append((key, reading))
    # The sort is stable: what is left equal keeps the order of the file.
    return [reading for _, reading in sorted(found, key=lambda entry: entry[0])]


def same_tensors(first: Reading, second: Reading) -> bool:
    """Whether two readings load the same values, as far as both have them: counters may be missing in one."""
    return all(
        torch.equal(value, second.tensors[name]) for name, value in first.tensors.items() if name in second.tensors
    )


def _besides(mappings: Sequence[StoredMapping], chosen: StoredMapping) -> dict[tuple[str, ...], int]:
    return {other.place: len(other.tensors) for other in mappings if other is not chosen}


def _prefixes(tensors: Mapping[str, Tensor], names: Names) -> list[str]:
    """What stands before the network's names in a mapping, the most frequent first, else in the file's order."""
    known = set(names.values())
    counts: Counter[str] = Counter()
    for key in tensors:
        counts.update(prefix for prefix, rest in _cuts(key) if rest in known)
    if not counts:
        return []
    most = max(counts.values())
    return [prefix for prefix, count in counts.most_common(_MOST_PREFIXES) if 2 * count >= most]


def _cuts(key: str) -> Iterator[tuple[str, str]]:
    place = 0
    while True:
        yield key[:place], key[place:]
        place = key.find(".", place) + 1
        if not place:
            return


def _read(
    mapping: StoredMapping,
    prefix: str,
    layout: NameLayout,
    names: Names,
    wanted: Mapping[str, Tensor],
    heads: Sequence[str],
    besides: Mapping[tuple[str, ...], int],
) -> Reading:
    lines: list[TensorLine] = []
    taken: dict[str, Tensor] = {}
    used: set[str] = set()
    for name, own in wanted.items():
        stored = prefix + names[name]
        tensor = mapping.tensors.get(stored)
        if tensor is None:
            if not name.endswith(HARMLESS):
                lines.append(TensorLine("missing", name, "", tuple(own.shape)))
            continue
        used.add(stored)
        shape = tuple(tensor.shape)
        if shape != tuple(own.shape) or tensor.is_floating_point() != own.is_floating_point():
            kind = "" if tensor.is_floating_point() == own.is_floating_point() else f" of {_kind(own)}"
            lines.append(TensorLine("other shape", name, stored, shape, f"{tuple(own.shape)}{kind}"))
            continue
        taken[name] = tensor
        cast = f"as {_kind(tensor)}" if tensor.dtype != own.dtype else ""
        lines.append(TensorLine("taken" if names[name] == name else "renamed", name, stored, shape, cast))
    roots = {stored.removeprefix(prefix).partition(".")[0] for stored in used}
    for stored, tensor in mapping.tensors.items():
        if stored not in used:
            lines.append(_left_over(stored, tensor, prefix, roots, heads))
    return Reading(mapping.place, prefix, layout.name, tuple(lines), taken, besides)


def _left_over(stored: str, tensor: Tensor, prefix: str, roots: set[str], heads: Sequence[str]) -> TensorLine:
    """A tensor that the network does not have: no harm beside the network, but inside of it another network's."""
    shape = tuple(tensor.shape)
    if not stored.startswith(prefix):
        return TensorLine("left out", stored, stored, shape, "another branch")
    rest = stored.removeprefix(prefix)
    if any(rest == head or rest.startswith(f"{head}.") for head in heads):
        return TensorLine("left out", rest, stored, shape, "classifier")
    if rest.partition(".")[0] in roots and not rest.endswith(HARMLESS):
        return TensorLine("no place", rest, stored, shape)
    return TensorLine("left out", rest, stored, shape, "beside the backbone")


def _count(lines: Sequence[TensorLine], one: str, several: str) -> str:
    return f"1 tensor {one}" if len(lines) == 1 else f"{len(lines):,} tensors {several}"


def _and_more(lines: Sequence[TensorLine]) -> str:
    return "" if len(lines) == 1 else f" ({len(lines) - 1:,} more have another shape)"


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
