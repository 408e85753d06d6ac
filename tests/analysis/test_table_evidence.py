"""Anyone's tables lead to the same comparisons as a run; what is wrong in them is refused or flagged, never dropped."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import made_up
from written_tables import Rows, prediction_rows, refused, result_rows, write

from analysis.comparison.compare import Analysis, analyse
from analysis.comparison.evidence import Evidence
from analysis.imported.evidence import evidence_from_tables
from analysis.stats.cautions import Caution
from harness.metrics.table import evaluate

SEEDS = range(1000, 1006)
LEVELS = {"lora": 1.5, "gpaf": 1.9, "control": 1.6}


@pytest.fixture(scope="module")
def small() -> Evidence:
    """Three methods on two datasets, six seeds, thirty-six cases of twelve patients."""
    return made_up(LEVELS, seeds=SEEDS, cases=36, group_size=3, control="control", family="vs_control")


def codes(cautions: Sequence[Caution]) -> set[str]:
    return {one.code for one in cautions}


def quickly(evidence: Evidence) -> Analysis:
    """By two metrics."""
    metrics = tuple(dict.fromkeys((evidence.plan.metric, "accuracy")))
    return analyse(replace(evidence, plan=replace(evidence.plan, metrics=metrics)))


def sentence(analysis: Analysis, code: str) -> str:
    (found,) = (one.sentence for one in analysis.cautions if one.code == code)
    return found


@pytest.mark.parametrize(("suffix", "with_results"), [(".parquet", False), (".csv", True)])
def test_tables_lead_to_the_comparisons_of_the_data_they_hold(tmp_path: Path, suffix: str, with_results: bool) -> None:
    known = made_up(LEVELS, seeds=SEEDS, cases=90, group_size=3, control="control", family="vs_control", margin=0.02)
    table = write(tmp_path / f"results{suffix}", result_rows(known)) if with_results else None
    predictions = write(tmp_path / f"predictions{suffix}", prediction_rows(known))
    read = evidence_from_tables(table, predictions, control="control", margin=0.02)
    assert read.plan.metrics[0] == "balanced_accuracy" and not read.plan.beforehand
    expected = analyse(replace(known, plan=replace(known.plan, metrics=read.plan.metrics)))
    found = analyse(read)
    assert found.comparisons == expected.comparisons
    assert found.averages == expected.averages
    assert found.scores == expected.scores
    assert {one.pair.interval for one in found.of("primary")} == {"two_way"}


def test_without_predictions_comparisons_cover_seeds_alone(tmp_path: Path) -> None:
    known = made_up(LEVELS, seeds=SEEDS, cases=36, with_predictions=False)
    read = evidence_from_tables(write(tmp_path / "results.parquet", result_rows(known)))
    assert read.plan.family == "all_pairs" and read.source == "the table results.parquet" and read.name == "results"
    expected = analyse(replace(known, plan=replace(known.plan, metrics=read.plan.metrics, margin=None)))
    found = analyse(read)
    assert found.comparisons == expected.comparisons
    assert all("seeds_only" in codes(one.pair.cautions) for one in found.comparisons)


@settings(max_examples=3, deadline=None)
@given(draw=st.randoms(use_true_random=False))
def test_the_order_of_rows_means_nothing(
    draw: random.Random, small: Evidence, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("shuffled")
    found = []
    for name, shuffled in (("as_is", False), ("shuffled", True)):
        results, predictions = result_rows(small, ("accuracy",)), prediction_rows(small)
        if shuffled:
            draw.shuffle(results)
            draw.shuffle(predictions)
        read = evidence_from_tables(
            write(folder / f"{name}.csv", results), write(folder / f"{name}.parquet", predictions), control="control"
        )
        plan = replace(read.plan, metrics=("accuracy", "auc"))
        comparisons = analyse(replace(read, plan=plan)).comparisons
        found.append(
            {(one.pair.dataset, one.pair.metric, one.pair.first): one for one in comparisons if one.role == "primary"}
        )
    assert found[0] == found[1]
    assert found[0]


def test_several_labels_an_image_and_other_classes_on_another_dataset(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    labels = draw.integers(0, 2, size=(40, 2))
    rows: Rows = []
    logits = {}
    for method, level in (("a", 1.0), ("b", 2.0)):
        for seed in (1, 2, 3):
            values = draw.normal(size=(40, 2)) + level * (2 * labels - 1)
            logits[method, seed] = values
            for case in range(40):
                own = {"method": method, "seed": seed, "case_id": f"{case:02}"}
                rows.append(
                    {**own, "dataset": "chest", "label": None, "label_0": labels[case, 0], "label_1": labels[case, 1]}
                    | {"logit_0": values[case, 0], "logit_1": values[case, 1], "logit_2": None}
                )
                rows.append(
                    {**own, "dataset": "skin", "label": case % 3, "label_0": None, "label_1": None}
                    | {f"logit_{k}": float(draw.normal()) for k in range(3)}
                )
    read = evidence_from_tables(None, write(tmp_path / "predictions.csv", rows), metric="auc")
    for (method, seed), values in logits.items():
        assert read.cells["chest", method].scores["auc"][seed] == evaluate(values, labels)["auc"]
    assert read.classes == {"skin": ("class 0", "class 1", "class 2")}
    assert {one.pair.cases for one in quickly(read).of("primary")} == {40}


def test_the_examples_of_the_manual_are_read(tmp_path: Path) -> None:
    manual = Path(__file__).resolve().parents[2] / "docs" / "import-results.md"
    results, predictions, splits = re.findall(
        r"^```csv\n(.*?)^```$", manual.read_text(), flags=re.MULTILINE | re.DOTALL
    )
    for name, text in (("results.csv", results), ("predictions.csv", predictions)):
        (tmp_path / name).write_text(text)
    scores = evidence_from_tables(tmp_path / "results.csv", control="lora").cells["ham10000", "gpaf"]
    assert scores.scores == {"balanced_accuracy": {0: 0.7455}} and scores.failures == {1: "failed"}
    found = evidence_from_tables(None, tmp_path / "predictions.csv").predictions("ham10000")
    assert found is not None and found.cases == 2 and found.groups is not None and found.groups.tolist() == [0, 0]
    (tmp_path / "splits.csv").write_text(splits)
    several = evidence_from_tables(tmp_path / "splits.csv")
    gpaf = several.cells["ham10000", "gpaf"]
    assert gpaf.splits == {0: "fold 1", 1: "fold 1", 2: "fold 2"}
    assert gpaf.searches == {0: "gpaf 1", 1: "gpaf 1", 2: "gpaf 2"}
    assert several.overlap == {"ham10000": (2003 + 2002) / (6409 + 6410)}


def test_predictions_missing_for_one_seed_leave_the_narrower_claim(small: Evidence, tmp_path: Path) -> None:
    rows = [
        row for row in prediction_rows(small) if (row["method"], row["dataset"], row["seed"]) != ("gpaf", "beta", 1003)
    ]
    read = evidence_from_tables(
        write(tmp_path / "results.csv", result_rows(small)), write(tmp_path / "p.parquet", rows), control="control"
    )
    found = quickly(read)
    assert {(one.pair.dataset, one.pair.first): one.pair.interval for one in found.of("primary")} == {
        ("alpha", "lora"): "two_way",
        ("alpha", "gpaf"): "two_way",
        ("beta", "lora"): "two_way",
        ("beta", "gpaf"): "t_over_seeds",
    }
    assert "beta, gpaf" in sentence(found, "missing_predictions") and "seed 1003" in sentence(
        found, "missing_predictions"
    )
    complete = quickly(
        evidence_from_tables(tmp_path / "results.csv", write(tmp_path / "all.parquet", prediction_rows(small)))
    )
    assert "missing_predictions" not in codes(complete.cautions)


def test_other_test_cases_are_left_out_and_said(small: Evidence, tmp_path: Path) -> None:
    rows = prediction_rows(small)
    first = next(row for row in rows if (row["method"], row["dataset"], row["seed"]) == ("gpaf", "beta", 1003))
    rows.remove(first)
    predictions = write(tmp_path / "predictions.parquet", rows)
    with_scores = quickly(evidence_from_tables(write(tmp_path / "results.csv", result_rows(small)), predictions))
    said = sentence(with_scores, "other_cases")
    assert "beta: gpaf" in said and "seed 1003 (35 cases, 35 of them among the 36 of most)" in said
    interval = {
        (one.pair.dataset, one.pair.first, one.pair.second): one.pair.interval for one in with_scores.of("primary")
    }
    assert interval["beta", "lora", "gpaf"] == "t_over_seeds" and interval["beta", "lora", "control"] == "two_way"
    # Without a score in a table, none is made up from other cases.
    alone = evidence_from_tables(None, predictions)
    assert alone.cells["beta", "gpaf"].missing == (1003,)
    (pair,) = (
        one.pair
        for one in quickly(alone).of("primary", "beta")
        if {one.pair.first, one.pair.second} == {"gpaf", "lora"}
    )
    assert 1003 not in pair.seeds and "unequal_seeds" in codes(pair.cautions)


def test_an_absent_class_leaves_a_mean_over_classes_undefined(small: Evidence, tmp_path: Path) -> None:
    rows = prediction_rows(small)
    for row in rows:
        row["label"] = min(row["label"], 1)
    table = write(tmp_path / "results.csv", result_rows(small))
    read = evidence_from_tables(table, write(tmp_path / "predictions.parquet", rows))
    predictions = read.predictions("alpha")
    assert predictions is not None and predictions.support["class 2"] == 0
    found = quickly(read)
    assert all(one.pair.estimate is None for one in found.of("primary"))
    assert all("undefined_scores" in codes(one.pair.cautions) for one in found.of("primary"))
    assert any(one.code == "undefined_values" and "alpha, gpaf" in one.sentence for one in found.cautions)
    by_accuracy = [one for one in found.of("secondary") if one.pair.metric == "accuracy"]
    assert {one.pair.interval for one in by_accuracy} == {"two_way"}


def test_rounded_values_give_way_to_the_predictions(small: Evidence, tmp_path: Path) -> None:
    rows = [{**row, "value": round(row["value"], 3)} for row in result_rows(small)]
    read = evidence_from_tables(
        write(tmp_path / "results.csv", rows), write(tmp_path / "predictions.csv", prediction_rows(small))
    )
    assert "rounded to 3 decimals" in sentence(quickly(read), "rounded_values")
    for place, cell in small.cells.items():
        assert read.cells[place].scores["balanced_accuracy"] == cell.scores["balanced_accuracy"]


def test_failed_and_undefined_values_one_seed_and_missing_methods_are_said(tmp_path: Path) -> None:
    known = made_up({"a": 1.5, "b": 1.9, "c": 1.7, "d": 1.6}, seeds=(1, 2, 3), cases=36, with_predictions=False)
    rows = []
    for row in result_rows(known, ("accuracy",)):
        place, seed = (row["dataset"], row["method"]), row["seed"]
        if place == ("beta", "d") or (place == ("beta", "c") and seed > 1):
            continue
        if place == ("alpha", "c") or (place, seed) == (("alpha", "a"), 3):
            row["value"] = "failed"
        if (place, seed) == (("beta", "a"), 2):
            row["value"] = "N/A"
        rows.append({name: str(value) for name, value in row.items()})
    read = evidence_from_tables(write(tmp_path / "results.tsv", rows))
    assert read.cells["alpha", "c"].failures == {1: "failed", 2: "failed", 3: "failed"}
    found = quickly(read)
    by_place = {(one.pair.dataset, one.pair.first, one.pair.second): one for one in found.of("primary")}
    reasons = {
        ("alpha", "a", "b"): "unequal_seeds",  # on two seeds
        ("alpha", "b", "c"): "nothing_in_common",  # c failed everywhere
        ("beta", "a", "b"): "undefined_scores",
        ("beta", "b", "c"): "few_seeds",
        ("beta", "b", "d"): "nothing_in_common",  # d was not run on beta
    }
    for place, code in reasons.items():
        assert code in codes(by_place[place].pair.cautions)
    assert {place for place, one in by_place.items() if one.pair.estimate is not None} == {
        ("alpha", "a", "b"),
        ("alpha", "a", "d"),
        ("alpha", "b", "d"),
    }
    said = {(one.code, one.sentence.partition(":")[0]) for one in found.cautions}
    assert {("lost_seeds", "alpha"), ("undefined_values", "beta, a")} <= said
    (lost,) = [one.sentence for one in found.cautions if one.code == "lost_seeds" and one.sentence.startswith("alpha")]
    assert all(f" {name}, of " in lost for name in "ac") and " b, of " not in lost


def test_the_direction_of_another_metric_can_be_given(small: Evidence, tmp_path: Path) -> None:
    rows = [
        {**row, "metric": "hausdorff", "value": row["value"] + (row["method"] == "gpaf")} for row in result_rows(small)
    ]
    table = write(tmp_path / "results.csv", rows)
    higher = evidence_from_tables(table, control="control")
    lower = evidence_from_tables(table, control="control", lower_is_better=("hausdorff",))
    assert "assumed_direction" in codes(higher.cautions) and "assumed_direction" not in codes(lower.cautions)
    opposite = {"better": "worse", "worse": "better", "inconclusive": "inconclusive"}
    outcomes = [[one.outcome for one in analyse(one).of("primary")] for one in (higher, lower)]
    assert outcomes[1] == [opposite[one] for one in outcomes[0]] and "better" in outcomes[0]
    refused(lambda: evidence_from_tables(table, lower_is_better=("hausdorf",)), "did you mean 'hausdorff'?")
    refused(lambda: evidence_from_tables(table, lower_is_better=("accuracy",)), "higher is better")


def test_what_the_tables_cannot_say_is_flagged(small: Evidence, tmp_path: Path) -> None:
    rows = [{**row, "metric": "balanced_acuracy"} for row in result_rows(small)][:-1]
    rows += [{**row, "metric": "dice"} for row in rows[:-1]]
    read = evidence_from_tables(write(tmp_path / "results.csv", rows), metric="dice")
    assert {"unknown_conditions", "assumed_direction"} == codes(read.cautions)
    assert any(
        "write it so if that was meant" in one.sentence and "balanced_accuracy" in one.sentence for one in read.cautions
    )
    assert "no dice of seed 1004" in sentence(quickly(read), "missing_values")
    ungrouped = [{name: v for name, v in row.items() if name != "group"} for row in prediction_rows(small)]
    alone = evidence_from_tables(None, write(tmp_path / "ungrouped.parquet", ungrouped))
    assert codes(alone.cautions) == {"unknown_conditions", "ungrouped_cases"}
    grouped = evidence_from_tables(None, write(tmp_path / "grouped.parquet", prediction_rows(small)))
    assert codes(grouped.cautions) == {"unknown_conditions"}


def test_a_dataset_of_a_table_can_be_said_to_share_a_source(small: Evidence, tmp_path: Path) -> None:
    predictions = write(tmp_path / "predictions.parquet", prediction_rows(small))
    read = evidence_from_tables(None, predictions, source=("alpha=nevi", "beta=nevi"))
    assert read.sources == {"nevi": ("alpha", "beta")} and read.about("alpha").groups == "known"
    assert "one_source" in codes(quickly(read).cautions)
    assert evidence_from_tables(None, predictions).sources == {"alpha": ("alpha",), "beta": ("beta",)}
    refused(lambda: evidence_from_tables(None, predictions, source=("alfa=nevi",)), "did you mean 'alpha'?")
    refused(lambda: evidence_from_tables(None, predictions, source=("alpha",)), "no dataset ''; write DATASET=NAME")
    refused(lambda: evidence_from_tables(None, predictions, source=("alpha=My nevi",)), "lower-case letters")
