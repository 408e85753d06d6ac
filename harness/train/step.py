"""What a method's training step may use, and the optimiser behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn

from harness.core.seeds import derive_seed
from harness.method import ParamGroup
from harness.networks.backbones import Model
from harness.spec.train import TrainSpec
from harness.train.schedule import COSINE, Schedule

if TYPE_CHECKING:
    from harness.train.speed.compiled import CompiledNetwork


class TrainingBatches(Protocol):
    """What a method may see of the data beside the batch of its step; never validation or test images.

    Images are float, shape (batch, 3, size, size), normalised and not augmented, on the device; labels int64.
    """

    def draw(self, side: Literal["train", "meta"], size: int, number: int) -> tuple[Tensor, Tensor]:
        """Up to ``size`` images of a side, chosen by the trial's seed and ``number`` alone.

        Raises:
            KeyError: there is no such side.
        """

    def first(self, size: int) -> tuple[Tensor, Tensor]:
        """The first ``size`` training images."""

    def all(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every training image once, in batches of ``size``, always in the same order."""


@dataclass
class StepContext:
    """Model, loss, optimiser and precision of one trial.

    ``precision`` is the autocast dtype, or None for full float32.
    """

    model: Model
    optimizer: torch.optim.Optimizer
    criterion: nn.Module
    device: torch.device
    precision: torch.dtype | None
    scaler: torch.amp.GradScaler | None
    clip_norm: float | None
    batches: TrainingBatches
    steps_per_epoch: int
    total_steps: int
    features: Callable[[], tuple[Tensor, Tensor]] | None = None
    """Features, float32 (n, d), and labels of all training images, in the order of ``batches.all``, where they are
    computed once for all trials; steps are then given features in the place of images."""
    step: int = 0
    """The running step, from 0."""
    schedule: Schedule = COSINE
    """Of the learning rate, as the sweep file has it; the loop has set the running step's rates by it."""
    compiled: CompiledNetwork | None = None
    """What computes the model's logits in a training step, where that is compiled."""

    def meta_batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Up to ``size`` images of the meta side, normalised and not augmented, and their labels, for this step.

        Raises:
            KeyError: ``Method.meta_fraction`` is 0, so there is no meta side.
        """
        return self.batches.draw("meta", size, self.step)

    def fixed_batch(self, size: int) -> tuple[Tensor, Tensor]:
        """The first ``size`` training images, the same at every step, normalised and not augmented, with labels."""
        return self.batches.first(size)

    def extra_batch(self, size: int, number: int) -> tuple[Tensor, Tensor]:
        """Up to ``size`` training images beside the step's own, as ``meta_batch``; each number >= 0 is a new draw."""
        return self.batches.draw("train", size, (number + 1) * self.total_steps + self.step)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (batch, classes) in the trial's precision, of images (batch, 3, size, size) or features (batch, d)."""
        compiled = self.compiled
        network: Callable[[Tensor], Tensor] = self.model.head if inputs.ndim == 2 else self.model
        # A context may have been made anew around another network.
        if compiled is not None and network is compiled.model and network.training and torch.is_grad_enabled():
            network = compiled
        with torch.autocast(self.device.type, self.precision, enabled=self.precision is not None):
            return network(inputs)

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Mean training loss of a batch, as ``forward`` takes it, computed in float32."""
        value: Tensor = self.criterion(self.forward(inputs).float(), labels)
        return value

    def backward_and_step(self, loss: Tensor) -> None:
        """Back-propagate, clip, step, and clear the gradients."""
        if self.scaler is None:
            loss.backward()  # type: ignore[no-untyped-call]
            self._clip()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self.scaler.unscale_(self.optimizer)
            self._clip()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def _clip(self) -> None:
        if self.clip_norm is not None:
            params = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(params, self.clip_norm)


def build_optimizer(
    kind: str,
    groups: list[ParamGroup],
    capturable: bool = False,
    momentum: float = 0.9,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """AdamW, Adam with L2 decay, or SGD; each group keeps its peak learning rate under ``peak_lr``.

    Args:
        kind: ``adamw``, ``adam`` or ``sgd``.
        groups: what trains.
        capturable: the steps of Adam and AdamW may be recorded in a CUDA graph; their learning rates are tensors then.
        momentum: of SGD, in [0, 1).
        nesterov: whether SGD's momentum has Nesterov's form.

    Raises:
        KeyError: there is no such kind.
        ValueError: a tensor is in two groups, one in a group does not train, or there is none.
    """
    tensors = [id(p) for group in groups for p in group.params]
    if len(set(tensors)) != len(tensors):
        raise ValueError("a tensor stands in two optimiser groups")
    if any(not p.requires_grad for group in groups for p in group.params):
        raise ValueError("an optimiser group holds a tensor that does not train")
    settings = [
        {
            "params": group.params,
            "lr": group.lr,
            "peak_lr": group.lr,
            "weight_decay": group.weight_decay,
            "name": group.name,
            **group.options,
        }
        for group in groups
        if group.params
    ]
    if not settings:
        raise ValueError("nothing trains, not even the head: the method's groups hold no tensor")
    # One pass over all tensors: on a CPU a step of a ResNet-18 takes a fifth of the time of torch's default.
    if kind == "sgd":
        optimizer: torch.optim.Optimizer = _SGD(settings, lr=0.0, momentum=momentum, nesterov=nesterov, fused=True)
    else:
        if capturable:
            for group, parts in zip(settings, (group for group in groups if group.params), strict=True):
                group["lr"] = torch.tensor(parts.lr, device=parts.params[0].device)
        optimizer = _ADAMS[kind](settings, lr=0.0, fused=True, capturable=capturable)
    optimizer.register_step_pre_hook(_lay_out_alike)
    return optimizer


_OF_THE_PROCESS = ("capturable", "fused", "foreach", "differentiable")
"""Settings of a group that say how this process computes a step; a state from elsewhere does not change them."""


class _Resumable(torch.optim.Optimizer):
    """An optimiser that resumes from a state of any device and mode.

    After a load every tensor of a group, and of what is kept for its parameters, is on the parameters' device. A
    setting that this optimiser keeps in a tensor (a learning rate that a CUDA graph reads) stays that very tensor, with
    the state's value: torch would put the state's own tensor in its place, and a graph recorded with that one, on the
    CPU, holds its value as a constant.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = [{key: value for key, value in group.items() if key != "params"} for group in self.param_groups]
        stored = [dict(group) for group in state_dict["param_groups"]]
        # Beforehand, because torch goes by these where it puts the number of steps.
        for group, before in zip(stored, own, strict=False):
            group.update({key: before[key] for key in _OF_THE_PROCESS if key in before})
        super().load_state_dict({**state_dict, "param_groups": stored})
        for group, before in zip(self.param_groups, own, strict=True):
            device = group["params"][0].device
            for key, value in group.items():
                if key != "params":
                    group[key] = _placed(value, before.get(key), device)


def _placed(value: Any, own: Any, device: torch.device) -> Any:
    """A loaded setting in the form that the optimiser's own had before, with all tensors on a device."""
    if isinstance(own, Tensor):
        # In place: a recorded step reads this very tensor.
        return own.copy_(value) if isinstance(value, Tensor) else own.fill_(value)
    if isinstance(value, Tensor):
        return value.item() if isinstance(own, int | float) else value.to(device)
    if isinstance(value, list | tuple):
        parts = own if isinstance(own, list | tuple) and len(own) == len(value) else [None] * len(value)
        return type(value)(_placed(entry, part, device) for entry, part in zip(value, parts, strict=True))
    return value


class _SGD(_Resumable, torch.optim.SGD):
    """torch's own."""


class _Adam(_Resumable, torch.optim.Adam):
    """torch's own on tensors as they lie in memory: its fused step on a CPU copies gradients with channels last."""

    def _init_group(self, group: dict[str, Any], *lists: list[Any]) -> Any:
        found = super()._init_group(group, *lists)  # type: ignore[no-untyped-call]
        for tensors in lists:
            tensors[:] = [_flat(tensor) for tensor in tensors]
        return found


class _AdamW(_Adam, torch.optim.AdamW):
    """Likewise, with decoupled decay."""


_ADAMS: dict[str, type[torch.optim.Adam]] = {"adam": _Adam, "adamw": _AdamW}
CAPTURABLE = frozenset(_ADAMS)
"""Kinds whose steps a CUDA graph can hold."""


def _flat(tensor: Tensor) -> Tensor:
    """All elements in the order of the memory, where they lie without gaps on a CPU; else the tensor itself."""
    if tensor.is_cuda or tensor.is_contiguous():
        return tensor
    lying = tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))
    return lying.view(-1) if lying.is_contiguous() else tensor


def _lay_out_alike(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Lay gradients and moments out in memory as their parameters are.

    Fused steps pair elements by where they lie, and say nothing where that pairs the wrong ones: a gradient that a
    method has set, or moments of a checkpoint from a device where parameters lie otherwise.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.grad = _like(parameter, parameter.grad)
            state = optimizer.state.get(parameter, {})
            for name, moment in state.items():
                if isinstance(moment, Tensor) and moment.shape == parameter.shape:
                    state[name] = _like(parameter, moment)


def _like(parameter: Tensor, values: Tensor) -> Tensor:
    """The values themselves where they lie as the parameter does, else a copy that does."""
    strides = zip(parameter.stride(), values.stride(), parameter.shape, strict=True)
    # Over an axis of one element nobody walks.
    if all(own == other for own, other, length in strides if length > 1):
        return values
    return torch.empty_like(parameter, dtype=values.dtype, requires_grad=False).copy_(values)


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group to its peak times ``factor``."""
    for group in optimizer.param_groups:
        rate = group["peak_lr"] * factor
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def seed_step(seed: int, number: int, device: torch.device) -> None:
    """Seed what a step draws from torch's global generators, by the trial's seed and the step's number alone."""
    value = derive_seed("step", seed, number)
    if device.type == "cpu":
        # torch.manual_seed would note for every GPU where it was called from, which takes longer than a step of a head.
        torch.default_generator.manual_seed(value)
    else:
        torch.manual_seed(value)


def autocast_dtype(train: TrainSpec, device: torch.device) -> torch.dtype | None:
    """The autocast dtype for a device; ``auto`` means bfloat16 on GPUs that compute in it, else float32."""
    if train.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and _computes_in_bfloat16(device) else None
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[train.precision]


def _computes_in_bfloat16(device: torch.device) -> bool:
    """Whether a GPU has bfloat16 itself: torch emulates it on older ones (V100, T4), slower than float32."""
    with torch.cuda.device(device):  # torch asks the current one
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
