"""What an earlier run has found, told to the sampler of this one before it asks.

The observations are copied into the run directory when it is planned, so that the earlier run may then be deleted and
every ask can be made again. They are no slots of this run: neither its budget nor its choice counts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import RequestError
from harness.core.identity import canonical_hash, differences
from harness.metrics.table import facts_of, known_metrics
from harness.run.directory import RunDirectory
from harness.run.study_folder import StudyFolder
from harness.run.study_records import PriorRecord, StudyPrior
from harness.search import Asked
from harness.search.slots import slot_score
from harness.space.parameters import Space, to_json
from harness.spec.search import SearchSpec

MUST_AGREE = ("space", "dataset")
"""Parts of a study's identity without which scores do not compare, beside the metric."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What one study knows beforehand."""

    run: str
    """Path of the earlier run directory."""
    observations: tuple[Asked, ...]
    """Its slots with a score, numbered as there."""
    trials: int
    """Search trials of the earlier study that have a result."""
    steps: int
    """Optimiser steps of these."""
    device_seconds: float
    different: tuple[str, ...]
    """In what else the earlier study differs, a line each."""

    @property
    def identity(self) -> str:
        """Hash of what decides the asks."""
        return canonical_hash([[dict(one.hyperparameters), one.score] for one in self.observations])

    def facts(self) -> StudyPrior:
        """What ``study.json`` tells of it."""
        return {
            "run": self.run,
            "observations": len(self.observations),
            "trials": self.trials,
            "steps": self.steps,
            "device_seconds": self.device_seconds,
            "different": list(self.different),
        }

    def to_json(self) -> PriorRecord:
        """All of it, as plain data."""
        return {
            "run": self.run,
            "observations": [
                {"slot": one.slot, "hyperparameters": dict(one.hyperparameters), "score": one.score}
                for one in self.observations
            ],
            "trials": self.trials,
            "steps": self.steps,
            "device_seconds": self.device_seconds,
            "different": list(self.different),
        }


def recorded(folder: StudyFolder) -> Prior | None:
    """What the run directory has recorded of a study; None where nothing is.

    Raises:
        TornFileError: the file is not readable.
    """
    content = folder.prior()
    if content is None:
        return None
    observations = tuple(Asked(one["slot"], one["hyperparameters"], one["score"]) for one in content["observations"])
    return Prior(
        run=content["run"],
        observations=observations,
        trials=content["trials"],
        steps=content["steps"],
        device_seconds=content["device_seconds"],
        different=tuple(content["different"]),
    )


def prior_of(folder: StudyFolder, search: SearchSpec, space: Space, identity: Mapping[str, object]) -> Prior | None:
    """What a study is to know beforehand; as recorded, where the same run was named before; None without a warm start.

    Args:
        folder: of the study.
        search: how it is searched.
        space: its search space.
        identity: its identity, part by part.

    Raises:
        RequestError: there is no such run or study, or its scores do not compare with this one's.
    """
    if search.warm_start is None:
        return None
    place, known = Path(search.warm_start), recorded(folder)
    if known is not None and (known.run == str(place) or not place.is_dir()):
        return known
    earlier = RunDirectory(place)
    if not earlier.exists():
        raise RequestError(f"search.warm_start: {place} is no run directory (it has no spec.json)")
    study = earlier.study(folder.name)
    if not study.exists:
        raise RequestError(
            f"search.warm_start: {place} has no study {folder.name}; some methods would know more than others, so "
            "leave this one out, or do without a warm start"
        )
    return _read(earlier, study, search, {**identity, "space": to_json(space)})


def _read(earlier: RunDirectory, study: StudyFolder, search: SearchSpec, identity: Mapping[str, object]) -> Prior:
    description = study.description()
    before: dict[str, object] = {**description["identity"], "space": description["space"]}
    metric = description["identity"]["search"]["metric"]
    was, now = description["identity"].get("metrics", {}), identity.get("metrics", {})
    if metric != search.metric:
        raise RequestError(
            f"search.warm_start: {study.name}: it was searched by {metric}, this one is by {search.metric}; take the "
            "same search.metric"
        )
    if was.get(metric) != (now.get(metric) if isinstance(now, Mapping) else None):
        raise RequestError(f"search.warm_start: {study.name}: the code of the metric {metric} is another one than then")
    measure = facts_of(metric, known_metrics(description.get("metrics", ())), str(study.description_path))
    for part in MUST_AGREE:
        changed = differences({part: before[part]}, {part: identity[part]})
        if changed:
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            raise RequestError(f"search.warm_start: {study.name}: scores do not compare: {changed[0]}{more}")
    seeds: Sequence[int] = description["search_seeds"]
    observations, results = [], []
    for slot in range(int(description["search_slots"])):
        trials = [study.search_trial(slot, seed) for seed in seeds]
        found = [trial.result() if trial.finished else None for trial in trials]
        results += [(result, trial) for result, trial in zip(found, trials, strict=True) if result is not None]
        score = slot_score(found, measure)
        if score is not None and found[0] is not None:
            observations.append(Asked(slot, found[0]["hyperparameters"], score))
    if not observations:
        raise RequestError(f"search.warm_start: {study.name}: no slot of {earlier.path} has a score yet")
    parts = ("protocol", "method", "train", "backbone")
    return Prior(
        run=str(earlier.path),
        observations=tuple(observations),
        trials=len(results),
        steps=sum(int(result.get("steps") or 0) for result, _ in results),
        device_seconds=sum(trial.spent().seconds for _, trial in results),
        different=tuple(line for part in parts for line in differences({part: before[part]}, {part: identity[part]})),
    )
