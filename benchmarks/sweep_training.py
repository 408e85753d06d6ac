"""The trainings of ``benchmarks.sweep_rivals`` as one writes them by hand, without this program."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torchvision import models
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.sweep_rivals import RANK, SCALE, Plan


def network(plan: Plan, method: str, classes: int) -> nn.Module:
    """torchvision's network with random weights, of which a method's part and the head train.

    LoRA-C is as one writes it from the authors' equation: W0 + s · view(B A), computed anew in each forward pass, for
    every convolution but the stem.
    """
    model: nn.Module = models.get_model(plan.backbone, weights=None, num_classes=classes)
    if method == "full_finetune":
        return model
    model.requires_grad_(False)
    list(model.children())[-1].requires_grad_(True)
    if method == "bn_affine":
        for norm in [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]:
            norm.requires_grad_(True)
    if method == "lora_c":
        for name, conv in list(model.named_modules())[1:]:
            if isinstance(conv, nn.Conv2d) and conv.in_channels > 3:
                parent, _, last = name.rpartition(".")
                setattr(model.get_submodule(parent), last, LoraConv(conv, RANK, SCALE))
    return model


class LoraConv(nn.Module):
    """A frozen convolution with a low-rank update: A (r, ci k) and B (co k, r) train, B is 0 at first."""

    def __init__(self, conv: nn.Conv2d, rank: int, scale: float) -> None:
        super().__init__()
        self.conv, self.scale = conv, scale
        out, channels, kernel, _ = conv.weight.shape
        self.a = nn.Parameter(torch.empty(rank, channels * kernel))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))
        self.b = nn.Parameter(torch.zeros(out * kernel, rank))

    def forward(self, x: Tensor) -> Tensor:
        """The convolution with the updated weight."""
        conv = self.conv
        weight = conv.weight + self.scale * (self.b @ self.a).view(conv.weight.shape)
        return nn.functional.conv2d(x, weight, conv.bias, conv.stride, conv.padding)


def trained_scalars(model: nn.Module) -> int:
    """Number of scalars that train, the head included."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def train(plan: Plan, method: str, lr: float, seed: int = 0, test: bool = False) -> float:
    """A training as one would write it: ImageFolder, transforms, DataLoader; the best validation accuracy.

    Args:
        test: keep the tensors of the best epoch and return their accuracy on the test side instead.
    """
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    end = [
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
    changed = v2.Compose([v2.RandomResizedCrop(plan.size, antialias=True), v2.RandomHorizontalFlip(), *end])
    plain = v2.Compose([v2.Resize((plan.size, plan.size), antialias=True), *end])
    training, evaluation = ImageFolder(plan.folder, changed), ImageFolder(plan.folder, plain)
    order = list(range(len(training)))
    random.Random(0).shuffle(order)
    first, last = math.floor(0.64 * len(order)), math.floor(0.8 * len(order))
    loader = DataLoader(
        Subset(training, order[:first]), plan.batch, shuffle=True, drop_last=True, num_workers=plan.loaders
    )
    checks = DataLoader(Subset(evaluation, order[first:last]), 256, num_workers=plan.loaders)
    model = network(plan, method, len(training.classes))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, plan.epochs * len(loader))
    criterion = nn.CrossEntropyLoss()
    best, tensors = -1.0, {}
    for _ in range(plan.epochs):
        model.train()
        for module in model.modules() if method != "full_finetune" else ():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        for images, labels in loader:
            loss = criterion(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        score = accuracy(model, checks)
        if score > best:
            best, tensors = score, copy.deepcopy(model.state_dict()) if test else {}
    if not test:
        return best
    model.load_state_dict(tensors)
    return accuracy(model, DataLoader(Subset(evaluation, order[last:]), 256, num_workers=plan.loaders))


def accuracy(model: nn.Module, batches: Iterable[Any]) -> float:
    """Share of the images that are classified correctly."""
    model.eval()
    right = count = 0
    with torch.inference_mode():
        for images, labels in batches:
            right += int((model(images).argmax(1) == labels).sum())
            count += len(labels)
    return right / count
