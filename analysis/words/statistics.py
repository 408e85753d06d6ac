"""What the statistics of a comparison were, in sentences for a methods section."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.comparison.compare import Analysis
from analysis.comparison.new_datasets import ranks_of
from analysis.comparison.phrases import (
    counted,
    datasets_phrase,
    exact_test_limits,
    friedman_phrase,
    listed,
)
from analysis.comparison.scores import Interval
from analysis.stats.cautions import POPULATION_DATASETS, VERDICT_REPLICATES
from analysis.stats.scopes import DrawnAnew, scope_phrase, widest_first
from harness.core.origin import one_of

_CORRECTIONS = {"holm": "Holm's method", "bonferroni": "Bonferroni's method"}


def statistics_sentences(analysis: Analysis) -> list[str]:
    """Metric, intervals, tests, corrections and outcomes as far as they were used; empty without a comparison."""
    if not analysis.comparisons:
        return []
    return [*_intervals(analysis), *_tests(analysis), *_outcomes(analysis), *_across(analysis)]


def _intervals(analysis: Analysis) -> Iterator[str]:
    plan = analysis.evidence.plan
    level = f"{100 * plan.confidence:g} %"
    used: dict[Interval, dict[str, None]] = {}
    drawn: dict[Interval, set[DrawnAnew]] = {}
    for one in analysis.comparisons:
        if one.pair.interval is not None:
            used.setdefault(one.pair.interval, {})[one.pair.metric] = None
            drawn.setdefault(one.pair.interval, set()).add(one.pair.drawn)
    scopes = {kind: "; or ".join(map(scope_phrase, widest_first(own))) for kind, own in drawn.items()}
    yield f"The primary metric was {plan.phrase(plan.metric)}."
    several = used.get("over_images", {}) | used.get("over_splits", {}) | used.get("over_searches", {})
    if "over_images" in used:
        yield (
            f"For {listed([plan.phrase(name) for name in used['over_images']])}{_on(analysis, 'over_images')}, "
            "differences were paired by replicate, both methods on the same split, each with a search of its own "
            f"there: {level} intervals for {scopes['over_images']}. What splits have in common was estimated from the "
            "test images that they share, as in reader studies in which not every reader reads every case (Gallas "
            "2006), and training images were counted as test images are, added up, because no data tell what shared "
            "ones do (Bengio and Grandvalet 2004)."
        )
    if "over_splits" in used:
        yield (
            f"For {listed([plan.phrase(name) for name in used['over_splits']])}{_on(analysis, 'over_splits')}, "
            "differences were "
            f"paired by replicate, both methods on the same split: {level} intervals for {scopes['over_splits']}. As "
            "the training sets of K splits overlap, the variance between splits counts with 1/K plus the number of "
            f"held-out images for each training image ({_overlaps(analysis)}; Nadeau and Bengio 2003), "
            f"on K − 1 degrees of freedom{_shared(analysis)}."
        )
    if "over_searches" in used:
        yield (
            f"For {listed([plan.phrase(name) for name in used['over_searches']])}{_on(analysis, 'over_searches')}, "
            "differences were paired by replicate, both methods on the same split, and averaged by search, as each "
            f"search served several splits: {level} intervals for {scopes['over_searches']}. As splits overlap, the "
            "variance of the mean over searches is larger by that between the splits of one search times the number of "
            f"held-out images for each training image ({_overlaps(analysis)}; Nadeau and Bengio 2003), with "
            "Satterthwaite's degrees of freedom."
        )
    two_way = used.get("two_way", {})
    if two_way:
        names = listed([plan.phrase(name) for name in two_way])
        yield (
            f"For {names}{_on(analysis, 'two_way')}, differences were paired by seed and test case and analysed by "
            "the two-way random-effects analysis used for multi-reader multi-case studies, with seeds in the place of "
            "readers (Dorfman, Berbaum and Metz 1992; Obuchowski and Rockette 1995): "
            f"{level} intervals for {scopes['two_way']}."
        )
        if any(kind.search for kind in drawn["two_way"]):
            yield (
                "Where searches were drawn anew, replicates stand for searches and their trainings; those that share a "
                "search count as one."
            )
        entered = (facts.pseudo_values for facts in plan.known.values() if facts.name in two_way)
        through = listed([phrase for phrase in entered if phrase is not None])
        if through:
            names = through[0].upper() + through[1:]
            yield (
                f"{names} entered as pseudo-values, a value for each case whose mean is the metric exactly: the metric "
                "plus the case's first-order influence on it (Hampel 1974)."
            )
    if two_way or several:
        yield (
            "Intervals and two-sided p values average over the uncertainty of the variance components "
            "(Behrens-Fisher; Fisher 1935). Intervals of scores are found on the logit scale and stay within the range "
            "of the metric."
        )
    if "t_over_seeds" in used:
        names = listed([plan.phrase(name) for name in used["t_over_seeds"]])
        everywhere = len(used) == 1
        where = "" if everywhere else ", where an analysis of single cases was not possible"
        yield f"For {names}{where}, Student's t intervals over seeds make a narrower claim: {scopes['t_over_seeds']}."
        own = [plan.phrase(name) for name in used["t_over_seeds"] if plan.facts(name).recorded_only]
        if own:
            yield (
                f"A plugin defines {listed(own)}; a report runs no plugin, and reads the values that were recorded for "
                "each training."
            )
    decided = [plan.phrase(name) for name in dict.fromkeys(one.pair.metric for one in analysis.comparisons)
               if not plan.facts(name).by_case]  # fmt: skip
    if decided:
        yield (
            f"The threshold of {listed(decided)} was fixed for each training on its own validation predictions, and "
            "never on test images; the values are those that were recorded."
        )


def _on(analysis: Analysis, kind: Interval) -> str:
    """Where intervals of a kind are, where replicates have several splits on some datasets, and others not."""
    evidence = analysis.evidence
    own: dict[str, set[Interval | None]] = {
        name: {one.pair.interval for one in analysis.of("primary", name)} for name in evidence.datasets
    }
    names = [name for name, kinds in own.items() if kind in kinds]
    varied = any(kinds & {"over_images", "over_splits", "over_searches"} for kinds in own.values())
    return f" on {listed(names)}" if varied and 0 < len(names) < len(evidence.datasets) else ""


def _splits(analysis: Analysis, dataset: str) -> int:
    return max((one.pair.splits for one in analysis.of("primary", dataset)), default=1)


def _overlaps(analysis: Analysis) -> str:
    """Test images for each training image, by dataset where they differ."""
    overlap = analysis.evidence.overlap
    known = {name: f"{overlap[name]:.2g}" for name in analysis.evidence.datasets if _splits(analysis, name) > 1}
    if len(set(known.values())) == 1:
        return next(iter(known.values()))
    return ", ".join(f"{value} on {name}" for name, value in known.items())


def _shared(analysis: Analysis) -> str:
    """How replicates of one split enter, where there are any."""
    if all(one.pair.splits in (1, len(one.pair.seeds)) for one in analysis.comparisons):
        return ""
    return "; a one-way analysis of variance tells it from what varies between trainings on one split"


def _tests(analysis: Analysis) -> Iterator[str]:
    plan = analysis.evidence.plan
    primary = analysis.of("primary")
    declared = [one for one in primary if one.declared]
    family = counted(declared[0].family, "declared comparison") if declared else "the declared comparisons"
    stated = (
        "was declared before there were results" if plan.beforehand else "was stated with the analysis, not beforehand"
    )
    if plan.correction == "none":
        yield f"At level {plan.alpha:g}, p values were not corrected for the {family}; this family {stated}."
    else:
        yield (
            f"p values were corrected by {_CORRECTIONS[plan.correction]} for the family of {family} at level "
            f"{plan.alpha:g}; the family {stated}. Intervals are not corrected."
        )
    if any(one.role == "secondary" for one in analysis.comparisons):
        yield "Each other metric is secondary and a family of its own."
    if any(one.role == "exploratory" for one in analysis.comparisons):
        yield "Pairs outside the family are exploratory."
    if len(declared) < len(primary):
        yield (
            f"{counted(len(primary) - len(declared), 'comparison')} of the family rest on something that was changed "
            "after the declaration; these are exploratory and corrected for all pairs of methods on all datasets."
        )
    if any(one.pair.sign_flip is not None for one in analysis.comparisons):
        yield "Exact sign-flip and Wilcoxon signed-rank tests over the paired seeds are given as well, uncorrected."
    yield from exact_test_limits([one.pair for one in analysis.comparisons])


def _outcomes(analysis: Analysis) -> Iterator[str]:
    plan = analysis.evidence.plan
    if plan.margin is None:
        yield "No margin was declared, so equivalence was not tested."
    else:
        corrected = "" if plan.correction == "none" else ", corrected in the same way"
        stated = "" if plan.beforehand else ", a margin stated with the analysis, not beforehand"
        yield (
            f"Two methods were called equivalent where two one-sided tests (Schuirmann 1987{corrected}) put the "
            f"difference in {plan.phrase(plan.metric)} within ±{plan.margin:g}{stated}."
        )
    step = "" if plan.correction == "none" else " at the first step of the correction"
    yield (
        "A comparison that showed neither a difference nor equivalence is called inconclusive, and the smallest true "
        f"difference that its design finds with 80 % power{step} is given beside it."
    )
    yield (f"Fewer than {VERDICT_REPLICATES} replicates carry no verdict.")


def _across(analysis: Analysis) -> Iterator[str]:
    evidence = analysis.evidence
    sources = len(evidence.sources)
    if len(evidence.datasets) < 2:
        return
    noun = evidence.unit
    for source, labels in evidence.sources.items():
        if len(labels) > 1:
            same = any(known == source for known, _, _ in analysis.exact_means)
            how = (
                "case by case, as their test cases are the same"
                if same
                else "with the mean of their standard errors, a bound on that of their mean whatever their cases share"
            )
            are = one_of(source, [evidence.in_file_of(label) for label in labels])
            yield f"{listed(labels)} are {are} and count once: they are averaged first, {how}."
    if analysis.averages:
        yield (
            f"Averages over {datasets_phrase(evidence)} take the {noun}s as fixed, belong to the same family "
            "and say nothing about other datasets."
        )
    if sources < POPULATION_DATASETS:
        yield (
            "No ranks over the datasets, no Friedman test and no critical-difference diagram are given: with fewer "
            f"than {POPULATION_DATASETS} {noun}s they have next to no power and speak for no population."
        )
    else:
        yield (
            f"Claims about new datasets rest on the {sources} mean differences alone (Student's t, a family of their "
            "own) and on mean ranks (Friedman 1937, corrected for ties; F of Iman and Davenport 1980; Nemenyi's "
            "critical difference, Demsar 2006)."
        )
        ranks = ranks_of(analysis)
        if ranks is not None:
            yield (
                f"Friedman's test of the mean ranks of {len(ranks.methods)} methods: "
                f"{friedman_phrase(ranks.test, analysis.evidence.plan.alpha)}."
            )
