"""Names of networks and weights that torchvision and timm publish: checked, downloaded once, refused in a line."""

from __future__ import annotations

import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from building import refusal, same
from torch import nn

from harness.core.errors import RequestError
from harness.networks.backbones import build_model, check_backbone
from harness.networks.normalisation import IMAGENET, Normalisation


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of downloaded weights, and no network."""
    from harness.networks.backbones import _extractor

    _extractor.cache_clear()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub_home"))
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("resnet5O", None, "backbone.name: no model 'resnet5O'; did you mean 'resnet50'?"),
        ("resnet50", "IMAGENET1K_V3", "backbone.weights: resnet50 has no 'IMAGENET1K_V3'; did you mean"),
        ("resnet50", "DEFAULT", "write IMAGENET1K_V2, today's"),
        ("resnet20", "IMAGENET1K_V1", "there are none published for resnet20"),
        ("squeezenet1_1", None, "squeezenet1_1 does not end in one linear classifier"),
        ("resnet50", "absent.safetensors", "no file absent.safetensors"),
        ("resnet50", "net.pt", "backbone.weights: no file net.pt; correct the path"),
        ("resnet50", "pretrained/NET.PTH", "no file pretrained/NET.PTH"),
        ("resnet20", "net.onnx", "net.onnx: of files those are read that end in .safetensors, .pt, .pth, .bin"),
        ("resnet50", "timm/resnet50.a1_in1k", "write hf-hub:timm/resnet50.a1_in1k for one of the Hub's repositories"),
        ("resnet50.a1_in1k", None, "backbone.name: no model 'resnet50.a1_in1k'; timm's are written timm:NAME"),
    ],
)
def test_wrong_names_are_refused_before_anything_is_downloaded(
    name: str, weights: str | None, expected: str, hub: Path
) -> None:
    assert expected in refusal(name, weights)
    with pytest.raises(RequestError) as caught:
        check_backbone(name, weights)
    assert expected in str(caught.value)
    assert not list(hub.iterdir())


def test_good_names_pass_the_check_without_a_download(hub: Path) -> None:
    check_backbone("resnet50", "IMAGENET1K_V2")
    check_backbone("resnet20", None)
    check_backbone("regnet_y_400mf", None)
    assert not list(hub.iterdir())


def test_published_weights_are_read_once_and_named_when_out_of_reach(hub: Path) -> None:
    from torchvision.models import get_model

    file = hub / "resnet18-f37072fd.pth"
    message = refusal("resnet18", "IMAGENET1K_V1")
    assert message.startswith("backbone.weights: cannot download IMAGENET1K_V1 (")
    assert f"put {file.name} from https://download.pytorch.org/models/{file.name} into {hub}" in message

    file.write_bytes(b"half a download")
    assert f"{file}: not readable" in refusal("resnet18", "IMAGENET1K_V1")
    assert "delete it" in refusal("resnet18", "IMAGENET1K_V1")

    source = get_model("resnet18", weights=None)
    torch.save(source.state_dict(), file)
    first, normalisation = build_model("resnet18", "IMAGENET1K_V1", 3, seed=0)
    shutil.rmtree(hub)
    second, _ = build_model("resnet18", "IMAGENET1K_V1", 3, seed=1)
    assert normalisation == IMAGENET
    source.fc = nn.Identity()
    assert same(first.backbone, source)
    assert same(second.backbone, source)
    random, _ = build_model("resnet18", None, 3, seed=1)
    assert same(second.head, random.head)


def test_training_one_trial_leaves_the_next_ones_weights_alone(hub: Path) -> None:
    from torchvision.models import get_model

    torch.save(get_model("resnet18", weights=None).state_dict(), hub / "resnet18-f37072fd.pth")
    first, _ = build_model("resnet18", "IMAGENET1K_V1", 3, seed=0)
    kept = first.backbone.get_parameter("conv1.weight").clone()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1.0)
    second, _ = build_model("resnet18", "IMAGENET1K_V1", 3, seed=0)
    assert torch.equal(second.backbone.get_parameter("conv1.weight"), kept)


def test_densenet_weights_with_the_old_names_load(hub: Path) -> None:
    from torchvision.models import get_model

    source = get_model("densenet121", weights=None)
    old = {
        ".".join([*key.split(".")[:-2], key.split(".")[-2][:-1], key.split(".")[-2][-1], key.split(".")[-1]])
        if "denselayer" in key
        else key: value
        for key, value in source.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, hub / "densenet121-a639ec97.pth")
    model, _ = build_model("densenet121", "IMAGENET1K_V1", 3, seed=0)
    source.classifier = nn.Identity()
    assert same(model.backbone, source)


def test_timm_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    assert "timm:resnet50 needs timm; pip install 'timm>=1.0'" in refusal("timm:resnet50", None)


@pytest.mark.parametrize(
    "name", ["hf_hub:timm/resnet50.a1_in1k", "hf-hub:me/net", "local-dir:/net", "me/net", "", "x" * 30_000 + ":"]
)
def test_what_is_no_name_of_timms_gets_a_short_line(name: str) -> None:
    message = refusal(f"timm:{name}", None)
    assert "give the name of one of timm's own models, such as timm:resnet50" in message and len(message) < 200


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("timm:resnt50", None, "timm has no model 'resnt50'; did you mean 'resnet50'?"),
        ("timm:qqqq", None, "timm has no model 'qqqq'; timm.list_models() lists them"),
        ("timm:resnet50.a1_in1", None, "timm:resnet50 has no 'a1_in1'; did you mean 'a1_in1k'?"),
        ("timm:resnet50", "a1_in1", "timm:resnet50 has no 'a1_in1'; did you mean 'a1_in1k'?"),
        ("timm:resnet50.a1_in1k", "a2_in1k", "timm:resnet50.a1_in1k names weights itself; leave out 'a2_in1k' or"),
    ],
)
def test_names_of_timm_are_checked_without_a_download(name: str, weights: str | None, expected: str, hub: Path) -> None:
    pytest.importorskip("timm")
    with pytest.raises(RequestError) as caught:
        check_backbone(name, weights)
    assert expected in str(caught.value) and len(str(caught.value)) < 200
    check_backbone("timm:resnet50.a1_in1k", None)
    check_backbone("timm:resnet50.a1_in1k", "a1_in1k")
    check_backbone("timm:resnet50", "a1_in1k")
    assert not list(hub.iterdir())


def test_timm_networks_by_name_and_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    # A stand-in with timm's registry functions, so that the test does not need the package.
    asked: list[tuple[str, bool, int]] = []

    def create_model(name: str, pretrained: bool, num_classes: int) -> Any:
        asked.append((name, pretrained, num_classes))
        if "offline" in name:
            raise OSError("no route\nto host")
        network: Any = nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        network.num_features = 6
        network.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": [0.2, 0.2, 0.2]}
        return network

    fake = types.SimpleNamespace(
        create_model=create_model,
        list_models=lambda: ["tiny", "offline"],
        list_pretrained=lambda pattern: [pattern.replace("*", "in1k")],
    )
    monkeypatch.setitem(sys.modules, "timm", fake)
    model, normalisation = build_model("timm:tiny", "in1k", 3, seed=0)
    assert model.head.in_features == 6
    assert normalisation == Normalisation((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    assert build_model("timm:tiny", None, 3, seed=0)[1] == IMAGENET
    assert build_model("timm:tiny.in1k", None, 3, seed=0)[1] == normalisation
    assert asked == [("tiny.in1k", True, 0), ("tiny", False, 0), ("tiny.in1k", True, 0)]
    assert "timm has no model 'tinny'; did you mean 'tiny'?" in refusal("timm:tinny", None)
    assert "timm:tiny has no 'in1l'; did you mean 'in1k'?" in refusal("timm:tiny", "in1l")
    assert "timm cannot build offline.in1k (no route to host)" in refusal("timm:offline", "in1k")
