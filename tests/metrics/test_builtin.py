"""The built-in metrics: what the contract asks, and the same bits as before they were plugins."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.metric import Metric
from harness.metrics.table import DEFAULT, built_in, evaluate, general, known_metrics, standard
from harness.plugins import discover
from tests.metrics.conformance import check
from tests.metrics.former import former


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cases=st.integers(1, 60),
    classes=st.integers(2, 6),
    spread=st.sampled_from([0.1, 1.0, 30.0, 900.0]),
    ties=st.booleans(),
    several=st.booleans(),
    ordinal=st.booleans(),
    share=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
def test_every_bit_and_the_order_of_keys_are_as_they_were(
    seed: int, cases: int, classes: int, spread: float, ties: bool, several: bool, ordinal: bool, share: float
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(cases, classes)) * spread
    logits = logits.round() if ties else logits
    if several:
        ordinal, labels = False, (rng.random((cases, classes)) < share).astype(np.int64)
    else:
        labels = rng.integers(0, classes, cases) if share else np.zeros(cases, dtype=np.int64)
    # JSON writes a float by its shortest form, which tells any two apart.
    assert json.dumps(evaluate(logits, labels, ordinal)) == json.dumps(former(logits, labels, ordinal))


NO_BOUND_FOR_PERFECT = {
    "calibration_slope_error",
    "calibration_intercept_error",
    "net_benefit_10",
    "net_benefit_20",
}
"""No slope fits a perfect prediction best, its intercept and net benefit depend on the share of each class."""


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("metric", built_in().values(), ids=lambda metric: metric.name)
def test_the_contract(metric: Metric, several: bool) -> None:
    if several and not metric.multi_label:
        assert metric.name not in evaluate(np.zeros((2, 2)), np.eye(2, dtype=np.int64))
        return
    # Rates at a threshold are of two classes, and what is perfect is in their own tests.
    check(metric, several, perfect_is_best=metric.name not in NO_BOUND_FOR_PERFECT and metric.by_case)


def test_one_table_names_every_metric() -> None:
    wanted = [
        "accuracy",
        "balanced_accuracy",
        "auc",
        "macro_f1",
        "mcc",
        "kappa",
        "kappa_quadratic",
        "nll",
        "brier",
        "ece",
    ]
    assert list(standard()) == list(known_metrics()) == wanted
    assert {name for name, metric in standard().items() if not metric.higher_is_better} == {"nll", "brier", "ece"}
    assert set(general()) == set(wanted) - {"kappa_quadratic"}
    assert DEFAULT in standard()
    found = discover().all(Metric)
    assert set(found) == set(built_in()) > set(wanted)
    assert all(plugin.cls.fault() is None and plugin.summary for plugin in found.values())
    every = built_in().values()
    assert len({metric.label for metric in every}) == len({metric.phrase for metric in every}) == len(every)


def test_names_in_a_sentence_keep_the_capitals_of_names_and_acronyms() -> None:
    words = {name: facts.in_text for name, facts in known_metrics().items()}
    assert words["balanced_accuracy"] == "balanced accuracy"
    assert (words["auc"], words["nll"], words["brier"], words["kappa"]) == ("AUC", "NLL", "Brier score", "kappa")
