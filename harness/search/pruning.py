"""Optuna's pruners over a study that is rebuilt from the curves of finished slots."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from harness.search.sampler import Asked
from harness.spec.search import SearchSpec

if TYPE_CHECKING:
    import optuna


class Pruning:
    """One slot's trial among those that are known.

    What is reported at a rung is the best score so far, because the best epoch of a training is what counts in the end;
    patience alone looks at each epoch's own.

    Args:
        search: how the study is searched.
        study: name of the study; decides the bracket of each slot in Hyperband.
        slot: the trial's slot.
        known: the finished slots that condition it, by number.
        rungs: after which epochs there is a rung, ascending.
        steps_per_epoch: training steps an epoch; Optuna's resource is a step.
        steps: of a whole training.
    """

    def __init__(
        self,
        search: SearchSpec,
        study: str,
        slot: int,
        known: Sequence[Asked],
        rungs: Sequence[int],
        steps_per_epoch: int,
        steps: int,
    ) -> None:
        import optuna
        from optuna.trial import TrialState

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._search, self._rungs, self._steps_per_epoch = search, rungs, steps_per_epoch
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            pruner = _pruner(search, steps_per_epoch, steps)
        built = optuna.create_study(study_name=study, direction="maximize", pruner=pruner)
        finished = {entry.slot: entry for entry in known}
        # Trial numbers are slots; those that are not known here are running, and nobody has heard of them.
        for number in range(slot):
            trial = built.ask()
            entry = finished.get(number)
            if entry is None:
                continue
            for epoch, value in self._at_rungs(entry.curve, carry=not entry.pruned):
                trial.report(value, epoch * steps_per_epoch)
                # Successive halving notes the rungs that a trial has met when it is asked.
                trial.should_prune()
            if entry.score is not None:
                built.tell(trial, entry.score)
            else:
                built.tell(trial, state=TrialState.PRUNED if entry.pruned else TrialState.FAIL)
        self._trial = built.ask()
        self._told = 0

    def verdict(self, scores: Sequence[float]) -> bool:
        """Whether the trial should end after the epochs whose scores these are; the last of them is a rung."""
        prune = False
        for epoch, value in self._at_rungs(scores, carry=False):
            if epoch > self._told:
                self._trial.report(value, epoch * self._steps_per_epoch)
                prune = bool(self._trial.should_prune())
                self._told = epoch
        return prune

    def _at_rungs(self, curve: Sequence[float], carry: bool) -> Iterator[tuple[int, float]]:
        """(epoch, value) of each rung that was met; ``carry``: a training that ended early keeps its best score."""
        for epoch in self._rungs:
            if epoch <= len(curve) and self._search.pruner == "patience":
                yield epoch, curve[epoch - 1]
            elif epoch <= len(curve) or (carry and curve):
                yield epoch, max(curve[:epoch])


def _pruner(search: SearchSpec, steps_per_epoch: int, steps: int) -> optuna.pruners.BasePruner:
    from optuna import pruners

    first = search.first_rung * steps_per_epoch
    known: dict[str, Callable[[], pruners.BasePruner]] = {
        "median": lambda: pruners.MedianPruner(n_startup_trials=1),
        "percentile": lambda: pruners.PercentilePruner(search.percentile, n_startup_trials=1),
        "asha": lambda: pruners.SuccessiveHalvingPruner(first, search.reduction),
        "hyperband": lambda: pruners.HyperbandPruner(first, steps, search.reduction),
        "patience": lambda: pruners.PatientPruner(None, search.patience),
    }
    return known[search.pruner]()
