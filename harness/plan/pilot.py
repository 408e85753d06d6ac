"""The spread over seeds from a pilot: the default configuration of each method, trained in full with a few seeds.

Only search trials are run, so that the test split stays closed: what varies is the score on the validation images.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import median, stdev

import torch

from analysis.stats.twoway import Components
from harness.core.visible_gpus import take_device
from harness.launch.this_machine import available_devices
from harness.plan.detectable import Spread, is_share, over_cases
from harness.plugins import Catalogue
from harness.run.directory import RunDirectory
from harness.run.record_values import score_of
from harness.space.parameters import defaults
from harness.spec.sections import SweepSpec
from harness.studies.planner import Planner
from harness.studies.study import Roots
from harness.train.device import usable_device
from harness.work.claims import Proposal
from harness.work.running import run_claimed
from harness.work.scheduler import Scheduler


def pilot(
    spec: SweepSpec,
    catalogue: Catalogue,
    run: RunDirectory,
    roots: Roots,
    seeds: int,
    disagreement: float,
    progress: Callable[[int, int], None],
) -> dict[str, Spread]:
    """Dataset → how paired differences between methods vary over seeds; those of which nothing is learnt are left out.

    Args:
        spec: of the sweep.
        run: a run directory for the pilot alone.
        seeds: how many, at least two; the more, the better is known what varies.
        disagreement: share of the cases on which two methods are assumed to differ.
        progress: told how many trials have ended, and of how many.
    """
    search = {"engine": "optuna", "sampler": "random", "pruner": "none", "trials": 1, "seeds": list(range(seeds))}
    spec = spec.model_copy(update={"search": spec.search.model_copy(update=search)})
    run.create()
    studies = Planner(spec, catalogue, run, roots).studies()
    scheduler = Scheduler(studies, spec.launch.retries, torch.get_num_threads())
    device, stop = usable_device(take_device(available_devices()[0])), threading.Event()
    while scheduler.open_sources() and (taken := scheduler.claim_next()) is not None:
        run_claimed(taken, device, stop)
    scores: dict[str, dict[str, list[float | None]]] = {study.dataset.label: {} for study in studies}
    for done, (study, seed) in enumerate((study, seed) for study in studies for seed in range(seeds)):
        progress(done, len(studies) * seeds)
        taken = scheduler.claim_slot(study.name, 0, seed, Proposal(defaults(study.space)))
        assert taken is not None
        result = run_claimed(taken, device, stop)
        score = None
        if result is not None and result["status"] == "done":
            score = score_of(result["metrics"]["val"], spec.search.metric)
        scores[study.dataset.label].setdefault(study.label, []).append(score)
    found = {}
    for dataset, by_method in scores.items():
        sd, pairs = _spread(list(by_method.values()))
        if sd > 0.0:
            known = f"pilot of {seeds} seeds on validation images, {pairs}"
            components = None
            if is_share(spec.search.metric):
                components = Components(seed=sd**2, case=disagreement, interaction=0.0)
            found[dataset] = Spread(sd, components, f"{known}{over_cases(spec.search.metric, disagreement)}")
    return found


def _spread(scores: Sequence[Sequence[float | None]]) -> tuple[float, str]:
    """The median standard deviation of the differences between two methods, and of what; 0 where nothing is known."""
    spreads = []
    for one, other in combinations(scores, 2):
        differences = [a - b for a, b in zip(one, other, strict=True) if a is not None and b is not None]
        spreads += [stdev(differences)] if len(differences) > 1 else []
    if len(scores) == 1:
        # As if the other method varied alike, without sharing its seeds' luck.
        alone = [score for score in scores[0] if score is not None]
        return (math.sqrt(2) * stdev(alone), "one method") if len(alone) > 1 else (0.0, "")
    return (median(spreads), f"median of {len(spreads)} pairs") if spreads else (0.0, "")
