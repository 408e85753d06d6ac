"""Tasks: the datasets of a sweep, each at every training size and with every network that the file lists.

``train.per_class: [10, 100, all]`` and ``backbones: [...]`` make several tasks of a dataset ``brain_mri``:
``brain_mri.n10``, ``brain_mri.n100``, ``brain_mri.all``, or ``brain_mri.n10.resnet50`` and so on; so do lists of
domains that are tested one after the other. Each task is searched and confirmed as a dataset is, under its own label.
The resolved file lists the tasks in the place of the datasets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from pydantic import Field

from harness.spec.domains import Together
from harness.spec.forms import Label, Section, fault, shown
from harness.spec.train import Fraction, Size, TrainSpec

_NO_SIGN_OF_A_LABEL = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST = 64


class TaskSpec(Section):
    """Under which condition a task sees its dataset; what the file does not list several of is null."""

    dataset: Label = Field(description="Label of the dataset in the sweep file.")
    domain: Together | None = Field(None, description="What is tested of it, among several.")
    per_class: Size | None = Field(None, description="Its number from `train.per_class`.")
    fraction: Fraction | None = Field(None, description="Its share from `train.fraction`.")
    backbone: Label | None = Field(None, description="Label of its network among `backbones`.")

    def training(self, train: TrainSpec) -> TrainSpec:
        """The section ``train`` of a sweep, at this size."""
        if self.per_class is not None:
            return train.merged({"per_class": None if self.per_class == "all" else self.per_class})
        return train if self.fraction is None else train.merged({"fraction": self.fraction})

    @property
    def name(self) -> str:
        """The label of the task."""
        size = "" if self.per_class is None else "all" if self.per_class == "all" else f"n{self.per_class}"
        size = size if self.fraction is None else "all" if self.fraction == 1 else f"f{self.fraction:g}"
        domain = "-".join(_plain(one) for one in self.domain or ())
        return ".".join(part for part in (self.dataset, domain, size, self.backbone) if part)


def tasks_of(dataset: str, tested: Sequence[list[str]], train: TrainSpec, backbones: Sequence[str]) -> list[TaskSpec]:
    """A dataset with each of its tested domains, at every size and with every network, in the order of the file; one
    that says nothing where there are no lists.

    Args:
        dataset: its label.
        tested: what is tested of it together, once for each task.
        train: the section of the sweep.
        backbones: labels of the networks; none where the sweep has one.

    Raises:
        PydanticCustomError: a label becomes too long, or two tasks have one.
    """
    found = [
        TaskSpec(dataset=dataset, domain=domain, backbone=backbone, **size)
        for domain in (tested if len(tested) > 1 else (None,))
        for size in train.sizes or ({},)
        for backbone in backbones or (None,)
    ]
    for task in found:
        if len(task.name) > _LONGEST:
            what = f"its task {task.name} has a label of more than {_LONGEST} characters"
            raise fault(["datasets", dataset], f"{what}; give the dataset or the network a shorter one")
    by_name: dict[str, TaskSpec] = {}
    for task in found:
        other = by_name.setdefault(task.name, task)
        if other is task:
            continue
        if other.fraction != task.fraction:
            raise fault(["train", "fraction"], f"{other.fraction} and {task.fraction} have one label; leave one out")
        raise fault(
            ["datasets", dataset],
            f"tests {', '.join(other.domain or ())} and {', '.join(task.domain or ())} under one label; leave one out",
        )
    return found


def network_labels(given: Any) -> Any:
    """``backbones`` of a file as a mapping from labels; a list gets its labels from the networks' names.

    Two entries of one network have their weights behind the name.

    Raises:
        PydanticCustomError: neither a list nor a mapping, or two entries that say the same.
    """
    if isinstance(given, Mapping):
        return given
    if not isinstance(given, list):
        raise fault([], f"expected a list of networks, got {shown(given)}; write [{{name: resnet50}}, ...]")
    names = [_label_of(entry) for entry in given]
    labels = [
        name if names.count(name) == 1 else f"{name}-{_weights_in(entry)}"
        for name, entry in zip(names, given, strict=True)
    ]
    for index, label in enumerate(labels):
        if label in labels[:index]:
            raise fault([index], f"{label} is listed twice; write `backbones: {{a: ..., b: ...}}` with your own labels")
    return dict(zip(labels, given, strict=True))


def _label_of(entry: Any) -> str:
    name = str(entry.get("name", "")) if isinstance(entry, Mapping) else str(entry)
    stem = "-small" if isinstance(entry, Mapping) and entry.get("stem") == "small" else ""
    return _plain(name.removeprefix("timm:")) + stem


def _weights_in(entry: Any) -> str:
    weights = entry.get("weights") if isinstance(entry, Mapping) else None
    if isinstance(weights, Mapping):
        return "trained-here"
    return "random" if weights is None else _plain(PurePath(str(weights)).stem)


def _plain(text: str) -> str:
    return _NO_SIGN_OF_A_LABEL.sub("_", text).strip("_-") or "network"
