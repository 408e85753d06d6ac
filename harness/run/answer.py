"""What a run's report answers, in a few lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.core.files import read_json
from harness.run.directory import RunDirectory

_MOST = 12
"""Comparisons that are told one by one."""


def answer(run: RunDirectory) -> list[str]:
    """The question, its answer, and each declared comparison with its interval; nothing where there is no report, or
    none was declared.

    Args:
        run: the run directory.

    Raises:
        TornFileError: the report's results are not whole.
    """
    if not run.report_results.exists():
        return []
    comparison = read_json(run.report_results)["comparison"]
    lines = [*comparison["question"]]
    asked = [one for one in comparison["comparisons"] if one["role"] == "primary" and one["dataset"] is not None]
    if not lines or len(asked) > _MOST:
        return lines
    return [*lines, *_told(asked, comparison["plan"]["confidence"])]


def _told(asked: list[Mapping[str, object]], confidence: float) -> Iterator[str]:
    width = max(len(f"{one['a']} - {one['b']}, {one['dataset']}") for one in asked)
    for one in asked:
        name = f"{one['a']} - {one['b']}, {one['dataset']}".ljust(width)
        if one["difference"] is None:
            yield f"  {name}  not compared"
        else:
            low, high = one["low"], one["high"]
            # With one replicate there is a difference and no interval.
            interval = "no interval" if low is None else f"{100 * confidence:g} % [{low:+.3f}, {high:+.3f}]"
            yield f"  {name}  {one['difference']:+.3f}  {interval}  {one['outcome']}"
