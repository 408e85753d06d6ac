"""How names, numbers, scopes and verdicts are put into a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from analysis.comparison.compare import Analysis
from analysis.comparison.evidence import DeclaredPlan, Evidence
from analysis.comparison.robustness import Robustness
from analysis.comparison.scores import Pair
from analysis.comparison.verdicts import Comparison
from analysis.stats.cautions import EXACT_TEST_SEEDS, VERDICT_REPLICATES, Caution
from analysis.stats.estimate import Estimate
from analysis.stats.paired import ENUMERATED_PAIRS, MOST_PAIRS, SIGN_PATTERNS
from analysis.stats.ranks import Friedman
from analysis.stats.scopes import DrawnAnew, scopes_phrase
from analysis.stats.scopes import listed as listed
from harness.pages.contents import number
from harness.run.record_values import NetworkRecord

MOST_DECIMALS = 6


def counted(amount: int, noun: str) -> str:
    """``1 dataset``, ``2 datasets``, ``3 searches``, ``4 classes``, with separated thousands."""
    return f"{amount:,} {noun}{'' if amount == 1 else 'es' if noun.endswith(('search', 'class')) else 's'}"


def seeds_phrase(seeds: Sequence[int]) -> str:
    """Seeds in ascending order: a range where they are consecutive, else each one."""
    if len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"{seeds[0]} to {seeds[-1]}"
    return listed([str(seed) for seed in seeds])


def network_phrase(backbone: NetworkRecord) -> str:
    """A backbone of a sweep: name, stem, where its weights come from, and a normalisation that the file gives.

    A file is known by its name alone: its folders are nobody else's business.
    """
    weights = backbone.get("weights")
    if weights is None:
        origin = "random weights"
    elif isinstance(weights, Mapping):
        source = weights["dataset"]
        options = f", {plain(source['options'])}" if source.get("options") else ""
        origin = f"trained in this run on {source['dataset']}{options}"
    else:
        # A repository of the Hub has a slash in its name, too.
        origin = f"weights {weights if weights.startswith('hf-hub:') else PurePath(weights).name}"
    mean, std = backbone.get("mean"), backbone.get("std")
    if mean is not None and std is not None:
        origin += f", images normalised by mean {_channels(mean)} and SD {_channels(std)}"
    stem = " with a 3 × 3 stem for small images" if backbone.get("stem") == "small" else ""
    return f"{backbone['name']}{stem} ({origin})"


def _channels(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def plain(value: Any) -> str:
    """Plain data on one line, mappings by key."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {plain(entry)}" for name, entry in sorted(value.items()))
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "none"}[value]
    return str(value)


def p_phrase(p: float, alpha: float) -> str:
    """``p = 0.003``, ``p < 0.001``, ``p > 0.999``; more digits where rounding would put it on the wrong side of alpha.

    Args:
        p: in [0, 1].
        alpha: the level that it is compared with.
    """
    least = min(0.001, alpha)
    if p < least:
        return f"p < {least:g}"
    if p > 0.999:
        return "p > 0.999"
    for digits in range(3, 8):
        shown = float(f"{p:.{digits}f}")
        if shown > 0 and (p == alpha or shown != alpha):
            return f"p = {p:.{digits}f}"
    return f"p {'<' if p < alpha else '>'} {alpha:g}"


def friedman_phrase(test: Friedman, alpha: float) -> str:
    """Friedman's test as a paper cites it: both statistics with their degrees of freedom, and each p value."""
    f = "is infinite, as all datasets rank alike" if math.isinf(test.f) else f"= {number(test.f, 3)}"
    exact = "" if test.p_exact is None else f"; exact {p_phrase(test.p_exact, alpha)}"
    return (
        f"chi-squared({test.df}) = {number(test.chi2, 3)}, {p_phrase(test.p_chi2, alpha)}; "
        f"F({test.df}, {test.df_2}) {f}, {p_phrase(test.p_f, alpha)}{exact}"
    )


def decimals(estimate: Estimate) -> int:
    """Decimal places that show two digits of the interval's half width, more where an end would be shown as zero."""
    half = estimate.half_width(estimate.confidence)
    if not half:
        return 3
    digits = min(MOST_DECIMALS, max(0, 1 - math.floor(math.log10(half))))
    ends = [end for end in (estimate.low, estimate.high) if end is not None and abs(end) > 1e-9]
    while digits < MOST_DECIMALS and any(round(end, digits) == 0 for end in ends):
        digits += 1
    return digits


def evidence_phrase(one: Comparison, plan: DeclaredPlan, *, size: bool) -> str:
    """The numbers of a comparison that was made: difference, interval, p value.

    Args:
        one: with an estimate.
        plan: level and correction.
        size: turns the interval with the sign of the difference, which is then left to the caller to print without
            it (``0.05 higher``); else the difference is printed, first minus second.
    """
    estimate = one.pair.estimate
    assert estimate is not None
    digits, parts = decimals(estimate), []
    if not size:
        parts.append(f"difference {number(estimate.estimate, digits)}")
    if estimate.low is not None and estimate.high is not None:
        low, high = (-estimate.high, -estimate.low) if size and estimate.estimate < 0 else (estimate.low, estimate.high)
        level = f"{100 * estimate.confidence:g} % interval"
        parts.append(f"{level} {number(low, digits)} to {number(high, digits)}")
    p = one.equivalence_p_adjusted if one.outcome == "equivalent" else one.p_adjusted
    if p is not None:
        parts.append(f"{'' if plan.correction == 'none' else 'adjusted '}{p_phrase(p, plan.alpha)}")
    return ", ".join(parts)


def exact_test_limits(pairs: Sequence[Pair]) -> Iterator[str]:
    """Where the exact tests over paired seeds are not exact, and where and why there are none."""
    compared = [pair for pair in pairs if pair.estimate is not None and pair.dataset is not None]
    made = {len(pair.seeds) for pair in compared if pair.alone}
    if any(pair.sign_flip is not None and pair.sign_flip.patterns is not None for pair in pairs):
        yield (
            f"Above {ENUMERATED_PAIRS} paired seeds the sign-flip test counts {SIGN_PATTERNS:,} random sign patterns "
            "and the observed one (Phipson and Smyth 2010); Wilcoxon's stays exact."
        )
    if any(seeds < EXACT_TEST_SEEDS for seeds in made):
        yield (
            f"With fewer than {EXACT_TEST_SEEDS} paired seeds no exact test was made, because it could not reach 0.05."
        )
    if any(seeds > MOST_PAIRS for seeds in made):
        yield f"With more than {MOST_PAIRS:,} paired seeds no exact test was made, because it would take too long."
    if any(pair.drawn.sets for pair in compared):
        yield (
            "Where replicates have different splits no exact test was made, because their training sets overlap and "
            "the replicates are not independent."
        )
    if any(not pair.alone and not pair.drawn.sets for pair in compared):
        yield (
            "Where several replicates share a search no exact test was made, because such replicates are not "
            "independent."
        )


def open_question(one: Comparison, plan: DeclaredPlan) -> str:
    """Why nothing was concluded from a comparison that was made, as a clause."""
    estimate = one.pair.estimate
    assert estimate is not None
    noise = next((caution for caution in one.cautions if caution.code == "below_repeat_noise"), None)
    if noise is not None:
        return noise.sentence[0].lower() + noise.sentence[1:].rstrip(".")
    if estimate.standard_error is None:
        return "the paired differences show no spread to judge by"
    if one.detectable is None:
        return "what could have been found is not known"
    if one.pair.replicates < VERDICT_REPLICATES:
        return f"{counted(one.pair.replicates, one.pair.unit)} cannot carry a verdict"
    return f"the study had 80 % power {found_with_power([one.detectable], one.pair.metric, plan, decimals(estimate))}"


def found_with_power(detectable: Sequence[float], metric: str, plan: DeclaredPlan, digits: int) -> str:
    """``only for differences of at least 0.078``, or beyond what the metric can take.

    Args:
        detectable: the smallest differences of one or more comparisons that are found with 80 % power.
        metric: whose.
        plan: what is said of it.
        digits: decimal places.
    """
    low, high = plan.facts(metric).bounds
    least, most = min(detectable), max(detectable)
    if least > high - low:
        return "only for differences beyond the range of this metric"
    if number(least, digits) == number(most, digits):
        return f"only for differences of at least {number(least, digits)}"
    reached = number(most, digits) if most <= high - low else "more than this metric can take"
    return f"only for differences of at least {number(least, digits)} to {reached}, depending on the pair"


def higher_or_lower(one: Comparison, plan: DeclaredPlan) -> str:
    """``higher``, or ``lower (better)``: where the first method of a decided comparison scored; judged where less is
    better.
    """
    if plan.higher_is_better(one.pair.metric):
        return "higher" if one.outcome == "better" else "lower"
    return "lower (better)" if one.outcome == "better" else "higher (worse)"


def scope_note(analysis: Analysis) -> str:
    """What the intervals and verdicts of a section hold for, and given what; empty without any."""
    where: dict[DrawnAnew, list[str]] = {}
    for one in analysis.comparisons:
        if one.pair.interval is not None and one.pair.dataset is not None:
            where.setdefault(one.pair.drawn, []).append(one.pair.dataset)
    if not where:
        return ""
    return f"Intervals and verdicts hold for {scopes_phrase(where)}. {_not_drawn(list(where))}"


def _not_drawn(kinds: Sequence[DrawnAnew]) -> str:
    """What no interval draws anew."""
    fixed = ["datasets"]
    if not any(kind.search for kind in kinds):
        fixed.insert(0, "searches")
    if not any(kind.sets for kind in kinds):
        fixed = ["training sets", "splits", *fixed]
    return f"New {listed(fixed)} were not drawn."


def refusal(one: Comparison) -> Caution:
    """Why a comparison could not be made; of one without an estimate."""
    return one.cautions[0]


def datasets_phrase(evidence: Evidence) -> str:
    """All datasets of a comparison, as ``labels_phrase`` has them."""
    return labels_phrase(len(evidence.datasets), len(set(evidence.in_file)), len(evidence.sources))


def labels_phrase(labels: int, datasets: int, sources: int) -> str:
    """``these 6 datasets`` or ``these 6 tasks of 2 datasets``, and of how many sources they are where these are fewer.

    Args:
        labels: how many the comparison has.
        datasets: of the sweep file, of which they are tasks.
        sources: of these.
    """
    of = f" of {counted(sources, 'source')}" if sources < datasets else ""
    return f"these {tasks_phrase(labels, datasets)}{of}"


def tasks_phrase(labels: int, datasets: int) -> str:
    """``6 datasets``, or ``6 tasks of 2 datasets``; as ``labels_phrase``."""
    return (
        f"{counted(labels, 'task')} of {counted(datasets, 'dataset')}"
        if datasets < labels
        else counted(datasets, "dataset")
    )


def place_phrase(pair: Pair) -> str:
    """``on D``, or ``on average over these D datasets``."""
    if pair.dataset:
        return f"on {pair.dataset}"
    return f"on average over {labels_phrase(len(pair.datasets), pair.in_file, pair.sources)}"


def reversal(one: Robustness, plan: DeclaredPlan) -> str | None:
    """The checks that give the opposite verdict, as a phrase; None where none does."""
    if not one.contradicted:
        return None
    opposite = {"better": "worse", "worse": "better"}[one.comparison.outcome]
    names = [check.what for check in one.checks if check.comparison.outcome == opposite]
    return listed([circumstance(name, plan) for name in names])


def circumstance(what: str, plan: DeclaredPlan) -> str:
    """Under which other look at the data a verdict was judged again (``Check.what``)."""
    first, _, rest = what.partition(" ")
    if first == "by":
        return f"when judged by {plan.phrase(rest)}"
    return what if first == "without" else f"with {what} alone"
