"""The tables of differences: declared comparisons, those beside them, and every p value."""

from __future__ import annotations

from analysis.comparison.compare import Analysis
from analysis.comparison.phrases import datasets_phrase, listed
from analysis.comparison.verdicts import Comparison
from analysis.tables.cells import CORRECTIONS, UNCORRECTED, by_dataset, family, p_text, versus
from analysis.tables.differences import difference_table
from harness.pages.contents import PageTable, Row


def pairwise(analysis: Analysis) -> PageTable:
    """The declared family by the primary metric: a group a dataset, a row a comparison."""
    plan = analysis.evidence.plan
    return difference_table(
        analysis,
        by_dataset(analysis, analysis.of("primary")),
        f"{plan.label(plan.metric)}: the declared comparisons ({family(analysis)}).",
        "pairwise",
    )


def secondary(analysis: Analysis) -> PageTable:
    """The same pairs by the other metrics, each metric a family of its own; no claim rests on them."""
    plan = analysis.evidence.plan
    groups = [
        (f"{plan.label(metric)}, {dataset}", own)
        for metric in plan.metrics
        for dataset, every in by_dataset(analysis, analysis.of("secondary"))
        if (own := [one for one in every if one.pair.metric == metric])
    ]
    return difference_table(
        analysis,
        groups,
        f"Secondary metrics: the declared comparisons ({family(analysis)}) by other metrics.",
        "secondary",
        "No claim rests on secondary metrics: each of them was corrected on its own, not for there being several.",
    )


def exploratory(analysis: Analysis) -> PageTable:
    """Pairs outside the declared family by the primary metric."""
    plan = analysis.evidence.plan
    own = [one for one in analysis.of("exploratory") if one.pair.metric == plan.metric]
    return difference_table(
        analysis,
        by_dataset(analysis, own),
        f"{plan.label(plan.metric)}, exploratory: pairs outside the declared family.",
        "exploratory",
        "These pairs were not declared: they suggest what to test next and support no claim. "
        "Their other metrics are in the table of all p values.",
    )


def averages(analysis: Analysis) -> PageTable:
    """The declared comparisons averaged over the datasets, of one family with those on each dataset."""
    evidence = analysis.evidence
    names = f"{datasets_phrase(evidence)} ({listed(evidence.datasets)})"
    each = "each" if len(evidence.sources) == len(evidence.datasets) else f"each {evidence.unit}"
    groups = [("", list(analysis.averages))] if analysis.averages else []
    return difference_table(
        analysis,
        groups,
        f"{evidence.plan.label(evidence.plan.metric)}: the declared comparisons averaged over {names}.",
        "averages",
        f"The claim is about the average over {names}, {each} with the same weight, and about no other dataset.",
    )


def not_compared(analysis: Analysis) -> PageTable:
    """Pairs without a p value, and why."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for one in (*analysis.comparisons, *analysis.averages):
        if one.p is None:
            why = " ".join(caution.sentence for caution in one.pair.cautions) or "No p value could be computed."
            key = (one.pair.dataset or "Average over the datasets", versus(one.pair), why)
            reasons.setdefault(key, []).append(analysis.evidence.plan.label(one.pair.metric))
    names = dict.fromkeys(dataset for dataset, _, _ in reasons)
    return PageTable(
        caption="Pairs that could not be compared.",
        head=("Comparison", "Metric", "Why"),
        align="lll",
        groups=tuple(
            (
                name,
                tuple(
                    (pair, ", ".join(metrics), why)
                    for (dataset, pair, why), metrics in reasons.items()
                    if dataset == name
                ),
            )
            for name in names
        ),
        note="They stay in their family: leaving them out would make the p values of the others smaller.",
        name="not_compared",
    )


def all_p_values(analysis: Analysis) -> PageTable:
    """Every p value with its role and the size of its family."""

    def row(one: Comparison) -> Row:
        exact = (one.pair.sign_flip, one.pair.wilcoxon)
        return (
            versus(one.pair),
            one.role if one.declared or one.role == "exploratory" else f"exploratory ({one.role})",
            str(one.family),
            *(p_text(p, 6) for p in (one.p, one.p_adjusted)),
            *(p_text(p, 6) for p in (one.equivalence_p, one.equivalence_p_adjusted)),
            *(p_text(None if test is None else test.p, 6) for test in exact),
        )

    plan = analysis.evidence.plan
    groups = [
        (f"{plan.label(metric)}, {dataset}", [one for one in own if one.pair.metric == metric])
        for dataset, own in by_dataset(analysis, analysis.comparisons)
        for metric in plan.metrics
    ]
    if analysis.averages:
        groups.append((f"{plan.label(plan.metric)}, average over the datasets", list(analysis.averages)))
    return PageTable(
        caption="Every p value.",
        head=(
            "Comparison",
            "Role",
            "Family",
            "p",
            "p adjusted",
            "TOST p",
            "TOST p adjusted",
            "Sign-flip p",
            "Wilcoxon p",
        ),
        align="ll" + "r" * 7,
        groups=tuple((name, tuple(map(row, own))) for name, own in groups),
        note=f"Two-sided, except TOST. Adjusted: {CORRECTIONS[plan.correction]}, with the family as printed. Role: "
        "primary (declared, primary metric), secondary (declared, another metric), exploratory (not declared, or "
        "resting on a later change), average (over the datasets, of one family with primary). Sign-flip and Wilcoxon "
        f"p: exact, over seeds alone, not corrected. {UNCORRECTED}",
        name="p_values",
    )
