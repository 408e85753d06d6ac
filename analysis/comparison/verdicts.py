"""Verdicts on pairs of methods, corrected for the family of comparisons that was declared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from typing import Literal

from analysis.comparison.evidence import DeclaredPlan, Evidence
from analysis.comparison.one_source import Exact, mean_of_source
from analysis.comparison.scores import Pair
from analysis.stats.across_datasets import by_source, fixed_dataset_mean
from analysis.stats.cautions import Caution, few_replicates, seeds_only, undetectable_gap
from analysis.stats.decisions import (
    Decision,
    Verdict,
    decide,
    equivalence_p,
    probability_of_other_sign,
    probability_within,
)
from analysis.stats.multiplicity import adjust, claims_size
from analysis.stats.power import detectable_difference
from analysis.stats.split_cautions import few_searches, few_splits
from analysis.stats.twoway import TwoWay

Role = Literal["primary", "secondary", "exploratory", "average"]
"""The declared family by the primary metric on one dataset; the same pairs by another metric; pairs outside the family;
and the primary metric averaged over the datasets, which belongs to the declared family as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One pair of methods and what may be said of it."""

    pair: Pair
    role: Role
    family: int
    """Comparisons that the p value is corrected for."""
    p: float | None = None
    p_adjusted: float | None = None
    equivalence_p: float | None = None
    equivalence_p_adjusted: float | None = None
    detectable: float | None = None
    """Smallest true difference that this design finds with 80 % power at the family's first step."""
    wrong: float | None = None
    """Posterior probability that the true difference has the other sign than the estimate."""
    within_margin: float | None = None
    """Posterior probability that the true difference lies within the margin; None where none was declared."""
    outcome: Verdict = "inconclusive"
    """Of the first method against the second."""
    declared: bool = True
    """Whether it is a declared comparison that rests on nothing that was changed later; all else is exploratory."""
    cautions: tuple[Caution, ...] = ()


def judge(pairs: Sequence[Pair], evidence: Evidence, detectable: bool = True) -> list[Comparison]:
    """Verdicts on every pair by one metric: the declared family, and the pairs outside it, each corrected.

    Averages over the datasets are of the same family as the comparisons on each of them: whoever reads a table of
    claims reads both. A pair that could not be compared stays in the family: leaving it out would make the others look
    better.

    Args:
        pairs: of all datasets, every pair once, by one metric; and ``averages`` of them.
        evidence: whose plan names family, correction, margin and level.
        detectable: whether to compute what the design detects, which takes most of the time.
    """
    plan = evidence.plan
    wanted = set(plan.pairs(evidence.ordered))
    result: dict[int, Comparison] = {}
    kinds = [((one.first, one.second) in wanted, _unchanged(one, evidence)) for one in pairs]
    for inside, unchanged in dict.fromkeys(sorted(kinds, reverse=True)):
        places = [place for place, kind in enumerate(kinds) if kind == (inside, unchanged)]
        family = _declared(evidence) if inside and unchanged else _everything(evidence)
        for place, one in zip(
            places, _family([pairs[place] for place in places], plan, family, detectable), strict=True
        ):
            result[place] = replace(one, role=_role(one.pair, plan, inside), declared=inside and unchanged)
    return [result[place] for place in sorted(result)]


def averages(pairs: Sequence[Pair], evidence: Evidence, exact: Exact, without: str | None = None) -> list[Pair]:
    """Every pair averaged over the datasets, or over those of all sources but one.

    Each source has the same weight, however many of its datasets there are. Empty where there is one dataset only. A
    pair that one of the datasets lacks is not averaged over the others.

    Args:
        pairs: of all datasets, by one metric.
        evidence: of the comparison.
        exact: of sources with several datasets of the same cases; of others a bound is taken.
        without: a source that is left out.
    """
    datasets = tuple(name for name in evidence.datasets if evidence.about(name).source != without)
    if len(datasets) < 2:
        return []
    own: dict[tuple[str, str], list[Pair]] = {}
    for one in pairs:
        if one.dataset in datasets:
            own.setdefault((one.first, one.second), []).append(one)
    return [_mean(parts, datasets, evidence, exact) for parts in own.values()]


def judge_averages(pairs: Sequence[Pair], evidence: Evidence, beside: Sequence[Comparison] = ()) -> list[Comparison]:
    """Verdicts on averages that are looked at besides those of ``judge``, corrected as those are.

    Args:
        pairs: declared ones only, or none of them.
        evidence: whose plan names family, correction, margin and level.
        beside: the other comparisons of the same family.
    """
    plan = evidence.plan
    inside = bool(beside)
    family = _declared(evidence) if inside else _everything(evidence)
    found = _family(pairs, plan, family, False, [one.p for one in beside], [one.equivalence_p for one in beside])
    return [
        replace(one, role=_role(one.pair, plan, inside), declared=inside and _unchanged(one.pair, evidence))
        for one in found
    ]


def _role(pair: Pair, plan: DeclaredPlan, inside: bool) -> Role:
    if not inside:
        return "exploratory"
    if pair.metric != plan.metric:
        return "secondary"
    return "primary" if pair.dataset is not None else "average"


def _declared(evidence: Evidence) -> int:
    return evidence.declared_size or evidence.plan.size(len(evidence.methods), len(evidence.datasets))


def _everything(evidence: Evidence) -> int:
    return claims_size(len(evidence.methods), "all_pairs", len(evidence.datasets)) if len(evidence.methods) > 1 else 0


def _mean(own: Sequence[Pair], datasets: tuple[str, ...], evidence: Evidence, exact: Exact) -> Pair:
    """One pair averaged over the datasets."""
    first, second, confidence = own[0].first, own[0].second, evidence.plan.confidence
    known = {one.dataset: one.estimate for one in own if one.estimate is not None}
    estimates = [known[name] for name in datasets if name in known]
    missing = Caution(
        "not_on_every_dataset",
        f"The two methods were compared on {len(estimates)} of {len(datasets)} datasets; the average over these "
        "alone would be another question.",
    )
    # The average of narrower claims is no wider than they are.
    narrow = dict.fromkeys(caution for one in own for caution in one.cautions if caution == seeds_only())
    sources = list(dict.fromkeys(evidence.about(name).source for name in datasets))
    mean = None
    if len(estimates) == len(datasets):
        merged = by_source(estimates, [evidence.about(name).source for name in datasets])
        of_sources = [
            mean_of_source(parts, exact.get((source, first, second)), confidence)
            for source, parts in zip(sources, merged, strict=True)
        ]
        # Of one source nothing is left to average, and the p value is that of its own analysis.
        mean = of_sources[0] if len(of_sources) == 1 else fixed_dataset_mean(of_sources, confidence)
    said = (*narrow, *_few(own), *(() if mean is None else mean.cautions))
    return Pair(
        dataset=None,
        datasets=datasets,
        sources=len(sources),
        in_file=len({evidence.in_file_of(name) for name in datasets}),
        metric=own[0].metric,
        first=first,
        second=second,
        seeds=(),
        replicates=min(one.replicates for one in own),
        splits=max(one.splits for one in own),
        drawn=reduce(and_, (one.drawn for one in own)),
        interval=None if mean is None else "two_way" if isinstance(mean, TwoWay) else "fixed_datasets",
        estimate=mean,
        repeat_noise=max((one.repeat_noise for one in own), default=0.0),
        cautions=(missing,) if mean is None else tuple(dict.fromkeys(said)),
    )


def _few(own: Sequence[Pair]) -> Iterator[Caution]:
    """What is to be said of the fewest splits, shared searches and replicates on any dataset."""
    for kind, said in (("split", few_splits), ("search", few_searches), ("replicate", few_replicates)):
        draws = [one.replicates for one in own if one.unit == kind]
        caution = said(min(draws)) if draws else None
        if caution is not None:
            yield caution


def _unchanged(pair: Pair, evidence: Evidence) -> bool:
    datasets = pair.datasets if pair.dataset is None else (pair.dataset,)
    return not any(one.reaches(datasets, (pair.first, pair.second)) for one in evidence.undeclared)


def _family(
    pairs: Sequence[Pair],
    plan: DeclaredPlan,
    family: int,
    with_detectable: bool,
    beside: Sequence[float | None] = (),
    equal_beside: Sequence[float | None] = (),
) -> list[Comparison]:
    raw = [_p(one) for one in pairs]
    equal = [_equivalence(one, plan) for one in pairs]
    adjusted = _adjusted([*raw, *beside], plan, family)
    equal_adjusted = _adjusted([*equal, *equal_beside], plan, family)
    result = []
    for place, pair in enumerate(pairs):
        decision, detectable = _decide(pair, plan, adjusted[place], equal_adjusted[place]), None
        if pair.estimate is not None and with_detectable:
            detectable = detectable_difference(pair.estimate, plan.alpha / (family if plan.correction != "none" else 1))
        silent = pair.estimate is None or detectable is None or decision.verdict != "inconclusive"
        gap = None if silent or pair.estimate is None else undetectable_gap(pair.estimate.estimate, detectable or 0.0)
        result.append(
            Comparison(
                pair=pair,
                role="exploratory",
                family=family,
                p=raw[place],
                p_adjusted=adjusted[place],
                equivalence_p=equal[place],
                equivalence_p_adjusted=equal_adjusted[place],
                detectable=detectable,
                wrong=None if pair.estimate is None else probability_of_other_sign(pair.estimate),
                within_margin=_within(pair, plan),
                outcome=decision.verdict,
                cautions=(*pair.cautions, *decision.cautions, *(() if gap is None else (gap,))),
            )
        )
    return result


def _decide(pair: Pair, plan: DeclaredPlan, p: float | None, equal: float | None) -> Decision:
    if pair.estimate is None:
        return Decision("inconclusive")
    return decide(
        pair.estimate.estimate,
        p,
        equal,
        alpha=plan.alpha,
        higher_is_better=plan.higher_is_better(pair.metric),
        repeat_noise=pair.repeat_noise,
        replicates=pair.replicates,
    )


def _p(pair: Pair) -> float | None:
    return None if pair.estimate is None else pair.estimate.p_value()


def _equivalence(pair: Pair, plan: DeclaredPlan) -> float | None:
    if pair.estimate is None or plan.margin is None or pair.metric != plan.metric:
        return None
    return equivalence_p(pair.estimate, plan.margin)


def _within(pair: Pair, plan: DeclaredPlan) -> float | None:
    if pair.estimate is None or plan.margin is None or pair.metric != plan.metric:
        return None
    return probability_within(pair.estimate, plan.margin)


def _adjusted(values: Sequence[float | None], plan: DeclaredPlan, family: int) -> list[float | None]:
    """Corrected p values; those that do not exist count in the family as not rejected."""
    known = [value for value in values if value is not None]
    corrected = iter(adjust(known, plan.correction, max(family, len(known))).tolist())
    return [None if value is None else next(corrected) for value in values]
