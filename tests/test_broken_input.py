"""The judge of generated input notices whatever a reader may owe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from broken_input import Reader, assert_handles, explore, look
from hypothesis import strategies as st
from sketches import svg_alone


def refuse(message: str, code: int = 2) -> int:
    print(message, file=sys.stderr)
    return code


def endless() -> int:
    while True:
        pass


def write() -> int:
    Path("left.txt").write_text("x")
    return refuse("error: no")


FAULTS: dict[str, tuple[Callable[[], int], str]] = {
    "raises": (lambda: int("x"), "ValueError"),
    "prints a traceback": (lambda: refuse("Traceback (most recent call last):\nerror: x"), "a traceback"),
    "hangs": (endless, "no answer within 0.2 s"),
    "says nothing": (lambda: 2, "not one line"),
    "says two lines": (lambda: refuse("error: a\nerror: b"), "not one line"),
    "goes on talking": (lambda: refuse("error: a\nand more"), "not one line"),
    "colours the terminal": (lambda: refuse("error: \x1b[31m"), "control characters"),
    "says it all": (lambda: refuse("error: " + "x" * 3000), "3007 characters"),
    "other code": (lambda: refuse("error: a", 1), "exit code 1"),
    "writes": (write, "wrote left.txt"),
}


def reader(command: Callable[[], int]) -> Reader[int]:
    return Reader(st.integers(0, 100), lambda example, folder: [], lambda arguments: command())


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_seen(fault: str) -> None:
    command, said = FAULTS[fault]
    outcome = look(reader(command), 1, seconds=0.2)
    assert outcome.problem is not None and said in outcome.problem


def test_a_refusal_and_a_file_that_is_taken_are_well() -> None:
    for command, code in ((lambda: refuse("error: x.yaml:1: no"), 2), (lambda: 0, 0)):
        assert (look(reader(command), 1).code, look(reader(command), 1).problem) == (code, None)


def test_the_long_form_counts_every_problem_and_the_short_one_stops_at_the_first() -> None:
    def command(arguments: list[str]) -> int:
        return 0 if int(arguments[0]) < 50 else 1

    odd = Reader(st.integers(0, 100), lambda example, folder: [str(example)], command)
    tally = explore(odd, count=60, seed=1)
    assert sum(tally.codes.values()) == 60
    assert len(tally.problems) == tally.codes[1] > 5
    with pytest.raises(AssertionError, match=r"exit code 1:\n\n50\n"):
        assert_handles(odd, count=60)


def test_broken_sweep_files_are_refused_in_one_line() -> None:
    from broken_sweeps import READER

    assert_handles(READER, count=150)


def test_broken_run_directories_are_refused_in_one_line() -> None:
    from broken_runs import READER

    with svg_alone():
        assert_handles(READER, count=60)
