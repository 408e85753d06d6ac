"""The trials of a sweep, counted exactly, and the size of each: what follows from the sweep file and the data alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.data.split import Indices, indices
from harness.data.strata import strata
from harness.data.subset import meta_split
from harness.method import Hyperparameters, Method
from harness.space.parameters import defaults
from harness.spec.train import TrainSpec
from harness.studies.study import PreparedDataset, Source, Study


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of one training."""

    train: int
    """Training images, without a meta side."""
    val: int
    test: int
    epochs: int
    steps: int
    """Optimiser steps of all epochs, at most: early stopping makes fewer."""
    batch_size: int


@dataclass(frozen=True, slots=True)
class StudyShape:
    """The trials of one study, or of one backbone that is trained first."""

    name: str
    method: str
    """Its label; the plugin's name for a backbone."""
    dataset: str
    shape: Shape
    slots: int
    search_trials: int
    confirm_trials: int
    repeats: int
    waits: int
    """Trials that must end one after another, the confirmation included, however many workers there are."""
    reevaluations: int = 0
    """Of the best slots, on a further tuning seed."""
    trained_first: bool = False
    """Whether it is a backbone."""
    networks: int = 1
    """Backbones that its trials start from: one a seed where weights are random."""
    evaluated: int = 0
    """Images besides its test split that each confirmed model is scored on."""

    @property
    def trials(self) -> int:
        """All of them; a backbone is one."""
        return self.search_trials + self.reevaluations + self.confirm_trials + self.repeats

    @property
    def steps(self) -> int:
        """Optimiser steps of all trials, at most."""
        return self.trials * self.shape.steps


def shape_of(dataset: PreparedDataset, train: TrainSpec, method: type[Method], hp: Hyperparameters) -> Shape:
    """The size of a training of a method with some hyperparameters on a dataset."""
    split = dataset.split
    fraction = method().meta_fraction(hp)
    images = len(meta_split(split, dataset.data, fraction)[0]) if fraction > 0 else len(split.train)
    steps = train.steps_per_epoch(images) * train.epochs
    return Shape(images, len(split.val), len(split.test), train.epochs, steps, train.batch_size)


def study_shapes(studies: Sequence[Study]) -> list[StudyShape]:
    """The trials of every study, backbones that are trained first before them."""
    sources = {study.source.identity: study.source for study in studies if study.source is not None}
    return [*map(_source, sources.values()), *map(_study, studies)]


def test_cases(dataset: PreparedDataset) -> tuple[int, int, Mapping[str, int]]:
    """Test cases, units among them, as far as these are known (patients, lesions, copies), and cases of each class.

    It is counted, not looked at: no image and no label of a single case leaves this function.
    """
    data = dataset.data
    test = indices(dataset.split, data)[2]
    groups = [data.groups[row] for row in test]
    labels = data.labels[test]
    counts = labels.sum(axis=0) if data.multi_label else np.bincount(labels, minlength=len(data.classes))
    support = {name: int(count) for name, count in zip(data.classes, counts, strict=True)}
    return len(test), len(set(groups)), support


def few(rows: Indices, dataset: PreparedDataset, number: int) -> Indices:
    """Up to ``number`` of some rows, from all classes in turn, so that each class is among them."""
    stratum = strata(dataset.data.labels)[rows]
    place = np.empty(len(rows), dtype=np.int64)
    for value in np.unique(stratum):
        own = np.flatnonzero(stratum == value)
        place[own] = np.arange(len(own))
    chosen: Indices = rows[np.argsort(place, kind="stable")[:number]]
    return chosen


def _study(study: Study) -> StudyShape:
    default = defaults(study.space)
    random = study.weights is None and study.source is None
    return StudyShape(
        name=study.name,
        method=study.label,
        dataset=study.dataset.label,
        shape=shape_of(study.dataset, study.train, study.method.cls, default),
        slots=study.slots,
        search_trials=study.slots * len(study.search.seeds),
        confirm_trials=len(study.confirm_seeds),
        repeats=int(study.repeat),
        waits=_longest_wait(study) + (study.reevaluations > 0) + 1 + study.repeat,
        reevaluations=study.reevaluations,
        networks=len({*study.search.seeds, *study.confirm_seeds}) if random else 1,
        evaluated=sum(one.images for one in study.dataset.evaluations),
    )


def _source(source: Source) -> StudyShape:
    return StudyShape(
        name=source_name(source),
        method=source.method.name,
        dataset=source.dataset.dataset.name,
        shape=shape_of(source.dataset, source.train, source.method, source.hyperparameters),
        slots=0,
        search_trials=1,
        confirm_trials=0,
        repeats=0,
        waits=1,
        trained_first=True,
    )


def source_name(source: Source) -> str:
    """How a plan names a backbone that is trained first."""
    return f"backbone {source.method.name} on {source.dataset.dataset.name}"


def _longest_wait(study: Study) -> int:
    """The longest chain of slots of which each waits for the one before it, in the search whose choice it takes."""
    engine = study.sampler.cls(study.space, study.search, study.leader or study.name)
    chain: list[int] = []
    for slot in range(engine.slots):
        needed = engine.prerequisites(slot)
        chain.append(1 + max((chain[before] for before in needed), default=0))
    return max(chain, default=0)
