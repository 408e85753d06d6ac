"""timm's own spelling of a network with its weights, in a sweep file."""

from __future__ import annotations

from typing import Any

import pytest

from harness.core.errors import RequestError
from harness.spec.sections import SweepSpec
from harness.studies.loading import load_mapping

WHOLE = {"name": "timm:resnet50", "weights": "a1_in1k", "mean": None, "std": None, "stem": None}


def spec(backbone: dict[str, Any], method: dict[str, Any] | None = None, *assignments: str) -> SweepSpec:
    methods = {"linear_probe": {} if method is None else {"backbone": method}}
    mapping = {"name": "x", "backbone": backbone, "datasets": ["digits"], "methods": methods}
    return load_mapping(mapping, list(assignments)).spec


@pytest.mark.parametrize("weights", [{}, {"weights": "a1_in1k"}, {"weights": "resnet50.a1_in1k"}])
def test_it_is_the_same_sweep_as_in_ours(weights: dict[str, str]) -> None:
    found = spec({"name": "timm:resnet50.a1_in1k", **weights})
    assert found == spec(WHOLE)
    assert SweepSpec.model_validate(found.model_dump(mode="json")) == found


def test_a_methods_own_backbone_and_an_assignment_may_have_it_too() -> None:
    found = spec({"name": "resnet50", "weights": "IMAGENET1K_V2"}, {"name": "timm:resnet50.a1_in1k"})
    backbone = found.methods["linear_probe"].backbone
    assert backbone is not None and backbone.model_dump() == WHOLE
    assert spec({"name": "resnet18"}, None, "backbone.name=timm:resnet50.a1_in1k").backbone.model_dump() == WHOLE


def test_torchvisions_own_spelling_of_weights_is_ours() -> None:
    from torchvision import models

    assert spec({"name": "resnet50", "weights": "ResNet50_Weights.IMAGENET1K_V2"}) == spec(
        {"name": "resnet50", "weights": "IMAGENET1K_V2"}
    )
    for name in models.list_models(module=models):
        member = next(iter(models.get_model_weights(name)))
        assert spec({"name": name, "weights": str(member)}).backbone.weights == member.name
    # Another network's stay as they are, and are refused with the names of its own.
    assert spec({"name": "resnet18", "weights": "ResNet50_Weights.IMAGENET1K_V2"}).backbone.weights is not None


@pytest.mark.parametrize("weights", ["a2_in1k", None, "net.safetensors"])
def test_two_answers_are_refused_in_a_line(weights: str | None) -> None:
    with pytest.raises(RequestError, match=r"backbone.weights: the name timm:resnet50.a1_in1k says a1_in1k") as caught:
        spec({"name": "timm:resnet50.a1_in1k", "weights": weights})
    assert "\n" not in str(caught.value)
