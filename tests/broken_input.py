"""Broken input, generated: what every reader owes to a file that nobody meant to write.

A reader either takes a file (exit code 0) or refuses it: exit code 2, one line that begins with ``error: ``, no
traceback, nothing written, and all that within two seconds of processor time. ``look`` tests one example; the tests of
each reader give it hypothesis's examples with a fixed budget. The long form is a command::

    python -m tests.broken_input sweeps --count 5000

It prints how many were refused, which one took longest, and every example that a reader did not handle.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.strategies import SearchStrategy

SECONDS = 2.0
"""Processor time that a reader may take for one example."""
PATIENCE = 10
"""Times ``SECONDS`` on the clock after which an example counts as a hang: the machine may be busy."""

KINDS = {"sweeps": "broken_sweeps", "tables": "broken_tables", "archives": "broken_archives", "runs": "broken_runs"}
"""Word on the command line → module of this folder with a ``READER``."""

Example = TypeVar("Example")


@dataclass(frozen=True)
class Reader(Generic[Example]):
    """A reader, and the examples that are made for it."""

    examples: SearchStrategy[Example]
    lay: Callable[[Example, Path], list[str]]
    """Write an example into an empty folder; the arguments with which it is given to ``command``."""
    command: Callable[[list[str]], int]
    """The ``main`` of a command, run in this process with that folder as the current one."""
    show: Callable[[Example], str] = repr
    codes: tuple[int, ...] = (0, 2)
    """Exit codes that are allowed."""
    writes: bool = False
    """Whether the command may write into the folder where it does not refuse the request."""
    leaves: str = "\0"
    """What the paths begin with that any answer may write, such as the record of a lock that was taken."""
    taking: float = 0.0
    """Processor time for a file that is taken, where that is more: beyond reading it, a report is drawn."""


@dataclass(frozen=True)
class Outcome:
    """What became of one example."""

    code: int | None
    """None where the command raised or hung."""
    seconds: float
    """Processor time."""
    problem: str | None
    """What the reader owes and did not do; None where all is well."""


class Hang(BaseException):
    """Raised inside a reader that takes too long; no ``Exception``, so that nobody catches it."""


def look(reader: Reader[Example], example: Example, seconds: float = SECONDS) -> Outcome:
    """Give one example to its reader, in a folder of its own."""
    limit = max(seconds, reader.taking)
    with tempfile.TemporaryDirectory(prefix="broken-") as name:
        folder = Path(name).resolve()
        arguments = reader.lay(example, folder)
        before = _content(folder, reader.leaves)
        out, err = io.StringIO(), io.StringIO()
        code: int | None = None
        begun = time.process_time()
        try:
            with (
                contextlib.chdir(folder),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                _limited(limit),
            ):
                code = reader.command(arguments)
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else 1
        except Hang:
            return Outcome(None, time.process_time() - begun, f"no answer within {limit:g} s")
        except Exception:  # noqa: BLE001  (that is what is looked for)
            return Outcome(None, time.process_time() - begun, traceback.format_exc())
        taken = time.process_time() - begun
        problem = _problem(reader, code, taken, limit if code == 0 else seconds, out.getvalue(), err.getvalue())
        after = _content(folder, reader.leaves)
        if problem is None and not (reader.writes and code != 2) and after != before:
            new = sorted(after.keys() ^ before.keys()) or ["a file was changed"]
            problem = f"wrote {', '.join(new)}"
        return Outcome(code, taken, problem)


def _problem(reader: Reader[Any], code: int, taken: float, seconds: float, out: str, err: str) -> str | None:
    if "Traceback" in out + err:
        return f"a traceback:\n{err}"
    if code not in reader.codes:
        return f"exit code {code}:\n{err}"
    if taken > seconds:
        return f"took {taken:.1f} s"
    if code == 2:
        lines = err.strip("\n").split("\n")
        marked = [line for line in lines if line.startswith("error: ")]
        if len(marked) != 1 or lines[-1] != marked[0]:
            return f"not one line that begins with 'error: ':\n{err}"
        if not marked[0].isprintable():
            return f"control characters in {marked[0]!r}"
        if len(marked[0]) > 2000:
            return f"a line of {len(marked[0])} characters"
    return None


def _content(folder: Path, leaves: str) -> dict[str, bytes | None]:
    return {
        name: path.read_bytes() if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 20 else None
        for path in sorted(folder.rglob("*"))
        if not (name := str(path.relative_to(folder))).startswith(leaves)
    }


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise ``Hang`` in the body after so much processor time, or ten times that on the clock."""

    def stop(number: int, frame: object) -> None:
        raise Hang

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, PATIENCE * seconds))
    earlier = [signal.signal(number, stop) for _, number, _ in timers]
    left = [signal.setitimer(timer, limit)[0] for timer, _, limit in timers]
    try:
        yield
    finally:
        for (timer, number, _), handler, rest in zip(timers, earlier, left, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)
            # pytest's own time limit goes on where it was.
            signal.setitimer(timer, rest)


def assert_handles(reader: Reader[Example], count: int) -> None:
    """The form for CI: the same examples each time; the first that is not handled fails, made as small as it gets."""

    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(reader.examples)
    def every(example: Example) -> None:
        outcome = look(reader, example, seconds=5 * SECONDS)
        assert outcome.problem is None, f"{outcome.problem}\n{reader.show(example)}"

    every()


@dataclass
class Tally:
    """What a long run has found."""

    codes: dict[int | None, int] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "")
    problems: list[tuple[str, str]] = field(default_factory=list)

    def add(self, outcome: Outcome, shown: str) -> None:
        """Count one more."""
        self.codes[outcome.code] = self.codes.get(outcome.code, 0) + 1
        self.slowest = max(self.slowest, (outcome.seconds, shown))
        if outcome.problem is not None:
            self.problems.append((outcome.problem, shown))


def explore(reader: Reader[Any], count: int, seed: int) -> Tally:
    """The long form: ``count`` different examples, none of them the reason to stop."""
    tally = Tally()

    @seeded(seed)
    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(reader.examples)
    def every(example: Any) -> None:
        outcome = look(reader, example)
        if outcome.seconds > SECONDS:
            # The first of its kind also loads packages that no later one has to load.
            outcome = look(reader, example)
        tally.add(outcome, reader.show(example))

    every()
    return tally


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the long form; 1 where an example was not handled."""
    parser = argparse.ArgumentParser(prog="python -m tests.broken_input", description="Give broken files to a reader.")
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--count", type=int, default=5000, metavar="N", help="examples (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other examples (default: %(default)s)")
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(Path(__file__).parent))
    width = shutil.get_terminal_size((120, 40)).columns
    tally = explore(importlib.import_module(KINDS[options.kind]).READER, options.count, options.seed)
    for problem, shown in tally.problems[:20]:
        print("-" * min(width, 120), problem, shown[:4000], sep="\n")
    seconds, shown = tally.slowest
    print(f"slowest: {seconds:.2f} s of processor time: {shown[:300]!r}")
    counts = ", ".join(f"{number} ended with {code}" for code, number in sorted(tally.codes.items(), key=str))
    print(f"{sum(tally.codes.values())} {options.kind}: {counts}; {len(tally.problems)} not handled")
    return 1 if tally.problems else 0


if __name__ == "__main__":
    # The module that the readers import is this one.
    sys.modules["broken_input"] = sys.modules["__main__"]
    sys.exit(main())
