"""Offline runs of Weights & Biases: nothing is sent anywhere until the user gives ``wandb sync``.

The id of a run follows from its trial, so that the same trial of a later export is the same run of the project.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.files import write_atomic
from harness.export.contract import Export, ExportedRun
from harness.export.destination import own_folder

if TYPE_CHECKING:
    from harness.export.trials import ExportedTrial

STATES = "states"
"""Folder with a file for each trial, named by its id: what was known of it when its run was written."""


class WeightsAndBiases(Export):
    """Offline runs of Weights & Biases, for `wandb sync`.

    Nothing is sent anywhere until then. The id of a run follows from its trial, so that the same trial of a later
    export is the same run of the project. In a folder of an earlier export, the run of a trial that has changed is
    written again in the place of the old one.
    """

    name = "wandb"
    updates = True
    follows = True

    def write(self, run: ExportedRun, destination: Path) -> str:
        """Write the runs or bring them up to date; says how to send them."""
        import wandb  # noqa: F401  (before the folder is made)

        own_folder(destination, self.name, run.name)
        (destination / STATES).mkdir(exist_ok=True)
        for trial in run.trials():
            known = destination / STATES / trial.stable_id
            if not known.exists() or known.read_text() != trial.state:
                _write(run.name, destination, trial)
                # Last: a run without it may be cut off, and is written again.
                write_atomic(known, trial.state.encode())
        return f"{destination}: {run.count} trials; wandb sync {shlex.quote(str(destination))}/wandb/offline-run-*"


def _write(project: str, destination: Path, trial: ExportedTrial) -> None:
    import wandb

    config = {**trial.request["hyperparameters"], "trial": trial.facts}
    with wandb.init(
        project=project, id=trial.stable_id, resume="allow", dir=str(destination), mode="offline",
        group=trial.study, job_type=trial.stage,
        name=f"{trial.study} {trial.name}", config=config, settings=wandb.Settings(silent=True, disable_git=True),
    ) as made:  # fmt: skip
        written = Path(made.dir).parent
        for step, scalars in trial.epochs():
            made.log(scalars, step=step)
        made.summary.update({f"final/{name}": value for name, value in trial.scores().items()})
        made.summary["status"] = "unfinished" if trial.result is None else trial.result["status"]
    for folder in (destination / "wandb").glob(f"offline-run-*-{trial.stable_id}*"):
        if folder.name != written.name:
            shutil.rmtree(folder)
