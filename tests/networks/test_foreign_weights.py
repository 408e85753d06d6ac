"""Weights that other programs have written: what is taken of them, and what is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import WRAPPERS, Wrapper, moco_v2, prefixed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tiny import ROOT
from torch import Tensor, nn
from torchvision.models import get_model

from harness.core.errors import RequestError
from harness.networks.backbones import build_model, check_backbone, loaded_state, save_model
from harness.networks.content import content_of
from harness.networks.fitting import Reading
from harness.networks.normalisation import IMAGENET, Normalisation
from harness.networks.small_resnet import SmallResNet

LITE = ROOT.parent / "shared" / "weights" / "efficientnet-lite0-57934424.pth"
HALF = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
OWN = {"mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Of a small ResNet, with statistics that are not those of a new one."""
    generator = torch.Generator().manual_seed(1)
    network = SmallResNet().state_dict()
    return {
        key: torch.rand(value.shape, generator=generator) + 0.5 if value.is_floating_point() else value + 7
        for key, value in network.items()
    }


def same(first: dict[str, Tensor] | Any, second: dict[str, Tensor] | Any) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def read(path: Path, name: str = "resnet20") -> tuple[Any, Reading]:
    loaded, outcome = loaded_state(name, path)
    assert outcome is not None and outcome.reading is not None
    return loaded, outcome.reading


def refusal(path: Path | str, name: str = "resnet20", normalisation: Normalisation | None = HALF) -> str:
    with pytest.raises(RequestError) as caught:
        build_model(name, path, 3, 0, normalisation)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 700 + len(str(path))
    return message


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=str)
def test_each_wrapper_gives_its_backbone(wrapper: Wrapper, state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(wrapper.make(state), path)
    loaded, reading = read(path)
    assert same(loaded, state)
    assert (reading.place, reading.prefix, reading.layout) == (wrapper.place, wrapper.prefix, wrapper.layout)
    assert reading.complete and reading.lacks() == ""
    fates = {"renamed"} if wrapper.layout.startswith("children") else {"taken"}
    assert {line.fate for line in reading.lines} == fates | ({"left out"} if wrapper.left else set())
    assert len(reading.of(*fates)) == len(state)  # type: ignore[arg-type]
    assert {line.note for line in reading.of("left out")} == set(wrapper.left)
    # Every tensor of the mapping has one line.
    assert len({line.stored for line in reading.lines}) == len(reading.lines)


def test_the_tensors_of_other_mappings_are_counted(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(WRAPPERS[0].make(state), path)
    _, reading = read(path)
    assert reading.besides == {
        ("student",): len(state) + 2, ("optimizer", "state", "0"): 1, ("dino_loss",): 1,
    }  # fmt: skip


def test_other_branches_with_other_values_are_named(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(moco_v2(state), path)
    _, outcome = loaded_state("resnet20", path)
    assert outcome is not None
    assert outcome.summary() == (
        f"net.pth: {len(state)} tensors taken, {len(moco_v2(state)['state_dict']) - len(state)} tensors left out: "
        "in state_dict, behind 'module.encoder_q.', the network's own names; also there, with other values: "
        "in state_dict, behind 'module.encoder_k.', the network's own names"
    )
    # A momentum copy is taken where there is nothing else.
    torch.save({"state_dict": prefixed(state, "module.encoder_k.")}, path)
    loaded, reading = read(path)
    assert same(loaded, state) and reading.prefix == "module.encoder_k."


WORD = st.text("abcdefgh_", min_size=1, max_size=8)


@given(
    place=st.lists(WORD, max_size=4),
    prefix=st.lists(st.sampled_from(["module", "net", "0", "encoder", "my_net"]), max_size=4),
    others=st.dictionaries(WORD.map("other_{}.weight".format), st.just(torch.ones(2)), max_size=3),
    kind=st.sampled_from([".pt", ".pth", ".bin", ".ckpt", ".tar"]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_nesting_and_prefix_is_found(
    place: list[str], prefix: list[str], others: dict[str, Tensor], kind: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    before = "".join(f"{word}." for word in prefix)
    content: Any = {**others, **prefixed(state, before)}
    for key in reversed(place):
        content = {"epoch": 1, key: content, "loss": [0.5]}
    path = tmp_path / f"net{kind}"
    torch.save(content, path)
    loaded, reading = read(path)
    assert same(loaded, state)
    assert (reading.place, reading.prefix) == (tuple(place), before)
    assert len(reading.of("left out")) == len(others)


def test_real_imagenet_weights_are_one_network_in_three_forms_of_file(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="builds EfficientNet-Lite0; it is in the extra timm")
    if not LITE.is_file():
        pytest.skip(f"needs {LITE.name} in {LITE.parent}")
    name = "timm:tf_efficientnet_lite0"
    foreign, _ = build_model(name, str(LITE), 3, 0, HALF)
    _, reading = read(LITE, name)
    assert reading.layout == "efficientnet_pytorch"
    assert len(reading.of("renamed")) == 294
    assert [line.stored for line in reading.of("left out")] == ["_fc.weight", "_fc.bias"]
    bare, own = tmp_path / "bare.safetensors", tmp_path / "own.safetensors"
    save_file({key: value.contiguous() for key, value in torch.load(LITE, weights_only=True).items()}, bare)
    save_model(foreign, own, {})
    second, _ = build_model(name, str(bare), 3, 0, HALF)
    third, stated = build_model(name, str(own), 3, 0)
    assert stated == HALF
    images = torch.rand(4, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = [model.backbone(images) for model in (foreign, second, third)]
    assert features[0].shape == (4, 1280) and features[0].std() > 0.01
    assert torch.equal(features[0], features[1]) and torch.equal(features[0], features[2])
    assert content_of(name, str(LITE), HALF) == content_of(name, str(bare), HALF)


def test_a_densenet_as_radimagenet_numbers_it(tmp_path: Path) -> None:
    source = get_model("densenet121", weights=None).state_dict()
    path = tmp_path / "net.pt"
    torch.save({key.replace("features.", "backbone.0.", 1): value for key, value in source.items()}, path)
    loaded, reading = read(path, "densenet121")
    assert reading.layout == "children of a DenseNet in a Sequential (RadImageNet)"
    assert all(torch.equal(loaded[key], source[key]) for key in loaded)


def test_half_of_one_spelling_and_half_of_another_is_no_network(tmp_path: Path) -> None:
    source = get_model("resnet18", weights=None).state_dict()
    path = tmp_path / "net.pt"
    torch.save({key.replace("layer4.", "7.", 1): value for key, value in source.items()}, path)
    message = refusal(path, "resnet18")
    assert (
        "does not fit resnet18: 25 tensors are missing, the first is layer4.0.conv1.weight (the closest of" in message
    )


def test_convnexts_authors_name_it_in_their_own_way(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="builds ConvNeXt; it is in the extra timm")
    network = timm.create_model("convnext_atto", num_classes=10)
    theirs = {}
    for key, value in network.state_dict().items():
        key = key.replace("stem.", "downsample_layers.0.").replace(".blocks.", ".").replace("head.fc.", "head.")
        key = key.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv").replace("head.norm", "norm")
        for stage in (1, 2, 3):
            key = key.replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
        theirs[key] = value
    path = tmp_path / "net.pth"
    # Of the atto form, with convolutions for its linear layers, the shapes are timm's.
    torch.save({"model": theirs}, path)
    loaded, reading = read(path, "timm:convnext_atto")
    assert reading.layout == "ConvNeXt of its authors"
    assert {line.note for line in reading.of("left out")} == {"classifier"}
    assert all(torch.equal(loaded[key], network.state_dict()[key]) for key in loaded)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"layer3.1.conv2.weight": None}, "1 tensor is missing, the first is layer3.1.conv2.weight"),
        ({"conv1.weight": torch.ones(16, 3, 7, 7)}, "conv1.weight has (16, 3, 7, 7), not (16, 3, 3, 3)"),
        ({"bn1.weight": torch.ones(16, dtype=torch.int8)}, "bn1.weight has (16,), not (16,) of float32"),
        # A longer network has all tensors of a shorter one.
        (
            {"layer3.3.conv1.weight": torch.ones(64, 64, 3, 3)},
            "1 tensor has no place, the first is layer3.3.conv1.weight",
        ),
        ({"layer1.0.lora_a": torch.ones(4)}, "1 tensor has no place, the first is layer1.0.lora_a"),
        ({"bn1.bias": torch.full((16,), torch.nan)}, "bn1.bias has values that are not finite"),
    ],
)
def test_what_is_not_whole_is_refused(
    change: dict[str, Tensor | None], expected: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "net.pth"
    torch.save({key: value for key, value in {**state, **change}.items() if value is not None}, path)
    assert expected in refusal(path)


def test_counters_may_be_missing_or_left_over(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    old = {key: value for key, value in state.items() if "num_batches" not in key}
    torch.save({**old, "layer1.0.total_ops": torch.ones(1)}, path)
    loaded, reading = read(path)
    assert reading.complete and reading.named == len(old)
    assert all(torch.equal(loaded[key], value) for key, value in old.items())
    torch.save({"model": prefixed(old, ""), "copy": dict(state), "other": prefixed(old, "", 2.0)}, path)
    _, outcome = loaded_state("resnet20", path)
    assert outcome is not None and outcome.rivals == ("in other, the network's own names",)


def test_half_precision_is_read_and_said(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({key: value.half() if value.is_floating_point() else value for key, value in state.items()}, path)
    loaded, reading = read(path)
    assert loaded["conv1.weight"].dtype == torch.float32
    assert torch.equal(loaded["conv1.weight"], state["conv1.weight"].half().float())
    assert {line.note for line in reading.of("taken")} == {"as float16", ""}


def test_half_of_the_tensors_and_another_networks_are_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"state_dict": dict(list(prefixed(state, "module.").items())[: len(state) // 2])}, path)
    message = refusal(path)
    half = len(state) // 2
    missing = sum("num_batches" not in key for key in list(state)[half:])
    assert f"{path}: does not fit resnet20: {missing} tensors are missing, the first is layer2." in message
    assert f"with {half} of {len(state)} tensors: in state_dict, behind 'module.'" in message
    assert "`python -m harness.networks inspect FILE` names what it fits" in message
    with torch.device("meta"):
        names = get_model("vit_b_16", weights=None).state_dict().keys()
    torch.save({name: torch.ones(2) for name in names}, path)
    message = refusal(path, "resnet50")
    assert f"{path}: does not fit resnet50: (next to) none of its tensors has a name of that network's" in message


class Code:
    """A pickle that would write a file."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self._target,)


def test_a_pickle_with_code_is_not_run(state: dict[str, Tensor], tmp_path: Path) -> None:
    target, path = tmp_path / "was run", tmp_path / "net.pth"
    torch.save({"state_dict": dict(state), "hook": Code(target)}, path)
    assert "to be run, and nothing in a file of weights is" in refusal(path)
    path.write_bytes(pickle.dumps({"state_dict": {}, "hook": Code(target)}))
    assert f"{path}: " in refusal(path)
    # A network that was saved whole is code as well.
    torch.save(nn.Conv2d(1, 1, 1), path)
    assert "needs torch.nn.modules.conv.Conv2d to be run" in refusal(path)
    assert not target.exists()
    pickle.loads(pickle.dumps(Code(target)))
    assert target.exists(), "the code would have run"


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty; download or write it again"),
        (
            b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>",
            "is a web page, not weights; download the file itself",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a pointer of Git LFS"),
        (b"PK\x03\x04 and no more", "damaged or truncated|not a readable safetensors file"),
        (struct.pack("<Q", 10_000_000_000) + b"{}", "not a readable"),
        (b"\x80\x02}q\x00X", "not a readable"),
    ],
    ids=["empty", "html", "lfs", "zip", "10 GB header", "cut off"],
)
def test_files_that_are_no_weights_are_refused(content: bytes, expected: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{ending}"
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f"{path}: ") and re.search(expected, message), message


@given(
    ending=st.sampled_from([".pth", ".safetensors"]),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    early=st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_damaged_file_is_refused_in_a_line_or_read(
    ending: str, cut: float, flips: list[tuple[float, int]], early: bool, tmp_path: Path
) -> None:
    path = tmp_path / f"net{ending}"
    state = {"conv1.weight": torch.ones(16, 3, 3, 3), "bn1.bias": torch.ones(16)}
    if ending == ".pth":
        torch.save({"state_dict": state}, path)
    else:
        save_file(state, path)
    content = bytearray(path.read_bytes())
    for place, value in flips:
        # What says what the bytes are is at the beginning; of a zip archive also at the end.
        content[int(place * (200 if early else len(content) - 1))] = value
    path.write_bytes(content[: int(cut * len(content))] if not flips else content)
    # Most of the network is missing even in a whole one.
    message = refusal(path)
    assert message.startswith(f"{path}: ")


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    for content in ({"epoch": 3, "state_dict": {}}, [torch.ones(2)], torch.ones(2)):
        torch.save(content, path)
        assert "holds no mapping of names to tensors" in refusal(path)
    cycle: dict[str, Any] = {"epoch": 1}
    cycle["self"] = cycle
    torch.save(cycle, path)
    assert "holds no mapping of names to tensors" in refusal(path)
    assert f"no file {tmp_path}" in refusal(tmp_path)


def test_the_normalisation_is_given_or_stated_or_asked_for(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file(state, path)
    message = refusal(path, normalisation=None)
    assert message == (
        f"backbone.weights: {path} does not say what images it was trained on; write backbone.mean and backbone.std, "
        "for ImageNet's mean: [0.485, 0.456, 0.406] and std: [0.229, 0.224, 0.225]"
    )
    assert build_model("resnet20", path, 3, 0, IMAGENET)[1] == IMAGENET
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"architecture": "resnet20", "pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1]}}))
    save_file(state, path)
    model, found = build_model("resnet20", path, 3, 0)
    assert found == model.normalisation == Normalisation((0, 0, 0), (1, 1, 1))
    # Of another network's configuration nothing is taken.
    config.write_text(json.dumps({"architecture": "resnet50", "mean": [0, 0, 0], "std": [1, 1, 1]}))
    save_file(state, path)
    assert "does not say what images" in refusal(path, normalisation=None)
    config.write_text(json.dumps({"architecture": "resnet20", "mean": [0, 0], "std": "?"}))
    save_file(state, path)
    assert f"{config}: mean and std are not three numbers each" in refusal(path)
    save_file(state, path, OWN)
    assert build_model("resnet20", path, 3, 0)[1] == HALF
    assert build_model("resnet20", path, 3, 0, IMAGENET)[1] == IMAGENET


def test_the_content_is_what_identifies_weights(state: dict[str, Tensor], tmp_path: Path) -> None:
    first, second, own = (tmp_path / name for name in ("a.pth", "b.safetensors", "own.safetensors"))
    torch.save({"state_dict": {**prefixed(state, "module."), "module.fc.bias": torch.ones(1)}}, first)
    save_file(state, second)
    one, other = (content_of("resnet20", str(path), HALF) for path in (first, second))
    assert one == other and one.weights is not None and len(one.weights) == 64
    assert one.normalisation == HALF
    assert content_of("resnet20", str(first), IMAGENET) != one
    save_file({**state, "bn1.bias": state["bn1.bias"] + 1e-6}, second)
    assert content_of("resnet20", str(second), HALF).weights != one.weights
    # What was there before there were others has the identity that it had.
    save_model(build_model("resnet20", first, 3, 0, HALF)[0], own, {})
    found = content_of("resnet20", str(own), None)
    assert (found.weights, found.normalisation) == (hashlib.sha256(own.read_bytes()).hexdigest(), None)
    assert content_of("resnet50", "IMAGENET1K_V2", None).weights == "IMAGENET1K_V2"
    assert content_of("resnet50", None, None).weights is None


def test_the_hubs_client_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(RequestError, match=r"hf-hub:me/net needs timm; pip install 'timm>=1\.0'"):
        check_backbone("resnet20", "hf-hub:me/net")


def test_a_file_is_not_opened_when_its_name_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(b"<html>")
    check_backbone("resnet20", str(path))
    # A RegNet reads its widths from a tensor while it is built.
    check_backbone("regnet_y_400mf", str(path))
