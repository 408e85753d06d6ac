from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from analysis.comparison.compare import analyse
from analysis.comparison.evidence import Predictions
from analysis.comparison.pairs import DatasetValues
from analysis.comparison_results import comparison_records
from analysis.comparison_sections import prediction_section
from analysis.figures.predictions import reduced
from analysis.runs.evidence import evidence_of
from analysis.words.findings import results_paragraphs
from harness.core.errors import RequestError
from harness.pages.contents import PageFigure, settled
from tests.analysis.made_up import logits

if TYPE_CHECKING:
    from harness.run.study_folder import StudyFolder
    from harness.run.trial import TrialFolder
    from tests.analysis.conftest import RunBuilder

Build = Callable[..., "RunBuilder"]
SEEDS = (1000, 1001, 1002)
CASES = 36


def confirmed(
    made: RunBuilder, method: str, level: float, dataset: str = "alpha", seeds: tuple[int, ...] = SEEDS, group: int = 1
) -> StudyFolder:
    """A study whose confirmation is done, on images of three classes."""
    study = made.study(method, dataset, seeds=seeds)
    made.choose(study, 0, 0.8)
    for seed in seeds:
        made.predicted(study.confirm_trial("c0ffee", seed), seed, *logits(level, seed, CASES, method), group=group)
    return study


def two_methods(builder: Build, name: str = "run", group: int = 1) -> RunBuilder:
    made = builder(["control", "ours"], ["alpha"], name=name)
    for method, level in (("control", 0.5), ("ours", 1.5)):
        confirmed(made, method, level, group=group)
    return made


def change_spec(made: RunBuilder, section: str, **changes: object) -> None:
    spec = made.run.spec()
    made.run.write_spec({**spec, section: {**spec[section], **changes}})


def known(predictions: Predictions | None) -> Predictions:
    assert predictions is not None
    return predictions


def test_a_twin_is_compared_with_its_control_alone(builder: Build) -> None:
    made = builder(["control", "ours", "control_twin"], ["alpha", "beta"])
    seeds = tuple(range(1000, 1006))
    # On alpha the twin's search found something else, on beta the same configuration.
    for dataset, twin in (("alpha", 3.0), ("beta", 0.5)):
        for method, level in (("control", 0.5), ("ours", 1.5)):
            confirmed(made, method, level, dataset, seeds)
        study = made.study("control_twin", dataset, seeds=seeds)
        made.choose(study, 0, 0.8)
        for seed in seeds:
            name = "control" if dataset == "beta" else "control_twin"
            made.predicted(study.confirm_trial("c0ffee", seed), seed, *logits(twin, seed, CASES, name))
    apart = analyse(evidence_of([made.run]))
    change_spec(made, "confirm", twin=True)
    evidence = evidence_of([made.run])
    found = analyse(evidence)

    assert evidence.methods == ("control", "ours") and evidence.twin is not None
    assert evidence.twin.methods == ("control", "control_twin")
    # The family is what it would be without a twin, and the twin a method like any other is not asked for.
    assert {one.family for one in (*found.of("primary"), *found.averages)} == {3}
    assert {one.family for one in (*apart.of("primary"), *apart.averages)} == {6}
    assert not any("control_twin" in caution.sentence for caution in found.cautions)
    alpha, beta, average = found.itself
    assert (alpha.outcome, beta.outcome) == ("better", "inconclusive") and alpha.p == alpha.p_adjusted
    assert beta.pair.estimate is not None and beta.pair.estimate.estimate == 0 and average.p is None
    (said,) = [text for text in results_paragraphs(found) if text.startswith("A/A")]
    assert said.startswith(
        "A/A: 1 of 3 comparisons of the control control with itself (as control_twin, with a search of its own) was "
        "called better or worse at level 0.05 without correction; the largest difference was 0."
    )
    assert said.endswith("; in 1 both searches chose the same configuration.")
    assert comparison_records(found)["twin"] == {
        "name": "control_twin", "control": "control", "comparisons": 3, "different": 1
    }  # fmt: skip
    assert comparison_records(apart)["twin"] is None


def test_stored_predictions_give_the_recorded_scores_case_by_case(builder: Build) -> None:
    made = two_methods(builder, group=3)
    # The order of rows is nobody's promise.
    folder = made.run.study("ours@alpha").confirm_trial("c0ffee", 1001)
    rewrite(lambda frame: frame.sample(fraction=1.0, shuffle=True, seed=1))(folder)

    evidence = evidence_of([made.run])
    values = DatasetValues(evidence, "alpha")
    predictions = known(values.predictions)

    for method, level in (("control", 0.5), ("ours", 1.5)):
        for seed in SEEDS:
            expected, labels = logits(level, seed, CASES, method)
            np.testing.assert_array_equal(predictions.logits[method][seed], expected)
            np.testing.assert_array_equal(predictions.labels, labels)
    assert predictions.groups is not None
    assert predictions.groups.tolist() == [case // 3 for case in range(CASES)]
    pairs = list(values.pairs(("accuracy", "balanced_accuracy", "auc")))
    assert [(pair.first, pair.second, pair.interval) for pair in pairs] == [("ours", "control", "two_way")] * 3
    for pair in pairs:
        # Pseudo-values from the files on one side, differences of recorded scores on the other.
        assert pair.estimate is not None
        assert pair.over_seeds is not None
        assert pair.estimate.estimate == pytest.approx(pair.over_seeds.estimate, abs=1e-12)


def test_cases_without_shared_patients_have_no_groups(builder: Build) -> None:
    assert known(evidence_of([two_methods(builder).run]).predictions("alpha")).groups is None


@pytest.mark.parametrize(
    ("confirm", "declared"),
    [
        ({}, ("vs_control", "control", ())),
        ({"control": None}, ("all_pairs", None, ())),
        ({"family": "all_pairs", "looks": [5, 10]}, ("all_pairs", "control", (5, 10))),
        ({"family": "vs_control", "looks": None}, ("vs_control", "control", ())),
    ],
)
def test_the_plan_is_the_declared_one(
    builder: Build, confirm: dict[str, object], declared: tuple[str, str | None, tuple[int, ...]]
) -> None:
    made = builder(["control", "ours"], ["alpha"], metric="auc")
    change_spec(made, "confirm", correction="bonferroni", margin=0.02, **confirm)

    plan = evidence_of([made.run]).plan

    assert (plan.family, plan.control, plan.looks) == declared
    assert (plan.metric, plan.correction, plan.margin, plan.beforehand) == ("auc", "bonferroni", 0.02, True)
    assert plan.metrics == ("auc", "accuracy", "balanced_accuracy", "macro_f1", "mcc", "nll", "brier", "ece")


def test_a_cell_holds_the_declared_seeds_of_the_chosen_configuration(unfinished: RunBuilder) -> None:
    unfinished.confirmed(unfinished.run.study("bn_affine@alpha"), {1005: 0.99})  # not declared

    evidence = evidence_of([unfinished.run])

    assert evidence.methods == ("bn_affine", "gpaf", "lora_c", "metalr")
    assert set(evidence.cells) == {(d, m) for d in evidence.datasets for m in evidence.methods} - {("alpha", "metalr")}
    assert evidence.cells["alpha", "bn_affine"].scores["balanced_accuracy"] == unfinished.known_seeds
    lossy = evidence.cells["alpha", "gpaf"]
    assert (lossy.declared, lossy.seeds) == ((1000, 1001, 1002, 1003, 1004), (1000, 1001, 1002, 1003))
    assert (lossy.failures, lossy.missing, lossy.search_trials) == ({1004: "oom"}, (), 3)
    assert evidence.cells["alpha", "lora_c"].missing == (1000, 1001, 1002, 1003, 1004)
    assert evidence.cells["alpha", "lora_c"].scores["auc"] == {}
    assert lossy.origins[1004] == "studies/gpaf@alpha/confirm/c0ffee-s1004"
    assert (unfinished.run.path / lossy.origins[1000]).is_dir()
    assert evidence.classes["beta"] == ("disc", "square")


def test_a_repetition_counts_where_both_runs_are_done_on_one_kind_of_device(builder: Build) -> None:
    made = two_methods(builder)
    study = made.run.study("ours@alpha")
    first = study.confirm_trial("c0ffee", 1000).result()["metrics"]["test"]
    again = {**first, "auc": first["auc"] - 0.25, "mcc": None}
    made.done(study.repeat_trial("c0ffee", 1000), None, 1000, again, again)
    made.done(study.repeat_trial("beef", 1001), None, 1001, again, again)
    made.begin(study.repeat_trial("c0ffee", 1002), None, 1002)
    made.extra = {"device": {"name": "another", "threads": 1}}
    made.done(study.repeat_trial("c0ffee", 1001), None, 1001, again, again)

    cell = evidence_of([made.run]).cells["alpha", "ours"]

    (repeat,) = cell.repeats
    assert (repeat.seed, repeat.device, repeat.change["auc"]) == (1000, "cpu", pytest.approx(0.25))
    assert repeat.change["accuracy"] == 0
    assert "mcc" not in repeat.change
    assert (cell.seeds, cell.devices) == (SEEDS, ("cpu",))


def remove(folder: TrialFolder) -> None:
    next(folder.path.glob("predictions*")).unlink()


def seal(folder: TrialFolder) -> None:
    """Let the result be one that was made with the files that are there now."""
    folder.result_path.write_text(json.dumps({**folder.result(), "files": folder.digests()}))


def tear(folder: TrialFolder) -> None:
    path = next(folder.path.glob("predictions*"))
    path.write_bytes(path.read_bytes()[:-100])
    seal(folder)


def replace_unsealed(folder: TrialFolder) -> None:
    folder.write_predictions(folder.predictions().with_columns(logit_2=pl.col("logit_2") * 1.001))


def rewrite(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[TrialFolder], None]:
    def rewritten(folder: TrialFolder) -> None:
        folder.write_predictions(change(folder.predictions()))
        seal(folder)

    return rewritten


FAULTS: dict[str, tuple[Callable[[TrialFolder], None], str, str]] = {
    "missing": (remove, "missing_predictions", "are not in the run directory"),
    "replaced": (replace_unsealed, "contradicting_predictions", "not those that the trial's result was made with"),
    "torn": (tear, "missing_predictions", "cannot be read"),
    "no column of labels": (rewrite(lambda frame: frame.drop("label")), "missing_predictions", "lack cases, labels"),
    "words for logits": (
        rewrite(lambda frame: frame.with_columns(logit_0=pl.lit("one"))),
        "missing_predictions",
        "something else than numbers",
    ),
    "another case": (
        rewrite(lambda frame: frame.with_columns(case_id=pl.col("case_id").replace("case 007", "case 999"))),
        "other_cases",
        "other test cases",
    ),
    "a case less": (rewrite(lambda frame: frame.head(35)), "other_cases", "other test cases"),
    "a case twice": (
        rewrite(lambda frame: frame.with_columns(case_id=pl.col("case_id").replace("case 007", "case 008"))),
        "other_cases",
        "twice",
    ),
    "other labels": (
        rewrite(lambda frame: frame.with_columns(label=(pl.col("label") + 1) % 3)),
        "other_cases",
        "other labels",
    ),
    "other patients": (
        rewrite(lambda frame: frame.with_columns(group=pl.lit("one patient"))),
        "other_cases",
        "belong together in another way",
    ),
    "not a number": (
        rewrite(lambda frame: frame.with_columns(logit_2=pl.lit(float("nan")))),
        "contradicting_predictions",
        "not a finite number",
    ),
    "a label without a logit": (
        rewrite(lambda frame: frame.with_columns(label=pl.col("label") + 1)),
        "contradicting_predictions",
        "none of their classes",
    ),
    "another accuracy": (
        rewrite(lambda frame: frame.with_columns(logit_2=pl.lit(99.0))),
        "contradicting_predictions",
        "do not give the accuracy",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_unusable_predictions_are_named_and_the_comparison_falls_back_to_seeds(builder: Build, fault: str) -> None:
    damage, code, words = FAULTS[fault]
    made = two_methods(builder)
    # The control's first trial is the first that is read; what is wrong with it must not turn the others down.
    folder = made.run.study("control@alpha").confirm_trial("c0ffee", 1000)
    damage(folder)

    values = DatasetValues(evidence_of([made.run]), "alpha")

    (caution,) = values.cautions[:1]
    assert caution.code == code
    assert caution.sentence.startswith("control: the test predictions of seed 1000")
    assert words in caution.sentence
    found = known(values.predictions)
    assert (sorted(found.logits["control"]), sorted(found.logits["ours"])) == ([1001, 1002], [*SEEDS])
    (pair,) = values.pairs(("balanced_accuracy",))
    assert (pair.interval, pair.seeds) == ("t_over_seeds", SEEDS)
    assert "seeds_only" in {one.code for one in pair.cautions}


def test_without_any_predictions_the_scores_are_still_compared_and_the_reason_is_said(builder: Build) -> None:
    made = two_methods(builder)
    for folder in (trial for study in made.run.studies() for trial in study.trials("confirm")):
        remove(folder)

    analysis = analyse(evidence_of([made.run]))

    assert {one.pair.interval for one in analysis.of("primary")} == {"t_over_seeds"}
    said = [one.sentence for one in analysis.cautions if one.code == "missing_predictions"]
    assert [sentence.partition(": the")[0] for sentence in said] == ["alpha: control", "alpha: ours"]
    assert "seeds 1000, 1001, 1002 are not in the run directory" in said[0]


def test_several_labels_an_image_are_read_as_a_table(builder: Build) -> None:
    made = builder(["control", "ours"], ["alpha"])
    made.card("alpha")
    card = made.run.cards()["alpha"]
    made.run.write_card("alpha", {**card, "multi_label": True})
    rng = np.random.default_rng(0)
    labels = (rng.uniform(size=(CASES, 2)) < 0.4).astype(np.int64)
    for method in ("control", "ours"):
        study = made.study(method, "alpha", seeds=SEEDS)
        made.choose(study, 0, 0.8)
        for seed in SEEDS:
            made.predicted(study.confirm_trial("c0ffee", seed), seed, rng.normal(size=(CASES, 2)) + labels, labels)

    evidence = evidence_of([made.run])
    predictions = known(evidence.predictions("alpha"))

    assert predictions.cautions == ()
    np.testing.assert_array_equal(predictions.labels, labels)
    assert predictions.support == {"disc": labels[:, 0].sum(), "square": labels[:, 1].sum()}
    assert evidence.classes == {}
    facts = known(reduced(DatasetValues(evidence, "alpha")))
    (section,) = settled([prediction_section({"alpha": facts})])
    assert "several labels" in section.sentences[0]
    # Neither calibration nor confusion is drawn, but what needs no single predicted class.
    drawn = [item.caption for item in section.items if isinstance(item, PageFigure)]
    assert len(drawn) == len(section.items) == 3
    for caption, kind in zip(drawn, ("ROC curves", "precision", "decision curves"), strict=True):
        assert caption.startswith(f"alpha: {kind}")


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        ("confirm", {"control": "contrl"}, "no method 'contrl' in the sweep; did you mean 'control'"),
        ("confirm", {"control": None, "family": "vs_control"}, r"vs_control needs confirm\.control"),
        ("search", {"metric": "acuracy"}, "did you mean 'accuracy'"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(
    builder: Build, section: str, changes: Mapping[str, object], words: str
) -> None:
    made = builder(["control", "ours"], ["alpha"])
    change_spec(made, section, **changes)

    with pytest.raises(RequestError, match=words):
        evidence_of([made.run])
