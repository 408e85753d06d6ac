"""TensorBoard's event files: ``DEST/STUDY/STAGE/TRIAL/``, with curves by step, final scores and hyperparameters."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from harness.export.contract import Export, ExportedRun

if TYPE_CHECKING:
    from harness.export.trials import ExportedTrial


class TensorBoard(Export):
    """TensorBoard's event files, a folder for each trial.

    ``DEST/STUDY/STAGE/TRIAL/`` has curves by step, final scores and hyperparameters.
    """

    name = "tensorboard"

    def write(self, run: ExportedRun, destination: Path) -> str:
        """Write the files; says how to look at them."""
        import tensorboard  # noqa: F401  (torch's own message names it less clearly)

        count = 0
        for trial in run.trials():
            _write(trial, destination / trial.study / trial.stage / trial.name)
            count += 1
        return f"{destination}: {count} trials; tensorboard --logdir {shlex.quote(str(destination))}"


def _write(trial: ExportedTrial, folder: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard import summary as summaries

    with SummaryWriter(str(folder)) as writer:
        for step, scalars in trial.epochs():
            for name, value in scalars.items():
                writer.add_scalar(name, value, step)
        scores = {f"final/{name}": value for name, value in trial.scores().items()}
        asked = {name: value for name, value in trial.request["hyperparameters"].items() if value is not None}
        facts = {**asked, "study": trial.study, "stage": trial.stage}
        for summary in summaries.hparams(facts, scores):  # type: ignore[no-untyped-call]
            writer._get_file_writer().add_summary(summary)
        for name, value in scores.items():
            writer.add_scalar(name, value, 0)
