"""Tables along an axis: training sizes, networks, domains that were held out in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.comparison.compare import Analysis
from analysis.comparison.evidence import DeclaredPlan
from analysis.comparison.held_out_domains import NewDomains
from analysis.comparison.networks import OnNetworks
from analysis.comparison.training_sizes import CurveFindings, Saved, whole_numbers
from analysis.stats.learning_curve import ImagesNeeded
from analysis.tables.cells import CORRECTIONS, outcome, p_text, span
from harness.pages.contents import NOT_AVAILABLE, PageTable, Row, count, number

AXIS_STEMS = ("areas_", "images_saved_", "networks_interaction", "held_out_")
"""How the names of these tables begin, which belong into a paper."""


def areas(found: CurveFindings, plan: DeclaredPlan, stem: str) -> PageTable:
    """The area under each learning curve, and its difference from that of the second of the declared pair."""
    level = f"{100 * plan.confidence:g} % interval"
    control = plan.family == "vs_control"
    against = {one.first: one for one in found.differences} if control else {}
    rows: list[Row] = []
    for one in found.areas:
        other = against.get(one.method)
        difference = (
            (number(other.estimate.estimate), span(other.estimate, 4), p_text(other.p_adjusted))
            if other is not None
            else ("", "", "")
        )
        rows.append((one.method, number(one.estimate.estimate), span(one.estimate, 4), *difference))
    family = max((one.family for one in found.differences), default=0)
    sizes = ", ".join(f"{size:,}" for size in found.sizes)
    return PageTable(
        caption=f"{found.dataset}: area under the learning curve ({plan.label(plan.metric)} over log training size).",
        head=("Method", "Area", level, f"Minus that of {plan.control}" if control else "", level, "p adjusted"),
        align="l" + "r" * 5,
        groups=(("", tuple(rows)),),
        note=f"Training images: {sizes}. The area of the trapezoids over the logarithm of the size, divided by its "
        f"width: a mean score. p adjusted: {CORRECTIONS[plan.correction]}, family of {family}.",
        name=f"areas_{stem}",
    )


def images_saved(found: CurveFindings, plan: DeclaredPlan, stem: str) -> PageTable | None:
    """How many images the control needs to score as each method does; None without a control."""
    if not found.saved:
        return None
    rows: list[Row] = []
    for one in found.saved:
        rows.append((one.method, count(one.needed.size), needed_text(one, found.sizes), range_text(one, found.sizes)))
    return PageTable(
        caption=f"{found.dataset}: training images that {plan.control} needs to score as a method does.",
        head=("Method", "Its images", f"{plan.control} needs", f"{100 * plan.confidence:g} % interval"),
        align="lrrr",
        groups=(("", tuple(rows)),),
        note=f"Read from the learning curve of {plan.control}, a straight line over the logarithm of the size between "
        "those that were trained. Not reached: not even at the largest. The interval has the sizes at which the two "
        "are not shown to differ, and is not corrected for the number of rows; an end that is open says that the data "
        "do not exclude sizes beyond those trained.",
        name=f"images_saved_{stem}",
    )


def needed_text(one: Saved, sizes: Sequence[int]) -> str:
    """``480``, ``not reached with 2,800``, or ``at most 70``."""
    found = whole_numbers(one.needed)
    if found.estimate is not None:
        return count(found.estimate)
    return f"at most {sizes[0]:,}" if found.reached else f"not reached with {sizes[-1]:,}"


def range_text(one: Saved, sizes: Sequence[int]) -> str:
    """Both ends, open ones in words."""
    found: ImagesNeeded = whole_numbers(one.needed)
    low = f"below {sizes[0]:,}" if found.low is None else count(found.low)
    high = f"above {sizes[-1]:,}" if found.high is None else count(found.high)
    return f"[{low}, {high}]"


def networks(found: Sequence[OnNetworks], plan: DeclaredPlan) -> PageTable | None:
    """The verdicts network by network, and the test that the difference is the same on all; None without any."""
    if not found:
        return None
    names = list(dict.fromkeys(name for one in found for name in one.comparisons))
    groups: dict[str, list[Row]] = {}
    for one in found:
        cells = []
        for name in names:
            own = one.comparisons.get(name)
            estimate = None if own is None else own.pair.estimate
            cells.append(
                NOT_AVAILABLE
                if own is None or estimate is None
                else f"{number(estimate.estimate, 3)} {span(estimate, 3)}, {outcome(own)}"
            )
        groups.setdefault(one.dataset, []).append(
            (f"{one.first} vs {one.second}", *cells, one.everywhere or "differs", p_text(one.p_adjusted))
        )
    family = max(one.family for one in found)
    return PageTable(
        caption=f"{plan.label(plan.metric)}: the declared comparisons by network.",
        head=("Comparison", *names, "On every network", "p interaction"),
        align="l" + "l" * len(names) + "lr",
        groups=tuple((dataset, tuple(rows)) for dataset, rows in groups.items()),
        note="On every network: the verdict where it is the same on each of these networks; none beyond them was "
        "drawn. p interaction: that the difference is the same on all, by the change between two networks that is "
        "clearest (same seeds, same cases), corrected for their pairs, then "
        f"{CORRECTIONS[plan.correction]} for {family}. That no change was shown does not mean that there is none.",
        name="networks_interaction",
    )


def held_out_domains(analysis: Analysis, domains: Mapping[str, str], new: Sequence[NewDomains], stem: str) -> PageTable:
    """Each method on each domain that was held out, their mean and the worst of them."""
    plan = analysis.evidence.plan
    known = {(one.dataset, one.method): one.mean for one in analysis.scores if one.metric == plan.metric}
    over = {one.first: one for one in new if plan.family == "vs_control"}
    worst = min if plan.higher_is_better(plan.metric) else max
    rows: list[Row] = []
    for method in analysis.evidence.ordered:
        means = [known.get((label, method)) for label in domains]
        defined = [mean for mean in means if mean is not None]
        whole = len(defined) == len(means) and bool(means)
        other = over.get(method)
        shown = None if other is None else other.estimate
        rows.append(
            (
                method,
                *(number(mean, 3) for mean in means),
                number(float(np.mean(defined)), 3) if whole else NOT_AVAILABLE,
                number(worst(defined), 3) if whole else NOT_AVAILABLE,
                *(() if not over else (f"{number(shown.estimate, 3)} {span(shown, 3)}" if shown else "",)),
            )
        )
    said = dict.fromkeys(one.caution.sentence for one in new if one.caution is not None)
    about = (f"Minus {plan.control}, new domains",) if over else ()
    return PageTable(
        caption=f"{plan.label(plan.metric)} on each domain that was held out, trained on all others.",
        head=("Method", *domains.values(), "Mean", "Worst", *about),
        align="l" + "r" * (len(domains) + 2 + len(about)),
        groups=(("", tuple(rows)),),
        note="Mean and worst are of these domains. "
        + (
            " ".join(said)
            or "New domains: each domain is one observation, and the variance allows for the training images that they "
            "share (Nadeau and Bengio 2003)."
        ),
        name=f"held_out_{stem}",
    )
