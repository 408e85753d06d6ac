"""What an adapted network costs: trained parameters by kind, storage a task, multiply-adds, optimiser state.

Parameters alone say little about time and memory (a method that changes the first layer needs a backward pass
through all of them), so they stand beside the other figures and never for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from harness.networks.backbones import Model, build_model, file_stamp
from harness.networks.normalisation import Normalisation
from harness.networks.sites import norm_sites


@dataclass(frozen=True)
class Pretrained:
    """What a network is before any method changes it; the head, equal for all methods, is left out."""

    parameters: dict[str, torch.Size]
    """Shapes by name."""
    buffers: dict[str, Tensor]
    """Values by name, on the CPU."""
    multiply_adds: int

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(shape.numel() for shape in self.parameters.values())


def pretrained(
    name: str, weights: str | Path | None, image_size: int, normalisation: Normalisation | None = None
) -> Pretrained:
    """The facts about a backbone, computed once a process.

    Args:
        name: as for ``build_model``.
        weights: likewise.
        image_size: side of the square images, in pixels.
        normalisation: as for ``build_model``.

    Raises:
        RequestError: as ``build_model``.
    """
    # A file that is written again under the same name is another one.
    return _pretrained(name, weights, image_size, normalisation, file_stamp(None if weights is None else Path(weights)))


@lru_cache(maxsize=16)
def _pretrained(
    name: str,
    weights: str | Path | None,
    image_size: int,
    normalisation: Normalisation | None,
    stamp: tuple[int, ...],
) -> Pretrained:
    model, _ = build_model(name, weights, 2, 0, normalisation)
    return Pretrained(
        {path: parameter.shape for path, parameter in model.backbone.named_parameters()},
        {path: buffer.detach().clone() for path, buffer in model.backbone.named_buffers()},
        multiply_adds(model, image_size),
    )


def cost(
    model: Model,
    before: Pretrained,
    image_size: int,
    optimizer: torch.optim.Optimizer | None,
    moving: bool = False,
) -> dict[str, float | None]:
    """All figures of an adapted network, as ``result.json`` has them under ``cost``.

    Args:
        model: adapted, trained or not, and not merged; on any device.
        before: the same backbone unchanged, for the same image size.
        image_size: side of the square images, in pixels.
        optimizer: after training; None leaves its state out.
        moving: before training, whether it will move the running statistics of batch norms.

    Returns:
        ``own``, ``norm`` and ``head``: trained scalars, see ``trained_parameters``; ``backbone``: scalars of the
        unchanged backbone; ``percent``: 100 (own + norm) / backbone; ``storage_bytes``, ``optimizer_bytes``;
        ``multiply_adds`` and ``multiply_adds_before`` of one image through the backbone.
    """
    parts = trained_parameters(model)
    return {
        **parts,
        "backbone": before.size,
        "percent": 100 * (parts["own"] + parts["norm"]) / before.size,
        "storage_bytes": storage_bytes(model, before, moving),
        "optimizer_bytes": None if optimizer is None else optimizer_bytes(optimizer),
        "multiply_adds": multiply_adds(model, image_size),
        "multiply_adds_before": before.multiply_adds,
    }


def trained_parameters(model: Model) -> dict[str, int]:
    """Trained scalars by kind: ``norm`` are scales and shifts of normalisation layers, ``head`` the classifier's,
    ``own`` all others, whether they were added by a method or are pretrained weights."""
    norms = {id(p) for site in norm_sites(model.backbone) for p in site.module.parameters(recurse=False)}
    counts = {"own": 0, "norm": 0, "head": sum(p.numel() for p in model.head.parameters() if p.requires_grad)}
    for parameter in model.backbone.parameters():
        if parameter.requires_grad:
            counts["norm" if id(parameter) in norms else "own"] += parameter.numel()
    return counts


def storage_bytes(model: Model, before: Pretrained, moving: bool = False) -> int:
    """Bytes that one more task needs beside the pretrained file.

    The head; every tensor of the backbone that trains; frozen tensors that were added; buffers that were added or
    have other values than before. A frozen tensor counts as pretrained when it has the name and shape of one, or
    the shape of one whose name is gone because the layer was wrapped; its values are not looked at. ``moving`` counts
    the running statistics of batch norms whatever their values.
    """
    kept: list[Tensor] = list(model.head.parameters())
    frozen = []
    for path, parameter in model.backbone.named_parameters():
        if parameter.requires_grad:
            kept.append(parameter)
        elif before.parameters.get(path) != parameter.shape:
            frozen.append(parameter)
    present = {path for path, _ in model.backbone.named_parameters()}
    moved = Counter(shape for path, shape in before.parameters.items() if path not in present)
    for parameter in frozen:
        if moved[parameter.shape]:
            moved[parameter.shape] -= 1
        else:
            kept.append(parameter)
    norms = [module for module in model.backbone.modules() if moving and isinstance(module, _BatchNorm)]
    statistics = {id(buffer) for norm in norms for buffer in norm.buffers()}
    for path, buffer in model.backbone.named_buffers():
        old = before.buffers.get(path)
        if id(buffer) in statistics or old is None or not torch.equal(old, buffer.detach().cpu()):
            kept.append(buffer)
    return sum(tensor.numel() * tensor.element_size() for tensor in kept)


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of the tensors that an optimiser keeps from one step to the next; 0 before its first."""
    tensors = (value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def multiply_adds(model: Model, image_size: int) -> int:
    """Multiply-adds of one image through the backbone's ``Conv2d`` and ``Linear`` modules.

    A convolution has (outputs · inputs / groups · kernel area), a linear layer (outputs · inputs), each times the
    places of its output; biases, norms, activations, pooling, and what composes a weight are left out, as in the
    usual figures (ResNet-50 at 224 pixels: 4.087 · 10⁹ without its classifier). Modules that a method adds count
    as often as they run; a convolution whose weight is composed of several counts once.

    The network is run in evaluation mode without gradients and left as it was, random generators included.

    Args:
        model: on any device.
        image_size: side of the square images, in pixels.
    """
    counted = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal counted
        if isinstance(module, nn.Conv2d):
            height, width = module.kernel_size
            counted += output.numel() * (module.in_channels // module.groups) * height * width
        elif isinstance(module, nn.Linear):
            counted += output.numel() * module.in_features

    like = next(model.parameters())
    # Two images, because torch.compile would build kernels of their own for a batch of one.
    images = torch.zeros(2, 3, image_size, image_size, device=like.device, dtype=like.dtype)
    handles: list[RemovableHandle] = []
    with _evaluating(model), torch.no_grad():
        try:
            layers = [module for module in model.backbone.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
            handles += [layer.register_forward_hook(count) for layer in layers]
            model.backbone(images)
        finally:
            for handle in handles:
                handle.remove()
    return counted // len(images)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
