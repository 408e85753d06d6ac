"""Draw the folder that the dataset ``cells`` reads: ``python examples/csv_dataset/draw_cells.py DIR``."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 32
LOBES = {"round": 0, "lobed": 3}


def draw(lobes: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A cell of uneven outline on a noisy background: uint8 (32, 32, 3)."""
    y, x = np.mgrid[:SIDE, :SIDE] - rng.uniform(0.4, 0.6, (2, 1, 1)) * SIDE
    angle = np.arctan2(y, x) + rng.uniform(0, 2 * np.pi)
    outline = rng.uniform(7, 10) * (1 + (0.35 if lobes else 0.05) * np.cos((lobes or 2) * angle))
    colours = np.where((np.hypot(x, y) < outline)[..., None], (120, 60, 140), (230, 200, 210))
    return np.clip(colours + rng.normal(0, 15, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


def main(folder: Path, patients: int = 60) -> None:
    """Write ``labels.csv`` and the images of some patients, one to four each, below ``folder/cells``."""
    rng = np.random.default_rng(7)
    home = folder / "cells"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("file", "label", "patient"))
        for patient in range(patients):
            label = ("round", "lobed")[patient % 2]
            for number in range(int(rng.integers(1, 5))):
                name = f"p{patient:02d}_{number}.png"
                Image.fromarray(draw(LOBES[label], rng)).save(home / name)
                table.writerow((name, label, f"p{patient:02d}"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
