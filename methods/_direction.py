"""The direction that an optimiser is about to take, without taking it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def optimiser_direction(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> list[Tensor]:
    """u of every tensor of a group that has a gradient, where the next step is θ ← θ - lr · u.

    Weight decay and bias correction are in it; parameters, gradients and the optimiser's state stay as they
    are. Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2, with the schedule
    multiplying the decay as torch has it: u = m̂ / (√v̂ + ε) + λ θ. For Adam λ θ is part of the gradient, and so of m̂
    and v̂. For SGD with momentum μ, as in torch, with g = ∇L + λ θ: b ← μ b + g, and u = b, or g + μ b with
    Nesterov's form.

    Args:
        optimizer: AdamW, Adam without AMSGrad, or SGD without dampening.
        group: one of its ``param_groups``; gradients are unscaled and clipped.
    """
    params = [p for p in group["params"] if p.grad is not None]
    gradients = [p.grad for p in params]
    values = [p.detach() for p in params]
    states = [optimizer.state.get(p, {}) for p in params]
    decay = float(group["weight_decay"])
    if not params:
        return []
    if isinstance(optimizer, torch.optim.SGD):
        decayed = list(torch._foreach_add(gradients, values, alpha=decay))
        momentum = float(group["momentum"])
        buffers = [state.get("momentum_buffer") for state in states]
        moving = [u if b is None else torch.add(u, b, alpha=momentum) for u, b in zip(decayed, buffers, strict=True)]
        return list(torch._foreach_add(decayed, moving, alpha=momentum)) if group["nesterov"] else moving
    if not group["decoupled_weight_decay"]:
        return _adam_direction(group, list(torch._foreach_add(gradients, values, alpha=decay)), states)
    direction = _adam_direction(group, gradients, states)
    torch._foreach_add_(direction, values, alpha=decay)
    return direction


def _adam_direction(group: dict[str, Any], gradients: list[Tensor], states: list[dict[str, Any]]) -> list[Tensor]:
    beta1, beta2 = group["betas"]
    pairs = list(zip(gradients, states, strict=True))
    zero = gradients[0].new_zeros((), dtype=torch.float32)
    # One transfer for all: fused optimisers keep their step counts on the device.
    steps = (torch.stack([state.get("step", zero) for state in states]) + 1).tolist()
    first = [state.get("exp_avg", torch.zeros_like(gradient)) for gradient, state in pairs]
    second = [state.get("exp_avg_sq", torch.zeros_like(gradient)) for gradient, state in pairs]
    mean = torch._foreach_lerp(first, gradients, 1 - beta1)
    square = torch._foreach_mul(second, beta2)
    torch._foreach_addcmul_(square, gradients, gradients, 1 - beta2)
    torch._foreach_sqrt_(square)
    torch._foreach_div_(square, [(1 - beta2**step) ** 0.5 for step in steps])
    torch._foreach_add_(square, float(group["eps"]))
    direction = torch._foreach_div(mean, square)
    torch._foreach_div_(direction, [1 - beta1**step for step in steps])
    return list(direction)
