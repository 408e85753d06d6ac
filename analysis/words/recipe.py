"""Sentences on how all methods were trained: batches, learning rate and optimiser, as the sweep file has them."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.comparison.phrases import counted, listed
from harness.run.sweep_records import OptimizerRecord, ScheduleRecord, TrainRecord

_FALLS = {"cosine": "fell to 0 along half a cosine", "linear": "fell linearly to 0", "constant": "stayed constant"}
_OPTIMISERS = {"adamw": "AdamW", "adam": "Adam, weight decay being part of the gradient", "sgd": "SGD"}


def recipe_sentences(train: TrainRecord) -> Iterator[str]:
    """How long, in which batches, at which rates and by which optimiser methods were trained.

    What a run does not say, because it is older than the key, is not said.
    """
    side = f" of {train['image_size']} × {train['image_size']} pixels" if "image_size" in train else ""
    last = "" if train.get("drop_last", True) else ", the last one of an epoch being smaller"
    length = counted(train["epochs"], "epoch")
    yield f"A training took at most {length}, in batches of {train['batch_size']} images{side}{last}."
    if "warmup" in train and "schedule" in train:
        yield f"The learning rate {_rise(train)}{_curve(train['schedule'])}."
    optimizer = train.get("optimizer")
    if optimizer is not None:
        yield f"The optimiser of all methods was {_OPTIMISERS[optimizer['kind']]}{_momentum(optimizer)}."


def _rise(train: TrainRecord) -> str:
    warmup = train["warmup"]
    if isinstance(warmup, int | float):
        over = f"{100 * warmup:g} % of the steps" if warmup else None
    elif warmup["steps"] is not None:
        over = _first(warmup["steps"], "step")
    else:
        over = _first(warmup["epochs"] or 0, "epoch")
    return "" if over is None else f"rose over the first {over} and then "


def _first(number: float, unit: str) -> str | None:
    if number == 1:
        return unit
    return f"{number:g} {unit}s" if number else None


def _curve(schedule: ScheduleRecord) -> str:
    if schedule["kind"] != "step":
        return _FALLS[schedule["kind"]]
    after = listed([str(epoch) for epoch in schedule["milestones"]])
    plural = "s" if len(schedule["milestones"]) > 1 else ""
    return f"was multiplied by {schedule['factor']:g} after epoch{plural} {after}"


def _momentum(optimizer: OptimizerRecord) -> str:
    if optimizer["kind"] != "sgd":
        return ""
    form = "Nesterov's momentum" if optimizer["nesterov"] else "momentum"
    return f" with {form} {optimizer['momentum']:g}" if optimizer["momentum"] else " without momentum"
