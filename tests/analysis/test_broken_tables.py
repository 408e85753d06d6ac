"""Tables that nobody meant to write: taken, or refused in one line, with nothing written."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from broken_input import assert_handles
from broken_tables import READER
from sketches import svg_alone


def test_generated_tables_are_taken_or_refused_in_one_line() -> None:
    with svg_alone():
        assert_handles(READER, count=60)
