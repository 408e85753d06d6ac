"""What a comparison may claim where its replicates draw splits and searches anew, on made-up evidence."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import every_table, made_up, replicated
from sketches import empty_figures

from analysis.comparison.claims import claims
from analysis.comparison.compare import Analysis, analyse
from analysis.comparison.draws import DrawnAnew, replicates_of
from analysis.comparison.evidence import Cell, Evidence
from analysis.comparison.pairs import DatasetValues
from analysis.comparison.phrases import scope_note, scope_phrase
from analysis.comparison.verdicts import Comparison
from analysis.comparison_results import comparison_records
from analysis.figures.comparisons import forest
from analysis.figures.methods import pareto, seeds
from analysis.figures.predictions import confusion, reduced, reliability, sensitivity
from analysis.report import write_table_report
from analysis.stats.resampled import mean_over_searches, mean_over_splits, mean_within_splits
from analysis.stats.twoway import two_way
from analysis.tables.cells import Scopes
from analysis.tables.checks import power
from analysis.words.appendix import seed_facts
from analysis.words.findings import results_paragraphs
from analysis.words.limitations import limitations_paragraph
from analysis.words.methods import methods_paragraph

OVERLAP = 0.2 / 0.64
HELD = re.compile("this training set|this split|these test cases|configurations that were chosen")
SPEC = {
    "backbone": {"name": "resnet50", "weights": "IMAGENET1K_V2"}, "methods": {"control": {"backbone": None}},
    "train": {"epochs": 30, "batch_size": 64}, "split": {"kind": "grouped", "seed": 0},
    "search": {"metric": "auc", "sampler": "tpe", "trials": 3},
}  # fmt: skip


def base(number: int = 10, datasets: Sequence[str] = ("alpha",), **changes: object) -> Evidence:
    plan = {"family": "vs_control", "control": "control", "metrics": ("balanced_accuracy", "nll"), **changes}
    return made_up({"control": 1.5, "gpaf": 1.9}, datasets, range(1000, 1000 + number), **plan)  # type: ignore[arg-type]


def only(analysis: Analysis, metric: str = "balanced_accuracy", dataset: str = "alpha") -> Comparison:
    return next(
        one for one in analysis.comparisons if (one.pair.metric, one.pair.dataset) == (metric, dataset)
    )  # fmt: skip


def own_search(place: int, split: int) -> str:
    return f"search {place}"


def codes(found: Comparison) -> set[str]:
    return {caution.code for caution in found.cautions}


def changed(evidence: Evidence, method: str, **changes: object) -> Evidence:
    key = ("alpha", method)
    cell: Cell = evidence.cells[key]
    return replace(evidence, cells={**evidence.cells, key: replace(cell, **changes)})  # type: ignore[arg-type]


def differences(evidence: Evidence, metric: str = "balanced_accuracy") -> np.ndarray:
    first, second = (evidence.cells["alpha", method].scores[metric] for method in ("gpaf", "control"))
    return np.array([first[seed] - second[seed] for seed in sorted(first)])  # type: ignore[operator]


@pytest.mark.parametrize("splits", [10, 5], ids=["one replicate a split", "two replicates a split"])
def test_a_pair_on_several_splits_has_the_interval_over_splits_alone(splits: int) -> None:
    evidence = replicated(base(), {"alpha": splits})
    analysis = analyse(evidence)
    for metric in ("balanced_accuracy", "nll"):
        pair = only(analysis, metric).pair
        of = [place % splits for place in range(10)]
        expected = mean_over_splits(differences(evidence, metric), of, OVERLAP)
        assert pair.estimate is not None
        for name in ("estimate", "standard_error", "df", "low", "high", "scope"):
            assert getattr(pair.estimate, name) == pytest.approx(getattr(expected, name)), name
        assert (pair.interval, pair.splits, pair.replicates, pair.cases) == ("over_splits", splits, splits, None)
        # Single cases are those of one split, and a test over replicates takes them for independent.
        assert (pair.sign_flip, pair.wilcoxon) == (None, None) and pair.effects is not None
        narrow = mean_within_splits(differences(evidence, metric), of)
        assert (pair.over_seeds is None) == (narrow is None)
    found = only(analysis)
    assert found.detectable is not None and found.detectable > 0
    assert not {"few_splits", "few_replicates", "seeds_only"} & codes(found)
    for score in analysis.scores:
        low, high = evidence.plan.facts(score.metric).bounds
        assert score.over_both is None and score.spread is None and score.over_splits is not None
        assert score.widest == ("over_splits", score.over_splits)
        ends = score.over_splits.low, score.over_splits.high
        assert None not in ends and low <= ends[0] < score.mean < ends[1] <= high  # type: ignore[operator]


@settings(max_examples=10)
@given(st.permutations(range(8)))
def test_which_seed_stands_for_which_replicate_does_not_matter(order: list[int]) -> None:
    evidence = replicated(base(8), {"alpha": 4}, own_search)
    cells = {}
    for key, cell in evidence.cells.items():
        names = dict(zip(cell.seeds, (cell.seeds[place] for place in order), strict=True))
        moved = {
            name: {names[seed]: value for seed, value in own.items()}
            for name, own in (("splits", cell.splits), ("searches", cell.searches))
        }
        scores = {name: {names[seed]: value for seed, value in own.items()} for name, own in cell.scores.items()}
        cells[key] = replace(cell, scores=scores, **moved)  # type: ignore[arg-type]
    first, again = (only(analyse(one)) for one in (evidence, replace(evidence, cells=cells)))
    assert (again.pair.drawn, again.outcome) == (first.pair.drawn, first.outcome)
    assert again.p == pytest.approx(first.p)
    assert again.pair.estimate is not None and first.pair.estimate is not None
    assert again.pair.estimate.high == pytest.approx(first.pair.estimate.high)


def test_below_three_splits_there_is_no_verdict_and_below_five_a_flag() -> None:
    found = {number: analyse(replicated(base(20, margin=0.9), {"alpha": number})) for number in (2, 4, 5)}
    # With this margin any interval is inside it.
    assert {number: only(one).outcome for number, one in found.items()} == {
        2: "inconclusive", 4: "equivalent", 5: "equivalent"
    }  # fmt: skip
    said = {number: [one.sentence for one in own.cautions if one.code == "few_splits"] for number, own in found.items()}
    assert "alpha: 2 splits into training and test images cannot carry a verdict" in said[2][0]
    assert said[4][0].startswith("alpha: 4 splits") and said[5] == []
    assert {number: "few_splits" in codes(only(one)) for number, one in found.items()} == {2: True, 4: True, 5: False}
    assert "2 splits cannot carry a verdict" in claims(found[2])[0].evidence


def test_a_half_of_the_seeds_that_has_one_split_carries_no_verdict() -> None:
    evidence = replicated(base(12, margin=0.9), {"alpha": 3})
    # One split after the other, so that no half has them all.
    splits = {seed: f"split {(seed - 1000) // 4}" for seed in range(1000, 1012)}
    for method in ("control", "gpaf"):
        evidence = changed(evidence, method, splits=splits)
    values = DatasetValues(evidence, "alpha")
    assert values.pair("balanced_accuracy", "gpaf", "control").replicates == 3
    alone = values.pair("balanced_accuracy", "gpaf", "control", slice(0, 4))
    assert (alone.splits, alone.replicates, alone.drawn.sets) == (1, 1, False)


def test_on_one_split_replicates_with_searches_of_their_own_are_rows() -> None:
    plain, searched = analyse(base()), analyse(replicated(base(), {}, own_search))
    one, other = only(plain).pair, only(searched).pair
    assert other.estimate == one.estimate and other.sign_flip == one.sign_flip
    assert (other.interval, other.replicates, other.cases) == ("two_way", 10, 240)
    assert (one.drawn, other.drawn) == (DrawnAnew(cases=True), DrawnAnew(cases=True, search=True))


def test_replicates_that_share_a_search_are_one_row() -> None:
    evidence = replicated(base(9), {}, lambda place, split: f"search {place // 3}")
    pair = only(analyse(evidence)).pair
    values = DatasetValues(base(9), "alpha")
    table = values.by_case(values.pair("balanced_accuracy", "gpaf", "control"))
    assert table is not None
    expected = two_way(table.values.reshape(3, 3, -1).mean(axis=1))
    assert pair.estimate is not None and pair.interval == "two_way"
    assert (pair.estimate.estimate, pair.estimate.standard_error, pair.estimate.df) == pytest.approx(
        (expected.estimate, expected.standard_error, expected.df)
    )
    assert (pair.replicates, pair.drawn.search, pair.sign_flip) == (3, True, None)
    # Unequal numbers: the estimate stays the mean over all replicates.
    uneven = only(analyse(replicated(base(9), {}, lambda place, split: f"search {min(place, 4)}"))).pair
    assert uneven.estimate is not None and uneven.replicates == 5
    assert uneven.estimate.estimate == pytest.approx(float(differences(base(9)).mean()))
    # Without predictions the rows are the same.
    narrow = only(analyse(replace(evidence, predictions=lambda dataset: None))).pair
    means = differences(evidence).reshape(3, 3).mean(axis=1)
    assert narrow.estimate is not None and narrow.drawn == DrawnAnew(search=True)
    assert narrow.estimate.standard_error == pytest.approx(means.std(ddof=1) / np.sqrt(3))


@pytest.mark.parametrize(
    ("searches", "splits", "drawn", "independent"),
    [
        (("a", "a", "a", "a"), 1, False, 4),
        (("a", "b", "c", "d"), 1, True, 4),
        (("a", "a", "b", "b"), 1, True, 2),
        (("a", "b", "c", "d"), 2, True, 2),
        (("a", "b", "a", "b"), 2, True, 2),
        (("a", "a", "b", "b"), 2, True, 2),
        (("a", "a", "b", "c"), 4, True, 3),
        (("a", "a", "a", "a"), 4, False, 4),
    ],
    ids=["one", "own", "shared", "own on splits", "one a split", "across splits", "some across", "one for all splits"],
)
def test_a_search_is_drawn_anew_where_it_is_not_the_only_one(
    searches: tuple[str, ...], splits: int, drawn: bool, independent: int
) -> None:
    cell = Cell(
        dataset="alpha", method="m", declared=(0, 1, 2, 3), scores={"accuracy": dict.fromkeys(range(4), 0.5)},
        splits={seed: f"split {seed % splits}" for seed in range(4)} if splits > 1 else {},
        searches=dict(enumerate(searches)),
    )  # fmt: skip
    found = replicates_of((cell, cell), range(4))
    assert (found.searches is not None, found.independent) == (drawn, independent)
    # The other method of the pair must have searches, too.
    assert replicates_of((cell, replace(cell, searches={})), range(4)).searches is None


def test_searches_that_serve_several_splits_are_what_is_averaged() -> None:
    evidence = replicated(base(9, margin=0.9), {"alpha": 9}, lambda place, split: f"search {place % 3}")
    analysis = analyse(evidence)
    found = only(analysis)
    splits, searches = list(range(9)), [0, 1, 2] * 3
    expected = mean_over_searches(differences(evidence), splits, searches, OVERLAP)
    assert found.pair.estimate == expected and found.pair.interval == "over_searches"
    assert found.pair.drawn == DrawnAnew(sets=True, cases=True, search=True)
    assert (found.pair.splits, found.pair.replicates, found.pair.sign_flip) == (9, 3, None)
    assert {"few_searches"} <= codes(found) and not {"few_splits", "few_replicates"} & codes(found)
    whole = texts(analysis)
    assert HELD.findall(whole) == [] and "averaged by search, as each search served several splits" in whole
    limits = limitations_paragraph(analysis, SPEC)  # type: ignore[arg-type]
    assert "With 3 searches little is known of how much a result changes from search to search" in limits
    two = analyse(replicated(base(8, margin=0.9), {"alpha": 8}, lambda place, split: f"search {place % 2}"))
    assert only(two).outcome == "inconclusive" and only(analysis).outcome == "equivalent"
    assert "2 searches cannot carry a verdict" in claims(two)[0].evidence
    assert "2 independent searches of each method cannot carry a verdict" in str(only(two).cautions)


def test_searches_of_two_methods_join_replicates() -> None:
    def cell(*searches: str) -> Cell:
        return Cell(dataset="d", method="m", declared=(), scores={}, searches=dict(enumerate(searches)))

    assert replicates_of((cell("a", "a", "b", "c"), cell("p", "q", "r", "r")), range(4)).searches == (0, 0, 1, 1)
    # Each pair of neighbours is joined by one of them, so all are one.
    assert replicates_of((cell("a", "a", "b", "b"), cell("p", "q", "q", "r")), range(4)).searches is None


def test_seeds_on_different_splits_are_not_paired() -> None:
    evidence = replicated(base(), {"alpha": 10})
    splits = {**evidence.cells["alpha", "gpaf"].splits, 1003: "split 77"}
    found = only(analyse(changed(evidence, "gpaf", splits=splits)))
    assert 1003 not in found.pair.seeds and found.pair.replicates == 9
    sentence = next(caution.sentence for caution in found.cautions if caution.code == "different_splits")
    assert sentence.startswith("With seed 1003 the two methods were trained and tested on different splits")
    other = {seed: f"other {split}" for seed, split in splits.items()}
    none = only(analyse(changed(evidence, "gpaf", splits=other)))
    assert none.pair.estimate is None and "no seed is done in both on the same split" in none.pair.cautions[0].sentence


def test_without_the_overlap_of_splits_nothing_is_guessed() -> None:
    evidence = replace(replicated(base(), {"alpha": 5}), overlap={})
    with pytest.raises(ValueError, match="alpha has several splits, and the evidence lacks their overlap"):
        analyse(evidence)


def copied(evidence: Evidence, of: dict[int, int]) -> Evidence:
    for method in ("control", "gpaf"):
        cell = evidence.cells["alpha", method]
        scores = {name: {seed: own[of.get(seed, seed)] for seed in own} for name, own in cell.scores.items()}
        evidence = changed(evidence, method, scores=scores)
    return evidence


def test_trainings_on_different_splits_are_no_copies_and_those_on_one_split_are() -> None:
    evidence = replicated(base(12), {"alpha": 4})
    # Seeds 1001 and 1005 are on one split, 1002 on another.
    across, within = (analyse(copied(evidence, {1005: of})) for of in (1002, 1001))
    assert 1005 in only(across).pair.seeds and "copied_seeds" not in codes(only(across))
    assert 1005 not in only(within).pair.seeds and "copied_seeds" in codes(only(within))
    assert only(within).pair.replicates == 4


def test_tuning_on_images_that_are_test_images_of_other_splits_is_said_first() -> None:
    def said(evidence: Evidence) -> list[str]:
        return [one.sentence for one in analyse(evidence).cautions if one.code == "tuned_on_test_images"]

    fixed = replicated(base(), {"alpha": 5}, own_search, lambda place, split: "split 0")
    assert [sentence.split(":")[0:2] for sentence in said(fixed)] == [
        ["alpha", " 8 of 10 replicates of each method have configurations tuned on another split than their own"]
    ]
    assert said(replicated(base(), {"alpha": 5}, own_search, lambda place, split: f"split {split}")) == []
    own = fixed.cells["alpha", "gpaf"].splits
    assert "of control have" in said(changed(fixed, "gpaf", tuned_on=own))[0]


def texts(analysis: Analysis) -> str:
    """All that a report says about methods against each other, figures included."""
    shown = analysis.evidence.datasets
    figures = [
        *forest(analysis, "f"),
        *(figure for name in shown for figure in seeds(analysis, name, "s")),
        *pareto(analysis, {(name, method): 10 for name in shown for method in analysis.evidence.methods}, "p"),
    ]
    return "\n".join(
        (
            *results_paragraphs(analysis), scope_note(analysis), methods_paragraph(analysis, SPEC),  # type: ignore[arg-type]
            *(table.caption + table.note for table in every_table(analysis)), *(one.caption for one in figures),
            *(claim.scope for claim in claims(analysis)),
        )
    )  # fmt: skip


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
    assert "divided among 10 independent searches whose choices" in methods_paragraph(analysis, several)
    limits = limitations_paragraph(analysis, SPEC)  # type: ignore[arg-type]
    assert "All splits of each dataset are of the same images" in limits
    assert "One split" not in limits and "tuned by one search" not in limits
    assert all(one.pair.drawn == DrawnAnew(sets=True, cases=True, search=True) for one in analysis.averages)
    facts = dict(seed_facts(analysis.evidence).pairs)
    assert "split split 1: 1001 and 1006" in facts["alpha"]


def test_what_was_held_fixed_is_named_and_nothing_else() -> None:
    splits = analyse(replicated(base(), {"alpha": 5}))
    assert set(HELD.findall(texts(splits))) == {"configurations that were chosen"}
    assert "New searches and datasets were not drawn." in scope_note(splits)
    assert "tuned by one search" in limitations_paragraph(splits, SPEC)  # type: ignore[arg-type]
    searches = analyse(replicated(base(), {}, own_search))
    assert "configurations that were chosen" not in texts(searches)
    assert "given this training set and this split" in texts(searches)
    assert "New training sets, splits and datasets were not drawn." in scope_note(searches)
    limits = limitations_paragraph(searches, SPEC)  # type: ignore[arg-type]
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
    methods = methods_paragraph(analysis, SPEC)  # type: ignore[arg-type]
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
