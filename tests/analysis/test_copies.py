"""Copies of trainings are said, and do not count as independent draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from made_up import made_up

from analysis.comparison.compare import Analysis, analyse
from analysis.comparison.evidence import Cell, Evidence, Predictions
from analysis.comparison.verdicts import Comparison

Source = Callable[[str, int], tuple[str, int]]


def copied(evidence: Evidence, source: Source, change: Callable[[np.ndarray], np.ndarray] = lambda x: x) -> Evidence:
    """The evidence in which each training (method, seed) is that of ``source``."""
    cells: dict[tuple[str, str], Cell] = {}
    for (dataset, method), cell in evidence.cells.items():
        scores: dict[str, dict[int, float | None]] = {}
        for metric in cell.scores:
            for seed in cell.seeds:
                from_method, from_seed = source(method, seed)
                scores.setdefault(metric, {})[seed] = evidence.cells[dataset, from_method].scores[metric][from_seed]
        cells[dataset, method] = replace(cell, scores=scores)

    def predictions(dataset: str) -> Predictions | None:
        found = evidence.predictions(dataset)
        if found is None:
            return None
        logits: Mapping[str, Mapping[int, np.ndarray]] = {
            method: {
                seed: own[seed] if source(method, seed) == (method, seed) else change(found.logits[a][b])
                for seed in own
                for a, b in [source(method, seed)]
            }
            for method, own in found.logits.items()
        }
        return replace(found, logits=logits)

    return replace(evidence, cells=cells, predictions=predictions)


def base(with_predictions: bool = True, seeds: int = 2) -> Evidence:
    return made_up(
        {"strong": 2.4, "weak": 0.8},
        datasets=("alpha",),
        seeds=range(seeds),
        cases=90,
        with_predictions=with_predictions,
    )


def only(analysis: Analysis, metric: str = "balanced_accuracy") -> Comparison:
    return next(one for one in analysis.comparisons if one.pair.metric == metric)


def codes(found: Comparison) -> set[str]:
    return {caution.code for caution in found.cautions}


@pytest.mark.parametrize("seeds", [2, 6])
def test_seeds_that_are_one_training_give_no_verdict_and_a_caution(seeds: int) -> None:
    assert only(analyse(base(seeds=6))).outcome == "better"
    found = analyse(copied(base(seeds=seeds), lambda method, seed: (method, 0)))
    assert only(found).outcome == "inconclusive" and only(found).p is None
    assert "constant_predictions" in codes(only(found)) & {caution.code for caution in found.cautions}


@pytest.mark.parametrize(
    "change",
    [lambda x: x, lambda x: x.astype(np.float32).astype(np.float64), lambda x: x + 3.0, lambda x: np.round(x, 6)],
    ids=["copied", "as float32", "shifted", "rounded"],
)
@pytest.mark.parametrize("who", [("strong",), ("weak",), ("strong", "weak")])
def test_a_copied_seed_counts_once(change: Callable[[np.ndarray], np.ndarray], who: tuple[str, ...]) -> None:
    evidence = copied(base(seeds=4), lambda method, seed: (method, 1 if seed == 3 and method in who else seed), change)
    found, honest = analyse(evidence), analyse(base(seeds=3))
    assert only(found).pair.seeds == (0, 1, 2)
    assert only(found).p == only(honest).p
    assert "copied_seeds" in codes(only(found))
    score = found.score("alpha", who[0])
    assert score is not None and score.seeds == (0, 1, 2)
    said = next(caution.sentence for caution in found.cautions if caution.code == "copied_seeds")
    assert "alpha" in said and "seed 3 of seed 1" in said


def test_a_deterministic_method_is_compared_and_its_reach_is_said() -> None:
    found = analyse(copied(base(seeds=5), lambda method, seed: (method, 0 if method == "weak" else seed)))
    assert only(found).outcome == "better" and only(found).pair.seeds == tuple(range(5))
    assert "draw only the other method's training" in " ".join(caution.sentence for caution in only(found).cautions)


def test_a_method_that_is_a_copy_of_another_is_said() -> None:
    for source in (lambda m, s: ("strong", s), lambda m, s: ("strong", (s + 1) % 5 if m == "weak" else s)):
        found = analyse(copied(base(seeds=5), source))
        assert "same_predictions" in codes(only(found))
        assert only(found).outcome == "inconclusive"


def test_copies_are_found_by_scores_where_there_are_no_predictions() -> None:
    halves = copied(base(with_predictions=False, seeds=10), lambda method, seed: (method, seed % 5))
    found = analyse(halves)
    assert only(found).pair.seeds == tuple(range(5)) and "copied_seeds" in codes(only(found))
    assert only(found).p == only(analyse(base(with_predictions=False, seeds=5))).p


def test_equal_scores_of_few_cases_are_no_copies() -> None:
    # Accuracy of thirty cases: equal values come by chance, and no other metric tells the trainings apart.
    evidence = made_up(
        {"strong": 1.6, "weak": 1.5}, datasets=("alpha",), seeds=range(12), cases=30, with_predictions=False
    )
    cells = {
        key: replace(cell, scores={"balanced_accuracy": cell.scores["balanced_accuracy"]})
        for key, cell in evidence.cells.items()
    }
    plan = replace(evidence.plan, metrics=("balanced_accuracy",))
    values = list(cells["alpha", "strong"].scores["balanced_accuracy"].values())
    assert len(set(values)) < len(values)
    found = analyse(replace(evidence, cells=cells, plan=plan))
    assert only(found).pair.seeds == tuple(range(12)) and "copied_seeds" not in codes(only(found))
