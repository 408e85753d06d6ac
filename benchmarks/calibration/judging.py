"""How any gate is judged: by its worst count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmarks.calibration.model import ALPHA, Row, wilson

State = Literal["met", "too careful", "not met", "no promise"]


@dataclass(frozen=True, slots=True)
class Case:
    """One count that a gate judges."""

    label: str
    value: float
    error: float
    """Standard error of the count; 0 where the value is no share."""
    low: float
    """End of the 95 % interval of the value: Wilson's of a share."""
    high: float
    count: int
    """Sweeps."""

    @classmethod
    def of_share(cls, label: str, share: float, count: int) -> Case:
        """A share of ``count`` sweeps."""
        return cls(label, share, float(np.sqrt(ALPHA * (1 - ALPHA) / count)), *wilson(share, count), count)

    @classmethod
    def of_mean(cls, label: str, value: float, error: float, count: int) -> Case:
        """A mean over ``count`` sweeps whose standard error is known."""
        return cls(label, value, error, value - 2 * error, value + 2 * error, count)


@dataclass(frozen=True, slots=True)
class Gate:
    """A promise: where it is counted, and between which limits the value has to be."""

    name: str
    limit: str
    """In words."""
    cases: Callable[[Sequence[Row]], Iterator[Case]]
    lowest: float = -np.inf
    highest: float = np.inf
    """Limits that the protocol is unsafe beyond, up to the error of the worst of so many counts."""
    careful_below: float = -np.inf
    careful_above: float = np.inf
    """Limits that it is more careful than it promises beyond."""
    most_upper: float = np.inf
    """Limit of the upper end of the interval, where there are sweeps enough."""
    enough: int = 0
    promised: bool = True


def record(gate: Gate, cases: Sequence[Case]) -> Row:
    """How the gate stands by its cases, of which there is one at least."""

    def beyond(case: Case) -> float:
        return max(gate.lowest - case.value, case.value - gate.highest)

    def careful(case: Case) -> float:
        return max(gate.careful_below - case.value, case.value - gate.careful_above)

    unsafe = [
        case
        for case in cases
        if beyond(case) > 2 * case.error or (case.count >= gate.enough and case.high > gate.most_upper)
    ]
    over = [case for case in cases if careful(case) > 2 * case.error]
    state: State = "not met" if unsafe else "too careful" if over else "met"
    worst = max(unsafe or cases, key=beyond) if unsafe or not over else max(over, key=careful)
    return {
        "gate": gate.name,
        "limit": gate.limit,
        "worst": worst.value,
        "low": worst.low,
        "high": worst.high,
        "at": worst.label,
        "median": float(np.median([case.value for case in cases])),
        "cases": len(cases),
        "unsafe": len(unsafe),
        "careful": len(over),
        "state": state if gate.promised else "no promise",
    }


def markdown(gates: Sequence[Row]) -> Iterator[str]:
    """Lines of a table of gates."""
    yield "| promise | gate | worst count [95 % interval] | at | median | of | |"
    yield "|---|---|---|---|---|---|---|"
    for gate in gates:
        worst = f"{_short(gate['worst'])} [{_short(gate['low'])}, {_short(gate['high'])}]"
        cells = (gate["gate"], gate["limit"], worst, gate["at"], _short(gate["median"]), gate["cases"], gate["state"])
        yield f"| {' | '.join(map(str, cells))} |"


def _short(value: float) -> str:
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text
