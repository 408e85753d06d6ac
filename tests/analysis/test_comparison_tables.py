from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.comparison.compare import Analysis, analyse
from analysis.comparison.evidence import Cell
from analysis.comparison.phrases import scope_note
from analysis.comparison_results import comparison_records
from analysis.figures.ranks import critical_difference
from analysis.tables.cells import p_text
from analysis.tables.checks import nondeterminism, power, robustness, robustness_of_averages, seed_sensitivity
from analysis.tables.comparisons import all_p_values, averages, exploratory, not_compared, pairwise, secondary
from analysis.tables.main_table import main
from analysis.tables.new_datasets import new_datasets
from analysis.words.statistics import statistics_sentences
from harness.pages.contents import NOT_AVAILABLE, Marked, PageTable, Row
from tests.analysis.made_up import every_table, made_up

LEVELS = {"control": 1.5, "gpaf": 2.2, "twin": 2.19, "lora": 1.55}
CONTROL: dict[str, Any] = {"family": "vs_control", "control": "control", "metrics": ("balanced_accuracy", "nll")}


def analysed(levels: Mapping[str, float] = LEVELS, **options: Any) -> Analysis:
    return analyse(made_up(levels, **{"cases": 90, "seeds": range(6), **CONTROL, **options}))


@pytest.fixture(scope="module")
def whole() -> Analysis:
    return analysed(repeats={"lora": 0.0007})


def rows(table: PageTable, group: str | None = None) -> dict[str, Row]:
    """First cell → row; of one group or of all."""
    return {str(row[0]): row for name, own in table.groups if group in (None, name) for row in own}


def column(table: PageTable, head: str, group: str | None = None) -> dict[str, str]:
    place = table.head.index(head)
    return {name: str(row[place]) for name, row in rows(table, group).items()}


def test_the_main_table_marks_the_best_and_what_is_not_distinguishable_from_it(whole: Analysis) -> None:
    table = main(whole, {"gpaf": "1,234"})
    plan = whole.evidence.plan

    assert table.head == ("Method", "Trained parameters", "alpha", "beta", "Average")
    assert column(table, "Trained parameters") == {"control": "n/a", "gpaf": "1,234", "twin": "n/a", "lora": "n/a"}
    for dataset, place in (("alpha", 2), ("beta", 3)):
        means = {method: float(np.mean(list(whole.evidence.cells[dataset, method].scores[plan.metric].values())))
                 for method in LEVELS}  # fmt: skip
        best = max(means, key=lambda method: means[method])
        p = {
            frozenset((one.pair.first, one.pair.second)): one.p_adjusted
            for one in whole.comparisons
            if one.pair.dataset == dataset and one.pair.metric == plan.metric
        }
        for method, row in rows(table).items():
            cell = row[place]
            assert isinstance(cell, Marked)
            assert cell.cell == f"{method}@{dataset}"
            assert cell.text.startswith(f"{means[method]:.3f} ± ")
            assert cell.bold == (method == best)
            near = method != best and (p[frozenset((method, best))] or 0) > plan.alpha
            assert cell.underline == near
    marks = [cell for row in rows(table).values() for cell in row[2:4] if isinstance(cell, Marked)]
    assert {cell.underline for cell in marks} == {True, False}
    assert "not shown to differ from it, which does not mean as good" in table.note
    assert "6 seeds, 90 test cases on each dataset" in table.note
    assert "declared comparisons for their family of 9 and all other pairs for all of them" in table.note


def test_the_best_is_the_lowest_where_lower_is_better() -> None:
    table = main(analysed(metric="nll", metrics=("nll",), datasets=("alpha",), margin=None))

    best = [name for name, row in rows(table).items() if isinstance(row[1], Marked) and row[1].bold]
    assert len(best) == 1
    assert best[0] in ("gpaf", "twin")
    assert table.head == ("Method", "alpha")
    assert "lowest mean" in table.note


def test_no_mark_contradicts_a_claim(whole: Analysis) -> None:
    table = rows(main(whole))
    places = {"alpha": 1, "beta": 2, None: 3}

    for dataset, place in places.items():
        cells = {name: row[place] for name, row in table.items()}
        best = next(name for name, cell in cells.items() if isinstance(cell, Marked) and cell.bold)
        for one in (*whole.of("primary", dataset), *whole.averages):
            names = {one.pair.first, one.pair.second}
            if one.pair.dataset == dataset and best in names:
                other = cells[(names - {best}).pop()]
                assert isinstance(other, Marked)
                assert other.underline == (one.outcome == "inconclusive")
    assert all(isinstance(row[3], Marked) and "±" not in row[3].text for row in table.values())


def test_a_difference_within_repeat_noise_is_no_distinction_and_no_win() -> None:
    loud = analysed(repeats={"control": 0.9}, datasets=("alpha",))
    table = main(loud)

    best = next(row[1] for row in rows(table).values() if isinstance(row[1], Marked) and row[1].bold)
    control = rows(table)["control"][1]
    assert isinstance(best, Marked)
    assert isinstance(control, Marked)
    assert control.underline
    assert column(pairwise(loud), "Outcome")["gpaf vs control"] == "inconclusive (repeat noise)"


def test_without_predictions_the_scope_is_narrower_and_says_so(whole: Analysis) -> None:
    narrow = analysed(with_predictions=False, datasets=("alpha",))

    for table in (main(narrow), pairwise(narrow)):
        assert "new cases" not in table.note
    assert "given this training set, these test cases and the configurations" in scope_note(narrow)
    assert "new cases" not in scope_note(narrow)
    assert seed_sensitivity(narrow).empty
    assert column(power(narrow), "Test cases")["gpaf vs control"] == "n/a"
    # A report knows the values of a plugin's metric and nothing of single cases.
    known = whole.evidence
    cells = {
        key: replace(cell, scores={**cell.scores, "g_mean": cell.scores["accuracy"]})
        for key, cell in known.cells.items()
    }
    plan = replace(known.plan, metrics=("balanced_accuracy", "auc", "g_mean"))
    note = secondary(analyse(replace(known, plan=plan, cells=cells))).note
    assert "‡: retraining with new seeds, given this training set, these test cases" in note


def test_failed_seeds_have_a_dagger_and_a_sentence(whole: Analysis) -> None:
    evidence = whole.evidence
    cell = evidence.cells["alpha", "lora"]
    scores = {name: {seed: value for seed, value in own.items() if seed != 5} for name, own in cell.scores.items()}
    cells = {**evidence.cells, ("alpha", "lora"): replace(cell, scores=scores, failures={5: "oom"})}
    table = main(analyse(replace(evidence, cells=cells)))

    marked = [(name, place) for name, row in rows(table).items() for place, cell in enumerate(row) if "†" in str(cell)]
    assert marked == [("lora", 1)]
    assert "lora on alpha: 5 of 6 seeds, 1 failed" in table.note


def test_pairwise_rows_are_the_declared_comparisons_with_their_numbers(whole: Analysis) -> None:
    table = pairwise(whole)

    assert [name for name, _ in table.groups] == ["alpha", "beta"]
    found = whole.of("primary")
    assert sum(len(own) for _, own in table.groups) == len(found) == 6
    for one in found:
        row = rows(table, one.pair.dataset)[f"{one.pair.first} vs control"]
        shown = dict(zip(table.head, map(str, row), strict=True))
        assert one.pair.estimate is not None
        assert one.p is not None
        assert shown["Difference"].replace("−", "-") == f"{one.pair.estimate.estimate:.4f}"
        assert shown["p"] == ("< 0.0001" if one.p < 1e-4 else f"{one.p:.4f}")
        assert shown["Outcome"] == one.outcome
        assert (shown["Detectable"] != "") == (one.outcome == "inconclusive")
    assert {one.outcome for one in found} >= {"better", "inconclusive"}
    assert "family of 9." in table.note
    assert "P(other sign)" in table.head


def test_exact_tests_and_equivalence_leave_the_table_with_a_reason_where_there_are_none() -> None:
    few = analysed({"control": 1.5, "gpaf": 1.9}, seeds=range(5), margin=None, datasets=("alpha",))
    table = pairwise(few)

    assert not {"Sign-flip p", "TOST p adjusted"} & set(table.head)
    assert "With fewer than 6 paired seeds no exact test was made, because it could not reach 0.05" in table.note
    assert "No margin of equivalence was declared" in table.note
    assert {"Sign-flip p", "TOST p adjusted"} <= set(pairwise(analysed(datasets=("alpha",))).head)


@pytest.mark.parametrize(
    ("seeds", "patterns", "said"),
    [
        (40, None, None),
        (41, 99_999, "Above 40 paired seeds the sign-flip test counts 99,999 random sign patterns"),
        (1001, None, "With more than 1,000 paired seeds no exact test was made, because it would take too long"),
    ],
)
def test_many_seeds_have_exact_tests_or_the_true_reason_why_not(
    seeds: int, patterns: int | None, said: str | None
) -> None:
    many = analysed(
        {"control": 1.5, "gpaf": 1.6}, seeds=range(seeds), datasets=("alpha",), cases=12, with_predictions=False,
        metrics=("balanced_accuracy",),
    )  # fmt: skip
    table, words = pairwise(many), " ".join(statistics_sentences(many))
    assert (
        ("Wilcoxon p" in table.head) == ("signed-rank tests over the paired seeds are given" in words) == (seeds < 1001)
    )
    for text in (table.note, words):
        assert "fewer than" not in text and (said is None) == (
            "random sign patterns" not in text and "too long" not in text
        )
        assert said is None or said in text
    record = comparison_records(many)["comparisons"][0]
    assert record["sign_flip"] is None if seeds > 1000 else record["sign_flip"]["patterns"] == patterns
    assert record["wilcoxon"] is None if seeds > 1000 else record["wilcoxon"]["patterns"] is None


def test_effect_sizes_go_by_their_names_and_two_seeds_have_none() -> None:
    for seeds in (2, 6):
        found = analysed({"control": 1.5, "gpaf": 1.9}, seeds=range(seeds), datasets=("alpha",))
        shown = dict(zip(pairwise(found).head, rows(pairwise(found))["gpaf vs control"], strict=True))
        scores = means(found)
        d = [scores["gpaf"]["alpha"][seed] - scores["control"]["alpha"][seed] for seed in range(seeds)]
        effects = comparison_records(found)["comparisons"][0]["effects"]
        if seeds == 2:
            assert (shown["d_z"], shown["g_z"], effects["d_z"], effects["g_z"]) == (
                NOT_AVAILABLE,
                NOT_AVAILABLE,
                None,
                None,
            )
        else:
            d_z = np.mean(d) / np.std(d, ddof=1)
            # Hedges' factor for five degrees of freedom is 0.841.
            assert (effects["d_z"], effects["g_z"]) == (pytest.approx(d_z), pytest.approx(0.8408 * d_z, rel=1e-4))
            assert (shown["d_z"], shown["g_z"]) == (f"{d_z:.2f}", f"{effects['g_z']:.2f}")


def test_other_metrics_other_pairs_and_averages_have_tables_of_their_own(whole: Analysis) -> None:
    assert [name for name, _ in secondary(whole).groups] == ["NLL, alpha", "NLL, beta"]
    assert "a negative difference favours the first" in secondary(whole).note
    assert set(rows(exploratory(whole))) == {"gpaf vs twin", "gpaf vs lora", "twin vs lora"}
    assert "exploratory" in exploratory(whole).caption
    assert set(rows(averages(whole))) == {"gpaf vs control", "twin vs control", "lora vs control"}
    assert "averaged over these 2 datasets (alpha and beta)" in averages(whole).caption
    assert "Behrens" not in averages(whole).note


def test_power_states_the_floor_and_the_seeds_that_an_exact_test_needs(whole: Analysis) -> None:
    shown = dict(zip(power(whole).head, rows(power(whole), "alpha")["lora vs control"], strict=True))

    # Six seeds: 2 ** -5 = 0.03125, times a family of nine; 2 ** (1 - 9) * 9 is the first at or below 0.05.
    assert (shown["Smallest exact p"], shown["After correction"]) == ("0.0312", "0.2812")
    assert shown["Seeds an exact test needs"] == "9"
    one = next(c for c in whole.of("primary", "alpha") if c.pair.first == "lora")
    assert shown["Detectable difference"] == f"{one.detectable:.4f}"


def test_shares_of_variance_sum_to_one_and_endless_seeds_help(whole: Analysis) -> None:
    table = seed_sensitivity(whole)

    assert len(rows(table, "alpha")) == 4
    for _, own in table.groups:
        for row in own:
            *shares, now, endless = (float(str(text)) for text in row[2:])
            assert sum(shares) == pytest.approx(100, abs=0.15)
            assert endless <= now


def test_robustness_says_what_becomes_of_each_verdict(whole: Analysis) -> None:
    several = analysed(datasets=("alpha", "beta", "gamma"), metrics=("balanced_accuracy", "auc"))
    words = {"holds", "weaker", "contradicted", "differs", "not checked"}

    for table, checks in ((robustness(several), 3), (robustness_of_averages(several), 3)):
        assert len(table.head) == 3 + checks
        for _, own in table.groups:
            for row in own:
                verdict, result, *others = map(str, row[1:])
                assert result in words
                assert (result == "holds") == all(other == verdict for other in others)
    assert "By AUC" in robustness(several).head
    assert "Without gamma" in robustness_of_averages(several).head
    assert robustness_of_averages(whole).empty


def test_nondeterminism_lists_what_was_repeated(whole: Analysis) -> None:
    assert set(rows(nondeterminism(whole))) == {"lora"}
    assert column(nondeterminism(whole), "Balanced accuracy")["lora"] == "0.00070"
    assert nondeterminism(analysed(datasets=("alpha",))).empty


def test_a_pair_that_cannot_be_compared_stays_in_sight(whole: Analysis) -> None:
    evidence = whole.evidence
    without: dict[tuple[str, str], Cell] = {
        key: cell for key, cell in evidence.cells.items() if key != ("beta", "twin")
    }
    lacking = analyse(replace(evidence, cells=without))

    assert not_compared(whole).empty
    why = column(not_compared(lacking), "Why", "beta")
    assert "there is nothing of" in why["twin vs control"]
    assert set(column(not_compared(lacking), "Metric", "beta").values()) == {"Balanced accuracy, NLL"}
    assert "Average over the datasets" in [name for name, _ in not_compared(lacking).groups]
    assert column(pairwise(lacking), "Outcome", "beta")["twin vs control"] == "not compared"
    assert str(rows(main(lacking))["twin"][2]) == "n/a"
    assert str(rows(main(lacking))["twin"][-1]) == "n/a"


def test_every_p_value_is_listed_once(whole: Analysis) -> None:
    table = all_p_values(whole)

    assert sum(len(own) for _, own in table.groups) == len(whole.comparisons) + len(whole.averages) == 27
    roles = [str(row[1]) for _, own in table.groups for row in own]
    assert {role: roles.count(role) for role in set(roles)} == {
        "primary": 6, "secondary": 6, "exploratory": 12, "average": 3
    }  # fmt: skip
    sizes = {(str(row[1]), str(row[2])) for _, own in table.groups for row in own}
    assert sizes == {("primary", "9"), ("secondary", "9"), ("exploratory", "18"), ("average", "9")}


def test_every_table_is_named_and_calls_nothing_equal_or_better_without_a_scope(whole: Analysis) -> None:
    made = every_table(whole)

    names = [table.name for table in made]
    assert len(set(names)) == len(names) == 10
    for table in made:
        assert all(len(row) == len(table.head) == len(table.align) for _, own in table.groups for row in own)
        text = " ".join(
            [table.caption, table.note, *(str(cell) for _, own in table.groups for row in own for cell in row)]
        )
        assert " equal " not in text
        assert "no difference" not in text
        assert "was better" not in text and "was worse" not in text
    assert "new cases of the same source, given this training set, this split and the config" in scope_note(whole)


def test_with_one_seed_there_are_scores_without_intervals_and_reasons() -> None:
    alone = analysed({"gpaf": 3.0, "control": 1.0}, seeds=range(1), datasets=("alpha",))

    cell = main(alone).groups[0][1][0][1]
    assert isinstance(cell, Marked)
    assert (cell.bold, "±" in cell.text, "[" in cell.text) == (True, False, False)
    assert "one needs two seeds" in main(alone).note
    assert "without a second one" in column(not_compared(alone), "Why")["gpaf vs control"]
    assert column(pairwise(alone), "Outcome") == {"gpaf vs control": "not compared"}
    assert column(robustness(alone), "Result") == {"gpaf vs control": "not compared"}


def test_claims_about_new_datasets_count_each_dataset_once_and_need_six() -> None:
    names = list("abcdef")
    levels = {"control": 1.5, "gpaf": 2.2, "lora": 1.55}
    assert new_datasets(analysed(levels, datasets=names[:5], cases=30, seeds=range(2))) is None

    whole = analysed(levels, datasets=names, cases=30, seeds=range(2))
    table = new_datasets(whole)
    assert table is not None
    ((_, rows),) = table.groups
    assert [row[0] for row in rows] == ["gpaf vs control", "lora vs control"]
    p_values = []
    for method, row in zip(("gpaf", "lora"), rows, strict=True):
        gaps = [
            np.mean([scores[method][name][seed] - scores["control"][name][seed] for seed in range(2)])
            for scores in [means(whole)]
            for name in names
        ]
        test = stats.ttest_1samp(gaps, 0.0)
        low, high = test.confidence_interval()
        assert row[1:3] == (f"{np.mean(gaps):.4f}", f"[{low:.4f}, {high:.4f}]")
        p_values.append(test.pvalue)
    # Holm: the smaller of two is doubled.
    assert rows[0][4] == p_text(min(1.0, 2 * p_values[0])) and p_values[0] < p_values[1]
    assert "6 datasets are few" in table.note
    # A paper cites Friedman's test by both statistics and their degrees of freedom.
    scores = np.array([[np.mean(list(means(whole)[method][name].values())) for method in levels] for name in names])
    chi2 = stats.friedmanchisquare(*scores.T).statistic
    cited = f"chi-squared(2) = {chi2:.3f}, "
    f = (
        f"F(2, 10) = {5 * chi2 / (12 - chi2):.3f}, "
        if chi2 < 12
        else "F(2, 10) is infinite, as all datasets rank alike, "
    )
    said = " ".join(statistics_sentences(whole))
    for text in (table.note, critical_difference(whole, "ranks")[0].caption, said):
        assert text.count(cited) == text.count(f) == 1
    record = comparison_records(whole)["ranks"]
    assert (record["chi2"], record["df"], record["df_1"], record["df_2"]) == (pytest.approx(chi2), 2, 2, 10)
    assert record["f"] == (pytest.approx(5 * chi2 / (12 - chi2)) if chi2 < 12 else None)
    assert set(record["mean_ranks"]) == set(levels)
    # Without one of its scores a pair stays in the family and has no estimate.
    cells = {key: cell for key, cell in whole.evidence.cells.items() if key != ("f", "lora")}
    part = new_datasets(analyse(replace(whole.evidence, cells=cells)))
    assert part is not None and part.groups[0][1][1][1] == NOT_AVAILABLE and part.groups[0][1][0][4] == rows[0][4]
    assert part.groups[0][1][0][6] == NOT_AVAILABLE  # two complete methods have no ranks


def means(analysis: Analysis) -> dict[str, dict[str, dict[int, float]]]:
    """Method → dataset → seed → score by the primary metric."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for one in analysis.scores:
        if one.metric == analysis.evidence.plan.metric:
            found.setdefault(one.method, {})[one.dataset] = dict(zip(one.seeds, one.values, strict=True))
    return found
