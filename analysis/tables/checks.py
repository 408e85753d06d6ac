"""The tables about the comparison itself: what it can detect, what its uncertainty is made of, what it withstands."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.comparison.compare import Analysis
from analysis.comparison.evidence import Cell, DeclaredPlan
from analysis.comparison.phrases import datasets_phrase, listed
from analysis.comparison.robustness import Robustness
from analysis.comparison.verdicts import Comparison
from analysis.stats.paired import seeds_for_exact_test, smallest_p
from analysis.tables.cells import by_dataset, named, outcome, p_text
from harness.pages.contents import NOT_AVAILABLE, Marked, PageTable, Row, count, number


def power(analysis: Analysis) -> PageTable:
    """What the declared comparisons could have found: seeds, cases, floor of exact tests, detectable difference."""
    plan = analysis.evidence.plan
    splits = any(one.pair.splits > 1 for one in analysis.of("primary"))
    dependent = any(one.pair.estimate is not None and not one.pair.alone for one in analysis.of("primary"))

    def row(one: Comparison) -> Row:
        tests = one.family if plan.correction != "none" else 1
        floor = smallest_p(len(one.pair.seeds)) if one.pair.alone else None
        return (
            named(one),
            count(len(one.pair.seeds)),
            *([count(one.pair.splits)] if splits else []),
            count(one.pair.cases),
            p_text(floor),
            p_text(None if floor is None else min(1.0, floor * tests)),
            count(seeds_for_exact_test(tests, plan.alpha) if one.pair.alone else None),
            number(one.detectable),
            number(None if one.pair.estimate is None else abs(one.pair.estimate.estimate)),
        )

    groups = by_dataset(analysis, analysis.of("primary"))
    narrow = any(one.pair.interval == "t_over_seeds" for _, own in groups for one in own)
    return PageTable(
        caption=f"What the declared comparisons by {plan.facts(plan.metric).in_text} could have found.",
        head=(
            "Comparison",
            "Paired seeds",
            *(["Splits"] if splits else []),
            "Test cases",
            "Smallest exact p",
            "After correction",
            "Seeds an exact test needs",
            "Detectable difference",
            "Observed difference",
        ),
        align="l" + "r" * (8 if splits else 7),
        groups=tuple((name, tuple(map(row, own))) for name, own in groups),
        note="Scope: as for each comparison"
        + ("; without test cases, retraining on this data, scored on this test set. " if narrow else ". ")
        + "Smallest exact p: what an exact test over so many seeds can give at best; after correction: at the first "
        f"step, for the whole family; seeds needed: so that this is at most {plan.alpha:g}"
        + ("; n/a where replicates have different splits or share a search. " if dependent else ". ")
        + "Detectable: smallest true "
        "difference found with 80 % power by the test of the primary analysis at the first step of the correction, "
        "in units of the metric, estimated from these data. Observed: without its sign.",
        name="power",
    )


def seed_sensitivity(analysis: Analysis) -> PageTable:
    """How much of the variance of each method's mean comes from seeds, cases and their interaction."""
    evidence = analysis.evidence

    def rows(dataset: str) -> tuple[Row, ...]:
        result: list[Row] = []
        for method in evidence.methods:
            score = analysis.score(dataset, method)
            if score is not None and score.spread is not None:
                shares = (score.spread.seed_share, score.spread.case_share, score.spread.interaction_share)
                result.append(
                    (
                        method,
                        Marked(number(score.sd), cell=f"{method}@{dataset}"),
                        *(number(100 * share, 1) for share in shares),
                        number(score.spread.standard_error),
                        number(score.spread.standard_error_with_endless_seeds),
                    )
                )
        return tuple(result)

    groups = tuple((dataset, rows(dataset)) for dataset in evidence.datasets)
    searched = any(score.spread is not None and score.drawn.search for score in analysis.scores)
    seed = " Seed: of training and, where it was drawn anew, of the search." if searched else ""
    measure = evidence.plan.facts(evidence.plan.metric)
    return PageTable(
        caption=f"Seed sensitivity: where the variance of each method's mean {measure.in_text} comes from.",
        head=("Method", "SD over seeds", "Seed, %", "Case, %", "Interaction, %", "SE now", "SE, endless seeds"),
        align="lrrrrrr",
        groups=tuple((dataset, own) for dataset, own in groups if own),
        note="Scope: retraining and new cases from the same source. Shares of the variance of the mean over the seeds "
        f"and cases at hand; components estimated below zero count as zero.{seed} Interaction: of seed and case, with "
        "pure chance in it. SE: standard error of the mean; with endless seeds that of the cases alone remains. "
        "SD over seeds is the spread of single trainings, not a measure of certainty.",
        name="seed_sensitivity",
    )


def robustness(analysis: Analysis) -> PageTable:
    """The verdict of each declared comparison by other metrics and with half of the seeds."""
    own = [one for one in analysis.robustness if one.comparison.role == "primary"]
    groups = [
        (name, [one for one in own if one.comparison.pair.dataset == name]) for name in analysis.evidence.datasets
    ]
    return _checked(
        analysis.evidence.plan,
        [group for group in groups if group[1]],
        "Do the verdicts hold by another metric and with half of the seeds?",
        "Scope: as for each comparison. A half of the seeds finds less, so that inconclusive there is no surprise. "
        "The margin of equivalence holds for the primary metric alone: by another, equivalent becomes inconclusive.",
        "robustness",
    )


def robustness_of_averages(analysis: Analysis) -> PageTable:
    """The verdict of each average with each source left out; empty below three sources."""
    evidence = analysis.evidence
    these = datasets_phrase(evidence)
    one = "one" if len(evidence.sources) == len(evidence.datasets) else f"one {evidence.unit}"
    own = [one for one in analysis.robustness if one.comparison.role == "average" and one.checks]
    return _checked(
        analysis.evidence.plan,
        [("", own)] if own else [],
        f"Do the verdicts on averages hold with each {evidence.unit} left out?",
        f"Scope: averaged over {these} ({listed(evidence.datasets)}), or all of them but {one}.",
        "robustness_averages",
    )


def nondeterminism(analysis: Analysis) -> PageTable:
    """How much repeating a trial with the same seed on the same kind of device changed each metric."""
    evidence = analysis.evidence
    metrics = evidence.plan.metrics

    def rows(cell: Cell) -> tuple[Row, ...]:
        return tuple(
            (
                Marked(cell.method, cell=f"{cell.method}@{cell.dataset}"),
                str(repeat.seed),
                repeat.device or "unknown",
                *(number(repeat.change.get(metric), 5) for metric in metrics),
            )
            for repeat in cell.repeats
        )

    groups = tuple(
        (dataset, tuple(row for cell in evidence.cells.values() if cell.dataset == dataset for row in rows(cell)))
        for dataset in evidence.datasets
    )
    return PageTable(
        caption="Nondeterminism: change of the test metrics when a trial is repeated with the same seed.",
        head=("Method", "Seed", "Device", *map(evidence.plan.label, metrics)),
        align="lrl" + "r" * len(metrics),
        groups=tuple((dataset, own) for dataset, own in groups if own),
        note="Scope: this training on this kind of device, scored on this test set. A difference of two methods that "
        "is not larger than the change of either is never called better or worse. 0: the repetition gave the same "
        "metric, to the last digit shown.",
        name="nondeterminism",
    )


def _checked(
    plan: DeclaredPlan, groups: Sequence[tuple[str, list[Robustness]]], caption: str, note: str, name: str
) -> PageTable:
    names = list(dict.fromkeys(check.what for _, own in groups for one in own for check in one.checks))

    def row(one: Robustness) -> Row:
        found = {check.what: outcome(check.comparison) for check in one.checks}
        return (
            named(one.comparison),
            outcome(one.comparison),
            _result(one),
            *(found.get(what, NOT_AVAILABLE) for what in names),
        )

    return PageTable(
        caption=caption,
        head=("Comparison", "Verdict", "Result", *(_head(what, plan) for what in names)),
        align="lll" + "l" * len(names),
        groups=tuple((label, tuple(map(row, own))) for label, own in groups),
        note=f"{note} Holds: the same verdict throughout; contradicted: a check says the opposite; weaker: a check no "
        "longer confirms the verdict; differs: an inconclusive verdict, and a check comes to another one.",
        name=name,
    )


def _head(what: str, plan: DeclaredPlan) -> str:
    words = f"by {plan.facts(what.removeprefix('by ')).in_text}" if what.startswith("by ") else what
    return words[:1].upper() + words[1:]


def _result(one: Robustness) -> str:
    if one.comparison.pair.estimate is None:
        return "not compared"
    if not one.checks:
        return "not checked"
    if one.holds:
        return "holds"
    if one.contradicted:
        return "contradicted"
    return "differs" if one.comparison.outcome == "inconclusive" else "weaker"
