"""Whole records of a run directory, as a sweep would have written them; keyword arguments replace their members."""

from __future__ import annotations

from typing import Any

Record = dict[str, Any]


def study(label: str = "m", dataset: str = "small", **changes: Any) -> Record:
    """``study.json``."""
    record: Record = {
        "label": label,
        "method": label,
        "dataset": dataset,
        "space": {},
        "search_slots": 1,
        "search_seeds": [0],
        "confirm_seeds": [1000, 1001],
        "identity": {"search": {"metric": "nll"}, "train": {"epochs": 4}},
    }
    return {**record, **changes}


def request(stage: str = "search", slot: int | None = None, seed: int = 0, **changes: Any) -> Record:
    """``trial.json``."""
    record = {"stage": stage, "slot": slot, "seed": seed, "hyperparameters": {}, "identity": "f00d"}
    return {**record, "conditioned_on": [], "threads": 1, **changes}


def result(stage: str = "search", slot: int | None = None, seed: int = 0, **changes: Any) -> Record:
    """``result.json`` of a trial that is done, or of what ``status`` says."""
    record = {"stage": stage, "slot": slot, "seed": seed, "hyperparameters": {}, "identity": "f00d"}
    outcome = {"status": "done", "cause": None, "message": None, "metrics": {"val": {}}, "epochs": 4, "steps": 40}
    return {**record, **outcome, "time": {"attempt_seconds": 1.0, "train_seconds": 1.0}, **changes}


def epoch(number: int, **scores: float) -> Record:
    """A line of ``curve.jsonl``."""
    return {"epoch": number, "step": 10 * (number + 1), "val": scores}


def choice(**changes: Any) -> Record:
    """``chosen.json``."""
    record = {"slot": 0, "metric": "nll", "value": 0.5, "hyperparameters": {}, "configuration": "c0ffee", "of": 1}
    return {**record, **changes}
