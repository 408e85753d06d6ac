"""A planned sweep of which nothing was trained, and trials that are finished by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import made_up_records
from tiny import tiny_sweep

from harness.plugins import discover
from harness.run.directory import RunDirectory
from harness.studies.loading import load_sweep
from harness.studies.planner import Planner
from harness.studies.study import Roots, Study
from harness.work.claims import ClaimedTrial


def planned_run(folder: Path, cache: Path, **changes: Any) -> tuple[RunDirectory, list[Study]]:
    """The run directory ``run`` as the sweep command leaves it before anything begins, and its studies.

    Keyword arguments are those of `tiny_sweep`; the method is ``linear_probe`` unless they say otherwise.
    """
    spec = load_sweep(tiny_sweep(folder, **{"methods": ["linear_probe"], **changes})).spec
    run = RunDirectory(folder / "run")
    run.create()
    studies = list(Planner(spec, discover(), run, Roots(cache, cache)).studies())
    for study in studies:
        study.folder.describe(study.description())
    run.write_spec(spec.model_dump(mode="json"))
    run.publish_plan()
    return run, studies


def finish(taken: ClaimedTrial, score: float | None = 0.5, cause: str = "nan", message: str = "no number") -> None:
    """End a claimed trial with a validation score, or let it fail, and give it back."""
    kept = {key: taken.request[key] for key in ("slot", "seed", "hyperparameters", "identity")}
    outcome: dict[str, Any] = {"status": "failed", "cause": cause, "message": message}
    if score is not None:
        outcome = {"metrics": {"val": {"balanced_accuracy": score}}}
    assert taken.folder.finish(made_up_records.result(taken.request["stage"], **kept, **outcome))
    taken.lease.release("finished")
