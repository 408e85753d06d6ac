"""Image files to RGB: what is taken as it is, and what is refused because the user must decide."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.errors import DataError, one_line

if TYPE_CHECKING:
    from PIL import Image

_ORIENTATION = 0x0112

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""What may be tried; some of Pillow's other formats start programs, or hide that they hold more than 8 bits."""

_WHOLE = ("1", "L", "P", "RGB")
"""Pillow's modes that become 8-bit RGB without a decision of ours."""

_DAMAGE = (OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error)
"""What Pillow raises at damaged files: SyntaxError for PNG, and for other headers whatever they lead to."""

_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


def decode_image(encoded: bytes, name: str) -> tuple[npt.NDArray[np.uint8], str | None]:
    """Decode an image file (BMP, GIF, JPEG, PNG, TIFF or WebP) to RGB, turned as its EXIF tag says.

    Only what becomes 8-bit RGB without loss is taken: 16-bit, floating-point, CMYK, transparent and animated
    images are refused, because each way to reduce them gives other pixels, and the choice is the user's. Of a
    camera's JPEG with embedded previews (MPO) the picture itself is taken. Colour profiles are not applied.

    Args:
        encoded: the file.
        name: for messages.

    Returns:
        uint8, shape (height, width, 3), and a note where the image was turned.

    Raises:
        DataError: not an image, torn, or of a refused kind.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
            stored = _raw_modes(image)
            # Before anything else decodes the image: TIFF is turned then, and its tag is gone.
            turned = image.getexif().get(_ORIENTATION)
            refused = _refused(image, stored)
            # Nothing is transparent by now; Pillow would warn all the same.
            image.info.pop("transparency", None)
            pixels = None if refused else np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: not an image in any of the formats {', '.join(_FORMATS)}; get it again") from error
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        raise DataError(f"{name}: not a readable image ({one_line(str(error))}); get it again") from error
    if pixels is None:
        raise DataError(f"{name}: {refused}; convert it to one 8-bit RGB or grey image first")
    return pixels, f"{name}: turned as its EXIF orientation ({turned}) says" if turned in range(2, 9) else None


def _refused(image: Image.Image, stored: Sequence[str]) -> str | None:
    """Why an image cannot be taken; None where it can. ``stored`` are its raw modes."""
    if image.mode.startswith(("I", "F")) or any("16" in mode for mode in stored):
        return "has more than 8 bits a channel"
    frames = int(getattr(image, "n_frames", 1))
    if frames > 1 and image.format != "MPO":
        return f"holds {frames} images"
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
        return "has transparent pixels" if alpha.getextrema()[0] != 255 else None
    return None if image.mode in _WHOLE else f"is in {image.mode} colours"


def _raw_modes(image: Image.Image) -> list[str]:
    """How the file stores its pixels; gone once the image is decoded.

    Only this tells a 16-bit colour PNG, which is opened as 8-bit RGB.
    """
    if image.format == "BMP":
        # Its 16 bits are those of three channels together.
        return []
    arguments = [tile[3] for tile in getattr(image, "tile", ())]
    return [str(given[0] if isinstance(given, tuple) else given) for given in arguments]
