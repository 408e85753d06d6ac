"""Where the search may end a trial: its decisions are recorded before they take effect, and stand."""

from __future__ import annotations

from harness.run.trial import TrialFolder
from harness.run.trial_records import Trained
from harness.search.slots import epoch_score
from harness.train.job import Control, Pruned, TrialJob
from harness.train.progress import Progress


def meet_rung(job: TrialJob, folder: TrialFolder, control: Control, progress: Progress) -> None:
    """Let the search decide at the end of an epoch whether to go on.

    Raises:
        Pruned: the trial ends here.
    """
    if control.judge is None:
        return
    recorded = folder.decisions()
    decision = next((one for one in recorded if one["epoch"] == progress.epoch), None)
    if decision is None:
        scores = [epoch_score(line, job.measure) for line in progress.curve]
        made = control.judge(job.train.epochs, progress.curve[-1]["step"], scores)
        if made is None:
            return
        decision = made.line(progress.seconds)
        folder.write_decisions([*recorded, decision])
    if decision["prune"]:
        raise Pruned


def pruned_result(job: TrialJob, folder: TrialFolder) -> Trained | None:
    """The result of a trial that the search has ended, from its decisions and its curve; None where it goes on."""
    decision = next((one for one in folder.decisions() if one["prune"]), None)
    if decision is None:
        return None
    curve = folder.curve()
    # Without its curve, which somebody may have set aside, it trains to that rung again.
    if len(curve) < decision["epoch"]:
        return None
    best = max(curve, key=lambda line: (epoch_score(line, job.measure), -line["epoch"]))
    return {
        "status": "pruned",
        "cause": None,
        "message": decision["reason"],
        "metrics": {"val": best["val"]},
        "best_epoch": best["epoch"],
        "epochs": decision["epoch"],
        "steps": decision["step"],
    }
