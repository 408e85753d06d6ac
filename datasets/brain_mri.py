"""Brain tumour MRI (Kaggle): slices of four classes, read from the archive as it is downloaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.api import (
    Augmentation,
    DataError,
    Dataset,
    Download,
    KaggleFile,
    Member,
    OfficialSplit,
    Record,
    left_out,
    list_images,
    suggestion,
)

ARCHIVE = "brain-tumor-mri-dataset.zip"
HANDLE = "masoudnickparvar/brain-tumor-mri-dataset"
SOURCE = f"https://www.kaggle.com/datasets/{HANDLE}"
SIDES: dict[str, OfficialSplit] = {"Training": "train", "Testing": "test"}
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")


class BrainMRI(Dataset):
    """About 7,023 MRI slices: glioma, meningioma, pituitary tumour, or none.

    Source: M. Nickparvar, Brain Tumor MRI Dataset, Kaggle,
    https://www.kaggle.com/datasets/masoudnickparvar/brain-tumor-mri-dataset, put together from the sets of
    figshare (J. Cheng), SARTAJ and Br35H. Licence: CC0 1.0 as published. Download
    ``brain-tumor-mri-dataset.zip`` and put it into the data root, unopened.

    The archive names no patients, though figshare's part has several slices of each (233 patients, 3,064 slices, as
    J. Cheng's page says). It holds identical images, also across its own Training and Testing folders: a grouped split
    keeps these together, the official one does not.
    """

    name = "brain_mri"
    title = "Brain Tumor MRI (Nickparvar)"
    modality = "brain MRI"
    licence = "CC0 1.0"
    citation = f"M. Nickparvar, Brain Tumor MRI Dataset, Kaggle, 2021, {SOURCE}"
    source = "nickparvar-brain-mri"
    augmentation = Augmentation(flip_horizontal=True, flip_vertical=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders."""
        return CLASSES

    @property
    def files(self) -> tuple[str, ...]:
        """The archive."""
        return (ARCHIVE,)

    @property
    def downloads(self) -> tuple[Download, ...]:
        """The archive, from Kaggle."""
        return (KaggleFile(ARCHIVE, HANDLE),)

    def records(self, root: Path) -> Sequence[Record]:
        """List the images by path; a case id is the path from Training or Testing on.

        Raises:
            DataError: the archive is missing, truncated, or has other folders.
        """
        records: dict[str, Record] = {}
        for member in list_images(root / ARCHIVE, SOURCE):
            record = _record(member)
            if records.setdefault(record.case_id, record) is not record:
                raise DataError(
                    f"{member.archive}: {member.path}: a second image of this name, in another folder; "
                    f"get the archive again from {SOURCE}"
                )
        return [records[case] for case in sorted(records)]

    def left_out(self, root: Path) -> Mapping[str, int]:
        """Files that are no images."""
        return left_out(root / ARCHIVE, SOURCE)


def _record(member: Member) -> Record:
    parts = member.path.parts
    inside = parts if parts[0] in SIDES else parts[1:]
    if len(inside) != 3 or inside[0] not in SIDES:
        raise DataError(
            f"{member.archive}: {member.path}: expected Training/CLASS/IMAGE or Testing/CLASS/IMAGE; see {SOURCE}"
        )
    side, folder, _ = inside
    if folder not in CLASSES:
        raise DataError(
            f"{member.archive}: {member.path}: unknown class folder {folder!r}{suggestion(folder, CLASSES)}"
        )
    return Record("/".join(inside), CLASSES.index(folder), member.image, official=SIDES[side])
