"""Evaluations beside the test split: differences under a shift, drops, the corruption error, several splits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from scipy.special import ndtr

from analysis.stats.across_datasets import fixed_dataset_mean
from analysis.stats.case_sets import mean_over_sets, sum_of_sets
from analysis.stats.cautions import POPULATION_DATASETS
from analysis.stats.corruption_error import corruption_error_values
from analysis.stats.estimate import Estimate, FloatArray
from analysis.stats.ranges import within_range
from analysis.stats.resampled import mean_over_splits
from analysis.stats.twoway import two_way
from benchmarks.calibration.model import (
    ALPHA,
    CHANCE_SD,
    OWN_SD,
    SHARED_SD,
    Row,
    Setting,
    any_claim,
    covers,
    streams,
)
from benchmarks.calibration.splits import OVERLAP

METHODS, CORRUPTIONS = 5, 4
CASES, OTHER_CASES = (150, 400), 250
"""Test cases of the two datasets, and of an external set."""
LEVEL, FALLS = 1.3, (0.2, 0.5, 0.9, 1.4)
"""How far the average case lies on the right side, and by how much each corruption moves it."""
DAMAGE_SD, SEED_SD, SEED_UNDER_SHIFT_SD = 0.6, 0.15, 0.1
"""How corruptions differ by case, trainings by themselves, and trainings under one shift."""


def corrupted(rng: np.random.Generator, seeds: int, cases: int) -> tuple[FloatArray, FloatArray]:
    """Correctness on the test split, (methods, seeds, cases), and under each corruption, with that axis first."""
    case = SHARED_SD * rng.standard_normal(cases) + OWN_SD * rng.standard_normal((METHODS, 1, cases))
    trained = SEED_SD * rng.standard_normal((METHODS, seeds, 1))
    chance = CHANCE_SD * rng.standard_normal((METHODS, seeds, cases))
    margin = LEVEL + case + trained + chance
    damage = DAMAGE_SD * rng.standard_normal((CORRUPTIONS, 1, 1, cases))
    moved = SEED_UNDER_SHIFT_SD * rng.standard_normal((CORRUPTIONS, METHODS, seeds, 1))
    again = CHANCE_SD * rng.standard_normal((CORRUPTIONS, METHODS, seeds, cases))
    falls = np.array(FALLS)[:, None, None, None]
    shifted = LEVEL - falls + case + trained + damage + moved + again
    return (margin > 0).astype(np.float64), (shifted > 0).astype(np.float64)


def true_accuracy() -> tuple[float, float]:
    """On the test split, and on average under the corruptions."""
    inner = SHARED_SD**2 + OWN_SD**2 + CHANCE_SD**2 + SEED_SD**2
    outer = math.sqrt(inner + DAMAGE_SD**2 + SEED_UNDER_SHIFT_SD**2)
    return float(ndtr(LEVEL / math.sqrt(inner))), float(np.mean([ndtr((LEVEL - fall) / outer) for fall in FALLS]))


def under_corruptions(repetitions: int, base_seed: int, seeds: int) -> Row:
    """Methods that are equally good: differences and drops under the mean of several corruptions, and claims of it.

    The family is what a report makes one question of: each method against the control on each dataset and on average.
    """
    clean, bad = true_accuracy()
    covered: dict[str, list[float]] = {name: [] for name in ("difference", "drop", "difference of drops", "mCE")}
    claims = []
    for rng in streams(base_seed, "corruptions", seeds, repetitions):
        tables: list[list[FloatArray]] = []
        for cases in CASES:
            test, shifted = corrupted(rng, seeds, cases)
            under = shifted.mean(axis=0)
            pairs = range(1, METHODS)
            tables.append([under[0] - under[other] for other in pairs])
            drops = test - under
            covered["drop"] += [float(covers(two_way(drop), clean - bad)) for drop in drops]
            covered["difference of drops"] += [float(covers(two_way(drops[0] - drops[other]))) for other in pairs]
            errors = 1 - shifted
            relative = (corruption_error_values(errors[:, other], errors[:, 0]) for other in pairs)
            covered["mCE"] += [float(covers(within_range(two_way(one), (0.0, math.inf)), 1.0)) for one in relative]
        found = [two_way(table) for own in tables for table in own]
        covered["difference"] += [float(covers(one)) for one in found]
        by_dataset = [found[place : place + METHODS - 1] for place in range(0, len(found), METHODS - 1)]
        averages = [fixed_dataset_mean(own) for own in zip(*by_dataset, strict=True)]
        claims.append(any_claim([*found, *averages], seeds))
    return _row("corruptions", seeds, repetitions, covered, float(np.mean(claims)))


def on_other_cases(repetitions: int, base_seed: int, seeds: int) -> Row:
    """Drops to an external set, whose cases are no case of the test split, and their differences."""
    inner = SHARED_SD**2 + OWN_SD**2 + CHANCE_SD**2 + SEED_SD**2
    clean = float(ndtr(LEVEL / math.sqrt(inner)))
    bad = float(ndtr((LEVEL - FALLS[1]) / math.sqrt(inner + SEED_UNDER_SHIFT_SD**2)))
    covered: dict[str, list[float]] = {name: [] for name in ("drop", "difference of drops")}
    for rng in streams(base_seed, "other cases", seeds, repetitions):
        trained = SEED_SD * rng.standard_normal((METHODS, seeds, 1))

        def correct(cases: int, level: float, trained: FloatArray, rng: np.random.Generator) -> FloatArray:
            case = SHARED_SD * rng.standard_normal(cases) + OWN_SD * rng.standard_normal((METHODS, 1, cases))
            margin = level + case + trained + CHANCE_SD * rng.standard_normal((METHODS, seeds, cases))
            return (margin > 0).astype(np.float64)

        test = correct(CASES[0], LEVEL, trained, rng)
        moved = trained + SEED_UNDER_SHIFT_SD * rng.standard_normal(trained.shape)
        other = correct(OTHER_CASES, LEVEL - FALLS[1], moved, rng)
        for method in range(METHODS):
            covered["drop"].append(float(covers(sum_of_sets([test[method], -other[method]]), clean - bad)))
        for method in range(1, METHODS):
            of_test, of_other = test[0] - test[method], other[0] - other[method]
            covered["difference of drops"].append(float(covers(sum_of_sets([of_test, -of_other]))))
    return _row("other cases", seeds, repetitions, covered)


def one_set_for_all_splits(share: float, repetitions: int, base_seed: int, seeds: int) -> Row:
    """A difference on an external set over ``seeds`` splits, whose trainings have Nadeau and Bengio's correlation.

    ``share`` is the variance that new cases give to the mean, as a multiple of what the splits give to it.
    ``without cases`` is what would be said if the cases were not counted.
    """
    common, own = OVERLAP / (1 + OVERLAP), 1 / (1 + OVERLAP)
    of_cases = math.sqrt(share * OTHER_CASES * (1 / seeds + OVERLAP) * own)
    covered: dict[str, list[float]] = {"difference": [], "without cases": []}
    for rng in streams(base_seed, f"one set, {share}", seeds, repetitions):
        splits = math.sqrt(common) * rng.standard_normal() + math.sqrt(own) * rng.standard_normal((seeds, 1))
        cases = of_cases * rng.standard_normal(OTHER_CASES)
        table = splits + cases + rng.standard_normal((seeds, OTHER_CASES))
        rows = mean_over_splits(table.mean(axis=1), range(seeds), OVERLAP)
        found: dict[str, Estimate] = {"difference": mean_over_sets(rows, [table]), "without cases": rows}
        for name, one in found.items():
            covered[name].append(float(covers(one)))
    return _row(f"one set for all splits, {share:g} times their variance", seeds, repetitions, covered)


def held_out_domains(share: float, repetitions: int, base_seed: int, seeds: int) -> Row:
    """A difference over ``seeds`` domains that were held out in turn, as a claim about new domains.

    ``share`` is the standard deviation of what a domain does by being trained on, as a multiple of what it does by
    being tested on. ``independent`` is what would be said if the trainings shared nothing.
    """
    covered: dict[str, list[float]] = {"new domains": [], "independent": []}
    for rng in streams(base_seed, f"domains {share}", seeds, repetitions):
        tested, trained = rng.standard_normal(seeds), share * rng.standard_normal(seeds)
        values = tested + (trained.sum() - trained) / (seeds - 1) + 0.3 * rng.standard_normal(seeds)
        for name, overlap in (("new domains", 1 / (seeds - 1)), ("independent", 0.0)):
            covered[name].append(float(covers(mean_over_splits(values, range(seeds), overlap))))
    return _row(f"domains held out, {share:g} times the effect in training", seeds, repetitions, covered)


def _row(name: str, seeds: int, repetitions: int, covered: dict[str, list[float]], claims: float | None = None) -> Row:
    """Shares, and the standard error of each: sweeps are independent, what is counted in one of them is not."""
    by_sweep = {what: np.array(own).reshape(repetitions, -1).mean(axis=1) for what, own in covered.items()}
    floor = math.sqrt(ALPHA * (1 - ALPHA) / repetitions)
    return {
        "part": "shifts",
        "name": name,
        "seeds": seeds,
        "repetitions": repetitions,
        "coverage": {what: float(own.mean()) for what, own in by_sweep.items()},
        "coverage_error": {
            what: max(
                float(own.std(ddof=1)) / math.sqrt(repetitions), floor / math.sqrt(len(covered[what]) / repetitions)
            )
            for what, own in by_sweep.items()
        },
        "false_claims": claims,
    }


def line(row: Row) -> str:
    """A row in words."""
    shares = ", ".join(
        f"{what} {share:.3f} ± {row['coverage_error'][what]:.3f}" for what, share in row["coverage"].items()
    )
    claimed = "" if row["false_claims"] is None else f"; false claims {row['false_claims']:.3f}"
    return f"{row['name']}, {row['seeds']} replicates: coverage {shares}{claimed}"


def settings(repetitions: int, base_seed: int) -> Iterator[Setting]:
    """One a kind of shift."""
    kinds: list[tuple[str, Callable[[int], Row]]] = [
        ("corruptions", partial(under_corruptions, repetitions, base_seed)),
        ("other cases", partial(on_other_cases, repetitions, base_seed)),
        *(
            (f"one set for all splits, {share:g}", partial(one_set_for_all_splits, share, repetitions, base_seed))
            for share in (0.3, 1.0, 3.0)
        ),
    ]
    for name, count in kinds:
        yield Setting(f"shifts, {name}", count, repetitions, fewest=3)
    for share in (0.0, 0.5, 1.0):
        count = partial(held_out_domains, share, repetitions, base_seed)
        yield Setting(f"shifts, domains held out, {share:g}", count, repetitions, fewest=POPULATION_DATASETS)
