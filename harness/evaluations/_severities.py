"""Which corruptions a modality meets, and how strong each is at severities 1 to 5: the tables of MedMNIST-C.

F. Di Salvo, S. Doerrich and C. Ledig, arXiv:2406.17536, 2024, and the tables of its version 0.1.0. Left out is the
deposit of stain, which is cut from images that are not ours to ship. The two strongest radii of the black corner are in
the order of their effect. There is no table for MRI; that of CT stands in, the nearest modality of slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Severities: TypeAlias = tuple[Any, Any, Any, Any, Any]
"""The parameters of severities 1 to 5."""

Table: TypeAlias = Mapping[str, Severities]

_JPEG: Severities = (50, 30, 15, 10, 7)
_UP: Severities = (1.1, 1.2, 1.3, 1.4, 1.5)
_DOWN: Severities = (0.9, 0.8, 0.7, 0.6, 0.5)
_CONTRAST_UP: Severities = (1.1, 1.2, 1.3, 1.4, 1.6)
_CONTRAST_DOWN: Severities = (0.9, 0.8, 0.7, 0.6, 0.4)
_NOISE: Table = {
    "gaussian_noise": (0.04, 0.08, 0.12, 0.18, 0.26),
    "speckle_noise": (0.05, 0.15, 0.2, 0.35, 0.45),
    "impulse_noise": (0.01, 0.03, 0.06, 0.09, 0.17),
    "shot_noise": (60, 25, 18, 10, 5),
}

DERMOSCOPY: Table = {
    "pixelate": (0.7, 0.5, 0.4, 0.3, 0.25),
    "jpeg_compression": (30, 20, 15, 10, 7),
    **_NOISE,
    "defocus_blur": ((4, 0.1), (5, 0.2), (6, 0.3), (7, 0.4), (8, 0.5)),
    "motion_blur": ((10, 5), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "brightness_up": _UP,
    "brightness_down": _DOWN,
    "contrast_up": _CONTRAST_UP,
    "contrast_down": (0.8, 0.7, 0.6, 0.5, 0.4),
    "black_corner": (1.1, 1.05, 1.0, 0.95, 0.9),
    "characters": ((1, 6, 0.14), (2, 7, 0.15), (3, 8, 0.16), (4, 9, 0.17), (6, 10, 0.18)),
}

XRAY: Table = {
    "pixelate": (0.3, 0.25, 0.2, 0.15, 0.1),
    "jpeg_compression": _JPEG,
    **_NOISE,
    "gaussian_blur": (3, 5, 7, 9, 11),
    "brightness_up": _UP,
    "brightness_down": _DOWN,
    "contrast_up": _CONTRAST_UP,
    "contrast_down": _CONTRAST_DOWN,
    "gamma_up": _CONTRAST_UP,
    "gamma_down": _CONTRAST_DOWN,
}

CT: Table = {
    "pixelate": (0.7, 0.6, 0.5, 0.4, 0.35),
    "jpeg_compression": _JPEG,
    "gaussian_noise": (0.04, 0.08, 0.12, 0.16, 0.2),
    "speckle_noise": (0.05, 0.1, 0.2, 0.3, 0.4),
    "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.08),
    "shot_noise": (200, 100, 50, 25, 15),
    "gaussian_blur": (11, 13, 15, 17, 21),
    "brightness_up": (1.2, 1.3, 1.4, 1.5, 1.6),
    "brightness_down": (0.8, 0.75, 0.7, 0.65, 0.6),
    "contrast_up": (1.3, 1.4, 1.6, 1.7, 1.8),
    "contrast_down": (0.8, 0.7, 0.6, 0.55, 0.5),
    "gamma_up": (1.3, 1.4, 1.6, 1.8, 2.0),
    "gamma_down": _CONTRAST_DOWN,
}

HISTOLOGY: Table = {
    "pixelate": (0.8, 0.6, 0.4, 0.3, 0.25),
    "jpeg_compression": _JPEG,
    "defocus_blur": ((3, 0.1), (4, 0.1), (5, 0.2), (6, 0.2), (7, 0.3)),
    "motion_blur": ((5, 5), (10, 5), (15, 5), (15, 8), (15, 12)),
    "brightness_up": (1.1, 1.15, 1.2, 1.22, 1.25),
    "brightness_down": (0.85, 0.8, 0.75, 0.72, 0.7),
    "contrast_up": _CONTRAST_UP,
    "contrast_down": (0.8, 0.7, 0.6, 0.55, 0.5),
    "saturate": (0.05, 0.1, 0.15, 0.2, 0.25),
    "bubble": ((7, 15), (10, 15), (12, 15), (15, 20), (17, 25)),
}

BLOOD: Table = {
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
    "jpeg_compression": _JPEG,
    "defocus_blur": ((2, 0.01), (3, 0.1), (4, 0.1), (5, 0.1), (6, 0.1)),
    "motion_blur": ((3, 3), (5, 5), (10, 5), (10, 7), (10, 9)),
    "brightness_up": (1.1, 1.2, 1.3, 1.35, 1.4),
    "brightness_down": _DOWN,
    "contrast_up": (1.1, 1.15, 1.2, 1.25, 1.3),
    "contrast_down": _DOWN,
    "saturate": (0.05, 0.1, 0.15, 0.17, 0.2),
    "bubble": ((5, 10), (7, 10), (10, 10), (12, 12), (15, 12)),
}

ULTRASOUND: Table = {
    "pixelate": (0.3, 0.25, 0.2, 0.15, 0.1),
    "jpeg_compression": _JPEG,
    "speckle_noise": (0.1, 0.15, 0.2, 0.25, 0.3),
    "motion_blur": ((5, 5), (9, 7), (9, 10), (13, 10), (17, 12)),
    "brightness_up": (1.4, 1.5, 1.6, 1.8, 2.0),
    "brightness_down": (0.55, 0.5, 0.45, 0.4, 0.3),
    "contrast_down": _CONTRAST_DOWN,
}

FUNDUS: Table = {
    "pixelate": (0.8, 0.6, 0.5, 0.4, 0.35),
    "jpeg_compression": (30, 25, 20, 10, 5),
    "gaussian_noise": (0.04, 0.08, 0.12, 0.16, 0.2),
    "speckle_noise": (0.1, 0.15, 0.2, 0.25, 0.3),
    "defocus_blur": ((4, 0.1), (5, 0.2), (6, 0.3), (7, 0.4), (8, 0.5)),
    "motion_blur": ((8, 5), (15, 5), (15, 8), (15, 12), (20, 15)),
    "brightness_down": _DOWN,
    "contrast_down": _CONTRAST_DOWN,
}

OCT: Table = {
    "pixelate": (0.3, 0.25, 0.2, 0.15, 0.1),
    "jpeg_compression": (30, 15, 10, 7, 5),
    "speckle_noise": (0.15, 0.3, 0.4, 0.5, 0.6),
    "defocus_blur": ((0.5, 0.6), (1, 0.5), (1.5, 0.1), (2.0, 0.5), (2.5, 0.1)),
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "contrast_down": (0.6, 0.4, 0.3, 0.2, 0.15),
}

TISSUE: Table = {
    "pixelate": (0.4, 0.3, 0.2, 0.15, 0.1),
    "jpeg_compression": (25, 20, 15, 10, 7),
    "impulse_noise": (0.01, 0.015, 0.02, 0.025, 0.03),
    "gaussian_blur": (13, 15, 17, 21, 25),
    "brightness_up": (1.3, 1.4, 1.5, 1.6, 1.7),
    "brightness_down": (0.8, 0.7, 0.6, 0.5, 0.4),
    "contrast_up": _CONTRAST_UP,
    "contrast_down": _CONTRAST_DOWN,
}

TABLES: Mapping[str, Table] = {
    "dermoscopy": DERMOSCOPY,
    "xray": XRAY,
    "ct": CT,
    "mri": CT,
    "histology": HISTOLOGY,
    "blood": BLOOD,
    "ultrasound": ULTRASOUND,
    "fundus": FUNDUS,
    "oct": OCT,
    "tissue": TISSUE,
}
"""By modality."""

MODALITIES: tuple[tuple[str, str], ...] = (
    (r"dermat|dermosc|skin", "dermoscopy"),
    (r"x-?ray|radiogra", "xray"),
    (r"coherence|\boct\b", "oct"),
    (r"\bmri?\b|magnetic", "mri"),
    (r"\bct\b|tomogra", "ct"),
    (r"blood", "blood"),
    (r"histolog|patholog", "histology"),
    (r"ultraso|sonogra", "ultrasound"),
    (r"fundus|retina", "fundus"),
    (r"microscop", "tissue"),
)
"""What a dataset's modality says, in small letters, and the table that it means; the first that fits."""

GENERAL: Table = {**HISTOLOGY, **XRAY, **DERMOSCOPY}
"""Every corruption, for images of no modality that is known: as strong as in dermoscopy where that has it."""
