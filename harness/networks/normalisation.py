"""What images a network was pretrained on: their mean and spread, which its name may tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

TIMM = "timm:"
"""What the name of a network from timm begins with."""


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Per-channel mean and standard deviation of images scaled to [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def normalisation_of(mean: Iterable[float], std: Iterable[float]) -> Normalisation:
    """A normalisation from any two sequences of three numbers.

    Raises:
        ValueError, TypeError: they are not three numbers each.
    """
    (m0, m1, m2), (s0, s1, s2) = map(float, mean), map(float, std)
    return Normalisation((m0, m1, m2), (s0, s1, s2))
