"""Figures over all thresholds: ROC, precision-recall and decision curves, a panel a method.

Of two classes the second one is asked for, of more each against the rest, and the curves of all classes are averaged at
each place with equal weights, as the report's AUC is; so are the labels where an image may bear several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from analysis.comparison.evidence import Predictions
from analysis.comparison.pairs import DatasetValues
from analysis.figures import drawing
from analysis.stats import operating
from analysis.stats.estimate import FloatArray
from analysis.stats.operating import Band, Truth, band
from analysis.stats.scopes import DrawnAnew, scope_phrase
from harness.metrics.logits import sigmoid, softmax
from harness.pages.contents import PageFigure, sheet_stem
from harness.pages.palette import FAINT, INK, SEED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["roc", "precision_recall", "decision"]


@dataclass(frozen=True, slots=True)
class _Look:
    """What is particular to one kind of curve."""

    name: str
    places: FloatArray
    across: str
    up: str


LOOKS: Mapping[Kind, _Look] = {
    "roc": _Look("ROC curves", operating.PLACES, "1 - specificity", "Sensitivity"),
    "precision_recall": _Look("precision-recall curves", operating.PLACES, "Recall (sensitivity)", "Precision"),
    "decision": _Look("decision curves", operating.THRESHOLDS, "Threshold probability", "Net benefit"),
}


@dataclass(frozen=True, slots=True)
class MethodCurves:
    """The curves of one method."""

    method: str
    seeds: int
    bands: Mapping[Kind, Band]
    """A kind that the cases of a split leave undefined is missing."""


@dataclass(frozen=True, slots=True)
class OperatingCurves:
    """All curves of one dataset."""

    dataset: str
    scope: str
    """What they hold for, as a sentence without its end."""
    splits: int
    """On how many splits the trainings were tested."""
    cases: tuple[int, ...]
    """Test cases of each split."""
    asked: tuple[str, ...]
    """Classes that were asked for, one against the rest."""
    shares: tuple[float, ...]
    """Share of the test cases that bear each, mean over splits."""
    several_labels: bool
    confidence: float
    methods: tuple[MethodCurves, ...]


def curves_of(values: DatasetValues) -> OperatingCurves | None:
    """The curves of every method with predictions, from those of its confirm trials alone; None without any.

    All splits are counted where the predictions on each can be used, else the first one.
    """
    images = None if values.of_one_side else values.images
    if images is not None:
        sides = dict(images.predictions)
    elif values.predictions is not None and values.predictions.cases:
        sides = {"": values.predictions}
    else:
        return None
    any_side = next(iter(sides.values()))
    names, several = any_side.classes, any_side.labels.ndim == 2
    asked = [1] if not several and len(names) == 2 else list(range(len(names)))
    members = {split: _member(own) for split, own in sides.items()}
    found = []
    for method in values.in_order:
        on = [(split, seed) for split, own in sides.items() for seed in sorted(own.logits.get(method, {}))]
        each = [_of_seed(sides[split].logits[method][seed], members[split], asked, several) for split, seed in on]
        if each:
            kinds = [kind for kind in LOOKS if all(kind in one for one in each)]
            splits = [split for split, _ in on]
            bands = {
                kind: band(np.stack([one[kind] for one in each]), splits, values.overlap, values.confidence)
                for kind in kinds
            }
            found.append(MethodCurves(method, len(each), bands))
    if not found:
        return None
    return OperatingCurves(
        dataset=values.dataset,
        scope=_scope(values, len(sides)),
        splits=len(sides),
        cases=tuple(own.cases for own in sides.values()),
        asked=tuple(names[place] for place in asked),
        shares=tuple(float(np.mean([own[:, place].mean() for own in members.values()])) for place in asked),
        several_labels=several,
        confidence=values.confidence,
        methods=tuple(found),
    )


def _scope(values: DatasetValues, splits: int) -> str:
    """What the bands hold for."""
    said = f"Scope: {scope_phrase(DrawnAnew(sets=splits > 1))}"
    left_out = splits == 1 and len(values.splits) > 1 and not values.of_one_side
    return f"{said}; this shows one of {len(values.splits)} splits alone" if left_out else said


def _member(predictions: Predictions) -> Truth:
    """Whether each case bears each class, shape (cases, classes)."""
    if predictions.labels.ndim == 2:
        return np.asarray(predictions.labels == 1)
    return np.eye(len(predictions.classes), dtype=bool)[predictions.labels]


def _of_seed(logits: FloatArray, member: Truth, asked: Sequence[int], several: bool) -> dict[Kind, FloatArray]:
    """The curves of one training, averaged over classes."""
    probabilities = sigmoid(logits) if several else softmax(logits)
    # A sigmoid rounds large logits to 1, which would make them ties; the report's AUC ranks logits there too.
    scores = logits if several else probabilities
    parts: dict[Kind, list[FloatArray | None]] = {
        "roc": [operating.roc(scores[:, k], member[:, k]) for k in asked],
        "precision_recall": [operating.precision_recall(scores[:, k], member[:, k]) for k in asked],
        "decision": [operating.net_benefit(probabilities[:, k], member[:, k]) for k in asked],
    }
    whole = {kind: [one for one in own if one is not None] for kind, own in parts.items()}
    # A mean over the classes that happen to be present would be another curve.
    return {kind: np.mean(own, axis=0) for kind, own in whole.items() if len(own) == len(asked)}


def draw_curves(facts: OperatingCurves, kind: Kind, stem: str) -> tuple[PageFigure, ...]:
    """One kind of curve of one dataset, a panel a method, the other methods in grey; none where it is undefined.

    Args:
        facts: of the dataset.
        kind: which curves.
        stem: file name without its suffix.
    """
    known = [one for one in facts.methods if kind in one.bands]
    look, drawn = LOOKS[kind], list[PageFigure]()
    bands = {one.method: one.bands[kind] for one in known}
    titles = drawing.titles([one.method for one in known], [one.seeds for one in known], 16)
    for part in drawing.sheets(known, 18):
        columns = 2 if len(part) == 4 else min(3, len(part))
        with drawing.canvas_of(0.55 + 1.6 * -(-len(part) // columns)) as canvas:
            panels = drawing.grid(canvas, len(part), columns, sharex=True, sharey=True)
            for axes, one in zip(panels, part, strict=True):
                _draw_reference(axes, facts, kind)
                others = [(look.places, bands[other.method].mean) for other in known if other is not one]
                drawing.strokes(axes, others, color=FAINT, linewidth=0.7, zorder=1)
                own = bands[one.method]
                if own.low is not None and own.high is not None:
                    low, high = _within(own.low, kind), _within(own.high, kind)
                    axes.fill_between(look.places, low, high, color=SEED, alpha=0.25, linewidth=0, zorder=2)
                axes.plot(look.places, own.mean, color=SEED, linewidth=1.3, zorder=3)
                axes.set_title(titles[one.method])
                _frame(axes, facts, kind)
            canvas.supxlabel(look.across)
            canvas.supylabel(look.up)
            drawn.append(
                drawing.finished(
                    canvas,
                    _caption(facts, known, kind),
                    f"{look.name[0].upper()}{look.name[1:]} on {facts.dataset}: "
                    + "; ".join(_spoken(one.method, bands[one.method], kind) for one in part),
                    sheet_stem(stem, len(drawn)),
                )
            )
    return tuple(drawn)


def _within(values: FloatArray, kind: Kind) -> FloatArray:
    """Rates end at 0 and 1."""
    return values if kind == "decision" else np.clip(values, 0.0, 1.0)


def _draw_reference(axes: Axes, facts: OperatingCurves, kind: Kind) -> None:
    """What somebody gets who knows nothing of the images."""
    chance: tuple[FloatArray, FloatArray]
    if kind == "roc":
        chance = operating.PLACES, operating.PLACES
    elif kind == "precision_recall":
        chance = operating.PLACES, np.full_like(operating.PLACES, np.mean(facts.shares))
    else:
        chance = operating.THRESHOLDS, _treat_all(facts)
        axes.axhline(0, color=INK, linewidth=0.7, linestyle=(0, (1, 1)), zorder=1.5)
    axes.plot(*chance, color=INK, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1.5)


def _treat_all(facts: OperatingCurves) -> FloatArray:
    values: FloatArray = np.mean([operating.treat_all(share) for share in facts.shares], axis=0)
    return values


def _frame(axes: Axes, facts: OperatingCurves, kind: Kind) -> None:
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    if kind == "decision":
        # What treats too many falls without end; below a small loss it says no more.
        most = float(np.mean(facts.shares))
        axes.set_ylim(-0.25 * most, 1.05 * most)
    else:
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])


def _caption(facts: OperatingCurves, known: Sequence[MethodCurves], kind: Kind) -> str:
    seeds = [one.seeds for one in known]
    look = LOOKS[kind]
    over = f"{facts.splits} splits, whose overlap it allows for" if facts.splits > 1 else "seeds"
    held = "" if facts.splits > 1 else "; it holds the test cases fixed"
    drawn = (
        f"band: {drawing.percent(facts.confidence)} t interval of that mean over {over}, at each place by itself, so "
        f"that it contains a whole curve less often{held}"
        if max(seeds) > 1
        else "no band, since there is one seed"
    )
    cut = " The axis is cut below." if kind == "decision" else ""
    return (
        f"{facts.dataset}: {look.name} {_of_what(facts)}. Line: mean over {drawing.counted(seeds, 'seed')} of each "
        f"seed's own curve, at {len(look.places)} fixed places; {drawn}; grey: the other methods; {_reference(kind)}."
        f"{cut}{_remark(facts, kind)} {_cases(facts)}. {facts.scope}."
    )


def _cases(facts: OperatingCurves) -> str:
    number = drawing.counted(facts.cases, "test case")
    return f"{number} of each split" if facts.splits > 1 else number


def _of_what(facts: OperatingCurves) -> str:
    if len(facts.asked) == 1:
        return f"for {facts.asked[0]} ({100 * facts.shares[0]:.3g} % of the test cases)"
    what = "labels" if facts.several_labels else "classes"
    return f"of each class against the rest, averaged over {len(facts.asked)} {what} with equal weights"


def _reference(kind: Kind) -> str:
    if kind == "roc":
        return "dashed: chance"
    if kind == "precision_recall":
        return "dashed: share of positive cases, which chance has"
    return "dashed: every case is treated; dotted: none is"


def _remark(facts: OperatingCurves, kind: Kind) -> str:
    if kind == "roc":
        return " The area below a line is the mean AUC of the method, up to the width of a place."
    if kind == "precision_recall" and len(facts.asked) == 1 and not facts.several_labels:
        return " The metric average precision is the mean of both classes, and this curve is of one."
    if kind == "decision" and len(facts.asked) > 1:
        return " The same threshold is taken for each class, as if each were a decision of its own."
    return ""


def _spoken(method: str, own: Band, kind: Kind) -> str:
    places = LOOKS[kind].places
    shown = [int(np.argmin(np.abs(places - at))) for at in (0.1, 0.5)]
    return f"{method} " + ", ".join(f"{own.mean[place]:.3f} at {places[place]:.2g}" for place in shown)
