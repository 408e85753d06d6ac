"""The evaluations of a run's confirm trials beside the test split, as evidence."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from analysis.comparison.evidence import Cell, DeclaredPlan, Evidence, Undeclared
from analysis.comparison.shifts import Shift
from analysis.runs.declared import undeclared_evaluations
from analysis.runs.opened import OpenRun
from analysis.runs.stored_shifts import StoredShift
from analysis.stats.cautions import Caution
from harness.run.record_values import score_of
from harness.run.sweep_records import tested_domains
from harness.run.trial import TrialFolder
from harness.run.trial_records import EvaluationRecord

Key = tuple[str, str]
"""Dataset and method."""
Records = dict[Key, dict[int, list[EvaluationRecord]]]
"""By seed."""
ACCURACY = "accuracy"
"""What the corruption error is made of."""
IN_DISTRIBUTION = "in_distribution"


@dataclass(frozen=True, slots=True)
class _Scored:
    """What the confirm trials of a run recorded."""

    records: Mapping[Key, Mapping[int, Sequence[EvaluationRecord]]]
    """Seed → records, of trials that are done."""
    reference: Mapping[str, str]
    """Dataset → evaluation that its test side is a shift of."""


def shifts_of(evidence: Evidence, parts: Sequence[OpenRun], base: Path) -> tuple[Shift, ...]:
    """Every shift that confirmed models were scored on, in the order of the records.

    Args:
        evidence: of the comparison on the test split.
        parts: the runs that it is from.
        base: folder that ``Cell.origins`` are relative to.

    Raises:
        TornFileError: a result is not readable.
    """
    scored = _scored(evidence, base)
    evaluations = {
        (one["evaluation"], "" if one["severity"] else one["set"]): None
        for seeds in scored.records.values()
        for records in seeds.values()
        for one in records
    }
    later = {
        name: one
        for part in parts
        if part.locked is not None
        for name, one in undeclared_evaluations(part.locked).items()
    }
    found = {key: _shift(key, _resting_on(evidence, later.get(key[0])), scored, base) for key in evaluations}
    domains = {name for part in parts for label in part.spec["datasets"] for name in tested_domains(part.spec, label)}
    result = [*_of_domain(evidence, scored, found, sorted(domains))]
    for (evaluation, _), shift in found.items():
        if evaluation != IN_DISTRIBUTION:
            result.append(_with_reference(shift, evidence, found))
    return tuple(result)


def _resting_on(evidence: Evidence, later: Undeclared | None) -> Evidence:
    """The evidence with what was not declared of an evaluation, and without the cautions of the test split."""
    if later is None:
        return replace(evidence, cautions=())
    said = Caution("not_declared", later.sentence)
    return replace(evidence, undeclared=(*evidence.undeclared, later), cautions=(said,))


def _scored(evidence: Evidence, base: Path) -> _Scored:
    records: dict[Key, dict[int, Sequence[EvaluationRecord]]] = {}
    reference: dict[str, str] = {}
    for key, cell in evidence.cells.items():
        for seed in cell.seeds:
            if seed not in cell.origins:
                continue
            result = TrialFolder(base / cell.origins[seed], "confirm").result()
            if result.get("test_reference"):
                reference[key[0]] = result["test_reference"]
            if result.get("evaluations"):
                records.setdefault(key, {})[seed] = result["evaluations"]
    return _Scored(records, reference)


def _shift(key: tuple[str, str], evidence: Evidence, scored: _Scored, base: Path) -> Shift:
    evaluation, only = key
    own, cautions = _alike(evaluation, _of(key, scored))
    every = [one for seeds in own.values() for records in seeds.values() for one in records]
    parts = tuple(dict.fromkeys((one["set"], one["severity"]) for one in every))
    sets = tuple(dict.fromkeys(name for name, _ in parts))
    damaged = not only
    plan = _plan(evidence.plan)
    undefined = all(score_of(one["scores"], plan.metric) is None for one in every)
    if undefined and ACCURACY in plan.metrics:
        # What the margin was declared for is another metric.
        plan = replace(plan, metric=ACCURACY, metrics=(ACCURACY,), margin=None)
    datasets = tuple(name for name in evidence.datasets if any(place[0] == name for place in own))
    cells = {place: _cell(evidence.cells[place], seeds, parts, plan.metrics) for place, seeds in own.items()}
    # Damaged copies are of the test side, and so are as much the same for all splits as that is.
    one_side = evidence.one_test_side if damaged else frozenset(datasets)
    if evaluation == IN_DISTRIBUTION:
        one_side = frozenset()
    stored = StoredShift(cells, base, evidence.classes, plan.metrics, evaluation, parts, one_side, evidence.images)
    name = evaluation if damaged or only == evaluation else f"{evaluation}: {only}"
    words = {label: _cases_in_words(damaged, only, evaluation, evidence, label) for label in datasets}
    return Shift(
        name=name,
        kind=every[0]["kind"],
        sets=sets,
        severities=tuple(sorted({severity for _, severity in parts if severity})),
        evidence=replace(
            evidence,
            name=f"{evidence.name}: {name}",
            plan=plan,
            datasets=datasets,
            cells=cells,
            predictions=stored,
            images=stored.images,
            one_test_side=one_side,
            scored=words,
            # The same cases are behind the scores of models of every dataset: they count once.
            provenance=evidence.provenance
            if damaged or evaluation == IN_DISTRIBUTION
            else {label: replace(evidence.about(label), source=only) for label in datasets},
            tested=_tested(name, sets, damaged),
            cautions=(*evidence.cautions, *cautions),
            declared_size=None,
            twin=None,
        ),
        reference=evidence,
        reference_name=every[0]["reference"],
        same_cases=damaged,
        undefined=evidence.plan.metric if plan.metric != evidence.plan.metric else "",
        by_severity={
            place: {part: _seed_scores(seeds, part, plan.metric) for part in parts} for place, seeds in own.items()
        },
        error_rates={place: _error_rates(seeds, sets) for place, seeds in own.items()},
        parts=stored.parts,
        left_out=_left_out(own),
        cases={place[0]: records[0]["cases"] for place, seeds in own.items() for records in seeds.values()},
    )


def _of(key: tuple[str, str], scored: _Scored) -> Records:
    """The records of one evaluation, or of one of its sets."""
    evaluation, only = key
    own: Records = defaultdict(dict)
    for place, seeds in scored.records.items():
        for seed, records in seeds.items():
            found = [one for one in records if one["evaluation"] == evaluation and only in ("", one["set"])]
            found = [one for one in found if bool(one["severity"]) is not bool(only)]
            if found:
                own[place][seed] = found
    return own


def _alike(evaluation: str, own: Records) -> tuple[Records, list[Caution]]:
    """Those of one dataset that are about the same images: scores on other ones do not compare."""
    votes: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for (dataset, _), seeds in own.items():
        votes[dataset].update(_images(records) for records in seeds.values())
    kept: Records = defaultdict(dict)
    cautions = []
    for place, seeds in own.items():
        best = max(votes[place[0]], key=lambda images: votes[place[0]][images])
        other = sorted(seed for seed, records in seeds.items() if _images(records) != best)
        kept[place] = {seed: records for seed, records in seeds.items() if seed not in other}
        if other:
            cautions.append(
                Caution(
                    "other_cases",
                    f"{place[0]}, {place[1]}: seed{'s' if len(other) > 1 else ''} {', '.join(map(str, other))} "
                    f"{'were' if len(other) > 1 else 'was'} scored on other images in {evaluation} than most trials, "
                    "and left out there.",
                )
            )
    return kept, cautions


def _images(records: Sequence[EvaluationRecord]) -> tuple[str, ...]:
    return tuple(sorted({one["fingerprint"] for one in records}))


def _plan(plan: DeclaredPlan) -> DeclaredPlan:
    """The same question by the primary metric; accuracy beside it, which the corruption error is made of."""
    metrics = (plan.metric, *((ACCURACY,) if ACCURACY in plan.known and plan.metric != ACCURACY else ()))
    return replace(plan, metrics=metrics)


def _cell(
    cell: Cell,
    seeds: Mapping[int, Sequence[EvaluationRecord]],
    parts: Sequence[tuple[str, int]],
    metrics: Sequence[str],
) -> Cell:
    """The same trainings with the mean scores over all sets; of trials that have every set."""
    whole = {seed: own for seed, own in seeds.items() if {(one["set"], one["severity"]) for one in own} >= set(parts)}
    scores: dict[str, dict[int, float | None]] = {name: {} for name in metrics}
    for name in metrics:
        for seed, records in sorted(whole.items()):
            values = [score_of(one["scores"], name) for one in records]
            known = [value for value in values if value is not None]
            scores[name][seed] = float(np.mean(known)) if len(known) == len(values) else None
    # What a repetition changes was measured on the test split alone.
    return replace(cell, scores=scores, repeats=(), cautions=())


def _seed_scores(
    seeds: Mapping[int, Sequence[EvaluationRecord]], part: tuple[str, int], metric: str
) -> dict[int, float | None]:
    return {
        seed: score_of(one["scores"], metric)
        for seed, records in sorted(seeds.items())
        for one in records
        if (one["set"], one["severity"]) == part
    }


def _error_rates(seeds: Mapping[int, Sequence[EvaluationRecord]], sets: Sequence[str]) -> dict[str, dict[int, float]]:
    rates: dict[str, dict[int, float]] = {}
    for name in sets:
        for seed, records in sorted(seeds.items()):
            right = [score_of(one["scores"], ACCURACY) for one in records if one["set"] == name]
            known = [value for value in right if value is not None]
            if known and len(known) == len(right):
                rates.setdefault(name, {})[seed] = 1 - float(np.mean(known))
    return rates


def _left_out(own: Mapping[Key, Mapping[int, Sequence[EvaluationRecord]]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (dataset, _), seeds in own.items():
        for records in seeds.values():
            for one in records:
                for reason, count in one.get("left_out", {}).items():
                    known = found.setdefault(dataset, {})
                    known[reason] = max(count, known.get(reason, 0))
    return found


def _cases_in_words(damaged: bool, only: str, evaluation: str, evidence: Evidence, dataset: str) -> str:
    if evaluation == IN_DISTRIBUTION:
        return ""
    of_test = evidence.scored.get(dataset, "new cases of the same source")
    return f"{of_test} under these kinds of damage" if damaged else f"new cases of {only}"


def _tested(name: str, sets: Sequence[str], damaged: bool) -> str:
    if damaged:
        return f"damaged test images ({name}: mean over {len(sets)} kind{'' if len(sets) == 1 else 's'} of damage)"
    return f"the cases of {sets[0]}"


def _with_reference(shift: Shift, evidence: Evidence, found: Mapping[tuple[str, str], Shift]) -> Shift:
    if shift.reference_name != IN_DISTRIBUTION:
        return replace(shift, reference_name="the test split")
    other = next((one for (name, _), one in found.items() if name == IN_DISTRIBUTION), None)
    if other is None:
        return replace(shift, reference_name="the test split")
    return replace(
        shift, reference=other.evidence, reference_name="held-out cases of the training domains", same_cases=False
    )


def _of_domain(
    evidence: Evidence, scored: _Scored, found: Mapping[tuple[str, str], Shift], domains: Sequence[str]
) -> Iterator[Shift]:
    """The test side as a shift, where it is of other domains than the training side."""
    for name in dict.fromkeys(scored.reference.values()):
        other = next((one for (evaluation, _), one in found.items() if evaluation == name), None)
        datasets = tuple(one for one in evidence.datasets if scored.reference.get(one) == name)
        if other is None or not datasets:
            continue
        plan = _plan(evidence.plan)
        yield Shift(
            name=", ".join(domains) or "other domains",
            kind="domain",
            sets=tuple(domains),
            severities=(),
            evidence=replace(evidence, plan=plan, datasets=datasets),
            reference=other.evidence,
            reference_name="held-out cases of the training domains",
            declared=True,
        )
