"""Softmax regression on scikit-learn's digits: a real learner, of which a thousand trainings take a tenth of a second.

All trainings on one training set with one seed see the same batches, so their steps are one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
View = Literal["whole", "one half", "other half"]
"""What a method sees of an image: all of it, or the half that the image's coin gives to it."""
CLASSES, SIDE, BATCH, FIRST_SPREAD = 10, 8, 16, 0.01


@dataclass(frozen=True, slots=True)
class Method:
    """A way to train; two with the same fields are twins."""

    epochs: int
    view: View = "whole"


@dataclass(frozen=True, slots=True)
class Pool:
    """The labelled images that a researcher has."""

    images: Float32Array
    """Shape (images, 8, 8), in [0, 1]."""
    labels: IntArray
    """Shape (images,), in [0, 10)."""
    coins: npt.NDArray[np.bool_]
    """Shape (images,): which half of an image goes to which method where methods see halves."""

    def seen_by(self, method: Method) -> Float32Array:
        """What a method sees, shape (images, pixels). The right half is mirrored, so that both halves look alike."""
        if method.view == "whole":
            return self.images.reshape(len(self.images), -1)
        left, right = self.images[:, :, : SIDE // 2], self.images[:, :, : SIDE // 2 - 1 : -1]
        swapped = self.coins if method.view == "one half" else ~self.coins
        return np.where(swapped[:, None, None], right, left).reshape(len(self.images), -1)


@dataclass(frozen=True, slots=True)
class Configurations:
    """Hyperparameters of several trainings, each of shape (trainings,)."""

    rates: Float32Array
    """Learning rates."""
    decays: Float32Array
    """Weight decays, by which a step multiplies the weights with ``1 - rate * decay``."""


@cache
def digits() -> tuple[Float32Array, IntArray]:
    """Images of shape (1797, 8, 8), in [0, 1], and labels."""
    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype(np.float32).reshape(-1, SIDE, SIDE), labels.astype(np.int64)


def draw_pool(rng: np.random.Generator, size: int) -> Pool:
    """Different images, each with a coin."""
    images, labels = digits()
    chosen = rng.permutation(len(labels))[:size]
    return Pool(images[chosen], labels[chosen], rng.random(size) < 0.5)


def train(
    inputs: Float32Array, labels: IntArray, configurations: Configurations, seed: int, epochs: int
) -> tuple[Float32Array, Float32Array]:
    """Train one network for each configuration by stochastic gradient descent, all with the same batches.

    Args:
        inputs: shape (images, pixels).
        labels: shape (images,).
        configurations: of the trainings.
        seed: of the first weights and of the order of the images.
        epochs: passes over all images; what is left over of whole batches is not used in a pass.

    Returns:
        Weights, shape (pixels, classes, trainings), and biases, shape (classes, trainings).
    """
    rng, trainings = np.random.default_rng(seed), len(configurations.rates)
    first = rng.normal(0, FIRST_SPREAD, (inputs.shape[1], CLASSES)).astype(np.float32)
    # Classes before trainings: a sum over classes then runs over whole rows.
    weights = np.repeat(first, trainings, axis=1)
    biases = np.zeros((CLASSES, trainings), np.float32)
    kept = np.tile(1 - configurations.rates * configurations.decays, CLASSES)
    steps, members = configurations.rates / BATCH, np.eye(CLASSES, dtype=np.float32)
    for _ in range(epochs):
        order = rng.permutation(len(labels))
        for start in range(0, len(labels) - BATCH + 1, BATCH):
            batch = order[start : start + BATCH]
            seen = inputs[batch]
            slope = (seen @ weights).reshape(BATCH, CLASSES, trainings)
            slope += biases
            slope -= slope.max(axis=1, keepdims=True)
            np.exp(slope, out=slope)
            slope /= slope.sum(axis=1, keepdims=True)
            slope -= members[labels[batch]][:, :, None]
            slope *= steps
            weights *= kept
            weights -= seen.T @ slope.reshape(BATCH, -1)
            biases -= slope.sum(axis=0)
    return weights.reshape(-1, CLASSES, trainings), biases


def logits_of(inputs: Float32Array, weights: Float32Array, biases: Float32Array) -> Float32Array:
    """Logits of shape (trainings, images, classes)."""
    pixels, classes, trainings = weights.shape
    found = (inputs @ weights.reshape(pixels, -1)).reshape(len(inputs), classes, trainings) + biases
    return np.ascontiguousarray(found.transpose(2, 0, 1))


def balanced_accuracies(logits: Float32Array, labels: IntArray) -> npt.NDArray[np.float64]:
    """Mean recall over the classes that occur, shape (trainings,)."""
    support = np.bincount(labels, minlength=CLASSES)
    weight = 1 / (support[labels] * np.count_nonzero(support))
    result: npt.NDArray[np.float64] = (logits.argmax(axis=2) == labels) @ weight
    return result
