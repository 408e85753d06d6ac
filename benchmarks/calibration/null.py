"""Coverage and false claims of sweeps in which all methods are equally good."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from analysis.stats.across_datasets import fixed_dataset_mean
from analysis.stats.estimate import Estimate, mean_over_seeds
from analysis.stats.twoway import two_way
from benchmarks.calibration.model import (
    CASES,
    LEVELS,
    NOISY,
    PAIRS,
    QUIET,
    Row,
    Scenario,
    Setting,
    any_claim,
    covers,
    draw,
    streams,
)

VS_CONTROL = tuple(place for place, pair in enumerate(PAIRS) if pair[0] == 0)
SCENARIOS = (
    QUIET,
    NOISY,
    Scenario("balanced accuracy", "balanced_accuracy", 0.15),
    Scenario("AUC", "auc", 0.15),
    Scenario("accuracy, several images a patient, grouped", "accuracy", 0.15, group_size=4),
    Scenario(
        "accuracy, several images a patient, not grouped",
        "accuracy",
        0.15,
        group_size=4,
        use_groups=False,
        required=False,
    ),
    Scenario(
        "accuracy, 12 patients of 25 images", "accuracy", 0.15, group_size=25, cases=(300, 300, 300), careful=True
    ),
    Scenario("accuracy, skewed seeds", "accuracy", 0.25, seeds="skewed", required=False),
    Scenario("accuracy, one seed in ten collapses", "accuracy", 0.15, seeds="collapsing", required=False),
)


def under_the_null(scenario: Scenario, repetitions: int, base_seed: int, seeds: int) -> Row:
    """Coverage and false claims of sweeps in which all methods are equally good."""
    covered, covered_seeds, covered_fixed, unusable = [], [], [], 0
    claims: dict[str, list[bool]] = {"all_pairs": [], "vs_control": []}
    for rng in streams(base_seed, scenario.name, seeds, repetitions):
        table = []
        for cases, level in zip(scenario.cases, LEVELS, strict=True):
            drawn = draw(rng, scenario, seeds, cases, level)
            table.append([two_way(drawn.values[a] - drawn.values[b], drawn.groups) for a, b in PAIRS])
            means = drawn.values.mean(axis=2)
            covered_seeds.append(np.mean([covers(mean_over_seeds(means[a] - means[b])) for a, b in PAIRS]))
        fixed = [fixed_dataset_mean([row[place] for row in table]) for place in range(len(PAIRS))]
        covered.append([np.mean([covers(entry) for entry in row]) for row in table])
        covered_fixed.append(np.mean([covers(entry) for entry in fixed]))
        unusable += sum(any(c.code == "unusable_variance" for c in entry.cautions) for row in table for entry in row)
        claimed: list[Sequence[Estimate]] = [*table, fixed]
        claims["all_pairs"].append(any_claim([entry for row in claimed for entry in row], seeds))
        claims["vs_control"].append(any_claim([row[place] for row in claimed for place in VS_CONTROL], seeds))
    by_dataset = np.array(covered)
    coverage, fixed_coverage = float(by_dataset.mean()), float(np.mean(covered_fixed))
    rates = {name: float(np.mean(found)) for name, found in claims.items()}
    return {
        "part": "null",
        "scenario": scenario.name,
        "required": scenario.required,
        "careful": scenario.careful,
        "seeds": seeds,
        "repetitions": repetitions,
        "coverage": coverage,
        "coverage_by_dataset": [
            {"cases": cases, "coverage": float(own)}
            for cases, own in zip(scenario.cases, by_dataset.mean(axis=0), strict=True)
        ],
        "coverage_error": float(by_dataset.mean(axis=1).std(ddof=1)) / math.sqrt(repetitions),
        "coverage_fixed_datasets": fixed_coverage,
        "coverage_seeds_only": float(np.mean(covered_seeds)),
        "false_claims": rates,
        "unusable": unusable / (repetitions * len(CASES) * len(PAIRS)),
    }


def line(row: Row) -> str:
    """A row in words."""
    claims = ", ".join(f"{name} {rate:.3f}" for name, rate in row["false_claims"].items())
    datasets = ", ".join(f"{own['coverage']:.3f}" for own in row["coverage_by_dataset"])
    return (
        f"{row['scenario']}, {row['seeds']} seeds: coverage {row['coverage']:.3f} ± {row['coverage_error']:.3f} "
        f"({datasets}), fixed datasets {row['coverage_fixed_datasets']:.3f}, seeds only "
        f"{row['coverage_seeds_only']:.3f}; false claims: {claims}; "
        f"unusable {row['unusable']:.4f}"
    )


def settings(repetitions: int, base_seed: int) -> Iterator[Setting]:
    """One a scenario."""
    for scenario in SCENARIOS:
        own = repetitions if scenario.required else max(2, repetitions // 4)
        yield Setting(scenario.name, partial(under_the_null, scenario, own, base_seed), own)
