"""ISIC 2018 task 3 (HAM10000): dermatoscopic images of seven diagnoses, read from the archives as published."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from harness.api import (
    Augmentation,
    DataError,
    Dataset,
    Download,
    Member,
    MetadataColumn,
    MetadataValue,
    Record,
    RemoteFile,
    category,
    left_out,
    list_images,
    quantity,
    read_table,
)

IMAGES = "ISIC2018_Task3_Training_Input.zip"
LABELS = "ISIC2018_Task3_Training_GroundTruth.zip"
LESIONS = "ISIC2018_Task3_Training_LesionGroupings.csv"
METADATA = ("HAM10000_metadata.csv", "HAM10000_metadata")
"""The metadata of HAM10000 under the names that it has at Kaggle and at its publisher."""
SITE = "dataset"
"""Its column of where an image comes from, which Kaggle's copy lacks."""
METADATA_SOURCE = "https://doi.org/10.7910/DVN/DBW86T"
SOURCE = "https://challenge.isic-archive.com/data/#2018"
STORE = "https://isic-archive.s3.amazonaws.com/challenges/2018"
CLASSES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")


class ISIC2018(Dataset):
    """10,015 dermatoscopic images of 7,470 skin lesions in seven diagnoses: the training part of ISIC 2018 task 3.

    MEL melanoma, NV melanocytic nevus, BCC basal cell carcinoma, AKIEC actinic keratosis or Bowen's disease,
    BKL benign keratosis, DF dermatofibroma, VASC vascular lesion.

    Source: ISIC 2018 challenge, task 3, https://challenge.isic-archive.com/data/#2018; the images are those of
    HAM10000. Licence: CC BY-NC 4.0. Cite N. Codella et al., arXiv:1902.03368, and P. Tschandl et al.,
    doi:10.1038/sdata.2018.161. Download ``ISIC2018_Task3_Training_Input.zip``,
    ``ISIC2018_Task3_Training_GroundTruth.zip`` and ``ISIC2018_Task3_Training_LesionGroupings.csv`` and put them
    into the data root, the archives unopened.

    Where ``HAM10000_metadata.csv`` (or ``HAM10000_metadata``, as its publisher at doi:10.7910/DVN/DBW86T calls it) lies
    beside them, each image has an age, a sex, a localization, how its diagnosis was confirmed (``confirmed``) and the
    site that it comes from: ``rosendahl`` (Australia), ``vidir_modern``, ``vidir_molemax`` and ``vienna_dias``
    (Austria). Kaggle's copy of the table lacks the site.

    A lesion has up to six images, and is the group of each of them; whose lesions they are is not published. The
    challenge's own validation and test images are not read, so there is no official split.
    """

    name = "isic2018"
    title = "ISIC 2018 task 3 (HAM10000)"
    source = "ham10000"
    groups = "known"
    modality = "dermatoscopy"
    licence = "CC BY-NC 4.0"
    citation = (
        "N. Codella et al., Skin Lesion Analysis Toward Melanoma Detection 2018, arXiv:1902.03368, 2019; "
        "P. Tschandl, C. Rosendahl and H. Kittler, The HAM10000 dataset, Scientific Data 5, 180161 (2018), "
        f"doi:10.1038/sdata.2018.161; {SOURCE}"
    )
    # The dermatoscope is put on the skin at any angle: no direction in the image means anything.
    augmentation = Augmentation(flip_horizontal=True, flip_vertical=True, rotate=180.0)

    @property
    def classes(self) -> tuple[str, ...]:
        """Diagnoses, in the order of the columns of the published table."""
        return CLASSES

    @property
    def files(self) -> tuple[str, ...]:
        """Images, labels and lesions."""
        return (IMAGES, LABELS, LESIONS)

    @property
    def optional_files(self) -> tuple[str, ...]:
        """The metadata."""
        return METADATA

    @property
    def downloads(self) -> tuple[Download, ...]:
        """All three, from the public archive; its publisher states no checksums."""
        return tuple(RemoteFile(name, f"{STORE}/{name}") for name in self.files)

    def records(self, root: Path) -> Sequence[Record]:
        """List the images by their number; a case id is ``ISIC_`` and seven digits.

        Raises:
            DataError: a file is missing or damaged, or images, labels and lesions do not belong together.
        """
        images = _images(root / IMAGES)
        labels = _labels(root / LABELS)
        lesions = _lesions(root / LESIONS)
        _require(images, labels, root / IMAGES, f"without a label in {LABELS}")
        _require(labels, images, root / LABELS, f"without an image in {IMAGES}")
        _require(images, lesions, root / IMAGES, f"without a lesion in {LESIONS}")
        known = _metadata(root)
        if known:
            _require(images, known, root / IMAGES, f"without a row in {_table(root)}", METADATA_SOURCE)
        return [
            Record(case, labels[case], images[case].image, group=lesions[case], metadata=known.get(case, {}))
            for case in sorted(images)
        ]

    def columns(self, root: Path) -> Sequence[MetadataColumn]:
        """Site, age, sex, localization, and how the diagnosis was confirmed."""
        table = _table(root)
        lacking = f"neither {METADATA[0]} nor {METADATA[1]} lies beside the archives ({METADATA_SOURCE})"
        no_site = f"{table} has no column {SITE!r}, as Kaggle's copy; the publisher's has one ({METADATA_SOURCE})"
        return [
            MetadataColumn(
                "site", "category", lacking if table is None else "" if _has_site(root / table) else no_site
            ),
            MetadataColumn("age", "number", lacking if table is None else ""),
            *(
                MetadataColumn(name, "category", lacking if table is None else "")
                for name in ("sex", "localization", "confirmed")
            ),
        ]

    def left_out(self, root: Path) -> Mapping[str, int]:
        """Files in the archive of images that are none, such as its licence."""
        return left_out(root / IMAGES, SOURCE)


def _table(root: Path) -> str | None:
    """Name of the table of metadata; of two the one that has the sites."""
    present = [name for name in METADATA if (root / name).exists()]
    return next((name for name in present if _has_site(root / name)), next(iter(present), None))


def _has_site(table: Path) -> bool:
    with table.open("rb") as stream:
        return SITE in stream.readline().decode(errors="replace").strip().split(",")


def _metadata(root: Path) -> dict[str, dict[str, MetadataValue]]:
    """What is known of each image; empty where there is no table."""
    name = _table(root)
    if name is None:
        return {}
    table, known = root / name, {}
    wanted = ("image_id", "age", "sex", "localization", "dx_type", *((SITE,) if _has_site(root / name) else ()))
    for row in read_table(table, wanted, METADATA_SOURCE):
        case = row["image_id"]
        if case in known:
            raise DataError(f"{table}: {case}: occurs in two rows; get it again from {METADATA_SOURCE}")
        values: dict[str, MetadataValue] = {
            "age": quantity(row["age"], f"{table}: {case}: age"),
            "sex": category(row["sex"]),
            "localization": category(row["localization"]),
            "confirmed": category(row["dx_type"]),
        }
        known[case] = values | ({"site": category(row[SITE])} if SITE in row else {})
    if not known:
        raise DataError(f"{table}: has no row; get it again from {METADATA_SOURCE}")
    return known


def _images(archive: Path) -> dict[str, Member]:
    images: dict[str, Member] = {}
    for member in list_images(archive, SOURCE):
        earlier = images.setdefault(member.path.stem, member)
        if earlier is not member:
            raise DataError(
                f"{archive}: {earlier.path} and {member.path} are two images of one name; get it again from {SOURCE}"
            )
    return images


def _labels(archive: Path) -> dict[str, int]:
    values = {}
    for case, row in _by_image(archive, CLASSES).items():
        borne = [name for name in CLASSES if _flag(archive, case, name, row[name])]
        if len(borne) != 1:
            found = " and ".join(borne) or "none"
            raise DataError(f"{archive}: {case}: one diagnosis is expected, found {found}; get it again from {SOURCE}")
        values[case] = CLASSES.index(borne[0])
    return values


def _flag(archive: Path, case: str, column: str, text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value not in (0.0, 1.0):
        raise DataError(f"{archive}: {case}: {column} is {text!r}, neither 0 nor 1; get it again from {SOURCE}")
    return value == 1.0


def _lesions(table: Path) -> dict[str, str]:
    lesions = {case: row["lesion_id"] for case, row in _by_image(table, ("lesion_id",)).items()}
    for case, lesion in lesions.items():
        if not lesion:
            raise DataError(f"{table}: {case}: its lesion_id is empty; get it again from {SOURCE}")
    return lesions


def _by_image(path: Path, columns: Sequence[str]) -> Mapping[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for row in read_table(path, ("image", *columns), SOURCE):
        if row["image"] in rows:
            raise DataError(f"{path}: {row['image']}: occurs in two rows; get it again from {SOURCE}")
        rows[row["image"]] = row
    return rows


def _require(cases: Collection[str], known: Collection[str], place: Path, what: str, source: str = SOURCE) -> None:
    missing = sorted(set(cases) - set(known))
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(f"{place}: {missing[0]}{more}: {what}; get both again from {source}")
