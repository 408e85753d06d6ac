"""Broken files, and broken images in particular: what transfers, programs and attackers make of small valid ones."""

from __future__ import annotations

import io
import random
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

_EXTREMES = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE)


def damaged(content: bytes, draw: random.Random, story: list[str]) -> bytes:
    if len(content) < 4:
        return content
    how = draw.choice(("cut", "flip", "flip", "zeros", "insert", "remove", "tail", "before", "number", "number"))
    at = draw.randrange(len(content))
    story.append(f"{how} at {at}")
    data = bytearray(content)
    if how == "cut":
        return content[:at]
    if how == "flip":
        for _ in range(draw.choice((1, 1, 4, 30))):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif how == "zeros":
        data[at : at + 64] = bytes(len(data[at : at + 64]))
    elif how == "insert":
        data[at:at] = draw.randbytes(draw.choice((1, 7, 300)))
    elif how == "remove":
        del data[at : at + draw.choice((1, 7, 300))]
    elif how == "tail":
        data += data[at:]
    elif how == "before":
        data[:0] = draw.randbytes(draw.choice((1, 22, 400)))
    else:
        # In a zip archive most likely a length, an offset or a method.
        marks = [place for mark in (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06") for place in _places(content, mark)]
        start = draw.choice(marks) + draw.randrange(4, 46) if marks else at
        width = min(draw.choice((2, 4)), len(data) - start)
        if width > 0:
            data[start : start + width] = draw.choice(_EXTREMES).to_bytes(4, "little")[:width]
    return bytes(data)


def _places(content: bytes, mark: bytes) -> list[int]:
    found, at = [], content.find(mark)
    while at >= 0:
        found.append(at)
        at = content.find(mark, at + 1)
    return found


@cache
def _valid_images() -> tuple[bytes, ...]:
    images = [
        (mode, form, options)
        for form, modes in {
            "PNG": ("L", "RGB", "RGBA", "LA", "P", "1", "I;16"), "JPEG": ("L", "RGB", "CMYK"), "GIF": ("P",),
            "BMP": ("L", "RGB"), "TIFF": ("L", "RGB", "CMYK", "I;16", "F"), "WEBP": ("RGB", "RGBA"),
        }.items()
        for mode in modes
        for options in ({}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"})
    ]  # fmt: skip
    return tuple(encoded(Image.new(mode, (13, 9), 1), form, **options) for mode, form, options in images)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def picture(number: int) -> bytes:
    pixels = np.full((12, 10), 128, dtype=np.uint8)
    pixels[0] = number * 7 % 256
    pixels[1, : number % 10] = 0
    return encoded(Image.fromarray(pixels), "PNG")


def odd_image(draw: random.Random, story: list[str]) -> bytes:
    how = draw.choice(("broken", "broken", "broken", "odd", "huge", "pages", "long", "text", "empty", "bomb"))
    story.append(f"image: {how}")
    if how == "huge":
        width, height = (draw.choice((0, 1, 70_000, 20_000, 2**31 - 1)) for _ in range(2))
        return _png_header(width, height)
    if how == "pages":
        pages = [Image.new("L", (4, 3), n) for n in range(draw.choice((2, 60)))]
        return encoded(pages[0], draw.choice(("GIF", "TIFF", "PNG", "WEBP")), save_all=True, append_images=pages[1:])
    if how == "long":
        return encoded(Image.new("1", draw.choice(((1, 60_000), (60_000, 1), (1, 1)))), "PNG")
    if how == "bomb":
        return _png_header(9, 9, zlib.compress(bytes(draw.choice((100, 30_000_000))), 9))
    if how in ("text", "empty"):
        return {"text": b"<svg/>", "empty": b""}[how]
    image = draw.choice(_valid_images())
    return image if how == "odd" else damaged(image, draw, story)


def _png_header(width: int, height: int, content: bytes = b"") -> bytes:
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", content),
        (b"IEND", b""),
    ):
        parts.append(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
    return b"".join(parts)
