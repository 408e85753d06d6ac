"""Sweeps of seconds on digits that come from three sites, and what a run of them holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny import tiny_sweep

SITES = '''
"""Digits with metadata."""

from dataclasses import replace

import numpy as np
from sklearn.datasets import load_digits

from harness.api import ArrayImage, Dataset, MetadataColumn, Options, Record


class SitesOptions(Options):
    copies: int = 0
    """So many images are those of ``digit_sites`` itself."""
    first: int = 0
    images: int = 240


class DigitSites(Dataset):
    """Three digits from three sites."""

    name = "digit_sites"
    title = "Digits of three sites"
    modality = "handwritten digits"
    licence = "CC BY 4.0"
    citation = "none"
    classes = ("seven", "eight", "nine")
    files = ()
    Options = SitesOptions

    def columns(self, root):
        return [
            MetadataColumn("site", "category"),
            MetadataColumn("age", "number"),
            MetadataColumn("scanner", "category", "nobody wrote it down"),
        ]

    def records(self, root):
        bunch = load_digits()
        chosen = np.flatnonzero(np.isin(bunch.target, (7, 8, 9)))[self.options.first :][: self.options.images]
        images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
        sites = ("north", "south", "west")
        return [
            Record(
                f"{self.name}/{row:04d}",
                int(bunch.target[row]) - 7,
                ArrayImage(images[row]),
                group=f"p{place // 2}",
                metadata={
                    "site": sites[place // 2 % 3] if place % 50 else None,
                    "age": 20.0 + place % 30 if place % 7 else None,
                },
            )
            for place, row in enumerate(chosen)
        ]


class OtherDigits(DigitSites):
    """Digits of elsewhere, under other names."""

    name = "other_digits"
    classes = ("sieben", "acht", "neun")

    def records(self, root):
        found = DigitSites.records(self, root)
        # Brighter by a little: the same pictures are then near-duplicates, none is a copy.
        return [
            replace(one, image=ArrayImage(np.clip(one.image.array.astype(int) + 9, 0, 255).astype(np.uint8)))
            for one in found
        ]


class CopiedDigits(DigitSites):
    """The same images under another name."""

    name = "copied_digits"
'''

PLUGIN = "plugins"


def sites_sweep(folder: Path, **changes: Any) -> Path:
    """``tiny.yaml`` on the digits of three sites, with the plugin beside it."""
    (folder / PLUGIN).mkdir(parents=True, exist_ok=True)
    (folder / PLUGIN / "digit_sites.py").write_text(SITES)
    given: dict[str, Any] = {
        "plugins": [PLUGIN],
        "datasets": ["digit_sites"],
        "split": {"kind": "domain", "by": "site", "test": ["north"]},
        **changes,
    }
    return tiny_sweep(folder, **given)
