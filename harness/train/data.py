"""The images of one trial as tensors: resident on the device where they fit, drawn and augmented in batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from harness.backbones import Normalisation
from harness.data.augment import augment
from harness.data.cache import DecodedDataset
from harness.data.split import Split, indices
from harness.dataset import Augmentation
from harness.seeds import derive_seed

# Of the free device memory, so much may be taken by images: the rest is for activations.
RESIDENT_SHARE = 0.25

Side = Literal["train", "val", "test"]


@dataclass
class TrialData:
    """The sides of a split that a trial may see.

    A search trial is given no test side at all: asking for it is a KeyError, not a matter of discipline.
    """

    images: Tensor
    """uint8, (n, size, size, 3): on the device, or on the CPU over the memory map."""
    labels: Tensor
    """int64, (n,), on the device."""
    positions: dict[Side, Tensor]
    """int64 positions in ``images`` of each side, on the CPU."""
    device: torch.device
    mean: Tensor
    std: Tensor

    @classmethod
    def load(
        cls,
        data: DecodedDataset,
        split: Split,
        with_test: bool,
        normalisation: Normalisation,
        device: torch.device,
        resident: Tensor | None = None,
    ) -> TrialData:
        """Gather what a trial may see.

        Args:
            resident: the images already on the device, where an earlier trial brought them there.
        """
        train, val, test = (torch.from_numpy(side) for side in indices(split, data))
        positions: dict[Side, Tensor] = {"train": train, "val": val}
        if with_test:
            positions["test"] = test
        return cls(
            images=resident_images(data, device) if resident is None else resident,
            labels=torch.from_numpy(np.array(data.labels, dtype=np.int64)).to(device),
            positions=positions,
            device=device,
            mean=torch.tensor(normalisation.mean, device=device).view(1, 3, 1, 1),
            std=torch.tensor(normalisation.std, device=device).view(1, 3, 1, 1),
        )

    def count(self, side: Side) -> int:
        """Number of images on a side."""
        return len(self.positions[side])

    def targets(self, side: Side) -> Tensor:
        """Labels of a side, int64, in its order."""
        return self.labels[self.positions[side].to(self.device)]

    def order(self, seed: int, epoch: int) -> Tensor:
        """A permutation of the training positions that depends on seed and epoch alone."""
        generator = torch.Generator().manual_seed(derive_seed("order", seed, epoch))
        train = self.positions["train"]
        return train[torch.randperm(len(train), generator=generator)]

    def training_batch(
        self, positions: Tensor, policy: Augmentation | None, seed: int, step: int
    ) -> tuple[Tensor, Tensor]:
        """Augmented, normalised float images (batch, 3, size, size), channels last, and labels, on the device.

        What is drawn depends on seed and step alone, so a resumed trial draws the same.
        """
        images = self._pixels(positions)
        if policy is not None:
            generator = torch.Generator().manual_seed(derive_seed("augment", seed, step))
            images = augment(images, policy, generator)
        return (images - self.mean) / self.std, self.labels[positions.to(self.device)]

    def evaluation_batch(self, positions: Tensor) -> Tensor:
        """Normalised float images (batch, 3, size, size), channels last, on the device."""
        return (self._pixels(positions) - self.mean) / self.std

    def _pixels(self, positions: Tensor) -> Tensor:
        batch = self.images[positions.to(self.images.device)].to(self.device, non_blocking=True)
        return batch.permute(0, 3, 1, 2).to(torch.float32).div_(255)


def resident_images(data: DecodedDataset, device: torch.device) -> Tensor:
    """All images on the device where they fit, else a tensor over the memory map."""
    # The map is read-only; torch warns that it could be written through, which nothing here does.
    mapped = torch.from_numpy(np.asarray(data.images).view()) if data.images.flags.writeable else _readonly(data.images)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if mapped.numel() < RESIDENT_SHARE * free:
            return mapped.to(device)
    return mapped


def _readonly(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
        return torch.from_numpy(images)
