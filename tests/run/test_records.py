"""The forms of a run's files: what they take they take as it is, and what they do not take they name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import made_up_records
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.files import TornFileError
from harness.core.identity import canonical_hash
from harness.run import study_records, trial_records
from harness.run.outcome import score_in

SETTINGS = st.dictionaries(
    st.text(max_size=5), st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-100, 100).map(round).map(float) | st.text(max_size=5)
)  # fmt: skip


@given(SETTINGS)
def test_a_number_stays_the_number_that_it_was(settings: dict[str, Any]) -> None:
    """10.0 and 10 are two configurations: their hashes differ."""
    content = json.dumps(made_up_records.request(hyperparameters=settings)).encode()
    found = trial_records.REQUEST.parse(content)
    assert found is not None and canonical_hash(found["hyperparameters"]) == canonical_hash(settings)


def test_an_outcome_is_the_part_of_a_result_that_counts_by_a_metric() -> None:
    scores = {"auc": 0.75, "nll": 0.5, "confusion": [[1, 2]]}
    result = made_up_records.result(metrics={"val": scores, "test": scores}, device={"name": "cpu"})
    content = json.dumps(result).encode()
    metrics = ("auc", "my score", "confusion")
    outcomes = {metric: trial_records.outcome_form(metric).parse(content) for metric in metrics}
    assert outcomes["auc"] is not None and outcomes["auc"]["metrics"] == {"val": {"auc": 0.75}}
    assert all(value == result[name] for name, value in outcomes["auc"].items() if name != "metrics")
    found = {metric: outcome and score_in(outcome, metric) for metric, outcome in outcomes.items()}
    assert found == {"auc": 0.75, "my score": None, "confusion": None}
    failed = made_up_records.result(status="failed", metrics={}, cause="diverged")
    assert trial_records.outcome_form("auc").parse(json.dumps(failed).encode()) is not None
    for torn in ({"metrics": {"val": 1}}, {"status": "finished"}, {"steps": -1}):
        assert trial_records.outcome_form("auc").parse(json.dumps({**result, **torn}).encode()) is None


CASES = [
    (trial_records.RESULT, made_up_records.result(), {"status": "finished"}, "status"),
    (trial_records.RESULT, made_up_records.result(), {"metrics": {}}, "metrics.val"),
    (trial_records.RESULT, made_up_records.result(), {"time": {"train_seconds": "x"}}, "time"),
    (trial_records.RESULT, made_up_records.result(status="failed"), {"hyperparameters": 1.0}, "hyperparameters"),
    (trial_records.REQUEST, made_up_records.request(), {"threads": 0}, "threads"),
    (trial_records.REQUEST, made_up_records.request(), {"seed": True}, "seed"),
    (study_records.STUDY, made_up_records.study(), {"space": {"lr": {"kind": "x", "default": 1}}}, "space.lr.kind"),
    (study_records.STUDY, made_up_records.study(), {"space": {"lr": {"kind": "Float", "default": 1}}}, "space"),
    (study_records.STUDY, made_up_records.study(), {"search_slots": 10**30}, "search_slots"),
    (study_records.CHOICE, made_up_records.choice(), {"value": "0.5"}, "value"),
    (trial_records.CURVE, made_up_records.epoch(3, nll=0.5), {"epoch": -1}, "epoch"),
]


@pytest.mark.parametrize(("form", "record", "change", "where"), CASES)
def test_another_form_is_named_by_its_place(
    form: Any, record: dict[str, Any], change: dict[str, Any], where: str, tmp_path: Path
) -> None:
    path = tmp_path / "it.json"
    path.write_text(json.dumps({**record, "more": [1]}))
    assert form.read(path) == {**record, "more": [1]}
    path.write_text(json.dumps({**record, **change}))
    with pytest.raises(TornFileError, match=r"it\.json"):
        form.read(path)
    assert where in (form.fault({**record, **change}) or "")
