from __future__ import annotations

import pytest

from analysis.stats import cautions as c
from analysis.stats.cautions import Caution, Refused, refuse
from analysis.stats.collapse import collapsed_seeds

NONE_LOST, ONE_FAILED, TWO_LOST = c.LostSeeds(8, [], []), c.LostSeeds(8, [3], []), c.LostSeeds(8, [], [4, 5])

# Of each: what makes it speak, and what lies just on the other side.
CASES: list[tuple[Caution | None, Caution | None, str, str]] = [
    (c.few_seeds_for_exact_test(5), c.few_seeds_for_exact_test(6), "few_seeds_for_exact_test", "0.0625"),
    (c.few_seeds_for_percentile(19), c.few_seeds_for_percentile(20), "few_seeds_for_percentile", "19 seeds"),
    (c.few_datasets_for_population(5), c.few_datasets_for_population(6), "few_datasets_for_population", "5 datasets"),
    (c.pooled_seeds(["a", "b", "a"]), c.pooled_seeds(["a", "b"]), "pooled_seeds", "(a)"),
    (c.unequal_seeds([1, 2, 3], [2, 3, 4]), c.unequal_seeds([2, 3], [3, 2]), "unequal_seeds", "1 only on the first"),
    (c.absent_class({"x": 40, "y": 0}), c.absent_class({"x": 40, "y": 1}), "absent_class", "no case of y"),
    (c.unreachable_floor(6, 2), c.unreachable_floor(6, 1), "unreachable_floor", "7 seeds could"),
    (c.undetectable_gap(-0.01, 0.02), c.undetectable_gap(-0.02, 0.01), "undetectable_gap", "0.01"),
    (c.lost_seeds({"a": ONE_FAILED, "b": NONE_LOST}), c.lost_seeds({"a": NONE_LOST}), "lost_seeds", "1 failed (3)"),
    (c.lost_seeds({"a": ONE_FAILED, "b": TWO_LOST}), None, "lost_seeds", "b, of 8 declared seeds 2 learned next to"),
    (c.unequal_budgets({"a": 30, "b": 10}), c.unequal_budgets({"a": 30, "b": 30}), "unequal_budgets", "b: 10"),
    (c.few_cases({"x": 29, "y": 30}), c.few_cases({"x": 30, "y": 0}), "few_cases", "x: 29"),
    (c.few_cases({"x": 12}, "group"), c.few_cases({"x": 30}, "group"), "few_cases", "30 groups (x: 12)"),
    (c.few_replicates(2), c.few_replicates(5), "few_replicates", "2 replicates cannot carry a verdict"),
    (c.few_replicates(3), c.few_replicates(5), "few_replicates", "the interval is wide"),
    (c.unequal_spread(0.01, 0.09, 5), c.unequal_spread(0.01, 0.02, 5), "unequal_spread", "9 times as much"),
    (c.unequal_spread(0.01, 0.09, 5), c.unequal_spread(0.01, 0.05, 3), "unequal_spread", "88 to 94"),
    (c.cut_at_range(), None, "cut_at_range", "cut at the largest difference"),
    (c.negative_component(["seeds"]), c.negative_component([]), "negative_component", "between seeds"),
    (c.many_ties(0.21), c.many_ties(0.20), "many_ties", "21%"),
    (c.unplanned_looks([5, 10], 7), c.unplanned_looks([5, 10], 10), "unplanned_looks", "5, 10"),
    (c.few_datasets(9), c.few_datasets(10), "few_datasets", "9 datasets"),
    (c.few_datasets(6), c.few_datasets(5), "few_datasets", "6 datasets"),
    (c.below_repeat_noise(0.01, 0.01), c.below_repeat_noise(-0.02, 0.01), "below_repeat_noise", "0.01"),
    (c.unusable_variance(), None, "unusable_variance", "cautious"),
    (c.zero_variance(), None, "zero_variance", "no interval"),
    (c.seeds_only(), None, "seeds_only", "nothing about new cases"),
    (c.within_margin(), None, "within_margin", "margin"),
]


@pytest.mark.parametrize(("spoken", "silent", "code", "text"), CASES, ids=[case[2] for case in CASES])
def test_each_caution_speaks_in_one_sentence_and_is_silent_beyond(
    spoken: Caution | None, silent: Caution | None, code: str, text: str
) -> None:
    assert silent is None
    assert spoken is not None and spoken.code == code
    assert text in spoken.sentence
    assert (
        spoken.sentence.endswith(".")
        and "\n" not in spoken.sentence
        and spoken.sentence[0].isupper() | spoken.sentence[0].isdigit()
    )
    assert len(spoken.sentence.split()) <= 50


def test_a_refusal_is_an_error_with_that_sentence() -> None:
    caution = c.few_seeds_for_exact_test(4)
    with pytest.raises(Refused) as caught:
        refuse(caution)
    assert caution is not None and str(caught.value) == caution.sentence
    assert caught.value.caution == caution
    refuse(None)


def test_the_seeds_that_the_floor_asks_for_are_enough_and_one_less_is_not() -> None:
    for family in (1, 5, 15, 45, 64):
        said = c.unreachable_floor(5, family)
        assert said is not None
        needed = int(said.sentence.rsplit(" seeds could", 1)[0].rsplit(" ", 1)[1])
        assert c.unreachable_floor(needed, family) is None
        assert c.unreachable_floor(needed - 1, family) is not None


def test_a_seed_that_learned_next_to_nothing_is_found() -> None:
    assert collapsed_seeds([0.80, 0.26, 0.82, 0.79, 0.25], chance=0.25) == [1, 4]
    assert collapsed_seeds([0.80, 0.60, 0.82], chance=0.25) == []
    assert collapsed_seeds([0.25, 0.24, 0.25], chance=0.25) == [0, 1, 2]
    # Guesses at random on few cases may score well above chance.
    assert collapsed_seeds([0.70, 0.367, 0.66], chance=1 / 3, errors=[0.03, 0.04, 0.03]) == [1]
