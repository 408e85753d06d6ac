"""Augmentation: what each setting does to known images, and that nothing else happens."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harness.data.augment import augment
from harness.dataset import Augmentation

NOTHING = Augmentation(flip_horizontal=False, flip_vertical=False, rotate=0, zoom=0, shift=0, brightness=0, contrast=0)
EVERYTHING = Augmentation(
    flip_horizontal=True, flip_vertical=True, rotate=30, zoom=0.2, shift=0.1, brightness=0.2, contrast=0.3
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, height: int = 16, width: int = 16) -> Tensor:
    return torch.rand((n, 3, height, width), generator=seeded(99))


def ramps(n: int, height: int, width: int) -> Tensor:
    """Images whose value rises by 0.004 a pixel to the right and 0.002 downwards, 0.5 at the centre."""
    x = torch.arange(width) - (width - 1) / 2
    y = torch.arange(height) - (height - 1) / 2
    return (0.5 + 0.004 * x[None, :] + 0.002 * y[:, None]).expand(n, 3, height, width).clone()


def central_gradients(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, slope to the right and slope downwards at the centre, a pixel, each of shape (n,)."""
    height, width = images.shape[2:]
    r, c = height // 2, width // 2
    right = images[:, 0, r, c] - images[:, 0, r, c - 1]
    down = images[:, 0, r, c] - images[:, 0, r - 1, c]
    return images[:, 0, r - 1 : r + 1, c - 1 : c + 1].mean(dim=(1, 2)), right, down


def test_nothing_changes_without_a_policy_but_the_stream_goes_on() -> None:
    images, generator, other = noise(4), seeded(), seeded()
    assert augment(images, NOTHING, generator) is images
    augment(images, EVERYTHING, other)
    assert torch.equal(generator.get_state(), other.get_state())
    assert not torch.equal(generator.get_state(), seeded().get_state())


def test_flips_give_the_image_or_its_mirror_image() -> None:
    images = noise(64)
    result = augment(images, replace(NOTHING, flip_horizontal=True, flip_vertical=True), seeded())
    mirrors = [images, images.flip(3), images.flip(2), images.flip(2, 3)]
    near = torch.stack([(result - mirror).abs().amax(dim=(1, 2, 3)) < 1e-4 for mirror in mirrors])
    assert near.any(dim=0).all()
    assert near.any(dim=1).all()
    only = augment(images, replace(NOTHING, flip_horizontal=True), seeded())
    assert all(min((r - i).abs().max(), (r - i.flip(2)).abs().max()) < 1e-4 for r, i in zip(only, images, strict=True))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 48)])
def test_rotation_turns_pixels_by_at_most_the_angle(height: int, width: int) -> None:
    _, right, down = central_gradients(augment(ramps(200, height, width), replace(NOTHING, rotate=30), seeded()))
    length = torch.hypot(right, down)
    torch.testing.assert_close(length, torch.full_like(length, (0.004**2 + 0.002**2) ** 0.5), rtol=1e-3, atol=0)
    angle = torch.rad2deg(torch.atan2(down, right) - torch.atan2(torch.tensor(0.002), torch.tensor(0.004)))
    assert 25 < angle.max() <= 30.1
    assert -30.1 <= angle.min() < -25


def test_zoom_and_shift_stay_within_their_bounds_and_use_them() -> None:
    _, right, _ = central_gradients(augment(ramps(200, 32, 32), replace(NOTHING, zoom=0.2), seeded()))
    size = 0.004 / right
    assert 0.799 < size.min() < 0.85
    assert 1.15 < size.max() < 1.201

    centre, right, _ = central_gradients(augment(ramps(200, 32, 32), replace(NOTHING, shift=0.1), seeded()))
    torch.testing.assert_close(right, torch.full_like(right, 0.004), rtol=1e-3, atol=0)
    farthest = 0.1 * 32 * (0.004 + 0.002)
    offset = (centre - 0.5).abs().max()
    assert 0.8 * farthest < offset < 1.001 * farthest


def test_colour_is_one_clamped_line_an_image() -> None:
    images = noise(100)
    result = augment(images, replace(NOTHING, brightness=0.2, contrast=0.3), seeded())
    assert result.min() == 0
    assert result.max() == 1
    scales, offsets = [], []
    for before, after in zip(images, result, strict=True):
        inside = (after > 0) & (after < 1)
        x, y = before[inside] - 0.5, after[inside] - 0.5
        scale = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
        offset = (y - scale * x).mean()
        assert (y - scale * x - offset).abs().max() < 1e-5
        scales.append(scale.item())
        offsets.append(offset.item())
    assert 0.7 <= min(scales) < 0.75 < 1.25 < max(scales) <= 1.3
    assert -0.2 <= min(offsets) < -0.15 < 0.15 < max(offsets) <= 0.2


def test_images_are_drawn_one_by_one_and_again_alike() -> None:
    images = noise(1).expand(6, 3, 16, 16).contiguous()
    first = augment(images, EVERYTHING, seeded(1))
    assert torch.equal(augment(images, EVERYTHING, seeded(1)), first)
    assert all(not torch.equal(first[i], first[j]) for i in range(6) for j in range(i))
    assert torch.equal(images[0], images[5])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_layout_and_type_are_kept_and_half_precision_does_not_blur(
    memory_format: torch.memory_format,
) -> None:
    images = noise(4, 64, 64).contiguous(memory_format=memory_format)
    result = augment(images, EVERYTHING, seeded())
    assert result.stride() == images.stride()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(augment(images, EVERYTHING, seeded()), result)
    half = augment(images.bfloat16(), EVERYTHING, seeded())
    assert half.dtype == torch.bfloat16
    assert (half.float() - result).abs().max() < 0.03


@pytest.mark.cuda
def test_the_device_does_not_change_the_draw() -> None:
    images = noise(8, 64, 64).contiguous(memory_format=torch.channels_last)
    there = augment(images.cuda(), EVERYTHING, seeded())
    assert there.stride() == images.stride()
    torch.testing.assert_close(there.cpu(), augment(images, EVERYTHING, seeded()), rtol=0, atol=1e-4)
