"""Several labels of one source of images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from analysis.stats.across_datasets import bounded_mean, fixed_dataset_mean
from analysis.stats.estimate import Estimate, mean_over_seeds
from analysis.stats.twoway import two_way
from benchmarks.calibration.model import (
    ALPHA,
    CASES,
    CHANCE_SD,
    LEVELS,
    NOISY,
    OWN_SD,
    SHARED_SD,
    Row,
    Setting,
    any_claim,
    covers,
    seed_effects,
    streams,
)

LABELS = (2, 6)
"""Under how many labels a sweep lists one source."""


def labels_of_one_source(labels: int, repetitions: int, base_seed: int, seeds: int) -> Row:
    """Coverage and false claims of the average over labels of one source, such as one dataset at several image sizes.

    The labels have their test cases in common, how hard these are for all and for each method included; each trains
    anew. ``once`` is what the report does with them, ``bounded`` what it does where the cases have other names,
    ``apart`` what would happen if every label were a dataset of its own.
    """
    scenario, cases, level = NOISY, CASES[0], LEVELS[1]
    whole: dict[str, list[Estimate]] = {
        "once": [],
        "bounded": [],
        "apart": [],
        "one_label": [],
        "new_datasets_apart": [],
    }
    for rng in streams(base_seed, f"{labels} labels", seeds, repetitions):
        of_case = SHARED_SD * rng.standard_normal(cases) + OWN_SD * rng.standard_normal((2, 1, cases))
        tables = []
        for _ in range(labels):
            latent = level + of_case + seed_effects(rng, scenario, (2, seeds, 1))
            latent = latent + CHANCE_SD * rng.standard_normal((2, seeds, cases))
            first, second = (latent > 0).astype(np.float64)
            tables.append(first - second)
        found = [two_way(table) for table in tables]
        whole["once"].append(two_way(np.mean(tables, axis=0)))
        whole["bounded"].append(bounded_mean(found))
        whole["apart"].append(fixed_dataset_mean(found))
        whole["one_label"].append(found[0])
        whole["new_datasets_apart"].append(
            mean_over_seeds(np.array([entry.estimate for entry in found]), scope="datasets")
        )
    coverage = {name: float(np.mean([covers(entry) for entry in own])) for name, own in whole.items()}
    rates = {name: float(np.mean([any_claim([entry], seeds) for entry in own])) for name, own in whole.items()}
    widths = {name: float(np.mean([entry.standard_error or 0.0 for entry in own])) for name, own in whole.items()}
    error = math.sqrt(ALPHA * (1 - ALPHA) / repetitions)
    return {
        "part": "sources",
        "labels": labels,
        "seeds": seeds,
        "repetitions": repetitions,
        "coverage": coverage,
        "coverage_error": error,
        "false_claims": rates,
        "standard_error": widths,
    }


def line(row: Row) -> str:
    """A row in words."""
    coverage, rates = row["coverage"], row["false_claims"]
    return (
        f"{row['labels']} labels of one source, {row['seeds']} seeds: coverage of the average "
        f"{coverage['once']:.3f} (bounded {coverage['bounded']:.3f}, as datasets {coverage['apart']:.3f}), false "
        f"claims {rates['once']:.3f} (bounded {rates['bounded']:.3f}, as datasets {rates['apart']:.3f}, about new "
        f"ones {rates['new_datasets_apart']:.3f})"
    )


def settings(repetitions: int, base_seed: int) -> Iterator[Setting]:
    """One for each number of labels."""
    for labels in LABELS:
        count = partial(labels_of_one_source, labels, repetitions, base_seed)
        yield Setting(f"{labels} labels of one source", count, repetitions)
