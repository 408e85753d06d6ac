"""Answers that were computed independently of this code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def known() -> dict[str, dict[str, Any]]:
    """Identifier → input, expected values and tolerance."""
    place = Path(os.environ.get("GPAF_BENCH_REFERENCE") or Path(__file__).parents[4] / "shared" / "reference")
    path = place / "known_answers.json"
    if not path.is_file():
        pytest.skip(f"no {path.name}; name its folder by GPAF_BENCH_REFERENCE")
    return {entry["id"]: entry for entry in json.loads(path.read_text(encoding="utf-8"))}
