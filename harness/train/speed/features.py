"""Features of a backbone that nothing changes: computed once a side of the split, for all trials that need the same.

    CACHE/features-0a1b…/features.npy       float32, (images of the side, features), in the side's order
    CACHE/.features-0a1b….lock/             the leases of all who have computed it

What is kept is what would be computed: the name covers the network's weights and what it computes of made-up images
(and so its structure and code), the images, batch size, precision, threads and the kind of processor.
"""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.core.files import write_atomic_by
from harness.core.identity import canonical_hash, source_hash
from harness.core.infrastructure import passes
from harness.data.augment import upload
from harness.data.node_disk import use_if_node_disk
from harness.data.once import build_once
from harness.method import Method
from harness.networks.backbones import Model
from harness.train.data import Side, TrialData, resident
from harness.train.job import Control, Interrupted

_CODE = ("harness.train.speed.features", "harness.train.data", "harness.data.augment")
"""Modules that make a network's input of decoded images, and features of its output."""


def is_constant(method: Method, model: Model) -> bool:
    """Whether an adapted backbone computes the same features of an image at every step, and the method's steps see
    nothing of it but them.

    So it is where none of its parameters trains, its batch norms are frozen, and the method's class has no
    ``training_step`` and no ``finish`` of its own.
    """
    cls = type(method)
    own = cls.training_step is not Method.training_step or cls.finish is not Method.finish
    trains = any(parameter.requires_grad for parameter in model.backbone.parameters())
    return not own and not trains and method.batch_norm == "frozen"


class Features:
    """The features of one trial's images, in evaluation mode and not augmented.

    Args:
        model: adapted, on the device; its backbone stays as it is at the first use.
        batch_size: images a forward pass.
        precision: autocast dtype, or None for full float32.
        cache: folder of the decoded datasets; None keeps nothing for other trials.
        control: told what is computed; stops it.
    """

    def __init__(
        self,
        model: Model,
        data: TrialData,
        batch_size: int,
        precision: torch.dtype | None,
        cache: Path | None,
        control: Control,
    ) -> None:
        self._model, self._data, self._batch_size, self._precision = model, data, batch_size, precision
        self._cache, self._control = cache, control
        self._sides: dict[Side, Tensor] = {}
        self._heeds_stop = False
        self._function: str | None = None
        self._rows: Tensor | None = None

    def prepare(self) -> None:
        """Have those that training needs; later on nothing is computed that a stop would have to wait for.

        Raises:
            Interrupted: stopped from outside, with nothing half done.
        """
        self._heeds_stop = True
        for side in ("train", "val"):
            self.side(side)
        self._heeds_stop = False

    def side(self, side: Side) -> Tensor:
        """Float32, shape (images of the side, features), in the side's order; on the device where they fit.

        Raises:
            KeyError: the trial was not given this side.
        """
        if side not in self._sides:
            found = self._compute(side) if self._cache is None else self._kept(side, self._cache)
            with warnings.catch_warnings():
                # The map is read-only, and nothing here writes through it.
                warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
                self._sides[side] = resident(torch.from_numpy(found), self._data.device)
        return self._sides[side]

    def batch(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Features, float32 (batch, features), and labels of training images, on the device."""
        features = self.side("train")
        if self._rows is None:
            train = self._data.positions["train"]
            rows = torch.zeros(len(self._data.images), dtype=torch.int64)
            rows[train] = torch.arange(len(train))
            self._rows = rows.to(self._data.images.device)
        rows = self._rows[positions].to(features.device)
        labels = self._data.labels[positions.to(self._data.device)]
        return upload(features.index_select(0, rows), self._data.device), labels

    def logits(self, side: Side) -> npt.NDArray[np.float64]:
        """Float64 logits of a side by the head as it is, the same as ``harness.train.evaluate.predict`` gives."""
        chunks = []
        with torch.inference_mode():
            for features in torch.split(self.side(side), self._batch_size):
                inputs = upload(features, self._data.device)
                with self._autocast():
                    chunks.append(self._model.head(inputs).double())
        return torch.cat(chunks).cpu().numpy()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._data.device.type, self._precision, enabled=self._precision is not None)

    def _compute(self, side: Side) -> npt.NDArray[np.float32]:
        started = time.perf_counter()
        positions = self._data.positions[side]
        self._model.backbone.eval()
        chunks = []
        for part in torch.split(positions, self._batch_size):
            self._heed_stop()
            chunks.append(self._forward(self._data.evaluation_batch(part)))
        seconds = time.perf_counter() - started
        self._control.log(f"features of {len(positions):,} images ({side}) computed in {seconds:.1f} s")
        self._control.progress({"features": len(positions), "seconds": seconds})
        return torch.cat(chunks).cpu().numpy()

    def _forward(self, images: Tensor) -> Tensor:
        with torch.inference_mode(), self._autocast():
            features: Tensor = self._model.backbone(images).float()
        return features

    def _kept(self, side: Side, cache: Path) -> npt.NDArray[np.float32]:
        """Features from the cache; computed by one of any number of trials that want them now."""
        if not os.access(cache, os.W_OK):
            self._control.log(f"{cache} is not writable: features are computed for this trial alone")
            return self._compute(side)
        folder = cache / f"features-{self._key(side)[:32]}"
        use_if_node_disk(cache, folder.name)
        path = folder / "features.npy"
        if not folder.is_dir():
            build_once(folder, lambda target: _write(target / path.name, self._compute(side)), self._heed_stop)
        try:
            found: npt.NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
            if found.dtype != np.float32 or found.ndim != 2 or len(found) != len(self._data.positions[side]):
                raise ValueError(f"{found.dtype} {found.shape}")
        except (OSError, ValueError, EOFError) as error:
            if passes(error):
                raise
            self._control.log(f"{path}: torn ({error}); computed again")
            _write(path, self._compute(side))
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        return found

    def _heed_stop(self) -> None:
        if self._heeds_stop and self._control.stop.is_set():
            raise Interrupted

    def _key(self, side: Side) -> str:
        data = self._data
        cpu = data.device.type == "cpu"
        return canonical_hash(
            {
                "code": source_hash(_CODE),
                "function": self._fingerprint(),
                "data": data.fingerprint,
                "positions": hashlib.sha256(data.positions[side].numpy().tobytes()).hexdigest(),
                "normalisation": [data.normalisation.mean, data.normalisation.std],
                "batch_size": self._batch_size,
                "precision": str(self._precision),
                "torch": torch.__version__,
                "device": torch.backends.cpu.get_cpu_capability() if cpu else torch.cuda.get_device_name(data.device),
                "threads": torch.get_num_threads() if cpu else None,
            }
        )

    def _fingerprint(self) -> str:
        """A hash of the backbone's tensors, and of what it makes of images that nobody has seen."""
        if self._function is None:
            digest = hashlib.sha256()
            self._model.backbone.eval()
            tensors: dict[str, Any] = self._model.backbone.state_dict()
            for name, tensor in tensors.items():
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
            digest.update(self._forward(self._data.made_up()).cpu().numpy().tobytes())
            self._function = digest.hexdigest()
        return self._function


def _write(path: Path, features: npt.NDArray[np.float32]) -> None:
    write_atomic_by(path, lambda stream: np.save(stream, features, allow_pickle=False))
