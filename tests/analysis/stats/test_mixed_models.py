"""Designs of replicates against mixed models of lme4, recorded by ``mixed_models.R`` beside this file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.comparison.draws import Replicates
from analysis.stats.resampled import mean_over_splits
from analysis.stats.twoway import two_way

KNOWN: dict[str, Any] = json.loads(Path(__file__).with_suffix("").with_name("mixed_models.json").read_text())
SPLITS, SEARCHES, CASES = 6, 5, 25


def test_splits_that_share_nothing_are_a_random_effect_around_trainings() -> None:
    known = KNOWN["splits"]
    values = np.array(known["values"])
    found = mean_over_splits(values, np.repeat(np.arange(SPLITS), len(values) // SPLITS).tolist(), overlap=0.0)
    assert found.estimate == pytest.approx(known["estimate"], rel=1e-7)
    assert found.standard_error == pytest.approx(known["standard_error"], rel=1e-6)
    assert found.df == pytest.approx(known["df"], rel=1e-5)


def test_trainings_of_one_search_are_one_row_of_searches_and_cases() -> None:
    known = KNOWN["searches"]
    # Cases fastest, then the trainings of a search, then searches.
    table = np.array(known["values"]).reshape(-1, CASES)
    trainings = tuple(np.repeat(np.arange(SEARCHES), len(table) // SEARCHES).tolist())
    found = two_way(Replicates(("",) * len(table), trainings).rows(table))
    assert found.estimate == pytest.approx(known["estimate"], rel=1e-7)
    assert found.standard_error == pytest.approx(known["standard_error"], rel=1e-5)
    assert found.df == pytest.approx(known["df"], rel=1e-3)
