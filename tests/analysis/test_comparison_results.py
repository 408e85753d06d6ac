from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.comparison.compare import Analysis, analyse
from analysis.comparison_results import comparison_records, schema
from analysis.stats.twoway import TwoWay
from tests.analysis.made_up import made_up

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    """With and without predictions, failures, a repetition, an undefined score and a cell that was never begun."""
    whole = made_up(
        {"control": 1.5, "gpaf": 1.9, "near": 1.5, "late": 1.5},
        family="vs_control",
        control="control",
        group_size=2,
        repeats={"gpaf": 0.001},
        metrics=("balanced_accuracy", "macro_f1"),
    )
    cells = {key: cell for key, cell in whole.cells.items() if key != ("beta", "late")}
    near = cells["alpha", "near"]
    cells["alpha", "near"] = replace(near, scores={**near.scores, "macro_f1": {1000: None, 1001: 0.5}})
    cells["beta", "near"] = replace(cells["beta", "near"], failures={2000: "out_of_memory"})
    return analyse(
        replace(whole, cells=cells, predictions=lambda name: whole.predictions(name) if name == "alpha" else None)
    )


@pytest.fixture(scope="module")
def record(analysis: Analysis) -> dict[str, Any]:
    return json.loads(json.dumps(comparison_records(analysis), allow_nan=False))  # type: ignore[no-any-return]


def faults(value: Any, rule: Mapping[str, Any], root: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Where a document breaks a schema that uses the words below and no others."""
    if "$ref" in rule:
        rule = {**root["$defs"][rule["$ref"].rpartition("/")[2]], **{k: v for k, v in rule.items() if k != "$ref"}}
    unknown = set(rule) - {
        *("$schema", "$defs", "title", "description", "type", "properties", "required", "additionalProperties"),
        *("items", "anyOf", "enum", "const"),
    }
    assert not unknown, unknown
    if "anyOf" in rule and all(any(True for _ in faults(value, one, root, path)) for one in rule["anyOf"]):
        yield f"{path}: fits none of {rule['anyOf']}"
    if "enum" in rule and value not in rule["enum"]:
        yield f"{path}: {value!r} is not one of {rule['enum']}"
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    kind = rule.get("type")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in ("number", "integer"):
        if not number or (kind == "integer" and not isinstance(value, int)):
            yield f"{path}: {value!r} is no {kind}"
    elif kind is not None and not isinstance(value, kinds[kind]):
        yield f"{path}: {value!r} is no {kind}"
    if kind == "object" and isinstance(value, dict):
        own, rest = rule.get("properties", {}), rule.get("additionalProperties", True)
        yield from (f"{path}: lacks {name}" for name in rule.get("required", ()) if name not in value)
        for name, entry in value.items():
            if name in own:
                yield from faults(entry, own[name], root, f"{path}.{name}")
            elif rest is False:
                yield f"{path}: has {name} too"
            elif isinstance(rest, dict):
                yield from faults(entry, rest, root, f"{path}.{name}")
    if kind == "array" and isinstance(value, list):
        for place, entry in enumerate(value):
            yield from faults(entry, rule.get("items", {}), root, f"{path}[{place}]")


def test_a_record_fits_the_published_schema_and_a_changed_one_does_not(record: dict[str, Any]) -> None:
    published = json.loads((DOCS / "results.schema.json").read_text())
    assert published == schema(), "python -m analysis.comparison_results > docs/results.schema.json"
    assert list(faults(record, published, published)) == []
    first = record["comparisons"][0]
    for change in ({"outcome": "equal"}, {"difference": "0.1"}, {"seeds": [0.5]}, {"more": 1}, {"flags": None}):
        assert list(faults({**record, "comparisons": [{**first, **change}]}, published, published))
    short = {name: value for name, value in first.items() if name != "family"}
    found = list(faults({**record, "comparisons": [short]}, published, published))
    assert found == [".comparisons[0]: lacks family"]


def test_the_page_describes_every_member() -> None:
    page = (DOCS / "results-json.md").read_text()
    named = {name for text in re.findall(r"`([^`\n]+)`", page) for name in re.findall(r"\w+", text)}
    members = {name for model in (schema(), *schema()["$defs"].values()) for name in model.get("properties", {})}
    assert members - named == set()


def test_every_comparison_is_there_once_with_its_numbers(analysis: Analysis, record: dict[str, Any]) -> None:
    comparisons = [*analysis.comparisons, *analysis.averages]
    assert len(record["comparisons"]) == len(comparisons)
    for one, entry in zip(comparisons, record["comparisons"], strict=True):
        pair, estimate = one.pair, one.pair.estimate
        place = (pair.dataset, pair.metric, pair.first, pair.second, one.role, one.outcome, one.family)
        assert tuple(entry[name] for name in ("dataset", "metric", "a", "b", "role", "outcome", "family")) == place
        numbers = ("difference", "low", "high", "standard_error", "df", "confidence", "scope")
        if estimate is None:
            assert [entry[name] for name in (*numbers, "interval", "p")] == [None] * 9 and entry["flags"]
            continue
        expected = [
            estimate.estimate, estimate.low, estimate.high, estimate.standard_error, estimate.df, 0.95, estimate.scope,
        ]  # fmt: skip
        assert [entry[name] for name in numbers] == expected
        corrected = (one.p, one.p_adjusted, one.wrong, one.detectable, one.equivalence_p_adjusted)
        assert corrected == (
            *(entry[name] for name in ("p", "p_adjusted", "probability_of_other_sign", "detectable")),
            entry["equivalence"]["p_adjusted"],
        )
        if isinstance(estimate, TwoWay):
            assert (entry["units"], entry["cases"]) == (120, 240)
            assert entry["variance"]["case"] == estimate.components.case
        if pair.effects is not None and pair.sign_flip is not None:
            assert entry["effects"]["probability_a_larger"] == pair.effects.probability_larger
            assert entry["sign_flip"]["p"] == pair.sign_flip.p and entry["sign_flip"]["floor"] == pair.sign_flip.floor
    intervals = {entry["interval"] for entry in record["comparisons"]}
    assert intervals == {"two_way", "t_over_seeds", "fixed_datasets", None}


def test_what_went_wrong_is_in_the_record(analysis: Analysis, record: dict[str, Any]) -> None:
    cells = {(cell["dataset"], cell["method"]): cell for cell in record["cells"]}
    assert ("beta", "late") not in cells and len(cells) == 7
    assert cells["beta", "near"]["failures"] == {"2000": "out_of_memory"}
    assert cells["alpha", "gpaf"]["repeats"][0]["change"]["auc"] == 0.001
    assert cells["alpha", "gpaf"]["origins"]["1003"].endswith("s1003")
    scores = {(one["dataset"], one["method"], one["metric"]): one for one in record["scores"]}
    undefined = scores["alpha", "near", "macro_f1"]
    assert undefined["values"] == {"1000": None, "1001": 0.5} and undefined["mean"] is None
    spread = scores["alpha", "gpaf", "balanced_accuracy"]["spread"]
    assert math.isclose(spread["seed_share"] + spread["case_share"] + spread["interaction_share"], 1.0)
    missing = [one for one in record["comparisons"] if one["a"] == "late" and one["dataset"] == "beta"]
    assert {one["flags"][0]["code"] for one in missing} == {"nothing_in_common"}
    assert [claim["status"] for claim in record["claims"] if claim["a"] == "gpaf"] == ["supported"] * 3
    assert [entry["outcome"] for entry in record["robustness"]] == [
        one.comparison.outcome for one in analysis.robustness
    ]
    assert {check["what"] for check in record["robustness"][0]["checks"]} == {
        "the first half of the seeds",
        "the second half of the seeds",
        "by macro_f1",
    }


def test_numbers_that_are_not_finite_become_null(analysis: Analysis) -> None:
    first = analysis.comparisons[0]
    odd = replace(first, detectable=math.inf, wrong=math.nan)
    entry = comparison_records(replace(analysis, comparisons=(odd,)))["comparisons"][0]
    assert entry["detectable"] is None and entry["probability_of_other_sign"] is None and entry["p"] == first.p


def test_the_same_analysis_gives_the_same_bytes(analysis: Analysis) -> None:
    assert json.dumps(comparison_records(analysis)) == json.dumps(comparison_records(analysis))
