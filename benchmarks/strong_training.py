"""The trainings of ``benchmarks.sweep_rivals`` by somebody who knows torch well, still without this program.

Files are decoded once, reduced to twice the side that is trained on, and kept as uint8. Whole batches are cropped by
grid sampling, flipped and normalised. Networks have channels last and a fused AdamW, and the features that a linear
probe sees are computed once for each network. ``benchmarks.throughput`` has the same loop as its side ``strong``.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2 import functional as change

from benchmarks.sweep_rivals import Plan
from benchmarks.sweep_training import network

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
"""Of torchvision's random crops: the share of the image, and width by height."""


@dataclass(frozen=True)
class Kept:
    """All images of a folder in memory: uint8, shape (n, 3, side, side), channels last, and their labels."""

    images: Tensor
    labels: Tensor

    @classmethod
    def decode(cls, folder: Path, side: int, part: slice = slice(None)) -> Kept:
        """Read a part of the files, in the order of ``ImageFolder``, and reduce each to a square."""
        listed = ImageFolder(str(folder))
        chosen = range(len(listed))[part]
        reduced = [change.resize(change.pil_to_tensor(listed[at][0]), [side, side], antialias=True) for at in chosen]
        images = torch.stack(reduced).contiguous(memory_format=torch.channels_last)
        return cls(images, torch.tensor([listed.targets[at] for at in chosen]))

    def cropped(self, rows: Tensor, side: int) -> Tensor:
        """Some images, each under a random crop and flip, normalised: float32, shape (rows, 3, side, side)."""
        n = len(rows)
        area = torch.empty(n).uniform_(*AREA)
        ratio = torch.empty(n).uniform_(math.log(RATIO[0]), math.log(RATIO[1])).exp()
        width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        # In grid sampling an image reaches from -1 to 1.
        theta = torch.zeros(n, 2, 3)
        theta[:, 0, 0] = width * (1 - 2 * torch.randint(2, (n,)))
        theta[:, 1, 1] = height
        theta[:, 0, 2] = (1 - width) * torch.empty(n).uniform_(-1, 1)
        theta[:, 1, 2] = (1 - height) * torch.empty(n).uniform_(-1, 1)
        grid = nn.functional.affine_grid(theta.to(self.images.device), [n, 3, side, side], align_corners=False)
        return nn.functional.grid_sample(normalised(self.images[rows]), grid, align_corners=False)

    def whole(self, side: int) -> Tensor:
        """All images, reduced and normalised: float32, shape (n, 3, side, side)."""
        reduced: Tensor = change.resize(self.images, [side, side], antialias=True)
        return normalised(reduced)


def normalised(images: Tensor) -> Tensor:
    """uint8 images as float32 with ImageNet's mean and deviation."""
    mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) * 255 for values in (MEAN, STD))
    return (images.float() - mean) / std


def prepare(plan: Plan, part: int) -> None:
    """Decode one of ``plan.workers`` parts of the folder into the scratch folder."""
    kept = Kept.decode(Path(plan.folder), 2 * plan.size, slice(part, None, plan.workers))
    torch.save((kept.images, kept.labels), Path(plan.scratch) / f"part{part}.pt")


@cache
def _kept(plan: Plan) -> Kept:
    """What all parts have decoded, once a process; in the order of the folder again."""
    parts = [torch.load(Path(plan.scratch) / f"part{part}.pt", weights_only=True) for part in range(plan.workers)]
    count = sum(len(labels) for _, labels in parts)
    images = torch.empty((count, *parts[0][0].shape[1:]), dtype=torch.uint8, memory_format=torch.channels_last)
    labels = torch.empty(count, dtype=torch.int64)
    for part, (own, meant) in enumerate(parts):
        images[part :: plan.workers], labels[part :: plan.workers] = own, meant
    return Kept(images, labels)


@cache
def _whole(plan: Plan) -> Tensor:
    return _kept(plan).whole(plan.size)


@cache
def _probed(plan: Plan, seed: int, classes: int) -> Tensor:
    """The features of all images by the network of a seed, once a process."""
    torch.manual_seed(seed)
    model = network(plan, "linear_probe", classes).eval().to(memory_format=torch.channels_last)
    name = list(dict(model.named_children()))[-1]
    setattr(model, name, nn.Identity())
    with torch.inference_mode():
        return torch.cat([model(part) for part in torch.split(_whole(plan), 256)])


def train(plan: Plan, method: str, lr: float, seed: int = 0, test: bool = False) -> float:
    """As ``benchmarks.sweep_training.train``, from the parts that ``prepare`` has decoded."""
    torch.set_num_threads(1)
    kept = _kept(plan)
    order = list(range(len(kept.labels)))
    random.Random(0).shuffle(order)
    first, last = math.floor(0.64 * len(order)), math.floor(0.8 * len(order))
    training, checked, tested = (torch.tensor(rows) for rows in (order[:first], order[first:last], order[last:]))
    classes = int(kept.labels.max()) + 1
    torch.manual_seed(seed)
    model = network(plan, method, classes)
    inputs: Callable[[Tensor], Tensor] = partial(kept.cropped, side=plan.size)
    seen = _whole(plan) if method != "linear_probe" else _probed(plan, seed, classes)
    if method == "linear_probe":
        # Its network is frozen, so a training is one of the last layer on features, and sees no augmentation.
        model, inputs = list(model.children())[-1], seen.__getitem__
    fit = Loop(model, lr, plan.epochs * (len(training) // plan.batch))
    best, tensors = -1.0, {}
    for _ in range(plan.epochs):
        fit.training_mode(norms=method == "full_finetune")
        for rows in _batches(training, plan.batch):
            fit.step(inputs(rows), kept.labels[rows])
        score = _accuracy(model, seen[checked], kept.labels[checked])
        if score > best:
            best, tensors = score, copy.deepcopy(model.state_dict()) if test else {}
    if not test:
        return best
    model.load_state_dict(tensors)
    return _accuracy(model, seen[tested], kept.labels[tested])


class Loop:
    """The steps of a training: channels last, fused AdamW, a cosine.

    Args:
        steps: of the cosine.
        half: compute in bfloat16 where autocast does.
    """

    def __init__(self, model: nn.Module, lr: float, steps: int, half: bool = False) -> None:
        self._model = model.to(memory_format=torch.channels_last)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=1e-4, fused=True)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, steps)
        self._criterion, self._half = nn.CrossEntropyLoss(), half

    def training_mode(self, norms: bool) -> None:
        """Train; batch norms normalise by the batch where ``norms``, by their own statistics otherwise."""
        self._model.train()
        for module in self._model.modules() if not norms else ():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One step on a batch."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._half):
            loss = self._criterion(self._model(images), labels)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._schedule.step()


def _batches(rows: Tensor, size: int) -> Iterator[Tensor]:
    order = rows[torch.randperm(len(rows))]
    yield from torch.split(order[: len(rows) // size * size], size)


def _accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    model.eval()
    with torch.inference_mode():
        said = torch.cat([model(part).argmax(1) for part in torch.split(inputs, 256)])
    return float((said == labels).float().mean())
