"""Figures of what the methods predicted: calibration, confusion and sensitivity, each seed for itself, then averaged.

Curves over all thresholds are in ``analysis.figures.operating``.

Logits are large, so ``reduced`` takes what the figures need while those of one dataset are at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analysis.comparison.pairs import DatasetValues
from analysis.figures import drawing
from analysis.figures.operating import OperatingCurves, curves_of
from analysis.stats.estimate import FloatArray, mean_over_seeds
from harness.metrics.logits import softmax
from harness.pages.contents import PageFigure, sheet_stem
from harness.pages.palette import FAINT, INK, PAPER, SEED, TINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 15
"""As many as the calibration error has."""
_TALLEST = 11.0  # inches
_SCOPE = "Scope: retraining on this data, scored on this test set"


@dataclass(frozen=True, slots=True)
class MethodPredictions:
    """One method; every number is the mean over its seeds of each seed's own."""

    method: str
    seeds: int
    confidence: FloatArray
    """Mean confidence of the cases in each bin, shape (BINS,); nan where no seed has a case."""
    accuracy: FloatArray
    """Share of them that are right, likewise."""
    spread: FloatArray
    """The ends of the 95 % t interval of that mean over the seeds with a case in the bin, cut off at 0 and 1, shape
    (2, BINS); nan where fewer than two seeds have one."""
    share: FloatArray
    """Share of all cases that lie in each bin, shape (BINS,)."""
    confusion: FloatArray
    """Rows: true classes; columns: predicted; each row sums to 1, or is nan without a case. Shape (K, K)."""
    sensitivity: FloatArray
    """Of each seed and class, shape (seeds, K)."""


@dataclass(frozen=True, slots=True)
class ReducedPredictions:
    """What the figures need of one dataset."""

    dataset: str
    classes: tuple[str, ...]
    support: tuple[int, ...]
    """Test cases of each class."""
    methods: tuple[MethodPredictions, ...]
    """Empty where an image may bear several labels: its classes do not exclude each other, so that there is no
    predicted class whose confidence or confusion could be drawn."""
    curves: OperatingCurves | None
    """Over all thresholds, where an image may bear several labels too; None where no method has any."""
    scope: str
    """What the figures hold for, as a sentence without its end."""

    @property
    def cases(self) -> int:
        """Test cases of all classes."""
        return sum(self.support)

    @property
    def seeds(self) -> str:
        """How many seeds, in words."""
        return drawing.counted([one.seeds for one in self.methods], "seed")

    def titles(self, most: int) -> dict[str, str]:
        """Method → title of its panel."""
        return drawing.titles([one.method for one in self.methods], [one.seeds for one in self.methods], most)


def reduced(values: DatasetValues) -> ReducedPredictions | None:
    """The facts behind the figures, for ``compare.analyse``'s hook; None without predictions."""
    predictions = values.predictions
    if predictions is None or not predictions.cases:
        return None
    # Of a test side that all splits share, all of it is shown; of several splits, the first.
    splits = 1 if values.of_one_side else len(values.splits)
    scope = f"{_SCOPE}{f'; this shows one of {splits} splits alone' if splits > 1 else ''}"
    curves = curves_of(values)
    support = tuple(predictions.support.values())
    if predictions.labels.ndim == 2:
        return ReducedPredictions(values.dataset, predictions.classes, support, (), curves, scope)
    methods = [
        _of_method(method, [own[seed] for seed in sorted(own)], predictions.labels)
        for method in values.methods
        if (own := predictions.logits.get(method, {}))
    ]
    if not methods:
        return None
    return ReducedPredictions(values.dataset, predictions.classes, support, tuple(methods), curves, scope)


def _of_method(method: str, logits: Sequence[FloatArray], labels: npt.NDArray[np.int64]) -> MethodPredictions:
    binned, confusions = zip(*(_of_seed(one, labels) for one in logits), strict=True)
    number, confident, right = np.stack(binned, axis=1)
    seeds = np.maximum(1, (number > 0).sum(axis=0))
    empty = (number > 0).sum(axis=0) == 0
    filled = np.maximum(1, number)
    confusion = np.stack(confusions)
    return MethodPredictions(
        method=method,
        seeds=len(logits),
        confidence=np.where(empty, np.nan, (confident / filled).sum(axis=0) / seeds),
        accuracy=np.where(empty, np.nan, (right / filled).sum(axis=0) / seeds),
        spread=_spread(number, right),
        share=number.mean(axis=0) / len(labels),
        confusion=confusion.mean(axis=0),
        sensitivity=np.diagonal(confusion, axis1=1, axis2=2).copy(),
    )


def _spread(number: FloatArray, right: FloatArray) -> FloatArray:
    """The interval of the accuracy in each bin, from cases and right ones by seed and bin."""
    ends = np.full((2, BINS), np.nan)
    for place in range(BINS):
        known = number[:, place] > 0
        if known.sum() > 1:
            values = right[known, place] / number[known, place]
            over = mean_over_seeds(values)
            if over.low is not None and over.high is not None:
                ends[:, place] = np.clip([over.low, over.high], 0.0, 1.0)
    return ends


def _of_seed(logits: FloatArray, labels: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Cases, summed confidence and correct ones by bin, shape (3, BINS); and the confusion by rows, shape (K, K)."""
    confidence = softmax(logits).max(axis=1)
    predicted, classes = logits.argmax(axis=1), logits.shape[1]
    # Closed on the left, the last one on both sides, like the calibration error.
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    weights = (np.ones(len(labels)), confidence, (predicted == labels).astype(np.float64))
    binned: FloatArray = np.stack([np.bincount(place, weight, BINS) for weight in weights]).astype(np.float64)
    counts = np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
    support = counts.sum(axis=1, keepdims=True)
    rows: FloatArray = np.where(support > 0, counts / np.maximum(1, support), np.nan)
    return binned, rows


def reliability(facts: ReducedPredictions, stem: str) -> tuple[PageFigure, ...]:
    """Accuracy against confidence in 15 bins, a panel a method, over the share of cases in each bin."""
    drawn: list[PageFigure] = []
    titles = facts.titles(16)
    for part in drawing.sheets(facts.methods, 18):
        columns = min(3, len(part))
        with drawing.canvas_of(0.55 + 1.6 * -(-len(part) // columns)) as canvas:
            for axes, one in zip(drawing.grid(canvas, len(part), columns, sharex=True, sharey=True), part, strict=True):
                edges = np.linspace(0, 1, BINS + 1)
                axes.stairs(one.share, edges, fill=True, facecolor=TINT, edgecolor=FAINT, linewidth=0.5, zorder=1)
                axes.plot([0, 1], [0, 1], color=INK, linewidth=0.7, linestyle=(0, (4, 2)), zorder=2)
                known = ~np.isnan(one.confidence)
                bars = [([at, at], ends) for at, ends in zip(one.confidence, one.spread.T, strict=True)]
                drawing.strokes(axes, [bar for bar in bars if not np.isnan(bar[1]).any()], color=SEED, linewidth=0.7)
                axes.plot(one.confidence[known], one.accuracy[known], color=SEED, linewidth=1.1, zorder=3)
                many = known & (one.share >= 0.01)
                for which, inside in ((known & ~many, PAPER), (many, SEED)):
                    if not which.any():
                        continue  # an empty line without clipping has no bounds to lay out
                    axes.plot(
                        one.confidence[which], one.accuracy[which], linestyle="none", marker="o", markersize=3.5,
                        markerfacecolor=inside, markeredgecolor=SEED, markeredgewidth=0.8, clip_on=False, zorder=4,
                    )  # fmt: skip
                axes.set(xlim=(0, 1), ylim=(0, 1))
                axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
                axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
                axes.set_title(titles[one.method])
            canvas.supxlabel("Confidence")
            canvas.supylabel("Accuracy; share of cases")
            drawn.append(
                drawing.finished(
                    canvas,
                    f"{facts.dataset}: reliability diagrams, {BINS} bins of equal width. Line: share of right cases by "
                    f"their mean confidence ({facts.seeds}, each for itself, then averaged over those with a case in "
                    f"the bin; hollow: less than 1 % of the cases); bars: share of the {facts.cases:,} test cases in "
                    f"each bin; dashed: perfect calibration; upright lines: 95 % t interval of each bin alone over "
                    f"the seeds with a case in it, which holds the test cases fixed. {facts.scope}.",
                    f"Reliability diagrams on {facts.dataset}: " + ", ".join(one.method for one in part),
                    sheet_stem(stem, len(drawn)),
                )
            )
    return tuple(drawn)


def confusion(facts: ReducedPredictions, stem: str) -> tuple[PageFigure, ...]:
    """The confusion of each method, by true class, averaged over its seeds."""
    number = len(facts.classes)
    columns = min(3 if number <= 5 else 2 if number <= 9 else 1, len(facts.methods))
    titles = facts.titles(48 // columns)
    labels = list(drawing.short_names(facts.classes, 11).values())
    # Cells are nearly square; a fixed aspect would cut off titles where the names of the classes are long.
    height = min(3.6, (drawing.WIDTH - 1.0) / columns) + 0.3
    drawn: list[PageFigure] = []
    for part in drawing.sheets(facts.methods, columns * max(1, int((_TALLEST - 1) / height))):
        with drawing.canvas_of(1.05 + height * -(-len(part) // columns)) as canvas:
            panels = drawing.grid(canvas, len(part), columns, sharex=True, sharey=True)
            for axes, one in zip(panels, part, strict=True):
                _draw_confusion(axes, one.confusion, labels)
                axes.set_title(titles[one.method])
            canvas.supxlabel("Predicted class")
            canvas.supylabel("True class")
            drawn.append(
                drawing.finished(
                    canvas,
                    f"{facts.dataset}: confusion in per cent of each true class: the mean over {facts.seeds} of each "
                    f"seed's own matrix; {facts.cases:,} test cases ({_listed(facts)}). {facts.scope}.",
                    f"Confusion matrices on {facts.dataset}; shares of right cases by class: "
                    + "; ".join(f"{one.method} {_shares(np.diagonal(one.confusion))}" for one in part),
                    sheet_stem(stem, len(drawn)),
                )
            )
    return tuple(drawn)


def _draw_confusion(axes: Axes, matrix: FloatArray, labels: Sequence[str]) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    number = len(labels)
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    places = [(column, row) for row in range(number) for column in range(number)]
    colours = [to_rgba(SEED, 0.0 if np.isnan(matrix[row, column]) else matrix[row, column]) for column, row in places]
    cells = [corners + place for place in places]
    axes.add_collection(PolyCollection(cells, facecolors=colours, edgecolors=FAINT, linewidths=0.4))
    for column, row in places:
        share = matrix[row, column]
        if number <= 12 and not np.isnan(share):
            axes.text(
                column, row, f"{100 * share:.0f}", ha="center", va="center_baseline",
                fontsize=8.5 if number <= 7 else 7.5, color=PAPER if share > 0.6 else INK, in_layout=False,
            )  # fmt: skip
    axes.set(xlim=(-0.5, number - 0.5), ylim=(number - 0.5, -0.5))
    axes.set_xticks(range(number), labels, rotation=90)
    axes.set_yticks(range(number), labels)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def sensitivity(facts: ReducedPredictions, stem: str, confidence: float = 0.95) -> tuple[PageFigure, ...]:
    """The sensitivity of each class, a panel a class and a row a method, with t intervals over seeds."""
    present = [place for place, cases in enumerate(facts.support) if cases]
    names = drawing.short_names([one.method for one in facts.methods])
    height, columns = 0.35 + 0.185 * len(facts.methods), min(2, len(present))
    titles = drawing.short_names(facts.classes, 20)
    drawn: list[PageFigure] = []
    for part in drawing.sheets(present, columns * max(1, int(_TALLEST / height))):
        with drawing.canvas_of(0.5 + height * -(-len(part) // columns)) as canvas:
            panels = drawing.grid(canvas, len(part), columns, sharex=True, sharey=True)
            for axes, place in zip(panels, part, strict=True):
                own = [one.sensitivity[:, place] for one in facts.methods]
                rows = range(len(own))
                drawing.strokes(axes, [([0, 1], [row, row]) for row in rows], color=TINT, linewidth=0.6, zorder=0)
                drawing.strokes(axes, _intervals(own, confidence), color=SEED, linewidth=1.2, zorder=2)
                axes.plot(
                    [values.mean() for values in own], rows, linestyle="none", marker="o", markersize=4, color=SEED,
                    clip_on=False, zorder=3,
                )  # fmt: skip
                drawing.rows_of(axes, list(names.values()))
                axes.set_xlim(0, 1)
                axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
                axes.set_title(f"{titles[facts.classes[place]]} ({facts.support[place]:,} cases)")
            canvas.supxlabel("Sensitivity")
            drawn.append(
                drawing.finished(
                    canvas,
                    f"{facts.dataset}: sensitivity of each class, mean over {facts.seeds} with the "
                    f"{drawing.percent(confidence)} t interval, cut off at 0 and 1. {facts.scope}.",
                    f"Sensitivity by class on {facts.dataset}: "
                    + "; ".join(f"{one.method} {_shares(one.sensitivity.mean(axis=0))}" for one in facts.methods),
                    sheet_stem(stem, len(drawn)),
                )
            )
    return tuple(drawn)


def _intervals(values: Sequence[FloatArray], confidence: float) -> Iterator[tuple[list[float], list[int]]]:
    """The t interval of each row that has one, within [0, 1]."""
    for row, own in enumerate(values):
        over = mean_over_seeds(own, confidence) if len(own) > 1 else None
        if over is not None and over.low is not None and over.high is not None:
            yield [max(0.0, over.low), min(1.0, over.high)], [row, row]


def _listed(facts: ReducedPredictions) -> str:
    return ", ".join(f"{name} {cases:,}" for name, cases in zip(facts.classes, facts.support, strict=True))


def _shares(values: npt.NDArray[np.float64]) -> str:
    return ", ".join("none" if np.isnan(value) else f"{value:.2f}" for value in values)
