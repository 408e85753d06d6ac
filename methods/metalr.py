"""MetaLR: a learning rate for each block, learned by a look-ahead on held-out training images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor
from torch.func import functional_call

from harness.api import Fixed, Float, Hyperparameters, Method, Model, ParamGroup, Space

from ._blocks import blocks
from ._direction import optimiser_direction

if TYPE_CHECKING:
    from harness.api import StepContext

_OFFICIAL_LOWEST = 1e-6


class MetaLR(Method):
    """Full fine-tuning in which every block has its own learning rate, adapted as training goes.

    Source: Chen et al. 2023, "MetaLR: Meta-tuning of Learning Rates for Transfer Learning in Medical Imaging",
    arXiv 2206.01408, and the authors' code. With α_j the rate of group j, f the schedule's factor, B a training
    batch and V a meta batch, which is held out from the training images and never part of validation or test:

        look-ahead:    θ̂_j = θ_j - f α_j u_j
        slope:         h_j = dL_V(θ̂)/dα_j = -f <∇_j L_V(θ̂), u_j>     (exact: u does not depend on α)
        rate:          α_j ← α_j exp(-η s_j), in [``lowest``, ``highest``]
        step:          θ_j ← θ_j - f α_j u_j with the new α_j, by the optimiser itself

    - ``inner``: u is the direction that the optimiser will take (``opt``, weight decay included), or the plain
      gradient of L_B (``sgd``), as in the paper.
    - ``slope``: s is h as it is (``raw``), as in the paper, or h divided by f ‖∇_j L_V‖ ‖u_j‖ (``cosine``, in
      [-1, 1]). A raw slope grows with the number of scalars in a group, most of all along an Adam direction,
      and then one step carries a rate from one bound to the other.
    - ``update``: ``log`` as above, ``multiplicative`` α (1 - η s) as the authors' code has it, ``additive``
      α - η s as the paper writes it.
    - ``granularity``: a group is the stem, a residual block with its shortcut, or the head (``block``: 18 groups
      for ResNet-50), or a single tensor (``tensor``: 161).
    - ``interval``: steps from one update of the rates to the next. ``head_pinned``: share of the steps, from
      the first, in which the head's rate stays as it is.
    - ``variant`` ``official`` reproduces what the released code does in place of the paper's equations: the
      look-ahead climbs (θ + f α g), so that rates fall where training and meta gradients agree; the update is
      ``multiplicative`` with the raw slope, not below 1e-6; and the meta batch is the first images of the
      training side, the same at every step. ``inner``, ``slope``, ``update``, ``lowest`` and
      ``meta_fraction`` then say nothing. The code's optimiser is Adam with L2 decay; here it is AdamW or SGD, or
      Adam where the sweep says ``train.optimizer: adam``.

    The meta pass normalises by the meta batch's own statistics and moves no running statistics. A step with an
    update of the rates costs two forward and two backward passes.

    Trains: every parameter of the backbone (23,508,032 for ResNet-50) and the head; it saves none.
    """

    name = "metalr"
    batch_norm = "train"
    space: ClassVar[Space] = {
        "lr": Float(1e-4, 1e-5, 1e-3, log=True),
        "head_lr_ratio": Fixed(10.0),
        "eta": Float(0.1, 1e-3, 1.0, log=True, within="[0, 1e3]"),
        "weight_decay": Fixed(1e-4),
        "optimizer": Fixed("adamw", allowed=("adamw", "sgd")),
        "variant": Fixed("paper", allowed=("paper", "official")),
        "inner": Fixed("opt", allowed=("opt", "sgd")),
        "slope": Fixed("cosine", allowed=("cosine", "raw")),
        "update": Fixed("log", allowed=("log", "multiplicative", "additive")),
        "granularity": Fixed("block", allowed=("block", "tensor")),
        "interval": Fixed(1, within="[1, 1e6]"),
        "head_pinned": Fixed(0.15, within="[0, 1]"),
        "lowest": Fixed(1e-7, within="(0, 10]"),
        "highest": Fixed(1e-2, within="(0, 10]"),
        "meta_batch": Fixed(32, within="[1, 65536]"),
        "meta_fraction": Fixed(0.1, within="(0, 1)"),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Let every tensor of the backbone train.

        Raises:
            ValueError: a hyperparameter is out of its range.
        """
        _check(hp)
        self.hp = dict(hp)
        if hp["variant"] == "official":
            self.hp |= {"inner": "sgd", "slope": "raw", "update": "multiplicative", "lowest": _OFFICIAL_LOWEST}
        model.backbone.requires_grad_(True)

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """One group a block or tensor, in the network's order: at ``lr``, the head's at ``head_lr_ratio`` times that.

        The optimiser keeps each group's rate α under ``peak_lr``, where the schedule and the checkpoint find it.
        """
        lr, decay = float(hp["lr"]), float(hp["weight_decay"])
        head_lr = lr * float(hp["head_lr_ratio"])
        if hp["granularity"] == "tensor":
            parts = [(name, [p]) for name, p in model.backbone.named_parameters()]
            head = [(f"head.{name}", [p]) for name, p in model.head.named_parameters()]
        else:
            parts = list(blocks(model.backbone))
            head = [("head", list(model.head.parameters()))]
        groups = [ParamGroup(name, params, lr, decay) for name, params in parts]
        return [*groups, *(ParamGroup(name, params, head_lr, decay) for name, params in head)]

    def meta_fraction(self, hp: Hyperparameters) -> float:
        """``meta_fraction``; nothing is held out for the official variant."""
        return 0.0 if hp["variant"] == "official" else float(hp["meta_fraction"])

    def training_step(self, context: StepContext, images: Tensor, labels: Tensor) -> Tensor:
        """Gradients of the batch, new rates, and the optimiser's step with them; returns the detached loss."""
        loss = context.loss(images, labels)
        if context.step % int(self.hp["interval"]):
            context.backward_and_step(loss)
            return loss.detach()
        # Right before the optimiser's step the gradients are unscaled and clipped: what it will use, and so do we.
        hook = context.optimizer.register_step_pre_hook(lambda *_: self._update_rates(context))
        try:
            context.backward_and_step(loss)
        finally:
            hook.remove()
        return loss.detach()

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """All scalars of the backbone."""
        return sum(parameter.numel() for parameter in model.backbone.parameters())

    def _update_rates(self, context: StepContext) -> None:
        groups = context.optimizer.param_groups
        head = {id(parameter) for parameter in context.model.head.parameters()}
        pinned = context.step < float(self.hp["head_pinned"]) * context.total_steps
        for group, slope in zip(groups, self._slopes(context), strict=True):
            # Half precision can overflow in a batch; the loss scaler then skips the step, and so do the rates.
            if not math.isfinite(slope) or (pinned and id(group["params"][0]) in head):
                continue
            old = float(group["peak_lr"])
            group["peak_lr"] = self._moved(old, slope)
            # Not peak_lr times a recovered factor: an unchanged rate must leave lr as it is to the last bit.
            group["lr"] *= group["peak_lr"] / old

    def _moved(self, rate: float, slope: float) -> float:
        """The new rate of a group, within its bounds."""
        change = -float(self.hp["eta"]) * slope
        if self.hp["update"] == "additive":
            rate += change
        elif self.hp["update"] == "multiplicative":
            rate *= 1 + change
        else:
            # The bounds are closer than exp(±100) to each other, and math.exp of a large number is an error.
            rate *= math.exp(min(max(change, -100.0), 100.0))
        return min(max(rate, float(self.hp["lowest"])), float(self.hp["highest"]))

    def _slopes(self, context: StepContext) -> list[float]:
        """The slope of each optimiser group; the gradients of the training batch are in ``.grad``."""
        model, groups = context.model, context.optimizer.param_groups
        official = self.hp["variant"] == "official"
        sign = 1.0 if official else -1.0
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        ahead: dict[str, Tensor] = {}
        directions = [self._direction(context.optimizer, group) for group in groups]
        for group, direction in zip(groups, directions, strict=True):
            params = [p for p in group["params"] if p.grad is not None]
            moved = torch._foreach_add([p.detach() for p in params], direction, alpha=sign * group["lr"])
            ahead |= {names[id(p)]: value.requires_grad_() for p, value in zip(params, moved, strict=True)}

        # The network is evaluated at copies, its buffers included, so there is nothing to put back.
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        moved_model = cast(Model, partial(functional_call, model, {**ahead, **buffers}))
        size = int(self.hp["meta_batch"])
        images, labels = context.fixed_batch(size) if official else context.meta_batch(size)
        scale = 1.0 if context.scaler is None else float(context.scaler.get_scale())
        loss = replace(context, model=moved_model).loss(images, labels) * scale
        gradients = iter(torch.autograd.grad(loss, list(ahead.values())))
        sums = torch.stack([_sums(direction, gradients).to(context.device) for direction in directions]).tolist()
        if self.hp["slope"] == "cosine":
            return [sign * dot / math.sqrt(norms) if norms else 0.0 for dot, norms in sums]
        factors = [group["lr"] / group["peak_lr"] for group in groups]
        return [sign * factor * dot / scale for factor, (dot, _) in zip(factors, sums, strict=True)]

    def _direction(self, optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> list[Tensor]:
        if self.hp["inner"] == "opt":
            return optimiser_direction(optimizer, group)
        return [p.grad for p in group["params"] if p.grad is not None]


def _sums(direction: list[Tensor], gradients: Iterator[Tensor]) -> Tensor:
    """Inner product of a group's direction with its gradients, and the product of their squared norms, float64."""
    own = list(islice(gradients, len(direction)))
    if not own:
        return torch.zeros(2, dtype=torch.float64)
    dots = torch.stack([product.sum() for product in torch._foreach_mul(direction, own)])
    norms = [torch.stack(torch._foreach_norm(tensors)).double().square().sum() for tensors in (direction, own)]
    return torch.stack([dots.double().sum(), norms[0] * norms[1]])


def _check(hp: Hyperparameters) -> None:
    lowest, highest = float(hp["lowest"]), float(hp["highest"])
    lr, head_lr = float(hp["lr"]), float(hp["lr"]) * float(hp["head_lr_ratio"])
    ranges = {
        "eta": (float(hp["eta"]) >= 0, "must not be negative"),
        "interval": (int(hp["interval"]) >= 1, "must be at least 1"),
        "meta_batch": (int(hp["meta_batch"]) >= 1, "must be at least 1"),
        "meta_fraction": (0 < float(hp["meta_fraction"]) < 1, "must be between 0 and 1"),
        "lowest": (lowest > 0, "must be above 0"),
        "lr": (lowest <= min(lr, head_lr), f"puts a rate below lowest={lowest:g}"),
        "highest": (max(lr, head_lr) <= highest, f"is below a rate that training starts from, {max(lr, head_lr):g}"),
    }
    for name, (fits, complaint) in ranges.items():
        if not fits:
            raise ValueError(f"metalr: {name}={hp[name]:g} {complaint}")
