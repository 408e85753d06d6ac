"""Pretrained networks: torchvision by name and weights, timm where it is installed, or a checkpoint file."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.core.files import Fence, write_atomic
from harness.core.seeds import derive_seed
from harness.networks.architectures import SMALL, build_extractor, check_names
from harness.networks.normalisation import IMAGENET, TIMM, Normalisation
from harness.networks.weights_file import encode_network, load_backbone, missing_file


class Model(nn.Module):
    """A feature extractor and a linear head.

    ``backbone`` maps float images (batch, 3, size, size) to features (batch, features); ``head`` maps these
    to logits (batch, classes). ``name`` and ``normalisation`` are what a saved file tells of its origin.
    """

    def __init__(
        self,
        backbone: nn.Module,
        features: int,
        classes: int,
        name: str = "",
        normalisation: Normalisation = IMAGENET,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(features, classes)
        self.name = name
        self.normalisation = normalisation

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        logits: Tensor = self.head(self.backbone(images))
        return logits


def build_model(name: str, weights: str | Path | None, classes: int, seed: int) -> tuple[Model, Normalisation]:
    """Build a network with a new head, in evaluation mode; only the head's tensors have ``requires_grad``.

    The head's initial values depend on (seed, classes, features) alone, random weights of the backbone on
    (seed, name) alone. torch's global generators are left as they were.

    Args:
        name: a torchvision classification model, ``resnet20`` (small, 3×3 stem), or ``timm:NAME``.
        weights: name of a torchvision weights enum member (for timm: of a pretrained tag), a ``.safetensors``
            file as ``save_model`` writes it, or None for random weights.
        classes: number of classes of the new head.
        seed: of the random initial values.

    Raises:
        RequestError: unknown name or weights, a file that does not fit, or no network for a download.
    """
    path, published = _split_weights(weights)
    # A file that is written again under the same name is another one.
    stamp = file_stamp(path)
    drawn = weights is None or name.startswith(TIMM)
    place = str(torch.get_default_device())
    kept, features, normalisation = _extractor(name, published, path, stamp, seed if drawn else 0, place)
    with _stream("head", seed, classes, features):
        model = Model(copy.deepcopy(kept), features, classes, name, normalisation)
    model.backbone.requires_grad_(False)
    return model.eval(), normalisation


def file_stamp(path: Path | None) -> tuple[int, ...]:
    """What another content of a file changes; empty where there is none."""
    if path is None or not path.is_file():
        return ()
    status = path.stat()
    # A copy can be given size and time stamp of what it replaces, but no change time.
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


@lru_cache(maxsize=2)
def _extractor(
    name: str, published: str | None, path: Path | None, stamp: tuple[int, ...], seed: int, place: str
) -> tuple[nn.Module, int, Normalisation]:
    """A network, its features and its normalisation; kept, because a worker trains many trials from the same.

    ``place`` is torch's default device, on which it is built.
    """
    with _stream("backbone", seed):
        backbone, features, normalisation = build_extractor(name, published)
    return backbone, features, normalisation if path is None else load_backbone(backbone, name, path)


def check_backbone(name: str, weights: str | Path | None) -> None:
    """Check name and weights at once: nothing is downloaded, no tensor allocated, no checkpoint file opened.

    Raises:
        RequestError: as ``build_model`` would, except for what only the weights themselves can tell.
    """
    path, published = _split_weights(weights)
    check_names(name, published)
    if path is not None and not path.is_file():
        raise missing_file(path)
    # Whether one of torchvision's ends in a classifier that can be replaced shows when it is built.
    if name != SMALL and not name.startswith(TIMM):
        with torch.device("meta"):
            build_extractor(name, None)


def set_training_mode(model: Model, batch_norm: Literal["frozen", "train"]) -> None:
    """Put the model in training mode; ``frozen`` keeps every batch norm in evaluation mode.

    A frozen batch norm normalises by its running statistics and does not move them; its affine parameters may
    still train.
    """
    model.train()
    if batch_norm == "frozen":
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def save_model(model: Model, path: Path, description: Mapping[str, str], fence: Fence | None = None) -> None:
    """Write backbone and head to a safetensors file that ``build_model`` reads as weights.

    Tensors are named ``backbone.…`` and ``head.…``; the metadata hold the backbone's name and normalisation,
    and ``description``. What a method added must have been merged, or the file fits no backbone.

    Args:
        model: what is written.
        path: of the file.
        description: what else it says of itself.
        fence: as for ``harness.core.files.write_atomic``.

    Raises:
        OSError: with ``filename`` set to ``path``; an older file is then untouched.
    """
    write_atomic(path, encode_network(model.state_dict(), model.name, model.normalisation, description), fence)


def _split_weights(weights: str | Path | None) -> tuple[Path | None, str | None]:
    if isinstance(weights, Path) or (weights is not None and weights.endswith(".safetensors")):
        return Path(weights), None
    return None, weights


@contextmanager
def _stream(*names: str | int) -> Iterator[None]:
    # Networks are built on the CPU, so only its generator is seeded: torch.manual_seed would reseed the GPU's
    # as well, and fork_rng(devices=[]) would not give that back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(*names))
        yield
