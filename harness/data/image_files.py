"""Image files to RGB: what is taken as it is, and what is refused because the user must decide."""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.core.errors import DataError, one_line
from harness.dataset import MOST_PIXELS, FileImage, ZipImage

if TYPE_CHECKING:
    from PIL import Image

Window: TypeAlias = tuple[float, float]
"""The values that become black and white, the lower one first."""

_ORIENTATION = 0x0112

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""What may be tried; some of Pillow's other formats start programs, or hide that they hold more than 8 bits."""

_WHOLE = ("1", "L", "P", "RGB")
"""Pillow's modes that become 8-bit RGB without a decision of ours."""

_DAMAGE = (OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error)
"""What Pillow raises at damaged files: SyntaxError for PNG, and for other headers whatever they lead to."""

_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")

BYTES_A_PIXEL = 8
"""Memory that decoding takes: Pillow's 4 with 3 of the result, or Pillow's twice while an image is turned."""

MOST_SIDE = 65_535
"""Longest side; resizing one of millions of pixels takes more memory than the image."""

BYTES_A_WINDOWED_PIXEL = 24
"""The same where a window is applied: the file's own, a float64 and its copy, and the result."""

_STRIP = 1 << 20
"""Pixels that are converted at once, so that no second copy of a large image is made."""


class Memory:
    """Bytes that threads may take at once; who asks for more than all of it gets it when it is alone."""

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0
        self._freed = threading.Condition()

    @contextmanager
    def claim(self) -> Iterator[Callable[[int], None]]:
        """A function that takes bytes, to be called once at most: it waits until there are as many."""
        mine = 0

        def take(amount: int) -> None:
            nonlocal mine
            with self._freed:
                self._freed.wait_for(lambda: self._taken == 0 or self._taken + amount <= self._most)
                self._taken += amount
                mine = amount

        try:
            yield take
        finally:
            with self._freed:
                self._taken -= mine
                self._freed.notify_all()


def most_bytes(max_pixels: int) -> int:
    """Most bytes that a file of so many pixels may have: 4 for each, and what else a file may hold."""
    return 4 * max_pixels + (16 << 20)


def too_large(what: str, max_pixels: int) -> str:
    """Why an image is not decoded, and what to do about it."""
    return (
        f"{what}, more than the limit of {max_pixels / 1e6:,.10g} megapixels; make the image smaller, or raise "
        "the limit (`max_megapixels` of image_folder, `max_pixels` of another dataset's plugin)"
    )


def windowed(values: npt.NDArray[Any], window: Window) -> npt.NDArray[np.uint8]:
    """Values as 8 bits: the window's lower end and all below it is 0, its upper end and all above it 255.

    Between them linear, rounded to the nearest. DICOM calls that LINEAR_EXACT (PS3.3 C.11.2.1.3.2), with the centre
    (low + high) / 2 and the width high - low.

    Args:
        values: numbers of any type and shape.
        window: lower and upper end, in units of the values.

    Raises:
        ValueError: a value is not a finite number.
    """
    low, high = window
    scaled = values.astype(np.float64)
    if values.dtype.kind == "f" and not np.isfinite(scaled).all():
        raise ValueError("some values are no finite numbers")
    scaled -= low
    scaled *= 255
    scaled /= high - low
    return np.rint(np.clip(scaled, 0, 255, out=scaled), out=scaled).astype(np.uint8)


@contextmanager
def pillow_prepared(max_pixels: int) -> Iterator[None]:
    """While it lasts, Pillow opens images up to the limit, and it and pydicom make no remarks on odd tags.

    For the whole process: to be entered once around the threads that decode.
    """
    from PIL import Image

    earlier = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(PIL|pydicom)\.")
        Image.MAX_IMAGE_PIXELS = None if earlier is None else max(earlier, max_pixels)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = earlier


def decode_image(
    encoded: bytes,
    name: str,
    max_pixels: int = MOST_PIXELS,
    take: Callable[[int], None] = lambda amount: None,
    window: Window | None = None,
) -> tuple[npt.NDArray[np.uint8], str | None]:
    """Decode an image file (BMP, GIF, JPEG, PNG, TIFF or WebP) to RGB, turned as its EXIF tag says.

    Only what becomes 8-bit RGB without loss is taken: 16-bit, floating-point, CMYK, transparent and animated
    images are refused, because each way to reduce them gives other pixels, and the choice is the user's. Of a
    camera's JPEG with embedded previews (MPO) the picture itself is taken. Colour profiles are not applied.

    Args:
        encoded: the file.
        name: for messages.
        max_pixels: one whose header announces more is refused before it is decoded.
        take: called with the bytes of memory that decoding takes, before it takes them.
        window: how an image of one channel with more than 8 bits becomes 8-bit grey (``windowed``); without it such
            an image is refused, and one of 8 bits stays as it is.

    Returns:
        uint8, shape (height, width, 3), or (height, width) after a window, and a note where the image was turned.

    Raises:
        DataError: not an image, torn, too large, or of a refused kind.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    pixels, turned = None, None
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
            refused = _too_large(image.size, max_pixels)
            if refused is None:
                take((BYTES_A_WINDOWED_PIXEL if window else BYTES_A_PIXEL) * image.width * image.height)
                stored = _raw_modes(image)
                # Before anything else decodes the image: TIFF is turned then, and its tag is gone.
                turned = image.getexif().get(_ORIENTATION)
                deep = _is_deep(image, stored)
                refused = _refused(image, deep, window)
            if refused is None:
                # Nothing is transparent by now; Pillow would warn all the same.
                image.info.pop("transparency", None)
                ImageOps.exif_transpose(image, in_place=True)
                pixels = windowed(np.asarray(image), window) if deep and window else _rgb(image)
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: not an image in any of the formats {', '.join(_FORMATS)}; get it again") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{name}: {too_large(_announced(error), max_pixels)}") from error
    except (*_DAMAGE, MemoryError, RecursionError) as error:
        why = one_line(str(error))[:200] or type(error).__name__
        raise DataError(f"{name}: not a readable image ({why}); get it again") from error
    if pixels is None:
        raise DataError(f"{name}: {refused}")
    return pixels, f"{name}: turned as its EXIF orientation ({turned}) says" if turned in range(2, 9) else None


def _too_large(size: tuple[int, int], max_pixels: int) -> str | None:
    width, height = size
    if width * height > max_pixels:
        return too_large(f"has {width * height / 1e6:,.1f} megapixels ({width:,} × {height:,})", max_pixels)
    if max(size) > MOST_SIDE:
        return f"is {width:,} × {height:,} pixels, and a side may have {MOST_SIDE:,}; cut it into images"
    return None


def _announced(error: Exception) -> str:
    found = re.search(r"\((\d+) pixels\)", str(error))
    return f"has {int(found[1]) / 1e6:,.1f} megapixels" if found else "has too many pixels"


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The image in parts of full width: their first row, and the part."""
    rows = max(1, _STRIP // max(image.width, 1))
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    pixels = np.empty((image.height, image.width, 3), dtype=np.uint8)
    for top, strip in _strips(image):
        part = np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
        if len(part) == len(pixels):
            return part
        pixels[top : top + len(part)] = part
    return pixels


def _is_deep(image: Image.Image, stored: Sequence[str]) -> bool:
    """Whether an image has more than 8 bits a channel; ``stored`` are its raw modes."""
    return image.mode.startswith(("I", "F")) or any("16" in mode for mode in stored)


def _refused(image: Image.Image, deep: bool, window: Window | None) -> str | None:
    """Why an image cannot be taken; None where it can."""
    remedy = "convert it to one 8-bit RGB or grey image first"
    if deep and window is None:
        return f"has more than 8 bits a channel; {remedy}, or state a `window` (image_folder, image_table)"
    if deep and not image.mode.startswith(("I", "F")):
        return f"has more than 8 bits a channel in colour, which no window reads; {remedy}"
    # Not their number: counting those of a GIF decodes them all.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        return f"holds several images; {remedy}"
    if deep:
        return f"has transparent pixels; {remedy}" if "transparency" in image.info else None
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        opaque = all(strip.convert("RGBA").getchannel("A").getextrema()[0] == 255 for _, strip in _strips(image))
        return None if opaque else f"has transparent pixels; {remedy}"
    return None if image.mode in _WHOLE else f"is in {image.mode} colours; {remedy}"


def _raw_modes(image: Image.Image) -> list[str]:
    """How the file stores its pixels; gone once the image is decoded.

    Only this tells a 16-bit colour PNG, which is opened as 8-bit RGB.
    """
    if image.format == "BMP":
        # Its 16 bits are those of three channels together.
        return []
    arguments = [tile[3] for tile in getattr(image, "tile", ())]
    return [str(given[0] if isinstance(given, tuple) else given) for given in arguments]


@dataclass(frozen=True, slots=True)
class WindowedImage:
    """An image file of which a stated window makes 8 bits where it has more."""

    source: FileImage | ZipImage
    window: Window

    def encoded_bytes(self) -> int:
        """Size of the file."""
        return self.source.encoded_bytes()

    def load(self) -> bytes:
        """The file's bytes."""
        return self.source.load()

    def decode(
        self, encoded: bytes, name: str, max_pixels: int, take: Callable[[int], None]
    ) -> tuple[npt.NDArray[np.uint8], str | None]:
        """As ``decode_image``, with the window."""
        return decode_image(encoded, name, max_pixels, take, self.window)
