"""Brain tumour MRI (Kaggle): slices of four classes, read from the archive as it is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile

from harness.dataset import Augmentation, Dataset, OfficialSplit, Record, ZipImage
from harness.errors import DataError, suggestion

ARCHIVE = "brain-tumor-mri-dataset.zip"
SOURCE = "https://www.kaggle.com/datasets/masoudnickparvar/brain-tumor-mri-dataset"
SIDES: dict[str, OfficialSplit] = {"Training": "train", "Testing": "test"}
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
SUFFIXES = (".jpg", ".jpeg", ".png")


class BrainMRI(Dataset):
    """About 7,023 MRI slices: glioma, meningioma, pituitary tumour, or none.

    Source: M. Nickparvar, Brain Tumor MRI Dataset, Kaggle,
    https://www.kaggle.com/datasets/masoudnickparvar/brain-tumor-mri-dataset, put together from the sets of
    figshare (J. Cheng), SARTAJ and Br35H. Licence: CC0 1.0 as published. Download
    ``brain-tumor-mri-dataset.zip`` and put it into the data root, unopened.

    The archive names no patients. It holds identical images, also across its own Training and Testing
    folders: a grouped split keeps these together, the official one does not.
    """

    name = "brain_mri"
    title = "Brain Tumor MRI (Nickparvar)"
    modality = "brain MRI"
    licence = "CC0 1.0"
    citation = f"M. Nickparvar, Brain Tumor MRI Dataset, Kaggle, 2021, {SOURCE}"
    augmentation = Augmentation(flip_horizontal=True, flip_vertical=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders."""
        return CLASSES

    @property
    def files(self) -> tuple[str, ...]:
        """The archive."""
        return (ARCHIVE,)

    def records(self, root: Path) -> Sequence[Record]:
        """List the images by path; a case id is the path from Training or Testing on.

        Raises:
            DataError: the archive is missing, truncated, or has other folders.
        """
        archive = root / ARCHIVE
        try:
            with ZipFile(archive) as opened:
                members = [PurePosixPath(name) for name in opened.namelist()]
        except FileNotFoundError as error:
            raise DataError(f"{archive}: not found; download it from {SOURCE} and put it there") from error
        except BadZipFile as error:
            raise DataError(f"{archive}: truncated or no zip archive ({error}); get it again from {SOURCE}") from error
        images = [m for m in members if m.suffix.lower() in SUFFIXES and not _is_hidden(m)]
        records = sorted((_record(archive, member) for member in images), key=lambda record: record.case_id)
        for label, name in enumerate(CLASSES):
            if all(record.label != label for record in records):
                raise DataError(f"{archive}: no image of class {name!r}; get it again from {SOURCE}")
        return records


def _is_hidden(member: PurePosixPath) -> bool:
    # What macOS adds when it repacks an archive bears image names but holds no image.
    return any(part == "__MACOSX" or part.startswith(".") for part in member.parts)


def _record(archive: Path, member: PurePosixPath) -> Record:
    depth = 0 if member.parts[0] in SIDES else 1
    inside = member.parts[depth:]
    if len(inside) != 3 or inside[0] not in SIDES:
        raise DataError(f"{archive}: {member}: expected Training/CLASS/IMAGE or Testing/CLASS/IMAGE; see {SOURCE}")
    side, folder, _ = inside
    if folder not in CLASSES:
        raise DataError(f"{archive}: {member}: unknown class folder {folder!r}{suggestion(folder, CLASSES)}")
    return Record(
        case_id="/".join(inside),
        label=CLASSES.index(folder),
        image=ZipImage(archive, str(member)),
        official=SIDES[side],
    )
