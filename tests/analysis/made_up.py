"""Made-up evidence: logits drawn from a model of seeds and cases. No training, no real result is in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from analysis.comparison.compare import Analysis
from analysis.comparison.evidence import Cell, DeclaredPlan, Evidence, Predictions, Provenance, Repeat
from analysis.tables import checks, comparisons
from analysis.tables.main_table import main
from analysis.tables.new_datasets import new_datasets
from harness.metrics.table import evaluate, general
from harness.pages.contents import PageTable

FORBIDDEN = re.compile(
    r"\bequals?\b|\bequally\b|no differen|not differ|n/a|None|nan\b|p = 0\.000\b|p = 0\.0000|  |\.\.|\(\)",
    re.IGNORECASE,
)
"""What no sentence says."""

CLASSES = ("nevus", "melanoma", "keratosis")


def logits(level: float, seed: int, cases: int, name: str, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Float64 of shape (cases, classes), and labels; ``level`` is by how much the right class leads on average."""
    shared = np.random.default_rng([7, cases])
    labels = np.arange(cases) % classes
    hard = shared.normal(size=(cases, classes))
    own = np.random.default_rng([seed, *name.encode()])
    values = hard + 0.6 * own.normal(size=(cases, classes)) + 0.1 * own.normal()
    values[np.arange(cases), labels] += level
    return values, labels


def made_up(
    levels: Mapping[str, float],
    datasets: Sequence[str] = ("alpha", "beta"),
    seeds: Sequence[int] = range(1000, 1008),
    cases: int = 240,
    group_size: int = 1,
    with_predictions: bool = True,
    repeats: Mapping[str, float] | None = None,
    devices: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
    named: bool = True,
    **plan: Any,
) -> Evidence:
    """Evidence on methods that differ by ``levels``.

    Args:
        levels: method → by how much the right class leads.
        repeats: method → how much a repetition changes every metric.
        devices: method → kind of device, by default ``cpu``.
        sources: dataset → source, by default its own name.
        named: whether the predictions name the cases.
        plan: changes of the plan.
    """
    chosen: dict[str, Any] = {
        "metric": "balanced_accuracy", "metrics": ("balanced_accuracy", "accuracy", "auc", "macro_f1", "nll"),
        "family": "all_pairs", "control": None, "margin": 0.01, **plan,
    }  # fmt: skip
    known: dict[tuple[str, str], dict[int, np.ndarray]] = {}
    cells = {}
    for dataset in datasets:
        for method, level in levels.items():
            scores: dict[str, dict[int, float | None]] = {name: {} for name in general()}
            for seed in seeds:
                values, labels = logits(level, seed, cases, method + dataset)
                known.setdefault((dataset, method), {})[seed] = values
                found = evaluate(values, labels)
                for name in general():
                    scores[name][seed] = found[name]
            device = (devices or {}).get(method, "cpu")
            changes = {} if repeats is None or method not in repeats else dict.fromkeys(general(), repeats[method])
            cells[dataset, method] = Cell(
                dataset=dataset, method=method, declared=tuple(seeds), scores=scores, devices=(device,),
                repeats=(Repeat(seeds[0], device, changes),) if changes else (), search_trials=3,
                origins={seed: f"studies/{method}@{dataset}/confirm/c0ffee-s{seed}" for seed in seeds},
            )  # fmt: skip

    def predictions(dataset: str) -> Predictions | None:
        if not with_predictions:
            return None
        labels = np.arange(cases) % len(CLASSES)
        groups = None if group_size == 1 else np.arange(cases) // group_size
        own = {method: known[dataset, method] for method in levels}
        ids = tuple(f"case {case}" for case in range(cases)) if named else ()
        return Predictions(labels=labels, classes=CLASSES, groups=groups, logits=own, case_ids=ids)

    return Evidence(
        name="made up", source="nothing real", plan=DeclaredPlan(**chosen), datasets=tuple(datasets),
        methods=tuple(levels),
        cells=cells, predictions=predictions, classes=dict.fromkeys(datasets, CLASSES),
        provenance={
            name: Provenance(source=(sources or {}).get(name, name), groups="known" if group_size > 1 else "none")
            for name in datasets
        },
    )  # fmt: skip


def replicated(
    evidence: Evidence,
    splits: Mapping[str, int],
    searches: Callable[[int, int], str] | None = None,
    tuned_on: Callable[[int, int], str] | None = None,
) -> Evidence:
    """The same scores as if seeds drew splits and searches in turn; predictions are those of the first split.

    Args:
        evidence: as ``made_up`` gives it.
        splits: dataset → how many splits its seeds take in turn; one without any has its seeds on one split.
        searches: (place of a seed, number of its split) → its search, without the name of its method.
        tuned_on: likewise → split that its configuration was searched on.
    """
    cells = {}
    for (dataset, method), cell in evidence.cells.items():
        number = splits.get(dataset, 1)
        drawn = {seed: (place, place % number) for place, seed in enumerate(cell.seeds)}
        cells[dataset, method] = replace(
            cell,
            splits={seed: f"split {split}" for seed, (_, split) in drawn.items()} if number > 1 else {},
            searches={seed: f"{method}: {searches(*own)}" for seed, own in drawn.items()} if searches else {},
            tuned_on={seed: tuned_on(*own) for seed, own in drawn.items()} if tuned_on and number > 1 else {},
        )

    def on(dataset: str, method: str, seed: int) -> str:
        return cells[dataset, method].splits.get(seed, "split 0")

    def predictions(dataset: str) -> Predictions | None:
        found = evidence.predictions(dataset)
        if found is None:
            return None
        first = {
            method: {seed: own for seed, own in logits.items() if on(dataset, method, seed) == "split 0"}
            for method, logits in found.logits.items()
        }
        return replace(found, logits=first)

    overlap = {dataset: 0.2 / 0.64 for dataset, number in splits.items() if number > 1}
    return replace(evidence, cells=cells, predictions=predictions, overlap=overlap)


def every_table(analysis: Analysis) -> list[PageTable]:
    """Every table of a comparison that has something to show, in the order of a report."""
    made = (
        main(analysis, None), comparisons.pairwise(analysis), comparisons.averages(analysis), new_datasets(analysis),
        comparisons.secondary(analysis), comparisons.exploratory(analysis), checks.power(analysis),
        checks.seed_sensitivity(analysis), checks.robustness(analysis), checks.robustness_of_averages(analysis),
        checks.nondeterminism(analysis), comparisons.not_compared(analysis), comparisons.all_p_values(analysis),
    )  # fmt: skip
    return [table for table in made if table is not None and not table.empty]


def against_control(**changes: Any) -> Evidence:
    """Methods against a control, by balanced accuracy alone."""
    levels = changes.pop("levels", {"control": 1.5, "gpaf": 1.9, "lora_c": 1.55, "poor": 1.0})
    plan = {"family": "vs_control", "control": "control", "metrics": ("balanced_accuracy",), **changes}
    return made_up(levels, **plan)
