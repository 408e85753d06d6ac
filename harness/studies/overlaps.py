"""Images that two datasets of a sweep share, and tested images that a backbone is trained on first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from harness.core.errors import RequestError
from harness.data.copies import near_copies
from harness.data.decoded import DecodedDataset
from harness.data.overlap import MOST_NAMED, IdenticalImages, find_identical
from harness.data.split import Split, in_distribution_rows, indices
from harness.pages.overlaps import backbone_leak
from harness.run.data_records import BackboneOverlap, DatasetOverlap, OverlapsRecord
from harness.spec.sections import SweepSpec
from harness.studies.study import PreparedDataset, Source, Study

Rows = npt.NDArray[np.int64]
Progress = Callable[[str, int, int], None]


def find_overlaps(
    spec: SweepSpec, studies: Sequence[Study], cache: Path, progress: Progress | None = None
) -> OverlapsRecord:
    """Which images any two datasets of a sweep share, and which tested images its backbones are trained on first.

    Identical images are found by the digests of their pixels, which decoding has taken. Nearly identical ones are
    looked for where ``split.near_duplicates`` asks for that; what is found of two datasets is kept in the cache by
    their content. Tasks of one dataset are no pair.

    Args:
        spec: of the sweep.
        studies: all of it.
        cache: folder of the decoded datasets.
        progress: called with what is compared and (done, total) steps, while near-duplicates are looked for.

    Raises:
        RequestError: a backbone is trained on images that are tested, and ``split.allow_leakage`` gives no reason; or
            what the cache holds is damaged.
    """
    look = _Look(cache, progress) if spec.split.near_duplicates else None
    backbones = list(_backbones(spec, studies, look))
    reason = spec.split.allow_leakage
    for place, leak in backbones:
        # Near-duplicates cannot be told exactly, so they stop nothing.
        if reason is None and leak["identical"]:
            raise RequestError(
                f"{place}: {backbone_leak(leak)}; train it on other images, or say in "
                '`split.allow_leakage: "..."` why this may be'
            )
    return {
        "datasets": list(_pairs(spec, studies, look)),
        "backbones": [leak for _, leak in backbones],
        "allow_leakage": reason,
    }


@dataclass(frozen=True)
class _Look:
    """A search for nearly identical images in two datasets."""

    cache: Path
    progress: Progress | None

    def near(self, first: DecodedDataset, second: DecodedDataset, names: tuple[str, str]) -> Rows:
        """Shape (pairs, 2): a row of the first and one of the second."""
        report = self.progress
        said = f"{names[1]}: copies of {names[0]}"
        return near_copies(
            first, second, self.cache, None if report is None else lambda done, total: report(said, done, total)
        )


def _pairs(spec: SweepSpec, studies: Sequence[Study], look: _Look | None) -> Iterable[DatasetOverlap]:
    """Every two datasets of the sweep file that share images, in its order."""
    datasets: dict[str, PreparedDataset] = {}
    for study in studies:
        datasets.setdefault(spec.in_file(study.dataset.label), study.dataset)
    identical = find_identical({label: one.data.records for label, one in datasets.items()})
    labels = list(datasets)
    for at, first in enumerate(labels):
        for second in labels[at + 1 :]:
            one, other = datasets[first], datasets[second]
            same = identical.get((first, second), IdenticalImages(0, 0, ()))
            near = None if look is None else look.near(one.data, other.data, (first, second))
            if same.first or (near is not None and len(near)):
                yield {
                    "datasets": [first, second],
                    "sources": [one.dataset.source, other.dataset.source],
                    "identical": [same.first, same.second],
                    "near": None if near is None else _further(near, one.data.records, other.data.records),
                    "named": _named(same, near, one.data, other.data),
                }


def _further(near: Rows, first: pl.DataFrame, second: pl.DataFrame) -> list[int]:
    """How many images of each of two datasets the other has nearly, and not exactly."""
    return [_only_near(near[:, 0], first, second), _only_near(near[:, 1], second, first)]


def _only_near(rows: Rows, records: pl.DataFrame, others: pl.DataFrame) -> int:
    """How many images some rows are whose pixels are not among others."""
    pixels = records["pixels"].gather(np.unique(rows))
    return int((~pixels.is_in(others["pixels"].implode())).sum())


def _named(same: IdenticalImages, near: Rows | None, first: DecodedDataset, second: DecodedDataset) -> list[list[str]]:
    """Case ids of the first few pairs, identical ones first."""
    pairs = [] if near is None else near[:MOST_NAMED].tolist()
    return [*map(list, same.named), *([first.case_ids[a], second.case_ids[b]] for a, b in pairs)][:MOST_NAMED]


def _backbones(spec: SweepSpec, studies: Sequence[Study], look: _Look | None) -> Iterable[tuple[str, BackboneOverlap]]:
    """Every backbone that sees tested images, with where the sweep file has its dataset; tasks of a dataset are one."""
    groups: dict[tuple[str, str], list[tuple[Study, Source]]] = {}
    for study in studies:
        if study.source is not None:
            key = study.source.identity, spec.in_file(study.dataset.label)
            groups.setdefault(key, []).append((study, study.source))
    for (_, label), members in groups.items():
        study, source = members[0]
        leak = _leak(label, source, [one.dataset for one, _ in members], look)
        if leak is not None:
            yield _place(spec, study), leak


def _leak(label: str, source: Source, tasks: Sequence[PreparedDataset], look: _Look | None) -> BackboneOverlap | None:
    """What a backbone sees of the images that are tested in any split of any task of a dataset."""
    first, second = source.dataset.data, tasks[0].data
    train, val, _ = indices(source.dataset.split, first)
    seen = np.concatenate([train, val])
    tested = np.unique(np.concatenate([_tested(split, second) for one in tasks for split in one.splits]))
    sets = {"seen": first.records[seen], "tested": second.records[tested]}
    same = find_identical(sets).get(("seen", "tested"), IdenticalImages(0, 0, ()))
    near = None
    if look is not None:
        found = look.near(first, second, (source.dataset.dataset.name, label))
        near = found[np.isin(found[:, 0], seen) & np.isin(found[:, 1], tested)]
    further = None if near is None else _only_near(near[:, 1], second.records, sets["seen"])
    if not same.second and not further:
        return None
    return {
        "backbone": source.dataset.dataset.name,
        "dataset": label,
        "test": len(tested),
        "identical": same.second,
        "near": further,
        "named": _named(same, near, first, second),
    }


def _tested(split: Split, data: DecodedDataset) -> Rows:
    """Rows that a trained model is scored on."""
    return np.concatenate([indices(split, data)[2], in_distribution_rows(split, data)])


def _place(spec: SweepSpec, study: Study) -> str:
    """Where the sweep file says which dataset the backbone of a study is trained on."""
    if spec.methods[study.label].backbone is not None:
        section = f"methods.{study.label}.backbone"
    elif study.task is not None and study.task.backbone is not None:
        section = f"backbones.{study.task.backbone}"
    else:
        section = "backbone"
    return f"{section}.weights.dataset"
