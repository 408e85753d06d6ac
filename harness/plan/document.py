"""A plan: everything that can be said of a sweep before it runs, as plain data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from analysis.stats.cautions import few_cases, few_replicates
from analysis.stats.scopes import domains_scored
from harness.pages.cards import unknown_groups
from harness.pages.overlaps import overlap_warnings
from harness.plan.detectable import Detectable, DrawnSplits, Family, Spread, detectable, family, spread_for
from harness.plan.disk import Disk, disk
from harness.plan.parts import Measured, Span, Stops, evaluation_seconds, study_seconds, wall_seconds
from harness.plan.pruned import PruningForecast, expect_pruned
from harness.plan.scopes import PricedScope, ScoredSide, choices
from harness.plan.shapes import StudyShape, test_cases
from harness.run.code import snapshot_size
from harness.run.data_records import OverlapsRecord
from harness.spec.sections import SweepSpec
from harness.studies.evaluations import words
from harness.studies.study import PreparedDataset, Study

VERSION = 1
BUSY = 0.8
"""Share of the time with a processor below which a plan warns that its times were measured on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a plan knows beside the sweep file and the data."""

    measured: Mapping[str, Measured]
    """Study → times and sizes; those of which nothing is known are missing."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Study → why its trials fail."""
    spreads: Mapping[str, Spread]
    """Dataset → spread of the differences in an earlier run."""
    assumed: Spread
    wanted: float | None
    workers: int
    folder: Path
    """An existing folder on the file system of the run directory."""
    copies_code: bool = True
    """Whether the run directory gets a copy of the code."""
    overlaps: OverlapsRecord
    """Images that two datasets share, or that a backbone sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that can be said of a sweep before it runs."""

    name: str
    metric: str
    epochs: int
    shapes: tuple[StudyShape, ...]
    seconds: Mapping[str, Span]
    """Study → device-seconds; those of which nothing is known are missing."""
    measured: Mapping[str, Measured]
    workers: int
    stops_early: bool
    """Whether steps and times are upper bounds."""
    fewer_trials: bool
    """Whether trials are one: of a slot whose first seed is pruned, the other seeds are not trained."""
    pruned: PruningForecast | None
    """What pruning is expected to save; None where nothing prunes, or where it cannot be said."""
    total: Span | None
    """Device-seconds of all; None where those of a study are missing."""
    wall: Span | None
    disk: Disk
    seeds: int
    margin: float | None
    family: Family | None
    detectable: tuple[Detectable, ...]
    warnings: tuple[str, ...]
    datasets: Mapping[str, PreparedDataset]
    """By label."""
    choices: tuple[PricedScope, ...] = ()
    """What replicates may draw anew, with what each choice costs."""
    evaluations: tuple[str, ...] = ()
    """What a user should know of the evaluations, a line each."""
    overlaps: OverlapsRecord
    """Images that two datasets share, or that a backbone sees."""

    def to_json(self) -> dict[str, object]:
        """As plain data; keys are added in later versions, never renamed."""
        return {
            "version": VERSION,
            "name": self.name,
            "studies": [
                {
                    "name": shape.name, "method": shape.method, "dataset": shape.dataset, "slots": shape.slots,
                    "search_trials": shape.search_trials, "confirm_trials": shape.confirm_trials,
                    "reevaluations": shape.reevaluations, "repeats": shape.repeats,
                    "trials": shape.trials, "steps": shape.steps, "evaluated_images": shape.evaluated,
                    "device_seconds": _span(self.seconds.get(shape.name)),
                }
                for shape in self.shapes
            ],
            "datasets": {
                label: {"source": one.dataset.source, "groups": one.groups, "split": one.split.kind}
                for label, one in self.datasets.items()
            },
            "trials": sum(shape.trials for shape in self.shapes),
            "steps": sum(shape.steps for shape in self.shapes),
            "device_seconds": _span(self.total),
            "wall_seconds": _span(self.wall),
            "workers": self.workers,
            "stops_early": self.stops_early,
            "fewer_trials": self.fewer_trials,
            "pruned": None if self.pruned is None else asdict(self.pruned),
            "disk": {**asdict(self.disk), "stays": self.disk.stays},
            "metric": self.metric,
            "seeds": self.seeds,
            "family": None if self.family is None else asdict(self.family),
            "detectable": [asdict(one) for one in self.detectable],
            "choices": [
                {
                    "written": one.written, "holds": one.holds, "trials": one.trials, "chosen": one.chosen,
                    "device_seconds": _span(one.seconds),
                }
                for one in self.choices
            ],
            "evaluations": list(self.evaluations),
            "overlaps": self.overlaps,
            "warnings": list(self.warnings),
            "measured": {name: one.to_json() for name, one in self.measured.items()},
        }  # fmt: skip


def make_plan(spec: SweepSpec, studies: Sequence[Study], shapes: Sequence[StudyShape], means: Means) -> Plan:
    """Plan a sweep.

    Args:
        spec: as loaded.
        studies: of the sweep.
        shapes: of the same, backbones that are trained first among them.
        means: what else is known.
    """
    patience, search = spec.train.patience, spec.search
    rung = None if search.pruner == "none" else search.first_rung
    stops = Stops(None if patience is None else patience + 1, rung, search.anchors)
    seconds = {
        shape.name: study_seconds(shape, means.measured[shape.name], stops)
        for shape in shapes
        if shape.name in means.measured and means.measured[shape.name].parts
    }
    total = wall = None
    if len(seconds) == len(shapes):
        warm = max((one.warm_up for one in means.measured.values()), default=0.0) * means.workers
        total = Span(0.0, warm * min(one.running for one in means.measured.values()), 2 * warm)
        for span in seconds.values():
            total += span
        wall = wall_seconds([(shape, seconds[shape.name]) for shape in shapes], means.workers)
    evaluating = {
        shape.name: evaluation_seconds(shape, means.measured[shape.name]) for shape in shapes if shape.name in seconds
    }
    datasets = {study.dataset.label: study.dataset for study in studies}
    sides = {label: _side(spec, label, dataset) for label, dataset in datasets.items()}
    seeds = len(spec.replication.seeds)
    declared = family(spec.confirm, seeds, spec.compared, len(spec.datasets))
    code = snapshot_size(spec.plugins, means.folder) if means.copies_code else (0, 0)
    room = disk(shapes, studies, means.measured, means.workers, code)
    found = list(_detectable(spec, studies, seeds, declared, means))
    warnings = [
        *(f"{name} fails: {why}" for name, why in means.failed.items()),
        *_of_machine(means.measured),
        *_of_comparison(spec, seeds, declared, found, means.wanted),
        *_of_data(studies),
        *overlap_warnings(means.overlaps),
        *_of_splits(studies),
        *_of_means(spec, total, room, means.folder),
    ]
    return Plan(
        name=spec.name,
        metric=spec.search.metric,
        epochs=spec.train.epochs,
        shapes=tuple(shapes),
        seconds=seconds,
        measured=means.measured,
        workers=means.workers,
        stops_early=stops.any,
        fewer_trials=rung is not None and len(search.seeds) > 1,
        pruned=expect_pruned(search, shapes, means.measured),
        total=total,
        wall=wall,
        disk=room,
        seeds=seeds,
        margin=spec.confirm.margin,
        family=declared,
        detectable=tuple(found),
        warnings=tuple(warnings),
        datasets=datasets,
        choices=tuple(choices(spec, shapes, seconds, sides, evaluating)),
        evaluations=tuple(words(one for dataset in datasets.values() for one in dataset.evaluations)),
        overlaps=means.overlaps,
    )


def _side(spec: SweepSpec, label: str, dataset: PreparedDataset) -> ScoredSide:
    found = spec.domain(label)
    return ScoredSide(dataset.split.kind, "" if found is None else domains_scored(found[1]))


def _detectable(
    spec: SweepSpec, studies: Sequence[Study], seeds: int, declared: Family | None, means: Means
) -> Iterator[Detectable]:
    if declared is None or seeds < 2:
        return
    datasets = {study.dataset.label: study.dataset for study in studies}
    for label, dataset in datasets.items():
        cases, units, _ = test_cases(dataset)
        spread = spread_for(label, means.spreads, means.assumed)
        drawn = DrawnSplits(max(1, len(dataset.others)), dataset.overlap, dataset.split.kind == "domain")
        yield detectable(label, seeds, cases, units, declared.level, spread, means.wanted, drawn)


def _of_machine(measured: Mapping[str, Measured]) -> Iterator[str]:
    """What others did on the machine while it was measured."""
    shares = [one.running for one in measured.values() if one.parts]
    loads = [one.load for one in measured.values() if one.load is not None]
    if not shares or sum(shares) / len(shares) > BUSY:
        return
    load = f" (load {max(loads):.1f} for each processor before)" if loads else ""
    yield (
        f"The machine was busy while it was measured{load}: trials had a processor for "
        f"{100 * sum(shares) / len(shares):.0f} % of the time. The high end of each time assumes that it stays so, the "
        "rest that nobody else uses it; measure where the sweep will run, or when it is quiet."
    )


def _of_comparison(
    spec: SweepSpec, seeds: int, declared: Family | None, found: Sequence[Detectable], wanted: float | None
) -> Iterator[str]:
    if declared is None:
        yield "One method has nothing to be compared with."
        return
    if seeds < 2:
        yield "One confirm seed shows no spread, so methods cannot be compared; give `confirm.seeds` more."
    elif (few := few_replicates(seeds)) is not None:
        yield few.sentence
    # On splits that share images no exact test is made.
    if declared.caution is not None and all(one.splits < 2 for one in found):
        yield declared.caution
    for one in found:
        size, margin = one.decisive, spec.confirm.margin
        if margin is not None and size > margin:
            yield (
                f"{one.dataset}: a true difference is usually found from {100 * size:.2g} points on, which is more "
                f"than the margin of {100 * margin:.2g} that counts as equal: differences that matter can be missed."
            )
        if wanted is not None and size > wanted:
            remedy = (
                f"{one.seeds_for_wanted} seeds would find it"
                if one.seeds_for_wanted is not None
                else "more seeds would not help, the images are too few for it"
            )
            yield f"{one.dataset}: a difference of {100 * wanted:.2g} points would usually be missed; {remedy}."


def _of_data(studies: Sequence[Study]) -> Iterator[str]:
    for label, dataset in {study.dataset.label: study.dataset for study in studies}.items():
        _, _, support = test_cases(dataset)
        absent = [name for name, number in support.items() if number == 0]
        if absent:
            yield f"{label}: no test case of {', '.join(absent)}, so a mean over all classes does not exist."
        caution = few_cases(support)
        if caution is not None:
            yield f"{label}: {caution.sentence}"
        if dataset.groups == "unknown":
            yield f"{label}: {unknown_groups(dataset.dataset.official_by_patient, dataset.split.kind)}"


def _of_splits(studies: Sequence[Study]) -> Iterator[str]:
    """Where some datasets keep one split beside others whose splits are drawn anew."""
    datasets = {study.dataset.label: study.dataset for study in studies}
    kept = [label for label, one in datasets.items() if not one.others]
    if kept and len(kept) < len(datasets):
        yield (
            f"{', '.join(kept)}: the publisher's split cannot be drawn anew, so the verdicts there hold for that split "
            "and for the configurations of one search."
        )


def _of_means(spec: SweepSpec, total: Span | None, room: Disk, folder: Path) -> Iterator[str]:
    cap = spec.budget.seconds
    if cap is not None and total is not None and cap < total.high:
        certain = "does" if cap < total.low else "may"
        yield (
            f"The budget of {cap / 3600:.3g} device-hours {certain} not suffice: {total.low / 3600:.3g} to "
            f"{total.high / 3600:.3g} are expected."
        )
    free = shutil.disk_usage(folder).free
    if room.stays + room.checkpoints > free:
        yield f"{folder}: {free / 1e9:.1f} GB are free, {(room.stays + room.checkpoints) / 1e9:.1f} GB are needed."


def _span(span: Span | None) -> dict[str, float] | None:
    return None if span is None else asdict(span)
