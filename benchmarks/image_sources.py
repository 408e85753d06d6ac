"""The image files that ``benchmarks.data`` gives to both sides."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from harness.data.cache import default_data_root
from harness.dataset import Dataset, ImageSource, Record, ZipImage
from harness.plugins import discover


class Listed(Dataset):
    """Records that are given; no raw file is looked for."""

    name = title = modality = licence = citation = "listed"
    files = ()

    def __init__(self, images: Sequence[tuple[str, int, ImageSource]], classes: Sequence[str]) -> None:
        super().__init__()
        self.images = images
        self.given = tuple(classes)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.given

    def records(self, root: Path) -> Sequence[Record]:
        return [Record(case_id, label, image) for case_id, label, image in self.images]


@dataclass(frozen=True)
class Sources:
    """The same image files in a zip archive and as a folder of classes."""

    dataset: Listed
    folder: Path
    what: str

    @property
    def count(self) -> int:
        return len(self.dataset.images)


def lay_out(work: Path, images: int, synthetic: bool, extent: tuple[int, int] = (320, 240)) -> Sources:
    """Write an archive of ``images`` files and unpack it; synthetic ones have ``extent`` pixels (width, height)."""
    given = _synthetic(images, extent) if synthetic else _brain_mri(images)
    what = f"{len(given):,} {'synthetic JPEG' if synthetic else 'brain MRI'} images"
    archive, folder = work / "images.zip", work / "unpacked"
    with ZipFile(archive, "w", ZIP_DEFLATED) as opened:
        for member, content in given:
            opened.writestr(member, content)
    with ZipFile(archive) as opened:
        opened.extractall(folder)
    classes = sorted({member.partition("/")[0] for member, _ in given})
    listed = sorted((member for member, _ in given), key=lambda member: member.split("/"))
    records = [(name, classes.index(name.partition("/")[0]), ZipImage(archive, name)) for name in listed]
    return Sources(Listed(records, classes), folder, what)


def _brain_mri(images: int) -> list[tuple[str, bytes]]:
    dataset = discover().find(Dataset, "brain_mri", "benchmark").cls()
    records = dataset.records(default_data_root())
    chosen = records[:: max(1, len(records) // images)][:images]
    return [
        (f"{dataset.classes[int(record.label)]}/{number:06d}.jpg", bytes(record.image.load()))  # type: ignore[arg-type]
        for number, record in enumerate(chosen)
    ]


def _synthetic(images: int, extent: tuple[int, int]) -> list[tuple[str, bytes]]:
    """Smooth colours with a little noise: as large when compressed as a photograph."""
    from PIL import Image

    rng = np.random.default_rng(0)
    given = []
    for number in range(images):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize(extent, Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = (smooth + rng.integers(-8, 9, smooth.shape)).clip(0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
        given.append((f"class{number % 2}/{number:06d}.jpg", buffer.getvalue()))
    return given
