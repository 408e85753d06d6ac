"""What is counted in sweeps, kept between runs, and summed up."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.stats.estimate import FloatArray
from benchmarks.calibration.designs.analyses import analyses
from benchmarks.calibration.designs.layouts import DESIGNS, Design
from benchmarks.calibration.designs.sweeps import HALVES, SCENARIOS, SHORTER, TWINS, Scenario, Sweep
from benchmarks.calibration.model import ALPHA, Row, wilson

MOST_FALSE, MOST_FALSE_UPPER = 0.05, 0.08
"""The gate for twins: the share that is called different, and the upper end of its 95 % interval."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A design with its analysis and its size."""

    design: Design
    analysis: str
    trials: int
    replicates: int

    @property
    def name(self) -> str:
        """Unlike that of any other cell."""
        return f"{self.design.name}; {self.analysis}; {self.trials} trials; {self.replicates} replicates"


def cells(trials: Sequence[int], replicates: Sequence[int], letters: Sequence[str] = ()) -> tuple[Cell, ...]:
    """Every design of every size with every analysis that fits it; the sizes of one analysis stand together.

    Args:
        trials: numbers of slots of a search.
        replicates: numbers of replicates.
        letters: of designs; empty for all.
    """

    def found() -> Iterator[Cell]:
        for design in (design for design in DESIGNS if not letters or design.letter in letters):
            fitting = {count: list(analyses(design, count)) for count in replicates if design.possible(count)}
            for name in dict.fromkeys(name for names in fitting.values() for name in names):
                for slots in trials:
                    yield from (Cell(design, name, slots, count) for count, names in fitting.items() if name in names)

    return tuple(found())


def outcomes(scenario: Scenario, wanted: Sequence[Cell], images: int, key: tuple[int, ...]) -> FloatArray:
    """p value, difference and score of the first method in one sweep, shape (cells, 3)."""
    trials, replicates = ({getattr(cell, name) for cell in wanted} for name in ("trials", "replicates"))
    designs = list(dict.fromkeys(cell.design for cell in wanted))
    sweep = Sweep(scenario, sorted(trials), sorted(replicates), key, designs, images)
    tables = {size: sweep.table(*size) for size in {(cell.design, cell.trials, cell.replicates) for cell in wanted}}

    def one(cell: Cell) -> tuple[float, float, float]:
        table = tables[cell.design, cell.trials, cell.replicates]
        p = analyses(cell.design, cell.replicates)[cell.analysis](table)
        return p, float(table.differences.mean()), table.score

    return np.array([one(cell) for cell in wanted])


class Kept:
    """Outcomes of sweeps, in a folder if there is one: a line of JSON each.

    Args:
        folder: None to keep them in memory alone.
        wanted: the cells, in the order of the outcomes.
        images: in the pool of a sweep.
        base_seed: of the sweeps.

    Raises:
        SystemExit: the folder is of other cells, pools or seeds.
    """

    def __init__(self, folder: Path | None, wanted: Sequence[Cell], images: int, base_seed: int) -> None:
        self._folder, self.seconds = folder, 0.0
        """``seconds``: of the processor, that all sweeps took, those of earlier runs included."""
        self._found: dict[str, dict[int, FloatArray]] = {scenario.name: {} for scenario in SCENARIOS}
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        head = {"base_seed": base_seed, "images": images, "cells": [cell.name for cell in wanted]}
        about = folder / "about.json"
        if not about.exists():
            about.write_text(json.dumps(head, indent=1), encoding="utf-8")
        if json.loads(about.read_text(encoding="utf-8")) != head:
            raise SystemExit(f"{folder}: sweeps of other designs, images or seeds; give another folder")
        for name, found in self._found.items():
            for record in _records(folder / f"{name}.jsonl"):
                found[record["sweep"]] = np.array(record["outcomes"])
                self.seconds += record["seconds"]

    def has(self, scenario: str, repetition: int) -> bool:
        """Whether a sweep is there."""
        return repetition in self._found[scenario]

    def add(self, scenario: str, repetition: int, found: FloatArray, seconds: float) -> None:
        """One more sweep, rounded, so that what is read again is what was added."""
        rounded = [[float(f"{value:.6g}") for value in row] for row in found.tolist()]
        self._found[scenario][repetition] = np.array(rounded)
        self.seconds += seconds
        if self._folder is not None:
            record = {"sweep": repetition, "seconds": seconds, "outcomes": rounded}
            with (self._folder / f"{scenario}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def of(self, scenario: Scenario, repetitions: int) -> FloatArray:
        """The first sweeps of a scenario, shape (sweeps, cells, 3)."""
        found = self._found[scenario.name]
        return np.stack([found[repetition] for repetition in range(repetitions) if repetition in found])


def summary(wanted: Sequence[Cell], kept: Kept, repetitions: int) -> list[Row]:
    """One row a cell: cost, false claims of both kinds of equals, power."""
    found = {scenario.name: kept.of(scenario, repetitions) for scenario in SCENARIOS}

    def row(place: int, cell: Cell) -> Row:
        own = {name: sweeps[:, place] for name, sweeps in found.items()}
        cost = cell.design.cost(cell.trials, cell.replicates)
        return {
            "design": cell.design.name,
            "letter": cell.design.letter,
            "splits": cell.design.splits,
            "nested": cell.design.nested,
            "searches": cell.design.count(cell.replicates),
            "analysis": cell.analysis,
            "trials": cell.trials,
            "replicates": cell.replicates,
            "trainings": cost,
            "cost": round(cost / (cell.trials + cell.replicates), 4),
            "score": round(float(own[TWINS.name][:, 2].mean()), 4),
            "twins": _of_equals(own[TWINS.name]),
            "halves": _of_equals(own[HALVES.name]),
            "power": _claims(own[SHORTER.name]),
        }

    return [row(place, cell) for place, cell in enumerate(wanted)]


def _of_equals(sweeps: FloatArray) -> dict[str, Any]:
    """Claims that are false; at the level where they are no more than two standard errors above it."""
    found = _claims(sweeps)
    error = math.sqrt(ALPHA * (1 - ALPHA) / len(sweeps))
    return {
        **found,
        "at_level": found["rate"] <= ALPHA + 2 * error,
        "gate": found["rate"] <= MOST_FALSE and found["high"] <= MOST_FALSE_UPPER,
    }


def _claims(sweeps: FloatArray) -> dict[str, Any]:
    """Share of sweeps with a claim, with Wilson's interval, and medians of p value and difference."""
    rate, count = float(np.mean(sweeps[:, 0] <= ALPHA)), len(sweeps)
    low, high = wilson(rate, count)
    found = {
        "rate": rate,
        "low": low,
        "high": high,
        "median_p": float(np.median(sweeps[:, 0])),
        "median_difference": float(np.median(sweeps[:, 1])),
    }
    return {name: round(value, 4) for name, value in found.items()}


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file, whose last line is taken away where it was cut off."""
    if path.exists():
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            path.write_text(whole, encoding="utf-8")
        yield from map(json.loads, whole.splitlines())
