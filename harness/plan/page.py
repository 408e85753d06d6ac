"""A plan in a terminal: fits 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.launch.display import duration
from harness.pages.overlaps import overlap_notes
from harness.plan.document import Plan
from harness.plan.parts import Span
from harness.plan.pruned import PruningForecast

MOST_STUDIES = 30
"""Studies that are listed one by one."""


def page(plan: Plan) -> RenderableType:
    """The whole page but the table of search spaces."""
    parts: list[RenderableType] = []
    for title, body in (
        ("Work", [_studies(plan), *_totals(plan)]),
        ("Evaluations", [*_evaluations(plan)]),
        ("Images in two datasets", [Text(line) for line in overlap_notes(plan.overlaps)]),
        ("Room", _room(plan)),
        ("What it can show", [*_shown(plan)]),
        ("What a verdict may claim", [*_claimed(plan)]),
        ("Warnings", [Text(f"! {line}", style="bold yellow") for line in plan.warnings]),
    ):
        if body:
            parts += [Text(title, style="bold"), *body, ""]
    return Group(*parts[:-1])


def _studies(plan: Plan) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    table.add_column("study", overflow="ellipsis", no_wrap=True)
    for column in ("trials", "steps", "a trial", "device time"):
        table.add_column(column, justify="right", no_wrap=True)
    for shape in plan.shapes[:MOST_STUDIES]:
        span = plan.seconds.get(shape.name)
        each = "" if span is None else duration(span.middle / shape.trials)
        table.add_row(Text(shape.name), f"{shape.trials:,}", f"{shape.steps:,}", each, _span(span))
    rest = plan.shapes[MOST_STUDIES:]
    if rest:
        spans = [plan.seconds[shape.name] for shape in rest if shape.name in plan.seconds]
        total = sum(spans, start=Span(0.0, 0.0, 0.0)) if len(spans) == len(rest) else None
        trials, steps = sum(shape.trials for shape in rest), sum(shape.steps for shape in rest)
        table.add_row(Text(f"{len(rest)} more"), f"{trials:,}", f"{steps:,}", "", _span(total))
    return table


def _totals(plan: Plan) -> Iterator[Text]:
    search = sum(shape.search_trials for shape in plan.shapes if not shape.trained_first)
    confirm = sum(shape.confirm_trials for shape in plan.shapes)
    repeats = sum(shape.repeats for shape in plan.shapes)
    first = sum(shape.trained_first for shape in plan.shapes)
    again = sum(shape.reevaluations for shape in plan.shapes)
    listed = [f"{search:,} search", *([f"{again:,} re-evaluated"] if again else [])]
    listed += [f"{confirm:,} confirm", f"{repeats:,} repeated"]
    listed += [f"{first:,} for backbones that are trained first"] if first else []
    trials, steps = sum(shape.trials for shape in plan.shapes), sum(shape.steps for shape in plan.shapes)
    most = "at most " if plan.fewer_trials else ""
    yield Text(
        f"{most}{trials:,} trials ({', '.join(listed)}), {'at most ' if plan.stops_early else ''}{steps:,} steps"
    )
    if plan.pruned is not None:
        yield Text(_saved(plan.pruned))
    if plan.total is None:
        missing = [shape.name for shape in plan.shapes if shape.name not in plan.seconds]
        named = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        yield Text(f"device time: not known for {named}; a probe (--probe), --like or --seconds-per-step gives it")
        return
    middle = duration(plan.total.middle)
    if plan.stops_early:
        yield Text(
            f"device time: {_span(plan.total)}; {middle} if no trial stops early, the low end if each does at once"
        )
    else:
        yield Text(f"device time: {_span(plan.total)}, most likely {middle}")
    assert plan.wall is not None
    yield Text(f"with {plan.workers} worker{'s' if plan.workers > 1 else ''}: at least {_span(plan.wall)}")
    for origin in dict.fromkeys(one.origin for one in plan.measured.values()):
        yield Text(f"times: {origin}")


def _saved(pruned: PruningForecast) -> str:
    share = f"{100 * pruned.steps_left / pruned.steps:.0f} %" if pruned.steps else "none"
    if pruned.seconds is None or pruned.seconds_left is None:
        time = ""
    else:
        time = f", {duration(pruned.seconds_left)} instead of {duration(pruned.seconds)}"
    return f"where early ranks are the final ones, pruning leaves {share} of the search's steps{time}"


def _evaluations(plan: Plan) -> Iterator[RenderableType]:
    """What confirmed models are scored on besides their test split."""
    images = sum(shape.evaluated * shape.confirm_trials for shape in plan.shapes)
    if images:
        yield Text(f"{images:,} images are scored besides the test splits; their time is part of the device time")
    yield from map(Text, plan.evaluations)


def _room(plan: Plan) -> list[RenderableType]:
    room = plan.disk
    peaks = [one.peak_bytes for one in plan.measured.values() if one.peak_bytes]
    trained = f", trained backbones {_bytes(room.backbones)}" if room.backbones else ""
    trained += f", kept models {_bytes(room.kept)}" if room.kept else ""
    code = f", a copy of the code {_bytes(room.code)}" if room.code else ""
    lines = [
        f"disk: {_bytes(room.stays)} in {room.files:,} files (predictions {_bytes(room.predictions)}, results "
        f"{_bytes(room.results)}, curves {_bytes(room.curves)}{trained}{code}), and the report",
        f"while it runs: checkpoints of {_bytes(room.checkpoints)}" if room.checkpoints else "",
        f"decoded images, shared by all runs: {_bytes(room.decoded)}",
        f"memory of a trial: at most {_bytes(max(peaks))}" if peaks else "",
    ]
    return [Text(line) for line in lines if line]


def _shown(plan: Plan) -> Iterator[RenderableType]:
    declared = plan.family
    if declared is None or not plan.detectable:
        return
    seeds = f"{plan.seeds} seed{'s' if plan.seeds > 1 else ''}"
    yield Text(
        f"{declared.size} declared comparison{'s' if declared.size > 1 else ''} with {seeds}; level of the first step "
        f"{declared.level:.3g}"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("smallest difference found (80 %), points", overflow="fold")
    widest = "new splits" if any(one.splits > 1 for one in plan.detectable) else "seeds+cases"
    for column in ("test cases", widest, "seeds only"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in plan.detectable:
        cases = f"{one.cases:,}" + (f" ({one.units:,})" if one.units < one.cases else "")
        both = "" if one.both is None else f"{100 * one.both:.2f}"
        table.add_row(Text(one.dataset), cases, both, f"{100 * one.seeds_only:.2f}")
    yield table
    for one in plan.detectable:
        if one.seeds_for_wanted is not None:
            yield Text(f"{one.dataset}: the wanted difference needs {one.seeds_for_wanted} seeds")
    for spread in dict.fromkeys((one.spread.seed_sd, one.spread.origin) for one in plan.detectable):
        yield Text(f"SD of a difference over seeds {100 * spread[0]:.2g} points: {spread[1]}")
    if declared.reachable and all(one.splits < 2 for one in plan.detectable):
        yield Text(f"an exact test could reach significance (from {declared.seeds_for_exact} seeds on)")


def _claimed(plan: Plan) -> Iterator[RenderableType]:
    if not plan.choices:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("confirm", overflow="fold")
    table.add_column("a verdict holds for", overflow="fold")
    table.add_column("trials", justify="right", no_wrap=True)
    table.add_column("device time", justify="right", no_wrap=True)
    for one in plan.choices:
        mark = "→" if one.chosen else ""
        time = "" if one.seconds is None else duration(one.seconds.middle)
        table.add_row(mark, Text(one.written), Text(one.holds), f"{one.trials:,}", time)
    yield table
    yield Text("→: this sweep. How often each claims a difference where there is none: docs/designs.md")


def _span(span: Span | None) -> str:
    if span is None:
        return ""
    low, high = duration(span.low), duration(span.high)
    if low == high:
        return low
    number, unit = low.split(" ")
    return f"{number if high.endswith(unit) else low} to {high}"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
