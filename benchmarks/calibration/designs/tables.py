"""The counts as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.calibration.designs.frontier import FEWEST_TRIALS, SHOWN, WORTH, Target, of_design, targets
from benchmarks.calibration.model import Row


def markdown(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of two tables: each design, and what might take the place of today's."""
    counts = sorted({row["replicates"] for row in rows})
    each = " ".join(str(count) for count in counts)
    yield f"| design | analysis | twins, {each} replicates | worst | halves | worst | difference found |"
    yield "|---|---|---|---|---|---|---|"
    for shown in SHOWN:
        own = [row for row in of_design(rows, shown) if row["trials"] >= FEWEST_TRIALS]
        if own:
            equal = " | ".join(f"{_by_count(own, part, counts)} | {_worst(own, part)}" for part in ("twins", "halves"))
            yield f"| {shown[0]} | {shown[3]} | {equal} | {_by_count(own, 'power', counts)} |"
    yield ""
    yield (
        "| today: trials × replicates | twins | found | five searches | new search, same trials | new search, fewer "
        "trials | new training sets too, fewer trials |"
    )
    yield "|---|---|---|---|---|---|---|"
    yield from map(_line, targets(rows))


def _line(target: Target) -> str:
    """One size of today's design: power, cost and design of what might take its place, bold where it is worth it."""
    five, today = target.five, target.today
    enough = None if five is None else WORTH * five["power"]["rate"]

    def said(row: Row | None) -> str:
        if row is None:
            return "none"
        name = next(shown[0] for shown in SHOWN if of_design([row], shown))
        rate = _rate(row["power"]["rate"])
        rate = f"**{rate}**" if enough is not None and row["power"]["rate"] >= enough else rate
        return f"{rate} at {target.cost(row):.2f}: {name}, {row['trials']} × {row['replicates']}"

    cells = (
        f"{target.trials} × {target.replicates}",
        _rate(today["twins"]["rate"]),
        _rate(today["power"]["rate"]),
        "none" if five is None else f"{_rate(five['power']['rate'])} at {target.cost(five):.2f}",
        said(target.best("search", same_search=True)),
        said(target.best("search")),
        said(target.best("training sets")),
    )
    return f"| {' | '.join(cells)} |"


def _by_count(rows: Sequence[Row], part: str, counts: Sequence[int]) -> str:
    """The rates of each number of replicates, averaged over the sizes of a search."""

    def one(count: int) -> str:
        rates = [row[part]["rate"] for row in rows if row["replicates"] == count]
        return _rate(sum(rates) / len(rates)) if rates else "–"

    return " ".join(map(one, counts))


def _worst(rows: Sequence[Row], part: str) -> str:
    worst = max((row[part] for row in rows), key=lambda count: float(count["rate"]))
    return f"{_rate(worst['rate'])} [{_rate(worst['low'])}, {_rate(worst['high'])}]"


def _rate(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")
