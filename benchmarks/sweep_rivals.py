"""What a user would write instead of a sweep: the trials of ``benchmarks.sweep`` by Optuna, and by Ray Tune.

    python -m benchmarks.sweep_rivals optuna JSON           a study whose trials run in a pool of processes
    python -m benchmarks.sweep_rivals optuna_strong JSON    the same by ``benchmarks.strong_training``
    python -m benchmarks.sweep_rivals ray JSON              Ray Tune on the cluster that RAY_ADDRESS names

Each prints, as JSON, the trials that ended, when the last one did, and how many scalars each method trains. The pool's
processes are used for all trials, and so are Ray's where ``reuse`` says so, which is not how it comes.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

LR = (1e-5, 1e-2)
RANK, SCALE = 8, 2.0
"""Of LoRA-C, on every side."""


@dataclass(frozen=True)
class Plan:
    """What every side trains."""

    folder: str
    """A folder of images for each class."""
    methods: tuple[str, ...]
    """Of ``full_finetune``, ``lora_c``, ``bn_affine`` and ``linear_probe``; each has a search of its own."""
    trials: int
    """Of the search of each method; what it has chosen is trained once more, on another seed, and tested."""
    epochs: int
    batch: int
    size: int
    backbone: str
    workers: int
    loaders: int
    """Processes of each DataLoader."""
    reuse: bool
    scratch: str


def train(plan: Plan, method: str, lr: float, seed: int = 0, test: bool = False) -> float:
    """``benchmarks.sweep_training.train``; only who trains imports torch."""
    from benchmarks import sweep_training

    return sweep_training.train(plan, method, lr, seed, test)


def prepare(plan: Plan, part: int) -> None:
    """``benchmarks.strong_training.prepare``."""
    from benchmarks import strong_training

    strong_training.prepare(plan, part)


def train_strongly(plan: Plan, method: str, lr: float, seed: int = 0, test: bool = False) -> float:
    """``benchmarks.strong_training.train``."""
    from benchmarks import strong_training

    return strong_training.train(plan, method, lr, seed, test)


def by_optuna(plan: Plan) -> int:
    """Ask in this process, train in a pool; the number of trials that ended."""
    with ProcessPoolExecutor(plan.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return _search(plan, pool, train)


def by_optuna_strongly(plan: Plan) -> int:
    """The same in processes that share one import of torch, on images that they have decoded once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torchvision"])
    with ProcessPoolExecutor(plan.workers, mp_context=context) as pool:
        for decoded in [pool.submit(prepare, plan, part) for part in range(plan.workers)]:
            decoded.result()
        return _search(plan, pool, train_strongly)


def _search(plan: Plan, pool: ProcessPoolExecutor, train: Callable[..., float]) -> int:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ended = 0
    # Trained while the next method's search goes on.
    chosen: list[Future[float]] = []
    for method in plan.methods:
        sampler = optuna.samplers.TPESampler(seed=0, constant_liar=True)
        study, left = optuna.create_study(direction="maximize", sampler=sampler), plan.trials
        running: dict[Future[float], optuna.Trial] = {}
        while left or running:
            while left and len(running) < plan.workers:
                trial = study.ask()
                lr = trial.suggest_float("lr", *LR, log=True)
                running[pool.submit(train, plan, method, lr)] = trial
                left -= 1
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                study.tell(running.pop(future), future.result())
                ended += 1
        chosen.append(pool.submit(train, plan, method, study.best_params["lr"], 1, True))
    return ended + len([future.result() for future in chosen])


def by_ray(plan: Plan) -> int:
    """Ray Tune with Optuna's sampler; the number of trials that ended without an error."""
    import optuna
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    def objective(config: dict[str, Any]) -> None:
        tune.report({"score": train(plan, config["method"], config["lr"])})

    ray.init(address=os.environ["RAY_ADDRESS"], logging_level=logging.ERROR, log_to_driver=False)
    final: Any = ray.remote(num_cpus=1)(train)
    ended, chosen = 0, []
    try:
        for method in plan.methods:
            space = {
                "lr": optuna.distributions.FloatDistribution(*LR, log=True),
                "method": optuna.distributions.CategoricalDistribution([method]),
            }
            sampler = optuna.samplers.TPESampler(seed=0)
            results = tune.Tuner(
                tune.with_resources(objective, {"cpu": 1}),
                tune_config=tune.TuneConfig(
                    search_alg=OptunaSearch(space, metric="score", mode="max", sampler=sampler),
                    num_samples=plan.trials,
                    max_concurrent_trials=plan.workers,
                    reuse_actors=plan.reuse,
                ),
                run_config=tune.RunConfig(name=method, storage_path=plan.scratch, verbose=0),
            ).fit()
            ended += len(results) - len(results.errors)
            config = results.get_best_result("score", "max").config
            assert config is not None
            chosen.append(final.remote(plan, method, config["lr"], 1, True))
        return ended + len(ray.get(chosen))
    finally:
        ray.shutdown()


def main() -> int:
    """Run one side."""
    side, given = sys.argv[1:]
    plan = Plan(**json.loads(given))
    plan = replace(plan, methods=tuple(plan.methods))
    ended = {"optuna": by_optuna, "optuna_strong": by_optuna_strongly, "ray": by_ray}[side](plan)
    ended_at = time.time()
    from benchmarks.sweep_training import network, trained_scalars

    classes = len(list(Path(plan.folder).iterdir()))
    trained = {method: trained_scalars(network(plan, method, classes)) for method in plan.methods}
    print(json.dumps({"trials": ended, "ended": ended_at, "trained": trained}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
