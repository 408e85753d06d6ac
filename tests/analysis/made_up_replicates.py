"""Made-up evidence whose replicates draw splits and searches anew, and all that a report says of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from made_up import every_table, made_up

from analysis.comparison.claims import claims
from analysis.comparison.compare import Analysis
from analysis.comparison.evidence import Evidence
from analysis.comparison.phrases import scope_note
from analysis.comparison.verdicts import Comparison
from analysis.figures.comparisons import forest
from analysis.figures.methods import pareto, seeds
from analysis.runs.conduct import Conduct
from analysis.words.findings import results_paragraphs
from analysis.words.methods import methods_paragraph

OVERLAP = 0.2 / 0.64
HELD = re.compile("this training set|this split|these test cases|configurations that were chosen")
SPEC = {
    "backbone": {"name": "resnet50", "weights": "IMAGENET1K_V2"}, "methods": {"control": {"backbone": None}},
    "train": {"epochs": 30, "batch_size": 64}, "split": {"kind": "grouped", "seed": 0},
    "search": {"metric": "auc", "sampler": "tpe", "trials": 3},
}  # fmt: skip


def base(number: int = 10, datasets: Sequence[str] = ("alpha",), **changes: object) -> Evidence:
    plan = {"family": "vs_control", "control": "control", "metrics": ("balanced_accuracy", "nll"), **changes}
    return made_up({"control": 1.5, "gpaf": 1.9}, datasets, range(1000, 1000 + number), **plan)  # type: ignore[arg-type]


def only(analysis: Analysis, metric: str = "balanced_accuracy", dataset: str = "alpha") -> Comparison:
    return next(
        one for one in analysis.comparisons if (one.pair.metric, one.pair.dataset) == (metric, dataset)
    )  # fmt: skip


def own_search(place: int, split: int) -> str:
    return f"search {place}"


def texts(analysis: Analysis) -> str:
    """All that a report says about methods against each other, figures included."""
    shown = analysis.evidence.datasets
    figures = [
        *forest(analysis, "f"),
        *(figure for name in shown for figure in seeds(analysis, name, "s")),
        *pareto(analysis, {(name, method): 10 for name in shown for method in analysis.evidence.methods}, "p"),
    ]
    return "\n".join(
        (
            *results_paragraphs(analysis), scope_note(analysis),
            methods_paragraph(analysis, Conduct(spec=SPEC)),  # type: ignore[arg-type]
            *(table.caption + table.note for table in every_table(analysis)), *(one.caption for one in figures),
            *(claim.scope for claim in claims(analysis)),
        )
    )  # fmt: skip
