"""Learning curves over the number of training images: areas, their differences, and the images that a method saves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from analysis.comparison.combined import Combined
from analysis.comparison.evidence import Evidence
from analysis.stats.estimate import Estimate, FloatArray
from analysis.stats.learning_curve import ImagesNeeded, area_weights, images_needed
from analysis.stats.multiplicity import adjust
from analysis.stats.ranges import within_range


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A method at one training size."""

    method: str
    size: int
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Area:
    """The mean score of a method over the logarithm of the training size."""

    method: str
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaDifference:
    """The area of one method minus that of another."""

    first: str
    second: str
    estimate: Estimate
    family: int
    p: float | None
    p_adjusted: float | None


@dataclass(frozen=True, slots=True)
class Saved:
    """The images that the control needs to score as a method does at one size."""

    method: str
    needed: ImagesNeeded


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveFindings:
    """One dataset, trained on in several sizes."""

    dataset: str
    sizes: tuple[int, ...]
    """Training images, ascending."""
    points: tuple[CurvePoint, ...]
    areas: tuple[Area, ...]
    differences: tuple[AreaDifference, ...]
    """Of the declared pairs: one family."""
    saved: tuple[Saved, ...]
    """Of each method but the control, at each size; empty without a control."""


def curve_findings(evidence: Evidence, dataset: str, sizes: Mapping[str, int]) -> CurveFindings | None:
    """Compare learning curves.

    Args:
        evidence: in which each size of the dataset is a dataset label of its own, with the same test cases.
        dataset: their common name, for the words.
        sizes: label → training images; all different.

    Returns:
        None with fewer than two sizes.

    Raises:
        ValueError: two labels of the same size.
    """
    if len(set(sizes.values())) < len(sizes):
        raise ValueError(f"training sizes of {dataset} are not different: {sorted(sizes.values())}")
    if len(sizes) < 2:
        return None
    reader = _Curves(evidence, dict(sorted(sizes.items(), key=lambda one: one[1])))
    return CurveFindings(
        dataset=dataset,
        sizes=tuple(reader.sizes.values()),
        points=tuple(reader.points()),
        areas=tuple(reader.areas()),
        differences=tuple(reader.differences()),
        saved=tuple(reader.saved()),
    )


class _Curves:
    def __init__(self, evidence: Evidence, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self._evidence, self._plan = evidence, evidence.plan
        self._combined = Combined(evidence, tuple(sizes))
        self._bounds = self._plan.facts(self._plan.metric).bounds
        self._area = dict(zip(sizes, area_weights(tuple(sizes.values())).tolist(), strict=True))

    def points(self) -> Iterator[CurvePoint]:
        for method in self._evidence.methods:
            for label, size in self.sizes.items():
                found = self._combined.estimate({(label, method): 1.0})
                if found is not None:
                    yield CurvePoint(method, size, within_range(found, self._bounds))

    def areas(self) -> Iterator[Area]:
        for method in self._evidence.methods:
            found = self._combined.estimate({(label, method): weight for label, weight in self._area.items()})
            if found is not None:
                yield Area(method, within_range(found, self._bounds))

    def differences(self) -> Iterator[AreaDifference]:
        pairs = self._plan.pairs(self._evidence.ordered)
        made = []
        for first, second in pairs:
            weights = {(label, first): weight for label, weight in self._area.items()}
            weights |= {(label, second): -weight for label, weight in self._area.items()}
            found = self._combined.estimate(weights)
            if found is not None:
                made.append((first, second, found))
        raw = [one.p_value() for *_, one in made]
        family = max(len(pairs), len(made))
        adjusted = iter(adjust([p for p in raw if p is not None], self._plan.correction, family).tolist())
        for (first, second, estimate), p in zip(made, raw, strict=True):
            corrected = None if p is None else next(adjusted)
            yield AreaDifference(
                first=first, second=second, estimate=estimate, family=family, p=p, p_adjusted=corrected
            )

    def saved(self) -> Iterator[Saved]:
        control = self._plan.control
        if control is None:
            return
        for method in self._evidence.methods:
            for label, size in self.sizes.items():
                found = None if method == control else self._needed(method, control, label, size)
                if found is not None:
                    yield Saved(method, found)

    def _needed(self, method: str, control: str, label: str, size: int) -> ImagesNeeded | None:
        every = {(own, control): 1.0 for own in self.sizes} | {(label, method): 1.0}
        seeds = self._combined.seeds(every)
        if len(seeds) < 2:
            return None

        def difference(weights: FloatArray) -> Estimate:
            parts = {(own, control): weight for own, weight in zip(self.sizes, weights.tolist(), strict=True)}
            # Of weight 0 too, so that all differences are over the same trainings.
            found = self._combined.estimate({**parts, (label, method): -1.0})
            assert found is not None
            return found

        means = [self._combined.mean(own, control, seeds) for own in self.sizes]
        return images_needed(
            tuple(self.sizes.values()),
            means,
            self._combined.mean(label, method, seeds),
            size,
            difference,
            self._plan.higher_is_better(self._plan.metric),
        )


def whole_numbers(needed: ImagesNeeded) -> ImagesNeeded:
    """The same in whole images, rounded outwards at the ends."""
    return replace(
        needed,
        estimate=None if needed.estimate is None else float(round(needed.estimate)),
        low=None if needed.low is None else float(int(needed.low)),
        high=None if needed.high is None else float(-int(-needed.high // 1)),
    )
