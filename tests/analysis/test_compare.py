"""From evidence to verdicts: families, flags, refusals, averages and robustness, on made-up evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up import made_up

from analysis.comparison.compare import Analysis, analyse
from analysis.comparison.evidence import Cell, Evidence
from analysis.comparison.verdicts import Comparison
from analysis.stats.multiplicity import adjust

LEVELS = {"control": 1.5, "strong": 2.4, "twin": 1.5, "weak": 0.8}


@pytest.fixture(scope="module")
def against_control() -> Analysis:
    return analyse(made_up(LEVELS, family="vs_control", control="control"))


def one(analysis: Analysis, first: str, second: str, dataset: str = "alpha", metric: str | None = None) -> Comparison:
    wanted = metric or analysis.evidence.plan.metric
    return next(
        found
        for found in analysis.comparisons
        if (found.pair.dataset, found.pair.first, found.pair.second, found.pair.metric)
        == (dataset, first, second, wanted)
    )


def codes(found: Comparison) -> set[str]:
    return {caution.code for caution in found.cautions}


def changed(evidence: Evidence, dataset: str, method: str, **changes: object) -> Evidence:
    cell: Cell = evidence.cells[dataset, method]
    return replace(evidence, cells={**evidence.cells, (dataset, method): replace(cell, **changes)})  # type: ignore[arg-type]


def test_the_declared_family_is_corrected_as_one_and_each_pair_has_its_role(against_control: Analysis) -> None:
    primary = against_control.of("primary")
    assert [(found.pair.first, found.pair.second) for found in primary] == [
        (method, "control") for _ in ("alpha", "beta") for method in ("strong", "twin", "weak")
    ]
    # Whoever reads the table of claims reads the averages, too: all of them are one family.
    claimed = [*primary, *against_control.averages]
    raw = [found.p for found in claimed]
    assert None not in raw and len(claimed) == 9
    assert [found.p_adjusted for found in claimed] == pytest.approx(adjust(np.array(raw, dtype=float), "holm", 9))
    assert {found.family for found in claimed} == {9}
    exploratory = [found for found in against_control.of("exploratory") if found.pair.metric == "balanced_accuracy"]
    assert len(exploratory) == 2 * 3 and {found.family for found in exploratory} == {18}
    secondary = against_control.of("secondary", "alpha")
    assert {found.pair.metric for found in secondary} == {"accuracy", "auc", "macro_f1", "nll"}
    assert all(found.p_adjusted is not None and found.p is not None for found in secondary)


def test_verdicts_have_the_direction_of_the_metric(against_control: Analysis) -> None:
    outcomes = {method: one(against_control, method, "control").outcome for method in ("strong", "twin", "weak")}
    assert outcomes == {"strong": "better", "twin": "inconclusive", "weak": "worse"}
    # A loss is better where it is smaller.
    loss = one(against_control, "strong", "control", metric="nll")
    assert loss.pair.estimate is not None and loss.pair.estimate.estimate < 0 and loss.outcome == "better"
    assert loss.pair.interval == "two_way" and loss.pair.cases == 240
    twin = one(against_control, "twin", "control")
    assert twin.detectable is not None and twin.detectable > 0
    assert [found.outcome for found in against_control.averages] == ["better", "inconclusive", "worse"]
    # Eight seeds suffice for an exact test of six comparisons, not of nine.
    assert {caution.code for caution in against_control.cautions} == {"unreachable_floor"}


def test_equivalence_needs_its_own_test() -> None:
    wide = analyse(made_up({"control": 1.5, "twin": 1.5}, datasets=("alpha",), cases=900, margin=0.2))
    assert one(wide, "control", "twin").outcome == "equivalent"
    none = analyse(made_up({"control": 1.5, "twin": 1.5}, datasets=("alpha",), cases=900, margin=None))
    assert one(none, "control", "twin").outcome == "inconclusive"
    assert one(none, "control", "twin").equivalence_p is None


def test_a_difference_within_what_a_repetition_changes_is_no_win() -> None:
    quiet = {"datasets": ("alpha",), "repeats": {"strong": 0.001, "control": 0.001}}
    loud = {"datasets": ("alpha",), "repeats": {"strong": 0.9, "control": 0.001}}
    levels = {"control": 1.5, "strong": 2.4}
    assert one(analyse(made_up(levels, **quiet)), "control", "strong").outcome == "worse"
    found = one(analyse(made_up(levels, **loud)), "control", "strong")
    assert found.outcome == "inconclusive" and "below_repeat_noise" in codes(found)


def test_devices_are_watched() -> None:
    levels = {"control": 1.5, "strong": 2.4}
    cpu = one(analyse(made_up(levels, datasets=("alpha",))), "control", "strong")
    assert not {"mixed_devices", "unknown_repeat_noise"} & codes(cpu)
    gpu = one(analyse(made_up(levels, datasets=("alpha",), devices=dict.fromkeys(levels, "H200"))), "control", "strong")
    assert "unknown_repeat_noise" in codes(gpu) and "mixed_devices" not in codes(gpu)
    mixed = analyse(made_up(levels, datasets=("alpha",), devices={"control": "H200", "strong": "A100"}))
    assert "mixed_devices" in codes(one(mixed, "control", "strong"))


def test_what_cannot_be_compared_says_why_and_stays_in_its_family() -> None:
    whole = made_up(LEVELS, datasets=("alpha",), family="vs_control", control="control")
    cell = whole.cells["alpha", "weak"]
    single = {name: {1000: values[1000]} for name, values in cell.scores.items()}
    undefined = {name: {**values, 1001: None} for name, values in whole.cells["alpha", "twin"].scores.items()}
    few = changed(whole, "alpha", "weak", scores=single, failures={1001: "oom"})
    few = changed(few, "alpha", "twin", scores=undefined)
    found = analyse(few)
    assert {code for caution in found.cautions for code in [caution.code]} >= {"lost_seeds"}
    assert codes(one(found, "weak", "control")) == {"few_seeds", "unequal_seeds"}
    assert codes(one(found, "twin", "control")) == {"undefined_scores"}
    strong = one(found, "strong", "control")
    assert strong.family == 3 and strong.p is not None
    assert strong.p_adjusted == pytest.approx(3 * strong.p)
    gone = replace(whole, cells={key: value for key, value in whole.cells.items() if key != ("alpha", "weak")})
    assert codes(one(analyse(gone), "weak", "control")) == {"nothing_in_common"}


def test_without_predictions_only_the_narrower_claim_is_left() -> None:
    narrow = analyse(made_up(LEVELS, with_predictions=False, family="vs_control", control="control"))
    found = one(narrow, "strong", "control")
    assert found.pair.interval == "t_over_seeds" and found.pair.cases is None and "seeds_only" in codes(found)
    assert all("seeds_only" in codes(average) for average in narrow.averages)
    assert all(score.over_both is None and score.over_seeds is not None for score in narrow.scores)


def test_patients_with_several_images_count_once() -> None:
    single = one(analyse(made_up({"a": 1.5, "b": 1.7}, datasets=("alpha",))), "a", "b")
    grouped = one(analyse(made_up({"a": 1.5, "b": 1.7}, datasets=("alpha",), group_size=6)), "a", "b")
    assert single.pair.estimate is not None and grouped.pair.estimate is not None
    assert grouped.pair.estimate.estimate == pytest.approx(single.pair.estimate.estimate)
    assert grouped.pair.estimate.df != pytest.approx(single.pair.estimate.df)


def test_two_replicates_carry_no_verdict_and_few_have_a_flag() -> None:
    levels = {"control": 0.5, "strong": 3.5}
    two, three = (
        one(analyse(made_up(levels, datasets=("alpha",), seeds=range(count), margin=0.9)), "control", "strong")
        for count in (2, 3)
    )
    assert two.p_adjusted is not None and two.pair.replicates == 2
    assert (two.outcome, three.outcome) == ("inconclusive", "equivalent")
    assert "few_replicates" in codes(two) and "few_replicates" in codes(three)
    whole = analyse(made_up(levels, datasets=("alpha",), seeds=range(5)))
    assert "few_replicates" not in codes(one(whole, "control", "strong"))
    # Halves of five seeds are of two and three: two are no check.
    assert {check.what for check in whole.robustness[0].checks} & {
        "the first half of the seeds", "the second half of the seeds"
    } == {"the second half of the seeds"}  # fmt: skip


def test_few_patients_of_a_class_are_said_however_many_their_images() -> None:
    def said(group_size: int) -> str:
        whole = analyse(made_up({"a": 1.5, "b": 1.7}, datasets=("alpha",), cases=300, group_size=group_size))
        return " ".join(caution.sentence for caution in whole.cautions if caution.code == "few_cases")

    assert said(1) == ""
    assert "fewer than 30 groups (nevus: 12, melanoma: 12, keratosis: 12)" in said(25)


def test_no_interval_of_a_score_leaves_the_range_of_its_metric() -> None:
    near = made_up({"high": 3.2, "higher": 4.0}, datasets=("alpha",), seeds=range(3), cases=60)
    found = analyse(near)
    intervals = [part for score in found.scores for part in (score.over_seeds, score.over_both) if part is not None]
    assert any(part.high is not None and part.estimate > 0.97 for part in intervals)
    for score in found.scores:
        low, high = near.plan.facts(score.metric).bounds
        for part in (score.over_seeds, score.over_both):
            assert part is None or part.low is None or part.high is None or low <= part.low <= part.high <= high


def test_cases_of_a_single_patient_leave_the_narrower_claim() -> None:
    found = analyse(made_up({"a": 1.5, "b": 1.7}, datasets=("alpha",), cases=60, group_size=60))
    assert {one.pair.interval for one in found.comparisons} == {"t_over_seeds"}
    assert all("seeds_only" in codes(one) for one in found.comparisons)


def test_robustness_looks_at_metrics_halves_and_left_out_datasets() -> None:
    found = analyse(made_up(LEVELS, datasets=("alpha", "beta", "gamma"), family="vs_control", control="control"))
    checks = {check.what for entry in found.robustness for check in entry.checks}
    assert checks == {
        "the first half of the seeds", "the second half of the seeds", "by accuracy", "by auc", "by macro_f1",
        "without alpha", "without beta", "without gamma",
    }  # fmt: skip
    strong = next(entry for entry in found.robustness if entry.comparison.pair.first == "strong")
    assert strong.holds and not strong.contradicted
    assert all(check.comparison.detectable is None for entry in found.robustness for check in entry.checks[:2])


def test_few_cases_unplanned_looks_and_unequal_budgets_are_said() -> None:
    small = made_up({"a": 1.5, "b": 1.7}, datasets=("alpha",), cases=60, looks=(5, 10))
    small = changed(small, "alpha", "b", search_trials=30)
    said = {caution.code: caution.sentence for caution in analyse(small).cautions}
    assert said.keys() >= {"few_cases", "unplanned_looks", "unequal_budgets"}
    assert all(sentence.startswith("alpha") for sentence in said.values())
    planned = made_up({"a": 1.5, "b": 1.7}, datasets=("alpha",), cases=240, looks=(5, 8))
    assert {caution.code for caution in analyse(planned).cautions} == set()
