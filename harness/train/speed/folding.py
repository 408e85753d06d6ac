"""Frozen batch norms within the convolutions that they follow: the same function to rounding, one pass fewer over each
activation and its gradient.

    gamma (W x + b - mean) / sqrt(var + eps) + beta  =  (s W) x + (s (b - mean) + beta),   s = gamma / sqrt(var + eps)

Modules, parameters, buffers and their names stay as they are: only what two modules compute is exchanged, until it is
undone.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import torch
from torch import Tensor, nn

from harness.networks.backbones import Model

TOLERANCE = 1e-2
"""Of the largest feature: a wrong pair changes features beyond recognition, and TF32 rounds to three places."""


class FoldedNorms:
    """What was folded in a model, to be undone.

    A pair is folded where a convolution that does not train hands its output to one batch norm that neither trains nor
    moves, each is called once and with its own tensors, and nothing is hooked to them. It is found by a pass of made-up
    images; a second one must give the same features, or nothing stays folded. The features alone would not tell of a
    call with another tensor (``torch.func.functional_call``): what a method adds is nothing before its first step.

    Args:
        model: in evaluation mode; its batch norms are to stay in it.
        images: float, (n, 3, size, size), on the model's device and in its memory format.
    """

    def __init__(self, model: Model, images: Tensor) -> None:
        self._folded: list[nn.Module] = []
        if not any(_is_plain(module, nn.BatchNorm2d) for module in model.backbone.modules()):
            return
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            pairs, expected = _pairs(model.backbone, images)
            self._folded = [module for pair in pairs for module in pair]
            for conv, norm in pairs:
                weight, bias = folded(conv, norm)
                # As attributes, a compiler takes them for inputs; as arguments it would keep those of every trial.
                vars(conv).update(forward=partial(_convolve, conv), folded_weight=weight, folded_bias=bias)
                vars(norm)["forward"] = _unchanged
            if pairs and (model.backbone(images) - expected).abs().max() > TOLERANCE * expected.abs().max():
                self.undo()

    @property
    def count(self) -> int:
        """Number of folded batch norms."""
        return len(self._folded) // 2

    def undo(self) -> None:
        """Let every module compute its own part again."""
        for module in self._folded:
            for name in ("forward", "folded_weight", "folded_bias"):
                vars(module).pop(name, None)
        self._folded = []


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that equals both modules in evaluation mode."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = (0 if conv.bias is None else conv.bias.double()) - norm.running_mean.double()
    bias = shift * scale + (norm.bias.double() if norm.affine else 0)
    weight = conv.weight.double() * scale.view(-1, 1, 1, 1)
    return weight.to(conv.weight.dtype), bias.to(conv.weight.dtype)


def _pairs(backbone: nn.Module, images: Tensor) -> tuple[list[tuple[nn.Conv2d, nn.BatchNorm2d]], Tensor]:
    """Convolutions with the batch norm behind them, and the features of the images."""
    outputs: list[tuple[nn.Conv2d, Tensor]] = []
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    calls: Counter[nn.Module] = Counter()
    own = {module: _tensors(module) for module in backbone.modules()}
    lent: set[nn.Module] = set()

    def called(module: nn.Module) -> None:
        calls[module] += 1
        if _tensors(module) != own[module]:
            lent.add(module)

    def after_conv(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        called(module)
        outputs.append((module, output))

    def before_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        called(module)
        pairs.extend((conv, module) for conv, output in outputs if output is inputs[0])

    handles = []
    for module in backbone.modules():
        if _is_plain(module, nn.Conv2d):
            handles.append(module.register_forward_hook(after_conv))
        elif _is_plain(module, nn.BatchNorm2d) and module.track_running_stats:
            handles.append(module.register_forward_pre_hook(before_norm))
    try:
        features: Tensor = backbone(images)
    finally:
        for handle in handles:
            handle.remove()
    taken = Counter(conv for conv, _ in pairs)
    found = [(c, n) for c, n in pairs if calls[c] == calls[n] == taken[c] == 1 and lent.isdisjoint((c, n))]
    return found, features


def _tensors(module: nn.Module) -> list[int]:
    """Which tensors a module computes with at the moment, by their identity."""
    return [id(tensor) for tensor in (*module._parameters.values(), *module._buffers.values())]


def _is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether it is of that very class, frozen, and does what its class says."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    trains = any(parameter.requires_grad for parameter in module.parameters())
    return type(module) is kind and not trains and not any(hooks) and "forward" not in vars(module)


def _convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    own = vars(conv)
    value: Tensor = conv._conv_forward(x, own["folded_weight"], own["folded_bias"])
    return value


def _unchanged(x: Tensor) -> Tensor:
    return x
