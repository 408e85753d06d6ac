"""What a sweep declared before it had results, locked at the first launch, and what was changed afterwards.

The declaration is what a comparison may be held to: hypotheses, primary metric, control, family, correction, margin,
level, seeds, looks, methods × datasets, search spaces and budgets. A later sweep file may differ from it; the run goes
on, the difference is recorded with its time, and the report calls what rests on it exploratory.

The code of methods and the content of datasets are on record with it. Both may change as long as no test result exists.
A change made afterwards may have been made because of such a result, and taking it back does not undo that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.core.identity import canonical_hash, differences
from harness.run.directory import RunDirectory
from harness.run.sweep_records import DeclarationRecord, Declared
from harness.space.parameters import to_json

if TYPE_CHECKING:
    from harness.spec.sections import SweepSpec
    from harness.studies.study import Study

ALPHA = 0.05
"""The level of every declared test."""

Reach = Literal["run", "dataset", "method", "evaluation", "none"]
"""Which comparisons rest on a deviation: all of the run, those on one dataset, with one method or by one evaluation
beside the test split, or none.
"""


@dataclass(frozen=True, slots=True)
class Deviation:
    """One difference between what is and what was declared."""

    what: str
    """A clause without its subject's date, such as ``the method gpaf_w5 was added``."""
    reach: Reach
    label: str | None = None
    """Of the dataset, method or evaluation."""
    look: bool = False
    """Whether it changes the number of seeds, so that results were looked at more often than planned."""


@dataclass(frozen=True, slots=True)
class Change:
    """A deviation and when it came about."""

    deviation: Deviation
    time: float
    """Seconds since the epoch."""
    confirmed: int
    """Confirm trials that had a result by then, so that the test split may have been looked at."""


@dataclass(frozen=True, slots=True)
class Locked:
    """The declaration of a run, and all in which the present sweep file differs from it."""

    time: float
    confirmed: int
    """Confirm trials that had a result when it was locked; above 0 only where an older run was taken over."""
    declared: Declared
    changes: tuple[Change, ...]
    """Those that still hold, in the order of the declaration."""

    def reaching(self, dataset: str, methods: Sequence[str]) -> list[Change]:
        """The changes that a comparison of some methods on a dataset rests on."""
        labels = {"dataset": {dataset}, "method": set(methods), "evaluation": set[str](), "none": set[str]()}
        return [
            change
            for change in self.changes
            if change.deviation.reach == "run" or change.deviation.label in labels[change.deviation.reach]
        ]


def declaration(spec: SweepSpec, studies: Sequence[Study]) -> Declared:
    """What a specification declares, as plain data."""
    from harness.studies.study import PROTOCOL

    search = spec.search.declared()
    confirm = spec.confirm.model_dump(mode="json")
    spaces = {study.label: to_json(study.space) for study in studies}
    # A sweep file that names no kind has always declared a grouped split; only what differs from that is said.
    split = {**spec.split.identity(), "kind": spec.split.kind or "grouped"}
    kinds = {study.dataset.label: study.dataset.split.kind for study in studies}
    datasets = {
        label: {**entry.declared(), **({"split": kinds[label]} if kinds[label] != split["kind"] else {})}
        for label, entry in spec.datasets.items()
    }
    methods = {
        label: {"method": entry.method, "backbone": entry.backbone and entry.backbone.declared()}
        for label, entry in spec.methods.items()
    }
    declared = {
        "hypotheses": list(spec.hypotheses),
        "comparison": {
            "metric": search.pop("metric"),
            **{name: confirm[name] for name in ("control", "family", "correction", "margin", "looks")},
            "alpha": ALPHA,
        },
        "seeds": list(spec.confirm.seed_list(spec.search.tuning_seeds)),
        "repeat": spec.confirm.repeat,
        **({"vary": list(spec.replication.varied)} if len(spec.replication.varied) > 1 else {}),
        **({"evaluate": [one.model_dump(mode="json") for one in spec.evaluate]} if spec.evaluate else {}),
        "search": search,
        "train": spec.train.identity(),
        "split": split,
        "backbone": spec.backbone.declared(),
        **({"backbones": {label: one.declared() for label, one in spec.backbones.items()}} if spec.backbones else {}),
        "datasets": datasets,
        "methods": {label: {**entry, "space": spaces[label]} for label, entry in methods.items()},
        "slots": {study.name: study.slots for study in studies},
        "code": {
            "protocol": {"harness": PROTOCOL},
            "method": {study.label: study.method.code for study in studies},
            "dataset": {study.dataset.label: canonical_hash(study.dataset.identity()) for study in studies},
        },
    }
    result: Declared = json.loads(json.dumps(declared))
    return result


def declare(run: RunDirectory, declared: Declared) -> None:
    """Lock a declaration at the first launch; record a later one that differs from the last. Holds no lock itself."""
    first = run.declaration()
    if first is None:
        moment, confirmed = _stamp(run)
        digest = canonical_hash(declared)
        run.declare({"time": moment, "confirmed": confirmed, "hash": digest, "declared": declared})
        return
    last = ([first, *run.amendments()])[-1]["declared"]
    changed = differences(last, declared)
    if changed:
        moment, confirmed = _stamp(run)
        run.amend({"time": moment, "confirmed": confirmed, "changed": changed, "declared": declared})


def locked(run: RunDirectory) -> Locked | None:
    """The declaration of a run and what has changed; None in runs from before declarations were recorded.

    Raises:
        TornFileError: one of its files is not readable.
    """
    first = run.declaration()
    if first is None:
        return None
    amendments = run.amendments()
    declared = first["declared"]
    now = amendments[-1]["declared"] if amendments else declared
    changes = []
    for deviation in deviations(declared, now):
        since = amendments[-1]
        for amendment in reversed(amendments):
            if deviation not in deviations(declared, amendment["declared"]):
                break
            since = amendment
        changes.append(Change(deviation, float(since["time"]), int(since["confirmed"])))
    changes += _code_changes([first, *amendments])
    return Locked(float(first["time"]), int(first["confirmed"]), declared, tuple(changes))


def deviations(declared: Declared, now: Declared) -> list[Deviation]:
    """In what a later declaration differs from the locked one, and which comparisons that reaches."""
    return list(_deviations(declared, now))


def _code_changes(recorded: Sequence[DeclarationRecord]) -> Iterator[Change]:
    """Each change of code or data on record, those too that were taken back.

    Args:
        recorded: the declaration and its amendments, oldest first; those from before code was recorded have none.
    """
    known: dict[tuple[Reach, str], str | int] = {}
    said: dict[Reach, str] = {
        "method": "the code of the method {} was changed",
        "dataset": "the images, labels or sides of the dataset {} were changed",
        "run": "the training protocol of the {} was changed",
    }
    parts: tuple[tuple[Reach, str], ...] = (("run", "protocol"), ("dataset", "dataset"), ("method", "method"))
    for record in recorded:
        seen = int(record["confirmed"])
        for reach, part in parts:
            for label, content in record["declared"].get("code", {}).get(part, {}).items():
                if known.get((reach, label), content) != content:
                    what = said[reach].format(label)
                    yield Change(Deviation(what, reach if seen else "none", label), float(record["time"]), seen)
                known[reach, label] = content


def _deviations(declared: Declared, now: Declared) -> Iterator[Deviation]:
    if declared["hypotheses"] != now["hypotheses"]:
        yield Deviation("the hypotheses were changed; those of the first launch count", "none")
    for line in differences(declared["comparison"], now["comparison"]):
        name = line.partition(":")[0]
        # The search itself goes by the metric. The rest is only said: the report keeps to what was locked.
        place = "search.metric" if name == "metric" else f"confirm.{name}"
        kept = f"{place}{line.removeprefix(name)}, which the report does not follow"
        yield Deviation(kept, "run" if name == "metric" else "none")
    yield from _of_seeds(declared, now)
    before, after = declared.get("vary", ["seed"]), now.get("vary", ["seed"])
    if before != after:
        yield Deviation(f"confirm.vary: {', '.join(before)} → {', '.join(after)}", "run")
    sections: tuple[Literal["search", "train", "split", "backbone"], ...] = ("search", "train", "split", "backbone")
    for section in sections:
        for line in differences(declared[section], now[section], section):
            yield Deviation(line, "run")
    yield from _of_evaluations(declared.get("evaluate", []), now.get("evaluate", []))
    yield from _of_entries("dataset", declared["datasets"], now["datasets"])
    yield from _of_entries("method", declared["methods"], now["methods"])


def _of_entries(
    reach: Literal["dataset", "method"],
    declared: Mapping[str, Mapping[str, object]],
    now: Mapping[str, Mapping[str, object]],
) -> Iterator[Deviation]:
    for label in (*declared, *(label for label in now if label not in declared)):
        if label not in now:
            yield Deviation(f"the {reach} {label} was declared and taken out", "none", label)
        elif label not in declared:
            yield Deviation(f"the {reach} {label} was added", reach, label)
        else:
            for line in differences(declared[label], now[label], f"{reach}s.{label}"):
                yield Deviation(line, reach, label)


def _of_evaluations(
    declared: Sequence[Mapping[str, object]], now: Sequence[Mapping[str, object]]
) -> Iterator[Deviation]:
    before, after = ({str(one["name"]): one for one in entries} for entries in (declared, now))
    for name in (*before, *(name for name in after if name not in before)):
        if name not in after:
            yield Deviation(f"the evaluation {name} was declared and taken out", "none")
        elif name not in before:
            yield Deviation(f"the evaluation {name} was added", "evaluation", name)
        else:
            for line in differences(before[name], after[name], f"evaluate.{name}"):
                yield Deviation(line, "evaluation", name)


def _of_seeds(declared: Declared, now: Declared) -> Iterator[Deviation]:
    before, after = list(declared["seeds"]), list(now["seeds"])
    planned = declared["comparison"]["looks"] or []
    # A sweep that said beforehand at which numbers of seeds it would look may grow to these.
    grown = after[: len(before)] == before and len(before) in planned and len(after) in planned
    if before == after or grown:
        return
    added, gone = [seed for seed in after if seed not in before], [seed for seed in before if seed not in after]
    parts = [f"{what} {', '.join(map(str, seeds))}" for what, seeds in (("added", added), ("taken out", gone)) if seeds]
    if parts:
        said = f"{len(before)} confirm seeds were declared; {' and '.join(parts)}"
        yield Deviation(said, "run", look=True)


def _stamp(run: RunDirectory) -> tuple[float, int]:
    """Now, and how many confirm trials have a result."""
    # Whoever has set a study aside has seen its test results all the same.
    studies = (*run.studies(), *run.studies_set_aside())
    confirmed = sum(trial.finished for study in studies for trial in study.trials("confirm"))
    return time.time(), confirmed
