"""Metrics whose pseudo-values are right to first order alone: coverage, and width against the crossed bootstrap."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.special import stdtrit

from analysis.stats.twoway import two_way
from benchmarks.calibration.model import (
    CASES,
    CLASS_SHARES,
    LEVELS,
    METHODS,
    QUIET,
    IntArray,
    Row,
    Setting,
    case_values,
    covers,
    labels_of,
    latent,
    logits_of,
    streams,
)

OTHERS = ("macro_f1", "mcc", "kappa_quadratic", "nll", "brier", "ece")
FIRST_ORDER_COVERAGE = (0.93, 0.97)
WIDEST, BOOTSTRAP_SHARE, RESAMPLES = 0.8, 10, 1000
"""Width against the bootstrap's for macro-F1 with 5 seeds; the bootstrap is made in one of so many repetitions."""


def first_order(seed_sd: float, repetitions: int, base_seed: int, seeds: int) -> Row:
    """Coverage and width of intervals for metrics whose pseudo-values are right to first order."""
    scenario, cases, level = replace(QUIET, seed_sd=seed_sd), CASES[1], LEVELS[1]
    labels, pairs = labels_of(cases), [(a, a + 1) for a in range(0, METHODS, 2)]
    covered: dict[str, list[float]] = {name: [] for name in OTHERS}
    widths: dict[str, list[float]] = {name: [] for name in OTHERS}
    compared = []
    for repetition, rng in enumerate(streams(base_seed, f"first order {seed_sd}", seeds, repetitions)):
        noise, effects, _ = latent(rng, scenario, seeds, cases)
        rivals = (labels + rng.integers(1, len(CLASS_SHARES), size=cases)) % len(CLASS_SHARES)
        logits = logits_of(noise + level + effects, labels, rivals)
        for name in OTHERS:
            values = case_values(name, logits, labels)
            found = [two_way(values[a] - values[b]) for a, b in pairs]
            covered[name].append(float(np.mean([covers(one) for one in found])))
            widths[name].append(float(np.mean([2 * (one.half_width(one.confidence) or 0.0) for one in found])))
            if name == "macro_f1" and repetition % BOOTSTRAP_SHARE == 0:
                first = 2 * (found[0].half_width(found[0].confidence) or 0.0)
                compared.append((first, _bootstrap_width(rng, logits[:2].argmax(axis=3), labels)))
    coverage = {name: float(np.mean(found)) for name, found in covered.items()}
    # Pairs of one repetition share its cases, and the rate of a repetition is a mean of three.
    error = {name: float(np.std(found, ddof=1)) / math.sqrt(repetitions) for name, found in covered.items()}
    own, bootstrap = np.mean(compared, axis=0).tolist()
    return {
        "part": "first order",
        "seed_sd": seed_sd,
        "seeds": seeds,
        "repetitions": repetitions,
        "coverage": coverage,
        "coverage_error": error,
        "width": {name: float(np.mean(found)) for name, found in widths.items()},
        "macro_f1_beside_bootstrap": {"repetitions": len(compared), "width": own, "bootstrap_width": bootstrap},
    }


def _bootstrap_width(rng: np.random.Generator, predicted: IntArray, labels: IntArray) -> float:
    """Width of the crossed bootstrap's interval (Owen 2007) for a difference of macro-F1, to compare with.

    ``2 t(S - 1) SE sqrt(S / (S - 1))`` with the standard deviation SE of resamples of S seeds and of the cases.

    Args:
        predicted: shape (2, seeds, cases).
        labels: shape (cases,).
    """
    _, seeds, cases = predicted.shape
    weights = rng.multinomial(cases, np.full(cases, 1 / cases), size=RESAMPLES).astype(np.float64)
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES)
    member = np.eye(len(CLASS_SHARES))
    support = (weights @ member[labels])[:, None]
    scores = []
    for own in predicted:
        called = member[own.T]
        counts, hits = (
            (weights @ column.reshape(cases, -1)).reshape(RESAMPLES, seeds, -1)
            for column in (called, called * member[labels][:, None])
        )
        scores.append((2 * hits / (support + counts)).mean(axis=2))
    differences = ((scores[0] - scores[1]) * drawn).sum(axis=1) / seeds
    error = float(differences.std(ddof=1)) * math.sqrt(seeds / (seeds - 1))
    return 2 * float(stdtrit(seeds - 1, 0.975)) * error


def line(row: Row) -> str:
    """A row in words."""
    coverage = ", ".join(f"{name} {value:.3f}" for name, value in row["coverage"].items())
    beside = row["macro_f1_beside_bootstrap"]
    return (
        f"first order, {row['seeds']} seeds of SD {row['seed_sd']}: coverage {coverage}; width for macro-F1 "
        f"{beside['width']:.4f}, the bootstrap's {beside['bootstrap_width']:.4f}"
    )


def settings(repetitions: int, base_seed: int) -> Iterator[Setting]:
    """One for each standard deviation of the seeds; every repetition has three pairs of six metrics."""
    own = max(2, repetitions // 4)
    for seed_sd in (0.05, 0.15, 0.25):
        yield Setting(f"first order {seed_sd}", partial(first_order, seed_sd, own, base_seed), own)
