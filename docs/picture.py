"""The picture at the head of README.md: the first screens of the demo's report.

    make demo && python docs/picture.py runs/demo

It takes headless Chromium. The picture says in itself from which sweep file it is and which headings its report has,
and a test fails when the demo or its report has others.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from html import unescape
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "report.png"
WIDTH, MOST_HEIGHT, SPACE = 900, 1900, 24
"""Pixels: of the page; of the picture at most; of empty page where it may be cut."""
COLOURS = 64
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def headings(report: str) -> list[str]:
    """The headings of a report's page down to its appendix, whose parts are folded."""
    open_part = report.partition("<details")[0]
    return [unescape(re.sub(r"<[^>]+>", "", found)).strip() for found in re.findall(r"<h2[^>]*>(.*?)</h2>", open_part)]


def browser() -> str | None:
    """Where Chromium is."""
    return next((found for name in _BROWSERS if (found := shutil.which(name))), None)


def picture(page: Path, sweep: Path) -> tuple[Image.Image, PngInfo]:
    """The first screens of a report in few colours, and what they are made from.

    Raises:
        FileNotFoundError: there is no Chromium.
        subprocess.CalledProcessError: it failed.
    """
    found = browser()
    if found is None:
        raise FileNotFoundError(f"none of {', '.join(_BROWSERS)} is on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "page.png"
        # Root may use no sandbox; the page is our own and loads nothing.
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/user"]
        size = f"--window-size={WIDTH},{MOST_HEIGHT}"
        command = [found, *options, size, f"--screenshot={whole}", page.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with Image.open(whole) as opened:
            shown = opened.convert("RGB")
    says = PngInfo()
    says.add_text("sweep", hashlib.sha256(sweep.read_bytes()).hexdigest())
    says.add_text("headings", json.dumps(headings(page.read_text(encoding="utf-8"))))
    return shown.crop((0, 0, shown.width, _cut(shown))).quantize(COLOURS), says


def _cut(shown: Image.Image) -> int:
    """The last height at which nothing but page is above, so that no figure is cut in two."""
    pixels = np.asarray(shown)
    empty = (pixels == pixels[:, :1]).all(axis=(1, 2))
    run = np.convolve(empty, np.ones(SPACE, dtype=np.int64))[: len(empty)]
    cuts = np.flatnonzero(run == SPACE)
    return int(cuts[-1]) if len(cuts) else shown.height


def main(argv: Sequence[str] | None = None) -> int:
    """Write the picture; 2 where there is no report or no Chromium."""
    parser = argparse.ArgumentParser(prog="python docs/picture.py", description="Make the picture of README.md.")
    parser.add_argument("run", type=Path, help="run directory of the demo, its report written")
    parser.add_argument("--out", type=Path, default=PICTURE, help="default: docs/report.png")
    options = parser.parse_args(argv)
    page = options.run / "report" / "report.html"
    try:
        made, says = picture(page, ROOT / "sweeps" / "demo.yaml")
    except (OSError, subprocess.SubprocessError) as error:
        print(f"error: {page} cannot be shown: {error}", file=sys.stderr)
        return 2
    made.save(options.out, optimize=True, pnginfo=says)
    print(f"{options.out}: {made.width} × {made.height} px, {options.out.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
