"""Methods on networks of every kind: what works keeps every promise, and what does not is refused with its reason."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from jobs import CATALOGUE, runnable
from tiny import ROOT

from harness.method import Method, NotDefinedError
from harness.networks.backbones import build_model
from harness.proof.check_methods import main as check_methods
from harness.proof.matrix import NETWORKS, PAGE, MatrixCell, matrix, page
from harness.proof.promises import MethodCheck
from harness.space.parameters import defaults

METHODS = CATALOGUE.all(Method)
NEEDS_TIMM = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")


def with_timm(*networks: str) -> list[Any]:
    return [pytest.param(name, marks=NEEDS_TIMM) if name.startswith("timm:") else name for name in networks]


# Depthwise convolutions, squeeze-and-excitation and Hardswish; layer norms, GELU and channels last; group norms.
SMALL = {
    "mobilenet_v3_small": ("dora", "filter_atoms", "gpaf", "lora_c", "lora_edge"),
    "timm:test_convnext": (
        *("bn_affine", "colora", "conv_adapter", "conv_lora", "dora", "filter_atoms", "gpaf", "lora_c", "lora_edge"),
        *("residual_adapter", "ssf"),
    ),
    "timm:test_efficientnet_gn": ("conv_adapter", "lora_c", "ssf"),
}


@pytest.mark.parametrize("network", with_timm(*SMALL))
def test_methods_keep_their_promises_on_networks_with_other_parts(network: str) -> None:
    cells = list(matrix([METHODS[name] for name in SMALL[network]], [network], 32))
    assert [str(cell) for cell in cells] == [f"{name} on {network}: works" for name in SMALL[network]]


@pytest.mark.large
@pytest.mark.parametrize("name", runnable(sorted(METHODS)))
@pytest.mark.parametrize("network", with_timm(*NETWORKS))
def test_every_pair_is_what_the_table_says(name: str, network: str) -> None:
    lines = (ROOT / "docs" / "methods" / PAGE).read_text().splitlines()
    (row,) = [line for line in lines if line.startswith(f"| [`{name}`]")]
    mark = row.split("|")[2 + NETWORKS.index(network)].strip()
    (cell,) = matrix([METHODS[name]], [network], 32)
    if mark == "yes":
        assert str(cell).endswith(": works")
    else:
        assert f"- **{mark}**: `{name}` is not defined: {cell.verdict.refusal}" in lines


@pytest.mark.parametrize(
    ("network", "name", "reason"),
    [
        ("mobilenet_v2", "curvature_tuning", "it gives ReLUs a curvature, and the activations here are relu6"),
        ("efficientnet_b0", "curvature_tuning", "it gives ReLUs a curvature, and the activations here are silu"),
    ],
)
def test_what_is_not_defined_says_why(network: str, name: str, reason: str) -> None:
    model, _ = build_model(network, None, 4, seed=0)
    with pytest.raises(NotDefinedError) as error:
        METHODS[name].cls().adapt(model, defaults(METHODS[name].cls.space))
    assert str(error.value) == reason
    assert not any(p.requires_grad for p in model.backbone.parameters())


def test_the_page_names_each_reason_once() -> None:
    verdicts = {
        ("one", "a"): MethodCheck(None, ()),
        ("one", "b"): MethodCheck("there is none", ()),
        ("two", "a"): MethodCheck("there is none", ()),
        ("two", "b"): MethodCheck(None, ("it moved", "it fell")),
        ("one", "c"): MethodCheck("there is none", ()),
        ("two", "c"): MethodCheck(None, ()),
    }
    lines = page([MatrixCell(*pair, verdict) for pair, verdict in verdicts.items()], "make it").splitlines()
    assert lines[-8:] == [
        "| method | a | b | c |",
        "|---|:-:|:-:|:-:|",
        "| [`one`](one.md) | yes | (a) | (a) |",
        "| [`two`](two.md) | (b) | (c) | yes |",
        "",
        "- **(a)**: `one` is not defined: there is none",
        "- **(b)**: `two` is not defined: there is none",
        "- **(c)**: `two` is **broken**: it moved; it fell",
    ]


def test_the_command_prints_and_writes_the_table(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table.md"
    words = ["--matrix", "--backbone", "resnet20", "--method", "linear_probe", "--out", str(out)]
    assert check_methods(words) == 0
    assert capsys.readouterr().out == "linear_probe on resnet20: works\n"
    assert "| [`linear_probe`](linear_probe.md) | yes |" in out.read_text()
    assert check_methods(["--out", str(out)]) == 2
    assert "--out: there is a table only with --matrix" in capsys.readouterr().err
