"""What a comparison may claim where its replicates draw splits and searches anew, on made-up evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import replicated
from made_up_replicates import HELD, OVERLAP, SPEC, base, only, own_search, texts

from analysis.comparison.claims import claims
from analysis.comparison.compare import analyse
from analysis.comparison.draws import replicates_of
from analysis.comparison.evidence import RESAMPLE, Cell, Evidence
from analysis.comparison.pairs import DatasetValues
from analysis.comparison.verdicts import Comparison
from analysis.stats.resampled import mean_over_searches, mean_over_splits, mean_within_splits
from analysis.stats.scopes import DrawnAnew
from analysis.stats.twoway import two_way
from analysis.words.limitations import limitations


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


@settings(max_examples=10, deadline=None)
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
    limits = " ".join(limitations(analysis, SPEC))  # type: ignore[arg-type]
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


def test_resamples_of_a_small_search_are_said_first() -> None:
    def said(trials: int | None, resampled: bool) -> list[str]:
        evidence = replicated(base(), {"alpha": 5})
        for method in ("control", "gpaf"):
            searches = {
                seed: f"{RESAMPLE if resampled else ''}{seed}" for seed in evidence.cells["alpha", method].seeds
            }
            evidence = changed(evidence, method, searches=searches, search_trials=trials)
        return [one.sentence for one in analyse(evidence).cautions if one.code == "small_search"]

    assert [sentence.partition(",")[0] for sentence in said(6, True)] == [
        "alpha: The replicates of each method resample a search of 6 trials"
    ]
    for trials, resampled in ((12, True), (6, False), (1, True), (None, True)):
        assert said(trials, resampled) == []
