"""What the paragraphs on methods and limitations say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from analysis.comparison.compare import analyse
from analysis.comparison.evidence import Evidence
from analysis.runs.conduct import Conduct
from analysis.words.limitations import limitations
from analysis.words.methods import methods_paragraph
from harness.run.sweep_records import AugmentationRecord
from harness.space.parameters import Choice, Fixed, Float, to_json
from harness.spec.train import TrainSpec
from tests.analysis.made_up import FORBIDDEN, against_control, made_up

SPEC = {
    "backbone": {"name": "resnet50", "weights": "IMAGENET1K_V2"},
    "datasets": {"alpha": {}, "beta": {}},
    "methods": {"control": {"backbone": None}, "gpaf": {"backbone": {"name": "resnet18", "weights": None}}},
    "train": {"epochs": 30, "batch_size": 64, "image_size": 224},
    "split": {"kind": "grouped", "seed": 0, "near_duplicates": True, "allow_leakage": None},
    "search": {"metric": "auc", "sampler": "tpe", "trials": 3, "seeds": [0]},
    "confirm": {"seeds": 8, "control": "control"},
}


TWO = {"control": 1.5, "gpaf": 1.9}


METHODS: dict[str, tuple[Evidence, Mapping[str, Any] | None, list[str], list[str]]] = {
    "sweep": (
        against_control(levels=TWO, group_size=2, metrics=("balanced_accuracy", "auc", "macro_f1", "nll")),
        SPEC,
        [
            "We compared gpaf with the control control on 2 datasets (alpha and beta).",
            "The starting point was resnet50 (weights IMAGENET1K_V2); for gpaf it was resnet18 (random weights).",
            "at most 30 epochs, in batches of 64 images of 224 × 224 pixels",
            "on one side, near-duplicates included (split seed 0)",
            "240 test cases of 120 patients or lesions (alpha)",
            "3 search trials for each method on each dataset by a tree-structured Parzen estimator on validation AUC",
            "8 seeds on each dataset (1000 to 1007)",
            "For balanced accuracy, AUC, macro-F1 and negative log-likelihood, differences were paired by seed",
            "Obuchowski and Rockette 1995",
            "Balanced accuracy; AUC (DeLong, DeLong and Clarke-Pearson 1988) and macro-F1 entered as pseudo-values, a",
            "plus the case's first-order influence on it (Hampel 1974).",
            "average over the uncertainty of the variance components (Behrens-Fisher; Fisher 1935)",
            "Fewer than 3 replicates carry no verdict.",
            "Holm's method for the family of 3 declared comparisons at level 0.05; the family was declared before",
            "Exact sign-flip and Wilcoxon",
            "two one-sided tests (Schuirmann 1987",
            "within ±0.01.",
            "take the datasets as fixed, belong to the same family and say nothing about other datasets",
            "no critical-difference diagram are given: with fewer than 6 datasets",
        ],
        ["not beforehand", "narrower claim", "exploratory", "Nothing is known"],
    ),
    "imported": (
        made_up({"a": 1.5, "b": 1.9, "c": 1.6}, datasets=("alpha",), seeds=range(5), with_predictions=False,
                metrics=("balanced_accuracy",), margin=None, correction="none", beforehand=False),
        None,
        [
            "We compared 3 methods (a, b and c), every one with every other, on 1 dataset (alpha).",
            "one score for each seed, without single test cases",
            "For balanced accuracy, Student's t intervals over seeds make a narrower claim",
            "p values were not corrected for the 3 declared comparisons; this family was stated with the analysis, not "
            "beforehand.",
            "With fewer than 6 paired seeds no exact test was made",
            "No margin was declared, so equivalence was not tested.",
        ],
        ["Satterthwaite", "Holm", "pseudo-values", "starting point", "Averages", "critical-difference", "Wilcoxon"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("evidence", "spec", "said", "unsaid"), METHODS.values(), ids=METHODS)
def test_the_methods_paragraph_says_what_was_done_and_nothing_else(
    evidence: Evidence, spec: Mapping[str, Any] | None, said: list[str], unsaid: list[str]
) -> None:
    text = methods_paragraph(analyse(evidence), None if spec is None else Conduct(spec=spec))  # type: ignore[arg-type]
    assert [part for part in said if part not in text] == []
    assert [part for part in unsaid if part in text] == []
    assert not FORBIDDEN.search(text)


RECIPES: dict[str, tuple[dict[str, Any], str]] = {
    "default": ({}, "rose over the first 5 % of the steps and then fell to 0 along half a cosine. The loss"),
    "a published one": (
        {
            "schedule": {"kind": "step", "milestones": [50, 75], "factor": 0.1}, "warmup": 0.0, "drop_last": False,
            "optimizer": {"kind": "adam"}, "epochs": 100,
        },
        "A training took at most 100 epochs, in batches of 64 images of 224 × 224 pixels, the last one of an epoch "
        "being smaller. The learning rate was multiplied by 0.1 after epochs 50 and 75. The optimiser of all methods "
        "was Adam, weight decay being part of the gradient.",
    ),
    "momentum": (
        {
            "schedule": "linear", "warmup": {"epochs": 1},
            "optimizer": {"kind": "sgd", "momentum": 0.8, "nesterov": True},
        },
        "The learning rate rose over the first epoch and then fell linearly to 0. The optimiser of all methods was SGD "
        "with Nesterov's momentum 0.8.",
    ),
    "no momentum": (
        {
            "schedule": {"kind": "step", "milestones": [2]}, "warmup": {"steps": 500},
            "optimizer": {"kind": "sgd", "momentum": 0.0},
        },
        "The learning rate rose over the first 500 steps and then was multiplied by 0.1 after epoch 2. The optimiser "
        "of all methods was SGD without momentum.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), RECIPES.values(), ids=RECIPES)
def test_how_methods_were_trained_is_told(changes: dict[str, Any], said: str) -> None:
    train = TrainSpec.model_validate({"epochs": 30, **changes}).model_dump(mode="json")
    stem = {"name": "resnet18", "weights": None, "stem": "small"}
    conduct = Conduct(spec={**SPEC, "backbone": stem, "train": train})  # type: ignore[typeddict-item]
    text = methods_paragraph(analyse(against_control(levels=TWO)), conduct)
    assert said in text
    assert "The starting point was resnet18 with a 3 × 3 stem for small images (random weights)" in text


POLICY: AugmentationRecord = {
    "flip_horizontal": True, "flip_vertical": False, "rotate": 15.0, "zoom": 0.0, "shift": 0.0, "brightness": 0.1,
    "contrast": 0.0,
}  # fmt: skip
SPACE = to_json({"lr": Float(1e-3, 1e-4, 1e-2, log=True), "optimizer": Fixed("sgd")})
PRACTICE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "loss": (
        {"class_weights": "balanced", "label_smoothing": 0.1, "clip_norm": 2.0, "sampling": "natural"}, {},
        "The loss that methods were given was cross-entropy, each class weighted by its inverse frequency, with label "
        "smoothing 0.1. Gradients were clipped to norm 2.",
    ),
    "several labels": (
        {}, {"cards": {"beta": {"multi_label": True, "name": "b"}}},
        "was cross-entropy, binary cross-entropy over the labels on beta.",
    ),
    "drawn classes": ({"sampling": "balanced"}, {}, "Each class was drawn as often as every other, with replacement."),
    "augmentation": (
        {}, {"augmentation": {"alpha": POLICY, "beta": {**POLICY, "rotate": 0.0}}},
        "Training images of alpha were mirrored left and right at random, rotated by up to 15 degrees and changed in "
        "brightness by up to 10 % of full scale, drawn anew for each image of each step. Training images of beta were "
        "mirrored left and right at random and changed in brightness",
    ),
    "no augmentation": ({"augment": False}, {}, "Training images were not augmented."),
    "a policy that changes nothing": (
        {}, {"augmentation": {"alpha": {name: False if name.startswith("flip") else 0 for name in POLICY}}},
        "Training images were not augmented.",
    ),
    "epoch": (
        {"patience": 3}, {},
        "the epoch with the best validation AUC, the earliest among ties, was kept, and it alone was tested. A "
        "training ended early after 3 epochs without a better score.",
    ),
    "one optimiser": ({}, {"spaces": {"gpaf": SPACE, "control": SPACE}}, "The optimiser was SGD."),
    "own optimisers": (
        {}, {"spaces": {"gpaf": to_json({"optimizer": Choice("adam", ("adamw", "sgd", "adam"))}), "control": SPACE}},
        "was AdamW or SGD or Adam, weight decay being part of the gradient, as the search chose for gpaf; SGD for "
        "control.",
    ),
    "spaces": (
        {}, {"spaces": {"gpaf": SPACE, "control": to_json({"optimizer": Fixed("sgd")})}},
        "The search varied lr [0.0001, 0.01], log, default 0.001 (gpaf). All other hyperparameters were fixed. There "
        "was nothing to search in control.",
    ),
    "many spaces": (
        {}, {"spaces": {"gpaf": to_json({f"h{place}": Float(0.5, 0.1, 1.0) for place in range(13)})}},
        "The search spaces, with defaults and chosen values, are in a table of their own.",
    ),
    "hours": (
        {},
        {
            "devices": ["NVIDIA H200", "cpu"], "trials": 40, "failed": 2,
            "seconds": {"confirm": 1800.0, "search": 5400.0},
        },
        "Trials ran on NVIDIA H200 and cpu. 40 trials, of which 2 failed, took 2.00 device-hours in all (confirmation "
        "0.50, search 1.50), work that failed, was interrupted or was repeated included.",
    ),
    "versions": (
        {},
        {"environments": [{
            "commit": "0123abc", "dirty": True, "python": "3.12.1", "packages": {"torch": "2.11", "numpy": "2.1"},
            "machine": {},
        }]},
        "The code at commit 0123abc with uncommitted changes ran under Python 3.12.1 with numpy 2.1, torch 2.11.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "facts", "said"), PRACTICE.values(), ids=PRACTICE)
def test_all_that_a_reader_needs_of_a_training_is_told(
    changes: dict[str, Any], facts: dict[str, Any], said: str
) -> None:
    analysis = analyse(against_control(levels=TWO))
    plain = Conduct(spec={**SPEC, "train": TrainSpec().model_dump(mode="json")})  # type: ignore[typeddict-item]
    spec = {**SPEC, "train": TrainSpec.model_validate(changes).model_dump(mode="json")}
    assert said not in methods_paragraph(analysis, plain)
    text = methods_paragraph(analysis, Conduct(spec=spec, **facts))  # type: ignore[arg-type]
    assert said in text
    assert not FORBIDDEN.search(text)


def test_limitations_follow_from_what_the_design_did_not_vary() -> None:
    whole = analyse(against_control(levels=TWO, seeds=range(1000, 1003)))
    text = " ".join(limitations(whole, SPEC))
    for part in (
        "One split of each dataset into training, validation and test images was used",
        "Each method was tuned by one search on each dataset",
        "the intervals do not contain what a new search would change",
        "Nothing is said of datasets other than alpha and beta.",
        "With 3 seeds little is known of how much a result changes",
    ):
        assert part in text
    assert "whether these were drawn anew is not known here" in " ".join(limitations(whole, None))
    narrow = analyse(against_control(levels=TWO, with_predictions=False))
    assert "On alpha and beta nothing is said of new test cases." in " ".join(limitations(narrow, SPEC))
    assert limitations(replace(whole, comparisons=()), SPEC) == ()


def test_who_trained_without_augmentation_is_told() -> None:
    analysis = analyse(against_control(levels=TWO))

    def told(heads: list[str], **train: Any) -> bool:
        spec = {**SPEC, "train": {"epochs": 3, "batch_size": 64, "features": "once", "augment": True, **train}}
        text = methods_paragraph(analysis, Conduct(spec=spec, heads=frozenset(heads)))  # type: ignore[arg-type]
        sentence = "Of control the head alone was trained, on features of images without augmentation; the others were"
        return sentence in text

    assert told(["control", "elsewhere"])
    assert not any((told([]), told(["control"], features="each_step"), told(["control"], augment=False)))


def test_unequal_treatment_looks_and_repeats_are_told() -> None:
    whole = against_control(levels=TWO, looks=(5, 8), repeats={"gpaf": 0.001}, beforehand=False)
    cells = dict(whole.cells)
    cells["alpha", "gpaf"] = replace(cells["alpha", "gpaf"], search_trials=30, declared=tuple(range(1000, 1010)))
    official = Conduct(spec={**SPEC, "split": {"kind": "official", "seed": 0}})  # type: ignore[typeddict-item]
    text = methods_paragraph(analyse(replace(whole, cells=cells)), official)
    assert "3 to 30 search trials for a method on a dataset, not the same for all" in text
    assert "The methods ran on 8 to 10 seeds, which were not the same for all" in text
    assert "Looks at the results were planned at 5 and 8 seeds." in text
    assert "2 trainings were repeated with the same seed" in text
    assert "was split as its publishers did (split seed 0)" in text
    assert "within ±0.01, a margin stated with the analysis, not beforehand." in text
    unknown = {key: replace(cell, search_trials=None) for key, cell in cells.items()}
    assert "Nothing is known here of how" in methods_paragraph(analyse(replace(whole, cells=unknown)), None)
