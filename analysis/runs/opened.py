"""A run directory that is part of a comparison: what it declared, and which studies it has of what it names."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from analysis.comparison.evidence import DeclaredPlan, Family
from analysis.runs.metrics import metrics_of
from harness.core.errors import RequestError, suggestion
from harness.core.twins import twin_label
from harness.run import frames
from harness.run.data_records import Card
from harness.run.directory import RunDirectory
from harness.run.study_records import StudyRecord
from harness.run.sweep_records import ConfirmRecord, DeclaredComparison, SweepRecord
from harness.studies.declaration import ALPHA, Locked, locked


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run directory, read as far as a comparison needs it."""

    run: RunDirectory
    records: frames.Records
    spec: SweepRecord
    plan: DeclaredPlan
    """``known`` are the metrics that its trials have."""
    cards: dict[str, Card]
    studies: dict[tuple[str, str], list[StudyRecord]]
    """(dataset, method) that the sweep names and that was begun → what each of its searches is."""
    locked: Locked | None
    """What was declared at the first launch; None in runs from before that was recorded."""

    @property
    def twin(self) -> str | None:
        """The label of the control's twin, which is run and compared with the control alone."""
        confirm = self.spec["confirm"]
        control = confirm.get("control")
        return twin_label(control) if confirm.get("twin") and control is not None else None


def open_run(run: RunDirectory, records: frames.Records) -> OpenRun:
    """Read what a run is and what it declared.

    Args:
        run: the run directory.
        records: its trials.

    Raises:
        RequestError: a file is torn, or there is no such metric or control.
    """
    spec = run.spec()
    described = sorted((study.description() for study in run.studies()), key=lambda one: one.get("search_number", 0))
    named: dict[tuple[str, str], list[StudyRecord]] = {}
    for one in described:
        if one["dataset"] in spec["datasets"] and one["label"] in spec["methods"]:
            named.setdefault((one["dataset"], one["label"]), []).append(one)
    declared = locked(run)
    return OpenRun(run, records, spec, _plan(run, spec, declared, records.trials), run.cards(), named, declared)


def _plan(run: RunDirectory, spec: SweepRecord, declared: Locked | None, trials: pl.DataFrame) -> DeclaredPlan:
    confirm: DeclaredComparison | ConfirmRecord
    metric, confirm, alpha = str(spec["search"]["metric"]), spec["confirm"], ALPHA
    kept = None if declared is None else declared.declared["comparison"]
    if kept is not None and (kept["control"] is None or kept["control"] in spec["methods"]):
        # What was locked counts, whatever the sweep file says now.
        metric, confirm, alpha = str(kept["metric"]), kept, kept["alpha"]
    known = metrics_of(run, trials, metric)
    control = confirm.get("control")
    # Runs from before the family was declared have none.
    family: Family = confirm.get("family") or ("all_pairs" if control is None else "vs_control")
    if control is not None and control not in spec["methods"]:
        raise RequestError(
            f"{run.path}: confirm.control: no method {control!r} in the sweep{suggestion(control, spec['methods'])}"
        )
    if control is None and family == "vs_control":
        raise RequestError(f"{run.path}: confirm.family: vs_control needs confirm.control, the method to compare with")
    return DeclaredPlan(
        metric=metric,
        metrics=(metric, *(facts.name for facts in known.values() if facts.compared and facts.name != metric)),
        known=known,
        family=family,
        control=control,
        correction=confirm.get("correction", "holm"),
        margin=confirm.get("margin"),
        looks=tuple(confirm.get("looks") or ()),
        alpha=alpha,
        beforehand=declared is None or declared.confirmed == 0,
    )
