"""What a run says of its comparison: the question, the numbers behind it, what was found.

Each teller gives None where the run does not know.
"""

from __future__ import annotations

from collections.abc import Iterable

from analysis.checklists.form import FINDINGS, LIMITS, METHODS, Reply, answer, of_run
from analysis.checklists.known import Known
from analysis.comparison.phrases import circumstance, counted, decimals, found_with_power, listed
from analysis.runs.conduct import Conduct
from analysis.stats.scopes import scope_phrase
from analysis.tables.cells import sizes, span
from analysis.words.findings import question, results_paragraphs
from analysis.words.limitations import limitations
from analysis.words.methods import compared
from analysis.words.statistics import statistics_sentences
from harness.pages.contents import number


def design(known: Known) -> Reply | None:
    """Which methods were compared on what."""
    return answer(compared(known.analysis, known.conduct), METHODS)


def asked(known: Known) -> Reply | None:
    """The question of the declared comparisons, and the declared hypotheses."""
    hypotheses = () if known.locked is None else known.locked.declared["hypotheses"]
    own = [f"Declared hypothesis {place}: {text}" for place, text in enumerate(hypotheses, start=1)]
    return answer((*own, *question(known.analysis)[:1]), FINDINGS)


def found(known: Known) -> Reply | None:
    """The question and its answer in one sentence."""
    return answer(question(known.analysis), FINDINGS)


def test_cases(known: Known) -> Reply | None:
    """How many seeds and test cases are behind the comparison."""
    said = sizes(known.analysis) if known.analysis.scores else ""
    return answer((f"Behind the scores: {said}." if said else "",), FINDINGS)


def power(known: Known) -> Reply | None:
    """What differences the design can find, and on how many cases it rests."""
    plan, groups = known.analysis.evidence.plan, []
    for name in known.analysis.evidence.datasets:
        own = [one for one in known.analysis.of("primary", name) if one.detectable is not None]
        estimates = [one.pair.estimate for one in own if one.pair.estimate is not None]
        if own and estimates:
            least = [one.detectable for one in own if one.detectable is not None]
            digits = max(map(decimals, estimates))
            groups.append(f"{name}: 80 % power {found_with_power(least, plan.metric, plan, digits)}.")
    size = test_cases(known)
    return answer((*(size.sentences if size else ()), *groups), "Seeds and power")


def metrics(known: Known) -> Reply | None:
    """The primary metric, and what else was computed."""
    plan = known.analysis.evidence.plan
    facts = plan.facts(plan.metric)
    others = [plan.phrase(name) for name in plan.metrics if name != plan.metric]
    beside = f" Secondary: {listed(others)}." if others else ""
    return Reply((f"Primary: {facts.phrase} ({facts.direction}).{beside}",), (METHODS,))


def statistics(known: Known) -> Reply | None:
    """Intervals, tests, corrections."""
    return answer(statistics_sentences(known.analysis), METHODS)


def scopes(known: Known) -> Reply | None:
    """What the intervals draw anew."""
    kinds = dict.fromkeys(one.pair.drawn for one in known.analysis.comparisons if one.pair.interval is not None)
    return answer((f"Intervals are for {scope_phrase(kind)}." for kind in kinds), METHODS)


def robust(known: Known) -> Reply | None:
    """Whether verdicts hold under other circumstances."""
    looked = known.analysis.robustness
    checks = dict.fromkeys(check.what for one in looked for check in one.checks)
    held = sum(one.holds for one in looked)
    again = ", ".join(circumstance(what, known.analysis.evidence.plan) for what in checks)
    said = f"Verdicts were judged again {again}; {held} of {len(looked)} hold throughout." if checks else ""
    shifts = f"Models were also scored on: {listed(list(known.shifts))}." if known.shifts else ""
    return answer((said, shifts), "Comparisons")


def scores(known: Known) -> Reply | None:
    """Mean score and widest interval of every method on every dataset, and what is missing."""
    analysis, plan, parts = known.analysis, known.analysis.evidence.plan, []
    for name in analysis.evidence.datasets:
        own = []
        for method in analysis.evidence.methods:
            one = analysis.score(name, method)
            if one is not None and one.mean is not None:
                interval = "" if one.widest is None else f" {span(one.widest[1], 3)}"
                own.append(f"{method} {number(one.mean, 3)}{interval}")
        if own:
            level = f"{100 * plan.confidence:g} % interval"
            parts.append(f"{name}, {plan.phrase(plan.metric)}, mean [{level}]: {'; '.join(own)}.")
    return answer((*parts, *_gaps(known)), FINDINGS)


def _gaps(known: Known) -> Iterable[str]:
    """Studies without all of their results."""
    summary = known.summary
    if summary is None:
        return
    gaps = [f"{method} on {name}: not begun" for name, method in summary.absent]
    gaps += [f"{one.method} on {one.dataset}: {'; '.join(one.missing)}" for one in summary.studies if one.missing]
    if gaps:
        yield f"The run is not finished. Missing: {'. '.join(gaps)}."


def results(known: Known) -> Reply | None:
    """The declared comparisons in words."""
    if not known.analysis.of("primary"):
        return None
    return answer(results_paragraphs(known.analysis), FINDINGS)


@of_run
def mistakes(known: Known, conduct: Conduct) -> Reply | None:
    """Where wrong answers can be looked at, and what failed for good."""
    failed = () if known.summary is None else known.summary.failures
    trials = f"{counted(len(failed), 'trial')} failed for good." if failed else "No trial failed for good."
    names = listed(list(known.analysis.evidence.datasets))
    return answer(
        (
            f"The report has the confusion matrix and the sensitivity of each class; python -m harness.cases shows the "
            f"test images of {names} that no method gets right.",
            trials,
        ),
        "Predictions", "Failures",
    )  # fmt: skip


def limits(known: Known) -> Reply | None:
    """What the design did not vary."""
    spec = None if known.conduct is None else known.conduct.spec
    return answer(limitations(known.analysis, spec), LIMITS)


def problem(known: Known) -> Reply | None:
    """Category of the problem: all that the program does."""
    names = listed(list(known.analysis.evidence.datasets))
    return Reply((f"Image-level classification, on {names}.",), ()) if names else None


def whole_images(known: Known) -> Reply | None:
    """Why properties of structures do not apply."""
    return Reply(("Not applicable: a class is given to a whole image.",), ())


def weighting(known: Known) -> Reply | None:
    """How the primary metric weighs classes."""
    plan = known.analysis.evidence.plan
    by_class = ("balanced_accuracy", "macro_f1", "auc")
    said = {
        **dict.fromkeys(by_class, "is a mean over classes, so that each weighs as much as every other"),
        "accuracy": "counts each image once, so that frequent classes weigh more",
    }
    return answer(
        (f"The primary metric, {plan.phrase(plan.metric)}, {said[plan.metric]}." if plan.metric in said else "",),
        METHODS,
    )


def calibration(known: Known) -> Reply | None:
    """Which computed metrics look at probabilities."""
    plan = known.analysis.evidence.plan
    names = ("nll", "brier", "ece", "calibration_slope_error", "calibration_intercept_error")
    own = [plan.phrase(name) for name in names if name in plan.metrics]
    return answer((f"Computed of the probabilities: {listed(own)}." if own else "",), "Predictions")
