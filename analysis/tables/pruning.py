"""Which search trials were ended early, at which rung, and whether the rungs could be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.pages.contents import NOT_AVAILABLE, PageTable, count, number
from harness.run.cells import searches_by_cell
from harness.run.directory import RunDirectory
from harness.run.study_folder import StudyFolder
from harness.run.trial_records import DecisionLine

Decisions = Mapping[int, list[DecisionLine]]
"""Epoch of a rung → the decisions that were made there."""


def pruning(run: RunDirectory) -> PageTable | None:
    """A row for each rung of each study; None where nothing was pruned or could have been."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for study in _in_order(run):
        description = study.description()
        if description["search_slots"] > 0:
            rows = [*_rows(str(description["label"]), _decisions(study))]
            if rows:
                groups.setdefault(str(description["dataset"]), []).extend(rows)
    if not groups:
        return None
    least = next(one["least_agreement"] for s in run.studies() for made in _decisions(s).values() for one in made)
    return PageTable(
        name="pruning",
        caption="Search trials that were ended early, by rung.",
        head=("Method", "Rung, epoch", "Steps", "Trials there", "Pruned", "Agreement", "Mean over rungs", "Decides"),
        align="lrrrrrrl",
        groups=tuple((dataset, tuple(rows)) for dataset, rows in groups.items()),
        note="Agreement: Kendall's tau between the ranks that the study's first slots have at the rung and at the end, "
        f"when they are trained to the end. A rung below {least} decides nothing; where the mean over all rungs is "
        "below, pruning is off in this study.",
    )


def _in_order(run: RunDirectory) -> Iterator[StudyFolder]:
    """The studies in the order of the sweep file, then those that it no longer names."""
    spec, cells = run.spec(), searches_by_cell(run)
    wanted = [(method, dataset) for dataset in spec["datasets"] for method in spec["methods"]]
    for cell in dict.fromkeys([*wanted, *cells]):
        yield from cells.get(cell, ())


def _decisions(study: StudyFolder) -> Decisions:
    found: dict[int, list[DecisionLine]] = {}
    for trial in study.trials("search"):
        for decision in trial.decisions():
            found.setdefault(int(decision["epoch"]), []).append(decision)
    return dict(sorted(found.items()))


def _rows(method: str, decisions: Decisions) -> Iterator[tuple[str, ...]]:
    for epoch, made in decisions.items():
        # The anchors are the same for all later slots, so whoever knew an agreement knew this one.
        tau = next((one["agreement"] for one in made if one["agreement"] is not None), None)
        mean = next((one["mean_agreement"] for one in made if one["mean_agreement"] is not None), None)
        yield (
            method,
            str(epoch),
            count(made[0]["step"]),
            count(len(made)),
            count(sum(one["prune"] for one in made)),
            NOT_AVAILABLE if tau is None else number(tau, 2),
            NOT_AVAILABLE if mean is None else number(mean, 2),
            _decides(tau, mean, made[0]["least_agreement"]),
        )


def _decides(tau: float | None, mean: float | None, least: float) -> str:
    if tau is None or mean is None:
        return "agreement not known"
    if mean < least:
        return "pruning is off in this study"
    return "yes" if tau >= least else "no, its ranks mislead"
