"""Corruptions of images: the definitions of MedMNIST-C and ImageNet-C, for batches, each image by its own draws.

F. Di Salvo, S. Doerrich and C. Ledig, MedMNIST-C: Comprehensive benchmark and improved classifier robustness by
simulating realistic image corruptions, arXiv:2406.17536, 2024, says which corruptions a modality meets and how strong
they are at 224 x 224 pixels; its definitions are those of D. Hendrycks and T. Dietterich, Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations, ICLR 2019, arXiv:1903.12261, and of Pillow and torchvision.

Lengths in pixels are those of an image of 224 x 224 and scale with its side; all else is as published. Values are
truncated to whole grey levels, as there. ``LEVEL`` is added before, so that a sum in another order, a hundred
thousandth below a whole level, falls on the same one. Text is drawn in Pillow's own font instead of OpenCV's.
"""

from __future__ import annotations

import io
import math
import string
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from harness.evaluation import Images

Draws: TypeAlias = Sequence[np.random.Generator]
"""A generator an image."""

Damage: TypeAlias = Callable[[Images, Any, Draws], Images]
"""Images, the parameters of a severity, draws → images of the same shape."""

Floats: TypeAlias = npt.NDArray[np.float32]

LEVEL = 1e-3
"""Grey levels."""

PUBLISHED_SIDE = 224
"""Pixels: the side of the images for which lengths are published."""


def gaussian_noise(images: Images, deviation: float, draws: Draws) -> Images:
    """``x + N(0, deviation²)``, x in [0, 1]."""
    return _levels(_unit(images) + _normal(images, draws) * np.float32(deviation))


def speckle_noise(images: Images, deviation: float, draws: Draws) -> Images:
    """``x + x N(0, deviation²)``, x in [0, 1]."""
    x = _unit(images)
    return _levels(x + x * _normal(images, draws) * np.float32(deviation))


def shot_noise(images: Images, photons: float, draws: Draws) -> Images:
    """``Poisson(x photons) / photons``, x in [0, 1]."""
    x = _unit(images)
    counts = [draw.poisson(one * np.float32(photons)) for one, draw in zip(x, draws, strict=True)]
    return _levels(np.stack(counts).astype(np.float32) / np.float32(photons))


def impulse_noise(images: Images, amount: float, draws: Draws) -> Images:
    """Each value is replaced with probability ``amount``, by 0 or by 255 alike."""
    shape = images.shape[1:]
    hit = np.stack([draw.random((2, *shape), dtype=np.float32) for draw in draws])
    salted = np.where(hit[:, 1] < 0.5, np.uint8(255), np.uint8(0))
    return np.where(hit[:, 0] < np.float32(amount), salted, images)


def pixelate(images: Images, factor: float, draws: Draws) -> Images:
    """Shrunk to ``factor`` of the side and enlarged again, both by Pillow's box filter."""
    side = images.shape[1]
    small = max(1, int(side * factor))

    def one(image: Image.Image) -> Image.Image:
        return image.resize((small, small), Image.Resampling.BOX).resize((side, side), Image.Resampling.BOX)

    return _one_by_one(images, one)


def jpeg_compression(images: Images, quality: int, draws: Draws) -> Images:
    """Written as JPEG of this quality and read again."""

    def one(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        return Image.open(stream)

    return _one_by_one(images, one)


def brightness(images: Images, factor: float, draws: Draws) -> Images:
    """``factor x``, as Pillow's ``ImageEnhance.Brightness``."""
    return _blended(np.float32(0), images, factor)


def contrast(images: Images, factor: float, draws: Draws) -> Images:
    """``m + factor (x - m)`` with m the mean grey level, as Pillow's ``ImageEnhance.Contrast``."""
    weights = np.array([19595, 38470, 7471], dtype=np.int64)
    grey = (images.astype(np.int64) @ weights + 0x8000) >> 16
    mean = np.floor(grey.reshape(len(images), -1).mean(axis=1) + 0.5).astype(np.float32)
    return _blended(mean[:, None, None, None], images, factor)


def gamma(images: Images, exponent: float, draws: Draws) -> Images:
    """``x ** exponent``, x in [0, 1], as torchvision's ``adjust_gamma``."""
    table = np.array([int((255 + 1 - 1e-3) * (level / 255.0) ** exponent) for level in range(256)], dtype=np.uint8)
    return table[images]


def saturate(images: Images, added: float, draws: Draws) -> Images:
    """The saturation of HSV, in [0, 1], raised by ``added``."""
    x = _unit(images)
    value, low = x.max(axis=3, keepdims=True), x.min(axis=3, keepdims=True)
    chroma = value - low
    saturation = np.divide(chroma, value, out=np.zeros_like(value), where=value > 0)
    wanted = np.clip(saturation + np.float32(added), 0, 1)
    # A channel is value - chroma w with w in [0, 1] by hue alone; grey has the hue 0, red.
    grey = np.array([0, 1, 1], dtype=np.float32)
    share = np.where(chroma > 0, np.divide(value - x, chroma, out=np.zeros_like(x), where=chroma > 0), grey)
    return _levels(value - value * wanted * share)


def gaussian_blur(images: Images, kernel: int, draws: Draws) -> Images:
    """A Gaussian of ``kernel`` pixels, as torchvision's ``gaussian_blur``: its deviation is 0.15 kernel + 0.35."""
    size = max(3, round(kernel * images.shape[1] / PUBLISHED_SIDE))
    size += 1 - size % 2
    deviation = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    places = np.linspace(-(size - 1) * 0.5, (size - 1) * 0.5, size)
    weights = np.exp(-0.5 * (places / deviation) ** 2)
    weights /= weights.sum()
    x = _convolved(_convolved(images.astype(np.float32), weights[:, None]), weights[None, :])
    return np.clip(np.round(x), 0, 255).astype(np.uint8)


def defocus_blur(images: Images, lens: tuple[float, float], draws: Draws) -> Images:
    """A disk of a radius in pixels, softened by a Gaussian of a deviation in pixels over 3 x 3 of them."""
    radius = lens[0] * images.shape[1] / PUBLISHED_SIDE
    return _levels(_convolved(_unit(images), disk(radius, lens[1])))


def disk(radius: float, softness: float) -> npt.NDArray[np.float64]:
    """The kernel of ``defocus_blur``, with the sum 1: shape (17, 17)."""
    places = np.arange(-8, 9)
    inside = (places[None, :] ** 2 + places[:, None] ** 2 <= radius**2).astype(np.float64)
    inside /= inside.sum()
    soft = np.exp(-0.5 * (np.arange(-1, 2) / softness) ** 2)
    soft /= soft.sum()
    # OpenCV mirrors at the border of what it filters, the kernel too.
    padded = np.pad(inside, 1, mode="reflect")
    rows = sum(soft[k] * padded[k : k + 17] for k in range(3))
    return np.asarray(sum(soft[k] * rows[:, k : k + 17] for k in range(3)))


def motion_blur(images: Images, shake: tuple[float, float], draws: Draws) -> Images:
    """ImageMagick's motion blur of a radius and deviation in pixels, at a random angle between -45 and 45 degrees.

    Pixel x is the mean of those at x + k (cos a, sin a) for k = 0 … 2 radius, weighted by a Gaussian of k; beyond the
    border stands the border.
    """
    scale = images.shape[1] / PUBLISHED_SIDE
    radius, deviation = max(1, round(shake[0] * scale)), max(0.5, shake[1] * scale)
    weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / deviation) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    result = np.empty_like(images)
    for row, draw in enumerate(draws):
        angle = math.radians(draw.uniform(-45, 45))
        result[row] = _levels(_dragged(_unit(images[row]), weights, angle))
    return result


def _dragged(image: Floats, weights: Floats, angle: float) -> Floats:
    side, reach = image.shape[0], len(weights)
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    total = np.zeros_like(image)
    for step, weight in enumerate(weights):
        down = math.ceil(step * math.sin(angle) - 0.5) + reach
        right = math.ceil(step * math.cos(angle) - 0.5) + reach
        total += weight * padded[down : down + side, right : right + side]
    return total


def zoom_blur(images: Images, zooms: tuple[float, float], draws: Draws) -> Images:
    """The mean of the image and of the image at each zoom from 1 up to a largest one, in steps."""
    import torch
    from torch.nn.functional import interpolate

    x = _unit(images)
    side = x.shape[1]
    factors = np.arange(1, zooms[0], zooms[1])
    stacked = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    total = stacked.clone()
    for factor in factors.tolist():
        cut = math.ceil(side / factor)
        top = (side - cut) // 2
        size = round(cut * factor)
        part = stacked[:, :, top : top + cut, top : top + cut]
        near = interpolate(part, (size, size), mode="bilinear", align_corners=True)
        trim = (size - side) // 2
        total += near[:, :, trim : trim + side, trim : trim + side]
    return _levels((total / (len(factors) + 1)).numpy().transpose(0, 2, 3, 1))


def black_corner(images: Images, factor: float, draws: Draws) -> Images:
    """All that lies outside of a circle is black: of half the side times ``factor``, as through a dermatoscope."""
    side = images.shape[1]
    centre = side // 2
    places = np.arange(side) - centre
    outside = places[None, :] ** 2 + places[:, None] ** 2 > int(min(centre, side - centre) * factor) ** 2
    return np.where(outside[None, :, :, None], np.uint8(0), images)


def characters(images: Images, text: tuple[int, int, float], draws: Draws) -> Images:
    """Up to so many words of three or more letters in random colours, as notes burned into an image."""
    words, letters, size = text
    result = []
    for image, draw in zip(images, draws, strict=True):
        canvas = Image.fromarray(image)
        pen = ImageDraw.Draw(canvas)
        for _ in range(int(draw.integers(1, words + 1))):
            word = "".join(draw.choice([*string.ascii_lowercase], int(draw.integers(3, letters + 1))))
            # OpenCV's font has capitals of 22 pixels at scale 1; those of Pillow's take 0.7 of its size.
            scale = int(draw.integers(14, int(size * 100) + 1)) / 100
            height = max(4.0, scale * 22 / 0.7 * image.shape[0] / PUBLISHED_SIDE)
            font = ImageFont.load_default(height)
            room = max(1, image.shape[1] - int(pen.textlength(word, font)))
            place = int(draw.integers(0, room)), int(draw.integers(0, max(1, image.shape[0] - int(height))))
            colour = tuple(int(level) for level in draw.integers(0, 256, 3))
            pen.text(place, word, fill=colour, font=font)
        result.append(np.asarray(canvas))
    return np.stack(result)


def bubble(images: Images, bubbles: tuple[int, int], draws: Draws) -> Images:
    """Seven or more air bubbles up to a radius in pixels, white at 100 of 255 with a border at 130."""
    largest, most = bubbles
    result = []
    for image, draw in zip(images, draws, strict=True):
        scale = image.shape[0] / PUBLISHED_SIDE
        side, border = image.shape[0], max(1, round(2 * scale))
        layer = Image.new("RGBA", (side, side), (255, 255, 255, 0))
        pen = ImageDraw.Draw(layer)
        for _ in range(int(draw.integers(7, most + 1))):
            radius = max(1, round(int(draw.integers(3, largest + 1)) * scale))
            x, y = (int(value) for value in draw.integers(radius, max(radius + 1, side - radius + 1), 2))
            for reach, alpha in ((radius + border, 130), (radius, 100)):
                pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=(255, 255, 255, alpha))
        canvas = Image.fromarray(image)
        canvas.paste(layer, (0, 0), layer)
        result.append(np.asarray(canvas))
    return np.stack(result)


def _unit(images: Images) -> Floats:
    return images.astype(np.float32) / np.float32(255)


def _levels(x: npt.NDArray[Any]) -> Images:
    """Values in [0, 1], clipped, as truncated grey levels."""
    return np.asarray((np.clip(x, 0, 1) * 255 + LEVEL).astype(np.uint8))


def _normal(images: Images, draws: Draws) -> Floats:
    return np.stack([draw.standard_normal(images.shape[1:], dtype=np.float32) for draw in draws])


def _blended(degenerate: Any, images: Images, factor: float) -> Images:
    """Pillow's ``Image.blend`` of an image and what it would be without the property: in float32, truncated."""
    x = images.astype(np.float32)
    return np.asarray(np.clip(degenerate + np.float32(factor) * (x - degenerate), 0, 255).astype(np.uint8))


def _one_by_one(images: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def _convolved(x: Floats, kernel: npt.NDArray[np.float64]) -> Floats:
    """Each channel correlated with a kernel, the image mirrored about its border pixels: shape (n, side, side, 3)."""
    import torch
    from torch.nn.functional import conv2d

    above, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = np.pad(x, ((0, 0), (above, above), (left, left), (0, 0)), mode="reflect")
    planes = torch.from_numpy(np.ascontiguousarray(padded.transpose(0, 3, 1, 2)))
    weights = torch.from_numpy(kernel.astype(np.float32))[None, None]
    # A plane at a time, so that what others are in the batch changes nothing.
    flat = planes.reshape(-1, 1, *planes.shape[2:])
    done = torch.cat([conv2d(plane[None], weights) for plane in flat])
    return np.asarray(done.reshape(*planes.shape[:2], *done.shape[2:]).numpy().transpose(0, 2, 3, 1))
