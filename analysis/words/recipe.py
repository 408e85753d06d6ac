"""Sentences on how all methods were trained: batches, loss, learning rate, optimiser, augmentation, which epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from analysis.comparison.phrases import counted, listed
from harness.run.sweep_records import AugmentationRecord, OptimizerRecord, ScheduleRecord, TrainRecord

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


def optimiser_sentences(kinds: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """By which optimisers methods were trained that name their own.

    Args:
        kinds: method → kinds that its hyperparameters allow.
    """
    alike: dict[str, list[str]] = {}
    for method, own in kinds.items():
        names = " or ".join(_OPTIMISERS.get(kind, kind) for kind in own)
        alike.setdefault(names if len(own) == 1 else f"{names}, as the search chose", []).append(method)
    if len(alike) == 1:
        yield f"The optimiser was {next(iter(alike))}."
    elif alike:
        yield f"The optimiser was {'; '.join(f'{names} for {listed(methods)}' for names, methods in alike.items())}."


def loss_sentences(train: TrainRecord, several: Sequence[str] = ()) -> Iterator[str]:
    """Which loss methods were given, and what else a step does.

    Args:
        train: the section of the sweep file.
        several: datasets whose images may bear several labels.
    """
    if "class_weights" not in train:
        return
    binary = f", binary cross-entropy over the labels on {listed(several)}" if several else ""
    weights = ", each class weighted by its inverse frequency" if train["class_weights"] == "balanced" else ""
    smoothing = train.get("label_smoothing", 0)
    smoothed = f", with label smoothing {smoothing:g}" if smoothing else ""
    yield f"The loss that methods were given was cross-entropy{binary}{weights}{smoothed}."
    if train.get("sampling") == "balanced":
        yield "Each class was drawn as often as every other, with replacement."
    if (norm := train.get("clip_norm")) is not None:
        yield f"Gradients were clipped to norm {norm:g}."


def checkpoint_sentences(train: TrainRecord, score: str) -> Iterator[str]:
    """Which epoch of a training counts, and when training ends early.

    Args:
        train: the section of the sweep file.
        score: the metric of the search, in words.
    """
    yield (
        f"After each epoch the network was scored on the validation images; the epoch with the best validation "
        f"{score}, the earliest among ties, was kept, and it alone was tested."
    )
    if (patience := train.get("patience")) is not None:
        yield f"A training ended early after {counted(patience, 'epoch')} without a better score."


def augmentation_sentences(policies: Mapping[str, AugmentationRecord], augment: object) -> Iterator[str]:
    """How training images were changed at random; nothing where that is not known.

    Args:
        policies: dataset → largest changes.
        augment: as the sweep file has it.
    """
    if augment is False:
        yield "Training images were not augmented."
        return
    alike: dict[str, list[str]] = {}
    for dataset, policy in policies.items():
        alike.setdefault(_changes(policy), []).append(dataset)
    for changes, datasets in alike.items():
        where = f" of {listed(datasets)}" if len(alike) > 1 else ""
        yield f"Training images{where} were {changes}."


def _changes(policy: AugmentationRecord) -> str:
    mirrored = [side for side, on in (("left and right", "flip_horizontal"), ("top and bottom", "flip_vertical"))
                if policy[on]]  # type: ignore[literal-required]  # fmt: skip
    parts = [f"mirrored {listed(mirrored)} at random"] if mirrored else []
    if policy["rotate"]:
        parts.append(f"rotated by up to {policy['rotate']:g} degrees")
    if policy["zoom"]:
        parts.append(f"resized by up to {100 * policy['zoom']:g} %")
    if policy["shift"]:
        parts.append(f"shifted by up to {100 * policy['shift']:g} % of the side")
    if policy["brightness"]:
        parts.append(f"changed in brightness by up to {100 * policy['brightness']:g} % of full scale")
    if policy["contrast"]:
        parts.append(f"changed in contrast by up to {100 * policy['contrast']:g} %")
    return f"{listed(parts)}, drawn anew for each image of each step" if parts else "not augmented"


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
