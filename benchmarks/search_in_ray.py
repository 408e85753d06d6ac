"""The searches of ``benchmarks.search`` by Ray Tune itself, as a user of it would write them.

``Tuner`` with ``OptunaSearch`` (TPE) and Ray's own ASHA; a trial reports the recorded curve of its configuration at the
rungs, where alone something is decided. One trial at a time, as on our side; processes are used again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.seeds import derive_seed

Curve = Sequence[float]


def searches(
    names: Sequence[str],
    curve_of: Callable[[int, int], Curve],
    axes: Mapping[str, tuple[int, int, int]],
    good: float,
    slots: int,
    reduction: int,
) -> list[dict[str, Any]]:
    """One search for each name, which decides its random streams.

    Args:
        curve_of: place in the grid → score after each epoch; at most a few kilobytes, because Ray carries it along.
        axes: hyperparameter → lowest, highest and default place.
        good: the score at which a search has got there.
        slots: trials at most.
        reduction: of ASHA.

    Returns:
        For each ``epochs`` until a trial has ended whose best score is ``good`` (None where none has), ``pruned`` and
        ``slots``, the trials that were stopped early and all.
    """
    from benchmarks.engines import with_ray

    found: list[dict[str, Any]] = []

    def run() -> dict[str, float]:
        with tempfile.TemporaryDirectory(prefix="gpaf-search-") as scratch:
            for name in names:
                found.append(_search(Path(scratch), name, curve_of, axes, good, slots, reduction))
        return {}

    with tempfile.TemporaryDirectory(prefix="gpaf-ray-") as folder:
        with_ray(Path(folder), run)
    return found


def _search(
    folder: Path,
    name: str,
    curve_of: Callable[[int, int], Curve],
    axes: Mapping[str, tuple[int, int, int]],
    good: float,
    slots: int,
    reduction: int,
) -> dict[str, Any]:
    import optuna
    from ray import tune
    from ray.tune.schedulers import AsyncHyperBandScheduler
    from ray.tune.search.optuna import OptunaSearch

    first, second = axes
    epochs = len(curve_of(axes[first][2], axes[second][2]))
    rungs = [reduction**place for place in range(epochs) if reduction**place < epochs]

    class Recorded(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self._curve, self._left = curve_of(config[first], config[second]), [*rungs, epochs]

        def step(self) -> dict[str, Any]:
            epoch = self._left.pop(0)
            return {"epoch": epoch, "score": max(self._curve[:epoch]), "done": not self._left}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

    class Count(tune.Stopper):
        spent, reached, whole = 0, None, 0

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            if self.reached is None:
                before = [0, *rungs][[*rungs, epochs].index(result["epoch"])]
                self.spent += result["epoch"] - before
                self.whole += result["epoch"] == epochs
                if result["epoch"] == epochs and result["score"] >= good:
                    self.reached = self.spent
            return False

        def stop_all(self) -> bool:
            return self.reached is not None

    count = Count()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space: dict[str, Any] = {
        key: optuna.distributions.IntDistribution(low, high) for key, (low, high, _) in axes.items()
    }
    results = tune.Tuner(
        tune.with_resources(Recorded, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(
                space,
                metric="score",
                mode="max",
                points_to_evaluate=[{key: default for key, (_, _, default) in axes.items()}],
                sampler=optuna.samplers.TPESampler(seed=derive_seed("ray", name) % 2**32),
            ),
            scheduler=AsyncHyperBandScheduler(
                time_attr="epoch", metric="score", mode="max", max_t=epochs, grace_period=1, reduction_factor=reduction
            ),
            num_samples=slots,
            max_concurrent_trials=1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=name.replace(" ", "-"),
            storage_path=str(folder),
            stop=count,
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            verbose=0,
        ),
    ).fit()
    return {"epochs": count.reached, "slots": len(results), "pruned": len(results) - count.whole}
