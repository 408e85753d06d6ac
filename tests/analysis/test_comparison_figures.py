"""The figures of a comparison: what is drawn is there, nothing is cut off, the same input gives the same bytes."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Callable, Sequence

import matplotlib.image
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.comparison.compare import Analysis, analyse
from analysis.figures import budget as budget_figures
from analysis.figures import comparisons as comparison_figures
from analysis.figures import drawing
from analysis.figures import methods as method_figures
from analysis.figures import predictions as prediction_figures
from analysis.figures import search as search_figures
from analysis.figures.importance import FEWEST_TRIALS, importances, of_settings, slot_scores
from analysis.figures.ranks import cliques, critical_difference
from analysis.stats.cautions import Refused
from harness.metrics.table import evaluate, known_metrics
from harness.pages import palette
from harness.pages.contents import PageFigure
from tests.analysis.made_up import made_up

LEVELS = {"plain": 1.5, "much_better": 2.6, "the_same_again": 1.5, "much_worse": 0.6}
ONE = ("balanced_accuracy",)
MEASURE = known_metrics()[ONE[0]]


def facts_of(**changes: object) -> tuple[Analysis, list[prediction_figures.ReducedPredictions]]:
    reduced: list[prediction_figures.ReducedPredictions] = []

    def each(values: object) -> None:
        one = prediction_figures.reduced(values)  # type: ignore[arg-type]
        if one is not None:
            reduced.append(one)

    chosen = {"levels": LEVELS, "family": "vs_control", "control": "plain", "metrics": ONE, "margin": 0.05, **changes}
    return analyse(made_up(**chosen), each), reduced  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def usual() -> tuple[Analysis, list[prediction_figures.ReducedPredictions]]:
    return facts_of()


def searched(methods: Sequence[str], slots: int = 20, datasets: Sequence[str] = ("alpha",)) -> pl.DataFrame:
    """Trials whose score depends on ``lr`` alone, one of them failed, and confirm trials of the chosen one."""
    rng = np.random.default_rng(3)
    rows = []
    for dataset in datasets:
        for method in methods:
            for slot in range(slots):
                lr, width = float(rng.uniform(-4, -1)), int(rng.integers(1, 5))
                score = None if slot == 1 else 0.7 - 0.05 * (lr + 2.5) ** 2 + 0.002 * float(rng.normal())
                rows.append(
                    {
                        "dataset": dataset, "method": method, "stage": "search", "search_number": 0,
                        "slot": slot, "seed": 0,
                        "status": "done" if score else "failed", "chosen": slot == 0, "val_balanced_accuracy": score,
                        "hyperparameters": json.dumps({"lr": 10**lr, "width": width, "constant": 3}),
                        "train_seconds": None if score is None else 60.0 * width, "device": "NVIDIA H100",
                    }
                )  # fmt: skip
            rows += [
                {
                    "dataset": dataset, "method": method, "stage": "confirm", "search_number": 0,
                        "slot": None, "seed": seed,
                    "status": "done", "chosen": True, "val_balanced_accuracy": 0.7 + 0.01 * float(rng.normal()),
                    "hyperparameters": "{}", "train_seconds": 60.0, "device": "NVIDIA H100",
                }
                for seed in range(1000, 1005)
            ]  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def assert_whole(figures: Sequence[PageFigure]) -> None:
    """Every format is there, and nothing is drawn on the edge of the paper: no label is cut."""
    assert figures
    for figure in figures:
        assert figure.svg.startswith(b"<?xml") and figure.pdf.startswith(b"%PDF")
        pixels = matplotlib.image.imread(io.BytesIO(figure.png))[:, :, :3]
        for name, edge in {
            "top": pixels[:2],
            "bottom": pixels[-2:],
            "left": pixels[:, :2],
            "right": pixels[:, -2:],
        }.items():
            assert (edge == 1).all(), f"{figure.stem}: something is cut at the {name}"
        assert figure.caption.count("Scope") >= 1 and figure.alt


def colours(figure: PageFigure, colour: str) -> int:
    """How many times a colour fills or strokes something."""
    return len(re.findall(f"(?:fill|stroke): {colour}", figure.svg.decode()))


def uses_of_markers(figure: PageFigure) -> int:
    return figure.svg.decode().count("<use ")


def every_figure(
    analysis: Analysis, reduced: Sequence[prediction_figures.ReducedPredictions], trials: pl.DataFrame
) -> list[PageFigure]:
    evidence = analysis.evidence
    trained = {place: 10 ** (number % 8) - 1 for number, place in enumerate(evidence.cells)}
    drawn: list[tuple[PageFigure, ...]] = [
        comparison_figures.forest(analysis, "forest"),
        method_figures.pareto(analysis, trained, "pareto"),
        method_figures.seeds(analysis, evidence.datasets[0], "seeds"),
        budget_figures.budget(trials, MEASURE, "budget"),
        search_figures.importance(trials, MEASURE, "importance"),
    ]
    for one in reduced[:1]:
        drawn += [call(one, call.__name__) for call in FROM_PREDICTIONS]
    return [figure for figures in drawn for figure in figures]


FROM_PREDICTIONS: tuple[Callable[..., tuple[PageFigure, ...]], ...] = (
    prediction_figures.reliability, prediction_figures.confusion, prediction_figures.sensitivity,
)  # fmt: skip


def test_every_figure_is_whole_and_the_same_again(usual: tuple) -> None:
    trials = searched(list(LEVELS))
    first = every_figure(*usual, trials)
    assert len({figure.stem for figure in first}) == len(first) == 8
    assert_whole(first)
    analysis, _ = usual
    again = [
        *comparison_figures.forest(analysis, "forest"),
        *search_figures.importance(trials, MEASURE, "importance"),
    ]
    for one, other in zip([first[0], first[4]], again, strict=True):
        assert (one.svg, one.png, one.pdf, one.caption) == (other.svg, other.png, other.pdf, other.caption)
        assert b"CreationDate" not in one.pdf and b"<dc:date>" not in one.svg


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"levels": {"only": 1.5}, "control": "only", "datasets": ["alpha"]},
        {"seeds": range(1000, 1001)},
        {"with_predictions": False, "family": "all_pairs", "control": None, "margin": None},
        {
            "levels": {f"a method with a very long name, in the {kind} of 17 versions $x_1$ & <b>": 1.5 + kind / 20
                       for kind in range(17)} | {"plain": 1.5},
            "datasets": ["a dataset with quite a long name, part one", "a dataset with quite a long name, part two"],
            "seeds": range(1000, 1003), "cases": 60,
        },
    ],
    ids=["one method", "one seed", "no predictions", "many long names"],
)  # fmt: skip
def test_extreme_inputs_are_drawn_whole(changes: dict) -> None:
    analysis, reduced = facts_of(**changes)
    assert_whole(every_figure(analysis, reduced, searched(analysis.evidence.methods[:8], slots=9)))


def test_the_forest_marks_every_outcome_and_says_what_it_covers(usual: tuple) -> None:
    analysis, _ = usual
    (figure,) = comparison_figures.forest(analysis, "forest")
    outcomes = [one.outcome for one in (*analysis.of("primary"), *analysis.averages)]
    assert {"better", "worse"} < set(outcomes)
    # The inside and the edge of each mark, and of that in the legend.
    for outcome, colour in {"better": palette.SEED, "worse": palette.MEAN}.items():
        assert colours(figure, colour) >= 2 * outcomes.count(outcome)
    assert all(f"{outcomes.count(outcome) // 3} {outcome}" in figure.alt for outcome in ("better", "worse"))
    for words in ("minus plain", "new cases of the same source", "8 seeds, 240 cases", "these 2 datasets", "±0.05"):
        assert words in figure.caption
    narrow, _ = facts_of(with_predictions=False, datasets=["alpha"])
    assert "given this training set, these test cases" in comparison_figures.forest(narrow, "f")[0].caption
    assert "new cases" not in comparison_figures.forest(narrow, "f")[0].caption


def test_seeds_that_collapsed_or_failed_are_marked(usual: tuple) -> None:
    analysis, _ = usual
    evidence = analysis.evidence
    place = ("alpha", "much_better")
    cell = evidence.cells[place]
    scores = {**cell.scores, ONE[0]: {**cell.scores[ONE[0]], 1002: 0.333}}
    broken = dataclasses.replace(cell, scores=scores, failures={1999: "oom"})
    changed = analyse(dataclasses.replace(evidence, cells={**evidence.cells, place: broken}))
    (before,), (after,) = (method_figures.seeds(one, "alpha", "seeds") for one in (analysis, changed))
    # Beside the seeds' circles and the means' diamonds there is one cross; the note is letters, drawn as shapes too.
    assert colours(before, palette.SEED) == colours(after, palette.SEED) == 8 * len(LEVELS) + 1
    assert after.svg.count(b"<path") > before.svg.count(b"<path")
    # Each seed of two neighbouring methods is one line; all of them are one shape.
    (joined,) = re.findall(rf'<path d="([^"]+)"[^>]+stroke: {palette.FAINT}', before.svg.decode())
    assert joined.count("M") == joined.count("L") == 8 * (len(LEVELS) - 1)
    assert method_figures.seeds(changed, "no such dataset", "seeds") == ()


def test_ranks_are_refused_below_six_datasets_and_flagged_below_ten() -> None:
    few, _ = facts_of(datasets=["a", "b", "c", "d", "e"], seeds=[1, 2], cases=30)
    with pytest.raises(Refused, match="5 datasets cannot speak for datasets that were not tried"):
        critical_difference(few, "cd")
    six, _ = facts_of(datasets=["a", "b", "c", "d", "e", "f"], seeds=[1, 2], cases=30)
    figures = critical_difference(six, "cd")
    assert_whole(figures)
    assert "thin evidence" in figures[0].caption and "does not mean that they are alike" in figures[0].caption
    assert figures[0].alt.index("much_better") < figures[0].alt.index("much_worse")


def test_calibration_and_confusion_are_means_over_seeds_of_each_seeds_own() -> None:
    _, (facts,) = facts_of(datasets=["alpha"], seeds=[1000])
    evidence = made_up(LEVELS, datasets=["alpha"], seeds=[1000, 1001], metrics=ONE)
    predictions = evidence.predictions("alpha")
    assert predictions is not None
    for one in facts.methods:
        expected = evaluate(predictions.logits[one.method][1000], predictions.labels)
        gap = np.nansum(one.share * np.abs(one.accuracy - one.confidence))
        assert gap == pytest.approx(expected["ece"], abs=1e-12)
    _, (two,) = facts_of(datasets=["alpha"], seeds=[1000, 1001])
    for one in two.methods:
        each = [evaluate(predictions.logits[one.method][seed], predictions.labels) for seed in (1000, 1001)]
        rows = [np.array(own["confusion"]) / np.array(own["support"])[:, None] for own in each]
        np.testing.assert_allclose(one.confusion, np.mean(rows, axis=0), atol=1e-12)
        np.testing.assert_allclose(one.sensitivity, [own["sensitivity"] for own in each], atol=1e-12)
        assert one.share.sum() == pytest.approx(1)


def test_importance_finds_what_mattered_and_needs_trials() -> None:
    (found,) = importances(searched(["gpaf"], slots=40), "balanced_accuracy")
    assert found.trials == 39 and [one.name for one in found.importances] == ["lr", "width"]
    lr, width = found.importances
    assert lr.share > 0.5 > lr.by_chance and width.share < width.by_chance
    assert found.seed_noise is not None and 0 < found.seed_noise < 1
    assert search_figures.importance(searched(["gpaf"], slots=FEWEST_TRIALS), MEASURE, "i") == ()


@given(st.lists(st.floats(0, 1), min_size=8, max_size=30), st.floats(-3, 3), st.floats(0.1, 10))
@settings(deadline=None, max_examples=25)
def test_importance_does_not_depend_on_the_scale(scores: list[float], shift: float, scale: float) -> None:
    values = np.round(np.array(scores), 3)
    hyperparameters = [{"a": place % 3, "b": float(place)} for place in range(len(scores))]
    plain, moved = of_settings(hyperparameters, values), of_settings(hyperparameters, shift + scale * values)
    assert all(one.share <= 1 + 1e-12 for one in plain)
    assert {one.name: one.share for one in plain} == pytest.approx({one.name: one.share for one in moved}, abs=1e-6)


def test_a_budget_curve_counts_finished_slots_and_panels_follow_the_methods() -> None:
    (shared,) = budget_figures.budget(searched(["a", "b"], datasets=("x", "y")), MEASURE, "budget")
    assert "19 search trials" in shared.caption and "4 trials" in shared.caption
    apart = budget_figures.budget(
        searched([f"m{number}" for number in range(7)], datasets=("x", "y")), MEASURE, "budget"
    )
    assert [figure.stem for figure in apart] == ["budget", "budget_2"] and "grey: the other" in apart[0].caption
    assert all("GPU-hours of training: trials times" in one.caption for one in (shared, *apart))
    unknown = searched(["a"]).with_columns(train_seconds=pl.lit(None, pl.Float64), device=pl.lit(None, pl.String))
    (by_trials,) = budget_figures.budget(unknown, MEASURE, "budget")
    assert "hours" not in by_trials.caption
    assert_whole((shared, *apart, by_trials))


def test_hours_of_a_slot_are_those_of_all_its_seeds() -> None:
    rows = [
        {"dataset": "x", "method": "a", "stage": "search", "search_number": 0,
                        "slot": slot, "seed": seed, "status": "done",
         "val_auc": 0.5, "hyperparameters": "{}", "train_seconds": seconds}
        for slot, seed, seconds in ((0, 0, 30.0), (0, 1, 12.0), (1, 0, 5.0), (1, 1, None), (2, 0, 9.0))
    ]  # fmt: skip
    assert slot_scores(pl.DataFrame(rows), "auc")["seconds"].to_list() == [42.0, None]


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0, 0.3))
def test_labels_are_spread_without_overlap(wanted: list[float], gap: float) -> None:
    wanted = sorted(wanted)
    places = method_figures.spread(wanted, gap)
    fits = min(gap, 1 / max(1, len(wanted) - 1))
    assert all(np.diff(places) >= fits - 1e-9)
    assert all((places >= -1e-9) & (places <= 1 + 1e-9))
    if all(np.diff(wanted) >= gap):
        np.testing.assert_allclose(places, wanted, atol=1e-9)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_beats_every_other_point_and_none_of_its_own(points: list[tuple[int, int]]) -> None:
    def beats(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return one != other and one[0] <= other[0] and one[1] >= other[1]

    best = [points[place] for place in method_figures.front(points)]
    assert not any(beats(one, other) for one in best for other in best)
    assert all(point in best or any(beats(one, point) for one in best) for point in points)


@given(st.lists(st.floats(1, 9), min_size=2, max_size=12), st.floats(0.1, 5))
def test_cliques_join_exactly_the_ranks_closer_than_the_critical_difference(ranks: list[float], width: float) -> None:
    ranks = sorted(ranks)
    runs = cliques(ranks, width)
    for a in range(len(ranks)):
        for b in range(a + 1, len(ranks)):
            assert any(start <= a and b <= end for start, end in runs) == (ranks[b] - ranks[a] < width)


@given(st.lists(st.text(max_size=60), unique=True, max_size=30), st.integers(6, 30))
def test_short_names_stay_distinct_on_one_line(labels: list[str], most: int) -> None:
    names = drawing.short_names(labels, most)
    assert len(set(names.values())) == len(labels)
    assert all(name.strip() and "\n" not in name and len(name) <= max(most, 9) for name in names.values())
