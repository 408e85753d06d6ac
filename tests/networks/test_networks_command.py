"""``python -m harness.networks list | inspect | fetch``, and a sweep that starts from a file of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from checkpoints import dino, moco_v2, prefixed
from tiny import run_inline, tiny_sweep
from torch import Tensor

from harness.networks.__main__ import main
from harness.networks.small_resnet import SmallResNet


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return SmallResNet().state_dict()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_networks_are_listed_with_their_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "resnet50"]) == 0
    assert any(line.split() == ["resnet50", "IMAGENET1K_V1,", "IMAGENET1K_V2"] for line in lines(capsys))
    assert main(["list", "res?et20"]) == 0
    assert lines(capsys) == ["resnet20"]
    assert main(["list", "resnte50"]) == 2
    assert "error: PATTERN: no network has 'resnte50' in its name" in capsys.readouterr().err


def test_timms_networks_are_listed_with_their_tags(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("timm", reason="lists timm's networks; it is in the extra timm")
    assert main(["list", "timm:tf_efficientnet_lite?"]) == 0
    assert lines(capsys) == [f"timm:tf_efficientnet_lite{number}  in1k" for number in range(5)]


def test_a_file_is_inspected_as_a_network(
    state: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.pth"
    torch.save(dino(state), path)
    assert main(["inspect", str(path), "--as", "resnet20"]) == 0
    contents, fits, reading, heading, *rows, last = lines(capsys)
    assert contents.startswith(f"{path}: ") and "in teacher (the first is backbone.conv1.weight)" in contents
    assert fits == "fits: resnet20"
    assert reading == "as resnet20: in teacher, behind 'backbone.', the network's own names"
    assert heading.split() == ["what", "tensors", "values", "which"]
    taken = next(row.split() for row in rows if row.startswith("taken"))
    assert taken[:3] == ["taken", f"{len(state)}", f"{sum(value.numel() for value in state.values()):,}"]
    assert ["left", "out", "(another", "branch)", "2"] in [row.split()[:5] for row in rows]
    assert any(row.split()[-1] == "student" for row in rows)
    assert last == "normalisation: the file says none; write backbone.mean and backbone.std"


def test_without_a_name_the_networks_are_named_that_fit(
    state: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.pth"
    torch.save(moco_v2(state), path)
    # A pattern keeps it short; without one all networks are compared.
    assert main(["inspect", str(path), "--as", "resnet[12]*"]) == 0
    assert "fits: resnet20" in lines(capsys)
    assert main(["inspect", str(path), "--as", "resnet18*"]) == 1
    (line,) = [line for line in lines(capsys) if line.startswith("does not fit resnet18: ")]
    assert "conv1.weight has (16, 3, 3, 3), not (64, 3, 7, 7)" in line
    torch.save({"a": torch.ones(1)}, path)
    assert main(["inspect", str(path), "--as", "resnet18"]) == 1
    assert "fits: nothing; none of its tensors has a name of one of resnet18's" in lines(capsys)
    assert main(["inspect", str(tmp_path / "none.pth")]) == 2
    assert "no file" in capsys.readouterr().err
    assert main(["inspect", str(path), "--as", "resnte18"]) == 2
    assert "no model 'resnte18'; did you mean 'resnet18'?" in capsys.readouterr().err


def given(tmp_path: Path, **backbone: Any) -> Path:
    file = tiny_sweep(tmp_path, methods=["linear_probe"])
    spec = yaml.safe_load(file.read_text())
    spec["backbone"] = {"name": "resnet20", "weights": "net.pth", **backbone}
    file.write_text(yaml.safe_dump(spec))
    return file


def test_fetch_says_what_is_here_and_what_the_datasets_lack(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GPAF_BENCH_DATA", str(tmp_path / "none"))
    torch.save({"state_dict": prefixed(state, "module.")}, tmp_path / "net.pth")
    file = given(tmp_path, mean=[0.5] * 3, std=[0.5] * 3)
    assert main(["fetch", str(file)]) == 0
    assert lines(capsys) == [
        f"weights: resnet20, {tmp_path / 'net.pth'}: here, and whole: net.pth: {len(state)} tensors taken: "
        "in state_dict, behind 'module.', the network's own names",
        f"dataset: small: nothing is missing in {tmp_path / 'none'}",
    ]
    assert main(["fetch", str(file), "--set", "backbone={name: resnet20}", "--set", "datasets=[brain_mri]"]) == 0
    first, second = lines(capsys)
    assert first == "weights: none are needed; the backbones begin at random, or are trained in the run"
    assert second.startswith("dataset: brain_mri: brain-tumor-mri-dataset.zip missing in ")
    assert second.endswith("not fetched here: python -m harness.data brain_mri --download")
    assert main(["fetch", str(given(tmp_path))]) == 2
    assert "does not say what images it was trained on" in capsys.readouterr().err


def test_fetch_downloads_published_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    file = given(tmp_path, name="resnet18", weights="ResNet18_Weights.IMAGENET1K_V1")
    assert main(["fetch", str(file)]) == 2
    assert "cannot download IMAGENET1K_V1 (" in capsys.readouterr().err
    folder = tmp_path / "hub" / "hub" / "checkpoints"
    from torchvision.models import get_model

    torch.save(get_model("resnet18", weights=None).state_dict(), folder / "resnet18-f37072fd.pth")
    assert main(["fetch", str(file)]) == 0
    assert lines(capsys)[0] == "weights: resnet18, IMAGENET1K_V1: here, and whole"


def test_a_sweep_starts_from_a_file_of_others_and_knows_it_by_its_content(
    state: dict[str, Tensor], tmp_path: Path, shared_cache: Path
) -> None:
    path, run = tmp_path / "net.pth", tmp_path / "run"
    torch.save({"state_dict": prefixed(state, "module.encoder_q.")}, path)
    done = run_inline(given(tmp_path), run, shared_cache, expect=2, report=False)
    assert "does not say what images it was trained on; write backbone.mean" in done.stderr
    assert not run.exists()
    file = given(tmp_path, mean=[0.5] * 3, std=[0.25] * 3)
    done = run_inline(file, run, shared_cache, report=False)
    assert f"weights: net.pth: {len(state)} tensors taken: in state_dict, behind 'module.encoder_q.'" in done.stderr
    (study,) = [json.loads(found.read_text()) for found in run.glob("studies/*/study.json")]
    start = study["identity"]["backbone"]
    assert (start["name"], start["mean"], start["std"]) == ("resnet20", [0.5] * 3, [0.25] * 3)
    assert len(start["weights"]) == 64
    # The same tensors in another wrapper are the same study; others are not, and neither are other images.
    torch.save({"teacher": prefixed(state, "backbone.")}, path)
    run_inline(file, run, shared_cache, report=False)
    torch.save({**state, "bn1.bias": state["bn1.bias"] + 1}, path)
    done = run_inline(file, run, shared_cache, expect=2, report=False)
    assert "1 stale study" in done.stderr
    torch.save(state, path)
    given(tmp_path, mean=[0.5] * 3, std=[0.5] * 3)
    done = run_inline(file, run, shared_cache, expect=2, report=False)
    assert "1 stale study" in done.stderr


def test_given_numbers_normalise_random_weights_too(tmp_path: Path, shared_cache: Path) -> None:
    run = tmp_path / "run"
    run_inline(given(tmp_path, weights=None, mean=[0, 0, 0], std=[1, 1, 1]), run, shared_cache, report=False)
    (study,) = [json.loads(found.read_text()) for found in run.glob("studies/*/study.json")]
    assert study["identity"]["backbone"] == {"name": "resnet20", "weights": None, "mean": [0] * 3, "std": [1] * 3}
