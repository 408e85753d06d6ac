"""What a run declared before it had results, and which comparisons rest on something that it did not."""

from __future__ import annotations

import time
from collections.abc import Iterator

from analysis.comparison.evidence import Undeclared
from harness.pages.contents import Facts, PageSection
from harness.run.directory import RunDirectory
from harness.studies.declaration import Change, Locked, locked


def undeclared(found: Locked) -> list[Undeclared]:
    """What comparisons on the test split rest on that was not declared, in the order of the declaration."""
    result = []
    for change in found.changes:
        deviation = change.deviation
        if deviation.reach not in ("none", "evaluation"):
            dataset = deviation.label if deviation.reach == "dataset" else None
            method = deviation.label if deviation.reach == "method" else None
            result.append(Undeclared(sentence(change), dataset, method))
    return result


def undeclared_evaluations(found: Locked) -> dict[str, Undeclared]:
    """Evaluation → what its comparisons rest on that was changed when there were test results."""
    own = (change for change in found.changes if change.deviation.reach == "evaluation" and change.confirmed)
    return {str(change.deviation.label): Undeclared(sentence(change)) for change in own}


def sentence(change: Change) -> str:
    """One change, for a reader."""
    deviation = change.deviation
    results = (
        "before there was any test result"
        if change.confirmed == 0
        else f"when {change.confirmed} confirm trial{'s' if change.confirmed > 1 else ''} had results"
    )
    reach = {
        "run": "all comparisons are exploratory",
        "dataset": f"comparisons on {deviation.label} are exploratory",
        "method": f"comparisons with {deviation.label} are exploratory",
        "evaluation": f"comparisons by {deviation.label} are exploratory",
        "none": "",
    }[deviation.reach]
    look = (
        ", since adding or dropping seeds after a look that was not planned makes false claims more likely"
        if deviation.look and change.confirmed
        else ""
    )
    said = f"Changed after the launch, on {day(change.time)}, {results}: {deviation.what}"
    return f"{said}; {reach}{look}." if reach else f"{said}."


def declaration_section(run: RunDirectory) -> list[PageSection]:
    """What was locked, and every change; empty where nothing was locked."""
    found = locked(run)
    if found is None:
        return []
    declared, comparison = found.declared, found.declared["comparison"]
    hypotheses = [(f"Hypothesis {place}", text) for place, text in enumerate(declared["hypotheses"], start=1)]
    looks = comparison["looks"]
    facts = [
        *hypotheses,
        ("Primary metric", str(comparison["metric"])),
        ("Family", f"{comparison['family']}, control {comparison['control'] or 'none'}"),
        ("Correction", f"{comparison['correction']}, level {comparison['alpha']:g}"),
        ("Margin", "none" if (margin := comparison["margin"]) is None else f"{margin:g}"),
        ("Confirm seeds", ", ".join(map(str, declared["seeds"]))),
        ("Looks", "once, when all seeds are done" if not looks else "at " + ", ".join(map(str, looks)) + " seeds"),
        ("Methods", ", ".join(declared["methods"])),
        ("Datasets", ", ".join(declared["datasets"])),
        ("Search", f"{declared['search']['trials']} slots by {declared['search']['sampler']}"),
    ]
    return [PageSection("Declaration", tuple(_told(found)), (Facts(tuple(facts)),))]


def day(seconds: float) -> str:
    """A date and time, UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _told(found: Locked) -> Iterator[str]:
    already = (
        "before there was any test result"
        if found.confirmed == 0
        else f"when {found.confirmed} confirm trials had results, so it is no plan made beforehand"
    )
    yield f"This was locked on {day(found.time)}, {already}."
    if not found.changes:
        yield "The sweep file declares the same today."
    yield from (sentence(change) for change in found.changes)
