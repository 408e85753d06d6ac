from __future__ import annotations

import re
from dataclasses import replace

import pytest

from analysis.comparison.claims import Status, claims
from analysis.comparison.compare import Analysis, analyse
from analysis.comparison.robustness import Check, Robustness
from harness.pages.contents import number
from tests.analysis.made_up import made_up

LEVELS = {"control": 1.5, "high": 2.3, "low": 0.9, "near": 1.5, "absent": 1.5}


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    whole = made_up(
        LEVELS, family="vs_control", control="control", metrics=("balanced_accuracy",), with_predictions=False
    )
    cells = {key: cell for key, cell in whole.cells.items() if key != ("beta", "absent")}
    return analyse(replace(whole, cells=cells))


def test_there_is_a_claim_for_each_declared_comparison_in_order_and_its_status_follows_the_verdict(
    analysis: Analysis,
) -> None:
    found = claims(analysis)
    assert [one.comparison for one in found] == [*analysis.of("primary"), *analysis.averages]
    places = ["on alpha", "on beta", "on average over these 2 datasets"]
    assert [one.statement for one in found] == [
        f"As tuned here, {method} scores better than control {place} by balanced accuracy."
        for place in places
        for method in LEVELS
        if method != "control"
    ]
    status: dict[str, Status] = {
        "better": "supported",
        "worse": "contradicted",
        "equivalent": "equivalent",
        "inconclusive": "inconclusive",
    }
    assert [one.status for one in found] == [status[one.comparison.outcome] for one in found]
    assert {one.comparison.outcome for one in found} >= {"better", "worse", "inconclusive"}


def test_the_evidence_is_one_sentence_with_the_numbers_of_the_comparison(analysis: Analysis) -> None:
    for one in claims(analysis):
        comparison, estimate = one.comparison, one.comparison.pair.estimate
        assert re.fullmatch(r"[A-Z].*\.", one.evidence) and ". " not in one.evidence
        assert not re.search(r"\bequal|no differen", f"{one.statement} {one.evidence}")
        assert set(comparison.cautions) <= set(one.flags)
        if estimate is None:
            assert one.status == "inconclusive"
            assert "there is nothing of" in one.evidence or "1 of 2 datasets" in one.evidence
            continue
        digits = len(re.search(r"\.(\d+)", one.evidence)[1])  # type: ignore[index]
        assert number(abs(estimate.estimate), digits) in one.evidence
        assert number(abs(estimate.low or 0.0), digits) in one.evidence
        if one.comparison.pair.dataset is not None:
            assert one.scope.startswith("retraining with new seeds, given this training set, these test cases and ")
        if one.status == "inconclusive":
            power = f"80 % power only for differences of at least {number(comparison.detectable, digits)}"
            assert power in one.evidence


def test_equivalence_does_not_support_a_claim_and_says_why() -> None:
    wide = made_up({"a": 1.5, "b": 1.5}, datasets=("alpha",), metrics=("balanced_accuracy",), margin=0.2)
    only = claims(analyse(wide))[0]
    assert only.comparison.outcome == "equivalent" and only.status == "equivalent"
    assert only.evidence.startswith("The difference was shown to lie within the margin of 0.2 (")


def test_a_check_that_says_the_opposite_is_a_flag_of_the_claim(analysis: Analysis) -> None:
    one = analysis.of("primary", "alpha")[0]
    assert one.outcome == "better"
    opposite = Check(what="by auc", comparison=replace(one, outcome="worse"))
    turned = replace(analysis, robustness=(Robustness(comparison=one, checks=(opposite,)),))
    before, after = claims(analysis), claims(turned)
    assert [flag.sentence for flag in after[0].flags if flag.code == "reversed_by_check"] == [
        "The verdict is the opposite when judged by AUC."
    ]
    assert after[1:] == before[1:] and after[0].status == "supported"


def test_one_method_makes_no_claim() -> None:
    whole = made_up({"a": 1.5, "b": 1.5}, datasets=("alpha",), metrics=("balanced_accuracy",))
    assert claims(replace(analyse(whole), comparisons=(), averages=(), robustness=())) == []
