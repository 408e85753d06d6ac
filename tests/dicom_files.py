"""DICOM files made for tests: header elements and pixels of a test's choice."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pydicom = pytest.importorskip("pydicom")

NAME = "Muster^Erika"
"""A patient's name, which must not appear anywhere."""


def dicom(pixels: npt.NDArray[Any], bits: int = 0, **elements: Any) -> bytes:
    """A file in explicit VR, little endian.

    Args:
        pixels: (rows, columns), (frames, rows, columns), or with 3 channels at the end and ``SamplesPerPixel=3``.
        bits: BitsStored; by default all.
        elements: by keyword.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    colour = elements.get("SamplesPerPixel", 1) == 3
    shape = pixels.shape[:-1] if colour else pixels.shape
    made.Rows, made.Columns = shape[-2:]
    if len(shape) == 3:
        made.NumberOfFrames = shape[0]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "RGB" if colour else "MONOCHROME2"
    if colour:
        made.PlanarConfiguration = 0
    made.BitsAllocated = pixels.dtype.itemsize * 8
    made.BitsStored = bits or made.BitsAllocated
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PatientName, made.PatientID, made.Modality = NAME, "4711", "CT"
    for name, value in elements.items():
        if value is None:
            delattr(made, name)
        else:
            setattr(made, name, value)
    made.PixelData = pixels.tobytes()
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def noise(seed: int, bits: int = 12, shape: tuple[int, ...] = (12, 10)) -> npt.NDArray[np.uint16]:
    """Random pixels of so many bits."""
    return np.random.default_rng(seed).integers(0, 2**bits, shape).astype(np.uint16)
