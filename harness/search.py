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
    """The configuration of a slot.

    Args:
        space: the study's space; what is fixed in it is part of every configuration.
        study: name of the study; names its random stream.
        history: the slots before ``slot``; only those that condition it are looked at.
    """
    fixed = defaults(space)
    if slot == 0:
        return fixed
    varied = searched(space)
    if search.sampler == "grid":
        return {**fixed, **_grid(space, derive_seed("grid", study))[slot - 1]}
    if search.sampler == "qmc":
        return {**fixed, **_quasi_random(varied, study, slot, fixed)}
    learned = prerequisites(slot, search)
    return {**fixed, **_sample(varied, study, slot, history if learned else (), len(learned))}


def _sample(
    varied: Mapping[str, Float | Int | Choice], study: str, slot: int, history: Sequence[Asked], learned: int
) -> dict[str, Value]:
    import optuna

    seed = derive_seed("ask", study, slot) % 2**32
    sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=seed)
    if learned:
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=1, constant_liar=True)
    space = _distributions(varied)
    rebuilt = rebuild(space, [entry for entry in history if entry.slot < slot], learned, sampler)
    return dict(rebuilt.ask(fixed_distributions=space).params)


def rebuild(
    distributions: dict[str, optuna.distributions.BaseDistribution],
    history: Sequence[Asked],
    learned: int,
    sampler: optuna.samplers.BaseSampler,
) -> optuna.Study:
    """An Optuna study in memory whose trial numbers are slots; slots from ``learned`` on count as running."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    trials = []
    for entry in sorted(history, key=lambda asked: asked.slot):
        params = {name: entry.hyperparameters[name] for name in distributions}
        state = optuna.trial.TrialState.RUNNING
        if entry.slot < learned:
            state = optuna.trial.TrialState.FAIL if entry.score is None else optuna.trial.TrialState.COMPLETE
        value = entry.score if state is optuna.trial.TrialState.COMPLETE else None
        trials.append(optuna.trial.create_trial(state=state, params=params, distributions=distributions, value=value))
    study.add_trials(trials)
    return study


def _quasi_random(
    varied: Mapping[str, Float | Int | Choice], study: str, slot: int, default: Mapping[str, Value]
) -> dict[str, Value]:
    import optuna

    space = _distributions(varied)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.QMCSampler(
            seed=derive_seed("qmc", study) % 2**32, scramble=True, warn_independent_sampling=False
        )
        rebuilt = rebuild(space, [Asked(0, default, 0.0)], 1, sampler)
        # The sequence's position is kept in the study, so the slots before this one are drawn again.
        for _ in range(slot):
            trial = rebuilt.ask(fixed_distributions=space)
    return dict(trial.params)


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
