"""Networks without their classifiers: features, stems, initial values, files of weights of their own, sites."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from building import refusal, same
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from harness.core.errors import RequestError
from harness.networks.backbones import Model, build_model, check_backbone, save_model, set_training_mode
from harness.networks.normalisation import IMAGENET, Normalisation
from harness.networks.sites import conv_sites, norm_sites


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
