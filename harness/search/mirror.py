"""An Optuna study in memory that is kept in step with the recorded history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.search.engine import Asked
from harness.space import Choice, Float, Int, Value

if TYPE_CHECKING:
    import optuna


class Mirror:
    """An Optuna study in memory whose trial numbers are slots, kept in step with the recorded history."""

    def __init__(
        self,
        distributions: dict[str, optuna.distributions.BaseDistribution],
        sampler: optuna.samplers.BaseSampler | None = None,
    ) -> None:
        self.study = new_study(sampler)
        self._distributions = distributions
        self._held: list[Asked] = []
        """The study's trials, by slot."""
        self._learned = 0
        """Slots below are finished in the study, those from here on are running."""

    def precedes(self, history: Sequence[Asked], learned: int) -> bool:
        """Whether the study can follow to this history: nothing that it holds would have to be taken back."""
        return (
            len(self._held) <= len(history)
            and self._learned <= learned
            # What a trial reported before it was pruned can only be given when it is added.
            and not any(entry.pruned for entry in history[self._learned : min(learned, len(self._held))])
            and all(
                self._params(held) == self._params(entry) and (held.score == entry.score or held.slot >= self._learned)
                for held, entry in zip(self._held, history, strict=False)
            )
        )

    def follow(self, history: Sequence[Asked], learned: int) -> None:
        """Take over what is new; slots from ``learned`` on count as running, whatever is known of them.

        Args:
            history: every slot from 0 on, in order.
            learned: number of slots to count as finished.
        """
        import optuna

        for entry in history[self._learned : min(learned, len(self._held))]:
            state, value = outcome(entry)
            self.study.tell(entry.slot, value, state)
            self._held[entry.slot] = entry
        trials = []
        for entry in history[len(self._held) :]:
            state, value = outcome(entry) if entry.slot < learned else (optuna.trial.TrialState.RUNNING, None)
            trials.append(
                optuna.trial.create_trial(
                    state=state,
                    params=self._params(entry),
                    distributions=self._distributions,
                    value=value,
                    intermediate_values={len(entry.curve): max(entry.curve)} if entry.curve and entry.pruned else None,
                )
            )
            self._held.append(entry)
        self.study.add_trials(trials)
        self._learned = learned

    def ask(self, sampler: optuna.samplers.BaseSampler) -> dict[str, Value]:
        """Let a sampler propose the next slot, which the study then holds as running."""
        self.study.sampler = sampler
        params = dict(self.study.ask(fixed_distributions=self._distributions).params)
        self._held.append(Asked(len(self._held), params))
        return params

    def _params(self, entry: Asked) -> dict[str, Value]:
        return {name: entry.hyperparameters[name] for name in self._distributions}


def outcome(entry: Asked) -> tuple[optuna.trial.TrialState, float | None]:
    """How Optuna is told of a finished slot: state and value."""
    from optuna.trial import TrialState

    if entry.pruned:
        return TrialState.PRUNED, None
    return (TrialState.FAIL, None) if entry.score is None else (TrialState.COMPLETE, entry.score)


def new_study(sampler: optuna.samplers.BaseSampler | None) -> optuna.Study:
    """An empty study in memory in which more is better."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="maximize", sampler=sampler)


def distributions(
    varied: Mapping[str, Float | Int | Choice],
) -> dict[str, optuna.distributions.BaseDistribution]:
    """The hyperparameters that a search varies, as Optuna describes them."""
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    result: dict[str, BaseDistribution] = {}
    for name, parameter in varied.items():
        if isinstance(parameter, Choice):
            result[name] = CategoricalDistribution(parameter.choices)
        elif isinstance(parameter, Int):
            result[name] = IntDistribution(parameter.low, parameter.high, log=parameter.log)
        else:
            result[name] = FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    return result
