"""What is said of evaluations beside the test split, and of subgroups of the test cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from analysis.comparison.drops import CorruptionError, Drop, DropDifference
from analysis.comparison.evidence import DeclaredPlan, Evidence
from analysis.comparison.phrases import counted, decimals, listed, p_phrase
from analysis.comparison.subgroups import SubgroupFindings
from analysis.comparison.under_shift import ShiftFindings
from analysis.stats.cautions import CLASS_CASES, VERDICT_REPLICATES
from analysis.stats.estimate import Estimate
from analysis.words.findings import MOST_IN_FULL, results_paragraphs
from harness.pages.contents import number


def shift_paragraphs(found: ShiftFindings) -> tuple[str, ...]:
    """What the shift is, the verdicts under it, and what the methods lose."""
    verdicts = () if found.analysis is None else results_paragraphs(found.analysis)
    paragraphs = [list(_opening(found)), *([one] for one in verdicts), list(_losses(found)), list(_errors(found))]
    return tuple(" ".join(part) for part in paragraphs if part)


def reservations(found: ShiftFindings, said: Sequence[str]) -> tuple[str, ...]:
    """What the report does not say of the test split already."""
    if found.analysis is None:
        return ()
    every = dict.fromkeys(caution.sentence for caution in found.analysis.cautions)
    return tuple(sentence for sentence in every if sentence not in said)


def subgroup_sentences(found: SubgroupFindings, evidence: Evidence) -> tuple[str, ...]:
    """How large the subgroups are, how far their scores are apart, and who is better in the worst of them."""
    return tuple(" ".join(part) for part in (_sizes(found, evidence), _gaps(found, evidence.plan)) if part)


def _opening(found: ShiftFindings) -> Iterator[str]:
    shift = found.shift
    if found.analysis is None:
        yield _of_domain(shift.evidence.scored, shift.evidence.datasets)
    elif shift.severities:
        severities = listed([str(one) for one in shift.severities])
        at = f"severit{'y' if len(shift.severities) == 1 else 'ies'} {severities}"
        yield (
            f"The test images were damaged in {counted(len(shift.sets), 'way')} ({listed(shift.sets)}), at {at}. "
            "Each score is the mean over all of these, with the same weight, and verdicts are about that mean: it is "
            "one question, and a family of comparisons of its own. They hold for these ways of damage; others were "
            "not drawn."
        )
    else:
        each = dict.fromkeys(shift.cases.values())
        several = [f"{count:,} cases ({name})" for name, count in shift.cases.items()]
        cases = f"{next(iter(each)):,} cases" if len(each) == 1 else listed(several)
        yield (
            f"The confirmed models were also scored on {cases} of {listed(shift.sets)}, which no training and no "
            "search saw. The verdicts are about new cases of the same kind; further sources were not drawn. They are "
            "one question, and a family of comparisons of their own."
        )
    if shift.undefined:
        name = shift.evidence.plan.facts(shift.undefined).in_text
        yield (
            f"{name[0].upper()}{name[1:]} is not defined there, as a class is missing, so methods are compared by "
            "accuracy, without a margin."
        )
    if _shared_by_splits(found):
        yield "These cases are the same on every split, so their variation is added to that between splits."
    for dataset, reasons in shift.left_out.items():
        told = listed([f"{reason} ({count:,})" for reason, count in reasons.items()])
        yield f"Not scored by models of {dataset}: {told}."


def _of_domain(scored: Mapping[str, str], datasets: Sequence[str]) -> str:
    """What is said where the test split is of other domains than the training side."""
    domains = {name: scored[name].removeprefix("new cases of ") for name in datasets}
    if len(set(domains.values())) == 1:
        of = f"The test split is itself a shift: all of its cases are of {next(iter(domains.values()))}"
    else:
        named = listed([f"{domain} on {name}" for name, domain in domains.items()])
        of = f"Each test split is itself a shift: all of its cases are of one domain ({named})"
    return (
        f"{of}, and all training cases are of other domains. The findings above hold for new cases of these domains, "
        "and for no others: domains were not drawn."
    )


def _shared_by_splits(found: ShiftFindings) -> bool:
    """Whether trainings on several splits are scored on the same cases."""
    evidence = found.shift.evidence
    return any(
        dataset in evidence.one_test_side and len(set(cell.splits.values())) > 1
        for (dataset, _), cell in evidence.cells.items()
    )


def _losses(found: ShiftFindings) -> Iterator[str]:
    plan, several = found.shift.evidence.plan, len(found.shift.evidence.datasets) > 1
    if not found.drops:
        return
    level = f"{100 * plan.confidence:g} % interval"
    yield (
        f"A drop is what {plan.phrase(plan.metric)} loses from {found.shift.reference_name} to this, by the same model."
    )
    for dataset in found.shift.evidence.datasets:
        own = [one for one in found.drops if one.dataset == dataset]
        if own:
            yield f"{f'On {dataset}, it' if several else 'It'} was {_drops(own, level)}."
    decided = [one for one in found.drop_differences if one.shown(plan.alpha)]
    if decided:
        yield f"As tuned here, {listed([_less(one, plan, several) for one in decided])}."
    open_ones = len(found.drop_differences) - len(decided)
    if open_ones:
        were = "was" if open_ones == 1 else "were"
        yield f"{counted(open_ones, 'comparison')} of drops {were} inconclusive."


def _drops(own: Sequence[Drop], level: str) -> str:
    """Each drop, or of many the smallest and the largest."""
    if len(own) <= MOST_IN_FULL:
        return listed([_drop(one, level) for one in own])
    ordered = sorted(own, key=lambda one: one.estimate.estimate)
    return f"from {_drop(ordered[0], level)} to {_drop(ordered[-1], level)}"


def _drop(one: Drop, level: str) -> str:
    digits = decimals(one.estimate)
    return f"{number(one.estimate.estimate, digits)} for {one.method} ({_interval(one.estimate, level)})"


def _less(one: DropDifference, plan: DeclaredPlan, several: bool) -> str:
    estimate = one.estimate
    size = number(abs(estimate.estimate), decimals(estimate))
    more = "less" if estimate.estimate < 0 else "more"
    where = f" on {one.dataset}" if several else ""
    adjusted = "" if plan.correction == "none" else "adjusted "
    p = p_phrase(one.p_adjusted or 0.0, plan.alpha)
    return f"{one.first} lost {size} {more} than {one.second}{where} ({adjusted}{p})"


def _errors(found: ShiftFindings) -> Iterator[str]:
    known = [one for one in found.corruption_errors if one.estimate is not None]
    if not known:
        return
    plan = found.shift.evidence.plan
    level, several = f"{100 * plan.confidence:g} % interval", len(found.shift.evidence.datasets) > 1
    yield (
        f"The mean corruption error relative to {plan.control} (below 1: fewer errors than it; Hendrycks and "
        f"Dietterich 2019) was {listed([_error(one, level, several) for one in known])}."
    )


def _error(one: CorruptionError, level: str, several: bool) -> str:
    assert one.estimate is not None
    where = f" on {one.dataset}" if several else ""
    return (
        f"{number(one.estimate.estimate, decimals(one.estimate))} for {one.method}{where} "
        f"({_interval(one.estimate, level)})"
    )


def _sizes(found: SubgroupFindings, evidence: Evidence) -> list[str]:
    small, plan = found.smallest, evidence.plan
    units = f" of {evidence.about(found.dataset).units(small.units)}" if small.units < small.cases else ""
    said = [
        f"By {found.column}, the test cases of {found.dataset} fall into {counted(len(found.groups), 'subgroup')}; the "
        f"smallest is {small.name} with {counted(small.cases, 'case')}{units}."
    ]
    if found.without:
        one = found.without == 1
        have, belong = ("has", "belongs") if one else ("have", "belong")
        said.append(f"{counted(found.without, 'test case')} {have} no value and {belong} to no subgroup.")
    if found.undefined:
        said.append(
            f"{plan.facts(plan.metric).in_text[0].upper()}{plan.facts(plan.metric).in_text[1:]} is not defined in "
            f"{listed(found.undefined)}, where a class is missing, so subgroups are compared by accuracy."
        )
    if small.cases < CLASS_CASES:
        said.append("Scores of so few cases are rough.")
    return said


def _gaps(found: SubgroupFindings, plan: DeclaredPlan) -> list[str]:
    if not found.scores:
        return []
    level = f"{100 * plan.confidence:g} % interval"
    said = [
        f"By {plan.phrase(found.metric)}, {_worst(found, level)}.",
        "These intervals allow for the choice of the worst and the best; an observed gap is larger than the true one "
        "on average.",
    ]
    apart = [one for one in found.differences if one.seeds >= VERDICT_REPLICATES and one.estimate.low is not None]
    higher = plan.higher_is_better(found.metric)
    shown = [one for one in apart if (one.estimate.low or 0.0) > 0 or (one.estimate.high or 0.0) < 0]
    for one in shown:
        better = (one.estimate.estimate > 0) is higher
        said.append(
            f"In its worst subgroup, {one.first} was {'better' if better else 'worse'} than {one.second} in its own "
            f"(difference {number(one.estimate.estimate, 3)}, {_interval(one.estimate, level, 3)}, exploratory)."
        )
    return said


def _worst(found: SubgroupFindings, level: str) -> str:
    """The worst subgroup and the gap of each method, or of many methods how often each is the worst."""
    names = [one.name for one in found.groups]
    if len(found.scores) <= MOST_IN_FULL:
        return listed(
            [
                f"{one.method} scored worst in {names[one.extremes.worst]} "
                f"({number(one.extremes.lowest.estimate, 3)}, {_interval(one.extremes.lowest, level, 3)}), "
                f"{number(one.extremes.gap.estimate, 3)} below its best, {names[one.extremes.best]} "
                f"({_interval(one.extremes.gap, level, 3)})"
                for one in found.scores
            ]
        )
    worst = Counter(names[one.extremes.worst] for one in found.scores)
    gaps = sorted(one.extremes.gap.estimate for one in found.scores)
    told = listed([f"{name} ({count} of {len(found.scores)} methods)" for name, count in worst.most_common()])
    return (
        f"the worst subgroup was {told}, {number(gaps[0], 3)} to {number(gaps[-1], 3)} below the best one of the same "
        "method"
    )


def _interval(estimate: Estimate, level: str, digits: int | None = None) -> str:
    if estimate.low is None or estimate.high is None:
        return "no interval"
    places = decimals(estimate) if digits is None else digits
    return f"{level} {number(estimate.low, places)} to {number(estimate.high, places)}"
