"""Rungs: the epochs after which a search trial may be ended early, and what is decided there.

What a decision depends on is fixed before the trial begins: the curves of the slots up to ``n - concurrency``, which
are finished then, and the trial's own. It is the same for any number of workers and after any interruption, and
``harness.proof.replay`` makes it again from the folders. With several tuning seeds the first one decides for the slot.

Methods learn at different speeds, and a rung that comes too early favours what starts fast. The study's first slots,
its anchors, are trained to the end and show how well the ranks at each rung agree with the final ones. Where they agree
too little over all rungs, pruning is off in this study; where at one rung, that rung decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from harness.run.trial_records import DecisionLine
from harness.search.pruning import Pruning
from harness.search.sampler import Asked
from harness.spec.search import LEAST_ANCHORS, SearchSpec

LEAST_AGREEMENT = 0.4
"""Kendall's tau between the anchors' ranks at a rung and at the end, from which on the rung may decide; and its mean
over all rungs, from which on any rung of the study may."""


@dataclass(frozen=True, slots=True)
class RungDecision:
    """What was decided at a rung."""

    epoch: int
    """Epochs finished."""
    step: int
    """Training steps finished."""
    value: float
    """The trial's best score up to here, signed so that higher is better."""
    prune: bool
    """Whether the trial ends here."""
    reason: str
    known: int
    """The slots below this number were finished; exactly their curves condition the decision."""
    agreement: float | None
    """Kendall's tau of the anchors between this rung and the end; None where it is not known."""
    mean_agreement: float | None
    """Its mean over all rungs of the study."""

    def line(self, seconds: float) -> DecisionLine:
        """A line for the trial's folder.

        Args:
            seconds: trained so far.
        """
        return {
            "epoch": self.epoch,
            "step": self.step,
            "value": self.value,
            "prune": self.prune,
            "reason": self.reason,
            "known": self.known,
            "agreement": self.agreement,
            "mean_agreement": self.mean_agreement,
            "least_agreement": LEAST_AGREEMENT,
            "seconds": seconds,
        }


def rung_epochs(search: SearchSpec, epochs: int) -> list[int]:
    """After which of its epochs a trial meets a rung, ascending; the last epoch is none."""
    if search.pruner in ("none", "pbt"):
        return []
    if search.pruner not in ("asha", "hyperband"):
        return list(range(search.first_rung, epochs))
    found, epoch = [], search.first_rung
    while epoch < epochs:
        found.append(epoch)
        epoch *= search.reduction
    return found


def agreement(known: Sequence[Asked], anchors: int, epoch: int) -> float | None:
    """Kendall's tau-b (Kendall 1945, Biometrika 33) between the anchors' best scores after an epoch and at the end.

    Args:
        known: finished slots, by number.
        anchors: how many of the first slots were trained to the end.
        epoch: the rung, in epochs.

    Returns:
        A number in [-1, 1]; 0.0 where all are tied; None where fewer than ``LEAST_ANCHORS`` anchors have a score.
    """
    from scipy.stats import kendalltau

    curves = [entry.curve for entry in known if entry.slot < anchors and entry.score is not None and entry.curve]
    if len(curves) < LEAST_ANCHORS:
        return None
    tau = float(kendalltau([max(curve[:epoch]) for curve in curves], [max(curve) for curve in curves]).statistic)
    return 0.0 if math.isnan(tau) else round(tau, 12)


class Judge:
    """Decides at the rungs of one trial.

    Args:
        search: how the study is searched.
        study: name of the study.
        slot: the trial's slot.
        known: what is known of all slots up to ``slot - concurrency``, by number; finished, with their curves.
    """

    def __init__(self, search: SearchSpec, study: str, slot: int, known: Sequence[Asked]) -> None:
        self._search, self._study, self._slot, self._known = search, study, slot, known
        self._pruning: Pruning | None = None
        self._agreements: dict[int, float] | None = None

    def __call__(self, epochs: int, step: int, scores: Sequence[float]) -> RungDecision | None:
        """The decision after an epoch; None where there is no rung.

        Args:
            epochs: of a whole training.
            step: training steps so far.
            scores: the trial's validation score after each epoch so far, signed so that higher is better.
        """
        epoch, search = len(scores), self._search
        rungs = rung_epochs(search, epochs)
        if epoch not in rungs:
            return None
        reason, tau, mean = self.distrust(epochs, epoch)
        prune = False
        if reason is None:
            if self._pruning is None:
                steps = step // epoch
                self._pruning = Pruning(search, self._study, self._slot, self._known, rungs, steps, epochs * steps)
            prune = self._pruning.verdict(scores)
            reason = f"{search.pruner}: {'worse than others at this rung' if prune else 'goes on'}"
        return RungDecision(epoch, step, max(scores), prune, reason, len(self._known), tau, mean)

    def distrust(self, epochs: int, epoch: int) -> tuple[str | None, float | None, float | None]:
        """Why a rung may not decide, None where it may; its agreement, and the mean over all rungs."""
        if self._agreements is None:
            self._agreements = self._compared(rung_epochs(self._search, epochs))
        taus = self._agreements
        tau, mean = taus.get(epoch), round(fmean(taus.values()), 12) if taus else None
        return self._untrusted(tau, mean), tau, mean

    def _compared(self, rungs: Sequence[int]) -> dict[int, float]:
        """Rung → agreement; empty before the anchors are finished, or where too few have a score."""
        anchors = self._search.anchors
        if len(self._known) < anchors or anchors == 0:
            return {}
        taus = {rung: agreement(self._known, anchors, rung) for rung in rungs}
        return {rung: tau for rung, tau in taus.items() if tau is not None}

    def _untrusted(self, tau: float | None, mean: float | None) -> str | None:
        """Why this rung may not decide; None where it may."""
        anchors = self._search.anchors
        if len(self._known) < anchors:
            return f"goes on: whether early ranks can be trusted is known when slots 0 to {anchors - 1} are finished"
        if anchors == 0:
            return None
        if tau is None or mean is None:
            return f"goes on: fewer than {LEAST_ANCHORS} anchors have a score"
        if mean < LEAST_AGREEMENT:
            return f"pruning is off: early ranks mislead (mean tau {mean:.2f}, below {LEAST_AGREEMENT})"
        if tau < LEAST_AGREEMENT:
            return f"goes on: ranks at this rung mislead (tau {tau:.2f}, below {LEAST_AGREEMENT})"
        return None
