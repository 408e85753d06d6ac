"""What a verdict of a sweep may claim, beside what other choices would cost and let it claim."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from analysis.stats.scopes import DrawnAnew, scopes_phrase
from harness.core.replicates import Drawn
from harness.metrics.table import known_by_case
from harness.plan.parts import Span
from harness.plan.shapes import StudyShape
from harness.spec.replicates import Replication, SplitSpec
from harness.spec.search import SearchSpec
from harness.spec.sections import SweepSpec

SEARCHES = 5
"""Of the choice that buys power for claims about new searches; docs/designs.md compares numbers of them."""
FOLDS = 5
FEWEST_TRIALS = 3
"""Of each of many small searches."""
TIMES_THE_TRIALS = 2
"""What many small searches may cost, in trainings of the plain choice."""


@dataclass(frozen=True, slots=True)
class ScoredSide:
    """What a verdict on a dataset is tested on."""

    kind: str
    """Of the dataset's split."""
    scored: str = ""
    """As ``DrawnAnew.scored``: the domains of a split by domain."""


@dataclass(frozen=True, slots=True)
class PricedScope:
    """What replicates may draw anew, what that costs and what it is good for."""

    written: str
    """As the sweep file says it."""
    holds: str
    """What a verdict then holds for."""
    trials: int
    seconds: Span | None
    """Device-seconds; None where those of a trial are not known."""
    chosen: bool
    """Whether it is what the sweep file says."""


def choices(
    spec: SweepSpec,
    shapes: Sequence[StudyShape],
    seconds: Mapping[str, Span],
    sides: Mapping[str, ScoredSide],
    evaluating: Mapping[str, Span],
) -> list[PricedScope]:
    """The sweep's own choice and others, in order of what a verdict may claim; none for one method.

    Args:
        spec: of the sweep.
        shapes: of its studies, and of backbones that are trained first.
        seconds: device-seconds of these by name; those of which nothing is known are missing.
        sides: dataset → its test side.
        evaluating: of ``seconds``, what scoring confirmed models on more than their test split takes.
    """
    if spec.compared < 2:
        return []
    movable = any(side.kind != "official" for side in sides.values())
    replication = spec.replication if movable else spec.replication.with_kind("official")
    cost = _Cost.of(shapes, seconds, replication.searches, evaluating)
    own = _written(replication, spec)
    found = {}
    for one in (*_others(spec, {side.kind for side in sides.values()}), replication):
        written, holds = _written(one, spec), _holds(one, sides)
        trials, span = cost.at(one.searches, one.search.trials / spec.search.trials)
        found[written] = PricedScope(written, holds, trials, span, written == own)
    return sorted(found.values(), key=lambda one: one.trials)


def _others(spec: SweepSpec, kinds: Collection[str]) -> Iterator[Replication]:
    """Choices that this sweep could make with datasets whose splits are of these kinds."""
    plain = spec.split.model_copy(update={"seeds": None, "folds": None, "tune": "first"})
    once = spec.search.model_copy(update={"repeats": 1})
    again = spec.search.model_copy(update={"repeats": SEARCHES})
    # The test side of a split by domain is given, so that there are no folds of it.
    few = {"seeds": list(range(plain.seed, plain.seed + FOLDS))} if "domain" in kinds else {"folds": FOLDS}
    nested = plain.model_copy(update={**few, "tune": "each"})
    drawn: list[tuple[list[Drawn], SplitSpec, SearchSpec]]
    drawn = [
        (["seed"], plain, once),
        (["seed", "search"], plain, again),
        (["seed", "split"], plain, once),
        (["seed", "split", "search"], plain, once),
        (["seed", "split", "search"], plain, again),
        (["seed", "split", "search"], nested, once),
        *_many_small(spec, plain, once),
    ]
    for vary, split, search in drawn:
        confirm = spec.confirm.model_copy(update={"vary": vary})
        one = Replication(split, search, confirm)
        # What one publisher's split forbids is refused for the whole sweep.
        if all(next(one.with_kind(kind).faults(), None) is None for kind in kinds):
            yield one


def _many_small(
    spec: SweepSpec, split: SplitSpec, search: SearchSpec
) -> Iterator[tuple[list[Drawn], SplitSpec, SearchSpec]]:
    """A split and a small search for each replicate, for at most twice the trainings of the plain choice."""
    number, trials = len(spec.replication.seeds), spec.search.trials
    small = (TIMES_THE_TRIALS * (trials + number) - number) // number
    if number > 1 and FEWEST_TRIALS <= small < trials:
        seeds = list(range(split.seed, split.seed + number))
        each = split.model_copy(update={"seeds": seeds, "tune": "each"})
        yield ["seed", "split", "search"], each, search.model_copy(update={"trials": small})


def _written(one: Replication, spec: SweepSpec) -> str:
    """How the sweep file says a choice."""
    further = [
        f"split.folds: {one.split.folds}" if one.split.folds is not None else "",
        f"split.seeds: {one.split.seeds[0]} to {one.split.seeds[-1]}" if one.split.seeds else "",
        "split.tune: each" if one.split.tune == "each" else "",
        f"search.repeats: {one.search.repeats}" if one.search.repeats > 1 else "",
        f"search.trials: {one.search.trials}" if one.search.trials != spec.search.trials else "",
    ]
    return "; ".join((f"vary: [{', '.join(one.varied)}]", *filter(None, further)))


def _holds(one: Replication, sides: Mapping[str, ScoredSide]) -> str:
    """What a verdict then holds for, in the words of the report."""
    where: dict[DrawnAnew, list[str]] = {}
    for dataset, side in sides.items():
        where.setdefault(drawn_anew(one, side), []).append(dataset)
    # Nothing is tuned on a domain that is left out, whichever split is searched.
    apart = one.split.tune == "each" or all(side.scored for side in sides.values())
    return scopes_phrase(where) + ("; no configuration has seen its test images" if apart else "")


def drawn_anew(one: Replication, side: ScoredSide) -> DrawnAnew:
    """What the intervals of a report will draw anew on a dataset.

    Args:
        one: which replicates confirm a method.
        side: what they are tested on there.
    """
    own = one.with_kind(side.kind)
    sets = len(own.splits) > 1
    search = "search" in own.varied and (own.searches > 1 or own.resampled)
    # Of a plugin's metric, or one that validation cases are part of, nothing is known by case.
    cases = sets or one.search.metric in known_by_case()
    return DrawnAnew(
        sets=sets,
        cases=cases,
        search=search,
        one_searched=sets and search and own.split.tune == "first",
        scored=side.scored if cases else "",
    )


@dataclass(frozen=True, slots=True)
class _Cost:
    """Trials and device time of a sweep by the number of searches."""

    search: int
    """Trials of one search of each method on each dataset."""
    rest: int
    search_seconds: Span | None
    rest_seconds: Span | None

    @classmethod
    def of(
        cls,
        shapes: Sequence[StudyShape],
        seconds: Mapping[str, Span],
        searches: int,
        evaluating: Mapping[str, Span],
    ) -> _Cost:
        tuned = sum(one.search_trials + one.reevaluations for one in shapes if not one.trained_first)
        every = sum(one.trials for one in shapes)
        if any(one.name not in seconds for one in shapes):
            return cls(tuned // searches, every - tuned, None, None)
        nothing = Span(0.0, 0.0, 0.0)
        evaluated = {one.name: evaluating.get(one.name, nothing) for one in shapes}
        trained = {name: seconds[name] + span * -1.0 for name, span in evaluated.items()}
        of_search = sum((trained[one.name] * (_searched(one) / searches) for one in shapes), start=nothing)
        rest = sum((trained[one.name] * (1 - _searched(one)) + evaluated[one.name] for one in shapes), start=nothing)
        return cls(tuned // searches, every - tuned, of_search, rest)

    def at(self, searches: int, size: float) -> tuple[int, Span | None]:
        """For so many searches, each of so many times the trials of the sweep's."""
        trials = round(searches * size * self.search) + self.rest
        if self.search_seconds is None or self.rest_seconds is None:
            return trials, None
        return trials, self.search_seconds * (searches * size) + self.rest_seconds


def _searched(shape: StudyShape) -> float:
    """The share of a study's trials that search; a backbone that is trained first has none."""
    return (shape.search_trials + shape.reevaluations) / shape.trials if not shape.trained_first else 0.0
