"""What run directories say about a comparison: of one sweep, or of several together."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl

from analysis.comparison.evidence import (
    RESAMPLE,
    Cell,
    Evidence,
    Provenance,
    Repeat,
    Undeclared,
)
from analysis.comparison.shifts import Shift
from analysis.runs.declared import sentence, undeclared
from analysis.runs.opened import OpenRun, open_run
from analysis.runs.shifts import shifts_of
from analysis.runs.stored import StoredImages, StoredPredictions, splits_in
from analysis.runs.together import check_together, joined, overlap_of, trained_differently, united
from analysis.stats.cautions import Caution
from analysis.stats.scopes import domains_scored
from harness.pages.cards import unknown_groups
from harness.run import frames
from harness.run.data_records import group_state_of
from harness.run.directory import RunDirectory
from harness.run.study_folder import StudyName
from harness.run.study_records import StudyRecord, reevaluated
from harness.run.sweep_records import tested_domains


def evidence_of(runs: Sequence[RunDirectory], records: Sequence[frames.Records] | None = None) -> Evidence:
    """The evidence in run directories, finished or not.

    Several sweeps are taken together: their methods and datasets are united, in the order of the runs. What one method
    gave on one dataset in several of them are replicates of one another.

    Args:
        runs: at least one.
        records: what ``frames.read`` returned for each, if that is at hand.

    Raises:
        RequestError: a file is torn; no such metric or control; or the runs do not go together
            (``analysis.runs.together``).
        ValueError: no run.
    """
    if not runs:
        raise ValueError("needs at least one run directory")
    known = [frames.read(run) for run in runs] if records is None else records
    parts = [open_run(run, own) for run, own in zip(runs, known, strict=True)]
    for first, second in combinations(parts, 2):
        check_together(first, second)
    base = Path(os.path.commonpath([part.run.path for part in parts]))
    cells = joined(parts, [dict(_cells(part, base)) for part in parts])
    cards = {label: card for part in parts for label, card in part.cards.items()}
    classes = {label: tuple(map(str, card["classes"])) for label, card in cards.items()}
    names = [part.run.path.name for part in parts]
    twins = {part.twin for part in parts if part.twin is not None}
    datasets = tuple(dict.fromkeys(label for part in parts for label in part.spec["datasets"]))
    provenance = _provenance(parts)
    domains = {label: own for part in parts for label, own in _domains(part)}
    stored = StoredPredictions(cells, base, classes, frozenset(domains))
    images = StoredImages(stored, splits_in(parts))
    whole = Evidence(
        name=", ".join(dict.fromkeys(str(part.spec["name"]) for part in parts)),
        source=f"run director{'y' if len(names) == 1 else 'ies'} {', '.join(names)}",
        plan=united([part.plan for part in parts]),
        datasets=datasets,
        methods=tuple(dict.fromkeys(label for part in parts for label in part.spec["methods"])),
        cells=cells,
        predictions=stored,
        images=images,
        classes={label: own for label, own in classes.items() if not cards[label].get("multi_label")},
        provenance=provenance,
        overlap={label: overlap_of(label, parts) for label in datasets},
        one_test_side=frozenset(domains),
        scored={label: domains_scored(own) for label, own in domains.items()},
        cautions=(
            *(one for label in datasets for one in _ungrouped(label, provenance)),
            *trained_differently(parts),
            *(c for part in parts for c in _changed(part)),
        ),
        undeclared=tuple(one for part in parts for one in _undeclared(part)),
        declared_size=_declared_size(parts[0]) if len(parts) == 1 else None,
    )
    return _apart(whole, twins, images) if twins else whole


def shifts_in(runs: Sequence[RunDirectory], records: Sequence[frames.Records], evidence: Evidence) -> tuple[Shift, ...]:
    """What the confirmed models of some runs were scored on beside the test split; empty where that is nothing.

    Args:
        runs: that the evidence is from.
        records: what ``frames.read`` returned for each.
        evidence: what ``evidence_of`` returned.

    Raises:
        RequestError: a file is torn.
    """
    specs = [run.spec() for run in runs]
    if not any(
        spec.get("evaluate") or any(tested_domains(spec, label) for label in spec["datasets"]) for spec in specs
    ):
        return ()
    parts = [open_run(run, own) for run, own in zip(runs, records, strict=True)]
    return shifts_of(evidence, parts, Path(os.path.commonpath([run.path for run in runs])))


def _domains(part: OpenRun) -> Iterator[tuple[str, Sequence[str]]]:
    """Datasets whose test side is of other domains than the training side, and these; it is the same on every split."""
    for label, card in part.cards.items():
        if card["split"].get("kind") == "domain":
            here = label in part.spec["datasets"]
            yield label, (here and tested_domains(part.spec, label)) or ["other domains"]


def _apart(whole: Evidence, twins: Collection[str], images: StoredImages) -> Evidence:
    """The evidence without twins, and beside it that of the control and its twin."""
    (twin,), control = twins, str(whole.plan.control)

    def only(evidence: Evidence, methods: Sequence[str]) -> Evidence:
        own = replace(images, stored=images.stored.of(methods))
        return replace(evidence, methods=tuple(methods), cells=own.stored.cells, predictions=own.stored, images=own)

    # Judged alone, at the level itself: that is what the rate of false differences is compared with.
    plan = replace(whole.plan, metrics=(whole.plan.metric,), family="vs_control", correction="none")
    beside = replace(only(whole, [control, twin]), plan=plan, cautions=(), declared_size=None)
    return replace(only(whole, [method for method in whole.methods if method != twin]), twin=beside)


def _provenance(parts: Sequence[OpenRun]) -> dict[str, Provenance]:
    """Of each dataset with a card; where several runs have it, by the card that says most."""
    # Runs from before there were sources have none, so the others come last and count.
    cards = sorted(
        ((label, card) for part in parts for label, card in part.cards.items()), key=lambda one: "source" in one[1]
    )
    tasks = {
        label: task["dataset"]
        for part in parts
        for label, entry in part.spec["datasets"].items()
        if (task := entry.get("task")) is not None
    }
    return {
        label: Provenance(
            source=card.get("source", label),
            groups=group_state_of(card),
            split_kind=card["split"].get("kind"),
            official_by_patient=card.get("official_by_patient", False),
            near_joined=card.get("near_joined", False),
            dataset=tasks.get(label),
        )
        for label, card in cards
    }


def _ungrouped(label: str, provenance: Mapping[str, Provenance]) -> Iterator[Caution]:
    about = provenance.get(label)
    if about is not None and about.groups == "unknown":
        said = unknown_groups(about.official_by_patient, about.split_kind)
        yield Caution("ungrouped_cases", f"{label}: {said}")


def _undeclared(part: OpenRun) -> Iterator[Undeclared]:
    """What comparisons of a run rest on that was not declared."""
    if part.locked is None:
        return
    yield from undeclared(part.locked)
    control = part.locked.declared["comparison"]["control"]
    if control is not None and control not in part.spec["methods"]:
        yield Undeclared(
            f"The declared control {control} was taken out of the sweep file; the comparisons with another one are "
            "exploratory."
        )


def _changed(part: OpenRun) -> Iterator[Caution]:
    """One reservation for each change that some comparison rests on, and for those that the report does not follow."""
    sentences = [one.sentence for one in _undeclared(part)]
    sentences += [] if part.locked is None else [sentence(change) for change in part.locked.changes]
    for said in dict.fromkeys(sentences):
        yield Caution("not_declared", said)


def _declared_size(part: OpenRun) -> int | None:
    """Comparisons of the locked family, those with methods that were taken out included."""
    if part.locked is None:
        return None
    declared = part.locked.declared
    compared = [label for label in declared["methods"] if label != part.twin]
    return part.plan.size(len(compared), len(declared["datasets"]))


def _cells(part: OpenRun, base: Path) -> Iterator[tuple[tuple[str, str], Cell]]:
    chosen = part.records.trials.filter(pl.col("chosen") & pl.col("stage").is_in(["confirm", "repeat"]))
    # Rows as polars gives them, whose columns are ``frames``'s.
    rows: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in chosen.iter_rows(named=True):
        rows[row["dataset"], row["method"]].append(row)
    prefix = part.run.path.relative_to(base)
    for key, searches in part.studies.items():
        yield key, _cell(key, searches, rows[key], prefix, tuple(part.plan.known))


def _cell(
    key: tuple[str, str],
    searches: Sequence[StudyRecord],
    rows: Sequence[dict[str, Any]],
    prefix: Path,
    metrics: Sequence[str],
) -> Cell:
    declared = tuple(sorted(int(seed) for one in searches for seed in one["confirm_seeds"]))
    inside = [row for row in rows if row["seed"] in declared]
    confirmed = {row["seed"]: row for row in inside if row["stage"] == "confirm"}
    done = {seed: row for seed, row in confirmed.items() if row["status"] == "done"}
    again = {row["seed"]: row for row in inside if row["stage"] == "repeat" and row["status"] == "done"}
    return Cell(
        dataset=key[0],
        method=key[1],
        declared=declared,
        scores={name: {seed: row[f"test_{name}"] for seed, row in done.items()} for name in metrics},
        failures={
            seed: row["cause"] or "unknown" for seed, row in sorted(confirmed.items()) if row["status"] == "failed"
        },
        repeats=tuple(
            Repeat(seed, row["device"], _change(done[seed], row, metrics))
            for seed, row in sorted(again.items())
            if seed in done and done[seed]["device"] == row["device"]
        ),
        devices=tuple(sorted({row["device"] for row in done.values() if row["device"] is not None})),
        search_trials=None if "leader" in searches[0] else sum(map(_search_trials, searches)),
        tuned_as=StudyName.of(searches[0]["leader"]).dataset if "leader" in searches[0] else None,
        origins={seed: (prefix / row["trial"]).as_posix() for seed, row in sorted(confirmed.items())},
        splits={one["seed"]: one["digest"] for search in searches for one in search.get("replicates", ())},
        drawn={one["seed"]: str(one["split"]) for search in searches for one in search.get("replicates", ())},
        tuned_on={
            one["seed"]: str(search["identity"].get("dataset", {}).get("split"))
            for search in searches
            for one in search.get("replicates", ())
        },
        searches=dict(_searches(searches)),
    )


def _search_trials(search: StudyRecord) -> int:
    return search["search_slots"] * len(search["search_seeds"]) + reevaluated(search)


def _searches(searches: Sequence[StudyRecord]) -> Iterator[tuple[int, str]]:
    """Seed → search, or resample of one, that chose its configuration; none where one choice serves all."""
    if len(searches) == 1 and not searches[0].get("resampled", False):
        return
    for number, search in enumerate(searches):
        for seed in search["confirm_seeds"]:
            # Each resample is a draw of its own; the replicates of one of several searches share its luck.
            yield seed, f"{RESAMPLE}{seed}" if search.get("resampled", False) else str(number)


def _change(first: Mapping[str, Any], again: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, float]:
    both = ((name, first[f"test_{name}"], again[f"test_{name}"]) for name in metrics)
    return {name: abs(a - b) for name, a, b in both if a is not None and b is not None}
