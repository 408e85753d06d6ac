"""What a user would write instead of a sweep: the trials of ``benchmarks.sweep`` by Optuna, and by Ray Tune.

    python -m benchmarks.sweep_rivals optuna JSON      a study whose trials run in a pool of processes
    python -m benchmarks.sweep_rivals ray JSON         Ray Tune on the cluster that RAY_ADDRESS names

Each prints, as JSON, the trials that ended and when the last one did. The pool's processes are used for all trials, and
so are Ray's where ``reuse`` says so, which is not how it comes.
"""

from __future__ import annotations

import json
import logging
import math
import multiprocessing
import os
import random
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

LR = (1e-5, 1e-2)


@dataclass(frozen=True)
class Plan:
    """What every side trains."""

    folder: str
    """A folder of images for each class."""
    methods: tuple[str, ...]
    """Of ``full_finetune``, ``bn_affine`` and ``linear_probe``; each has a search of its own."""
    trials: int
    """Of each method."""
    epochs: int
    batch: int
    size: int
    backbone: str
    workers: int
    loaders: int
    """Processes of each DataLoader."""
    reuse: bool
    scratch: str


def train(plan: Plan, method: str, lr: float) -> float:
    """A training as one would write it: ImageFolder, transforms, DataLoader; the best validation accuracy."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Subset
    from torchvision import models
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    torch.manual_seed(0)
    end = [
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
    changed = v2.Compose([v2.RandomResizedCrop(plan.size, antialias=True), v2.RandomHorizontalFlip(), *end])
    plain = v2.Compose([v2.Resize((plan.size, plan.size), antialias=True), *end])
    training, validation = ImageFolder(plan.folder, changed), ImageFolder(plan.folder, plain)
    order = list(range(len(training)))
    random.Random(0).shuffle(order)
    sides = math.floor(0.64 * len(order)), math.floor(0.8 * len(order))
    loader = DataLoader(
        Subset(training, order[: sides[0]]), plan.batch, shuffle=True, drop_last=True, num_workers=plan.loaders
    )
    checks = DataLoader(Subset(validation, order[sides[0] : sides[1]]), 256, num_workers=plan.loaders)
    model = models.get_model(plan.backbone, weights=None, num_classes=len(training.classes))
    head = list(model.children())[-1]
    for module in model.modules() if method != "full_finetune" else ():
        trains = module is head or (method == "bn_affine" and isinstance(module, nn.BatchNorm2d))
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(trains)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, plan.epochs * len(loader))
    criterion, best = nn.CrossEntropyLoss(), 0.0
    for _ in range(plan.epochs):
        model.train()
        for images, labels in loader:
            loss = criterion(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        model.eval()
        with torch.inference_mode():
            right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in checks)
        best = max(best, right / len(checks.dataset))  # type: ignore[arg-type]
    return best


def by_optuna(plan: Plan) -> int:
    """Ask in this process, train in a pool; the number of trials that ended."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ended = 0
    with ProcessPoolExecutor(plan.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
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
    return ended


def by_ray(plan: Plan) -> int:
    """Ray Tune with Optuna's sampler; the number of trials that ended without an error."""
    import optuna
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    def objective(config: dict[str, Any]) -> None:
        tune.report({"score": train(plan, config["method"], config["lr"])})

    ray.init(address=os.environ["RAY_ADDRESS"], logging_level=logging.ERROR, log_to_driver=False)
    ended = 0
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
        return ended
    finally:
        ray.shutdown()


def main() -> int:
    """Run one side."""
    side, given = sys.argv[1:]
    plan = Plan(**json.loads(given))
    ended = {"optuna": by_optuna, "ray": by_ray}[side](plan)
    print(json.dumps({"trials": ended, "ended": time.time()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
