"""Several runs as one comparison: which go together, and what one method gave on one dataset in several of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from analysis.comparison.evidence import RESAMPLE, Cell, DeclaredPlan
from analysis.runs.opened import OpenRun
from analysis.stats.cautions import Caution
from harness.core.errors import RequestError
from harness.core.identity import differences
from harness.run.study_records import StudyRecord

_DECLARED = ("metric", "family", "control", "correction", "margin", "looks")
_TRAINED_ALIKE = ("backbone", "train")
_SAME_METHOD = ("protocol", "method", "space", "train", "backbone")
"""ShiftTables of a study's identity in which replicates of one method agree; their splits and searches may differ."""


def united(plans: Sequence[DeclaredPlan]) -> DeclaredPlan:
    """One plan for runs that declared the same, by the metrics that all of them have."""
    first = plans[0]
    shared = tuple(name for name in first.metrics if all(name in plan.metrics for plan in plans))
    return replace(first, metrics=shared)


def check_together(first: OpenRun, second: OpenRun) -> None:
    """Raise RequestError unless two runs can be one comparison."""
    one, other = first.run.path, second.run.path
    if one == other:
        raise RequestError(f"{one}: given twice; name each run directory once")
    for name in _DECLARED:
        own, others = getattr(first.plan, name), getattr(second.plan, name)
        if own != others:
            raise RequestError(
                f"{other}: declared {name} {_said(others)}, but {one} declared {_said(own)}; "
                "runs are one comparison only where they declared the same, so report them apart"
            )
    for metric in first.plan.known.keys() & second.plan.known.keys():
        if first.plan.known[metric] != second.plan.known[metric]:
            raise RequestError(
                f"{other}: its metric {metric!r} has another label, direction or bounds than that of {one}; report the "
                "runs apart"
            )
    for label in sorted(first.cards.keys() & second.cards.keys()):
        _check_dataset(label, first, second)
    for key in sorted(first.studies.keys() & second.studies.keys()):
        _check_replicates(key, first, second)


def _check_dataset(label: str, first: OpenRun, second: OpenRun) -> None:
    one, other = first.run.path, second.run.path
    if first.cards[label].get("fingerprint") != second.cards[label].get("fingerprint"):
        raise RequestError(
            f"{other}: its dataset {label!r} has another images than that of {one}; scores on different images do not "
            "compare (under another label the two would still be one source and count once)"
        )
    if _split(label, first) == _split(label, second):
        return
    mine, others = ({method for name, method in part.studies if name == label} for part in (first, second))
    if not mine & others:
        raise RequestError(
            f"{other}: its dataset {label!r} has another split than that of {one}, and no method was run on both; "
            "scores on different test cases do not compare: use one split, or run one method on both (under another "
            "label the two would still be one source and count once)"
        )


def _check_replicates(key: tuple[str, str], first: OpenRun, second: OpenRun) -> None:
    """Raise RequestError unless what two runs have of one method on one dataset are replicates of one another."""
    dataset, method = key
    one, other = first.run.path, second.run.path
    (mine, *_), (others, *_) = first.studies[key], second.studies[key]

    def parts(study: StudyRecord) -> dict[str, object]:
        identity: Mapping[str, object] = study["identity"]
        return {name: identity[name] for name in _SAME_METHOD if name in identity}

    changed = differences(parts(mine), parts(others))
    if changed:
        raise RequestError(
            f"{other}: {method!r} on {dataset!r} is not the same as in {one} ({changed[0]}); give one of them another "
            "label, or report the runs apart"
        )
    seeds = [{seed for study in part.studies[key] for seed in study["confirm_seeds"]} for part in (first, second)]
    shared = sorted(seeds[0] & seeds[1])
    if shared:
        raise RequestError(
            f"{other}: {method!r} was run on {dataset!r} here and in {one}, with the same confirm seeds (such as "
            f"{shared[0]}), so that the two are not independent; run one of them with other confirm.seeds, give it "
            "another label, or report the runs apart"
        )


def _split(dataset: str, part: OpenRun) -> str | None:
    return part.cards[dataset]["split"].get("digest") if dataset in part.cards else None


def joined(parts: Sequence[OpenRun], cells: Sequence[Mapping[tuple[str, str], Cell]]) -> dict[tuple[str, str], Cell]:
    """The cells of all runs; what several have of one method on one dataset becomes one.

    Args:
        parts: the runs.
        cells: (dataset, method) → cell of each of them, in the same order.
    """
    several = {
        dataset
        for one, other in combinations(parts, 2)
        for dataset in one.cards.keys() & other.cards.keys()
        if _split(dataset, one) != _split(dataset, other)
    }
    found: dict[tuple[str, str], list[tuple[OpenRun, Cell]]] = {}
    for part, own in zip(parts, cells, strict=True):
        for key, cell in own.items():
            known = _on_its_split(cell, _split(key[0], part)) if key[0] in several else cell
            found.setdefault(key, []).append((part, known))
    return {
        key: own[0][1] if len(own) == 1 else _united_cell([cell for _, cell in own], dict(_searches(own)))
        for key, own in found.items()
    }


def _on_its_split(cell: Cell, digest: str | None) -> Cell:
    """A cell that says which split its replicates share, as those of other runs have another one."""
    if cell.splits:
        return cell
    every = dict.fromkeys((*cell.declared, *cell.seeds), str(digest))
    return replace(cell, splits=every, tuned_on=every)


def _united_cell(cells: Sequence[Cell], searches: Mapping[int, str]) -> Cell:
    first = cells[0]
    known = [one.search_trials for one in cells if one.search_trials is not None]
    return Cell(
        dataset=first.dataset,
        method=first.method,
        declared=tuple(sorted(seed for one in cells for seed in one.declared)),
        scores={
            name: {seed: value for one in cells for seed, value in one.scores.get(name, {}).items()}
            for name in first.scores
        },
        failures={seed: cause for one in cells for seed, cause in one.failures.items()},
        repeats=tuple(again for one in cells for again in one.repeats),
        devices=tuple(sorted({device for one in cells for device in one.devices})),
        search_trials=sum(known) if len(known) == len(cells) else None,
        tuned_as=first.tuned_as,
        origins={seed: place for one in cells for seed, place in one.origins.items()},
        splits={seed: split for one in cells for seed, split in one.splits.items()},
        drawn={seed: split for one in cells for seed, split in one.drawn.items()},
        tuned_on={seed: split for one in cells for seed, split in one.tuned_on.items()},
        searches=searches,
        cautions=tuple(dict.fromkeys(caution for one in cells for caution in one.cautions)),
    )


def _searches(runs: Sequence[tuple[OpenRun, Cell]]) -> Iterator[tuple[int, str]]:
    """Seed → search, or resample of one; empty where all runs have one search of the same number.

    The draws of a search follow from its number: in two runs the same number proposes the same configurations, so that
    it is no new search, whatever was chosen.
    """
    numbers = {
        seed: search.get("search_number", 0)
        for part, cell in runs
        for search in part.studies[cell.dataset, cell.method]
        for seed in search["confirm_seeds"]
    }
    resampled = {seed: name for _, cell in runs for seed, name in cell.searches.items() if name.startswith(RESAMPLE)}
    if resampled or len(set(numbers.values())) > 1:
        yield from ((seed, resampled.get(seed, str(number))) for seed, number in numbers.items())


def overlap_of(dataset: str, parts: Sequence[OpenRun]) -> float:
    """Test images for each training image of a split, before any are left out for low-data studies; 0 if not known."""
    recorded = [
        float(searches[0]["overlap"])
        for part in parts
        for (name, _), searches in part.studies.items()
        if name == dataset and "overlap" in searches[0]
    ]
    counted = [
        card["sides"]["test"] / rest
        for part in parts
        if (card := part.cards.get(dataset)) is not None and "sides" in card
        if (rest := card["images"] - card["sides"]["test"] - card["sides"]["val"]) > 0
    ]
    return max([*recorded, *counted], default=0.0)


def _said(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def trained_differently(parts: Sequence[OpenRun]) -> Iterator[Caution]:
    """That runs were trained in different ways, where they were."""
    for name in _TRAINED_ALIKE:
        if any(part.spec.get(name) != parts[0].spec.get(name) for part in parts):
            yield Caution(
                "different_settings",
                f"The runs do not have the same {name} settings, so a difference between methods of different runs "
                "may be due to these.",
            )
