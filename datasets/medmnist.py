"""The 2D sets of MedMNIST v2, at 28, 64, 128 or 224 pixels, read from the published npz files.

Class names come from the medmnist package's own table, and so does what is said of how sides were made. The package
itself is not imported: it imports torch, and listing plugins must not wait for that. The images are read as a stream:
PathMNIST at 224 pixels has 16 GB. No file names patients.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from harness.api import (
    DAMAGE,
    Augmentation,
    DataError,
    Dataset,
    Download,
    NpyStream,
    OfficialSplit,
    Record,
    RemoteFile,
    RequestError,
    RowImage,
    array_names,
    is_damage,
    reason,
)
from harness.api import Options as DatasetOptions

SOURCE = "https://zenodo.org/records/10519652"
CITATION = f"J. Yang et al., MedMNIST v2, Scientific Data 10, 41 (2023), doi:10.1038/s41597-022-01721-8; {SOURCE}"

_ALL_WAYS = Augmentation(flip_horizontal=True, flip_vertical=True)
_UPRIGHT = Augmentation(flip_horizontal=True, flip_vertical=False)
# The organ sets tell left from right, and a chest has its heart on one side.
_NO_FLIP = Augmentation(flip_horizontal=False, flip_vertical=False)


class MedMNISTOptions(DatasetOptions):
    """Which of the published sizes to read."""

    size: Literal[28, 64, 128, 224] = 28
    """Side of the published images in pixels."""


@dataclass(frozen=True, slots=True)
class _Published:
    """What distinguishes one set from another; class names are in the medmnist package."""

    name: str
    title: str
    modality: str
    images: str
    """Whose images they are, in words."""
    augmentation: Augmentation
    origin: str
    """The same as a short name: the ``source`` of the dataset."""
    patients: str
    """What the set tells of patients, and how its sides were made."""
    by_patient: bool = False
    licence: str = "CC BY 4.0"
    ordinal: bool = False
    multi_label: bool = False


def _plugin(published: _Published) -> type[Dataset]:
    class MedMNIST(Dataset):
        __doc__ = (
            f"{published.title} of MedMNIST v2: {published.modality}.\n\n"
            f"Source: {published.images}. Licence: {published.licence}. Citation: {CITATION}.\n"
            f"Download ``{published.name}.npz`` (28 pixels) or ``{published.name}_SIZE.npz`` (64, 128, 224)\n"
            f"from {SOURCE} and put it into the data root.\n\n"
            f"{published.patients}\n"
        )
        name = published.name
        title = published.title
        modality = published.modality
        licence = published.licence
        citation = CITATION
        ordinal = published.ordinal
        multi_label = published.multi_label
        source = published.origin
        official_by_patient = published.by_patient
        augmentation = published.augmentation
        Options = MedMNISTOptions

        @property
        def classes(self) -> tuple[str, ...]:
            """Class names as in the medmnist package."""
            labels: dict[str, str] = _table()[self.name]["label"]
            return tuple(labels[str(index)] for index in range(len(labels)))

        @property
        def files(self) -> tuple[str, ...]:
            """The npz file of the chosen size."""
            return (f"{self.name}.npz" if self._size == 28 else f"{self.name}_{self._size}.npz",)

        @property
        def downloads(self) -> tuple[Download, ...]:
            """The same, with address and checksum as in the medmnist package."""
            table, suffix = _table()[self.name], "" if self._size == 28 else f"_{self._size}"
            return (RemoteFile(self.files[0], table[f"url{suffix}"], f"md5:{table[f'MD5{suffix}']}"),)

        def records(self, root: Path) -> Sequence[Record]:
            """List train, val and test as published; the images stay in the file until they are loaded.

            Raises:
                DataError: the file is missing, torn, or has another layout.
            """
            labels_each = len(self.classes) if self.multi_label else 1
            return _records(self.name, root / self.files[0], self._size, labels_each)

        def left_out(self, root: Path) -> Mapping[str, int]:
            """Arrays that are not published."""
            return _left_out(root / self.files[0])

        @property
        def _size(self) -> int:
            assert isinstance(self.options, MedMNISTOptions)
            return self.options.size

    MedMNIST.__name__ = MedMNIST.__qualname__ = published.title
    return MedMNIST


@functools.cache
def _table() -> dict[str, dict[str, Any]]:
    package = find_spec("medmnist")
    if package is None or package.origin is None:
        raise RequestError("medmnist: the package is not installed; `pip install medmnist`")
    spec = spec_from_file_location("_gpaf_bench_medmnist_info", Path(package.origin).with_name("info.py"))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    table: dict[str, dict[str, Any]] = module.INFO
    return table


def _records(name: str, path: Path, size: int, labels_each: int) -> list[Record]:
    published: dict[str, int] = _table()[name]["n_samples"]
    records: list[Record] = []
    with _as_published(path):
        for side in get_args(OfficialSplit):
            images, labels = NpyStream(path, f"{side}_images"), NpyStream(path, f"{side}_labels")
            # Before a label is read: what a broken file announces may be more than the memory.
            _check_layout(images, labels, size, labels_each, side)
            if len(images) > published[side]:
                raise ValueError(f"{len(images):,} images in {side}, where {published[side]:,} are published")
            records += [
                Record(f"{name}/{side}/{number:06d}", label, RowImage(images, number), official=side)
                for number, label in enumerate(_labels(labels.whole()))
            ]
    return records


def _left_out(path: Path) -> dict[str, int]:
    with _as_published(path):
        known = {f"{side}_{kind}" for side in get_args(OfficialSplit) for kind in ("images", "labels")}
        others = sum(name not in known for name in array_names(path))
    return {"arrays that MedMNIST does not name": others} if others else {}


@contextmanager
def _as_published(path: Path) -> Iterator[None]:
    """What is wrong with a file, in one line."""
    remedy = f"download {path.name} from {SOURCE} and put it there"
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: not found; {remedy}") from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: a folder where the npz file itself is expected; {remedy}") from error
    except (*DAMAGE, OSError) as error:
        if not is_damage(error):
            raise
        raise DataError(f"{path}: not as published ({reason(error)}); {remedy}") from error


def _labels(labels: npt.NDArray[Any]) -> Iterator[int | tuple[int, ...]]:
    for row in labels.tolist():
        yield row[0] if len(row) == 1 else tuple(row)


def _check_layout(images: NpyStream, labels: NpyStream, size: int, labels_each: int, side: str) -> None:
    fits = images.dtype == np.uint8 and images.shape[1:] in ((size, size), (size, size, 3))
    if not fits or labels.shape != (len(images), labels_each) or labels.dtype.kind not in "ui":
        number = "one label" if labels_each == 1 else f"{labels_each} labels of 0 or 1"
        raise ValueError(
            f"{side}_images {images.dtype} {images.shape}, {side}_labels {labels.dtype} {labels.shape} "
            f"where uint8 images of {size} pixels and {number} each are expected"
        )


PathMNIST = _plugin(
    _Published(
        "pathmnist",
        "PathMNIST",
        "colon pathology",
        "NCT-CRC-HE-100K and CRC-VAL-HE-7K",
        _ALL_WAYS,
        origin="nct-crc",
        by_patient=True,
        patients="The test images are CRC-VAL-HE-7K, of 50 patients of whom none is in NCT-CRC-HE-100K "
        "(doi:10.5281/zenodo.1214456); a tenth of NCT-CRC-HE-100K, drawn by image, is the validation side. Which "
        "patches show the same patient is not published.",
    )
)
DermaMNIST = _plugin(
    _Published(
        "dermamnist",
        "DermaMNIST",
        "dermatoscopy",
        "HAM10000",
        _ALL_WAYS,
        licence="CC BY-NC 4.0",
        origin="ham10000",
        patients="HAM10000 names the lesion of each image, the npz file does not. The images were divided 7:1:2 "
        "without regard to lesions. The dataset isic2018 has the same images with their lesions.",
    )
)
OCTMNIST = _plugin(
    _Published(
        "octmnist",
        "OCTMNIST",
        "retinal OCT",
        "Kermany et al., Cell 2018",
        _UPRIGHT,
        origin="kermany-oct",
        by_patient=True,
        patients="The test images are those that the source holds out, which it says are of other patients "
        "(doi:10.17632/rscbjbr9sj); a tenth of its training images, drawn by image, is the validation side. The "
        "source's file names tell the patient, the npz file does not.",
    )
)
PneumoniaMNIST = _plugin(
    _Published(
        "pneumoniamnist",
        "PneumoniaMNIST",
        "chest X-ray",
        "Kermany et al., Cell 2018",
        _NO_FLIP,
        origin="kermany-chest",
        patients="The images show children of one to five years; some have several. The test images are those that "
        "the source holds out; whether these are of other patients is not certain, so it counts as unknown.",
    )
)
RetinaMNIST = _plugin(
    _Published(
        "retinamnist",
        "RetinaMNIST",
        "fundus photography",
        "DeepDRiD challenge",
        _UPRIGHT,
        ordinal=True,
        origin="deepdrid",
        patients="DeepDRiD has several photographs of a patient, of both eyes; the npz file names nobody. The test "
        "images are the challenge's validation set; whether that is of other patients is not certain, so it counts as "
        "unknown.",
    )
)
BreastMNIST = _plugin(
    _Published(
        "breastmnist",
        "BreastMNIST",
        "breast ultrasound",
        "Al-Dhabyani et al., Data in Brief 2020",
        _UPRIGHT,
        origin="busi",
        patients="BUSI has 780 images of 600 patients and does not name them (doi:10.1016/j.dib.2019.104863). The "
        "images were divided 7:1:2.",
    )
)
BloodMNIST = _plugin(
    _Published(
        "bloodmnist",
        "BloodMNIST",
        "blood cell microscopy",
        "Acevedo et al., Data in Brief 2020",
        _ALL_WAYS,
        origin="acevedo-blood-cells",
        patients="Many cells come from one donor; whose they are is not published. The images were divided 7:1:2.",
    )
)
TissueMNIST = _plugin(
    _Published(
        "tissuemnist",
        "TissueMNIST",
        "kidney cortex microscopy",
        "BBBC051",
        _ALL_WAYS,
        origin="bbbc051",
        patients="All cells come from three specimens; the npz file does not say which from which. The images were "
        "divided 7:1:2.",
    )
)
_SCANS = (
    "The sides are of different CT scans: 115 and 16 of the training scans of LiTS for training and validation, its 70 "
    "test scans for testing. Which slices are of one scan is not published. OrganAMNIST, OrganCMNIST and OrganSMNIST "
    "are slices of the same scans."
)


def _organs(name: str, title: str, plane: str) -> type[Dataset]:
    modality = f"abdominal CT, {plane}"
    return _plugin(_Published(name, title, modality, "LiTS benchmark", _NO_FLIP, "lits", _SCANS, by_patient=True))


OrganAMNIST = _organs("organamnist", "OrganAMNIST", "axial")
OrganCMNIST = _organs("organcmnist", "OrganCMNIST", "coronal")
OrganSMNIST = _organs("organsmnist", "OrganSMNIST", "sagittal")
ChestMNIST = _plugin(
    _Published(
        "chestmnist",
        "ChestMNIST",
        "chest X-ray",
        "NIH-ChestXray14",
        _NO_FLIP,
        multi_label=True,
        origin="nih-chestxray14",
        by_patient=True,
        patients="The sides are the official ones of the source, 112,120 images of 30,805 patients, which it divides "
        "by patient. Its table names the patients, the npz file does not.",
    )
)
