"""Image files: what becomes 8-bit RGB without loss is taken as it is, all else is refused by name."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from archives import decoded, encoded, picture, refused, write_zip
from PIL import Image

from harness.data.image_files import decode_image


def png(depth: int, colour: int, rows: bytes, width: int, height: int) -> bytes:
    """A PNG file by the letter of its specification; Pillow cannot write 16-bit colours."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def deep(channels: int, colour: int) -> bytes:
    row = b"\0" + struct.pack(f">{4 * channels}H", *range(60000, 60000 + 4 * channels))
    return png(16, colour, row * 3, 4, 3)


def palette(**options: object) -> bytes:
    image = Image.fromarray(np.array([[0, 1], [1, 2]], dtype=np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    return encoded(image, "PNG", **options)


def pages(form: str) -> bytes:
    return encoded(Image.new("L", (4, 3), 1), form, save_all=True, append_images=[Image.new("L", (4, 3), 9)])


GREY16 = Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000)
ORANGE = (250, 120, 20)

REFUSED: dict[str, tuple[bytes, str]] = {
    "16-bit grey PNG": (encoded(GREY16, "PNG"), "has more than 8 bits a channel"),
    "16-bit colour PNG": (deep(3, 2), "has more than 8 bits a channel"),
    "16-bit grey PNG with alpha": (deep(2, 4), "has more than 8 bits a channel"),
    "16-bit colour PNG with alpha": (deep(4, 6), "has more than 8 bits a channel"),
    "16-bit grey TIFF": (encoded(GREY16, "TIFF"), "has more than 8 bits a channel"),
    "floating-point TIFF": (encoded(Image.new("F", (4, 3), 0.5), "TIFF"), "has more than 8 bits a channel"),
    "CMYK JPEG": (encoded(Image.new("CMYK", (4, 3), (1, 2, 3, 4)), "JPEG"), "is in CMYK colours"),
    "Lab TIFF": (encoded(Image.new("LAB", (4, 3)), "TIFF"), "is in LAB colours"),
    "transparent RGBA": (encoded(Image.new("RGBA", (4, 3), (*ORANGE, 254)), "PNG"), "has transparent pixels"),
    "transparent grey": (encoded(Image.new("LA", (4, 3), (7, 0)), "PNG"), "has transparent pixels"),
    "transparent palette": (palette(transparency=1), "has transparent pixels"),
    "transparent colour": (encoded(Image.new("RGB", (4, 3), ORANGE), "PNG", transparency=ORANGE), "transparent pix"),
    "animated GIF": (pages("GIF"), "holds several images"),
    "animated PNG": (pages("PNG"), "holds several images"),
    "TIFF of two pages": (pages("TIFF"), "holds several images"),
    "torn JPEG": (encoded(Image.effect_noise((40, 40), 50), "JPEG")[:-300], "not a readable image"),
    "another format": (b"P5 2 1 65535 abcd", "not an image in any of the formats BMP, GIF, JPEG"),
}


def image_folder(root: Path, content: bytes) -> None:
    """An archive in which ``b/0.png`` is the given file, whatever its kind, and ``a/0.png`` a good image."""
    write_zip(root / "mine.zip", {"a/0.png": picture(1), "b/0.png": content})


@pytest.mark.parametrize("kind", REFUSED)
def test_images_of_other_kinds_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    content, reason = REFUSED[kind]
    image_folder(tmp_path, content)
    line = refused("image_folder", tmp_path, path="mine.zip")
    assert line.startswith("b/0.png: ") and reason in line and ("convert it" in line or "get it again" in line)


WHOLE: dict[str, tuple[bytes, list[list[tuple[int, int, int]]]]] = {
    "opaque RGBA": (encoded(Image.new("RGBA", (2, 1), (*ORANGE, 255)), "PNG"), [[ORANGE, ORANGE]]),
    "opaque grey with alpha": (encoded(Image.new("LA", (2, 1), (7, 255)), "PNG"), [[(7,) * 3, (7,) * 3]]),
    "palette": (palette(), [[(10, 20, 30), (40, 50, 60)], [(40, 50, 60), (70, 80, 90)]]),
    "unused transparent colour": (
        palette(transparency=9),
        [[(10, 20, 30), (40, 50, 60)], [(40, 50, 60), (70, 80, 90)]],
    ),
    "one bit": (encoded(Image.fromarray(np.array([[True, False]])), "PNG"), [[(255,) * 3, (0,) * 3]]),
    "two bits": (png(2, 0, b"\0\x1b", 4, 1), [[(0,) * 3, (85,) * 3, (170,) * 3, (255,) * 3]]),
    "BMP of 16 bytes a row": (encoded(Image.new("RGB", (5, 1), ORANGE), "BMP"), [[ORANGE] * 5]),
    "packed TIFF": (encoded(Image.new("RGB", (2, 1), ORANGE), "TIFF", compression="tiff_lzw"), [[ORANGE] * 2]),
    "JPEG with previews": (
        encoded(Image.new("L", (2, 1), 128), "MPO", save_all=True, append_images=[Image.new("L", (2, 1), 9)]),
        [[(128,) * 3, (128,) * 3]],
    ),
    "one frame of GIF": (encoded(Image.new("L", (2, 1), 9), "GIF"), [[(9,) * 3, (9,) * 3]]),
}


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.filterwarnings("error")
def test_what_becomes_rgb_without_loss_is_taken_as_it_is(kind: str) -> None:
    content, pixels = WHOLE[kind]
    found, note = decode_image(content, kind)
    assert found.dtype == np.uint8 and found.tolist() == [[list(pixel) for pixel in row] for row in pixels]
    assert note is None


@pytest.mark.parametrize(("form", "mode"), [("PNG", "L"), ("TIFF", "RGB"), ("TIFF", "RGBA"), ("JPEG", "L")])
@pytest.mark.parametrize("orientation", range(1, 10))
def test_a_rotated_image_is_turned_and_noted(form: str, mode: str, orientation: int, tmp_path: Path) -> None:
    upright = np.zeros((32, 32), dtype=np.uint8)
    upright[:16, :16], upright[:16, 16:], upright[16:, :16] = 240, 160, 80
    # How each value of the tag stores the upright image (TIFF 6.0, section 8, tag 274); 9 means nothing.
    stored: Callable[[np.ndarray], np.ndarray] = {
        2: np.fliplr, 3: lambda i: i[::-1, ::-1], 4: np.flipud, 5: np.transpose,
        6: lambda i: np.rot90(i), 7: lambda i: i[::-1, ::-1].T, 8: lambda i: np.rot90(i, -1),
    }.get(orientation, lambda i: i)  # fmt: skip
    tags = Image.Exif()
    tags[0x0112] = orientation
    image_folder(tmp_path, encoded(Image.fromarray(stored(upright).copy()).convert(mode), form, exif=tags))
    data = decoded("image_folder", tmp_path, tmp_path / "cache", path="mine.zip")
    shown = data.images[data.rows["b/0.png"]][:, :, 0].astype(int)
    assert np.abs(shown[4::8, 4::8] - upright[4::8, 4::8]).max() < 4
    turned = f"b/0.png: turned as its EXIF orientation ({orientation}) says"
    assert data.notes == ((turned,) if orientation in range(2, 9) else ())
