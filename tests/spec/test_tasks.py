"""A list of sizes or of networks makes a task of each, for every dataset."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.core.errors import RequestError
from harness.spec.sections import SweepSpec
from harness.spec.train import TrainSpec
from harness.studies.loading import load_mapping

TWO = [{"name": "resnet18"}, {"name": "resnet20", "weights": "a.safetensors"}]


def sweep(**parts: Any) -> dict[str, Any]:
    network = {} if "backbones" in parts else {"backbone": {"name": "resnet20"}}
    return {"name": "x", "datasets": ["a", "b"], "methods": ["linear_probe"], **network, **parts}


def test_every_dataset_has_a_task_for_each_size_and_network() -> None:
    spec = SweepSpec.model_validate(sweep(backbones=TWO, train={"epochs": 2, "per_class": [5, "all"]}))
    labels = ["n5.resnet18", "n5.resnet20", "all.resnet18", "all.resnet20"]
    assert list(spec.datasets) == [f"{dataset}.{rest}" for dataset in "ab" for rest in labels]
    assert [spec.training(label).per_class for label in list(spec.datasets)[:4]] == [5, 5, None, None]
    assert [spec.network("linear_probe", label).name for label in list(spec.datasets)[:2]] == ["resnet18", "resnet20"]
    assert [spec.in_file(label) for label in spec.datasets] == ["a"] * 4 + ["b"] * 4
    assert spec.trials == 8 * (30 + 10 + 1)
    # Of a training, the section says nothing else than for a sweep of one size.
    assert spec.training("a.n5.resnet18") == TrainSpec(epochs=2, per_class=5)


def test_domains_that_are_tested_one_after_the_other_are_tasks() -> None:
    split = {"kind": "domain", "by": "site", "test": [["a b", "c"], ["d"]]}
    spec = SweepSpec.model_validate(sweep(datasets=["x"], split=split, train={"per_class": [5, "all"]}))
    assert list(spec.datasets) == ["x.a_b-c.n5", "x.a_b-c.all", "x.d.n5", "x.d.all"]
    assert [spec.domain(label) for label in spec.datasets] == [("site", ("a b", "c"))] * 2 + [("site", ("d",))] * 2
    assert SweepSpec.model_validate(json.loads(spec.model_dump_json())) == spec


def test_one_dataset_may_be_split_by_domain_beside_others() -> None:
    own = {"y": {"dataset": "x", "domain": {"by": "site", "test": ["a", "b"]}}}
    spec = SweepSpec.model_validate(sweep(datasets=["x", own]))
    assert list(spec.datasets) == ["x", "y"]
    assert spec.domain("x") is None and spec.domain("y") == ("site", ("a", "b"))
    assert spec.datasets["y"].options == {}


def test_a_sweep_of_one_size_and_network_has_its_datasets_as_they_are_written() -> None:
    spec = SweepSpec.model_validate(sweep(train={"per_class": 5}))
    assert list(spec.datasets) == ["a", "b"]
    assert [entry.task for entry in spec.datasets.values()] == [None, None]
    assert spec.training("a") is spec.train
    assert spec.datasets["a"].declared() == {"dataset": "a", "options": {}}


sizes = st.one_of(
    st.lists(st.integers(1, 10**6), unique=True, min_size=2, max_size=5).map(lambda s: {"per_class": sorted(s)}),
    st.lists(st.integers(1, 10**6), unique=True, min_size=1, max_size=4).map(
        lambda s: {"per_class": [*sorted(s), "all"]}
    ),
    st.lists(st.floats(1e-6, 1), unique=True, min_size=2, max_size=5).map(lambda s: {"fraction": sorted(s)}),
    st.just({"per_class": 3}),
    st.just({}),
)


@given(sizes, st.booleans())
def test_a_resolved_file_says_the_same_as_the_file(train: dict[str, Any], several: bool) -> None:
    try:
        spec = SweepSpec.model_validate(sweep(train=train, **({"backbones": TWO} if several else {})))
    except ValidationError as error:
        # Two shares that differ in their last digits have one label.
        assert "have one label" in str(error)
        return
    again = SweepSpec.model_validate(json.loads(spec.model_dump_json()))
    assert again == spec
    assert again.model_dump_json() == spec.model_dump_json()
    per_dataset = len(train.get("per_class", [0]) if isinstance(train.get("per_class"), list) else [0])
    per_dataset = len(train["fraction"]) if "fraction" in train else per_dataset
    assert len(spec.datasets) == 2 * per_dataset * (2 if several else 1)


@pytest.mark.parametrize(
    ("given_networks", "labels"),
    [
        ([{"name": "timm:resnet50.a1_in1k"}, {"name": "resnet18"}], ["resnet50_a1_in1k", "resnet18"]),
        (
            [{"name": "resnet18"}, {"name": "resnet18", "weights": "IMAGENET1K_V1"}],
            ["resnet18-random", "resnet18-IMAGENET1K_V1"],
        ),
        ([{"name": "resnet18"}, {"name": "resnet18", "stem": "small"}], ["resnet18", "resnet18-small"]),
        ({"mine": {"name": "resnet18"}, "theirs": {"name": "resnet18"}}, ["mine", "theirs"]),
    ],
)
def test_networks_are_called_by_their_names_their_weights_or_labels(given_networks: Any, labels: list[str]) -> None:
    spec = SweepSpec.model_validate(sweep(backbones=given_networks))
    assert list(spec.datasets) == [f"{dataset}.{label}" for dataset in "ab" for label in labels]
    assert [spec.network("linear_probe", f"a.{label}") for label in labels] == list(spec.backbones.values())


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"backbones": [], "backbone": None}, "backbone: "),
        ({"backbones": TWO, "backbone": {"name": "resnet50"}}, "backbone: backbones lists the networks already"),
        ({"backbones": [{"name": "resnet18"}] * 2}, "backbones.1: resnet18-random is listed twice"),
        ({"backbones": "resnet18"}, "backbones: expected a list of networks, got 'resnet18'"),
        ({"backbones": ["resnet18"]}, "backbones.resnet18: expected a mapping (key: value), got 'resnet18'"),
        ({"backbones": [{"nam": "resnet18"}]}, "backbones.network.nam: unknown key; did you mean 'name'?"),
        (
            {"backbones": TWO, "methods": {"m": {"method": "lora_c", "backbone": {"weights": None}}}},
            "methods.m.backbone: every method starts from each of backbones; leave it out",
        ),
        (
            {"split": {"kind": "domain", "by": "site", "test": "each"}},
            "split.test: write every domain as a list of its own, such as [[a], [b]]",
        ),
        (
            {"split": {"kind": "domain", "by": "site", "test": [["a"], ["b"], ["a"]]}},
            "split.test.2: a is tested twice; remove one",
        ),
        (
            {"split": {"kind": "domain", "by": "site", "test": [["a b"], ["a_b"]]}},
            "datasets.a: tests a b and a_b under one label; leave one out",
        ),
        (
            {"datasets": [{"x": {"domain": {"by": "site"}}}]},
            "datasets.x.domain.test: missing; add it, for example `test: [rosendahl]`",
        ),
        ({"train": {"per_class": [5]}}, "train.per_class: lists one size; write it without brackets"),
        ({"train": {"per_class": [10, 5]}}, "train.per_class.1: must be above the one before it, 10, got 5"),
        ({"train": {"per_class": ["all", 5]}}, "train.per_class.1: must be above the one before it, all, got 5"),
        ({"train": {"per_class": [5, "most"]}}, "train.per_class.1: 'most' is not allowed; known: all"),
        ({"train": {"per_class": [5, 0]}}, "train.per_class.1: must be at least 1, got 0"),
        ({"train": {"per_class": [5, "all"], "fraction": 0.1}}, "train.fraction: train.per_class lists"),
        ({"train": {"fraction": [0.1, 1.0], "per_class": 7}}, "train.per_class: train.fraction lists"),
        ({"train": {"fraction": [0.1, 0.1000001]}}, "train.fraction: 0.1 and 0.1000001 have one label"),
        ({"datasets": ["a" * 60], "train": {"per_class": [1000, "all"]}}, "of more than 64 characters"),
        (
            {
                "backbone": {
                    "name": "resnet20",
                    "weights": {"method": "full_finetune", "dataset": "c", "train": {"epochs": 1}},
                },
                "train": {"per_class": [5, "all"]},
            },
            "backbone.weights.train: train lists several sizes; say here which one this training has",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(parts: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError) as error:
        load_mapping(sweep(**parts))
    assert words in str(error.value)
    assert "\n" not in str(error.value)
