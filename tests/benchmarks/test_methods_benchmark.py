"""The benchmark of methods runs anywhere, and what it says of memory is right where the answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.methods import Side, chosen, main, peak_bytes
from harness.core.errors import RequestError
from harness.networks.small_resnet import SmallResNet


def side(name: str, batch: int = 4) -> Side:
    images = torch.randn(batch, 3, 32, 32)
    made = Side(name, "resnet20", images, torch.arange(batch) % 4, None)
    for _ in range(2):
        made.step()
    return made


def test_memory_of_a_linear_probe_is_its_weights_and_features() -> None:
    probe = side("linear_probe")
    scalars = sum(p.numel() for p in probe.model.parameters())
    buffers = sum(b.numel() * b.element_size() for b in probe.model.buffers())
    head = sum(p.numel() for p in probe.model.head.parameters())
    # Gradients of the head and AdamW's two moments; its step counts and what the loss keeps are small.
    expected = 4 * scalars + buffers + 4 * head + 8 * head + 4 * 4 * SmallResNet.features
    assert expected <= peak_bytes(probe) <= expected + 1_000


def test_memory_for_backward_passes_grows_with_the_batch_and_is_given_back() -> None:
    few, many = side("bn_affine", 4), side("bn_affine", 8)
    first, second, third = peak_bytes(few), peak_bytes(few), peak_bytes(many)
    assert first == second
    # Norms whose gamma trains keep their inputs: 19 maps an image in a ResNet-20, each of 32-bit numbers.
    elements = 7 * 16 * 32**2 + 6 * 32 * 16**2 + 6 * 64 * 8**2
    assert third - first >= 4 * 4 * elements


def test_names_carry_typed_settings() -> None:
    cls, hp = chosen("conv_adapter:reduction=8,join=pre_bn,final_norm=true")
    assert cls.name == "conv_adapter"
    assert (hp["reduction"], hp["join"], hp["final_norm"]) == (8, "pre_bn", True)
    for wrong in ("conv_adaptor", "conv_adapter:reduction", "conv_adapter:reduction=two", "conv_adapter:rank=2"):
        with pytest.raises(RequestError):
            chosen(wrong)


def test_the_benchmark_measures_side_by_side_and_names_refusals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Ratios are checked on a quiet machine; here a round may be disturbed, so exit code 1 is no error.
    out = tmp_path / "methods.json"
    methods = ["full_finetune", "bn_affine", "metalr", "linear_probe", "surgical:stage=9"]
    small = ["--backbone", "resnet20", "--size", "32", "--batch", "16", "--rounds", "2", "--steps", "1"]
    cpu = ["--device", "cpu", "--precision", "fp32"]
    assert main(["--methods", *methods, *small, *cpu, "--out", str(out)]) in (0, 1)
    record = json.loads(out.read_text())
    rows = {row["method"]: row for row in record["rows"]}
    assert list(rows) == methods
    assert "no stage 9" in rows["surgical:stage=9"]["refusal"]
    assert rows["full_finetune"]["time_ratios"] == [1.0, 1.0] and rows["full_finetune"]["memory_ratio"] == 1.0
    assert rows["linear_probe"]["memory_ratio"] < rows["bn_affine"]["memory_ratio"] < 1 < rows["metalr"]["memory_ratio"]
    assert [limit["what"] for limit in rows["bn_affine"]["limits"]] == [
        "time / full_finetune",
        "memory / full_finetune",
    ]
    assert [limit["limit"] for limit in rows["metalr"]["limits"]] == [2.2]
    assert {"cores", "torch", "load_average_before", "device"} <= record["machine"].keys()
    assert main(["--methods", "no_such", "--out", str(out)]) == 2
    assert capsys.readouterr().err.startswith("error: --methods: no method is called 'no_such'")
