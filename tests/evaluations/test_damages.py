"""Each corruption against an independent formulation of its published definition, on one fixed image."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_image

from harness.dataset import Dataset
from harness.evaluation import Cases, EvaluationFacts
from harness.evaluations import _damages as damages
from harness.evaluations._severities import GENERAL, TABLES
from harness.evaluations.corruptions import DAMAGES, Corruptions, corrupted
from harness.plugins import discover

Floats = npt.NDArray[np.float64]


def photograph(size: int) -> npt.NDArray[np.uint8]:
    """A photograph in colour, which every installation of scikit-learn has."""
    image = Image.fromarray(load_sample_image("china.jpg")).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)


PICTURE = photograph(224)


def draw() -> np.random.Generator:
    return np.random.default_rng(3)


def unit(image: npt.NDArray[np.uint8]) -> Floats:
    return image / 255.0


def levels(x: Floats) -> npt.NDArray[np.uint8]:
    return (np.clip(x, 0, 1) * 255).astype(np.uint8)


# The definitions once more: from the papers and by other libraries than the harness takes.


def _gaussian_noise(image: Any, deviation: float) -> Any:
    return levels(unit(image) + deviation * draw().standard_normal(image.shape, dtype=np.float32))


def _speckle_noise(image: Any, deviation: float) -> Any:
    return levels(unit(image) * (1 + deviation * draw().standard_normal(image.shape, dtype=np.float32)))


def _shot_noise(image: Any, photons: float) -> Any:
    return levels(draw().poisson((image.astype(np.float32) / np.float32(255)) * np.float32(photons)) / photons)


def _impulse_noise(image: Any, amount: float) -> Any:
    hit, salt = draw().random((2, *image.shape), dtype=np.float32)
    return np.where(hit >= amount, image, np.where(salt < 0.5, 255, 0))


def _pixelate(image: Any, factor: float) -> Any:
    small = int(224 * factor)
    # A place takes the pixels whose centres lie in it.
    places = ((np.arange(224) + 0.5) * small / 224).clip(max=small - 1e-9)
    weights = (np.ceil(places) - 1 == np.arange(small)[:, None]).astype(float)
    weights /= weights.sum(axis=1, keepdims=True)
    shrunk = np.einsum("ai,bj,ijc->abc", weights, weights, image.astype(float), optimize=True)
    taken = np.ceil(places).astype(int) - 1
    return shrunk[np.ix_(taken, taken)]


def _jpeg(image: Any, quality: int) -> Any:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="JPEG", quality=quality)
    return np.asarray(Image.open(io.BytesIO(stream.getvalue())))


def _enhanced(kind: Any) -> Callable[[Any, float], Any]:
    return lambda image, factor: np.asarray(kind(Image.fromarray(image)).enhance(factor))


def _gamma(image: Any, exponent: float) -> Any:
    from torchvision.transforms.functional import adjust_gamma

    return np.asarray(adjust_gamma(Image.fromarray(image), exponent))


def _saturate(image: Any, added: float) -> Any:
    import colorsys

    def one(pixel: Any) -> Any:
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
        return colorsys.hsv_to_rgb(hue, min(1.0, saturation + added), value)

    return levels(np.apply_along_axis(one, 2, image))


def _gaussian_blur(image: Any, kernel: int) -> Any:
    from torchvision.transforms.functional import gaussian_blur

    return np.asarray(gaussian_blur(Image.fromarray(image), kernel_size=kernel))


def _defocus_blur(image: Any, lens: tuple[float, float]) -> Any:
    radius, softness = lens
    y, x = np.mgrid[-8:9, -8:9]
    kernel = (np.hypot(x, y) <= radius).astype(float)
    kernel /= kernel.sum()
    soft = np.exp(-np.array([1, 0, 1]) / (2 * softness**2))
    soft /= soft.sum()
    for axis in (0, 1):
        kernel = scipy.ndimage.correlate1d(kernel, soft, axis=axis, mode="mirror")
    blurred = [scipy.ndimage.correlate(unit(image)[..., k], kernel, mode="mirror") for k in range(3)]
    return levels(np.stack(blurred, axis=2))


def _motion_blur(image: Any, shake: tuple[int, float]) -> Any:
    radius, deviation = shake
    angle = math.radians(draw().uniform(-45, 45))
    weights = [math.exp(-(k**2) / (2 * deviation**2)) for k in range(2 * radius + 1)]
    total = np.zeros(image.shape)
    for k, weight in enumerate(weights):
        offset = (math.ceil(k * math.sin(angle) - 0.5), math.ceil(k * math.cos(angle) - 0.5), 0)
        total += weight / sum(weights) * scipy.ndimage.shift(unit(image), [-o for o in offset], order=0, mode="nearest")
    return levels(total)


def _zoom_blur(image: Any, zooms: tuple[float, float]) -> Any:
    factors = np.arange(1, *zooms)
    total = unit(image)
    for factor in factors:
        cut = math.ceil(224 / factor)
        top = (224 - cut) // 2
        near = scipy.ndimage.zoom(unit(image)[top : top + cut, top : top + cut], (factor, factor, 1), order=1)
        trim = (len(near) - 224) // 2
        total = total + near[trim : trim + 224, trim : trim + 224]
    return levels(total / (len(factors) + 1))


def _black_corner(image: Any, factor: float) -> Any:
    circle = Image.new("L", (224, 224))
    y, x = np.mgrid[:224, :224]
    inside = np.hypot(x - 112, y - 112) <= int(112 * factor)
    circle = np.asarray(inside)
    return image * circle[..., None]


REFERENCES: dict[str, tuple[Callable[[Any, Any], Any], float]] = {
    "gaussian_noise": (_gaussian_noise, 1),
    "speckle_noise": (_speckle_noise, 1),
    "shot_noise": (_shot_noise, 1),
    "impulse_noise": (_impulse_noise, 0),
    "pixelate": (_pixelate, 1),
    "jpeg_compression": (_jpeg, 0),
    "brightness_up": (_enhanced(ImageEnhance.Brightness), 0),
    "brightness_down": (_enhanced(ImageEnhance.Brightness), 0),
    "contrast_up": (_enhanced(ImageEnhance.Contrast), 0),
    "contrast_down": (_enhanced(ImageEnhance.Contrast), 0),
    "gamma_up": (_gamma, 0),
    "gamma_down": (_gamma, 0),
    "saturate": (_saturate, 1),
    "gaussian_blur": (_gaussian_blur, 1),
    "defocus_blur": (_defocus_blur, 1),
    "motion_blur": (_motion_blur, 1),
    "zoom_blur": (_zoom_blur, 1),
    "black_corner": (_black_corner, 0),
}
"""Corruption → its definition once more, and how many grey levels rounding may differ."""


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("name", REFERENCES)
def test_a_corruption_is_what_its_source_defines(name: str, severity: int) -> None:
    parameters = GENERAL[name][severity - 1]
    reference, tolerance = REFERENCES[name]
    made = DAMAGES[name](PICTURE[None], parameters, [draw()])[0]
    wanted = np.asarray(reference(PICTURE, parameters))
    assert made.dtype == np.uint8 and made.shape == PICTURE.shape
    difference = np.abs(made.astype(float) - wanted)
    assert difference.max() <= tolerance
    # Truncation at a whole level is the only difference there is.
    assert tolerance == 0 or name == "pixelate" or (difference > 0).mean() < 0.03
    assert (made != PICTURE).any()


@pytest.mark.parametrize("name", ["characters", "bubble"])
def test_what_is_drawn_grows_with_severity_and_stays_within_its_shape(name: str) -> None:
    changed = []
    for severity in (0, 4):
        made = DAMAGES[name](
            np.stack([PICTURE] * 12), GENERAL[name][severity], [np.random.default_rng(k) for k in range(12)]
        )
        changed.append(float((made != PICTURE).any(axis=3).mean()))
    assert 0 < changed[0] < changed[1] < 0.5


@pytest.mark.parametrize("name", sorted(set(DAMAGES) - {"characters", "bubble"}))
def test_a_stronger_corruption_is_farther_from_the_image(name: str) -> None:
    small = photograph(64)
    distance = [
        float(np.abs(DAMAGES[name](small[None], parameters, [draw()])[0].astype(int) - small).mean())
        for parameters in GENERAL[name]
    ]
    assert distance[0] > 0 and all(b > a - 0.001 for a, b in itertools.pairwise(distance))


@given(st.sampled_from(sorted(DAMAGES)), st.integers(1, 5), st.sampled_from([8, 28, 64]), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_what_others_are_in_the_batch_changes_nothing(name: str, severity: int, size: int, batch: int) -> None:
    images = np.stack([np.roll(photograph(size), k, axis=1) for k in range(5)])
    ids = tuple(f"case{k}" for k in range(5))
    cases = Cases(ids, ids, np.zeros(5, dtype=np.int64), ("a", "b"), lambda a, b: images[a:b].copy())
    parameters = GENERAL[name][severity - 1]
    whole = np.concatenate([*corrupted(cases, name, parameters, 5)])
    assert np.array_equal(np.concatenate([*corrupted(cases, name, parameters, batch)]), whole)
    assert whole.shape == images.shape and whole.dtype == np.uint8


@pytest.mark.parametrize("modality", TABLES)
def test_every_table_has_five_severities_of_known_corruptions(modality: str) -> None:
    assert set(TABLES[modality]) <= set(DAMAGES) == set(GENERAL)
    assert {len(severities) for severities in TABLES[modality].values()} == {5}
    assert len(TABLES["dermoscopy"]) == 15


def test_a_disk_keeps_the_brightness_of_an_even_image() -> None:
    assert damages.disk(5, 0.5).sum() == pytest.approx(1)
    even = np.full((1, 32, 32, 3), 255, dtype=np.uint8)
    assert (damages.defocus_blur(even, (5, 0.5), [draw()]) == 255).all()


MODALITIES = {
    "isic2018": "dermoscopy", "brain_mri": "mri", "dermamnist": "dermoscopy", "octmnist": "oct",
    "pathmnist": "histology",
    "pneumoniamnist": "xray", "chestmnist": "xray", "retinamnist": "fundus", "breastmnist": "ultrasound",
    "bloodmnist": "blood", "tissuemnist": "tissue", "organamnist": "ct", "organcmnist": "ct", "organsmnist": "ct",
}  # fmt: skip
"""Dataset plugin → the table that ``medical`` means for it."""


def test_every_medical_dataset_has_the_table_of_its_modality() -> None:
    catalogue = discover()
    for name, table in MODALITIES.items():
        modality = catalogue.find(Dataset, name, "test").cls.modality
        facts = EvaluationFacts("data", modality, ("a", "b"), False, pl.DataFrame({"case_id": ["c"] * 3}), 0, {}, {})
        medical = Corruptions()
        medical.check(facts)
        assert medical.words(facts) == f"{len(TABLES[table])} corruptions of {table} at 5 severities"
        assert medical.images(facts) == 15 * len(TABLES[table])
