"""Colours and line styles of the report's figures and page.

They are from the palette of Okabe and Ito (jfly.uni-koeln.de/color), which survives the common deficiencies of colour
vision.
"""

from __future__ import annotations

from typing import Any

INK, FAINT, SEED, MEAN = "#1b1b1b", "#c4c4c4", "#0072b2", "#d55e00"
TINT, PAPER = "#ececec", "#fefefe"
"""Of areas behind marks, and of the inside of hollow marks, which hides what lies behind them."""
LINES: tuple[tuple[str, Any], ...] = (
    (SEED, "-"), (MEAN, (0, (5, 1.5))), ("#009e73", (0, (1, 1))),
    ("#cc79a7", (0, (5, 1, 1, 1))), (INK, (0, (9, 2))), ("#56b4e9", (0, (3, 1, 1, 1, 1, 1))),
)  # fmt: skip
"""Colour and style of each line where several methods share a panel."""
