"""Whole clusters into sides of exact size, with the classes in proportion.

A cluster is a row of class counts. Clusters of several images are placed first, large before small, each on
the side that lacks most of its classes; single images then make up the exact numbers. Where clusters are so
large, or single images so few, that this does not come out even, some clusters of each size are held back and
placed by dynamic programming (subset sums): more and more of them, in the end all. Clusters of equal size
then change places where that brings the classes nearer to proportion.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SIDES = 3

Counts = npt.NDArray[np.int64]

_HELD_BACK = (16, 64, 256, 1024)
_MOST_BITS = 2**32
"""The subset sums may take 512 MiB."""


class PackingState(NamedTuple):
    """What is still to be filled."""

    deficit: Counts
    """Images of each class that each side lacks, shape (classes, SIDES); negative: too many."""
    room: Counts
    """Images that each side lacks, shape (SIDES,)."""


def largest_remainder(weights: Counts, total: int) -> Counts:
    """``total`` divided in proportion to ``weights`` (Hamilton's method): each quota rounded up or down."""
    whole, rest = np.divmod(weights * total, max(int(weights.sum()), 1))
    order = np.argsort(-rest, kind="stable")
    whole[order[: total - int(whole.sum())]] += 1
    return whole


def apportion(class_totals: Counts, counts: Counts) -> Counts:
    """Images of each class on each side, shape (classes, SIDES), with both margins exact."""
    table = np.zeros((len(class_totals), SIDES), dtype=np.int64)
    left = class_totals.copy()
    for side in reversed(range(1, SIDES)):
        table[:, side] = largest_remainder(left, int(counts[side]))
        left = left - table[:, side]
    table[:, 0] = left
    return table


def assign(composition: Counts, counts: Counts, keys: npt.NDArray[np.float64]) -> Counts | None:
    """The side of each cluster; None where no assignment exists or, among thousands of images, was found.

    Args:
        composition: images of each class in each cluster, shape (clusters, classes).
        counts: images of each side, shape (SIDES,), summing to all images.
        keys: random numbers in [0, 1), shape (clusters,), that decide order and ties.
    """
    sizes = composition.sum(axis=1)
    unit = math.gcd(*map(int, sizes))
    if any(int(count) % unit for count in counts) or sizes.max() > counts.max():
        return None
    order = np.lexsort((keys, -sizes))
    targets = apportion(composition.sum(axis=0), counts)
    several = int((sizes > 1).sum())
    place, side = PackingState(targets.copy(), counts.copy()), np.full(len(order), -1, dtype=np.int64)
    if _place_largest_first(order[:several], composition, targets, keys, place, side):
        _place_singles(order[several:], composition, place, side)
        return side
    turn = _turn_within_size(sizes[order])
    for number in (*(n for n in _HELD_BACK if n < len(order)), len(order)):
        held = turn < number
        place, side = PackingState(targets.copy(), counts.copy()), np.full(len(order), -1, dtype=np.int64)
        if _place_largest_first(order[~held], composition, targets, keys, place, side) and _place_exactly(
            order[held], composition, targets, keys, place, side
        ):
            _swap_into_proportion(composition, counts, place, side)
            return side
    return None


def _turn_within_size(sizes: Counts) -> Counts:
    """When each cluster is held back: one of each size, small before large, then another one of each, and on.

    Sums of clusters of one size reach only its multiples; of several sizes, nearly every number.
    """
    first = {int(size): index for index, size in reversed(list(enumerate(sizes)))}
    occurrence = np.arange(len(sizes)) - np.array([first[int(size)] for size in sizes])
    turn = np.empty(len(sizes), dtype=np.int64)
    turn[np.lexsort((sizes, occurrence))] = np.arange(len(sizes))
    return turn


def _place_largest_first(
    clusters: Counts,
    composition: Counts,
    targets: Counts,
    keys: npt.NDArray[np.float64],
    place: PackingState,
    side: Counts,
) -> bool:
    for cluster in clusters:
        row = composition[cluster]
        fits = place.room >= row.sum()
        if not fits.any():
            return False
        _put(cluster, _best_side(row, fits, targets, keys[cluster], place), row, place, side)
    return True


def _best_side(row: Counts, fits: npt.NDArray[np.bool_], targets: Counts, key: float, place: PackingState) -> int:
    """The side with the largest relative deficit of the cluster's classes."""
    in_proportion = fits & (place.deficit >= row[:, None])[row > 0].all(axis=0)
    candidates = in_proportion if in_proportion.any() else fits
    lack = (row[:, None] * (place.deficit / np.maximum(targets, 1))).sum(axis=0)
    best = np.flatnonzero(candidates & (lack >= lack[candidates].max()))
    # Sides that lack equally much are drawn by size, or the largest cluster would always stand on the same
    # one.
    weight = np.cumsum(targets.sum(axis=0)[best] + 1.0)
    return int(best[np.searchsorted(weight, key * weight[-1], side="right")])


def _put(cluster: int, chosen: int, row: Counts, place: PackingState, side: Counts) -> None:
    side[cluster] = chosen
    place.deficit[:, chosen] -= row
    place.room[chosen] -= row.sum()


def _place_singles(clusters: Counts, composition: Counts, place: PackingState, side: Counts) -> None:
    table = _fill(composition[clusters].sum(axis=0), place)
    label = composition[clusters].argmax(axis=1)
    for index, row in enumerate(table):
        side[clusters[label == index]] = np.repeat(np.arange(SIDES), row)


def _fill(available: Counts, place: PackingState) -> Counts:
    """Single images of each class for each side: both margins exact, close to the deficits."""
    wanted = np.maximum(place.deficit, 0)
    table = np.array([largest_remainder(row, int(n)) for row, n in zip(wanted, available, strict=True)])
    while (surplus := table.sum(axis=0) - place.room).any():
        over, under = int(surplus.argmax()), int(surplus.argmin())
        excess = table - place.deficit
        gain = np.where(table[:, over] > 0, excess[:, over] - excess[:, under], np.iinfo(np.int64).min)
        table[gain.argmax(), over] -= 1
        table[gain.argmax(), under] += 1
    return table


def _place_exactly(
    clusters: Counts,
    composition: Counts,
    targets: Counts,
    keys: npt.NDArray[np.float64],
    place: PackingState,
    side: Counts,
) -> bool:
    """Place clusters so that nothing is left over; False, with nothing placed, where that cannot be.

    Bit ``a * width + b`` of a layer says whether the clusters so far can fill ``a`` images of side 2 and
    ``b`` of side 1, the others going to side 0, which is the largest.
    """
    sizes = [int(composition[cluster].sum()) for cluster in clusters]
    rows, columns = int(place.room[2]) + 1, int(place.room[1]) + 1
    width = columns + max(sizes)
    if rows * width * len(sizes) > _MOST_BITS:
        return False
    inside = int(("0" * (width - columns) + "1" * columns) * rows, 2)
    layers = [1]
    for size in reversed(sizes):
        reached = layers[-1]
        layers.append((reached | reached << size | reached << size * width) & inside)
    a, b = rows - 1, columns - 1
    if not layers.pop() >> (a * width + b) & 1:
        return False
    for cluster, size in zip(clusters, sizes, strict=True):
        reached = layers.pop()
        fits = np.array(
            [
                reached >> (a * width + b) & 1,
                b >= size and reached >> (a * width + b - size) & 1,
                a >= size and reached >> ((a - size) * width + b) & 1,
            ],
            dtype=np.bool_,
        )
        chosen = _best_side(composition[cluster], fits, targets, keys[cluster], place)
        _put(cluster, chosen, composition[cluster], place, side)
        a, b = a - size * (chosen == 2), b - size * (chosen == 1)
    return True


def _swap_into_proportion(composition: Counts, counts: Counts, place: PackingState, side: Counts) -> None:
    """Exchange clusters of equal size while that reduces the squared deviations of the class proportions."""
    sizes = composition.sum(axis=1)
    weight = 1.0 / np.maximum(counts, 1) ** 2
    while True:
        swaps = (
            _best_swap(composition, np.where(sizes == size, side, -1), place.deficit, weight, one, other)
            for size in np.unique(sizes)
            for one, other in ((0, 1), (0, 2), (1, 2))
        )
        change, first, second = min(swaps)
        if change > -1e-12:
            return
        moved = composition[first] - composition[second]
        place.deficit[:, side[first]] += moved
        place.deficit[:, side[second]] -= moved
        side[[first, second]] = side[[second, first]]


def _best_swap(
    composition: Counts,
    side: Counts,
    deficit: Counts,
    weight: npt.NDArray[np.float64],
    one: int,
    other: int,
) -> tuple[float, int, int]:
    """The steepest exchange between two sides: change of the squared deviations, and the two clusters."""
    here, there = np.flatnonzero(side == one), np.flatnonzero(side == other)
    if not len(here) or not len(there):
        return 0.0, -1, -1
    slope = deficit[:, one] * weight[one] - deficit[:, other] * weight[other]
    first = int(here[(composition[here] @ slope).argmin()])
    second = int(there[(composition[there] @ slope).argmax()])
    moved = composition[first] - composition[second]
    change = 2 * float(moved @ slope) + float((moved**2).sum() * (weight[one] + weight[other]))
    return change, first, second
