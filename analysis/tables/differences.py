"""The layout that all tables of differences share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from analysis.comparison.compare import Analysis
from analysis.comparison.phrases import exact_test_limits, listed
from analysis.comparison.verdicts import Comparison
from analysis.stats.scopes import DrawnAnew
from analysis.tables.cells import CORRECTIONS, UNCORRECTED, Scopes, named, outcome, p_text, sizes, span
from harness.pages.contents import PageTable, number

_Column = tuple[str, str, Callable[[Comparison], str]]
_EXACT = "Sign-flip and Wilcoxon p: exact, over seeds alone, not corrected."
_SIGN = "Difference: first method minus second, in units of the metric."


def difference_table(
    analysis: Analysis, groups: Sequence[tuple[str, list[Comparison]]], caption: str, name: str, remark: str = ""
) -> PageTable:
    """One row a comparison: difference, interval, p values, effect sizes, outcome.

    Args:
        analysis: that they belong to.
        groups: heading → comparisons; those of dataset None are averages.
        caption: of the table.
        name: of its files.
        remark: first sentences of the note.
    """
    shown = [one for _, own in groups for one in own]
    scopes = Scopes.of(kind for one in shown for kind in _kinds(analysis, one))
    columns = _columns(analysis, shown, scopes)
    return PageTable(
        caption=caption,
        head=tuple(head for head, _, _ in columns),
        align="".join(letter for _, letter, _ in columns),
        groups=tuple(
            (label, tuple(tuple(text(one) for _, _, text in columns) for one in own)) for label, own in groups
        ),
        note=_note(analysis, shown, scopes, remark),
        name=name,
    )


def _columns(analysis: Analysis, shown: Sequence[Comparison], scopes: Scopes) -> list[_Column]:
    """The columns; those of tests that nobody could make are left out, and the note says so."""

    columns: list[_Column] = [
        ("Comparison", "l", named),
        ("Outcome", "l", outcome),
        ("Difference", "r", lambda one: number(one.pair.estimate.estimate if one.pair.estimate else None)),
        (
            f"{analysis.evidence.plan.confidence * 100:g} % interval",
            "r",
            lambda one: span(one.pair.estimate, 4, scopes.mark(one.pair.drawn)),
        ),
        ("p", "r", lambda one: p_text(one.p)),
        ("p adjusted", "r", lambda one: p_text(one.p_adjusted)),
        ("df", "r", lambda one: number(one.pair.estimate.df if one.pair.estimate else None, 1)),
    ]
    if any(one.equivalence_p is not None for one in shown):
        columns.append(("TOST p adjusted", "r", lambda one: p_text(one.equivalence_p_adjusted)))
    columns.append(("P(other sign)", "r", lambda one: p_text(one.wrong)))
    if any(one.within_margin is not None for one in shown):
        columns.append(("P(within margin)", "r", lambda one: p_text(one.within_margin)))
    columns.append(("Detectable", "r", lambda one: _detectable(one, analysis) if one.outcome == "inconclusive" else ""))
    if any(one.pair.effects is not None for one in shown):
        columns += [
            ("P(A>B)", "r", lambda one: number(one.pair.effects.probability_larger if one.pair.effects else None, 2)),
            ("d_z", "r", lambda one: number(one.pair.effects.d_z if one.pair.effects else None, 2)),
            ("g_z", "r", lambda one: number(one.pair.effects.g_z if one.pair.effects else None, 2)),
        ]
    if any(one.pair.sign_flip is not None for one in shown):
        columns += [
            ("Sign-flip p", "r", lambda one: p_text(one.pair.sign_flip.p if one.pair.sign_flip else None)),
            ("Wilcoxon p", "r", lambda one: p_text(one.pair.wilcoxon.p if one.pair.wilcoxon else None)),
        ]
    return columns


def _detectable(one: Comparison, analysis: Analysis) -> str:
    low, high = analysis.evidence.plan.facts(one.pair.metric).bounds
    return "none" if one.detectable is not None and one.detectable > high - low else number(one.detectable)


def _kinds(analysis: Analysis, one: Comparison) -> list[DrawnAnew]:
    """What the interval of a comparison draws anew; of an average also those that it was made of."""
    key = (one.pair.metric, one.pair.first, one.pair.second)
    pairs = [one.pair, *(other.pair for other in analysis.comparisons if one.pair.dataset is None)]
    same = (pair for pair in pairs if (pair.metric, pair.first, pair.second) == key)
    return [pair.drawn for pair in same if pair.interval is not None]


def _note(analysis: Analysis, shown: Sequence[Comparison], scopes: Scopes, remark: str) -> str:
    plan = analysis.evidence.plan
    families = sorted({one.family for one in shown})
    parts = [remark, scopes.sentence, _SIGN, f"{sizes(analysis)}."]
    lower = dict.fromkeys(plan.label(one.pair.metric) for one in shown if not plan.higher_is_better(one.pair.metric))
    if lower:
        parts.append(f"{', '.join(lower)}: lower is better, so that a negative difference favours the first method.")
    parts.append(
        f"p: two-sided; adjusted: {CORRECTIONS[plan.correction]}, family of {listed(list(map(str, families)))}. "
        "The outcome is that of the first method at the level "
        f"{plan.alpha:g}, after the correction; "
        "inconclusive: neither a difference nor equivalence was shown, and the smallest true difference that would be "
        "found with 80 % power at the first step of the correction stands under Detectable (none: none that the "
        "metric can take)."
    )
    if any(one.equivalence_p is not None for one in shown):
        parts.append(f"TOST: two one-sided tests of equivalence within ±{plan.margin:g}.")
    elif plan.margin is None:
        parts.append("No margin of equivalence was declared, so nothing can be called equivalent.")
    else:
        parts.append(f"The margin of equivalence was declared for {plan.facts(plan.metric).in_text} alone.")
    if any(one.pair.effects is not None for one in shown):
        parts.append(
            "P(A>B): fraction of seeds in which the first method has the larger value, ties counted half; "
            "d_z: mean over SD of the paired differences; g_z: the same with Hedges' correction. With two seeds "
            "neither has a meaning."
        )
        if any(one.pair.sign_flip is not None for one in shown):
            parts.append(_EXACT)
        parts.extend(exact_test_limits([one.pair for one in shown]))
    parts.append(UNCORRECTED)
    if any(one.wrong is not None for one in shown):
        parts.append(
            "P(other sign): posterior probability that the true difference is zero or has the other sign; within "
            "margin: that it is smaller than the margin (flat prior distributions, Box and Tiao 1973)."
        )
    return " ".join(part for part in parts if part)
