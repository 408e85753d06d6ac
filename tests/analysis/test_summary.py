from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from analysis.runs.evidence import evidence_of
from analysis.runs.ledger import StudyCosts
from analysis.runs.study_summary import StudySummary, optimism
from analysis.runs.summary import Summary, summarise
from analysis.tables.run_tables import other_metrics, scores
from analysis.words.flags import flags, told_together
from harness.core.errors import RequestError

if TYPE_CHECKING:
    from tests.analysis.conftest import RunBuilder


def study(summary: Summary, method: str, dataset: str = "alpha") -> StudySummary:
    return next(entry for entry in summary.of(dataset) if entry.method == method)


def spent(summary: Summary, method: str, dataset: str = "alpha") -> StudyCosts:
    return next(entry for entry in summary.ledger if (entry.dataset, entry.method) == (dataset, method))


def test_scores_are_those_of_the_chosen_configuration_on_the_declared_seeds(unfinished: RunBuilder) -> None:
    extra = unfinished.run.study("bn_affine@alpha")
    unfinished.confirmed(extra, {1005: 0.99})  # not declared: seeds added after looking

    summary = summarise(unfinished.run)

    interval = study(summary, "bn_affine").scores["balanced_accuracy"].over_seeds
    assert interval is not None
    # Student's, of the five declared seeds of the chosen configuration, computed independently of this code: neither
    # `beef` (0.1) nor seed 1005 (0.99) is in it.
    assert (interval.low, interval.high) == pytest.approx((0.8070413804, 0.8321586196), abs=1e-9)
    assert summary.outside == 2
    assert any("undeclared seed" in flag for flag in flags(summary))


def test_optimism_is_positive_when_the_search_promised_too_much(builder: Callable[..., RunBuilder]) -> None:
    differences = {}
    for metric, chosen, tested in (("balanced_accuracy", 0.9, 0.8), ("nll", 0.3, 0.5)):
        made = builder(["probe"], ["alpha"], metric=metric, name=metric)
        folder = made.study("probe", "alpha", seeds=[1000, 1001])
        made.choose(folder, 0, chosen)
        for seed in (1000, 1001):
            values = {**made.scalars(0.8, seed), metric: tested}
            made.done(folder.confirm_trial("c0ffee", seed), None, seed, values, values)
        summary = summarise(made.run)
        differences[metric] = optimism(study(summary, "probe"), summary.measure)

    assert differences == {"balanced_accuracy": pytest.approx(0.1), "nll": pytest.approx(0.2)}


def test_a_metric_that_one_seed_leaves_undefined_has_no_mean(builder: Callable[..., RunBuilder]) -> None:
    made = builder(["probe"], ["alpha"])
    folder = made.study("probe", "alpha", seeds=[1000, 1001, 1002])
    made.choose(folder, 0, 0.8)
    for seed in (1000, 1001, 1002):
        values = made.scalars(0.8, seed)
        made.done(
            folder.confirm_trial("c0ffee", seed),
            None,
            seed,
            values,
            {**values, "auc": None} if seed == 1001 else values,
        )

    summary = summarise(made.run)

    auc = study(summary, "probe").scores["auc"]
    assert (auc.mean, auc.sd, auc.over_seeds, auc.undefined) == (None, None, None, 1)
    assert any("auc is undefined in 1 of 3 seeds" in flag for flag in flags(summary))


def test_what_is_missing_is_said_for_each_study(unfinished: RunBuilder) -> None:
    summary = summarise(unfinished.run)

    assert not summary.complete
    assert summary.absent == (("alpha", "metalr"),)
    searching = study(summary, "lora_c")
    assert searching.state == "search unfinished"
    assert searching.missing[0] == "search: 2 of 3 trials have no result"
    assert study(summary, "gpaf").state == "complete"
    assert study(summary, "gpaf").confirm.causes == {"oom": 1}
    assert study(summary, "bn_affine").default_value == 0.80


def test_the_ledger_counts_failed_dead_and_foreign_work(unfinished: RunBuilder) -> None:
    summary = summarise(unfinished.run)

    ours = spent(summary, "bn_affine")
    assert ours.seconds == pytest.approx({"search": 30.0, "confirm": 50.0, "other": 10.0})
    lossy = spent(summary, "gpaf")
    assert (lossy.trials, lossy.attempts, lossy.attempts_without_result) == (8, 10, 2)
    assert lossy.seconds == pytest.approx({"search": 10.0 + 10.0 + 12.0, "confirm": 4 * 10.0 + 12.0})
    assert spent(summary, "lora_c").attempts_without_result == 1


def test_a_repetition_is_paid_for_and_is_no_further_seed(builder: Callable[..., RunBuilder]) -> None:
    made = builder(["probe"], ["alpha"])
    folder = made.study("probe", "alpha", seeds=[1000, 1001])
    made.choose(folder, 0, 0.8)
    made.confirmed(folder, {1000: 0.8, 1001: 0.9})
    before = study(summarise(made.run), "probe")
    made.extra = {"time": {"attempt_seconds": 1e6, "train_seconds": 1e6}}
    for seed, configuration in ((1000, "c0ffee"), (1001, "beef")):
        made.done(folder.repeat_trial(configuration, seed), None, seed, made.scalars(0.1, 0), made.scalars(0.1, 0))

    summary = summarise(made.run)

    assert study(summary, "probe") == before
    assert spent(summary, "probe").seconds == pytest.approx({"confirm": 20.0, "repeat": 10.0, "other": 10.0})
    assert summary.outside == 1


def test_studies_that_the_sweep_no_longer_names_count_in_the_ledger_only(unfinished: RunBuilder) -> None:
    spec = unfinished.run.spec()
    del spec["methods"]["gpaf"]
    unfinished.run.write_spec(spec)

    summary = summarise(unfinished.run)

    assert [entry.method for entry in summary.of("beta")] == ["bn_affine", "lora_c", "metalr"]
    assert spent(summary, "gpaf", "beta").trials == 8
    assert any("no longer names gpaf" in flag for flag in flags(summary))


def test_unequal_seeds_budgets_and_small_classes_are_flagged(builder: Callable[..., RunBuilder]) -> None:
    made = builder(["one", "two"], ["alpha"])
    made.card("alpha", test=(30, 29))
    for method, slots, seeds in (("one", 3, [1000, 1001]), ("two", 4, [1000, 1002])):
        folder = made.study(method, "alpha", slots=slots, seeds=seeds)
        made.choose(folder, 0, 0.8)
        made.confirmed(folder, dict.fromkeys(seeds, 0.8))

    text = "\n".join(flags(summarise(made.run)))

    assert "not all methods were confirmed on the same seeds (others on 1000, 1001; two: 1000, 1002)" in text
    assert "different numbers of search trials (one: 3; two: 4)" in text
    assert "fewer than 30 test cases of square (29)." in text
    assert "alpha, one: all 2 seeds gave the same balanced_accuracy" in text


def test_a_clean_run_has_no_flag(builder: Callable[..., RunBuilder]) -> None:
    made = builder(["probe"], ["alpha"])
    made.card("alpha", test=(30, 30))
    folder = made.study("probe", "alpha")
    made.searched(folder, [0.8, 0.81, 0.79])
    made.choose(folder, 1, 0.81)
    made.confirmed(folder, made.known_seeds)

    summary = summarise(made.run)

    assert summary.complete
    assert flags(summary) == []


def test_an_unknown_metric_is_named(builder: Callable[..., RunBuilder]) -> None:
    made = builder(["probe"], ["alpha"], metric="acuracy")

    with pytest.raises(RequestError, match="did you mean 'accuracy'"):
        summarise(made.run)


def test_a_metric_of_ordered_classes_is_shown_where_trials_have_it(builder: Callable[..., RunBuilder]) -> None:
    shown = {}
    for ordinal in (False, True):
        made = builder(["probe"], ["alpha"], name=f"ordinal {ordinal}")
        folder = made.study("probe", "alpha", seeds=[1000, 1001])
        made.choose(folder, 0, 0.8)
        for seed in (1000, 1001):
            values = {**made.scalars(0.8, seed), **({"kappa_quadratic": 0.5} if ordinal else {})}
            made.done(folder.confirm_trial("c0ffee", seed), None, seed, values, values)
        summary = summarise(made.run)
        shown[ordinal] = other_metrics(summary).head
        assert ("kappa_quadratic" in summary.metrics) == ordinal
        assert ("kappa_quadratic" in evidence_of([made.run]).cells["alpha", "probe"].scores) == ordinal
        assert summary.metric in evidence_of([made.run]).plan.metrics
    assert shown[True] == (*shown[False][:7], "Quadratic kappa", *shown[False][7:])


def test_a_run_that_is_searched_by_an_unknown_metric_is_refused(builder: Callable[..., RunBuilder]) -> None:
    made = builder(["probe"], ["alpha"], metric="acuracy")
    made.study("probe", "alpha", seeds=[1000])
    for read in (summarise, lambda run: evidence_of([run])):
        with pytest.raises(RequestError, match=r"search.metric: no such metric 'acuracy'; did you mean 'accuracy'\?"):
            read(made.run)


def test_scores_over_several_splits_have_no_interval_that_takes_them_for_independent(
    written_unfinished: RunBuilder,
) -> None:
    summary = summarise(written_unfinished.run)

    def intervals(several: list[str]) -> dict[str, list[str]]:
        studies = [replace(one, splits=5 if one.dataset in several else 0) for one in summary.studies]
        table = scores(replace(summary, studies=tuple(studies)))
        assert ("replicates have different splits" in table.note) == bool(several)
        return {name: [str(row[3]) for row in rows] for name, rows in table.groups}

    whole, without = intervals([]), intervals(["alpha"])
    assert set(without["alpha"]) == {"n/a"} != set(whole["alpha"])
    assert without["beta"] == whole["beta"] and "[" in whole["beta"][0]


def test_what_is_said_alike_of_several_datasets_is_said_once() -> None:
    said = [
        "The run ended.",
        "a: Few cases.",
        "b, lora: One seed.",
        "b: Few cases.",
        "c: It leaks: badly.",
        "a: Few cases.",
    ]
    assert told_together(said, ("a", "b", "c")) == [
        "The run ended.",
        "a and b: Few cases.",
        "b, lora: One seed.",
        "c: It leaks: badly.",
    ]
