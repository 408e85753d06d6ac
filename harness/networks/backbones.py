"""Pretrained networks: torchvision's and timm's, with published weights, a file's, or those of a Hub repository."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.core.errors import RequestError, shortened
from harness.core.files import Fence, write_atomic
from harness.core.seeds import derive_seed
from harness.networks.architectures import SMALL, build_extractor, check_names, classifiers_of
from harness.networks.foreign import missing_file
from harness.networks.given_weights import LoadedWeights, load_weights
from harness.networks.hollow import hollow
from harness.networks.hub import check_hub
from harness.networks.normalisation import IMAGENET, TIMM, Normalisation
from harness.networks.references import HUB, READ, is_file, is_hub, is_readable_kind
from harness.networks.weights_file import encode_network


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


def build_model(
    name: str, weights: str | Path | None, classes: int, seed: int, normalisation: Normalisation | None = None
) -> tuple[Model, Normalisation]:
    """Build a network with a new head, in evaluation mode; only the head's tensors have ``requires_grad``.

    The head's initial values depend on (seed, classes, features) alone, random weights of the backbone on
    (seed, name) alone. torch's global generators are left as they were.

    Args:
        name: a torchvision classification model, ``resnet20`` (small, 3×3 stem), or ``timm:NAME``.
        weights: name of a torchvision weights enum member (for timm: of a pretrained tag); a file with a state dict
            of that network, ours or anyone's; ``hf-hub:ORG/NAME``; or None for random weights.
        classes: number of classes of the new head.
        seed: of the random initial values.
        normalisation: of the images that the weights were trained on; None for what they say themselves.

    Raises:
        RequestError: unknown name or weights, a file that does not fit or says no normalisation where none is given,
            or no network for a download.
    """
    built = _built(name, weights, seed)
    normalisation = known_normalisation(weights, normalisation, built.normalisation)
    with _stream("head", seed, classes, built.features):
        model = Model(copy.deepcopy(built.module), built.features, classes, name, normalisation)
    model.backbone.requires_grad_(False)
    return model.eval(), normalisation


def known_normalisation(
    weights: str | Path | None, given: Normalisation | None, stated: Normalisation | None
) -> Normalisation:
    """The normalisation that the sweep file gives, else the one that the weights state.

    Raises:
        RequestError: there is neither.
    """
    known = given or stated
    if known is None:
        raise RequestError(
            f"backbone.weights: {weights} does not say what images it was trained on; write backbone.mean and "
            "backbone.std, for ImageNet's mean: [0.485, 0.456, 0.406] and std: [0.229, 0.224, 0.225]"
        )
    return known


def loaded_state(name: str, weights: str | Path) -> tuple[Mapping[str, Tensor], LoadedWeights | None]:
    """The state of a network with given weights, and what came of these; None for published ones.

    Raises:
        RequestError: as ``build_model``, except for a missing normalisation.
    """
    built = _built(name, weights, 0)
    return built.module.state_dict(), built.outcome


def file_stamp(path: Path | None) -> tuple[int, ...]:
    """What another content of a file changes; empty where there is none."""
    if path is None or not path.is_file():
        return ()
    status = path.stat()
    # A copy can be given size and time stamp of what it replaces, but no change time.
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


@dataclass(frozen=True)
class _Built:
    """A network, which is copied and never changed."""

    module: nn.Module
    features: int
    normalisation: Normalisation | None
    outcome: LoadedWeights | None


def _built(name: str, weights: str | Path | None, seed: int) -> _Built:
    given, published = _split_weights(weights)
    # A file that is written again under the same name is another one.
    stamp = file_stamp(None if given is None or is_hub(str(given)) else Path(given))
    drawn = weights is None or name.startswith(TIMM)
    return _extractor(name, published, given, stamp, seed if drawn else 0, str(torch.get_default_device()))


@lru_cache(maxsize=2)
def _extractor(
    name: str, published: str | None, given: str | Path | None, stamp: tuple[int, ...], seed: int, place: str
) -> _Built:
    """A network, its features and its normalisation; kept, because a worker trains many trials from the same.

    ``place`` is torch's default device, on which it is built.
    """
    with _stream("backbone", seed):
        backbone, features, normalisation = build_extractor(name, published)
    if given is None:
        return _Built(backbone, features, normalisation, None)
    outcome = load_weights(backbone, name, given, classifiers_of(name, backbone))
    return _Built(backbone, features, outcome.normalisation, outcome)


def check_backbone(name: str, weights: str | Path | None) -> None:
    """Check name and weights at once: nothing is downloaded, no tensor allocated, no checkpoint file opened.

    Raises:
        RequestError: as ``build_model`` would, except for what only the weights themselves can tell.
    """
    given, published = _split_weights(weights)
    check_names(name, published)
    if isinstance(given, str):
        check_hub(given)
    elif given is not None and not given.is_file():
        raise missing_file(given)
    # Whether one of torchvision's ends in a classifier that can be replaced shows when it is built.
    if name != SMALL and not name.startswith(TIMM):
        hollow(lambda: build_extractor(name, None).module)


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


def _split_weights(weights: str | Path | None) -> tuple[str | Path | None, str | None]:
    """A file or a repository of the Hub, or the name of published weights."""
    if weights is None or isinstance(weights, Path):
        return weights, None
    if is_hub(weights):
        return weights, None
    if not is_file(weights):
        return None, weights
    if not is_readable_kind(weights):
        remedy = f"write {HUB}{weights} for one of the Hub's repositories" if weights.count("/") == 1 else "convert it"
        raise RequestError(
            f"backbone.weights: {shortened(weights)}: of files those are read that end in {', '.join(READ)}; {remedy}"
        )
    return Path(weights), None


@contextmanager
def _stream(*names: str | int) -> Iterator[None]:
    # Networks are built on the CPU, so only its generator is seeded: torch.manual_seed would reseed the GPU's
    # as well, and fork_rng(devices=[]) would not give that back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(*names))
        yield
