"""The question, and the paragraphs on results: one or two sentences for each dataset, then the averages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from analysis.comparison.compare import Analysis
from analysis.comparison.evidence import DeclaredPlan
from analysis.comparison.phrases import (
    counted,
    datasets_phrase,
    decimals,
    evidence_phrase,
    found_with_power,
    higher_or_lower,
    listed,
    open_question,
    p_phrase,
    place_phrase,
    refusal,
    reversal,
)
from analysis.comparison.verdicts import Comparison
from analysis.stats.decisions import Verdict
from analysis.stats.scopes import DrawnAnew, scope_phrase
from harness.pages.contents import number

MOST_IN_FULL = 6
"""Comparisons of one outcome on one dataset that are told one by one; of more, a range is given."""


def question(analysis: Analysis) -> tuple[str, ...]:
    """What the declared comparisons ask, and in one sentence what they answer; nothing where nothing was declared."""
    evidence, plan, asked = analysis.evidence, analysis.evidence.plan, analysis.of("primary")
    if not asked:
        return ()
    others = [name for name in evidence.methods if name != plan.control or plan.family != "vs_control"]
    named = f"{', '.join(others[:-1])} or {others[-1]}" if len(others) <= MOST_IN_FULL else f"{len(others)} methods"
    first = others[0] if len(others) == 1 else f"any of {named}"
    than = plan.control if plan.family == "vs_control" else "another"
    more = f"a {'higher' if plan.higher_is_better(plan.metric) else 'lower'} {plan.facts(plan.metric).in_text}"
    return (
        f"Question: does {first}, as tuned here, score {more} than {than} on {listed(evidence.datasets)}?",
        f"Answer: {_answer(asked, plan)}.",
    )


_ANSWERS: Mapping[Verdict, str] = {
    "better": "shown to be better",
    "worse": "shown to be worse",
    "equivalent": "shown to be equivalent within the margin",
    "inconclusive": "inconclusive",
}


def _answer(asked: Sequence[Comparison], plan: DeclaredPlan) -> str:
    """How many declared comparisons came to which verdict, and which those are that were decided."""
    declared = [one for one in asked if one.declared]
    parts = []
    for verdict, words in _ANSWERS.items():
        own = [one.pair for one in declared if one.outcome == verdict]
        if verdict == "better" and not own:
            parts.append(f"none was {words}")
        elif verdict == "inconclusive" or len(own) > MOST_IN_FULL:
            parts.append(f"{words}: {len(own)} of {counted(len(declared), 'comparison')}")
        elif own:
            than = [f" than {pair.second}" if plan.family != "vs_control" else "" for pair in own]
            names = [f"{pair.first}{beside} {place_phrase(pair)}" for pair, beside in zip(own, than, strict=True)]
            parts.append(f"{words}: {listed(names)}")
    if len(declared) < len(asked):
        parts.append(f"exploratory, and no part of this answer: {counted(len(asked) - len(declared), 'comparison')}")
    return "; ".join(parts)


def results_paragraphs(analysis: Analysis) -> tuple[str, ...]:
    """The results section of a paper: the declared comparisons by the primary metric, a paragraph a dataset.

    Differences keep two digits of the interval's half width; ``higher`` and ``lower`` follow their size.
    """
    evidence = analysis.evidence
    if not analysis.of("primary"):
        return ("No comparison of methods was declared." if evidence.methods else "There are no results.",)
    average = f"On average over {datasets_phrase(evidence)}"
    parts = [
        list(_opening(analysis)),
        *(_both(f"On {dataset}", analysis.of("primary", dataset), evidence.plan) for dataset in evidence.datasets),
        _both(average, analysis.averages, evidence.plan),
        list(_reversals(analysis)),
        list(_twin(analysis)),
    ]
    return tuple(" ".join(part) for part in parts if part)


def _twin(analysis: Analysis) -> Iterator[str]:
    """How often the control was called better or worse than itself."""
    if not analysis.itself:
        return
    made = [one for one in analysis.itself if one.pair.estimate is not None]
    different = [one for one in made if one.outcome in ("better", "worse")]
    plan, pair = analysis.evidence.plan, analysis.itself[0].pair
    # The same training on the same seeds gives the same predictions.
    same = sum(one.p is None and one.pair.estimate is not None and one.pair.estimate.estimate == 0 for one in made)
    chosen = f"; in {same} both searches chose the same configuration" if same else ""
    were = "was" if 1 in (len(different), len(made)) else "were"
    yield (
        f"A/A: {len(different)} of {counted(len(made), 'comparison')} of the control {pair.second} with itself (as "
        f"{pair.first}, with a search of its own) {were} called better or worse at "
        f"level {plan.alpha:g} without correction{_largest(made, plan)}{chosen}."
    )


def _largest(made: Sequence[Comparison], plan: DeclaredPlan) -> str:
    estimates = [one.pair.estimate for one in made if one.pair.estimate is not None]
    if not estimates:
        return ""
    largest = max(estimates, key=lambda estimate: abs(estimate.estimate))
    return f"; the largest difference was {number(abs(largest.estimate), decimals(largest))}"


def _reversals(analysis: Analysis) -> Iterator[str]:
    for one in analysis.robustness:
        turned = reversal(one, analysis.evidence.plan)
        if turned is not None:
            pair = one.comparison.pair
            yield f"The verdict on {pair.first} against {pair.second} {place_phrase(pair)} is the opposite {turned}."


def _opening(analysis: Analysis) -> Iterator[str]:
    plan = analysis.evidence.plan
    kinds = dict.fromkeys(one.pair.drawn for one in analysis.of("primary") if one.pair.interval is not None)
    if not kinds:
        return
    lower = "" if plan.higher_is_better(plan.metric) else " (lower is better)"
    level = f"{100 * plan.confidence:g} %"
    said = [scope_phrase(kind) for kind in kinds]
    if len(kinds) == 1:
        yield f"Differences in {plan.phrase(plan.metric)}{lower} come with {level} intervals for {said[0]}."
    else:
        where = [
            f"{scope} ({_where(analysis, kind)})" for kind, scope in zip(kinds, said, strict=True)
        ]  # fmt: skip
        yield (
            f"Differences in {plan.phrase(plan.metric)}{lower} come with {level} intervals, which cover "
            f"{'; '.join(where)}."
        )


def _where(analysis: Analysis, kind: DrawnAnew) -> str:
    """The datasets, or single pairs on them, whose intervals draw that anew."""
    parts = []
    for dataset in analysis.evidence.datasets:
        made = [one.pair for one in analysis.of("primary", dataset) if one.pair.interval is not None]
        own = [pair for pair in made if pair.drawn == kind]
        if own and len(own) == len(made):
            parts.append(f"on {dataset}")
        elif own:
            parts.append(f"on {dataset} for {listed([f'{pair.first} and {pair.second}' for pair in own])}")
    return ", ".join(parts)


def _both(lead: str, comparisons: Sequence[Comparison], plan: DeclaredPlan) -> list[str]:
    """What was declared, then what rests on a later change."""
    later = f"{lead}, exploratory because of a change after the declaration"
    return [
        *_told(lead, [one for one in comparisons if one.declared], plan),
        *_told(later, [one for one in comparisons if not one.declared], plan),
    ]


def _told(lead: str, comparisons: Sequence[Comparison], plan: DeclaredPlan) -> list[str]:
    """Up to four sentences on one dataset: decided, equivalent, open, not made; only the first names the place."""
    made = [one for one in comparisons if one.pair.estimate is not None]
    sentences = [
        _decided([one for one in made if one.outcome in ("better", "worse")], plan),
        _equivalent([one for one in made if one.outcome == "equivalent"], plan),
        _inconclusive([one for one in made if one.outcome == "inconclusive"], plan),
        _refused([one for one in comparisons if one.pair.estimate is None]),
    ]
    said = [sentence for sentence in sentences if sentence]
    return [f"{lead}, {said[0]}", *(sentence[0].upper() + sentence[1:] for sentence in said[1:])] if said else []


def _decided(comparisons: Sequence[Comparison], plan: DeclaredPlan) -> str:
    if not comparisons:
        return ""
    if len(comparisons) <= MOST_IN_FULL:
        return f"as tuned here, {listed([_verdict(one, plan) for one in comparisons])}."
    ordered = sorted(comparisons, key=lambda one: (one.pair.second, one.outcome))
    groups = (list(group) for _, group in groupby(ordered, key=lambda one: (one.pair.second, one.outcome)))
    said = [_verdict(group[0], plan) if len(group) == 1 else _range(group, plan) for group in groups]
    return f"as tuned here, {'; '.join(said)}."


def _verdict(one: Comparison, plan: DeclaredPlan) -> str:
    estimate = one.pair.estimate
    assert estimate is not None
    size = number(abs(estimate.estimate), decimals(estimate))
    numbers = evidence_phrase(one, plan, size=True)
    return f"{one.pair.first} scored {size} {higher_or_lower(one, plan)} than {one.pair.second} ({numbers})"


def _range(group: Sequence[Comparison], plan: DeclaredPlan) -> str:
    estimates = [one.pair.estimate for one in group if one.pair.estimate is not None]
    digits = max(decimals(estimate) for estimate in estimates)
    sizes = sorted(abs(estimate.estimate) for estimate in estimates)
    largest = p_phrase(max(one.p_adjusted or 0.0 for one in group), plan.alpha).replace("p = ", "p at most ")
    adjusted = "" if plan.correction == "none" else "adjusted "
    return (
        f"{listed([one.pair.first for one in group])} scored {number(sizes[0], digits)} to {number(sizes[-1], digits)} "
        f"{higher_or_lower(group[0], plan)} than {group[0].pair.second} (each {adjusted}{largest})"
    )


def _equivalent(comparisons: Sequence[Comparison], plan: DeclaredPlan) -> str:
    if not comparisons:
        return ""
    margin = f"equivalence within the margin of {plan.margin:g} was shown for"
    if len(comparisons) > MOST_IN_FULL:
        return f"{margin} {listed([f'{one.pair.first} and {one.pair.second}' for one in comparisons])}."
    items = [
        f"{one.pair.first} and {one.pair.second} ({evidence_phrase(one, plan, size=False)}{_despite(one)})"
        for one in comparisons
    ]
    return f"{margin} {listed(items)}."


def _despite(one: Comparison) -> str:
    real = any(caution.code == "within_margin" for caution in one.cautions)
    return "; unlikely to be chance, yet smaller than what was declared to matter" if real else ""


def _inconclusive(comparisons: Sequence[Comparison], plan: DeclaredPlan) -> str:
    if not comparisons:
        return ""
    detectable = [one.detectable for one in comparisons if one.detectable is not None]
    if len(comparisons) > MOST_IN_FULL and detectable:
        digits = max(decimals(one.pair.estimate) for one in comparisons if one.pair.estimate is not None)
        power = found_with_power(detectable, plan.metric, plan, digits)
        return (
            f"{len(comparisons)} comparisons were inconclusive ({_grouped(comparisons)}): the study had 80 % power "
            f"{power}."
        )
    items = [
        (
            f"{one.pair.first} with {one.pair.second}",
            f"{evidence_phrase(one, plan, size=False)}; {open_question(one, plan)}",
        )
        for one in comparisons
    ]
    if len(items) == 1:
        return f"the comparison of {items[0][0]} was inconclusive ({items[0][1]})."
    return f"these comparisons were inconclusive: {listed([f'{pair} ({numbers})' for pair, numbers in items])}."


def _grouped(comparisons: Sequence[Comparison]) -> str:
    """The pairs, those with the same first or the same second method together."""
    pairs = [one.pair for one in comparisons]
    if len({pair.second for pair in pairs}) == 1:
        return f"{listed([pair.first for pair in pairs])} with {pairs[0].second}"
    groups = groupby(pairs, key=lambda pair: pair.first)
    return "; ".join(f"{first} with {listed([pair.second for pair in group])}" for first, group in groups)


def _refused(comparisons: Sequence[Comparison]) -> str:
    """One sentence on what could not be compared, then why, for each reason once."""
    reasons: dict[str, list[str]] = {}
    for one in comparisons:
        reasons.setdefault(refusal(one).sentence, []).append(f"of {one.pair.first} with {one.pair.second}")
    parts = [f"no comparison {listed(pairs)} was possible. {reason}" for reason, pairs in reasons.items()]
    return " ".join(part if place == 0 else part[0].upper() + part[1:] for place, part in enumerate(parts))
