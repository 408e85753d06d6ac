"""Replicates on several splits of one dataset, which overlap."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from analysis.stats.estimate import mean_over_seeds, with_interval
from analysis.stats.resampled import mean_over_splits
from benchmarks.calibration.model import ALPHA, COVERAGE, Row, Setting, covers, streams

OVERLAP = 0.2 / 0.64
"""Test images for each training image of a grouped split."""
TRAININGS = ((1, 1.0), (2, 0.3), (2, 1.0), (2, 3.0), (4, 1.0))
"""Trainings on each split, and the variance between splits as a multiple of that between trainings on one."""
STEP = 9
"""Size of a family at whose first step claims are counted, too."""


def over_splits(each: int, share: float, repetitions: int, base_seed: int, seeds: int) -> Row:
    """Coverage and false claims of one comparison of equals over ``seeds`` splits with ``each`` trainings.

    Splits have the correlation that Nadeau and Bengio assume, trainings on one split have none. ``used`` is what the
    report does; ``student`` has the same standard error with Student's t, ``of_means`` corrects the variance of the
    splits' means as a whole, and ``plain`` takes all trainings as independent.
    """
    found: dict[str, list[float]] = {"used": [], "student": [], "of_means": [], "plain": []}
    covered = 0
    common, own = OVERLAP / (1 + OVERLAP), 1 / (1 + OVERLAP)
    of = [split for split in range(seeds) for _ in range(each)]
    for rng in streams(base_seed, f"{each} trainings, {share}", seeds, repetitions):
        splits = math.sqrt(common) * rng.standard_normal() + math.sqrt(own) * rng.standard_normal((seeds, 1))
        values = math.sqrt(share) * splits + rng.standard_normal((seeds, each))
        used = mean_over_splits(values.ravel(), of, OVERLAP)
        student = with_interval(used.estimate, used.standard_error, used.df, 1 - ALPHA, "splits")
        of_means = mean_over_splits(values.mean(axis=1), range(seeds), OVERLAP)
        for name, entry in (
            ("used", used),
            ("student", student),
            ("of_means", of_means),
            ("plain", mean_over_seeds(values.ravel())),
        ):
            p = entry.p_value()
            found[name].append(1.0 if p is None else p)
        covered += covers(used)
    coverage, error = covered / repetitions, math.sqrt(ALPHA * (1 - ALPHA) / repetitions)
    return {
        "part": "splits",
        "trainings": each,
        "share": share,
        "seeds": seeds,
        "repetitions": repetitions,
        "coverage": coverage,
        "coverage_error": error,
        "false_claims": {name: float(np.mean(np.array(own) <= ALPHA)) for name, own in found.items()},
        "false_claims_at_first_step": {
            name: float(np.mean(np.array(own) <= ALPHA / STEP)) for name, own in found.items()
        },
        "met": coverage >= COVERAGE[0] - 2 * error,
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
        yield name, partial(over_splits, each, share, repetitions, base_seed)
