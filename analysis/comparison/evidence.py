"""What a comparison rests on, wherever it comes from: one run directory, several, or somebody's tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from analysis.stats.cautions import Caution
from analysis.stats.estimate import FloatArray
from analysis.stats.multiplicity import Correction, claims_size
from harness.core.origin import GroupState
from harness.metrics.facts import MetricFacts
from harness.metrics.table import built_in, known_metrics

Family = Literal["vs_control", "all_pairs"]
THE_TEST_SPLIT = "the test split"
RESAMPLE = "resample "
"""How the name of a resample of a search begins (``Cell.searches``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredPlan:
    """What was declared about the comparison."""

    metric: str
    """The primary metric; claims are about this one."""
    metrics: tuple[str, ...]
    """Every metric that is compared, the primary one first."""
    family: Family
    control: str | None
    """The method that all others are compared with; None only where all pairs are."""
    correction: Correction = "holm"
    margin: float | None = None
    """Difference of the primary metric that counts as practically equal; None where none was declared."""
    alpha: float = 0.05
    confidence: float = 0.95
    looks: tuple[int, ...] = ()
    """Numbers of seeds at which the results were to be looked at; empty where nothing was said."""
    known: Mapping[str, MetricFacts] = field(default_factory=known_metrics)
    """What is said of metrics, by name; of one that is not here nothing but its name."""
    beforehand: bool = True
    """Whether all this was fixed before there were results; an imported table cannot show it."""

    def facts(self, metric: str) -> MetricFacts:
        """What is said of a metric; where nothing is known of it, more is taken as better."""
        return self.known.get(metric) or MetricFacts(metric, metric, metric)

    def label(self, metric: str) -> str:
        """A metric as tables and figures name it."""
        return self.facts(metric).label

    def phrase(self, metric: str) -> str:
        """A metric within a sentence."""
        return self.facts(metric).phrase

    def higher_is_better(self, metric: str) -> bool:
        """Whether more of a metric is better."""
        return self.facts(metric).higher_is_better

    @property
    def direction(self) -> str:
        """Which values of the primary metric are the good ones, in words."""
        return self.facts(self.metric).direction

    def pairs(self, methods: Sequence[str]) -> list[tuple[str, str]]:
        """The declared comparisons of one dataset: each other method against the control, or every pair once."""
        if self.family == "vs_control":
            return [(method, str(self.control)) for method in methods if method != self.control]
        return [(first, second) for place, first in enumerate(methods) for second in methods[place + 1 :]]

    def size(self, methods: int, datasets: int) -> int:
        """How many comparisons the family has, averages and impossible ones included; none with one method."""
        return claims_size(methods, self.family, datasets) if methods > 1 and datasets else 0


@dataclass(frozen=True, slots=True)
class Undeclared:
    """Something that comparisons rest on and that was not declared before there were results."""

    sentence: str
    dataset: str | None = None
    """Only comparisons on this one rest on it; None where it concerns every dataset."""
    method: str | None = None
    """Only comparisons with this one."""

    def reaches(self, datasets: Sequence[str], methods: Sequence[str]) -> bool:
        """Whether a comparison of some methods, on a dataset or on average over several, rests on it."""
        return (self.dataset is None or self.dataset in datasets) and (self.method is None or self.method in methods)


@dataclass(frozen=True, slots=True)
class Repeat:
    """One confirm trial that was run again with the same seed on the same kind of device."""

    seed: int
    device: str | None
    change: Mapping[str, float]
    """Metric → distance between the two runs, at least 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One method on one dataset: what its confirmation gave, seed by seed."""

    dataset: str
    method: str
    declared: tuple[int, ...]
    scores: Mapping[str, Mapping[int, float | None]]
    """Metric → seed → test score of each trial that is done; None where these cases leave the metric undefined."""
    failures: Mapping[int, str] = field(default_factory=dict)
    """Seed → cause of each trial that failed for good."""
    repeats: tuple[Repeat, ...] = ()
    devices: tuple[str, ...] = ()
    """The kinds of device that its trials ran on."""
    search_trials: int | None = None
    """Search trials that it was given; None where it had no search of its own, or nothing is known of one."""
    tuned_as: str | None = None
    """The dataset whose choices it takes; None where it had a search of its own, or nothing is known of one."""
    origins: Mapping[int, str] = field(default_factory=dict)
    """Seed → where its trial lies, relative to ``Evidence.source``."""
    splits: Mapping[int, str] = field(default_factory=dict)
    """Seed → the split of its dataset that its trial was trained and tested on; empty where all share one."""
    drawn: Mapping[int, str] = field(default_factory=dict)
    """Seed → the seed or fold of its split: training sizes of one dataset differ in their splits, and where these are
    drawn alike, not in the test cases. Empty as ``splits``, or where nothing is known."""
    tuned_on: Mapping[int, str] = field(default_factory=dict)
    """Seed → the split that its configuration was searched on; empty as ``splits``."""
    searches: Mapping[int, str] = field(default_factory=dict)
    """Seed → the search, or the resample of one, that chose its configuration; empty where one choice serves all."""
    cautions: tuple[Caution, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that are done, ascending."""
        return tuple(sorted({seed for values in self.scores.values() for seed in values}))

    @property
    def missing(self) -> tuple[int, ...]:
        """Declared seeds without any result."""
        return tuple(sorted(set(self.declared) - set(self.seeds) - set(self.failures)))


@dataclass(frozen=True, slots=True, eq=False)
class Averaged:
    """Metrics of one method as means over several sets of the same cases, such as damaged copies of them."""

    seeds: tuple[int, ...]
    """Ascending."""
    values: Mapping[str, FloatArray]
    """Metric → shape (seeds, cases), whose mean over cases is the metric of a seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The logits of every method on the test cases of one dataset; all share the cases and their order."""

    labels: npt.NDArray[np.int64]
    """Shape (cases,), in [0, classes); or (cases, classes), 0 and 1, where an image may bear several."""
    classes: tuple[str, ...]
    groups: npt.NDArray[np.int64] | None
    """Shape (cases,), what each case belongs to, from 0 without gaps: a patient or lesion, or where these are not known
    a set of identical images. None where every case is its own."""
    logits: Mapping[str, Mapping[int, FloatArray]]
    """Method → seed → float64 of shape (cases, classes)."""
    case_ids: tuple[str, ...] = ()
    """Name of each case; empty where they are not known."""
    averaged: Mapping[str, Averaged] = field(default_factory=dict)
    """Method → its metrics over several sets of these cases, in the place of logits."""
    cautions: tuple[Caution, ...] = ()
    """What was wrong with predictions that are therefore left out."""

    def seeds_of(self, method: str) -> tuple[int, ...]:
        """The seeds of a method, ascending."""
        own = self.averaged.get(method)
        return tuple(sorted(self.logits.get(method, {}))) if own is None else own.seeds

    @property
    def cases(self) -> int:
        """How many test cases there are."""
        return len(self.labels)

    @property
    def units(self) -> int:
        """How many of them count as independent: patients or lesions, else cases."""
        return self.cases if self.groups is None else int(self.groups.max()) + 1

    @property
    def units_of_classes(self) -> dict[str, int]:
        """Class → independent units that bear it: its test cases, or the groups among which they are."""
        if self.groups is None:
            return self.support
        member = self.labels == 1 if self.labels.ndim == 2 else np.eye(len(self.classes), dtype=bool)[self.labels]
        counts = [len(np.unique(self.groups[member[:, place]])) for place in range(len(self.classes))]
        return dict(zip(self.classes, counts, strict=True))

    @property
    def support(self) -> dict[str, int]:
        """Class → test cases that bear it."""
        if self.labels.ndim == 2:
            counts = self.labels.sum(axis=0)
        else:
            counts = np.bincount(self.labels, minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, counts, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitImages:
    """What the methods predicted on each of several splits of a dataset, and what these splits share."""

    predictions: Mapping[str, Predictions]
    """Split → predictions for its test images, which have names."""
    trained: Mapping[tuple[str, str], float]
    """Two splits → what they share by training: images that both train on, and that one trains on and the other tests,
    each number over the product of how many images the two sides have."""


def no_images(dataset: str) -> SplitImages | None:
    """Nothing is known of single splits."""
    return None


def by_appearance(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The groups of cases, shape (cases,), numbered from 0 in the order in which they appear."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    result: npt.NDArray[np.int64] = np.argsort(np.argsort(first))[inverse]
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where the images of a dataset come from, who is known to be on them, and how they were divided."""

    source: str
    groups: GroupState = "unknown"
    """What is known of patients and lesions."""
    split_kind: str | None = None
    """None where nothing is known of a split."""
    official_by_patient: bool = False
    """Whether the publisher's split is by patient."""
    near_joined: bool = False
    """Whether near-duplicates were kept together, too."""
    dataset: str | None = None
    """The dataset of which it is one of several tasks; None where it is one by itself."""

    def units(self, number: int) -> str:
        """So many sets of cases that belong together, in words."""
        if self.groups == "known":
            return f"{number:,} patients or lesions"
        return f"{number:,} groups of identical{' or nearly identical' if self.near_joined else ''} images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known of a comparison."""

    name: str
    source: str
    """Where it comes from, in words."""
    plan: DeclaredPlan
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]
    """(dataset, method) → cell; one that was never begun is absent."""
    predictions: Callable[[str], Predictions | None]
    """Reads the predictions of one dataset; None where there are none. They are large: keep one at a time."""
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Dataset → its classes, where an image has one of them."""
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    """Dataset → where it comes from; of one that is absent nothing is known, and it is a source of its own."""
    images: Callable[[str], SplitImages | None] = no_images
    """Reads the predictions on every split of a dataset; None where all replicates share one, or little is known."""
    overlap: Mapping[str, float] = field(default_factory=dict)
    """Dataset → test images for each training image of a split, where replicates draw their own splits."""
    one_test_side: frozenset[str] = frozenset()
    """Datasets whose replicates are all scored on the same cases, even where they draw splits."""
    scored: Mapping[str, str] = field(default_factory=dict)
    """Dataset → which new cases a verdict is about, in words, where they are not those of the training's source."""
    tested: str = THE_TEST_SPLIT
    """What the methods are scored on, in words."""
    cautions: tuple[Caution, ...] = ()
    """Reservations about the whole."""
    undeclared: tuple[Undeclared, ...] = ()
    """What was changed after the declaration; comparisons that rest on it are exploratory."""
    twin: Evidence | None = None
    """The control and its twin, the same method with a search of its own; None where the sweep has none."""
    declared_size: int | None = None
    """Comparisons of the family as it was declared; None where it is that of these methods and datasets."""

    @property
    def ordered(self) -> tuple[str, ...]:
        """The methods with the control last, so that every pair with it has it in second place."""
        control = self.plan.control
        return tuple(sorted(self.methods, key=lambda method: method == control))

    def about(self, dataset: str) -> Provenance:
        """Where a dataset comes from."""
        return self.provenance.get(dataset) or Provenance(source=dataset)

    @property
    def sources(self) -> dict[str, tuple[str, ...]]:
        """Source → its datasets, in the order of the datasets. Each counts once where datasets are counted."""
        found: dict[str, list[str]] = {}
        for dataset in self.datasets:
            found.setdefault(self.about(dataset).source, []).append(dataset)
        return {source: tuple(labels) for source, labels in found.items()}

    @property
    def in_file(self) -> tuple[str, ...]:
        """The dataset of each label in the sweep file: tasks of one dataset share it."""
        return tuple(self.in_file_of(dataset) for dataset in self.datasets)

    def in_file_of(self, label: str) -> str:
        """The dataset of one label."""
        return self.about(label).dataset or label

    @property
    def unit(self) -> str:
        """What counts once: ``source`` where several datasets are of one, else ``dataset``."""
        return "source" if len(self.sources) < len(set(self.in_file)) else "dataset"

    @property
    def source_of(self) -> tuple[str, ...]:
        """The source of each dataset."""
        return tuple(self.about(dataset).source for dataset in self.datasets)

    def chance(self, dataset: str) -> float | None:
        """The primary metric of a constant prediction, where all classes are known and that is a fixed number."""
        classes, metric = self.classes.get(dataset), built_in().get(self.plan.metric)
        return None if metric is None else metric.chance(len(classes) if classes else None)
