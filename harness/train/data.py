"""The images of one trial as tensors: resident on the device where they fit, drawn and augmented in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from harness.core.seeds import derive_seed
from harness.data.augment import augment, upload
from harness.data.decoded import DecodedDataset
from harness.data.split import Split, in_distribution_rows, indices
from harness.data.strata import strata
from harness.data.subset import meta_split
from harness.dataset import Augmentation
from harness.networks.normalisation import Normalisation

# Of the free device memory, so much may be taken by images: the rest is for activations.
RESIDENT_SHARE = 0.25

Side = Literal["train", "val", "test", "meta", "in_distribution"]


@dataclass
class TrialData:
    """The sides of a split that a trial may see.

    A search trial is given no test side at all: asking for it is a KeyError, not a matter of discipline.
    """

    images: Tensor
    """uint8, (n, size, size, 3): on the device, or on the CPU over the memory map."""
    labels: Tensor
    """int64, on the device: (n,), or (n, classes) of 0 and 1 where an image may bear several classes."""
    weights: Tensor | None
    """How often each position of the training side is drawn, float64 on the CPU; None: each once an epoch."""
    positions: dict[Side, Tensor]
    """int64 positions in ``images`` of each side, on the CPU."""
    device: torch.device
    fingerprint: str
    """Of the decoded dataset."""
    normalisation: Normalisation
    mean: Tensor
    """Float32, (1, 3, size, size), channels last, which takes a fifth of the time of three numbers: a loop over an
    image's memory instead of one over three channels."""
    std: Tensor
    """Likewise."""

    @classmethod
    def load(
        cls,
        data: DecodedDataset,
        split: Split,
        with_test: bool,
        normalisation: Normalisation,
        device: torch.device,
        resident: Tensor | None = None,
        balanced: bool = False,
        meta_fraction: float = 0.0,
    ) -> TrialData:
        """Gather what a trial may see.

        Args:
            resident: the images already on the device, where an earlier trial brought them there.
            balanced: draw each class equally often, instead of each image once an epoch.
            meta_fraction: of the training side that becomes a side of its own, ``meta``; 0 for none.

        Raises:
            RequestError: the training side is too small for the meta side.
        """
        train, val, test = indices(split, data)
        positions: dict[Side, Tensor] = {"val": torch.from_numpy(val)}
        if meta_fraction > 0:
            train, meta = meta_split(split, data, meta_fraction)
            positions["meta"] = torch.from_numpy(meta)
        positions["train"] = torch.from_numpy(train)
        if with_test:
            positions["test"] = torch.from_numpy(test)
            positions["in_distribution"] = torch.from_numpy(in_distribution_rows(split, data))
        weights = None
        if balanced:
            stratum = strata(data.labels)[train]
            weights = torch.from_numpy(1 / np.bincount(stratum)[stratum])
        return cls(
            images=resident_images(data, device) if resident is None else resident,
            labels=torch.from_numpy(np.array(data.labels, dtype=np.int64)).to(device),
            weights=weights,
            positions=positions,
            device=device,
            fingerprint=data.fingerprint,
            normalisation=normalisation,
            mean=_everywhere(normalisation.mean, data.images.shape[1:3], device),
            std=_everywhere(normalisation.std, data.images.shape[1:3], device),
        )

    def count(self, side: Side) -> int:
        """Number of images on a side."""
        return len(self.positions[side])

    def targets(self, side: Side) -> Tensor:
        """Labels of a side, int64, in its order."""
        return self.labels[self.positions[side].to(self.device)]

    def order(self, seed: int, epoch: int) -> Tensor:
        """Training positions of an epoch, which depend on seed and epoch alone: a permutation, or draws by weight.

        On the images' device, where they need no transfer at each step.
        """
        generator = torch.Generator().manual_seed(derive_seed("order", seed, epoch))
        train = self.positions["train"]
        if self.weights is None:
            return train[torch.randperm(len(train), generator=generator)].to(self.images.device)
        # By inverse sums, because torch.multinomial takes no more than 2**24 categories.
        cumulated = self.weights.cumsum(0)
        drawn = torch.rand(len(train), generator=generator, dtype=torch.float64) * cumulated[-1]
        chosen = torch.searchsorted(cumulated, drawn, right=True).clamp_(max=len(train) - 1)
        return train[chosen].to(self.images.device)

    def plain_batch(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images, not augmented, as ``evaluation_batch``, and their labels."""
        return self.evaluation_batch(positions), self.labels[positions.to(self.device)]

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
        return images.sub_(self.mean).div_(self.std), self.labels[positions.to(self.device)]

    def evaluation_batch(self, positions: Tensor) -> Tensor:
        """Normalised float images (batch, 3, size, size), channels last, on the device."""
        return self._pixels(positions).sub_(self.mean).div_(self.std)

    def normalised(self, images: Tensor) -> Tensor:
        """Images of elsewhere, uint8 (batch, size, size, 3), as ``evaluation_batch`` gives those of the dataset."""
        if self.device.type != "cpu":
            images = upload(images, self.device)
        return self._scaled(images).sub_(self.mean).div_(self.std)

    def made_up(self) -> Tensor:
        """Two images of the data's size that nobody has seen, always the same, as ``evaluation_batch`` gives them."""
        size = self.images.shape[1]
        noise = torch.randn((2, 3, size, size), generator=torch.Generator().manual_seed(0))
        return noise.to(self.device, memory_format=torch.channels_last)

    def _pixels(self, positions: Tensor) -> Tensor:
        # Ten times faster than indexing on a CPU.
        batch = self.images.index_select(0, positions.to(self.images.device))
        if batch.device != self.device:
            batch = upload(batch, self.device)
        return self._scaled(batch)

    @staticmethod
    def _scaled(batch: Tensor) -> Tensor:
        return batch.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last).div_(255)


def _everywhere(channels: Sequence[float], extent: tuple[int, ...], device: torch.device) -> Tensor:
    """A number for each channel as an image of (height, width), channels last."""
    numbers = torch.tensor(channels, device=device).view(1, -1, 1, 1)
    return numbers.expand(1, -1, *extent).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class MethodBatches:
    """The training images as a method may draw them beside its steps (``harness.train.step.TrainingBatches``)."""

    _data: TrialData
    _seed: int

    def draw(self, side: Literal["train", "meta"], size: int, number: int) -> tuple[Tensor, Tensor]:
        """Up to ``size`` images of a side, chosen by the trial's seed and ``number`` alone.

        Raises:
            KeyError: the method has asked for no meta side.
        """
        positions = self._data.positions[side]
        generator = torch.Generator().manual_seed(derive_seed("draw", side, self._seed, number))
        return self._data.plain_batch(positions[torch.randperm(len(positions), generator=generator)[:size]])

    def first(self, size: int) -> tuple[Tensor, Tensor]:
        """The first ``size`` training images."""
        return self._data.plain_batch(self._data.positions["train"][:size])

    def all(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every training image once, in batches of ``size``, always in the same order."""
        return map(self._data.plain_batch, torch.split(self._data.positions["train"], size))


def resident_images(data: DecodedDataset, device: torch.device) -> Tensor:
    """All images on the device where they fit, else a tensor over the memory map."""
    # The map is read-only; torch warns that it could be written through, which nothing here does.
    mapped = torch.from_numpy(np.asarray(data.images).view()) if data.images.flags.writeable else _readonly(data.images)
    return resident(mapped, device)


def resident(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device where it takes no more than ``RESIDENT_SHARE`` of what is free there; else itself."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if tensor.nbytes < RESIDENT_SHARE * free:
            return tensor.to(device)
    return tensor


def _readonly(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
        return torch.from_numpy(images)
