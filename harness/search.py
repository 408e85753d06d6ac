"""The hyperparameter search: each ask is a function of recorded history, so every ask can be replayed.

Slot ``n`` is conditioned on exactly the slots up to ``n - concurrency``, as finished, and on the hyperparameters of
those between, as running. It is asked only once these are finished. What a slot asks therefore depends neither on
the number of workers nor on who was killed when; a search that was disturbed ends with the same trials as one that
was not. The first ``startup`` slots, and every slot of a sampler that does not learn, are conditioned on nothing.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import RequestError
from harness.seeds import derive_seed
from harness.space import Choice, Float, Int, Space, Value, defaults, searched
from harness.spec import SearchSpec

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True, slots=True)
class Asked:
    """A slot that was asked, and what is known of it."""

    slot: int
    hyperparameters: Mapping[str, Value]
    score: float | None = None
    """Validation score, higher is better; None when the slot failed or is not finished."""


def slot_count(space: Space, search: SearchSpec) -> int:
    """Number of slots of a study: ``search.trials``, or fewer where the space has fewer configurations.

    Raises:
        RequestError: a grid over a continuous range.
    """
    varied = searched(space)
    if not varied:
        return 1
    if search.sampler != "grid":
        return search.trials
    return min(search.trials, 1 + len(_grid(space)))


def prerequisites(slot: int, search: SearchSpec) -> range:
    """The slots that must be finished before ``slot`` can be asked; exactly these condition it."""
    if search.sampler != "tpe" or slot < max(1, search.startup):
        return range(0)
    return range(max(0, slot - search.concurrency + 1))


def ask(space: Space, search: SearchSpec, study: str, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
    """The configuration of a slot, from nothing but the recorded history; a ``Searcher`` gives the same, faster."""
    return Searcher(space, search, study).ask(slot, history)


class Searcher:
    """Asks the slots of one study.

    It keeps what it has built, so that an ask adds only what is new; the answers are those of a fresh one.
    """

    def __init__(self, space: Space, search: SearchSpec, study: str) -> None:
        """Prepare for a study.

        Args:
            space: the study's space; what is fixed in it is part of every configuration.
            search: how the study is searched.
            study: name of the study; names its random stream.
        """
        self._fixed, self._varied = defaults(space), searched(space)
        self._search, self._name = search, study
        self._grid = _grid(space, derive_seed("grid", study)) if search.sampler == "grid" else []
        self._mirror: Mirror | None = None
        self._sequence: optuna.Study | None = None

    def ask(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        """The configuration of a slot.

        Args:
            slot: its number; slot 0 is the default configuration.
            history: the slots before ``slot``; only those that condition it are looked at.
        """
        if slot == 0:
            return dict(self._fixed)
        if self._search.sampler == "grid":
            return {**self._fixed, **self._grid[slot - 1]}
        if self._search.sampler == "qmc":
            return {**self._fixed, **self._quasi_random(slot)}
        learned = len(prerequisites(slot, self._search))
        seed = derive_seed("ask", self._name, slot) % 2**32
        space = _distributions(self._varied)
        if not learned:
            import optuna

            drawn = _new_study(optuna.samplers.RandomSampler(seed=seed)).ask(fixed_distributions=space)
            return {**self._fixed, **drawn.params}
        before = sorted((entry for entry in history if entry.slot < slot), key=lambda entry: entry.slot)
        if self._mirror is None or not self._mirror.precedes(before, learned):
            self._mirror = Mirror(space)
        self._mirror.follow(before, learned)
        return {**self._fixed, **self._mirror.ask(_tree_parzen(space, seed))}

    def _quasi_random(self, slot: int) -> dict[str, Value]:
        import optuna

        space = _distributions(self._varied)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # The sequence's position is kept in the study, so the slots before this one are drawn too.
            if self._sequence is None or len(self._sequence.get_trials(deepcopy=False)) > slot:
                sampler = optuna.samplers.QMCSampler(
                    seed=derive_seed("qmc", self._name) % 2**32, scramble=True, warn_independent_sampling=False
                )
                mirror = Mirror(space, sampler)
                mirror.follow([Asked(0, self._fixed, 0.0)], 1)
                self._sequence = mirror.study
            while len(self._sequence.get_trials(deepcopy=False)) <= slot:
                trial = self._sequence.ask(fixed_distributions=space)
        return dict(trial.params)


class Mirror:
    """An Optuna study in memory whose trial numbers are slots, kept in step with the recorded history."""

    def __init__(
        self,
        distributions: dict[str, optuna.distributions.BaseDistribution],
        sampler: optuna.samplers.BaseSampler | None = None,
    ) -> None:
        self.study = _new_study(sampler)
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
            state, value = _outcome(entry)
            self.study.tell(entry.slot, value, state)
            self._held[entry.slot] = entry
        trials = []
        for entry in history[len(self._held) :]:
            state, value = _outcome(entry) if entry.slot < learned else (optuna.trial.TrialState.RUNNING, None)
            trials.append(
                optuna.trial.create_trial(
                    state=state, params=self._params(entry), distributions=self._distributions, value=value
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


def _outcome(entry: Asked) -> tuple[optuna.trial.TrialState, float | None]:
    from optuna.trial import TrialState

    return (TrialState.FAIL, None) if entry.score is None else (TrialState.COMPLETE, entry.score)


def _new_study(sampler: optuna.samplers.BaseSampler | None) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="maximize", sampler=sampler)


def _tree_parzen(space: dict[str, optuna.distributions.BaseDistribution], seed: int) -> optuna.samplers.BaseSampler:
    """A sampler that models all hyperparameters together and takes running slots for bad ones."""
    import optuna

    relative = {name: space[name] for name in sorted(space) if not space[name].single()}

    class TreeParzen(optuna.samplers.TPESampler):
        # Optuna would compare the spaces of all trials to find what they share, at a cost above that of sampling;
        # the trials of a study share their whole space.
        def infer_relative_search_space(
            self, study: optuna.Study, trial: optuna.trial.FrozenTrial
        ) -> dict[str, optuna.distributions.BaseDistribution]:
            return relative

    return TreeParzen(seed=seed, n_startup_trials=1, constant_liar=True)


def _grid(space: Space, seed: int = 0) -> list[dict[str, Value]]:
    """Every configuration of the space but the default one, in an order drawn from ``seed``."""
    varied = searched(space)
    axes: list[Sequence[Value]] = []
    for name, parameter in varied.items():
        if isinstance(parameter, Float):
            raise RequestError(
                f"search.sampler: grid cannot walk through the continuous range of {name!r}; "
                f"list its values: {name}: {{choice: [{parameter.low}, {parameter.high}]}}"
            )
        axes.append(parameter.choices if isinstance(parameter, Choice) else range(parameter.low, parameter.high + 1))
    if math.prod(len(axis) for axis in axes) > 100_000:
        raise RequestError("search.sampler: the grid has more than 100,000 configurations; use random, qmc or tpe")
    default = {name: parameter.default for name, parameter in varied.items()}
    points = [dict(zip(varied, values, strict=True)) for values in itertools.product(*axes)]
    points = [point for point in points if point != default]
    order = np.random.default_rng(seed).permutation(len(points))
    return [points[index] for index in order]


def _distributions(
    varied: Mapping[str, Float | Int | Choice],
) -> dict[str, optuna.distributions.BaseDistribution]:
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


def choose(history: Sequence[Asked]) -> Asked | None:
    """The slot with the best validation score, the earliest of equals; None when every slot failed."""
    finished = [entry for entry in history if entry.score is not None]
    return max(finished, key=lambda entry: (_score(entry), -entry.slot), default=None)


def _score(entry: Asked) -> float:
    assert entry.score is not None
    return entry.score
