"""Training sizes, networks and domains that are tested in turn as plain data, for ``results.json``."""

from __future__ import annotations

from analysis.axis_models import (
    AreaDifferenceRecord,
    AreaRecord,
    CurvePointRecord,
    HeldOutRecord,
    ImagesNeededRecord,
    LearningCurveRecord,
    NewDomainsRecord,
    OnNetworksRecord,
)
from analysis.comparison.axes import AxisFindings, HeldOut
from analysis.comparison.networks import OnNetworks
from analysis.comparison.training_sizes import CurveFindings
from analysis.comparison_results import interval_record
from analysis.result_models import IntervalRecord, ResultModel
from analysis.stats.estimate import Estimate


def axis_records(found: AxisFindings) -> dict[str, object]:
    """What to add to ``comparison_records``; nothing where there is nothing."""
    parts: dict[str, list[ResultModel]] = {
        "learning_curves": [_curve(one) for one in found.curves],
        "on_networks": [_network(one) for one in found.networks],
        "held_out_domains": [_held_out(one) for one in found.held_out],
    }
    return {name: [one.model_dump(mode="json") for one in records] for name, records in parts.items() if records}


def _curve(found: CurveFindings) -> LearningCurveRecord:
    return LearningCurveRecord(
        dataset=found.dataset,
        images=list(found.sizes),
        points=[
            CurvePointRecord(method=one.method, images=one.size, score=_given(one.estimate)) for one in found.points
        ],
        areas=[AreaRecord(method=one.method, area=_given(one.estimate)) for one in found.areas],
        differences=[
            AreaDifferenceRecord(
                a=one.first,
                b=one.second,
                difference=_given(one.estimate),
                p_adjusted=one.p_adjusted,
                family=one.family,
            )
            for one in found.differences
        ],
        images_needed=[
            ImagesNeededRecord(
                method=one.method,
                images=round(one.needed.size),
                needed=one.needed.estimate,
                low=one.needed.low,
                high=one.needed.high,
                reached=one.needed.reached,
            )
            for one in found.saved
        ],
    )


def _network(found: OnNetworks) -> OnNetworksRecord:
    return OnNetworksRecord(
        dataset=found.dataset,
        a=found.first,
        b=found.second,
        outcomes={name: str(one.outcome) for name, one in found.comparisons.items()},
        p_interaction=found.p_adjusted,
        family=found.family,
    )


def _held_out(found: HeldOut) -> HeldOutRecord:
    return HeldOutRecord(
        dataset=found.dataset,
        domains=dict(found.domains),
        pairs=[
            NewDomainsRecord(
                a=one.first,
                b=one.second,
                difference=interval_record(one.estimate),
                p_adjusted=one.p_adjusted,
                family=one.family,
            )
            for one in found.pairs
        ],
    )


def _given(estimate: Estimate) -> IntervalRecord:
    found = interval_record(estimate)
    assert found is not None
    return found
