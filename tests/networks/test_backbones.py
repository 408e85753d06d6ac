from __future__ import annotations

import os
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from harness.core.errors import RequestError
from harness.networks.backbones import Model, build_model, check_backbone, save_model, set_training_mode
from harness.networks.normalisation import IMAGENET, Normalisation
from harness.networks.sites import conv_sites, norm_sites


def same(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def refusal(name: str, weights: str | Path | None) -> str:
    with pytest.raises(RequestError) as caught:
        build_model(name, weights, 3, seed=0)
    message = str(caught.value)
    assert "\n" not in message
    return message


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


# The counts follow from the layers: for ResNet-20 269,072 as in the paper without the classifier, and 2,752
# for two projections with their norms.
@pytest.mark.parametrize(
    ("name", "features", "parameters"),
    [
        ("resnet20", 64, 271_824),
        ("resnet18", 512, 11_176_512),
        ("resnet50", 2048, 23_508_032),
        # The published network for CIFAR has 11,173,962 parameters with its classifier of ten classes, 5,130.
        ("resnet18:small_stem", 512, 11_168_832),
        ("wide_resnet50_2:small_stem", 2048, None),
        ("resnext50_32x4d:small_stem", 2048, None),
        ("vgg11_bn", 4096, None),
        ("densenet121", 1024, None),
        ("efficientnet_b0", 1280, None),
        ("convnext_tiny", 768, None),
        ("vit_b_16", 768, None),
        ("swin_t", 768, None),
    ],
)
def test_a_network_without_its_classifier_gives_features(name: str, features: int, parameters: int | None) -> None:
    model, normalisation = build_model(name, None, 3, seed=0)
    size = 224 if name == "vit_b_16" else 64
    with torch.no_grad():
        assert model.backbone(torch.zeros(2, 3, size, size)).shape == (2, features)
    assert (model.head.in_features, model.head.out_features) == (features, 3)
    assert normalisation == IMAGENET
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}
    assert not model.training
    if parameters is not None:
        assert sum(p.numel() for p in model.backbone.parameters()) == parameters


def test_a_small_stem_keeps_the_size_of_the_image() -> None:
    model, _ = build_model("resnet18:small_stem", None, 3, seed=0)
    backbone: Any = model.backbone
    assert (backbone.conv1.kernel_size, backbone.conv1.stride, backbone.conv1.padding) == ((3, 3), (1, 1), (1, 1))
    seen: list[torch.Size] = []
    backbone.layer1.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0].shape))
    backbone.layer4.register_forward_hook(lambda _, inputs, output: seen.append(output.shape))
    model(torch.zeros(2, 3, 28, 28))
    assert seen == [(2, 64, 28, 28), (2, 512, 4, 4)]
    # He's initialisation by fan-out, as for all other convolutions of the network.
    assert backbone.conv1.weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.1)


def test_a_network_with_a_small_stem_is_another_one(tmp_path: Path) -> None:
    small, _ = build_model("resnet18:small_stem", None, 3, seed=0)
    save_model(small, tmp_path / "small.safetensors", {})
    again, _ = build_model("resnet18:small_stem", tmp_path / "small.safetensors", 3, seed=1)
    assert same(again.backbone, small.backbone)
    assert "holds resnet18:small_stem" in refusal("resnet18", tmp_path / "small.safetensors")
    # Anyone's file fits where its first convolution does.
    torch.save(small.backbone.state_dict(), tmp_path / "bare.pt")
    found, _ = build_model("resnet18:small_stem", tmp_path / "bare.pt", 3, 1, IMAGENET)
    assert same(found.backbone, small.backbone)
    torch.save(build_model("resnet18", None, 3, 0)[0].backbone.state_dict(), tmp_path / "large.pt")
    assert "does not fit resnet18:small_stem: conv1.weight" in refusal("resnet18:small_stem", tmp_path / "large.pt")


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("resnet18:small_stem", "IMAGENET1K_V1", "backbone.weights: those published for resnet18 have another first"),
        ("densenet121:small_stem", None, "backbone.stem: a small one is defined for torchvision's ResNets (resnet18"),
        ("resnet20:small_stem", None, "not for resnet20; leave it out"),
        ("timm:resnet18:small_stem", None, "not for timm:resnet18; leave it out"),
        ("resnt18:small_stem", None, "not for resnt18; leave it out"),
    ],
)
def test_where_a_small_stem_is_not_defined_a_line_says_so(name: str, weights: str | None, expected: str) -> None:
    assert expected in refusal(name, weights)
    with pytest.raises(RequestError) as caught:
        check_backbone(name, weights)
    assert expected in str(caught.value)


def test_initial_values_depend_on_the_seed_and_nothing_else(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    first, _ = build_model("resnet20", None, 3, seed=7)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(1)
    again, _ = build_model("resnet20", None, 3, seed=7)
    other, _ = build_model("resnet20", None, 3, seed=8)
    wider, _ = build_model("resnet20", None, 4, seed=7)
    assert same(first, again)
    assert not same(first.backbone, other.backbone)
    assert not same(first.head, other.head)
    assert same(first.backbone, wider.backbone)
    # Whether the backbone's weights were drawn or read must not matter to the head.
    save_model(other, tmp_path / "net.safetensors", {})
    loaded, _ = build_model("resnet20", tmp_path / "net.safetensors", 3, seed=7)
    assert same(loaded.backbone, other.backbone)
    assert same(loaded.head, first.head)


def test_set_training_mode_freezes_the_statistics_on_request() -> None:
    model, _ = build_model("resnet20", None, 3, seed=0)
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    set_training_mode(model, "frozen")
    model(images)
    assert model.training
    assert model.backbone.training
    assert all(torch.equal(buffer, kept[name]) for name, buffer in model.named_buffers())
    set_training_mode(model, "train")
    model(images)
    assert not any(torch.equal(buffer, kept[name]) for name, buffer in model.named_buffers())


def test_a_saved_network_comes_back_with_its_normalisation(tmp_path: Path) -> None:
    gray = Normalisation((0.18, 0.18, 0.18), (0.24, 0.24, 0.24))
    model, _ = build_model("resnet20", None, 3, seed=1)
    model.normalisation = gray
    model.backbone.to(memory_format=torch.channels_last)
    path = tmp_path / "a net.safetensors"
    save_model(model, path, {"dataset": "pathmnist"})
    loaded, normalisation = build_model("resnet20", str(path), 5, seed=2)
    assert normalisation == gray == loaded.normalisation
    assert same(loaded.backbone, model.backbone)
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["dataset"] == "pathmnist"
        assert file.metadata()["backbone"] == "resnet20"
        assert torch.equal(file.get_tensor("head.weight"), model.head.weight)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    assert f"no file {path}" in refusal("resnet20", path)
    model, _ = build_model("resnet20", None, 3, seed=1)
    save_model(model, path, {})
    assert "does not fit resnet18: holds resnet20" in refusal("resnet18", path)

    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert f"{path}: not a readable safetensors file" in refusal("resnet20", path)
    path.write_bytes(b"")
    assert f"{path}: the file is empty; download or write it again" in refusal("resnet20", path)

    tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(tensors, path)
    message = refusal("resnet20", path)
    assert f"backbone.weights: {path} does not say what images it was trained on; write backbone.mean and" in message
    save_file(tensors, path, {"mean": "[0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"})
    assert f"{path}: mean and std in its metadata are not three numbers each" in refusal("resnet20", path)
    metadata = {"mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"}
    save_file({**tensors, "backbone.extra": torch.zeros(1)}, path, metadata)
    assert "1 tensors have no place, the first is extra" in refusal("resnet20", path)
    save_file({**tensors, "backbone.bn1.bias": torch.zeros(17)}, path, metadata)
    assert "bn1.bias has shape (17,), not (16,)" in refusal("resnet20", path)
    del tensors["backbone.conv1.weight"]
    save_file(tensors, path, metadata)
    assert "1 tensors are missing, the first is conv1.weight" in refusal("resnet20", path)


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


def test_sites_of_resnet50() -> None:
    model, _ = build_model("resnet50", None, 3, seed=0)
    sites = conv_sites(model.backbone)
    assert [site.name for site in sites if site.stem] == ["conv1"]
    assert [site.name for site in sites if site.downsample] == [f"layer{k}.0.downsample.0" for k in (1, 2, 3, 4)]
    assert [sum(site.stage == stage for site in sites) for stage in (None, 1, 2, 3, 4)] == [1, 10, 13, 19, 10]
    assert sum(site.module.kernel_size == (3, 3) for site in sites) == 16
    norms = norm_sites(model.backbone)
    assert len(norms) == 53
    assert sum(p.numel() for site in norms for p in site.module.parameters()) == 53_120


@pytest.mark.parametrize(
    ("name", "stem", "downsample", "norms", "stages"),
    [
        ("resnet20", "conv1", 2, 21, {1, 2, 3}),
        ("regnet_y_400mf", "stem.0", 4, 53, {1, 2, 3, 4}),
        ("densenet121", "features.conv0", 0, 121, {1, 2, 3, 4}),
        ("convnext_tiny", "features.0.0", 0, 23, {1, 2, 3, 4}),
    ],
)
def test_sites_of_other_networks(name: str, stem: str, downsample: int, norms: int, stages: set[int]) -> None:
    backbone = build_model(name, None, 3, seed=0)[0].backbone
    sites = conv_sites(backbone)
    assert [site.name for site in sites if site.stem] == [stem]
    assert sum(site.downsample for site in sites) == downsample
    assert len(norm_sites(backbone)) == norms
    assert {site.stage for site in sites} - {None} == stages


def test_a_model_of_ones_own_can_be_saved(tmp_path: Path) -> None:
    save_model(Model(nn.Flatten(), 12, 2), tmp_path / "own.safetensors", {"backbone": "mine"})
    with safe_open(tmp_path / "own.safetensors", framework="pt") as file:
        assert file.metadata()["backbone"] == "mine"
        assert list(file.keys()) == ["head.bias", "head.weight"]


def test_weights_that_were_replaced_are_read_again_whatever_the_clock_says(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    first, second = (build_model("resnet20", None, 3, seed=seed)[0] for seed in (1, 2))
    save_model(first, path, {})
    assert same(build_model("resnet20", str(path), 3, seed=0)[0].backbone, first.backbone)
    status = path.stat()
    save_model(second, path, {})
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert same(build_model("resnet20", str(path), 3, seed=0)[0].backbone, second.backbone)
