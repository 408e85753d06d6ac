"""What a sweep needs from elsewhere before it can run without a network: weights, and the files of its datasets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.data.options import with_options
from harness.dataset import Dataset
from harness.plugins import Catalogue
from harness.spec.entries import BackboneSpec, DatasetSpec
from harness.spec.sections import SweepSpec
from harness.studies.evaluations import external_datasets


@dataclass(frozen=True)
class NeededFiles:
    """The raw files of a dataset."""

    label: str
    dataset: str
    missing: tuple[str, ...]
    """Those that the data root lacks."""
    downloads: bool
    """Whether a program may download them."""


def needed_weights(spec: SweepSpec) -> list[BackboneSpec]:
    """Every backbone of a sweep that starts from weights of elsewhere, each once, the sweep's own first."""
    found: list[BackboneSpec] = []
    for _, backbone in spec.networks():
        if isinstance(backbone.weights, str) and backbone not in found:
            found.append(backbone)
    return found


def needed_files(spec: SweepSpec, catalogue: Catalogue, data_root: Path) -> Iterator[NeededFiles]:
    """The raw files of each dataset of a sweep, of each that a backbone is trained on first, and of evaluations.

    Args:
        spec: as loaded.
        catalogue: the plugins found.
        data_root: folder of the raw archives.

    Raises:
        RequestError: there is no such dataset, or it has no such options.
    """
    listed = {spec.in_file(label): entry for label, entry in spec.datasets.items()}
    entries = [(f"datasets.{label}", label, entry) for label, entry in listed.items()]
    entries += [(".".join((*way, "dataset")), source.dataset.dataset, source.dataset) for way, source in spec.sources()]
    entries += [
        (place(), name, DatasetSpec(dataset=one.dataset, options=dict(one.options)))
        for name, one, place in external_datasets(spec.evaluate, catalogue)
    ]
    for place, label, entry in entries:
        plugin = catalogue.find(Dataset, entry.dataset, place)
        dataset = with_options(plugin.cls, entry.options, lambda *keys, at=place: ".".join((at, *map(str, keys))))
        missing = tuple(name for name in dataset.files if not (data_root / name).exists())
        yield NeededFiles(label, plugin.name, missing, bool(dataset.downloads))
