"""Pictures of a dataset: a sample of each class, and pairs of images side by side. Drawn the same everywhere.

They have no ground and grey letters, so that they suit light and dark pages alike (contrast above 4 on both).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from harness.core.errors import one_line
from harness.data.card import MOST_CLASSES, MOST_PAIRS, borne_classes
from harness.data.split import Split, indices

if TYPE_CHECKING:
    from harness.data.audit import ImagePair
    from harness.data.decoded import DecodedDataset

_INK = (122, 122, 122, 255)
_CLEAR = (0, 0, 0, 0)
_GAP = 6
_TILE = 98  # pixels; six of them and their gaps take the width of a page's text
_PAIR_TILE = 146
_HEADING, _LINE = 26, 17
"""Heights in pixels of a heading and of a line below an image."""


def sample_grid(data: DecodedDataset, split: Split, per_class: int = 6) -> bytes:
    """Training images of each class as PNG: a row a class, under its name.

    Only the training side is shown. Which images is drawn from their case ids alone, so that the same cases are
    shown of a copy of the dataset. Of more than ``MOST_CLASSES`` classes the first are shown.
    """
    train = indices(split, data)[0]
    borne = borne_classes(data)
    classes = data.classes[:MOST_CLASSES]
    row_height = _HEADING + _TILE + _GAP
    canvas = Image.new("RGBA", (per_class * (_TILE + _GAP) - _GAP, len(classes) * row_height), _CLEAR)
    draw = ImageDraw.Draw(canvas)
    heading = _font("DejaVuSans-Bold.ttf", 18)
    for number, name in enumerate(classes):
        top = number * row_height
        rows = train[borne[train, number]].tolist()
        shown = sorted(rows, key=lambda row: draw_key(data.case_ids[row]))[:per_class]
        title = one_line(name) if shown else f"{one_line(name)}: no training image"
        draw.text((0, top), _shortened(title, heading, canvas.width), _INK, font=heading)
        for column, row in enumerate(shown):
            canvas.paste(_tile(data.images[row], _TILE), (column * (_TILE + _GAP), top + _HEADING))
    return _png(canvas)


def pair_picture(data: DecodedDataset, pairs: Sequence[ImagePair]) -> bytes:
    """Pairs of images side by side as PNG, numbered from 1, two pairs a row; at most ``MOST_PAIRS``.

    Below each image stand the end of its case id, its side and its label.

    Raises:
        KeyError: a pair names a case that is not in the data.
    """
    pairs = pairs[:MOST_PAIRS]
    block_width, block_height = 2 * _PAIR_TILE + 2, _HEADING + _PAIR_TILE + 2 * _LINE + 3 * _GAP
    width = 2 * block_width + 4 * _GAP
    canvas = Image.new("RGBA", (width, max(1, -(-len(pairs) // 2) * block_height)), _CLEAR)
    draw = ImageDraw.Draw(canvas)
    heading, text = _font("DejaVuSans-Bold.ttf", 16), _font("DejaVuSans.ttf", 13)
    for number, pair in enumerate(pairs):
        left, top = number % 2 * (block_width + 4 * _GAP), number // 2 * block_height
        kind = "identical" if pair.kind == "identical" else f"near, {pair.similarity:.3f}"
        if pair.conflicting:
            kind += ", two labels"
        draw.text((left, top), f"{number + 1}  {kind}", _INK, font=heading)
        for case_id, side, label in zip((pair.first, pair.second), pair.sides, pair.labels, strict=True):
            canvas.paste(_tile(data.images[data.rows[case_id]], _PAIR_TILE), (left, top + _HEADING))
            below = top + _HEADING + _PAIR_TILE + _GAP // 2
            for line, words in enumerate((case_id, f"{side} · {label}")):
                shown = _shortened(one_line(words), text, _PAIR_TILE - _GAP, keep_end=line == 0)
                draw.text((left, below + line * _LINE), shown, _INK, font=text)
            left += _PAIR_TILE + 2
    return _png(canvas)


def case_grid(data: DecodedDataset, cases: Sequence[tuple[str, str]]) -> bytes:
    """Single cases as PNG, four a row: below each image stand the end of its case id, and words.

    Args:
        data: has the images.
        cases: case id and words, at least one.

    Raises:
        KeyError: a case is not in the data.
    """
    columns, height = 4, _PAIR_TILE + 2 * _LINE + 3 * _GAP
    canvas = Image.new("RGBA", (columns * (_PAIR_TILE + _GAP) - _GAP, -(-len(cases) // columns) * height), _CLEAR)
    draw, text = ImageDraw.Draw(canvas), _font("DejaVuSans.ttf", 13)
    for number, (case_id, words) in enumerate(cases):
        left, top = number % columns * (_PAIR_TILE + _GAP), number // columns * height
        canvas.paste(_tile(data.images[data.rows[case_id]], _PAIR_TILE), (left, top))
        for line, said in enumerate((case_id, words)):
            shown = _shortened(one_line(said), text, _PAIR_TILE - _GAP, keep_end=line == 0)
            draw.text((left, top + _PAIR_TILE + _GAP // 2 + line * _LINE), shown, _INK, font=text)
    return _png(canvas)


def draw_key(case_id: str) -> bytes:
    """By which cases are drawn for pictures: the same ones of a copy of the dataset."""
    return hashlib.sha256(f"sample/{case_id}".encode()).digest()


def _tile(image: npt.NDArray[np.uint8], side: int) -> Image.Image:
    """An image at the size of a tile; one that is enlarged shows its pixels."""
    way = Image.Resampling.NEAREST if image.shape[0] < side else Image.Resampling.BILINEAR
    return Image.fromarray(np.asarray(image)).resize((side, side), way)


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font that matplotlib brings, found without importing matplotlib; ``size`` in pixels.

    Laid out by Pillow itself: Raqm, which spaces letters otherwise, is not in every build.
    """
    found = find_spec("matplotlib")
    assert found is not None and found.origin is not None
    path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / name
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: int, keep_end: bool = False) -> str:
    """The text, cut where it is wider than ``width`` pixels."""
    shown, kept = text, text
    while kept and font.getlength(shown) > width:
        kept = kept[1:] if keep_end else kept[:-1]
        shown = f"…{kept}" if keep_end else f"{kept}…"
    return shown


def _png(canvas: Image.Image) -> bytes:
    stream = io.BytesIO()
    canvas.save(stream, format="PNG", compress_level=9)
    return stream.getvalue()
