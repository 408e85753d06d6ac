"""Find what is wrong with a run directory, and fix it: ``python -m harness.doctor RUN``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, run_command
from harness.core.output import say

if TYPE_CHECKING:
    from harness.core.console import Console
    from harness.doctor.finding import Finding
    from harness.run.directory import RunDirectory


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.doctor``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.doctor",
        description="Find torn, lost and stale files, dead leases and lost jobs of a run, one line each.",
        epilog="exit codes: 0 nothing is left for you to do, 1 something is, 2 the request was wrong",
    )
    result.add_argument("run", type=user_path, metavar="RUN", help="run directory of a sweep")
    result.add_argument(
        "--fix", action="store_true",
        help="fix it: damaged files go to RUN/set_aside, nothing is deleted, trials of living workers are left alone",
    )  # fmt: skip
    result.add_argument(
        "--code", action="store_true",
        help="import the plugins that the run names, which runs their code, and compare search spaces too; for a run "
        "that you trust (default: files are compared, nothing is imported)",
    )  # fmt: skip
    result.add_argument(
        "--plugins", action="append", default=[], type=user_path, metavar="DIR",
        help="import the plugins of this folder in place of those that the run names; may be repeated",
    )  # fmt: skip
    result.add_argument("--json", action="store_true", help="the findings as JSON")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parse(parser(), argv)
    return run_command(lambda: doctor(arguments))


def doctor(arguments: argparse.Namespace) -> int:
    """Carry out the command line."""
    from harness.core.console import Console
    from harness.run.directory import RunDirectory

    console = Console(stderr=True)
    run = RunDirectory(arguments.run)
    found = _examined(run, console, arguments)
    left = _mended(run, found, console) if arguments.fix else [finding for finding in found if finding.by != "nobody"]
    if arguments.json:
        findings = [{**finding.to_json(run.path), "left": finding in left} for finding in found]
        print(json.dumps({"run": str(run.path), "fixed": arguments.fix, "findings": findings}, indent=2))
        return EXIT_SOME_FAILED if left else EXIT_DONE
    for finding in left if arguments.fix else found:
        say(("left: " if arguments.fix else "") + finding.line(run.path))
    say(_summary(found, left, arguments.fix))
    return EXIT_SOME_FAILED if left else EXIT_DONE


def _examined(run: RunDirectory, console: Console, arguments: argparse.Namespace) -> list[Finding]:
    from harness.doctor.examination import examine

    with console.status("looking at trials") as status:

        def progress(done: int) -> None:
            status.update(f"looking at trials: {done}")

        return list(examine(run, progress, arguments.code, arguments.plugins))


def _mended(run: RunDirectory, found: Sequence[Finding], console: Console) -> list[Finding]:
    from harness.core.lease import hold
    from harness.doctor.fixing import fix

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    if any(finding.kind == "read-only" and finding.by == "user" for finding in found):
        return [finding for finding in found if finding.by != "nobody"]
    # Before the lock is taken: folders that cannot be written, and a lock that a wrong clock keeps alive.
    first = [finding for finding in found if finding.kind in ("read-only", "clock")]
    left = fix(run, first, say)
    with hold(run.lock_folder):
        # Workers keep nothing that they claim under a plan that they cannot read, either.
        plan = [finding for finding in found if finding.place == run.plan_path]
        left += fix(run, plan, say)
        rest = [finding for finding in found if finding not in (*first, *plan)]
        fixable = [finding for finding in (*plan, *rest) if finding.by == "fix"]
        if fixable:
            run.withdraw_plan()
        left += fix(run, rest, say)
        if any(finding not in left for finding in fixable):
            # What living workers know of the trials may not hold any more.
            run.publish_plan()
        elif fixable:
            run.restore_plan()
    return left


def _summary(found: Sequence[Finding], left: Sequence[Finding], fixed: bool) -> str:
    if not found:
        return "healthy: nothing is wrong"
    if not fixed:
        mendable = sum(finding.by == "fix" for finding in found)
        return f"{len(found)} findings; --fix repairs {mendable} of them"
    if left:
        return f"{len(left)} of {len(found)} findings are left to you"
    return f"{len(found)} findings, all fixed or harmless; run the sweep command to resume"


if __name__ == "__main__":
    sys.exit(main())
