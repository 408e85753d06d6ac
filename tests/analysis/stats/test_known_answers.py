"""Every known answer that the statistics can be asked for, within its own tolerance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import fdtri

from analysis.stats.budget_curve import budget_curve
from analysis.stats.effects import a12
from analysis.stats.estimate import mean_over_seeds, t_quantile
from analysis.stats.multiplicity import adjust, family_size
from analysis.stats.paired import seeds_for_exact_test, sign_flip, smallest_p, wilcoxon
from analysis.stats.power import detectable_dz
from analysis.stats.ranks import friedman, iman_davenport, nemenyi_q
from analysis.stats.twoway import two_way
from harness.metrics.repeated import RepeatedCases
from harness.metrics.table import built_in

Known = dict[str, dict[str, Any]]


def test_two_way_interval(known: Known) -> None:
    entry = known["two_way_seed_x_case"]
    expected, near = entry["expected"], entry["tolerance"]

    result = two_way(np.array(entry["input"]["D_seed_by_case"]))

    squares, error = result.mean_squares, result.standard_error
    found = [result.estimate, squares.seed, squares.case, squares.residual, result.df]
    wanted = [expected[name] for name in ("mean", "MS_seed", "MS_case", "MS_resid", "satterthwaite_df")]
    assert found == pytest.approx(wanted, abs=near)
    assert error is not None and error**2 == pytest.approx(expected["var_mean"], abs=near)
    # The interval itself is that of Behrens and Fisher, which this table does not know.
    assert result.df is not None
    half = t_quantile(result.df, 0.95) * error
    assert [result.estimate - half, result.estimate + half] == pytest.approx(expected["ci95"], abs=near)


def test_friedman_of_the_printed_table_and_with_its_one_tie_broken(known: Known) -> None:
    entry = known["friedman_demsar_printed_table"]
    expected, near = entry["expected"], entry["tolerance"]
    table = np.array(entry["input"]["data"])
    names = [f"dataset {place}" for place in range(len(table))]

    result = friedman(table, names, higher_is_better=entry["input"]["higher_is_better"])
    f_uncorrected, p_uncorrected = iman_davenport(result.chi2_uncorrected, *table.shape)

    assert result.mean_ranks == pytest.approx(expected["mean_ranks"], abs=near)
    assert (result.chi2_uncorrected, f_uncorrected, p_uncorrected) == pytest.approx(
        [expected["chi2_uncorrected"], expected["F_F_uncorrected"], expected["p_F_uncorrected"]], abs=near
    )
    assert (result.chi2, result.p_chi2, result.f) == pytest.approx(
        [expected["chi2_tie_corrected"], expected["p_chi2_tie_corrected"], expected["F_F_tie_corrected"]], abs=near
    )
    # F lies beyond its critical value exactly where its p value lies below 0.05.
    assert fdtri(3, 39, 0.95) == pytest.approx(expected["F_crit_05_3_39"], abs=near)
    # The published 9.28 and 3.69 (Demsar 2006, section 3.2.2) come from accuracies that were not rounded.
    table[12, 2] += 1e-4
    published = friedman(table, names)
    assert published.mean_ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    f_published, _ = iman_davenport(published.chi2_uncorrected, *table.shape)
    assert (published.chi2_uncorrected, f_published) == pytest.approx([9.28, 3.69], abs=6e-3)


def test_nemenyi_quantiles(known: Known) -> None:
    entry = known["nemenyi_q_table_05"]
    found = [nemenyi_q(k) for k in entry["input"]["k"]]
    assert found == pytest.approx(entry["expected"]["q"], abs=entry["tolerance"])


def test_wilcoxon(known: Known) -> None:
    entry = known["wilcoxon_scipy_doc"]
    expected, near = entry["expected"], entry["tolerance"]
    result = wilcoxon(entry["input"]["d"])
    ranks = 15 * 16 / 2
    # The distribution is symmetric: one side is half of both.
    assert (result.statistic, ranks - result.statistic, result.p, result.p / 2) == pytest.approx(
        [expected[name] for name in ("statistic", "statistic_greater", "p_two_sided", "p_greater")], abs=near
    )


def test_floors_and_the_seeds_that_they_ask_for(known: Known) -> None:
    floors = known["exact_floor"]
    assert [smallest_p(n) for n in floors["input"]["n"]] == pytest.approx(
        floors["expected"]["two_sided_min_p"], abs=floors["tolerance"]
    )
    reached = {n: sign_flip(np.arange(1.0, n + 1)).p for n in floors["input"]["n"] if n >= 6}
    assert all(p == smallest_p(n) == wilcoxon(np.arange(1.0, n + 1)).p for n, p in reached.items())
    seeds = known["min_seeds_for_exact_test_with_holm"]
    alpha = seeds["input"]["alpha"]
    for name, family, datasets in (
        ("vs_control", "vs_control", 1),
        ("all_pairs", "all_pairs", 1),
        ("all_pairs_x3_datasets", "all_pairs", 3),
    ):
        found = [seeds_for_exact_test(family_size(k, family, datasets), alpha) for k in seeds["input"]["k"]]  # type: ignore[arg-type]
        assert found == seeds["expected"][name]


def test_holm_and_bonferroni(known: Known) -> None:
    entry, stop = known["holm_textbook"], known["holm_stepdown_stop"]
    p, expected, near = entry["input"]["p"], entry["expected"], entry["tolerance"]
    assert adjust(p) == pytest.approx(expected["holm"], abs=near)
    assert adjust(p, "bonferroni") == pytest.approx(expected["bonferroni"], abs=near)
    assert (adjust(p) <= 0.05).tolist() == expected["reject_holm_05"]
    assert adjust(stop["input"]["p"]) == pytest.approx(stop["expected"]["holm"], abs=stop["tolerance"])


def test_five_seeds_get_students_interval(known: Known) -> None:
    entry = known["bootstrap_exact_n5"]
    expected, near = entry["expected"], entry["tolerance"]

    interval = mean_over_seeds(np.array(entry["input"]["x"]))

    assert (interval.estimate, interval.standard_error) == pytest.approx([expected["mean"], expected["t_se"]], abs=near)
    assert (interval.low, interval.high) == pytest.approx(expected["t_95"], abs=near)


def test_unpaired_effects(known: Known) -> None:
    entry = known["a12_cliff_n3"]
    x, y = entry["input"]["x"], entry["input"]["y"]
    # Cliff's delta is the same number on another scale.
    assert (a12(x, y), 2 * a12(x, y) - 1) == pytest.approx(
        [entry["expected"]["A12"], entry["expected"]["cliffs_delta"]], abs=entry["tolerance"]
    )


def test_expected_best_score(known: Known) -> None:
    entry = known["expected_validation_performance"]
    curve = budget_curve(entry["input"]["scores"])
    assert curve.expected == pytest.approx(entry["expected"]["tang_unbiased"], abs=entry["tolerance"])
    assert curve.expected_with_replacement == pytest.approx(
        entry["expected"]["dodge_with_replacement"], abs=entry["tolerance"]
    )


def test_minimal_detectable_effect(known: Known) -> None:
    entry = known["minimal_detectable_dz_80pct"]
    found = [detectable_dz(n, entry["input"]["alpha"]) for n in entry["input"]["n"]]
    assert found == pytest.approx(entry["expected"]["dz"], abs=entry["tolerance"])


def test_metrics_as_means_of_case_values(known: Known) -> None:
    entry = known["metrics_3class"]
    expected, labels = entry["expected"], np.array(entry["input"]["y"])
    cases = RepeatedCases(np.log(entry["input"]["proba"])[None], labels)
    names = {"auc": "auc_ovr_macro", "ece": "ece_15_equal_width", "brier": "brier_sum"}
    for name in ("accuracy", "balanced_accuracy", "auc", "macro_f1", "mcc", "nll", "brier", "ece"):
        values = built_in()[name].case_values(cases)
        assert values is not None
        assert values.mean() == pytest.approx(expected[names.get(name, name)], abs=entry["tolerance"]), name
