"""What a user's own folder or table probably is, as an entry for the sweep file. Nothing is written."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from harness.core.errors import DataError, RequestError, one_line
from harness.data.decode import UnreadableImagesError, check_records, decode_into, to_rgb
from harness.data.image_files import decode_image
from harness.data.options import with_options
from harness.dataset import Dataset, DecodingSource, Guess, ImageSource, Record, SizedSource
from harness.plugins import Catalogue

FEW = 20
"""A class of fewer images is pointed out: a split of it leaves few to test."""

_MOST_NAMED = 3
_SIDE = 8
"""Images are looked at in this size; what is told of them is taken before."""


@dataclass(frozen=True)
class GuessedEntry:
    """An entry for the sweep file, and what was found on the way."""

    label: str
    dataset: str
    options: dict[str, object]
    root: Path
    """The data root, to which paths in the options are relative."""
    facts: list[str]
    """What is there."""
    odd: list[str]
    """What to look at before training."""
    faults: list[str]
    """Why the entry cannot be used yet; each has its remedy."""

    def to_yaml(self) -> str:
        """The entry, with what was found in comments: it can be pasted into a sweep file as it is."""
        lines = [f"# {fact}" for fact in self.facts]
        lines += [f"# look at: {remark}" for remark in self.odd]
        lines += [f"# cannot be used yet: {fault}" for fault in self.faults]
        lines.append(f"# give every command: --data-root {self.root}")
        entry = {"datasets": [{self.label: {"dataset": self.dataset, **self.options}}]}
        text = yaml.safe_dump(entry, sort_keys=False, allow_unicode=True, width=110)
        return "\n".join([*map(one_line, lines), text.rstrip()])


def guess(
    place: Path, root: Path, catalogue: Catalogue, progress: Callable[[int, int], None] | None = None
) -> GuessedEntry:
    """Ask every dataset whether it can read a folder or file, and look at all images as the first that can would.

    Args:
        place: the folder or file.
        root: the data root, a folder above it.
        catalogue: the plugins.
        progress: called with (done, total) images.

    Raises:
        DataError: no dataset can read it.
    """
    found: list[tuple[type[Dataset], Guess]] = []
    faults = []
    plugins = catalogue.all(Dataset)
    for plugin in plugins.values():
        try:
            one = plugin.cls.guess(root, place)
        except DataError as error:
            faults.append(f"{plugin.name}: {error}")
        else:
            found += [] if one is None else [(plugin.cls, one)]
    if not found:
        why = "; ".join(faults) or f"{place}: neither images nor a table of images; expected CLASS/IMAGE, or a table"
        raise DataError(why)
    cls, one = found[0]
    others = [f"{other.name} could read it too: {json.dumps(dict(what.options))}" for other, what in found[1:]]
    label = _label(place, plugins)
    return _looked_at(
        GuessedEntry(label, cls.name, dict(one.options), root, [], [*one.remarks, *others], []), cls, progress
    )


def _label(place: Path, taken: Collection[str]) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", place.stem if place.is_file() else place.name).strip("._-")[:50] or "own"
    return f"{stem}_own" if stem in taken else stem


def _looked_at(entry: GuessedEntry, cls: type[Dataset], progress: Callable[[int, int], None] | None) -> GuessedEntry:
    """The entry with what its images show."""
    dataset = with_options(cls, entry.options, lambda *keys: ".".join(map(str, (entry.label, *keys))))
    try:
        records = dataset.records(entry.root)
        classes = dataset.find_classes(entry.root)
        check_records(dataset, classes, records)
    except RequestError as error:
        entry.faults.append(str(error))
        return entry
    counts = _borne(records)
    entry.facts.append(_counted(dataset, classes, records, counts))
    entry.odd.extend(_few(classes, counts))
    entry.odd.extend(f"{count:,} left out: {reason}" for reason, count in dataset.left_out(entry.root).items())
    if dataset.groups == "unknown":
        entry.odd.append("which images show one patient is not known; if several do, scores will be too high")
    seen = _Seen()
    watched = [replace(record, image=_Watched(record.image, record.case_id, seen)) for record in records]
    try:
        notes = decode_into(
            np.empty((len(records), _SIDE, _SIDE, 3), dtype=np.uint8), watched, progress, dataset.max_pixels
        ).notes
        entry.odd.extend(_some(notes, "notes on images"))
    except UnreadableImagesError as error:
        entry.faults.extend(_some(error.reasons, "images cannot be read"))
    entry.odd.extend(seen.remarks({record.case_id: record.label for record in records}))
    return entry


def _counted(dataset: Dataset, classes: Sequence[str], records: Sequence[Record], counts: Counter[int]) -> str:
    named = ", ".join(f"{name} {counts[at]:,}" for at, name in enumerate(classes[:20]))
    more = f" and {len(classes) - 20:,} more" if len(classes) > 20 else ""
    groups = len({record.group for record in records} - {None})
    patients = f", {groups:,} patients or groups" if groups else ""
    several = ", several labels an image" if dataset.multi_label else ""
    return f"{len(records):,} images, {len(classes):,} classes ({named}{more}){several}{patients}"


def _borne(records: Sequence[Record]) -> Counter[int]:
    """How many images bear each class."""
    counts: Counter[int] = Counter()
    for record in records:
        label = record.label
        counts.update([label] if isinstance(label, int) else [at for at, borne in enumerate(label) if borne])
    return counts


def _few(classes: Sequence[str], counts: Counter[int]) -> list[str]:
    few = [f"{name} {counts[at]}" for at, name in enumerate(classes) if counts[at] < FEW]
    return [f"classes of fewer than {FEW} images: {', '.join(few)}"] if few else []


def _some(lines: Sequence[str], what: str) -> list[str]:
    rest = len(lines) - _MOST_NAMED
    return [*lines[:_MOST_NAMED], *([f"and {rest:,} more {what}"] if rest > 0 else [])]


@dataclass
class _Seen:
    """Size and content of the images that were decoded."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    contents: dict[bytes, list[str]] = field(default_factory=lambda: defaultdict(list))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, image: npt.NDArray[np.uint8]) -> None:
        """Remember an image; called by several threads."""
        height, width = image.shape[:2]
        digest = hashlib.sha256(repr(image.shape).encode() + to_rgb(image, name).tobytes()).digest()
        with self.lock:
            self.sizes[width, height] += 1
            self.contents[digest].append(name)

    def remarks(self, labels: dict[str, int | tuple[int, ...]]) -> list[str]:
        """What is odd of all images together."""
        found = []
        if len(self.sizes) > 1:
            common = ", ".join(f"{w} × {h} ({times:,})" for (w, h), times in self.sizes.most_common(_MOST_NAMED))
            more = " and others" if len(self.sizes) > _MOST_NAMED else ""
            found.append(f"{len(self.sizes):,} sizes of images: {common}{more}; all are squashed to one square")
        copies = [sorted(names) for names in self.contents.values() if len(names) > 1]
        if copies:
            first = min(copies)
            found.append(
                f"{sum(map(len, copies)):,} images in {len(copies):,} sets of identical ones, such as {first[0]} and "
                f"{first[1]}; each set stays on one side of a split"
            )
        torn = [names for names in copies if len({labels[name] for name in names}) > 1]
        if torn:
            first = min(torn)
            found.append(f"{len(torn):,} of these sets bear different labels, such as {first[0]} and {first[1]}")
        return found


@dataclass(frozen=True)
class _Watched:
    """An image that is remembered when it is decoded."""

    source: ImageSource
    name: str
    seen: _Seen

    def encoded_bytes(self) -> int:
        """Size of its file; 0 of an image without one."""
        return self.source.encoded_bytes() if isinstance(self.source, SizedSource) else 0

    def load(self) -> npt.NDArray[np.uint8] | bytes:
        """As the source."""
        loaded = self.source.load()
        if not isinstance(loaded, bytes):
            self.seen.add(self.name, loaded)
        return loaded

    def decode(
        self, encoded: bytes, name: str, max_pixels: int, take: Callable[[int], None]
    ) -> tuple[npt.NDArray[np.uint8], str | None]:
        """As the source, or as every image file."""
        decode = self.source.decode if isinstance(self.source, DecodingSource) else decode_image
        image, note = decode(encoded, name, max_pixels, take)
        self.seen.add(self.name, image)
        return image, note
