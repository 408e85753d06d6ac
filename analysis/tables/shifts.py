"""Tables of evaluations beside the test split, and of subgroups."""

from __future__ import annotations

from analysis.comparison.evidence import DeclaredPlan
from analysis.comparison.subgroups import SubgroupFindings
from analysis.comparison.under_shift import ShiftFindings
from analysis.stats.scopes import scope_phrase, widest_first
from analysis.tables.cells import CORRECTIONS, p_text, span
from harness.pages.contents import NOT_AVAILABLE, PageTable, Row, number

SHIFT_STEM = "shift_"
"""How the names of the tables begin that belong into a paper; no other table's does."""


def drops(found: ShiftFindings, stem: str) -> PageTable:
    """What each method loses, and how much more than the second of its declared pair."""
    plan = found.shift.evidence.plan
    level = f"{100 * plan.confidence:g} % interval"
    control = plan.family == "vs_control"
    against = {(one.dataset, one.first): one for one in found.drop_differences} if control else {}
    head, groups = ("Method", "Reference", "Under shift", "Drop", level), []
    for dataset in found.shift.evidence.datasets:
        rows: list[Row] = []
        for one in (own for own in found.drops if own.dataset == dataset):
            other = against.get((dataset, one.method))
            rows.append(
                (
                    one.method,
                    number(one.reference),
                    number(one.shifted),
                    number(one.estimate.estimate),
                    span(one.estimate, 4),
                    *(
                        ("", "", "")[: 3 * control]
                        if other is None
                        else (
                            number(other.estimate.estimate),
                            span(other.estimate, 4),
                            p_text(other.p_adjusted),
                        )
                    ),
                )
            )
        groups.append((dataset, tuple(rows)))
    family = sorted({one.family for one in found.drop_differences})
    note = (
        f"Drop: {plan.label(plan.metric)} on {found.shift.reference_name} minus that under the shift, by the same model"
        f"{'' if plan.higher_is_better(plan.metric) else ', with the sign turned, so that a loss is above zero'}. "
        "Intervals draw anew what the comparison under the shift does"
        + (", and the cases of both sides. " if not found.shift.same_cases else ", paired by case. ")
    )
    if against:
        note += (
            f"More than {plan.control}: difference of the drops, paired; above zero where the method loses more. "
            f"p adjusted: {CORRECTIONS[plan.correction]}, family of {', '.join(map(str, family))}."
        )
    return PageTable(
        caption=f"{found.shift.name}: what each method loses.",
        head=(*head, f"More than {plan.control}", level, "p adjusted") if control else head,
        align="l" + "r" * (7 if control else 4),
        groups=tuple(groups),
        note=note,
        name=f"{SHIFT_STEM}drops_{stem}",
    )


def corruption_errors(found: ShiftFindings, stem: str) -> PageTable | None:
    """The mean corruption error relative to the control; None where there is one set alone, or no control."""
    if not found.corruption_errors:
        return None
    plan = found.shift.evidence.plan
    groups = []
    for dataset in found.shift.evidence.datasets:
        rows = [
            (
                one.method,
                number(None if one.estimate is None else one.estimate.estimate, 3),
                span(one.estimate, 3),
                "; ".join(f"{name} {number(value, 2)}" for name, value in one.by_set.items()) or one.why,
            )
            for one in found.corruption_errors
            if one.dataset == dataset
        ]
        groups.append((dataset, tuple(rows)))
    return PageTable(
        caption=f"{found.shift.name}: mean corruption error relative to {plan.control}.",
        head=("Method", "mCE", f"{100 * plan.confidence:g} % interval", "By kind"),
        align="lrrl",
        groups=tuple(groups),
        note="Errors of the method over errors of the control, each summed over severities, then averaged over the "
        "kinds of damage (Hendrycks and Dietterich 2019, with the control in the place of AlexNet): 1 where both make "
        "as many errors. Intervals are right to first order. The measure weighs each kind by how few errors the "
        "control makes.",
        name=f"{SHIFT_STEM}errors_{stem}",
    )


def beyond_line(found: ShiftFindings, stem: str) -> PageTable | None:
    """The effective robustness of each method; None where no method has any."""
    if not any(one.estimate is not None for one in found.beyond_line):
        return None
    plan = found.shift.evidence.plan
    groups = tuple(
        (
            dataset,
            tuple(
                (
                    one.method,
                    number(None if one.estimate is None else one.estimate.estimate, 3),
                    span(one.estimate, 3),
                    one.why,
                )
                for one in found.beyond_line
                if one.dataset == dataset
            ),
        )
        for dataset in found.shift.evidence.datasets
    )
    return PageTable(
        caption=f"{found.shift.name}: effective robustness, in accuracy beyond the line of {plan.control}.",
        head=("Method", "Beyond the line", f"{100 * plan.confidence:g} % interval", "Why there is none"),
        align="lrrl",
        groups=groups,
        note=f"The line is fitted through the trainings of {plan.control}, accuracy under the shift over accuracy on "
        f"{found.shift.reference_name}, both as probits (Taori et al. 2020, Miller et al. 2021, who take many standard "
        "models). Through trainings that are nearly as good as one another it is mostly chance, and flat, which makes "
        "better methods look more robust than they are. Scope: retraining with new seeds, on these very cases. No "
        "claim rests on it.",
        name=f"line_{stem}",
    )


def by_set(found: ShiftFindings, stem: str) -> PageTable | None:
    """The mean scores by kind of damage; None where there is one set alone."""
    if not found.by_set:
        return None
    plan, methods = found.shift.evidence.plan, found.shift.evidence.ordered
    known = {(one.dataset, one.method, one.set): one.mean for one in found.by_set}
    groups = tuple(
        (
            dataset,
            tuple(
                (name, *(number(known.get((dataset, method, name)), 3) for method in methods))
                for name in found.shift.sets
            ),
        )
        for dataset in found.shift.evidence.datasets
    )
    return PageTable(
        caption=f"{found.shift.name}: {plan.label(plan.metric)} by kind, mean over severities and seeds.",
        head=("Kind", *methods),
        align="l" + "r" * len(methods),
        groups=groups,
        note="Described, not compared: the verdicts are about the mean over all kinds.",
        name=f"kinds_{stem}",
    )


def subgroups(found: SubgroupFindings, plan: DeclaredPlan, stem: str) -> PageTable:
    """Each method by subgroup, its worst and its gap."""
    level = f"{100 * plan.confidence:g} % interval"
    against = {one.first: one for one in found.differences} if plan.family == "vs_control" else {}
    rows: list[Row] = []
    for one in found.scores:
        own, other = one.extremes, against.get(one.method)
        rows.append(
            (
                one.method,
                *(number(mean, 3) for mean in one.means),
                f"{number(own.lowest.estimate, 3)} {span(own.lowest, 3)}",
                f"{number(own.gap.estimate, 3)} {span(own.gap, 3)}",
                *(
                    ()
                    if not against
                    else (
                        NOT_AVAILABLE
                        if other is None
                        else f"{number(other.estimate.estimate, 3)} {span(other.estimate, 3)}",
                    )
                ),
            )
        )
    sizes = ", ".join(f"{group.name} {group.cases:,}" for group in found.groups)
    versus = (f"Worst minus that of {plan.control}",) if against else ()
    return PageTable(
        caption=f"{found.dataset}: {plan.label(found.metric)} by {found.column}.",
        head=("Method", *(group.name for group in found.groups), f"Worst [{level}]", f"Gap [{level}]", *versus),
        align="l" + "r" * (len(found.groups) + 2 + len(versus)),
        groups=(("", tuple(rows)),),
        note=f"Test cases: {sizes}; without a value: {found.without:,}. Worst and gap are selected from all subgroups: "
        "their intervals allow for that (docs/statistics.md), and are wider than needed where subgroups are about as "
        "good as one another. Gap: best minus worst, in the direction of the metric. Subgroups are exploratory: they "
        "support no claim.",
        name=f"{SHIFT_STEM}subgroups_{stem}",
    )


def scopes(found: ShiftFindings) -> str:
    """What the intervals of the section hold for."""
    if found.analysis is None:
        return ""
    kinds = widest_first(one.pair.drawn for one in found.analysis.comparisons if one.pair.interval is not None)
    return f"Intervals hold for {'; or for '.join(map(scope_phrase, kinds))}." if kinds else ""
