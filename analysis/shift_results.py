"""Evaluations beside the test split as plain data: the members ``shifts`` and ``subgroups`` of ``results.json``."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.comparison.claims import claims
from analysis.comparison.subgroups import SubgroupFindings
from analysis.comparison.under_shift import ShiftFindings
from analysis.comparison_results import claim_record, comparison_record, flag_records, interval_record, score_record
from analysis.result_models import IntervalRecord
from analysis.shift_models import (
    BeyondLineRecord,
    CorruptionErrorRecord,
    DropDifferenceRecord,
    DropRecord,
    SeverityRecord,
    ShiftRecord,
    SubgroupRecord,
    SubgroupScoreRecord,
    SubgroupsRecord,
    WorstDifferenceRecord,
)
from analysis.stats.estimate import Estimate


def shift_records(found: Sequence[ShiftFindings], groups: Sequence[SubgroupFindings]) -> dict[str, object]:
    """What to add to ``comparison_records``; nothing where there is nothing."""
    whole: dict[str, object] = {}
    if found:
        whole["shifts"] = [_shift(one).model_dump(mode="json") for one in found]
    if groups:
        whole["subgroups"] = [_subgroups(one).model_dump(mode="json") for one in groups]
    return whole


def _shift(found: ShiftFindings) -> ShiftRecord:
    shift, analysis = found.shift, found.analysis
    by_set: dict[str, dict[str, dict[str, float | None]]] = {}
    for one in found.by_set:
        by_set.setdefault(one.dataset, {}).setdefault(one.method, {})[one.set] = one.mean
    return ShiftRecord(
        name=shift.name,
        kind=shift.kind,
        sets=list(shift.sets),
        severities=list(shift.severities),
        reference=shift.reference_name,
        is_test_split=shift.declared,
        cases=dict(shift.cases),
        left_out={dataset: dict(reasons) for dataset, reasons in shift.left_out.items()},
        comparisons=[]
        if analysis is None
        else [comparison_record(one) for one in (*analysis.comparisons, *analysis.averages)],
        scores=[] if analysis is None else [score_record(one, analysis.evidence) for one in analysis.scores],
        claims=[] if analysis is None else [claim_record(one) for one in claims(analysis)],
        drops=[
            DropRecord(
                dataset=one.dataset,
                method=one.method,
                seeds=list(one.seeds),
                reference=one.reference,
                shifted=one.shifted,
                drop=_given(one.estimate),
            )
            for one in found.drops
        ],
        drop_differences=[
            DropDifferenceRecord(
                dataset=one.dataset,
                a=one.first,
                b=one.second,
                difference=_given(one.estimate),
                p_adjusted=one.p_adjusted,
                family=one.family,
            )
            for one in found.drop_differences
        ],
        corruption_errors=[
            CorruptionErrorRecord(
                dataset=one.dataset, method=one.method, mean=interval_record(one.estimate), by_set=dict(one.by_set)
            )
            for one in found.corruption_errors
        ],
        effective_robustness=[
            BeyondLineRecord(
                dataset=one.dataset, method=one.method, beyond_line=interval_record(one.estimate), why=one.why
            )
            for one in found.beyond_line
        ],
        by_severity=[
            SeverityRecord(
                dataset=one.dataset,
                method=one.method,
                severity=one.severity,
                mean=one.mean,
                low=one.low,
                high=one.high,
            )
            for one in found.by_severity
        ],
        by_set=by_set,
        flags=[] if analysis is None else flag_records(analysis.cautions),
    )


def _subgroups(found: SubgroupFindings) -> SubgroupsRecord:
    names = [one.name for one in found.groups]
    return SubgroupsRecord(
        dataset=found.dataset,
        column=found.column,
        metric=found.metric,
        undefined=list(found.undefined),
        without=found.without,
        groups=[SubgroupRecord(name=one.name, cases=one.cases, units=one.units) for one in found.groups],
        scores=[
            SubgroupScoreRecord(
                method=one.method,
                means=dict(zip(names, one.means, strict=True)),
                worst=names[one.extremes.worst],
                best=names[one.extremes.best],
                lowest=_given(one.extremes.lowest),
                gap=_given(one.extremes.gap),
            )
            for one in found.scores
        ],
        differences=[
            WorstDifferenceRecord(a=one.first, b=one.second, difference=_given(one.estimate))
            for one in found.differences
        ],
    )


def _given(estimate: Estimate) -> IntervalRecord:
    record = interval_record(estimate)
    assert record is not None
    return record
