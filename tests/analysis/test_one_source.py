"""Labels of one source of images are one dataset wherever a report counts datasets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from made_up import every_table, made_up

from analysis.comparison.compare import Analysis, analyse
from analysis.comparison.evidence import Evidence, Predictions, Provenance
from analysis.comparison.new_datasets import on_new_datasets, ranks_of
from analysis.comparison.one_source import CaseDifferences, exact_means
from analysis.comparison.pairs import DatasetValues
from analysis.comparison.verdicts import Comparison
from analysis.comparison_results import comparison_records
from analysis.figures.ranks import critical_difference
from analysis.report import write_report
from analysis.runs.evidence import evidence_of
from analysis.stats.cautions import Refused
from analysis.stats.twoway import two_way
from analysis.words.findings import results_paragraphs
from analysis.words.limitations import limitations
from analysis.words.methods import methods_paragraph
from harness.core.errors import RequestError

if TYPE_CHECKING:
    from tests.analysis.conftest import RunBuilder

LEVELS = {"ours": 1.35, "theirs": 1.2, "older": 1.1}
SIX = ("one", "two", "three", "four", "five", "six")


def listed_again(evidence: Evidence, dataset: str, label: str, source: str | None) -> Evidence:
    """The same predictions of a dataset under one more label; without a source, as if it were another dataset."""
    again = {
        (label, method): replace(cell, dataset=label)
        for (name, method), cell in evidence.cells.items()
        if name == dataset
    }

    def predictions(name: str) -> Predictions | None:
        return evidence.predictions(dataset if name == label else name)

    sources = {} if source is None else {name: Provenance(source=source, groups="none") for name in (dataset, label)}
    return replace(
        evidence,
        datasets=(*evidence.datasets, label),
        cells={**evidence.cells, **again},
        predictions=predictions,
        classes={**evidence.classes, label: evidence.classes[dataset]},
        provenance={**evidence.provenance, **sources},
    )


def numbers(analysis: Analysis) -> dict[tuple[str, str], tuple[float, ...]]:
    def of(one: Comparison) -> tuple[float, ...]:
        found = one.pair.estimate
        assert found is not None and one.p is not None and one.p_adjusted is not None and one.detectable is not None
        assert found.low is not None and found.high is not None
        return found.estimate, found.low, found.high, one.p, one.p_adjusted, one.detectable

    return {(one.pair.first, one.pair.second): of(one) for one in analysis.averages}


@pytest.mark.parametrize("named", [True, False], ids=["case by case", "bounded"])
def test_the_same_predictions_under_two_labels_say_no_more_than_under_one(named: bool) -> None:
    once = made_up(LEVELS, seeds=range(1000, 1005), cases=120, named=named)
    twice = analyse(listed_again(once, "alpha", "alpha64", "nevi"))
    expected = numbers(analyse(once))

    assert len(expected) == 3 and len(twice.exact_means) == (3 if named else 0)
    for pair, found in numbers(twice).items():
        # Only the claims are more: the label has comparisons of its own, which the correction counts.
        assert found[:4] == pytest.approx(expected[pair][:4], rel=1e-9)
        assert found[4] >= expected[pair][4] and found[5] > expected[pair][5]
    # The mean of each method, in the main table, is over the sources as well.
    main = {table.name: table for table in every_table(twice)}["main"]
    assert [row[-1] for _, rows in main.groups for row in rows] == [
        row[-1] for _, rows in every_table(analyse(once))[0].groups for row in rows
    ]
    # As if they were three datasets, the label counts double.
    thrice = numbers(analyse(listed_again(once, "alpha", "alpha64", None)))
    assert all(abs(thrice[pair][0] - expected[pair][0]) > 1e-4 for pair in expected)


def test_other_trainings_on_the_same_cases_are_averaged_case_by_case() -> None:
    labels = ("small", "large")
    evidence = made_up(LEVELS, labels, range(1000, 1006), cases=150, sources=dict.fromkeys(labels, "nevi"))
    tables = []
    for label in labels:
        values = DatasetValues(evidence, label)
        table = values.by_case(values.pair("balanced_accuracy", "ours", "theirs"))
        assert table is not None and list(table.case_ids) == sorted(table.case_ids)
        tables.append(table.values)
    mean = two_way(np.mean(tables, axis=0))
    (found,) = [one for one in analyse(evidence).averages if (one.pair.first, one.pair.second) == ("ours", "theirs")]
    bounded = analyse(replace(evidence, predictions=nameless(evidence))).averages[0].pair.estimate

    # Of a single source it is the analysis of that table, with its own p value.
    assert found.pair.estimate == mean and found.p == mean.p_value() and found.pair.interval == "two_way"
    assert bounded is not None and mean.estimate == pytest.approx(bounded.estimate)
    # What the two do not share makes the bound too wide.
    assert mean.standard_error is not None and bounded.standard_error is not None
    assert mean.standard_error < 0.95 * bounded.standard_error
    assert "averaged first, case by case" in methods_paragraph(analyse(evidence), None)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"seeds": (1, 3)}, False),
        ({"case_ids": ("a", "b", "d")}, False),
        ({"groups": np.array([0, 0, 1])}, False),
    ],
    ids=["same", "seeds", "cases", "groups"],
)
def test_only_the_same_seeds_and_cases_are_one_table(changes: dict[str, Any], same: bool) -> None:
    evidence = made_up(LEVELS, cases=3, seeds=(1, 2), sources={"alpha": "nevi", "beta": "nevi"})
    values = np.random.default_rng(0).normal(size=(2, 3))
    table = CaseDifferences((1, 2), ("a", "b", "c"), None, values)
    other = replace(table, values=-values, **changes)
    found = exact_means(evidence, {"alpha": {("x", "y"): table}, "beta": {("x", "y"): other}})
    assert list(found) == ([("nevi", "x", "y")] if same else [])
    assert all(abs(one.estimate) < 1e-12 for one in found.values())


def nameless(evidence: Evidence) -> Callable[[str], Predictions | None]:
    """The same predictions, of which nobody knows whether their cases are the same."""

    def read(dataset: str) -> Predictions | None:
        known = evidence.predictions(dataset)
        return None if known is None else replace(known, case_ids=())

    return read


def test_labels_of_one_source_are_told_and_left_out_together() -> None:
    whole = made_up(LEVELS, ("alpha", "beta", "gamma"), range(1000, 1005), cases=120)
    analysis = analyse(listed_again(whole, "alpha", "alpha64", "nevi"))

    (said,) = [one.sentence for one in analysis.cautions if one.code == "one_source"]
    assert (
        said
        == "alpha and alpha64 are one source (nevi) and count once in averages, ranks and claims about new datasets."
    )
    checks = {check.what for one in analysis.robustness if one.comparison.role == "average" for check in one.checks}
    assert checks == {"without alpha and alpha64", "without beta", "without gamma"}
    text = f"{methods_paragraph(analysis, None)} {' '.join(results_paragraphs(analysis))}"
    assert "alpha and alpha64 are one source (nevi) and count once" in text
    assert "n average over these 4 datasets of 3 sources" in text
    assert {one["name"]: one["source"] for one in comparison_records(analysis)["datasets"]} == {  # type: ignore[attr-defined]
        "alpha": "nevi", "beta": "beta", "gamma": "gamma", "alpha64": "nevi",
    }  # fmt: skip


def test_tasks_are_no_datasets() -> None:
    labels = ("skin.n10", "skin.all", "skin64")
    whole = made_up(LEVELS, labels, range(1000, 1003), cases=30, sources=dict.fromkeys(labels, "nevi"))

    def said(*tasks: str) -> tuple[str, str]:
        about = {
            name: replace(one, dataset="skin" if name in tasks else None) for name, one in whole.provenance.items()
        }
        analysis = analyse(replace(whole, provenance=about))
        (caution,) = [one.sentence for one in analysis.cautions if one.code == "one_source"]
        notes = [f"{table.caption} {table.note}" for table in every_table(analysis)]
        texts = (
            methods_paragraph(analysis, None),
            " ".join(limitations(analysis, None)),
            *results_paragraphs(analysis),
        )
        return caution, " ".join((*texts, *notes))

    caution, text = said(*labels)
    assert caution.startswith("skin.n10, skin.all and skin64 are tasks of one dataset (skin) and count once")
    assert "n average over these 3 tasks of 1 dataset" in text and "each dataset counting once" in text
    assert "source (" not in text and "of 1 source" not in text and "3 datasets" not in text
    assert "Nothing is said of datasets other than skin." in text
    caution, text = said("skin.n10", "skin.all")
    assert "are one source (nevi)" in caution and "each source counting once" in text
    assert "n average over these 3 tasks of 2 datasets of 1 source" in text


def test_six_labels_of_one_source_speak_for_no_new_dataset() -> None:
    one = analyse(made_up(LEVELS, SIX, range(1000, 1003), cases=30, sources=dict.fromkeys(SIX, "nevi")))
    for ask in (on_new_datasets, ranks_of, lambda given: critical_difference(given, "ranks")):
        with pytest.raises(Refused, match="1 dataset cannot speak for datasets that were not tried"):
            ask(one)
    assert "Nothing is said of datasets other than" in " ".join(limitations(one, None))
    assert comparison_records(one)["new_datasets"] == [] and comparison_records(one)["ranks"] is None

    # The seventh label of six sources adds nothing to what the six say.
    six = made_up(LEVELS, SIX, range(1000, 1003), cases=30)
    seven = analyse(listed_again(six, "one", "one again", "one"))
    known = analyse(six)
    assert on_new_datasets(seven) == on_new_datasets(known)
    ranks = ranks_of(seven)
    assert ranks is not None and ranks == ranks_of(known) and ranks.test.datasets == 6


def test_a_run_tells_its_sources_and_an_older_one_takes_its_labels(builder: Callable[..., RunBuilder]) -> None:
    made = builder(["control", "ours"], ["skin", "skin64", "old"])
    card = {"source": "ham10000", "group_state": "unknown", "official_by_patient": False}
    for label in made.run.spec()["datasets"]:
        made.card(label)
        if label != "old":
            made.run.write_card(label, {**made.run.cards()[label], **card})  # type: ignore[typeddict-item]
        for method in ("control", "ours"):
            study = made.study(method, label)
            made.searched(study, [0.8])
            made.choose(study, 0, 0.8)
            made.confirmed(study, made.known_seeds)

    evidence = evidence_of([made.run])

    assert evidence.sources == {"ham10000": ("skin", "skin64"), "old": ("old",)}
    report = write_report(made.run)
    text = report.markdown.read_text()
    assert "skin and skin64 are one source (ham10000) and count once" in text
    assert "skin and skin64: It is not known which images show the same patient" in text
    assert "old: It is not known" not in text


def test_another_label_is_not_advised_as_another_dataset(builder: Callable[..., RunBuilder]) -> None:
    runs = []
    for name in ("first", "second"):
        made = builder(
            [f"of_{name}", "control"] if name == "first" else [f"of_{name}", "control2"], ["skin"], name=name
        )
        made.card("skin")
        card = made.run.cards()["skin"]
        made.run.write_card("skin", {**card, "split": {"kind": "grouped", "seed": 0, "digest": name}})
        runs.append(made.run)
    spec = runs[1].spec()
    runs[1].write_spec({**spec, "confirm": {**spec["confirm"], "control": None}})
    spec = runs[0].spec()
    runs[0].write_spec({**spec, "confirm": {**spec["confirm"], "control": None}})
    with pytest.raises(RequestError, match=r"another split.*still be one source and count once"):
        evidence_of(runs)
