"""Groups and metadata of a user's own images from the headers of DICOM files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from harness.api import DICOM_COLUMNS, DataError, DicomImage, MetadataColumn, Record, check_installed, read_facts

from ._own_options import OwnImagesOptions

_SAME = 3
"""From so many images on, a single patient is taken for a trace of de-identification."""


class PatientsUnknownError(DataError):
    """The headers do not tell patients apart."""


def header_columns(options: OwnImagesOptions, own: Collection[str]) -> list[MetadataColumn]:
    """The columns of metadata that headers give: not those of a user's own table, nor the window where it is stated."""
    if options.dicom is None:
        return []
    taken = {*own, *(("window",) if options.window is not None else ())}
    return [column for column in DICOM_COLUMNS if column.name not in taken]


def with_headers(
    place: Path, records: Sequence[Record], options: OwnImagesOptions, own: Collection[str], grouped: bool
) -> list[Record]:
    """The records with what the headers of their files say; the same where no DICOM files are read.

    A patient is called by a number in the order of the records: nothing leads back from it to the PatientID.

    Args:
        place: of the images, for messages.
        records: of the dataset, in their order.
        options: of the dataset.
        own: names of the columns of metadata that the user's own table gives.
        grouped: whether the records have their patients already.

    Raises:
        RequestError: pydicom is not installed.
        PatientsUnknownError: the patients that headers should name are not there.
        DataError: a header cannot be read.
    """
    if options.dicom is None:
        return [*records]
    check_installed()
    patients, names = options.dicom.patients and not grouped, [column.name for column in header_columns(options, own)]
    numbers: dict[str, str] = {}
    found = []
    for record in records:
        image, known, group = record.image, dict(record.metadata), record.group
        patient = None
        if isinstance(image, DicomImage):
            facts = read_facts(image.source, f"{place}: {record.case_id}")
            known = {**{name: facts.metadata[name] for name in names}, **known}
            patient = facts.patient
        if patients:
            if patient is None:
                what = (
                    "has no PatientID"
                    if isinstance(image, DicomImage)
                    else "is no DICOM file, so its patient is unknown"
                )
                raise PatientsUnknownError(f"{place}: {record.case_id}: {what}; {_remedy()}")
            group = numbers.setdefault(patient, f"patient {len(numbers) + 1}")
        found.append(replace(record, metadata=known, group=group))
    if patients and len(numbers) == 1 and len(found) >= _SAME:
        raise PatientsUnknownError(
            f"{place}: all {len(found):,} files have one PatientID (de-identified?); {_remedy()}"
        )
    return found


def _remedy() -> str:
    return (
        "write `dicom: {patients: false}` and name patients otherwise (`group_pattern` of image_folder, `patient` of "
        "image_table), or leave them unknown"
    )
