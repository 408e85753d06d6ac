"""What the header of a DICOM file says of patient, study and acquisition, without anything that names a person."""

from __future__ import annotations

import io
import re
from collections.abc import MutableSequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from harness.core.errors import DataError
from harness.data.dicom import damage, has_window, of_frame, read_elements
from harness.dataset import FileImage, MetadataColumn, MetadataValue, ZipImage

if TYPE_CHECKING:
    from pydicom.dataset import Dataset as Elements

DICOM_COLUMNS = (
    MetadataColumn("modality", "category"),
    MetadataColumn("manufacturer", "category"),
    MetadataColumn("study_year", "number"),
    MetadataColumn("sex", "category"),
    MetadataColumn("age", "number"),
    MetadataColumn("burned_in", "category"),
    MetadataColumn("window", "category"),
)
"""Columns of metadata that headers give: Modality, Manufacturer, the year of StudyDate, PatientSex, PatientAge in years
(90 for all above), BurnedInAnnotation, and the file's own window as centre/width or ``lookup table``."""

_TAGS = [
    *("PatientID", "IssuerOfPatientID", "Modality", "Manufacturer", "StudyDate", "PatientSex", "PatientAge"),
    *("BurnedInAnnotation", "WindowCenter", "WindowWidth", "VOILUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
_AGE = re.compile(r"([0-9]{1,3})([DWMY])")
_DAYS = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}
_OLDEST = 90.0


@dataclass(frozen=True, slots=True)
class DicomFacts:
    """What one header says."""

    patient: str | None = field(repr=False)
    """PatientID with its issuer, to tell patients apart: never to be stored or shown. None where it is empty."""
    metadata: dict[str, MetadataValue]
    """Of ``DICOM_COLUMNS``."""


def read_facts(source: FileImage | ZipImage, name: str) -> DicomFacts:
    """Read the header of a DICOM file; of a file in a folder, nothing after it.

    Args:
        source: the file.
        name: for messages.

    Raises:
        DataError: it is missing or no DICOM file.
        OSError: the file system does not give it.
    """
    with _opened(source) as stream:
        elements = read_elements(stream, name, _TAGS)
    try:
        return _facts(elements)
    except damage() as error:
        raise DataError(f"{name}: a header that cannot be read ({type(error).__name__}); get the file again") from error


def _opened(source: FileImage | ZipImage) -> AbstractContextManager[BinaryIO]:
    if isinstance(source, FileImage):
        source.encoded_bytes()
        return source.path.open("rb")
    return closing(io.BytesIO(source.load()))


def _facts(elements: Elements) -> DicomFacts:
    patient = _word(elements, "PatientID")
    issuer = _word(elements, "IssuerOfPatientID") or ""
    year = re.match(r"(?:19|20)[0-9]{2}", _word(elements, "StudyDate") or "")
    burned = {"YES": "yes", "NO": "no"}.get((_word(elements, "BurnedInAnnotation") or "").upper())
    return DicomFacts(
        None if patient is None else f"{issuer}\0{patient}",
        {
            "modality": _word(elements, "Modality"),
            "manufacturer": _word(elements, "Manufacturer"),
            "study_year": None if year is None else float(year[0]),
            "sex": _word(elements, "PatientSex"),
            "age": _age(_word(elements, "PatientAge") or ""),
            "burned_in": burned,
            "window": _window(of_frame(elements, 0)),
        },
    )


def _word(elements: Elements, name: str) -> str | None:
    text = " ".join(str(elements.get(name) or "").split())
    return text[:64] or None


def _age(text: str) -> float | None:
    """Years; all from 90 on are 90, because so old a patient may be known by that."""
    found = _AGE.fullmatch(text.upper())
    return None if found is None else min(round(int(found[1]) * _DAYS[found[2]] / _DAYS["Y"], 2), _OLDEST)


def _window(elements: Elements) -> str | None:
    if not has_window(elements):
        return None
    if elements.get("VOILUTSequence"):
        return "lookup table"
    centre, width = (_first(elements[name].value) for name in ("WindowCenter", "WindowWidth"))
    return f"{centre:g}/{width:g}"


def _first(value: Any) -> float:
    """The first of several windows, or the only one."""
    return float(value[0] if isinstance(value, MutableSequence) else value)
