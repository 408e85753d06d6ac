"""What is said along an axis: training sizes and networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.comparison.axes import HeldOut
from analysis.comparison.evidence import DeclaredPlan
from analysis.comparison.networks import OnNetworks
from analysis.comparison.phrases import counted, decimals, listed, p_phrase
from analysis.comparison.training_sizes import CurveFindings, Saved
from analysis.tables.axes import needed_text, range_text
from harness.pages.contents import number


def curve_sentences(found: CurveFindings, plan: DeclaredPlan) -> tuple[str, ...]:
    """Areas that differ, and what the control needs to score as each method does with the fewest images."""
    return tuple(" ".join(part) for part in (list(_areas(found, plan)), list(_saved(found, plan))) if part)


def network_sentences(found: Sequence[OnNetworks], plan: DeclaredPlan) -> tuple[str, ...]:
    """For each declared pair, whether the verdict is the same on every network, and whether the difference changes."""
    return tuple(_on_networks(one, plan) for one in found)


def held_out_sentences(found: HeldOut, plan: DeclaredPlan) -> tuple[str, ...]:
    """What the comparison over the domains as a sample of such domains says; nothing where there are too few."""
    adjusted = "" if plan.correction == "none" else "adjusted "
    said = []
    for one in found.pairs:
        if one.estimate is None or one.p_adjusted is None:
            continue
        words = f"{one.first} and {one.second} were not shown to differ on new domains like the held-out ones"
        if one.p_adjusted <= plan.alpha:
            size = number(abs(one.estimate.estimate), decimals(one.estimate))
            more = "higher" if one.estimate.estimate > 0 else "lower"
            words = f"On new domains like the held-out ones, {one.first} scores {size} {more} than {one.second}"
        said.append(f"{words} ({adjusted}{p_phrase(one.p_adjusted, plan.alpha)}).")
    named = listed([f"({domains})" if "," in domains else domains for domains in found.domains.values()])
    return (" ".join([f"{found.dataset} was tested on {named} in turn, each time trained on all others.", *said]),)


def _areas(found: CurveFindings, plan: DeclaredPlan) -> Iterator[str]:
    sizes = listed([f"{size:,}" for size in found.sizes])
    yield f"On {found.dataset}, methods were trained with {sizes} images."
    adjusted = "" if plan.correction == "none" else "adjusted "
    for one in found.differences:
        known = one.p_adjusted is not None and one.p_adjusted <= plan.alpha
        if known:
            size = number(abs(one.estimate.estimate), decimals(one.estimate))
            more = "higher" if one.estimate.estimate > 0 else "lower"
            yield (
                f"The area under the learning curve of {one.first} was {size} {more} than that of {one.second} "
                f"({adjusted}{p_phrase(one.p_adjusted or 0.0, plan.alpha)})."
            )
    rest = [f"{one.first} and {one.second}" for one in found.differences if (one.p_adjusted or 1.0) > plan.alpha]
    if rest:
        yield f"The areas of {listed(rest)} were not shown to differ."


def _saved(found: CurveFindings, plan: DeclaredPlan) -> Iterator[str]:
    level = f"{100 * plan.confidence:g} % interval"
    for method in dict.fromkeys(one.method for one in found.saved):
        own = [one for one in found.saved if one.method == method]
        yield f"To score as {method} does, {plan.control} needed {listed([_one(one, found, level) for one in own])}."


def _one(one: Saved, found: CurveFindings, level: str) -> str:
    at, low = f"with {one.needed.size:,.0f} images", range_text(one, found.sizes)
    if one.needed.estimate is None and not one.needed.reached:
        return f"more than {found.sizes[-1]:,} images in place of those {at} (not reached; {level} {low})"
    return f"{needed_text(one, found.sizes)} images in place of those {at} ({level} {low})"


def _on_networks(one: OnNetworks, plan: DeclaredPlan) -> str:
    pair, names = f"{one.first} against {one.second} on {one.dataset}", listed(list(one.comparisons))
    if one.everywhere == "inconclusive":
        lead = f"The comparison of {pair} is inconclusive on every network ({names})"
    elif one.everywhere is not None:
        number_of = counted(len(one.comparisons), "network")
        lead = f"The verdict on {pair} is {one.everywhere} on each of {number_of} ({names})"
    else:
        told = listed([f"{own.outcome} on {name}" for name, own in one.comparisons.items()])
        lead = f"The verdict on {pair} is not the same on every network: {told}"
    if one.p_adjusted is None:
        return f"{lead}."
    adjusted = "" if plan.correction == "none" else "adjusted "
    changed = "changes" if one.p_adjusted <= plan.alpha else "was not shown to change"
    return (
        f"{lead}. The difference {changed} from network to network ({adjusted}{p_phrase(one.p_adjusted, plan.alpha)})."
    )
