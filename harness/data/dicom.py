"""DICOM files to 8-bit pixels: rescaled, windowed and in RGB or grey, by pydicom's own transforms.

What is done to the stored values follows PS3.3 C.11.1 and C.11.2: the modality transform (rescale or lookup table),
then the window that the user states, or the file's own. MONOCHROME1 is inverted. Palettes and YBR colours become RGB.
Names and numbers of patients are never part of what this module returns, nor of its messages.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.core.errors import DataError, RequestError, one_line, shortened
from harness.core.extras import install
from harness.data.image_files import MOST_SIDE, Window, too_large, windowed
from harness.dataset import FileImage, ZipImage

if TYPE_CHECKING:
    from pydicom.dataset import Dataset as Elements

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
"""Endings of DICOM files, in small letters; capital ones count as well."""

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
"""Endings of volumes, which are not read."""

Frame: TypeAlias = int | Literal["first", "middle", "last"]
"""Which image of a file with several; a number counts from 1."""

_BYTES_A_PIXEL = 40
"""Memory that decoding takes: the stored values, those after each transform as float64, and the result."""
_DEFLATED = "1.2.840.10008.1.2.1.99"
_DECODERS = {
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.50": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.51": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.57": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.70": "pylibjpeg pylibjpeg-libjpeg",
}
"""What to install for a transfer syntax whose decoder is missing."""
_GREY = ("MONOCHROME1", "MONOCHROME2")
_WINDOW_TAGS = ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence")
_MODALITY_TAGS = ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence")

_DAMAGE = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, NotImplementedError),
    *(RuntimeError, MemoryError, AssertionError, struct.error, zlib.error),
)


def is_dicom(path: PurePosixPath) -> bool:
    """Whether a file's name is that of a DICOM file: one of ``DICOM_SUFFIXES``, a number, or no ending at all."""
    ending = path.suffix[1:]
    return path.suffix.lower() in DICOM_SUFFIXES or ending.isdecimal() or (not ending and path.name != "DICOMDIR")


def volume_fault(path: PurePosixPath) -> str | None:
    """Why a file by its name cannot be an image, where it is a volume; None where it is not."""
    if not path.name.lower().endswith(VOLUME_SUFFIXES):
        return None
    return "is a volume, and volumes are not read; write the slices that you want as PNG, or use their DICOM files"


@functools.cache
def damage() -> tuple[type[Exception], ...]:
    """What pydicom and the decoders that it uses raise at damaged files."""
    from PIL.Image import DecompressionBombError
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*_DAMAGE, BytesLengthException, InvalidDicomError, DecompressionBombError)


def check_installed() -> None:
    """Raise RequestError unless pydicom is there."""
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise RequestError(f"DICOM files are read by pydicom, which is not installed; {install('dicom')}") from error


@dataclass(frozen=True, slots=True)
class DicomImage:
    """One image of a DICOM file."""

    source: FileImage | ZipImage
    window: Window | None = None
    """In units of the rescaled values, such as Hounsfield units; None takes the file's own."""
    frame: Frame | None = None
    """None refuses a file with several."""

    def encoded_bytes(self) -> int:
        """Size of the file."""
        return self.source.encoded_bytes()

    def load(self) -> bytes:
        """The file's bytes."""
        return self.source.load()

    def decode(
        self, encoded: bytes, name: str, max_pixels: int, take: Callable[[int], None]
    ) -> tuple[npt.NDArray[np.uint8], str | None]:
        """Decode the file; the note says so where the file itself says that text is burned into its pixels.

        Raises:
            DataError: damaged, too large, without an image or a window, with several frames and none chosen, or
                compressed in a way whose decoder is missing.
        """
        elements = read_elements(io.BytesIO(encoded), name)
        frame = self._checked(elements, name, max_pixels)
        take(_BYTES_A_PIXEL * elements.Rows * elements.Columns)
        try:
            pixels = _pixels(elements, frame, self.window)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        except damage() as error:
            why = shortened(one_line(str(error)), 200) or type(error).__name__
            packages = _DECODERS.get(str(elements.file_meta.TransferSyntaxUID))
            other = f", or try another decoder: pip install {packages}" if packages else ""
            raise DataError(f"{name}: its pixels cannot be read ({why}); get the file again{other}") from error
        burned = str(elements.get("BurnedInAnnotation", "")).upper() == "YES"
        return pixels, f"{name}: says that text is burned into its pixels; look for names" if burned else None

    def _checked(self, elements: Elements, name: str, max_pixels: int) -> int:
        """The number of the frame, from 0; what the header shows to be unreadable is refused."""
        try:
            fault, frame = _fault(elements, self.frame, max_pixels)
        except damage() as error:
            raise DataError(f"{name}: not a readable DICOM file ({type(error).__name__}); get it again") from error
        if fault is not None:
            raise DataError(f"{name}: {fault}")
        return frame


def read_elements(stream: BinaryIO, name: str, tags: list[str] | None = None) -> Elements:
    """The elements of a DICOM file.

    Args:
        stream: the file.
        name: for messages.
        tags: only these, and nothing from the pixels on; None reads all.

    Raises:
        DataError: it is no DICOM file, or one that is compressed as a whole, whose size nothing bounds.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_dataset, read_preamble

    try:
        read_preamble(stream, force=False)
        meta = read_dataset(
            stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group > 2
        )
        deflated = str(meta.get("TransferSyntaxUID", "")) == _DEFLATED
        stream.seek(0)
        elements = None if deflated else dcmread(stream, stop_before_pixels=tags is not None, specific_tags=tags)
    except InvalidDicomError as error:
        raise DataError(f"{name}: not a DICOM file with its header ('DICM' after 128 bytes); get it again") from error
    except damage() as error:
        # Its words may quote an element, such as a name.
        raise DataError(f"{name}: not a readable DICOM file ({type(error).__name__}); get it again") from error
    if elements is None:
        raise DataError(
            f"{name}: is compressed as a whole (deflated), which is not read; convert it to explicit VR first"
        )
    return elements


def _fault(elements: Elements, wanted: Frame | None, max_pixels: int) -> tuple[str | None, int]:
    """Why a file cannot be read, as its header shows, or None; and the number of the frame, from 0."""
    from pydicom.pixels.decoders.base import get_decoder

    if "PixelData" not in elements or "Rows" not in elements or "Columns" not in elements:
        return "holds no image (a report, a plan or a directory?); leave it out with `exclude`", 0
    rows, columns, frames = int(elements.Rows), int(elements.Columns), int(elements.get("NumberOfFrames") or 1)
    if min(rows, columns, frames) < 1:
        return f"announces {rows} × {columns} pixels in {frames} frames; get it again", 0
    if rows * columns > max_pixels:
        return too_large(f"has {rows * columns / 1e6:,.1f} megapixels ({columns:,} × {rows:,})", max_pixels), 0
    if max(rows, columns) > MOST_SIDE:
        return f"is {columns:,} × {rows:,} pixels, and a side may have {MOST_SIDE:,}; cut it into images", 0
    if wanted is None and frames > 1:
        return f"holds {frames} frames; choose one: `dicom: {{frame: middle}}`, or first, last or a number", 0
    if isinstance(wanted, int) and wanted > frames:
        return f"has no frame {wanted}; it holds {frames}", 0
    syntax = elements.file_meta.TransferSyntaxUID
    if syntax.is_compressed:
        try:
            available = get_decoder(syntax).is_available
        except NotImplementedError:
            return f"is compressed in a way that is not read ({syntax.name}); convert it first", 0
        if not available:
            packages = _DECODERS.get(str(syntax), "pylibjpeg pylibjpeg-libjpeg")
            return f"is compressed as {syntax.name}, whose decoder is missing; pip install {packages}", 0
    place = {"first": 1, "middle": (frames + 1) // 2, "last": frames, None: 1}
    return None, (wanted if isinstance(wanted, int) else place[wanted]) - 1


def _pixels(elements: Elements, frame: int, window: Window | None) -> npt.NDArray[np.uint8]:
    """One frame, uint8 of shape (rows, columns) or (rows, columns, 3)."""
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    stored = pixel_array(elements, index=frame)
    kind = str(elements.PhotometricInterpretation)
    if kind in _GREY:
        grey = _grey(stored, of_frame(elements, frame), window)
        return 255 - grey if kind == "MONOCHROME1" else grey
    if kind == "PALETTE COLOR":
        colours = apply_color_lut(stored, elements)
        return np.asarray(colours >> 8 if colours.dtype == np.uint16 else colours).astype(np.uint8)
    if stored.ndim != 3 or not (kind == "RGB" or kind.startswith("YBR")):
        raise DataError(f"is in {shortened(kind)} colours, which are not read; convert it to RGB first")
    if stored.dtype != np.uint8:
        raise DataError("has more than 8 bits a channel in colour, which no window reads; convert it to 8 bits first")
    return stored


def _grey(stored: npt.NDArray[Any], elements: Elements, window: Window | None) -> npt.NDArray[np.uint8]:
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    bits, signed = int(elements.BitsStored), int(elements.PixelRepresentation) == 1
    values = apply_modality_lut(stored, elements)
    if window is not None:
        return windowed(values, window)
    if has_window(elements):
        shown = apply_voi_lut(values, elements)
        return windowed(shown, _range(elements, bits, signed))
    if bits <= 8 and not signed and np.array_equal(values, stored):
        return windowed(stored, (0, 2**bits - 1))
    raise DataError(
        f"has {bits} bits and no window of its own; state one: `window: [low, high]`, in its rescaled values"
    )


def has_window(elements: Elements) -> bool:
    """Whether a file, or what ``of_frame`` gives of it, has a window or lookup table of its own."""
    return bool(elements.get("VOILUTSequence")) or None not in (
        elements.get("WindowCenter"), elements.get("WindowWidth")
    )  # fmt: skip


def _range(elements: Elements, bits: int, signed: bool) -> Window:
    """Least and greatest value that ``apply_voi_lut`` gives."""
    if elements.get("VOILUTSequence"):
        return 0.0, float(2 ** int(elements.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    if elements.get("ModalityLUTSequence"):
        return 0.0, float(2 ** int(elements.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if None not in (elements.get("RescaleSlope"), elements.get("RescaleIntercept")):
        slope, intercept = float(elements.RescaleSlope), float(elements.RescaleIntercept)
        return low * slope + intercept, high * slope + intercept
    return float(low), float(high)


def of_frame(elements: Elements, frame: int) -> Elements:
    """The elements that govern a frame: an enhanced file has rescale and window in its functional groups."""
    from pydicom.dataset import Dataset

    groups = [*(elements.get("SharedFunctionalGroupsSequence") or [])[:1]]
    groups += [*(elements.get("PerFrameFunctionalGroupsSequence") or [])[frame : frame + 1]]
    if not groups:
        return elements
    own = Dataset()
    for name in ("BitsStored", "PixelRepresentation", "PhotometricInterpretation", *_MODALITY_TAGS, *_WINDOW_TAGS):
        if name in elements:
            own[name] = elements[name]
    for group in groups:
        for sequence, names in (
            ("PixelValueTransformationSequence", _MODALITY_TAGS),
            ("FrameVOILUTSequence", _WINDOW_TAGS),
        ):
            for item in (group.get(sequence) or [])[:1]:
                for name in names:
                    if name in item:
                        own[name] = item[name]
    return own
