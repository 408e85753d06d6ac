"""Random changes of a batch of training images where it lies: one resampling, one multiply-add."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from harness.dataset import Augmentation

_DRAWS = 8
"""Random numbers an image: two flips, angle, zoom, two shifts, brightness, contrast."""


@torch.no_grad()
def augment(images: Tensor, policy: Augmentation, generator: torch.Generator) -> Tensor:
    """Change each image by its own random draw.

    All geometric changes are one affine map, sampled once (bilinear, the image mirrored beyond its border),
    so that pixels are interpolated only once. Brightness ``b`` and contrast ``c`` give ``(x - 0.5) * (1 + c)
    + 0.5 + b``, clamped to [0, 1].

    Args:
        images: float, shape (n, channels, height, width), values in [0, 1], any device and memory format.
        policy: largest changes; an all-zero policy gives back ``images`` itself.
        generator: on the CPU. Every call draws ``8 n`` numbers from it whatever the policy, so that neither
            the device nor the policy shifts what later calls draw.

    Returns:
        Same shape, dtype, device and memory format.
    """
    draws = torch.rand((len(images), _DRAWS), generator=generator)
    scale = 1 + policy.contrast * _either_way(draws[:, 7])
    offset = 0.5 * (1 - scale) + policy.brightness * _either_way(draws[:, 6])
    maps = _affine(draws, policy, images.shape[3] / images.shape[2])
    # One transfer for all.
    factors = upload(torch.cat((maps.flatten(1), scale[:, None], offset[:, None]), dim=1), images.device)
    result = images
    if _moves(policy):
        # Coordinates lose whole pixels in half precision, which autocast would choose here.
        with torch.autocast(images.device.type, enabled=False):
            places = _places(images.shape[2], images.shape[3], images.device)
            grid = (places @ factors[:, :6].view(-1, 2, 3).mT).view(len(images), *images.shape[2:], 2)
            sampled = grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
            result = sampled.to(images.dtype)
    if policy.brightness or policy.contrast:
        scale, offset = (factors[:, column].to(images.dtype).view(-1, 1, 1, 1) for column in (6, 7))
        result = torch.addcmul(offset, result, scale).clamp_(0, 1)
    if result is images:
        return images
    channels_last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return result.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; from a CPU to a GPU without waiting for it, which a copy of pageable memory would."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _moves(policy: Augmentation) -> bool:
    sizes = (policy.rotate, policy.zoom, policy.shift)
    return policy.flip_horizontal or policy.flip_vertical or any(size != 0 for size in sizes)


def _either_way(uniform: Tensor) -> Tensor:
    return 2 * uniform - 1


@lru_cache(maxsize=16)
def _places(height: int, width: int, device: torch.device) -> Tensor:
    """(x, y, 1) of each pixel's centre in coordinates from -1 to 1, row by row: float32, (height * width, 3).

    ``affine_grid`` makes them anew for each image of each batch, which takes most of its time.
    """
    same = torch.eye(2, 3, device=device)[None]
    coordinates = affine_grid(same, [1, 1, height, width], align_corners=False).view(-1, 2)
    return torch.cat((coordinates, torch.ones(height * width, 1, device=device)), dim=1)


def _affine(draws: Tensor, policy: Augmentation, aspect: float) -> Tensor:
    """Maps from the result's coordinates to the image's, both in [-1, 1]: float32, shape (n, 2, 3).

    ``aspect`` is width over height: a rotation of pixels is no rotation of coordinates where they differ.
    """
    one = torch.ones(len(draws))
    flip_x = torch.where(draws[:, 0] < 0.5, -one, one) if policy.flip_horizontal else one
    flip_y = torch.where(draws[:, 1] < 0.5, -one, one) if policy.flip_vertical else one
    angle = _either_way(draws[:, 2]) * math.radians(policy.rotate)
    size = 1 + policy.zoom * _either_way(draws[:, 3])
    # A shift by the fraction f of the side is 2 f in coordinates that go from -1 to 1.
    shift_x, shift_y = (2 * policy.shift * _either_way(draws[:, column]) for column in (4, 5))
    cos, sin = angle.cos() / size, angle.sin() / size
    top = torch.stack((flip_x * cos, -flip_x * sin / aspect, shift_x), dim=1)
    bottom = torch.stack((flip_y * sin * aspect, flip_y * cos, shift_y), dim=1)
    return torch.stack((top, bottom), dim=1)
