"""What a run says so far: its studies, its ledger, its failures, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.runs.costs import reference_of, relative_step
from analysis.runs.ledger import StudyCosts, ledger
from analysis.runs.metrics import metrics_of
from analysis.runs.study_summary import StudySummary, dataset_and_method, study_summary
from harness.metrics.facts import MetricFacts
from harness.run import frames
from harness.run.data_records import Card, OverlapsRecord
from harness.run.directory import RunDirectory
from harness.run.records import EnvironmentRecord
from harness.run.study_folder import StudyFolder
from harness.run.study_records import StudyRecord
from harness.run.sweep_records import SweepRecord, cap_hours


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that the report prints."""

    spec: SweepRecord
    environment: EnvironmentRecord | None
    """None where the run has no record of it."""
    cards: dict[str, Card]
    metric: str
    metrics: Mapping[str, MetricFacts]
    """What the tables show, by name."""
    studies: tuple[StudySummary, ...]
    absent: tuple[tuple[str, str], ...]
    """(dataset, method) of the sweep without a study folder."""
    removed: tuple[tuple[str, str], ...]
    """(dataset, method) of studies that the sweep no longer names; only the ledger counts them."""
    ledger: tuple[StudyCosts, ...]
    set_aside: dict[str, StudyCosts]
    """What each study used that was set aside (``--stale rerun``, ``--retry-failed``), by the name of its folder."""
    failures: tuple[dict[str, Any], ...]
    """``trial``, ``dataset``, ``method``, ``stage``, ``cause``, ``message``, ``attempts`` of what failed: rows as
    polars gives them."""
    untimed_attempts: int
    outside: int
    """Confirm trials and repetitions with a result that ran another configuration or an undeclared seed."""
    devices: tuple[str, ...]
    exhausted: bool
    """Whether the run ended because its budget was used up."""
    overlaps: OverlapsRecord | None
    """Images that datasets share, or that a backbone sees; None where none were found, or nobody looked."""

    @property
    def measure(self) -> MetricFacts:
        """What is said of the primary metric."""
        return self.metrics[self.metric]

    def of(self, dataset: str) -> list[StudySummary]:
        """The studies of a dataset, in the order of the methods."""
        return [study for study in self.studies if study.dataset == dataset]

    def relative_step(self, study: StudySummary) -> float | None:
        """Time a step as a multiple of full fine-tuning's on the same dataset; None where these do not compare."""
        name = self.spec["backbone"]["name"]
        methods = self.spec["methods"].items()
        networks = {label: entry.get("backbone") for label, entry in methods}
        others = {label for label, network in networks.items() if network is not None and network["name"] != name}
        rivals = [(one.method, one.plugin, one.cost) for one in self.of(study.dataset) if one.method not in others]
        return None if study.method in others else relative_step(study.cost, reference_of(rivals))

    @property
    def cap_hours(self) -> float | None:
        """Device-hours that the run may use; None where there is no limit."""
        return cap_hours(self.spec)

    @property
    def datasets(self) -> list[str]:
        """Every dataset of the sweep by label, in the order of its file, which all tables keep."""
        return list(self.spec["datasets"])

    @property
    def methods(self) -> list[str]:
        """Likewise every method."""
        return list(self.spec["methods"])

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.absent and all(not study.missing for study in self.studies)


def summarise(run: RunDirectory, records: frames.Records | None = None) -> Summary:
    """Read a run directory.

    Args:
        run: the run directory.
        records: what ``frames.read`` returned, if that is at hand.

    Raises:
        RequestError: it is none, or one of its files is torn.
    """
    spec = run.spec()
    metric = str(spec["search"]["metric"])
    known = frames.read(run) if records is None else records
    metrics = metrics_of(run, known.trials, metric)
    folders: dict[tuple[str, str], list[tuple[StudyFolder, StudyRecord]]] = {}
    for folder, description in _described(run):
        folders.setdefault(dataset_and_method(description), []).append((folder, description))
    described = [description for searches in folders.values() for _, description in searches]
    trials = _mark_outside(described, known.trials)
    attempts = known.attempts
    wanted = [(dataset, method) for dataset in spec["datasets"] for method in spec["methods"]]
    removed = sorted(set(folders) - set(wanted))
    in_order = [*(key for key in wanted if key in folders), *removed]
    slots = {key: sum(int(one["search_slots"]) for _, one in folders[key]) for key in in_order}
    before: dict[tuple[str | None, str | None], int] = {
        key: sum(one["prior"]["observations"] for _, one in searches if "prior" in one)
        for key, searches in folders.items()
    }
    of_study = trials.partition_by("dataset", "method", as_dict=True)
    studies = [
        study_summary(folders[key], of_study.get(key, trials.clear()), metric, metrics)
        for key in wanted
        if key in folders
    ]
    counts = attempts.group_by("trial").len("attempts")
    failed = trials.filter(pl.col("status") == "failed").join(counts, on="trial", how="left").sort("trial")
    return Summary(
        spec=spec,
        environment=_environment(run),
        cards=run.cards(),
        metric=metric,
        metrics=metrics,
        studies=tuple(studies),
        absent=tuple(key for key in wanted if key not in folders),
        removed=tuple(removed),
        ledger=tuple(ledger(trials, attempts, slots, before)),
        set_aside=_set_aside(run),
        failures=tuple(failed.select("trial", "dataset", "method", "stage", "cause", "message", "attempts").to_dicts()),
        untimed_attempts=attempts["seconds"].null_count(),
        outside=trials.filter((pl.col("stage") == "other") & (pl.col("status") != "unfinished")).height,
        devices=tuple(sorted(trials["device"].drop_nulls().unique())),
        exhausted=_exhausted(run, spec),
        overlaps=run.overlaps(),
    )


def _described(run: RunDirectory) -> Iterator[tuple[StudyFolder, StudyRecord]]:
    described = [(folder, folder.description()) for folder in run.studies()]
    yield from sorted(described, key=lambda one: one[1].get("search_number", 0))


def _set_aside(run: RunDirectory) -> dict[str, StudyCosts]:
    found = {}
    for study in run.studies_set_aside():
        if study.exists:
            description = study.description()
            records = frames.read_study(run, study)
            slots = {dataset_and_method(description): int(description["search_slots"])}
            (found[study.name],) = ledger(records.trials, records.attempts, slots, {})
    return found


def _exhausted(run: RunDirectory, spec: SweepRecord) -> bool:
    cap, ended = cap_hours(spec), run.exhausted()
    return cap is not None and ended is not None and float(ended["cap"]) == 3600.0 * float(cap)


def _environment(run: RunDirectory) -> EnvironmentRecord | None:
    try:
        return run.environment()
    except FileNotFoundError:
        return None


def _mark_outside(descriptions: Iterable[StudyRecord], trials: pl.DataFrame) -> pl.DataFrame:
    """Move confirm trials of another configuration or of an undeclared seed, and their repetitions, to ``other``."""
    declared = pl.DataFrame(
        [
            {"dataset": dataset, "method": method, "seed": seed, "declared": True}
            for description in descriptions
            for dataset, method in [dataset_and_method(description)]
            for seed in description["confirm_seeds"]
        ],
        schema={"dataset": pl.String, "method": pl.String, "seed": pl.Int64, "declared": pl.Boolean},
    )
    inside = pl.col("chosen") & pl.col("declared").fill_null(False)
    outside = pl.col("stage").is_in(["confirm", "repeat"]) & ~inside
    joined = trials.join(declared, on=["dataset", "method", "seed"], how="left", maintain_order="left")
    stage = pl.when(outside).then(pl.lit("other")).otherwise(pl.col("stage")).alias("stage")
    return joined.with_columns(stage).drop("declared")
