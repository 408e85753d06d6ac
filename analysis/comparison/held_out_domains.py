"""Each domain held out in turn: trained on all others, tested on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.comparison.compare import Analysis
from analysis.stats.cautions import POPULATION_DATASETS, Caution
from analysis.stats.estimate import Estimate
from analysis.stats.multiplicity import adjust
from analysis.stats.ranges import difference_within_range
from analysis.stats.resampled import mean_over_splits


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDomains:
    """One declared pair as a claim about domains that were not tried."""

    first: str
    second: str
    estimate: Estimate | None
    """None where too few domains were held out."""
    family: int
    p_adjusted: float | None
    caution: Caution | None = None


def on_new_domains(analysis: Analysis, domains: Mapping[str, str]) -> list[NewDomains]:
    """Every declared pair over the domains as a sample of all such domains: each is one observation.

    Any two of the trainings share most of their images, since each lacks one domain alone, so the variance between
    domains is too small by what they share. As for several splits (Nadeau and Bengio 2003) the correlation of two is
    taken to be the share of the tested images: with D domains r = 1 / (D - 1), and the variance of the mean is
    ``(1/D + r) S²``.

    Args:
        analysis: in which each domain that was held out is a dataset label of its own.
        domains: label → domain.
    """
    plan, count = analysis.evidence.plan, len(domains)
    by_place = {(one.pair.dataset, one.pair.first, one.pair.second): one for one in analysis.of("primary")}
    pairs = plan.pairs(analysis.evidence.ordered)
    estimates: list[Estimate | None] = []
    for first, second in pairs:
        own = [by_place.get((label, first, second)) for label in domains]
        known = [one.pair.estimate.estimate for one in own if one is not None and one.pair.estimate is not None]
        enough = len(known) == count >= POPULATION_DATASETS
        found = mean_over_splits(np.array(known), range(count), 1 / (count - 1), plan.confidence) if enough else None
        estimates.append(None if found is None else difference_within_range(found, plan.facts(plan.metric).bounds))
    raw = [None if one is None else one.p_value() for one in estimates]
    adjusted = iter(adjust([p for p in raw if p is not None], plan.correction, len(pairs)).tolist())
    return [
        NewDomains(
            first=first,
            second=second,
            estimate=estimate,
            family=len(pairs),
            p_adjusted=None if p is None else next(adjusted),
            caution=_few(count) if estimate is None else None,
        )
        for (first, second), estimate, p in zip(pairs, estimates, raw, strict=True)
    ]


def _few(domains: int) -> Caution:
    if domains >= POPULATION_DATASETS:
        return Caution("not_on_every_domain", "The two methods were not compared on every domain.")
    return Caution(
        "few_domains",
        f"{domains} domains cannot speak for domains that were not tried (at least {POPULATION_DATASETS} are needed); "
        "read the average over exactly these domains instead.",
    )
