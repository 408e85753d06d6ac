"""What every method promises, checked on a real network; for the methods here and for a user's own.

::

    from harness.proof.conformance import violations

    def test_my_method():
        assert violations(MyMethod) == []
"""

from __future__ import annotations

import copy
import functools
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.core.errors import RequestError, one_line
from harness.core.seeds import derive_seed
from harness.method import Hyperparameters, Method, ParamGroup
from harness.networks.backbones import Model, build_model, set_training_mode
from harness.networks.sites import norm_sites
from harness.space.parameters import Value, defaults
from harness.train.checkpoint import changing_tensors, restore, snapshot
from harness.train.step import StepContext, build_optimizer

STEPS = 3
"""A factor that starts at zero holds back its partner's gradient for one step, a chain of two for two."""

MERGE_TOLERANCE = 1e-5
"""Largest change of a logit by ``merge``, relative to the largest logit where that is above 1.

Where single precision alone moves logits further, four times as much as that: what is added by operations of its own is
rounded otherwise than what is added to a kernel, and some networks of random weights make much of it."""

_CLASSES = 4


class CannotActError(ValueError):
    """A method refuses a network or this machine, for the reason that its ``adapt`` gave, in one line."""


def random_network(name: str = "resnet20", size: int = 32) -> Model:
    """A network with fixed random weights whose norms are as busy as a pretrained network's.

    Fresh norms are nearly the identity, which would hide a method that loses or moves their values, and fresh
    scales of branches (ConvNeXt's are 10⁻⁶) nearly nothing, which would hide whatever happens in the branch.

    Args:
        name: as for ``build_model``.
        size: side of the square images that settle the running statistics, in pixels.
    """
    return copy.deepcopy(_random_network(name, size))


@functools.lru_cache(maxsize=2)
def _random_network(name: str, size: int) -> Model:
    model, _ = build_model(name, None, _CLASSES, seed=0)
    generator = torch.Generator().manual_seed(derive_seed("conformance", name))
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    with torch.no_grad():
        for norm in norms:
            norm.weight.copy_(0.5 + torch.rand(norm.weight.shape, generator=generator))
            norm.bias.copy_(0.3 * torch.randn(norm.bias.shape, generator=generator))
            norm.momentum = 1.0
        _make_busy(model, generator)
        model.train()(torch.randn(8, 3, size, size, generator=generator))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


def _make_busy(model: Model, generator: torch.Generator) -> None:
    """Give scales and shifts other than a batch norm's values of their own."""
    others = [site.module for site in norm_sites(model.backbone) if not isinstance(site.module, _BatchNorm)]
    for norm in others:
        for name, parameter in norm.named_parameters(recurse=False):
            drawn = torch.rand(parameter.shape, generator=generator)
            parameter.copy_(0.5 + drawn if name == "weight" else 0.6 * (drawn - 0.5))
    for parameter in model.backbone.parameters():
        small = parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all())
        if small and 0 < parameter.flatten()[0].abs() < 0.1:
            parameter.copy_(0.2 + 0.2 * torch.rand(parameter.shape, generator=generator))


def violations(
    method: type[Method],
    build: Callable[[], Model] = random_network,
    hp: Mapping[str, Value] | None = None,
    size: int = 32,
    briefly: bool = False,
) -> list[str]:
    """Adapt a network, train it for a few steps, merge it, resume it; say which promises were broken.

    Weight decay is switched off, so that what changes has changed by its gradient. torch's global generator
    is reseeded.

    Args:
        method: the class under test.
        build: makes the network, the same one at every call, in evaluation mode.
        hp: hyperparameters that differ from the method's defaults.
        size: side of the square images, in pixels.
        briefly: leave out what depends on the method alone, resuming and a ``merge`` that does nothing, and take half
            the images.

    Returns:
        One sentence a broken promise; empty when all are kept.

    Raises:
        CannotActError: ``adapt`` refuses the network.
    """
    values = {**defaults(method.space), **(hp or {})}
    if "weight_decay" in values:
        values["weight_decay"] = 0.0
    generator = torch.Generator().manual_seed(derive_seed("conformance"))
    count = _CLASSES if briefly else 2 * _CLASSES
    images = torch.randn(count, 3, size, size, generator=generator)
    labels = torch.arange(count) % _CLASSES

    found = [] if method.__doc__ else ["the class has no docstring (source, equations, what trains)"]
    run = _Run(method, build, values)
    found += _at_start(run, build(), images)
    faults = list(_grouping(run.model, run.method.param_groups(run.model, values)))
    if faults:
        return found + faults
    before = _all_tensors(run.model)
    run.start(images, labels)
    for _ in range(STEPS):
        run.step(images, labels)
    found += _after_training(run, before)
    if not briefly or method.merge is not Method.merge:
        found += _after_merge(run, images)
    if not briefly:
        found += _after_resume(run, _Run(method, build, values), images, labels)
    return found


class OneBatch:
    """Training batches (``harness.train.step.TrainingBatches``) that hold the same few images on every side."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self._images, self._labels = images, labels

    def draw(self, side: str, size: int, number: int) -> tuple[Tensor, Tensor]:
        """The first ones, whatever is asked for."""
        return self.first(size)

    def first(self, size: int) -> tuple[Tensor, Tensor]:
        """The first ``size`` images and labels."""
        return self._images[:size], self._labels[:size]

    def all(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All of them, in batches of ``size``."""
        return zip(torch.split(self._images, size), torch.split(self._labels, size), strict=True)


class _Run:
    """One method at work on one network, as the training loop would have it."""

    def __init__(self, method: type[Method], build: Callable[[], Model], hp: Hyperparameters) -> None:
        self.method, self.model, self.hp = method(), build(), hp
        torch.manual_seed(derive_seed("conformance", "adapt"))
        try:
            self.method.adapt(self.model, hp)
        except (ValueError, RequestError) as error:
            raise CannotActError(one_line(str(error))) from error
        self.steps = 0

    def start(self, images: Tensor, labels: Tensor) -> None:
        device = torch.device("cpu")
        groups = self.method.param_groups(self.model, self.hp)
        self.context = StepContext(
            model=self.model,
            optimizer=build_optimizer(str(self.hp.get("optimizer", "adamw")), groups),
            criterion=nn.CrossEntropyLoss(),
            device=device,
            precision=None,
            scaler=None,
            clip_norm=None,
            batches=OneBatch(images.flip(0), labels.flip(0)),
            steps_per_epoch=STEPS,
            total_steps=2 * STEPS,
        )

    def step(self, images: Tensor, labels: Tensor) -> None:
        set_training_mode(self.model, self.method.batch_norm)
        torch.manual_seed(derive_seed("conformance", "step", self.steps))
        self.context.step = self.steps
        self.method.training_step(self.context, images, labels)
        self.steps += 1


def _at_start(run: _Run, untouched: Model, images: Tensor) -> Iterator[str]:
    model = run.model
    if not _equal(untouched.head.state_dict(), model.head.state_dict()):
        yield "adapt changed the head, which starts equal for all methods"
    if run.method.preserves_function and not torch.equal(_logits(untouched, images), _logits(model, images)):
        yield "preserves_function is set, but adapt changed the logits"
    promised = run.method.expected_trainable(untouched, run.hp)
    trained = sum(p.numel() for p in model.backbone.parameters() if p.requires_grad)
    if promised is not None and promised != trained:
        yield f"expected_trainable promises {promised} scalars, {trained} train"


def _grouping(model: Model, groups: list[ParamGroup]) -> Iterator[str]:
    places = [id(p) for group in groups for p in group.params]
    known = {id(p): name for name, p in model.named_parameters()}
    for name, parameter in model.named_parameters():
        count = places.count(id(parameter))
        if count != parameter.requires_grad:
            kind = "trains" if parameter.requires_grad else "is frozen"
            yield f"{name} {kind} but stands in {count} optimiser groups"
    if any(place not in known for place in places):
        yield "an optimiser group holds a tensor that is not the model's"


def _after_training(run: _Run, before: Mapping[str, Tensor]) -> Iterator[str]:
    after = _all_tensors(run.model)
    if before.keys() != after.keys():
        yield f"training added or removed {sorted(before.keys() ^ after.keys())[0]}"
    trained = {name for name, p in run.model.named_parameters() if p.requires_grad}
    moving = set[str]()
    if run.method.batch_norm == "train":
        norms = [(name, m) for name, m in run.model.named_modules() if isinstance(m, _BatchNorm)]
        moving = {f"{name}.{buffer}" for name, norm in norms for buffer, _ in norm.named_buffers()}
    for name in before.keys() & after.keys():
        same = torch.equal(before[name], after[name])
        if name in trained and same:
            yield f"{name} is to train, but {STEPS} steps left it as it was"
        if name not in trained | moving and not same:
            yield f"{name} is to stay as it is, but training changed it"


def _after_merge(run: _Run, images: Tensor) -> Iterator[str]:
    expected = _logits(run.model, images)
    merged = copy.deepcopy(run.model)
    run.method.merge(merged)
    change = (_logits(merged, images) - expected).abs().max().item()
    limit = MERGE_TOLERANCE * max(1.0, expected.abs().max().item())
    if not change <= limit:
        exact = _logits(copy.deepcopy(run.model).double(), images.double())
        limit = max(limit, 4 * (exact - expected).abs().max().item())
    if not change <= limit:
        yield f"merge changed a logit by {change:.2g}"
    try:
        kept = torch.equal(_logits(run.model, images), expected)
    except (AttributeError, RuntimeError):
        kept = False
    if not kept:
        yield "merging a deep copy changed the original"


def _after_resume(run: _Run, other: _Run, images: Tensor, labels: Tensor) -> Iterator[str]:
    other.start(images, labels)
    try:
        stored = _through_file(
            {
                "tensors": snapshot(changing_tensors(run.model)),
                "optimizer": run.context.optimizer.state_dict(),
                "method": run.method.state(),
            }
        )
        restore(other.model, stored["tensors"])
    except Exception as error:  # noqa: BLE001  (whatever it is, the method cannot be checkpointed)
        yield f"its checkpoint cannot be written and read: {type(error).__name__}: {error}"
        return
    other.context.optimizer.load_state_dict(stored["optimizer"])
    other.method.load_state(stored["method"])
    other.steps = run.steps
    if not torch.equal(_logits(run.model, images), _logits(other.model, images)):
        yield "the restored network computes other logits"
    run.step(images, labels)
    other.step(images, labels)
    if not _equal(_all_tensors(run.model), _all_tensors(other.model)):
        yield "a step after resuming differs from the step without the interruption"


def _through_file(state: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded


def _all_tensors(model: Model) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = dict(model.named_parameters())
    tensors.update(model.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _logits(model: Model, images: Tensor) -> Tensor:
    model.eval()
    with torch.no_grad():
        logits: Tensor = model(images)
    return logits
