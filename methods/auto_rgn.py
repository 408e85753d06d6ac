"""Auto-RGN: fine-tuning in which each tensor's learning rate follows its relative gradient norm."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from harness.api import Fixed, Float, Hyperparameters, Method, Model, ParamGroup, Space, norm_sites, trainable

if TYPE_CHECKING:
    from harness.api import StepContext

_BATCHES = 5


class AutoRgn(Method):
    """Fine-tune everything but the norms; tensors with larger relative gradients learn faster.

    Source: Lee et al. 2023, "Surgical fine-tuning improves adaptation to distribution shifts", arXiv 2210.11466, and
    the authors' code. At the start of each epoch, for every tensor t with gradients g over 5 training batches,

        RGN_t = mean over batches of ||g_t|| / ||θ_t||,   lr_t = ``lr`` · RGN_t / max over t of RGN_t.

    As in the authors' code, gamma and beta of norms do not train: they may start at 0, where RGN has no meaning. A
    tensor of zeros (a fresh bias) learns at ``lr``. The head takes part like any tensor. The 5 batches are drawn
    beside those of the epoch, are not augmented, and move no running statistics. Unlike the authors' code, which
    makes a new optimiser each epoch, moments are kept; and the trial's schedule multiplies all rates. Batch norms
    use batch statistics.

    Trains: every parameter of the backbone but the norms' (23,454,912 for ResNet-50) and the head.
    """

    name = "auto_rgn"
    batch_norm = "train"
    space: ClassVar[Space] = {
        "lr": Float(1e-3, 1e-5, 1e-1, log=True),
        "weight_decay": Fixed(1e-4),
        "optimizer": Fixed("adamw", allowed=("adamw", "sgd")),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Let everything train but the norms."""
        model.backbone.requires_grad_(True)
        for site in norm_sites(model.backbone):
            site.module.requires_grad_(False)

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """One group a tensor; ``base_lr`` keeps the rate that RGN divides."""
        lr, decay = float(hp["lr"]), float(hp["weight_decay"])
        return [ParamGroup(name, [p], lr, decay, {"base_lr": lr}) for name, p in trainable(model)]

    def training_step(self, context: StepContext, images: Tensor, labels: Tensor) -> Tensor:
        """One step; at the start of an epoch, new rates first."""
        if context.step % context.steps_per_epoch == 0:
            _set_rates(context, len(images))
        return super().training_step(context, images, labels)

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """All scalars of the backbone but gamma and beta."""
        norms = {id(p) for site in norm_sites(model.backbone) for p in site.module.parameters()}
        return sum(p.numel() for p in model.backbone.parameters() if id(p) not in norms)


def _set_rates(context: StepContext, size: int) -> None:
    groups = context.optimizer.param_groups
    # Where the schedule stands is known from a group whose rate is not 0; there is one, the last epoch's largest.
    factor = next(group["lr"] / group["peak_lr"] for group in groups if group["peak_lr"] > 0)
    for group, share in zip(groups, _shares(context, size), strict=True):
        group["peak_lr"] = group["base_lr"] * share
        group["lr"] = group["peak_lr"] * factor


def _shares(context: StepContext, size: int) -> list[float]:
    """RGN of each optimiser group's tensor as a share of the largest; 1 for a tensor of zeros."""
    params: list[nn.Parameter] = [group["params"][0] for group in context.optimizer.param_groups]
    norms = torch.stack(torch._foreach_norm([p.detach() for p in params])).double()
    total = torch.zeros_like(norms)
    # Gradients of half precision may need the scale of the loss; the shares do not depend on it.
    scale = 1.0 if context.scaler is None else float(context.scaler.get_scale())
    for number in range(_BATCHES):
        # The network is evaluated with copies of its buffers, so that no running statistics move.
        buffers = {name: buffer.clone() for name, buffer in context.model.named_buffers()}
        model = cast(Model, partial(functional_call, context.model, buffers))
        loss = replace(context, model=model).loss(*context.extra_batch(size, number)) * scale
        gradients = torch.autograd.grad(loss, params)
        total += torch.stack(torch._foreach_norm(gradients)).double()
    rgn = total / norms
    known = torch.isfinite(rgn)
    largest = float(rgn[known].max()) if known.any() else 0.0
    if largest <= 0:
        return [1.0] * len(params)
    return torch.where(known, rgn / largest, 1.0).tolist()
