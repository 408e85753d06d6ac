"""Handwritten digits that come with scikit-learn: for demonstrations and tests, nothing to download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import field_validator

from harness.api import ArrayImage, Augmentation, Dataset, Options, Record

DIGITS = 10


class DigitsOptions(Options):
    """Which digits to use."""

    classes: list[int] | None = None
    """Some digits only, in this order: the first becomes label 0. All ten by default."""

    @field_validator("classes")
    @classmethod
    def _distinct_digits(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and (
            len(set(value)) != len(value) or len(value) < 2 or not set(value) <= {*range(DIGITS)}
        ):
            raise ValueError(f"needs at least two different digits from 0 to {DIGITS - 1}, got {value}")
        return value


class Digits(Dataset):
    """1,797 grey images of 8 × 8 pixels, ten classes.

    Source: the test part of the UCI set "Optical Recognition of Handwritten Digits", bundled with
    scikit-learn (``sklearn.datasets.load_digits``). Licence: CC BY 4.0. Nothing is to be downloaded. The set's page
    says that 13 people wrote the digits of this part; which is whose is not published, so images are grouped by
    identical pixels only.
    """

    name = "digits"
    source = "uci-optdigits"
    title = "Digits (scikit-learn)"
    modality = "handwritten digits"
    licence = "CC BY 4.0"
    citation = "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, doi:10.24432/C50P49"
    # A mirrored digit is another sign, or none.
    augmentation = Augmentation(flip_horizontal=False, flip_vertical=False)
    Options = DigitsOptions

    @property
    def classes(self) -> tuple[str, ...]:
        """The digits in use."""
        return tuple(map(str, self._digits))

    @property
    def files(self) -> tuple[str, ...]:
        """None: scikit-learn brings the images."""
        return ()

    def records(self, root: Path) -> Sequence[Record]:
        """List the images; the number in a case id is the position in scikit-learn's array."""
        from sklearn.datasets import load_digits

        bundle = load_digits()
        # The source counts ink on 4 × 4 pixels: 0 to 16.
        images = np.rint(bundle.images * (255 / 16)).astype(np.uint8)
        labels = {digit: label for label, digit in enumerate(self._digits)}
        return [
            Record(f"digits/{number:04d}", labels[digit], ArrayImage(image))
            for number, (digit, image) in enumerate(zip(bundle.target.tolist(), images, strict=True))
            if digit in labels
        ]

    @property
    def _digits(self) -> list[int]:
        assert isinstance(self.options, DigitsOptions)
        return list(range(DIGITS)) if self.options.classes is None else self.options.classes
