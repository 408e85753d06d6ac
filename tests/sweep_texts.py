"""Sweep files and plugins that the tests of the specification share."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.core.errors import RequestError
from harness.studies.loading import load_sweep

DESIGN = """\
name: gpaf_vs_all
backbone: {name: resnet50, weights: IMAGENET1K_V2}
datasets: [isic2018, brain_mri, pathmnist]
methods: [linear_probe, full_finetune, bn_affine, lora_c, metalr, conv_adapter, curvature_tuning, gpaf]
train: {epochs: 30, batch_size: 64, image_size: 224, precision: bf16}
search: {engine: optuna, sampler: tpe, pruner: none, trials: 30, seeds: [0], metric: balanced_accuracy}
confirm: {seeds: 10, control: gpaf, correction: holm, margin: 0.01}
launch: {kind: local, workers: 16}
"""

BASE = """\
name: small
backbone:
  name: resnet20
  weights: null
datasets: [toy]
methods:
  - probe
  - tuned:
      method: probe
      rank: 4
train:
  epochs: 2
search:
  seeds: [0]
"""

PLUGINS = '''
from typing import Literal

from pydantic import field_validator

from harness.dataset import Dataset, Options
from harness.method import Method
from harness.space.parameters import Choice, Fixed, Float, Int


class Probe(Method):
    """A probe."""

    name = "probe"
    space = {
        "lr": Float(1e-3, 1e-5, 1e-1, log=True),
        "rank": Int(4, 1, 16),
        "kind": Choice("a", ("a", "b")),
    }

    def adapt(self, model, hp):
        model.backbone.eval()


class ToyOptions(Options):
    size: int = 4
    side: Literal[28, 64] = 28
    views: tuple[str, ...] = ("front",)

    @field_validator("views")
    @classmethod
    def _sorted(cls, views):
        if list(views) != sorted(views):
            raise ValueError("list the views in order")
        return views


class Toy(Dataset):
    """A toy."""

    name = "toy"
    title = "Toy"
    modality = "none"
    licence = "CC0"
    citation = "none"
    Options = ToyOptions
    classes = ("a", "b")
    files = ()

    def records(self, root):
        return []
'''


def write(folder: Path, text: str | bytes, name: str = "x.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path, *assignments: str) -> str:
    with pytest.raises(RequestError) as caught:
        load_sweep(path, assignments)
    message = str(caught.value)
    assert "\n" not in message
    assert not re.search(r"Input should|pydantic|value_error|\[type=|Field required", message)
    return message.replace(f"{path.parent}/", "")


def edited(old: str, new: str) -> str:
    assert old in BASE
    return BASE.replace(old, new)
