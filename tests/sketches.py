"""Reports whose figures are empty or drawn once: for tests of their words, since drawing takes most of the time."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO
from unittest import mock

_SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="1pt" height="1pt" viewBox="0 0 1 1"/>\n'
_PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP6DwABBQECz6AuzQAAAABJRU5ErkJggg==")


@contextlib.contextmanager
def empty_figures() -> Iterator[None]:
    """Whatever this process draws meanwhile, its captions are kept and its canvas is not written."""
    from harness.pages.contents import PageFigure

    def finished(canvas: object, caption: str, alt: str, stem: str) -> PageFigure:
        return PageFigure(caption=caption, alt=alt, stem=stem, svg=_SVG, png=_PNG, pdf=b"%PDF-1.4\n%%EOF\n")

    with mock.patch("analysis.figures.drawing.finished", finished):
        yield


@contextlib.contextmanager
def svg_alone() -> Iterator[None]:
    """Whatever this process draws meanwhile is drawn once, as SVG: an image or a PDF of it takes as long again."""
    from matplotlib.figure import Figure

    own = Figure.savefig

    def savefig(canvas: Figure, target: BinaryIO, **options: Any) -> None:
        if options["format"] == "svg":
            own(canvas, target, **options)
        else:
            target.write(_PNG)

    with mock.patch.object(Figure, "savefig", savefig):
        yield
