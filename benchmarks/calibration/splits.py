"""Replicates on several splits of one dataset, which overlap."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from analysis.stats.estimate import Estimate, mean_over_seeds, with_interval
from analysis.stats.resampled import mean_over_splits
from benchmarks.calibration.model import ALPHA, Row, Setting, covers, streams

OVERLAP = 0.2 / 0.64
"""Test images for each training image of a grouped split."""
TRAININGS = ((1, 1.0), (2, 0.3), (2, 1.0), (2, 3.0), (4, 1.0))
"""Trainings on each split, and the variance between splits as a multiple of that between trainings on one."""
STEP = 9
"""Size of a family at whose first step claims are counted, too."""


class Counts:
    """How often the interval in use covers no difference, and how often each way to analyse claims one."""

    def __init__(self) -> None:
        self._p: dict[str, list[float]] = {}
        self._covered: list[bool] = []

    def add(self, estimates: Mapping[str, Estimate]) -> None:
        """One sweep, analysed in several ways; ``used`` is what the report does."""
        for name, estimate in estimates.items():
            p = estimate.p_value()
            self._p.setdefault(name, []).append(1.0 if p is None else p)
        self._covered.append(covers(estimates["used"]))

    def false_claims(self, alpha: float) -> dict[str, float]:
        """Share of sweeps with a claim at a level, by the way to analyse."""
        return {name: float(np.mean(np.array(own) <= alpha)) for name, own in self._p.items()}

    def row(self) -> Row:
        """Coverage with its standard error, and false claims."""
        coverage = float(np.mean(self._covered))
        error = math.sqrt(ALPHA * (1 - ALPHA) / len(self._covered))
        return {
            "coverage": coverage,
            "coverage_error": error,
            "false_claims": self.false_claims(ALPHA),
        }


def over_splits(each: int, share: float, repetitions: int, base_seed: int, seeds: int) -> Row:
    """Coverage and false claims of one comparison of equals over ``seeds`` splits with ``each`` trainings.

    Splits have the correlation that Nadeau and Bengio assume, trainings on one split have none. ``used`` is what the
    report does; ``student`` has the same standard error with Student's t, ``of_means`` corrects the variance of the
    splits' means as a whole, and ``plain`` takes all trainings as independent.
    """
    counts = Counts()
    common, own = OVERLAP / (1 + OVERLAP), 1 / (1 + OVERLAP)
    of = [split for split in range(seeds) for _ in range(each)]
    for rng in streams(base_seed, f"{each} trainings, {share}", seeds, repetitions):
        splits = math.sqrt(common) * rng.standard_normal() + math.sqrt(own) * rng.standard_normal((seeds, 1))
        values = math.sqrt(share) * splits + rng.standard_normal((seeds, each))
        used = mean_over_splits(values.ravel(), of, OVERLAP)
        student = with_interval(used.estimate, used.standard_error, used.df, 1 - ALPHA, "splits")
        of_means = mean_over_splits(values.mean(axis=1), range(seeds), OVERLAP)
        plain = mean_over_seeds(values.ravel())
        counts.add({"used": used, "student": student, "of_means": of_means, "plain": plain})
    return {
        "part": "splits",
        "name": f"trainings on each split {each}, {share:g} times the variance between them",
        "trainings": each,
        "share": share,
        "seeds": seeds,
        "repetitions": repetitions,
        **counts.row(),
        "false_claims_at_first_step": counts.false_claims(ALPHA / STEP),
    }


def line(row: Row) -> str:
    """A row in words."""
    rates = row["false_claims"]
    return (
        f"{row['seeds']} splits, trainings on each {row['trainings']}, {row['share']:g} times the variance between "
        f"splits: coverage {row['coverage']:.3f}, false claims {rates['used']:.3f} (Student's t "
        f"{rates['student']:.3f}, of splits' means {rates['of_means']:.3f}, overlap ignored {rates['plain']:.3f}); at "
        f"alpha / {STEP} {row['false_claims_at_first_step']['used']:.4f}"
    )


def settings(repetitions: int, base_seed: int) -> Iterator[Setting]:
    """One for each number of trainings and share of the variance."""
    for each, share in TRAININGS:
        name = f"splits, trainings on each {each}, {share:g} times the variance between them"
        yield Setting(name, partial(over_splits, each, share, repetitions, base_seed), repetitions)
