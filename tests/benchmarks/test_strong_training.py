"""The strong script trains what the plain one trains, on the same images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import strong_training
from benchmarks.strong_training import Kept, normalised, prepare, train
from benchmarks.sweep_rivals import Plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Two classes of images that differ in colour, decoded in two parts."""
    rng = np.random.default_rng(0)
    for number in range(60):
        folder = tmp_path / "images" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 100, (24, 20, 3), dtype=np.uint8) + np.array(
            [[100, 0, 0], [0, 100, 0]][number % 2], dtype=np.uint8
        )
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    (tmp_path / "scratch").mkdir()
    made = Plan(
        str(tmp_path / "images"), ("full_finetune", "linear_probe"), 1, 3, 8, 16, "resnet18", 2, 0, False,
        str(tmp_path / "scratch"),
    )  # fmt: skip
    for part in range(2):
        prepare(made, part)
    return made


@pytest.mark.parametrize("method", ["full_finetune", "lora_c", "bn_affine", "linear_probe"])
def test_every_method_learns_to_tell_colours_apart(plan: Plan, method: str) -> None:
    threads = torch.get_num_threads()
    try:
        assert train(plan, method, 1e-3 if method == "full_finetune" else 1e-2, seed=1, test=True) > 0.9
    finally:
        torch.set_num_threads(threads)


def test_parts_are_put_together_in_the_order_of_the_folder(plan: Plan) -> None:
    together, whole = strong_training._kept(plan), Kept.decode(Path(plan.folder), 32)
    assert torch.equal(together.images, whole.images) and torch.equal(together.labels, whole.labels)
    assert together.labels.tolist() == [0] * 30 + [1] * 30


def test_a_crop_is_a_part_of_its_image_and_flipped_half_of_the_time() -> None:
    across = torch.arange(32, dtype=torch.uint8).expand(400, 3, 32, 32)
    kept = Kept(across, torch.zeros(400))
    crops = kept.cropped(torch.arange(400), 8)
    assert crops.shape == (400, 3, 8, 8)
    lowest, highest = normalised(across[:1])[0, 0].aminmax()
    assert lowest <= crops[:, 0].min() and crops[:, 0].max() <= highest
    steps = crops[:, 0, 0].diff(dim=1)
    flipped = (steps < 0).all(dim=1)
    assert bool((flipped | (steps > 0).all(dim=1)).all())
    assert 150 < flipped.sum() < 250
    # No row differs from another one: what varies along one axis does not turn up along the other.
    assert torch.allclose(crops, crops[:, :, :1].expand_as(crops), atol=1e-4)
    shares = steps.abs().mean(dim=1) * 8 / (highest - lowest) * 31 / 32
    assert 0.2 < shares.min() < 0.4 and 0.95 < shares.max() < 1.1
