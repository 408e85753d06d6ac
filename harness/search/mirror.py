"""An Optuna study in memory that is kept in step with the recorded history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.search.sampler import Asked
from harness.space.conditions import counts, parents_first
from harness.space.parameters import Choice, Float, Int, Space, Value, defaults, searched, wanted

if TYPE_CHECKING:
    import optuna


class Mirror:
    """An Optuna study in memory kept in step with the recorded history: its trials are slots, after what was known.

    A trial has the hyperparameters that the search varies and that count in its configuration.

    Args:
        space: of the study.
        sampler: asks for slots; None where ``ask`` brings one.
        prior: finished slots of an earlier search, known from the beginning.
    """

    def __init__(
        self, space: Space, sampler: optuna.samplers.BaseSampler | None = None, prior: Sequence[Asked] = ()
    ) -> None:
        self.study = new_study(sampler)
        self._space, self._distributions = space, distributions(searched(space))
        self._at_times = {name for name in self._distributions if wanted(space[name])}
        self._held: list[Asked] = []
        """The study's trials, by slot."""
        self._learned = 0
        """Slots below are finished in the study, those from here on are running."""
        self._before = len(prior)
        self.study.add_trials([self._trial(entry, finished=True) for entry in prior])

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
                if held is not entry
            )
        )

    def follow(self, history: Sequence[Asked], learned: int) -> None:
        """Take over what is new; slots from ``learned`` on count as running, whatever is known of them.

        Args:
            history: every slot from 0 on, in order.
            learned: number of slots to count as finished.
        """
        for entry in history[self._learned : min(learned, len(self._held))]:
            state, value = outcome(entry)
            self.study.tell(self._before + entry.slot, value, state)
            self._held[entry.slot] = entry
        new = history[len(self._held) :]
        self._held += new
        self.study.add_trials([self._trial(entry, entry.slot < learned) for entry in new])
        self._learned = learned

    def ask(self, sampler: optuna.samplers.BaseSampler) -> dict[str, Value]:
        """Let a sampler propose the next slot, which the study then holds as running; complete."""
        self.study.sampler = sampler
        if self._at_times:
            found = self._suggested(self.study.ask())
        else:
            found = {**defaults(self._space), **self.study.ask(fixed_distributions=self._distributions).params}
        self._held.append(Asked(len(self._held), found))
        return found

    def _suggested(self, trial: optuna.Trial) -> dict[str, Value]:
        """A configuration hyperparameter by hyperparameter: whether one counts depends on those before it."""
        found = defaults(self._space)
        for name in parents_first(self._space):
            parameter = self._space[name]
            if name not in self._distributions or not counts(self._space, name, found):
                continue
            if isinstance(parameter, Choice):
                chosen = trial.suggest_categorical(name, parameter.choices)
                assert chosen is not None
                found[name] = chosen
            elif isinstance(parameter, Int):
                found[name] = trial.suggest_int(name, parameter.low, parameter.high, log=parameter.log)
            elif isinstance(parameter, Float):
                found[name] = trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log)
        return found

    def _trial(self, entry: Asked, finished: bool) -> optuna.trial.FrozenTrial:
        import optuna

        state, value = outcome(entry) if finished else (optuna.trial.TrialState.RUNNING, None)
        params = self._params(entry)
        return optuna.trial.create_trial(
            state=state,
            params=params,
            distributions={name: self._distributions[name] for name in params},
            value=value,
            intermediate_values={len(entry.curve): max(entry.curve)} if entry.curve and entry.pruned else None,
        )

    def _params(self, entry: Asked) -> dict[str, Value]:
        asked = entry.hyperparameters
        return {
            name: asked[name]
            for name in self._distributions
            if name not in self._at_times or counts(self._space, name, asked)
        }


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
