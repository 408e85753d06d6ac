"""Damaged test images: noise, blur, contrast, compression and artefacts of a modality at five severities."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator

from harness.core.errors import RequestError, suggestion
from harness.core.plugin_options import Options
from harness.core.seeds import derive_seed
from harness.evaluation import SEVERITIES, Cases, Evaluation, EvaluationFacts, EvaluationSet, Images, Opened

from . import _damages as damages
from ._damages import Damage
from ._severities import GENERAL, MODALITIES, TABLES, Table

MEDICAL = "medical"
"""The table that the dataset's modality means."""

DAMAGES: Mapping[str, Damage] = {
    "gaussian_noise": damages.gaussian_noise,
    "speckle_noise": damages.speckle_noise,
    "shot_noise": damages.shot_noise,
    "impulse_noise": damages.impulse_noise,
    "pixelate": damages.pixelate,
    "jpeg_compression": damages.jpeg_compression,
    "gaussian_blur": damages.gaussian_blur,
    "defocus_blur": damages.defocus_blur,
    "motion_blur": damages.motion_blur,
    "zoom_blur": damages.zoom_blur,
    "brightness_up": damages.brightness,
    "brightness_down": damages.brightness,
    "contrast_up": damages.contrast,
    "contrast_down": damages.contrast,
    "gamma_up": damages.gamma,
    "gamma_down": damages.gamma,
    "saturate": damages.saturate,
    "black_corner": damages.black_corner,
    "characters": damages.characters,
    "bubble": damages.bubble,
}
"""Every corruption by its name."""


class CorruptionOptions(Options):
    """Which corruptions, and how strong."""

    corruptions: str | tuple[str, ...] = Field(MEDICAL, examples=[MEDICAL, ["gaussian_noise", "motion_blur"]])
    """``medical``: those that the dataset's modality meets; a modality by name (dermoscopy, xray, ct, mri, histology,
    blood, ultrasound, fundus, oct, tissue); or a list of corruptions."""
    severities: tuple[Annotated[int, Field(ge=1, le=5)], ...] = Field(SEVERITIES, min_length=1)
    """Which of the five."""

    @field_validator("corruptions")
    @classmethod
    def _known(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        known = (MEDICAL, *TABLES) if isinstance(value, str) else DAMAGES
        for name in (value,) if isinstance(value, str) else value:
            if name not in known:
                raise ValueError(f"{name!r} is unknown{suggestion(name, known)}")
        if not isinstance(value, str) and (not value or len(set(value)) < len(value)):
            raise ValueError("lists a corruption twice, or none")
        return value

    @field_validator("severities")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError(f"list each severity once, in ascending order, got {list(value)}")
        return value


class Corruptions(Evaluation):
    """Test images under noise, blur, compression and artefacts of their modality, at five severities (MedMNIST-C).

    Each image is damaged by draws that its case id and the corruption decide, so that every method is scored on the
    same damaged images, and severities differ in strength alone. Which corruptions a modality meets, and how strong
    they are, follows F. Di Salvo et al., arXiv:2406.17536; ``harness/evaluations/_damages.py`` has the definitions.
    """

    name = "corruptions"
    Options = CorruptionOptions

    def check(self, facts: EvaluationFacts) -> None:
        """Refuse ``medical`` for images of a modality that has no table."""
        if self._options.corruptions == MEDICAL and _modality(facts.modality) is None:
            raise RequestError(
                f"corruptions: there is no table for the modality {facts.modality!r} of {facts.dataset}; name one of "
                f"{', '.join(TABLES)}, or list corruptions"
            )

    def images(self, facts: EvaluationFacts) -> int:
        """The test side once for each corruption and severity."""
        return len(facts.test) * len(self._table(facts.modality)) * len(self._options.severities)

    def words(self, facts: EvaluationFacts) -> str:
        """How many there are, and by which table."""
        table, asked = self._table(facts.modality), self._options.corruptions
        which = asked if isinstance(asked, str) and asked != MEDICAL else _modality(facts.modality)
        of = "" if not isinstance(asked, str) else f" of {which}"
        return f"{len(table)} corruptions{of} at {len(self._options.severities)} severities"

    def sets(self, opened: Opened) -> Iterator[EvaluationSet]:
        """One set for each corruption and severity."""
        test = opened.test
        for name, parameters in self._table(opened.modality).items():
            for severity in self._options.severities:
                yield EvaluationSet(
                    name=name,
                    severity=severity,
                    reference="test",
                    case_ids=test.case_ids,
                    groups=test.groups,
                    labels=test.labels,
                    batches=partial(corrupted, test, name, parameters[severity - 1]),
                )

    def _table(self, modality: str) -> Table:
        asked = self._options.corruptions
        own = TABLES.get(_modality(modality) or "", {})
        if isinstance(asked, str):
            return own if asked == MEDICAL else TABLES[asked]
        return {name: own.get(name, GENERAL[name]) for name in asked}

    @property
    def _options(self) -> CorruptionOptions:
        assert isinstance(self.options, CorruptionOptions)
        return self.options


def corrupted(cases: Cases, name: str, parameters: object, size: int) -> Iterator[Images]:
    """Cases under a corruption, in batches.

    Args:
        cases: at the size that the model takes.
        name: of the corruption.
        parameters: of a severity.
        size: of a batch.
    """
    start = 0
    for images in cases.batches(size):
        ids = cases.case_ids[start : start + len(images)]
        draws = [np.random.default_rng(derive_seed("corruption", name, case_id)) for case_id in ids]
        yield DAMAGES[name](images, parameters, draws)
        start += len(images)


def _modality(text: str) -> str | None:
    """The table that a dataset's modality means."""
    return next((table for pattern, table in MODALITIES if re.search(pattern, text.lower())), None)
