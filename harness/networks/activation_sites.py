"""Where methods change activations: every activation call of a network by name, to be replaced on its own.

A ResNet-50 of torchvision makes 49 activation calls of 17 modules; others call functions. ``expose_activations``
makes each call a module of its own without changing what the network computes::

    for site in expose_activations(model):
        replace_activation(model, site, MyActivation(site.channels))
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from harness.core.errors import one_line
from harness.networks.activation_calls import (
    ActivationCall,
    CallRecorder,
    Kind,
    callers_to_rewrite,
    kind_of,
    rewrite_calls,
    separate_registrations,
)
from harness.networks.backbones import Model
from harness.networks.sites import ConvSite, NormSite, conv_sites, norm_sites
from harness.networks.stages import stages

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class ActivationSite:
    """One activation call of a network, which is a module of its own."""

    name: str
    """Path of the module below the backbone, such as ``layer1.0.act1``."""
    module: nn.Module
    """The pretrained activation with its arguments, such as ``nn.LeakyReLU(0.1)``; never in place."""
    kind: Kind
    channels: int
    channel_dim: int
    """Dimension of the channels: 1, or -1 where a linear layer or a layer norm over the last one precedes."""
    spatial: tuple[int, ...]
    """The other dimensions but the batch's, for the given image size; empty for vectors."""
    norm: _BatchNorm | None
    """The batch norm whose output it takes as it is."""
    stage: int | None
    """As in ``ConvSite``."""
    block: str
    """Path of the block that makes the call: the closest module around it that is neither a mere sequence of
    modules nor a norm. Empty for calls outside of blocks, such as the stem's."""
    position: int
    """Number of the call within its block, from 1 in order of execution; 0 outside of blocks."""


@dataclass(frozen=True, slots=True)
class ConvChain:
    """A convolution and what takes its output."""

    conv: ConvSite
    norm: NormSite | None
    """The norm that takes the convolution's output as it is."""
    activation: ActivationSite | None
    """The activation that takes the norm's output as it is, or the convolution's where no norm follows."""
    block: str
    """As in ``ActivationSite``; a residual block of torchvision is one."""


def expose_activations(model: Model, image_size: int = 64) -> list[ActivationSite]:
    """Make every activation call of the backbone a module of its own, in place.

    The backbone computes the same, bit for bit, in training and in evaluation, but no activation works in place
    any more. Names, order and values of parameters and buffers stay, and so does torch's global generator. Calling
    it again finds the same sites, as long as none has been replaced. Activations that are written with other
    functions (``clamp``, a method's own) are not found.

    Args:
        model: with its backbone on any device, ``meta`` included; modules stay in the mode they are in.
        image_size: side in pixels of the square image with which shapes are found.

    Returns:
        The sites in order of execution; at least one.

    Raises:
        ValueError: one line, why this network does not allow it: it makes no known activation call, runs one
            module several times a pass, relies on an in-place change, cannot be traced where calls share a module,
            or takes no image of this size. The backbone may then be partly rewritten.
    """
    return _survey(model, image_size)[1]


def replace_activation(model: Model, site: ActivationSite, module: nn.Module) -> None:
    """Put a module in the place of one activation call; ``site.module`` brings the pretrained one back.

    Args:
        model: the one that ``site`` was found in, or a deep copy of it.
        site: from ``expose_activations``.
        module: maps a float tensor to one of the same shape; it is put in the mode of the backbone.
    """
    model.backbone.set_submodule(site.name, module.train(model.backbone.training), strict=True)


def conv_chains(model: Model, image_size: int = 64) -> list[ConvChain]:
    """Every convolution with the norm and the activation that follow it directly, in the order of registration.

    Exposes the activations as ``expose_activations`` does, with its arguments and errors. A follower is None
    where something else stands between, such as the sum of a residual block, or where there are several.
    """
    recorder, sites = _survey(model, image_size)
    norms = {id(site.module): site for site in norm_sites(model.backbone)}
    activations = {id(site.module): site for site in sites}
    blocks = {id(module): name for name, module in model.backbone.named_modules()}
    made: dict[int, list[nn.Module]] = {}
    for key, maker in recorder.makers.items():
        made.setdefault(id(maker), []).extend(recorder.takers.get(key, []))
    chains = []
    for conv in conv_sites(model.backbone):
        norm = _only(norms, made.get(id(conv.module), []))
        last = conv.module if norm is None else norm.module
        activation = _only(activations, made.get(id(last), []))
        chains.append(ConvChain(conv, norm, activation, _block(model.backbone, blocks[id(conv.module)])))
    return chains


def _only(sites: dict[int, S], followers: list[nn.Module]) -> S | None:
    found = [sites[id(module)] for module in followers if id(module) in sites]
    return found[0] if len(found) == 1 else None


def _survey(model: Model, image_size: int) -> tuple[CallRecorder, list[ActivationSite]]:
    backbone = model.backbone
    network = model.name or type(backbone).__name__
    separate_registrations(backbone)
    first, before = _record(backbone, network, image_size)
    if not first.calls:
        raise ValueError(f"{network}: makes no activation call that can be named; take a network with ReLUs or alike")
    for owner in callers_to_rewrite(first.calls):
        try:
            rewrite_calls(owner)
        except ValueError as error:
            place = next(name for name, module in backbone.named_modules() if module is owner) or "the whole network"
            raise ValueError(
                f"{network}: the activations of {place} ({type(owner).__name__}) cannot be told apart: "
                f"{one_line(str(error))[:200]}; take another network"
            ) from error
    for module in backbone.modules():
        if kind_of(module) is not None and "inplace" in vars(module):
            vars(module)["inplace"] = False
    second, after = _record(backbone, network, image_size)
    # A device other than the CPU need not compute the same twice.
    if after.device.type == "cpu" and not torch.allclose(before, after, rtol=0.0, atol=0.0, equal_nan=True):
        raise ValueError(f"{network}: relies on activations that work in place; take another network")
    return second, _sites(backbone, network, second)


def _record(backbone: nn.Module, network: str, image_size: int) -> tuple[CallRecorder, Tensor]:
    like = next(backbone.parameters())
    # Named because a caller may have made another device the default.
    generator = torch.Generator("cpu").manual_seed(0)
    images = torch.randn(1, 3, image_size, image_size, generator=generator, device="cpu").to(like)
    recorder = CallRecorder()
    try:
        return recorder, recorder.run(backbone, images)
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = one_line(str(error))[:200]
        raise ValueError(f"{network}: takes no image of {image_size} pixels ({reason}); try a larger one") from error


def _sites(backbone: nn.Module, network: str, recorder: CallRecorder) -> list[ActivationSite]:
    names = {id(module): name for name, module in backbone.named_modules()}
    numbers = stages(backbone)
    positions = Counter[str]()
    sites: dict[str, ActivationSite] = {}
    for call in recorder.calls:
        name = names.get(id(call.module))
        if call.module is None or name is None or name in sites:
            caller = names.get(id(call.caller)) or type(call.caller).__name__
            raise ValueError(f"{network}: {caller} runs more than once a pass; take a network that shares no layers")
        block = _block(backbone, name)
        positions[block] += 1
        maker = recorder.makers.get(call.input)
        channel_dim = _channel_dim(call, maker)
        channels = call.shape[channel_dim]
        rest = call.shape[2:] if channel_dim == 1 else call.shape[1:-1]
        sites[name] = ActivationSite(
            name=name,
            module=call.module,
            kind=call.kind,
            channels=channels,
            channel_dim=channel_dim,
            spatial=rest,
            norm=maker if isinstance(maker, _BatchNorm) else None,
            stage=numbers.get(name),
            block=block,
            position=positions[block] if block else 0,
        )
    return list(sites.values())


def _channel_dim(call: ActivationCall, maker: nn.Module | None) -> int:
    last = isinstance(maker, nn.Linear) or type(maker) is nn.LayerNorm
    return -1 if last and len(call.shape) > 2 else 1


def _block(backbone: nn.Module, name: str) -> str:
    while name:
        name = name.rpartition(".")[0]
        around = backbone.get_submodule(name)
        if not isinstance(around, nn.Sequential | nn.ModuleList | nn.ModuleDict | _NormBase):
            break
    return name
