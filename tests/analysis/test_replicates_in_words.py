"""What a report says where replicates draw splits and searches anew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_up import every_table, replicated
from made_up_replicates import HELD, OVERLAP, SPEC, base, only, own_search, texts
from sketches import empty_figures

from analysis.comparison.claims import claims
from analysis.comparison.compare import analyse
from analysis.comparison.pairs import DatasetValues
from analysis.comparison.phrases import scope_note
from analysis.comparison_results import comparison_records
from analysis.figures.comparisons import forest
from analysis.figures.predictions import confusion, reduced, reliability, sensitivity
from analysis.report import write_table_report
from analysis.runs.conduct import Conduct
from analysis.stats.scopes import DrawnAnew, scope_phrase
from analysis.tables.cells import Scopes
from analysis.tables.checks import power
from analysis.words.appendix import seed_facts
from analysis.words.findings import results_paragraphs
from analysis.words.limitations import limitations
from analysis.words.methods import methods_paragraph


def test_where_split_and_search_are_drawn_anew_nothing_is_called_fixed() -> None:
    analysis = analyse(replicated(base(datasets=("alpha", "beta")), {"alpha": 5, "beta": 10}, own_search))
    whole = texts(analysis)
    assert HELD.findall(whole) == []
    phrase = "searching anew and retraining with new seeds on new training and test sets of the same source"
    assert {claim.scope for claim in claims(analysis)} == {phrase}
    assert scope_note(analysis) == f"Intervals and verdicts hold for {phrase}. New datasets were not drawn."
    assert "Nadeau and Bengio 2003" in whole and "0.31" in whole
    assert "alpha was split into 64 % training" in whole and "(5 times anew)" in whole and "(10 times anew)" in whole
    assert "One search served all replicates: each was trained with the configuration that a resample" in whole
    several = {**SPEC, "search": {**SPEC["search"], "repeats": 10}}
    assert "divided among 10 independent searches whose choices" in methods_paragraph(
        analysis,
        Conduct(spec=several),  # type: ignore[arg-type]
    )
    limits = " ".join(limitations(analysis, SPEC))  # type: ignore[arg-type]
    assert "All splits of each dataset are of the same images" in limits
    assert "One split" not in limits and "tuned by one search" not in limits
    assert all(one.pair.drawn == DrawnAnew(sets=True, cases=True, search=True) for one in analysis.averages)
    facts = dict(seed_facts(analysis.evidence).pairs)
    assert "split split 1: 1001 and 1006" in facts["alpha"]


def test_what_was_held_fixed_is_named_and_nothing_else() -> None:
    splits = analyse(replicated(base(), {"alpha": 5}))
    assert set(HELD.findall(texts(splits))) == {"configurations that were chosen"}
    assert "New searches and datasets were not drawn." in scope_note(splits)
    assert "tuned by one search" in " ".join(limitations(splits, SPEC))  # type: ignore[arg-type]
    searches = analyse(replicated(base(), {}, own_search))
    assert "configurations that were chosen" not in texts(searches)
    assert "given this training set and this split" in texts(searches)
    assert "New training sets, splits and datasets were not drawn." in scope_note(searches)
    limits = " ".join(limitations(searches, SPEC))  # type: ignore[arg-type]
    assert "One split of the dataset" in limits and "tuned by one search" not in limits


def test_datasets_with_and_without_several_splits_are_told_apart() -> None:
    analysis = analyse(replicated(base(datasets=("alpha", "beta")), {"alpha": 5}))
    alpha, beta = (only(analysis, dataset=name).pair for name in ("alpha", "beta"))
    assert (alpha.interval, beta.interval) == ("over_splits", "two_way")
    mean = analysis.averages[0].pair
    assert mean.estimate is not None and alpha.estimate is not None and beta.estimate is not None
    errors = [one.estimate.standard_error for one in (alpha, beta) if one.estimate is not None]
    assert mean.estimate.standard_error == pytest.approx(np.sqrt(sum(error**2 for error in errors if error)) / 2)
    assert mean.drawn == DrawnAnew(cases=True, partly=True) and mean.replicates == 5
    text = results_paragraphs(analysis)[0]
    assert f"{scope_phrase(alpha.drawn)} (on alpha)" in text and f"{scope_phrase(beta.drawn)} (on beta)" in text
    assert "on some of the datasets given this training set, this split" in claims(analysis)[-1].scope
    note = scope_note(analysis)
    assert f"{scope_phrase(alpha.drawn)} (alpha); for {scope_phrase(beta.drawn)} (beta)" in note
    methods = methods_paragraph(analysis, Conduct(spec=SPEC))  # type: ignore[arg-type]
    assert "negative log-likelihood on alpha, differences were paired by replicate" in methods
    assert "negative log-likelihood on beta, differences were paired by seed and test case" in methods
    assert "Predictions were analysed for 240 test cases (beta)." in methods
    assert "On alpha the analysis rests on one score for each replicate, because the test images change" in methods
    tables = {table.name: table for table in every_table(analysis)}
    assert "§: retraining with new seeds and scoring new cases" in tables["main"].note
    cells = {str(row[0]): [str(cell) for cell in row[1:]] for row in tables["main"].groups[0][1]}
    assert [("‡" in cell, "§" in cell) for cell in cells["gpaf"]] == [(False, False), (True, False), (False, True)]
    assert "alpha: 10 seeds on 5 splits; beta: 10 seeds, 240 test cases" in tables["main"].note
    caption = forest(analysis, "f")[0].caption
    assert f"Scope (alpha): {scope_phrase(alpha.drawn)}." in caption
    assert f"Scope (beta): {scope_phrase(beta.drawn)}." in caption
    assert "with fewer than 6 paired seeds" not in methods.lower()


def test_the_power_table_has_no_exact_tests_of_replicates_that_are_not_independent() -> None:
    for evidence in (replicated(base(), {"alpha": 5}), replicated(base(), {}, lambda place, split: str(place // 2))):
        table = power(analyse(evidence))
        row = dict(zip(table.head, map(str, table.groups[0][1][0]), strict=True))
        assert {row[name] for name in ("Smallest exact p", "After correction", "Seeds an exact test needs")} == {"n/a"}
        assert row.get("Splits") == ("5" if evidence.overlap else None) and row["Detectable difference"] != "n/a"
        assert "n/a where replicates have different splits or share a search" in table.note
    assert "n/a where" not in power(analyse(base())).note


def test_how_many_seeds_an_exact_test_needs_is_no_matter_where_there_is_none() -> None:
    few, none = ({one.code for one in analyse(own).cautions} for own in (base(5), replicated(base(5), {"alpha": 5})))
    assert "unreachable_floor" in few and "unreachable_floor" not in none


def test_every_scope_of_a_table_has_a_sign_of_its_own() -> None:
    kinds = [
        DrawnAnew(sets=sets, cases=sets or cases, search=search, partly=partly)
        for sets in (True, False) for cases in (True, False) for search in (True, False) for partly in (True, False)
    ]  # fmt: skip
    scopes = Scopes.of([*kinds, None])
    marks = [scopes.mark(kind) for kind in scopes.kinds]
    assert len(set(marks)) == len(marks) == 12 and marks[:5] == ["", "‡", "§", "¶", "#"]
    assert Scopes.of([kinds[3]]).sentence == ""
    assert all(f"{mark}: " in scopes.sentence for mark in marks[1:])


def test_figures_of_predictions_say_that_they_show_one_split() -> None:
    several, one = (
        reduced(DatasetValues(evidence, "alpha")) for evidence in (replicated(base(), {"alpha": 5}), base())
    )
    assert several is not None and one is not None
    for draw in (reliability, confusion, sensitivity):
        caption = draw(several, "f")[0].caption
        assert "this shows one of 5 splits alone" in caption and "splits" not in draw(one, "f")[0].caption
        assert "2 seeds" in caption or draw is not reliability


def test_results_name_what_each_comparison_drew_anew() -> None:
    evidence = replicated(
        base(datasets=("alpha", "beta")), {"alpha": 5}, own_search, lambda place, split: "split 0"
    )  # fmt: skip
    record = json.loads(json.dumps(comparison_records(analyse(evidence)), allow_nan=False))
    by_dataset = {one["dataset"]: one for one in record["comparisons"] if one["metric"] == "balanced_accuracy"}
    assert by_dataset["alpha"]["drawn_anew"] == ["retraining", "new_training_and_test_sets", "new_search"]
    assert by_dataset["beta"]["drawn_anew"] == ["retraining", "new_cases", "new_search"]
    assert by_dataset[None]["drawn_anew"] == ["retraining", "new_cases", "new_search"]
    assert (by_dataset["alpha"]["scope"], by_dataset["alpha"]["splits"]) == ("splits", 5)
    assert [(one["splits"], one["overlap"]) for one in record["datasets"]] == [(5, OVERLAP), (1, None)]
    cell = record["cells"][0]
    assert (cell["splits"]["1001"], cell["tuned_on"]["1001"], cell["searches"]["1001"]) == (
        "split 1", "split 0", "control: search 1"
    )  # fmt: skip
    score = next(one for one in record["scores"] if one["dataset"] == "alpha")
    assert score["over_seeds_and_cases"] is None and score["over_splits"]["df"] == 4


def test_a_report_of_such_evidence_says_it_first(tmp_path: Path) -> None:
    evidence = replicated(base(datasets=("alpha", "beta")), {"alpha": 4}, own_search, lambda place, split: "split 0")
    with empty_figures():
        paths = write_table_report(evidence, tmp_path / "report")
    first = paths.markdown.read_text().partition("## Read this first")[2].partition("\n## ")[0]
    assert "tuned on another split than their own" in first and "4 splits" in first
