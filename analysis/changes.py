"""What changed between two reports: ``python -m analysis.changes BEFORE AFTER [--out FILE]``.

Both are read from their ``results.json`` alone; nothing is computed again. It subtracts, and claims nothing: a change
from report to report has no interval.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from harness.core.arguments import check_out, parse, user_path
from harness.core.errors import EXIT_DONE, RequestError, run_command
from harness.core.identity import differences
from harness.core.output import say

if TYPE_CHECKING:
    from analysis.result_models import CellRecord, ComparisonRecord, ScoreRecord
    from analysis.shift_models import WholeDocument
    from harness.pages.contents import PageSection, Row

_EPILOG = """
BEFORE and AFTER are run directories, report folders or results.json files. FILE ends in .md or .html.
exit codes: 0 done, 2 the request was wrong
"""
_MOST_LINES = 60
"""Lines of a list of differences that are shown."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class SavedReport:
    """What a ``results.json`` says."""

    path: Path
    name: str
    comparison: WholeDocument
    declared: Mapping[str, Any]
    """The sweep file as resolved; empty where several runs or tables are behind the report."""
    data: Mapping[str, Any]
    """Label → card of the dataset."""
    environment: Mapping[str, Any]
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changed(Generic[R]):
    """What both reports have and say otherwise, what one of them lacks, and how much is the same."""

    both: tuple[tuple[R, R], ...]
    gone: tuple[R, ...]
    new: tuple[R, ...]
    same: int


def read_report(path: Path) -> SavedReport:
    """Read the results of a report.

    Args:
        path: a run directory, a report folder, or a ``results.json``.

    Raises:
        RequestError: there is no report, or its results are of another version.
        TornFileError: the file is not whole.
    """
    from pydantic import ValidationError

    from analysis.results import VERSION
    from analysis.shift_models import WholeDocument
    from harness.core.files import read_json
    from harness.run.directory import RunDirectory

    inside = (RunDirectory(path).report_results, path / RunDirectory(path).report_results.name)
    file = next((one for one in inside if one.is_file()), path) if path.is_dir() else path
    if not file.is_file():
        raise RequestError(f"{path}: there is no report; python -m analysis.report RUN writes one")
    found = read_json(file)
    again = "write the report anew by python -m analysis.report"
    if "comparison" not in found:
        raise RequestError(f"{file}: is not the results.json of a report")
    if found.get("version") != VERSION:
        raise RequestError(f"{file}: version {found.get('version')!r}, and this program reads {VERSION}; {again}")
    try:
        comparison = WholeDocument.model_validate(found["comparison"])
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise RequestError(f"{file}: comparison.{place} is not as this program writes it; {again}") from error
    return SavedReport(
        path=file,
        name=str(found.get("name", file.parent.name)),
        comparison=comparison,
        declared=found.get("spec") or {},
        data=found.get("datasets") or {},
        environment=found.get("environment") or {},
        flags=(*found.get("flags", ()), *(caution.sentence for caution in comparison.cautions)),
    )


def changed(before: Sequence[R], after: Sequence[R], key: Callable[[R], object]) -> Changed[R]:
    """Match records by a key, in the order of the later report.

    Args:
        before: of the earlier report.
        after: of the later one.
        key: what makes two records ones of the same thing; no two of a report share it.
    """
    old, new = {key(one): one for one in before}, {key(one): one for one in after}
    both = [(old[name], one) for name, one in new.items() if name in old]
    return Changed(
        both=tuple((first, second) for first, second in both if first != second),
        gone=tuple(one for name, one in old.items() if name not in new),
        new=tuple(one for name, one in new.items() if name not in old),
        same=sum(first == second for first, second in both),
    )


def verdicts(before: SavedReport, after: SavedReport) -> Changed[ComparisonRecord]:
    """The declared comparisons by the primary metric, and their averages over datasets."""

    def told(report: SavedReport) -> list[ComparisonRecord]:
        return [one for one in report.comparison.comparisons if one.role in ("primary", "average")]

    return changed(told(before), told(after), lambda one: (one.dataset, one.a, one.b, one.metric))


def lines(before: SavedReport, after: SavedReport) -> list[str]:
    """What changed, a line each: other outcomes first, then counts."""
    found = verdicts(before, after)
    other = [(old, new) for old, new in found.both if old.outcome != new.outcome]
    compared = len(found.both) + found.same
    told = [f"{_pair(new)}: {old.outcome} before, {new.outcome} now" for old, new in other]
    told.append(
        f"{len(other)} of {compared} verdicts that both reports have are other ones; "
        f"{found.same} are the same in every number"
    )
    told += [
        f"{_pair(one)}: {one.outcome}, only {when}"
        for when, ones in (("before", found.gone), ("now", found.new))
        for one in ones
    ]
    return [*told, *_reservations(before, after)]


def write_changes(before: SavedReport, after: SavedReport, out: Path) -> None:
    """Write the page of what changed; every text is escaped.

    Args:
        before: the earlier report.
        after: the later one.
        out: ends in ``.md`` or ``.html``; replaced if it is there.

    Raises:
        OSError: the page cannot be written.
    """
    from harness.core.files import write_atomic
    from harness.pages import page
    from harness.pages.contents import numbered, settled

    form = page.markdown if out.suffix.lower() == ".md" else page.html
    title = f"What changed: {before.name}" if before.name == after.name else f"From {before.name} to {after.name}"
    lead = "The later report less the earlier one. Such a change has no interval: it is no comparison of methods."
    sections = numbered(settled([*_sections(before, after)]))
    write_atomic(out, form(title, lead, _reservations(before, after), sections).encode())


def _reservations(before: SavedReport, after: SavedReport) -> list[str]:
    """Why numbers of the two may not be numbers of the same thing."""
    told = []
    if before.comparison.plan.metric != after.comparison.plan.metric:
        told.append(
            f"The primary metric is another one: {before.comparison.plan.metric}, now {after.comparison.plan.metric}."
        )
    for name in before.data.keys() & after.data.keys():
        if before.data[name].get("fingerprint") != after.data[name].get("fingerprint"):
            told.append(f"{name}: the images or labels are others, so scores on it are not of the same test cases.")
    return sorted(told)


def _sections(before: SavedReport, after: SavedReport) -> Iterator[PageSection]:
    from harness.pages.contents import PageSection, PageTable

    asked = before.comparison.question, after.comparison.question
    found = verdicts(before, after)
    same, now = (f"The same in both: {' '.join(asked[1])}",), f"Now: {' '.join(asked[1])}"
    yield PageSection(
        "Question and answer", same if asked[0] == asked[1] else (f"Before: {' '.join(asked[0])}", now), ()
    )
    other = [pair for pair in found.both if pair[0].outcome != pair[1].outcome]
    groups = (
        ("another outcome", tuple(_verdict_row(*pair) for pair in other)),
        ("the same outcome, other numbers", tuple(_verdict_row(*pair) for pair in found.both if pair not in other)),
        ("only before", tuple(_verdict_row(one, None) for one in found.gone)),
        ("only now", tuple(_verdict_row(None, one) for one in found.new)),
    )
    head = ("dataset", "a", "b", "before", "a − b [interval]", "now", "a − b [interval]", "change")
    table = PageTable("Declared comparisons", head, "lllllllr", tuple(group for group in groups if group[1]))
    sentence = f"{found.same} of the declared comparisons are the same in every number."
    yield PageSection("Verdicts", (sentence,), () if table.empty else (table,))
    yield _scores(before, after)
    yield _trials(before, after)
    yield _listed("Sweep file", differences(before.declared, after.declared))
    yield _listed("Data", differences(before.data, after.data))
    yield _listed("Where it ran", differences(before.environment, after.environment))
    gone, new = (
        [flag for flag in one.flags if flag not in other.flags] for one, other in ((before, after), (after, before))
    )
    yield _listed("Reservations", [*(f"no longer: {flag}" for flag in gone), *(f"new: {flag}" for flag in new)])


def _listed(title: str, told: Sequence[str]) -> PageSection:
    from harness.pages.contents import PageSection

    shown = tuple(told[:_MOST_LINES])
    more = (f"{len(told) - len(shown)} further differences are in the two files.",) if len(told) > len(shown) else ()
    return PageSection(title, (*shown, *more) or ("The same in both.",), ())


def _pair(one: ComparisonRecord) -> str:
    return f"{one.a} - {one.b}, {one.dataset or 'average over the datasets'}"


def _verdict_row(old: ComparisonRecord | None, new: ComparisonRecord | None) -> Row:
    from harness.pages.contents import number

    one = new or old
    assert one is not None
    change = _less(new.difference, old.difference) if old and new else None
    return (one.dataset or "average", one.a, one.b, *_told(old), *_told(new), number(change))


def _less(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before


def _told(one: ComparisonRecord | None) -> tuple[str, str]:
    from harness.pages.contents import NOT_AVAILABLE, number

    if one is None:
        return NOT_AVAILABLE, NOT_AVAILABLE
    span = "" if one.low is None else f" [{number(one.low)}, {number(one.high)}]"
    return one.outcome, f"{number(one.difference)}{span}"


def _scores(before: SavedReport, after: SavedReport) -> PageSection:
    from harness.pages.contents import PageSection, PageTable, number

    def own(report: SavedReport) -> list[ScoreRecord]:
        return [one for one in report.comparison.scores if one.metric == after.comparison.plan.metric]

    found = changed(own(before), own(after), lambda one: (one.dataset, one.method))
    rows = tuple(
        (new.dataset, new.method, number(old.mean), str(len(old.values)), number(new.mean), str(len(new.values)),
         number(_less(new.mean, old.mean)))
        for old, new in found.both
    )  # fmt: skip
    table = PageTable(
        f"Mean test {after.comparison.plan.metric} of cells whose scores are others",
        ("dataset", "method", "before", "replicates", "now", "replicates", "change"), "llrrrrr", (("", rows),),
    )  # fmt: skip
    return PageSection("Scores", (f"{found.same} cells have the same scores.",), (table,) if rows else ())


def _trials(before: SavedReport, after: SavedReport) -> PageSection:
    from harness.pages.contents import PageSection, PageTable

    def facts(one: CellRecord) -> tuple[str, ...]:
        return str(len(one.done)), str(len(one.declared)), str(len(one.failures)), str(one.search_trials or 0)

    found = changed(before.comparison.cells, after.comparison.cells, lambda one: (one.dataset, one.method))
    other = [(old, new) for old, new in found.both if facts(old) != facts(new)]
    none = ("n/a",) * 4
    rows = (
        *((new.dataset, new.method, *facts(old), *facts(new)) for old, new in other),
        *((one.dataset, one.method, *facts(one), *none) for one in found.gone),
        *((one.dataset, one.method, *none, *facts(one)) for one in found.new),
    )
    columns = ("done", "declared", "failed", "search trials")
    head = ("dataset", "method", *(f"{name} {when}" for when in ("before", "now") for name in columns))
    table = PageTable(
        "Confirm trials and search trials of cells where they differ", head, "ll" + "r" * 8, (("", rows),)
    )
    sentence = f"{len(found.both) + found.same - len(other)} cells have as many trials as before."
    return PageSection("Trials", (sentence,), (table,) if rows else ())


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m analysis.changes``."""
    result = argparse.ArgumentParser(
        prog="python -m analysis.changes",
        description="Say what changed between two reports: verdicts, scores, trials, sweep file, data, environment.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("before", type=user_path, metavar="BEFORE", help="the earlier report")
    result.add_argument("after", type=user_path, metavar="AFTER", help="the later report")
    result.add_argument("--out", type=user_path, metavar="FILE", help="page to write, .md or .html")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = parse(parser(), argv)

    def command() -> int:
        before, after = read_report(options.before), read_report(options.after)
        if options.out is not None:
            for report in (before, after):
                check_out(options.out, report.path.parent, (".md", ".html"))
        for line in lines(before, after):
            say(line)
        if options.out is not None:
            write_changes(before, after, options.out)
            say(str(options.out))
        return EXIT_DONE

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
