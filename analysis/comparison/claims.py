"""The claims that a comparison was made for, each supported, contradicted or left open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from analysis.comparison.compare import Analysis
from analysis.comparison.evidence import THE_TEST_SPLIT, DeclaredPlan
from analysis.comparison.phrases import (
    decimals,
    evidence_phrase,
    higher_or_lower,
    open_question,
    place_phrase,
    refusal,
    reversal,
)
from analysis.comparison.robustness import Robustness
from analysis.comparison.verdicts import Comparison
from analysis.stats.cautions import Caution
from analysis.stats.scopes import scope_phrase
from harness.pages.contents import number

Status = Literal["supported", "contradicted", "equivalent", "inconclusive"]
"""Equivalent: not supported, as the difference lies within the margin."""
STATUS_WORDS: Mapping[Status, str] = {"equivalent": "not supported (equivalent)"}
"""How a status is printed, where not by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """That the first method of a declared pair, as tuned here, scores better than the second."""

    statement: str
    status: Status
    evidence: str
    """One sentence."""
    scope: str
    """What the evidence holds for, and given what; empty where nothing could be compared."""
    flags: tuple[Caution, ...]
    """Reservations of the comparison, and ``reversed_by_check`` where another look at the data says the opposite."""
    comparison: Comparison


def claims(analysis: Analysis) -> list[Claim]:
    """One claim for each declared comparison by the primary metric, in the order of the datasets, then the averages."""
    return list(_claims(analysis))


def _claims(analysis: Analysis) -> Iterator[Claim]:
    plan = analysis.evidence.plan
    where = "" if analysis.evidence.tested == THE_TEST_SPLIT else f" on {analysis.evidence.tested}"
    checked = {_key(one.comparison): one for one in analysis.robustness}
    for one in (*analysis.of("primary"), *analysis.averages):
        turned = _reversed(checked.get(_key(one)), plan)
        yield Claim(
            statement=(
                f"As tuned here, {one.pair.first} scores better than {one.pair.second} {place_phrase(one.pair)} "
                f"by {plan.phrase(one.pair.metric)}{where}."
            ),
            status=_status(one),
            evidence=_evidence(one, plan),
            scope="" if one.pair.estimate is None else scope_phrase(one.pair.drawn),
            flags=one.cautions if turned is None else (*one.cautions, turned),
            comparison=one,
        )


def _status(one: Comparison) -> Status:
    if one.pair.estimate is None or one.outcome in ("inconclusive", "equivalent"):
        return "equivalent" if one.outcome == "equivalent" else "inconclusive"
    return "supported" if one.outcome == "better" else "contradicted"


def _evidence(one: Comparison, plan: DeclaredPlan) -> str:
    estimate = one.pair.estimate
    if estimate is None:
        return refusal(one).sentence
    if one.outcome == "equivalent":
        numbers = evidence_phrase(one, plan, size=False)
        return f"The difference was shown to lie within the margin of {plan.margin:g} ({numbers})."
    if one.outcome == "inconclusive":
        return f"Inconclusive ({evidence_phrase(one, plan, size=False)}): {open_question(one, plan)}."
    size = number(abs(estimate.estimate), decimals(estimate))
    return f"It scored {size} {higher_or_lower(one, plan)} ({evidence_phrase(one, plan, size=True)})."


def _reversed(one: Robustness | None, plan: DeclaredPlan) -> Caution | None:
    by = None if one is None else reversal(one, plan)
    return None if by is None else Caution("reversed_by_check", f"The verdict is the opposite {by}.")


def _key(one: Comparison) -> tuple[str | None, str, str]:
    return one.pair.dataset, one.pair.first, one.pair.second
