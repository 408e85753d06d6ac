"""Do the intervals and tests hold what they promise? ``python -m benchmarks.calibration``

Sweeps of 6 methods on 3 datasets are drawn from a latent model of seeds and cases in which no method is better than
another, and analysed by the functions that the report uses. A claim of a difference is then false, and an interval that
misses zero misses the truth. Further parts: the power that a plan promises against the power found, equivalence at the
margin, the other metrics, whose pseudo-values are right to first order alone (coverage, and width against that of
the crossed bootstrap), and several labels of one source of images.

The chance that a case is classified correctly depends on the case (some are hard for all), on the case for this method,
on the seed of this method, and on chance. The default spread gives differences of accuracy with variance components as
in sweeps of four small ResNets on real Brain MRI images and on digits (standard deviations between seeds 0 to 0.06,
between cases 0.05 to 0.34, of what remains 0.11 to 0.32).
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtrit

from analysis.stats.across_datasets import bounded_mean, fixed_dataset_mean
from analysis.stats.cautions import VERDICT_REPLICATES
from analysis.stats.decisions import equivalence_p
from analysis.stats.estimate import Estimate, FloatArray, mean_over_seeds
from analysis.stats.multiplicity import adjust
from analysis.stats.power import power_two_way
from analysis.stats.ranges import within_range
from analysis.stats.twoway import Components, mean_squares, two_way
from harness.metrics.influence import area_values
from harness.metrics.repeated import RepeatedCases
from harness.metrics.table import built_in

Row = dict[str, Any]
IntArray = npt.NDArray[np.int64]

METHODS = 6
PAIRS = tuple(combinations(range(METHODS), 2))
VS_CONTROL = tuple(place for place, pair in enumerate(PAIRS) if pair[0] == 0)
CASES, LEVELS = (150, 400, 1000), (0.8, 1.2, 1.8)
"""Test cases of the three datasets, and how far the average case lies on the right side."""
SHARED_SD, OWN_SD, CHANCE_SD = 1.0, 0.5, 0.5
"""How cases differ for all methods, for one of them, and from training to training."""
CLASS_SHARES = (0.55, 0.3, 0.15)
ALPHA = 0.05
COVERAGE = (0.935, 0.97)
SCORE_COVERAGE = (0.935, 0.985)
"""Of intervals of single scores, which near a bound are wide on their long side."""
SCORE_LEVELS = (1.2, 2.2, 3.2)
MOST_FALSE_CLAIMS = 0.065
"""For the upper end of Wilson's interval of the share of sweeps with a false claim, from 2,000 sweeps on."""
OTHERS = ("macro_f1", "mcc", "kappa_quadratic", "nll", "brier", "ece")
FIRST_ORDER_COVERAGE = (0.93, 0.97)
CALIBRATION_ERROR_COVERAGE = (0.93, 0.993)
"""An absolute value has no derivative at zero, and near it the interval is too wide."""
SLOPE, THIRD_CLASS = 1.5, -1.0
"""Of logits: how they grow with the latent margin, so that probabilities are about calibrated, where the calibration
error is hardest; and the logit of the class that is neither right nor the rival."""
WIDEST, BOOTSTRAP_SHARE, RESAMPLES = 0.8, 10, 1000
"""Width against the bootstrap's for macro-F1 with 5 seeds; the bootstrap is made in one of so many repetitions."""


@dataclass(frozen=True)
class Scenario:
    """A way in which sweeps come about."""

    name: str
    metric: Literal["accuracy", "balanced_accuracy", "auc"]
    seed_sd: float
    seeds: Literal["normal", "skewed", "collapsing"] = "normal"
    group_size: int = 1
    use_groups: bool = True
    cases: tuple[int, ...] = CASES
    required: bool = True
    """Whether the protocol promises anything here."""


SCENARIOS = (
    Scenario("accuracy, quiet seeds", "accuracy", 0.05),
    Scenario("accuracy, noisy seeds", "accuracy", 0.25),
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
    Scenario("accuracy, 12 patients of 25 images", "accuracy", 0.15, group_size=25, cases=(300, 300, 300)),
    Scenario("accuracy, skewed seeds", "accuracy", 0.25, seeds="skewed", required=False),
    Scenario("accuracy, one seed in ten collapses", "accuracy", 0.15, seeds="collapsing", required=False),
)


@dataclass(frozen=True)
class Drawn:
    """Test results of all methods on one dataset."""

    values: FloatArray
    """(methods, seeds, cases): correctness or pseudo-values."""
    groups: IntArray | None


def draw(
    rng: np.random.Generator, scenario: Scenario, seeds: int, cases: int, level: float, lead: float = 0.0
) -> Drawn:
    """One dataset of a sweep; ``lead`` moves the first method's level."""
    noise, effects, groups = latent(rng, scenario, seeds, cases)
    effects[0] += lead
    labels = labels_of(cases)
    if scenario.metric == "auc":
        own = labels == 0
        score = noise + own * (level + effects)
        values = stacked(area_values(one, own) for one in score)
    elif scenario.metric == "accuracy":
        values = (noise + level + effects > 0).astype(np.float64)
    else:
        values = case_values("balanced_accuracy", logits_of(noise + level + effects, labels, (labels + 1) % 3), labels)
    return Drawn(values, groups if scenario.group_size > 1 and scenario.use_groups else None)


def latent(
    rng: np.random.Generator, scenario: Scenario, seeds: int, cases: int
) -> tuple[FloatArray, FloatArray, IntArray]:
    """What cases and chance do to trainings, (methods, seeds, cases); what seeds do, (methods, seeds, 1); groups."""
    groups = np.arange(cases) // scenario.group_size
    count = int(groups[-1]) + 1
    effects = seed_effects(rng, scenario, (METHODS, seeds, 1))
    shared = SHARED_SD * rng.standard_normal(count)[groups]
    noise = CHANCE_SD * rng.standard_normal((METHODS, seeds, cases), dtype=np.float32)
    noise += OWN_SD * rng.standard_normal((METHODS, 1, count))[:, :, groups]
    return noise + shared, effects, groups


def labels_of(cases: int) -> IntArray:
    """Three classes of different size, in the order of the cases."""
    return np.searchsorted(np.cumsum(CLASS_SHARES), np.linspace(0, 1, cases, endpoint=False), "right")


def logits_of(margin: FloatArray, labels: IntArray, rivals: IntArray) -> FloatArray:
    """Logits (methods, seeds, cases, classes) by which a case is right where its margin is above zero.

    Args:
        margin: of the right class over its rival, shape (methods, seeds, cases).
        labels, rivals: the two classes of each case, shape (cases,).
    """
    logits = np.full((*margin.shape, len(CLASS_SHARES)), THIRD_CLASS)
    place = np.arange(len(labels))
    logits[:, :, place, rivals] = 0.0
    logits[:, :, place, labels] = SLOPE * margin
    return logits


def case_values(metric: str, logits: FloatArray, labels: IntArray) -> FloatArray:
    """A metric's values, shape (methods, seeds, cases)."""
    return stacked(built_in()[metric].case_values(RepeatedCases(own, labels)) for own in logits)


def stacked(tables: Iterable[FloatArray | None]) -> FloatArray:
    """One array of all; every class has a case here, so that there is none that is not defined."""
    return np.stack([table for table in tables if table is not None])


def seed_effects(rng: np.random.Generator, scenario: Scenario, shape: tuple[int, ...]) -> FloatArray:
    """What a seed does to a method's level."""
    if scenario.seeds == "skewed":
        return scenario.seed_sd * (1.0 - rng.exponential(size=shape))
    effects = scenario.seed_sd * rng.standard_normal(shape)
    return effects - 2.0 * (rng.random(shape) < 0.1) if scenario.seeds == "collapsing" else effects


def under_the_null(scenario: Scenario, repetitions: int, base_seed: int, seeds: int) -> Row:
    """Coverage and false claims of sweeps in which all methods are equally good."""
    repetitions = repetitions if scenario.required else max(2, repetitions // 4)
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
    limit = ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / repetitions)
    upper = max(wilson_upper(rate, repetitions) for rate in rates.values())
    slack = 2 * by_dataset.mean(axis=1).std(ddof=1) / math.sqrt(repetitions)
    return {
        "part": "null",
        "scenario": scenario.name,
        "required": scenario.required,
        "seeds": seeds,
        "repetitions": repetitions,
        "coverage": coverage,
        "coverage_by_dataset": [
            {"cases": cases, "coverage": float(own)}
            for cases, own in zip(scenario.cases, by_dataset.mean(axis=0), strict=True)
        ],
        "coverage_error": float(slack / 2),
        "coverage_fixed_datasets": fixed_coverage,
        "coverage_seeds_only": float(np.mean(covered_seeds)),
        "false_claims": rates,
        "false_claims_limit": limit,
        "false_claims_upper": upper,
        "unusable": unusable / (repetitions * len(CASES) * len(PAIRS)),
        "met": all(rate <= limit for rate in rates.values())
        and (repetitions < 2000 or upper <= MOST_FALSE_CLAIMS)
        and all(COVERAGE[0] - slack <= value <= COVERAGE[1] + slack for value in (coverage, fixed_coverage)),
    }


def power_found(repetitions: int, base_seed: int, seeds: int) -> Row:
    """Power promised by the true variance components against power found, and equivalence at the margin."""
    scenario, cases, level, lead = SCENARIOS[1], CASES[1], LEVELS[1], 0.3
    rng = np.random.default_rng((base_seed, 7))
    pilot = draw(rng, scenario, 300, 4000, level, lead).values
    # Chance is normal, so the accuracy of a method is known without drawing it.
    spread = math.sqrt(SHARED_SD**2 + OWN_SD**2 + CHANCE_SD**2 + scenario.seed_sd**2)
    gap = float(ndtr((level + lead) / spread) - ndtr(level / spread))
    parts = [mean_squares(pilot[0] - pilot[b]).components for b in range(1, METHODS)]
    components = Components(*np.mean([(part.seed, part.case, part.interaction) for part in parts], axis=0).tolist())
    levels = {"alone": ALPHA, "first of 45": ALPHA / 45}
    planned = {name: power_two_way(components, seeds, cases, gap, alpha) for name, alpha in levels.items()}
    p_values, equivalent = [], []
    for stream in streams(base_seed, "power", seeds, repetitions):
        values = draw(stream, scenario, seeds, cases, level, lead).values
        result = two_way(values[0] - values[1])
        p_values.append(result.p_value() or 0.0)
        equivalent.append((equivalence_p(result, gap) or 0.0) <= ALPHA)
    found = {name: float(np.mean(np.array(p_values) <= alpha)) for name, alpha in levels.items()}
    return {
        "part": "power",
        "seeds": seeds,
        "repetitions": repetitions,
        "true_difference": gap,
        "planned": planned,
        "found": found,
        "equivalent_at_margin": float(np.mean(equivalent)),
        "met": all(
            abs(planned[name] - found[name]) <= 0.03 + 2 * math.sqrt(planned[name] * (1 - planned[name]) / repetitions)
            for name in levels
        )
        and float(np.mean(equivalent)) <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / repetitions),
    }


def first_order(seed_sd: float, repetitions: int, base_seed: int, seeds: int) -> Row:
    """Coverage and width of intervals for metrics whose pseudo-values are right to first order."""
    scenario, cases, level = replace(SCENARIOS[0], seed_sd=seed_sd), CASES[1], LEVELS[1]
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
    limits = {name: CALIBRATION_ERROR_COVERAGE if name == "ece" else FIRST_ORDER_COVERAGE for name in OTHERS}
    return {
        "part": "first order",
        "seed_sd": seed_sd,
        "seeds": seeds,
        "repetitions": repetitions,
        "coverage": coverage,
        "coverage_error": error,
        "width": {name: float(np.mean(found)) for name, found in widths.items()},
        "macro_f1_beside_bootstrap": {"repetitions": len(compared), "width": own, "bootstrap_width": bootstrap},
        "met": all(
            low - 2 * error[name] <= coverage[name] <= high + 2 * error[name] for name, (low, high) in limits.items()
        )
        # Where the seeds are what varies most, both are about as wide.
        and (seeds > 5 or seed_sd > 0.15 or own <= WIDEST * bootstrap),
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


LABELS = (2, 6)
"""Under how many labels a sweep lists one source."""


def labels_of_one_source(labels: int, repetitions: int, base_seed: int, seeds: int) -> Row:
    """Coverage and false claims of the average over labels of one source, such as one dataset at several image sizes.

    The labels have their test cases in common, how hard these are for all and for each method included; each trains
    anew. ``once`` is what the report does with them, ``bounded`` what it does where the cases have other names,
    ``apart`` what would happen if every label were a dataset of its own.
    """
    scenario, cases, level = SCENARIOS[1], CASES[0], LEVELS[1]
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
    limit = ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / repetitions)
    error = math.sqrt(ALPHA * (1 - ALPHA) / repetitions)
    return {
        "part": "sources",
        "labels": labels,
        "seeds": seeds,
        "repetitions": repetitions,
        "coverage": coverage,
        "coverage_error": error,
        "false_claims": rates,
        "false_claims_limit": limit,
        "standard_error": widths,
        "met": all(rates[name] <= limit and coverage[name] >= COVERAGE[0] - 2 * error for name in ("once", "bounded"))
        and coverage["once"] <= COVERAGE[1] + 2 * error,
    }


def scores_within_range(repetitions: int, base_seed: int, seeds: int) -> Row:
    """Coverage of intervals of single scores up to the ceiling, and how many leave the metric's range."""
    scenario, cases = SCENARIOS[1], CASES[0]
    spread = math.sqrt(SHARED_SD**2 + OWN_SD**2 + CHANCE_SD**2 + scenario.seed_sd**2)
    found: dict[str, list[float]] = {}
    outside = plain_outside = 0
    for level in SCORE_LEVELS:
        truth = float(ndtr(level / spread))
        covered = found.setdefault(f"{truth:.3f}", [])
        for rng in streams(base_seed, f"scores {level}", seeds, repetitions):
            for values in draw(rng, scenario, seeds, cases, level).values:
                plain = two_way(values)
                score = within_range(plain, (0.0, 1.0))
                if score.low is None or score.high is None or plain.high is None:
                    continue
                covered.append(covers(score, truth))
                outside += not 0.0 <= score.low <= score.high <= 1.0
                plain_outside += plain.high > 1.0
    coverage = {name: float(np.mean(own)) for name, own in found.items()}
    count = sum(map(len, found.values()))
    return {
        "part": "scores",
        "seeds": seeds,
        "repetitions": repetitions,
        "coverage": coverage,
        "intervals": count,
        "outside": outside,
        "outside_without_the_logit": plain_outside,
        "met": outside == 0
        and all(SCORE_COVERAGE[0] - 0.03 / math.sqrt(repetitions / 100) <= value for value in coverage.values()),
    }


def streams(base_seed: int, name: str, seeds: int, repetitions: int) -> Iterator[np.random.Generator]:
    """One generator a repetition, so that more repetitions keep the first ones."""
    for repetition in range(repetitions):
        yield np.random.default_rng((base_seed, *name.encode(), seeds, repetition))


def covers(estimate: Estimate, truth: float = 0.0) -> bool:
    if estimate.low is None or estimate.high is None:
        return abs(estimate.estimate - truth) < 1e-12
    return estimate.low <= truth <= estimate.high


def any_claim(estimates: Sequence[Estimate], seeds: int) -> bool:
    p_values = [1.0 if (p := entry.p_value()) is None else p for entry in estimates]
    return seeds >= VERDICT_REPLICATES and bool((adjust(p_values) <= ALPHA).any())


def wilson_upper(rate: float, count: int) -> float:
    """Upper end of Wilson's 95 % interval of a proportion (J. Amer. Statist. Assoc. 22, 1927)."""
    square = float(ndtri(0.975)) ** 2
    middle, root = rate + square / (2 * count), rate * (1 - rate) / count + square / (4 * count**2)
    return (middle + math.sqrt(square * root)) / (1 + square / count)


def show(row: Row) -> str:
    """A row as a line of text."""
    mark = "met" if row["met"] else ("NOT MET" if row.get("required", True) else "not met (nothing is promised here)")
    if row["part"] == "null":
        claims = ", ".join(f"{name} {rate:.3f}" for name, rate in row["false_claims"].items())
        datasets = ", ".join(f"{own['coverage']:.3f}" for own in row["coverage_by_dataset"])
        return (
            f"{row['scenario']}, {row['seeds']} seeds: coverage {row['coverage']:.3f} ± {row['coverage_error']:.3f} "
            f"({datasets}), fixed datasets {row['coverage_fixed_datasets']:.3f}, seeds only "
            f"{row['coverage_seeds_only']:.3f}; false claims: {claims} (at most {row['false_claims_limit']:.3f}); "
            f"unusable {row['unusable']:.4f}: {mark}"
        )
    if row["part"] == "power":
        powers = ", ".join(
            f"{name}: planned {value:.3f}, found {row['found'][name]:.3f}" for name, value in row["planned"].items()
        )
        return (
            f"power, {row['seeds']} seeds, true difference {row['true_difference']:.4f}: {powers}; called equivalent "
            f"at the margin {row['equivalent_at_margin']:.3f}: {mark}"
        )
    if row["part"] == "sources":
        coverage, rates = row["coverage"], row["false_claims"]
        return (
            f"{row['labels']} labels of one source, {row['seeds']} seeds: coverage of the average "
            f"{coverage['once']:.3f} (bounded {coverage['bounded']:.3f}, as datasets {coverage['apart']:.3f}), false "
            f"claims {rates['once']:.3f} (bounded {rates['bounded']:.3f}, as datasets {rates['apart']:.3f}, about new "
            f"ones {rates['new_datasets_apart']:.3f}; at most {row['false_claims_limit']:.3f}): {mark}"
        )
    coverage = ", ".join(f"{name} {value:.3f}" for name, value in row["coverage"].items())
    if row["part"] == "scores":
        return (
            f"scores, {row['seeds']} seeds: coverage by true accuracy: {coverage}; {row['outside']} of "
            f"{row['intervals']} intervals leave the range, {row['outside_without_the_logit']} without the logit: "
            f"{mark}"
        )
    beside = row["macro_f1_beside_bootstrap"]
    return (
        f"first order, {row['seeds']} seeds of SD {row['seed_sd']}: coverage {coverage}; width for macro-F1 "
        f"{beside['width']:.4f}, the bootstrap's {beside['bootstrap_width']:.4f}: {mark}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a setting and write all numbers as JSON; 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calibration", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--repetitions",
        type=int,
        default=2000,
        help="simulated sweeps a setting (default: 2000); a quarter of them where nothing is promised",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5, 10, 20], help="seeds a method (2 3 5 10 20)")
    parser.add_argument("--base-seed", type=int, default=0)
    parser.add_argument("--only", default="", help="only the settings whose name contains this text")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "calibration.json")
    options = parser.parse_args(arguments)
    repetitions, base = options.repetitions, options.base_seed
    jobs: list[tuple[str, Callable[[int], Row]]] = [
        *((scenario.name, partial(under_the_null, scenario, repetitions, base)) for scenario in SCENARIOS),
        ("power", partial(power_found, repetitions, base)),
        ("scores", partial(scores_within_range, max(2, repetitions // 10), base)),
        *((f"first order {sd}", partial(first_order, sd, repetitions, base)) for sd in (0.05, 0.15, 0.25)),
        *(
            (f"{labels} labels of one source", partial(labels_of_one_source, labels, repetitions, base))
            for labels in LABELS
        ),
    ]
    rows, start = [], time.perf_counter()
    for name, job in jobs:
        for seeds in options.seeds if options.only in name else ():
            rows.append(job(seeds))
            print(show(rows[-1]), flush=True)
    record = {
        "command": f"python -m benchmarks.calibration --repetitions {repetitions} --base-seed {base}",
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "seconds": time.perf_counter() - start,
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["met"] or not row.get("required", True) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
