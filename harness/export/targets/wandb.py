"""Offline runs of Weights & Biases: nothing is sent anywhere until the user gives ``wandb sync``.

The id of a run follows from its trial, so that the same trial of a later export is the same run of the project.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from harness.export.contract import Export, ExportedRun

if TYPE_CHECKING:
    from harness.export.trials import ExportedTrial


class WeightsAndBiases(Export):
    """Offline runs of Weights & Biases, for `wandb sync`.

    Nothing is sent anywhere until then. The id of a run follows from its trial, so that the same trial of a later
    export is the same run of the project.
    """

    name = "wandb"

    def write(self, run: ExportedRun, destination: Path) -> str:
        """Write the runs; says how to send them."""
        import wandb  # noqa: F401  (before the folder is made)

        destination.mkdir()
        count = 0
        for trial in run.trials():
            _write(run.name, destination, trial)
            count += 1
        return f"{destination}: {count} trials; wandb sync {shlex.quote(str(destination))}/wandb/offline-run-*"


def _write(project: str, destination: Path, trial: ExportedTrial) -> None:
    import wandb

    config = {**trial.request["hyperparameters"], "trial": trial.facts}
    with wandb.init(
        project=project, id=trial.stable_id, resume="allow", dir=str(destination), mode="offline",
        group=trial.study, job_type=trial.stage,
        name=f"{trial.study} {trial.name}", config=config, settings=wandb.Settings(silent=True, disable_git=True),
    ) as made:  # fmt: skip
        for step, scalars in trial.epochs():
            made.log(scalars, step=step)
        made.summary.update({f"final/{name}": value for name, value in trial.scores().items()})
        made.summary["status"] = "unfinished" if trial.result is None else trial.result["status"]
