"""Conv-Adapter: a small trained branch beside one spatial convolution of each block."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from harness.api import (
    Choice,
    ConvSite,
    Fixed,
    Float,
    Hyperparameters,
    Method,
    Model,
    NotDefinedError,
    ParamGroup,
    Space,
    conv_chains,
    conv_sites,
    optimiser_space,
    trainable,
)


class ConvAdapter(Method):
    """Add the output of a bottleneck of convolutions to that of a frozen convolution.

    Source: Chen et al., "Conv-Adapter: Exploring Parameter Efficient Transfer Learning for ConvNets",
    arXiv 2208.07463, and the authors' code. Beside the convolution that takes x with c_i channels and gives c_o,
    with h = c_i / ``reduction``:

        Δ(x) = a ⊙ (W_up * ReLU(W_dn * x + b_dn) + b_up)

    W_dn has h groups of ``reduction`` channels each, and kernel, stride, padding and dilation of the convolution;
    W_up is 1×1 from h to c_o; a is a scale a channel. Where ``reduction`` does not divide c_i, h is the next smaller
    number that does, and at least 1, so that each value of the space fits each network (a ResNet-20 begins with 16
    channels). With ``join`` ``post_act``, as in the authors' code for ResNets, Δ is added after the activation,
    ReLU(BN(conv x)) + Δ(x), and may make it negative; with ``pre_bn``, as the paper writes it, before the norm,
    BN(conv x + Δ(x)).

    One branch a block, beside its first convolution of more than one pixel: conv2 in the bottlenecks of a
    ResNet-50, conv1 in the basic blocks of a ResNet-18, whose second is followed by the sum and by no activation
    of its own; the depthwise convolution of a MobileNet's or ConvNeXt's block, whose groups the branch does not have.
    Outside of blocks (VGG, and between ConvNeXt's stages) every convolution of more than one pixel has a branch. Where
    no activation follows the convolution, or its norm, directly (a DenseNet, ConvNeXt), ``post_act`` joins right
    behind the convolution, as ``pre_bn`` does.

    W_dn is drawn as in the authors' code, normal with the variance 2 / (h k²) (by fan-out), b_dn = 0. W_up = 0, b_up =
    0 and a = 1 at first, so that the network starts as pretrained; the authors' code starts from random W_up, which is
    not the pretrained function, and with torch's random biases. ``variant`` ``brief`` is another module, 1×1 from c_i
    to h, depthwise k×k (drawn by fan-in), ReLU, 1×1 from h to c_o, each with a bias and without a. ``final_norm`` adds
    the authors' batch norm before the pooling; its statistics stay 0 and 1, as frozen norms do here, so that it scales
    and shifts. Scales and biases are not decayed: W_up already pulls the branch to zero. It cannot be merged.

    Trains: the branches (for ResNet-50 41,536 + (3,776 + 1,257,472) / ``reduction``, so 356,848) and the head.
    """

    name = "conv_adapter"
    space: ClassVar[Space] = {
        "reduction": Choice(4, (2, 4, 8, 16, 32), within="[1, 65536]"),
        "join": Fixed("post_act", allowed=("post_act", "pre_bn")),
        "variant": Fixed("official", allowed=("official", "brief")),
        "final_norm": Fixed(False),
        **optimiser_space(Float(1e-3, 1e-4, 1e-2, log=True)),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone and add a branch at every site.

        Raises:
            NotDefinedError: no convolution is a site, or ``final_norm`` finds no pooling layer whose output the head
                takes.
            ValueError: ``reduction`` is below 1.
        """
        sites = _sites(model, int(hp["reduction"]))
        pool = _pool(model) if hp["final_norm"] else None
        model.backbone.requires_grad_(False)
        activations = _activations(model, sites) if hp["join"] == "post_act" else {}
        for site in sites:
            kind = _Official if hp["variant"] == "official" else _Brief
            branch = kind(site.module, int(hp["reduction"])).to(site.module.weight)
            site.module.add_module("adapter", branch)
            if site.name in activations:
                site.module.register_forward_hook(branch.run)
                activations[site.name].register_forward_hook(branch.join)
            else:
                site.module.register_forward_hook(branch.add)
        if pool is not None:
            # Without eps it is the identity at first, bit for bit.
            pool.add_module("norm", nn.BatchNorm2d(model.head.in_features, eps=0.0))
            pool.register_forward_pre_hook(_normalise)

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """Convolution weights with weight decay; scales, biases and the final norm without; the head with it."""
        own, head = super().param_groups(model, hp)
        plain = [p for name, p in trainable(model.backbone) if name.endswith(_UNDECAYED)]
        places = {id(p) for p in plain}
        decayed = [p for p in own.params if id(p) not in places]
        return [
            ParamGroup("adapter_weights", decayed, own.lr, own.weight_decay),
            ParamGroup("adapter_scales", plain, own.lr, 0.0),
            head,
        ]

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """For each site k² c_i + h + h c_o + 2 c_o, or c_i h + (k² + 2) h + h c_o + c_o in the brief form."""
        total = 2 * model.head.in_features if hp["final_norm"] else 0
        for site in _sites(model, int(hp["reduction"])):
            inputs, outputs = site.module.in_channels, site.module.out_channels
            area, hidden = site.module.weight[0, 0].numel(), _hidden(inputs, int(hp["reduction"]))
            if hp["variant"] == "official":
                total += area * inputs + hidden + hidden * outputs + 2 * outputs
            else:
                total += inputs * hidden + (area + 2) * hidden + hidden * outputs + outputs
        return total


class _Branch(nn.Module):
    """Δ, and the hooks with which it joins; bound methods, so that a deep copy of the network has hooks of its own."""

    up: nn.Conv2d

    def __init__(self) -> None:
        super().__init__()
        self._pending: Tensor | None = None

    def start_at_zero(self) -> None:
        nn.init.zeros_(self.up.weight)
        assert self.up.bias is not None
        nn.init.zeros_(self.up.bias)

    def add(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        """Join right after the convolution."""
        delta: Tensor = self(inputs[0])
        return output + delta

    def run(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep Δ for the activation that follows."""
        self._pending = self(inputs[0])

    def join(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        """Join after the activation."""
        delta, self._pending = self._pending, None
        assert delta is not None
        return output + delta


class _Official(_Branch):
    def __init__(self, beside: nn.Conv2d, reduction: int) -> None:
        super().__init__()
        hidden = _hidden(beside.in_channels, reduction)
        self.down = _spatial(beside, beside.in_channels, hidden, "fan_out")
        self.up = nn.Conv2d(hidden, beside.out_channels, 1)
        self.scale = nn.Parameter(torch.ones(1, beside.out_channels, 1, 1))
        self.start_at_zero()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.scale * self.up(torch.relu(self.down(x)))
        return result


class _Brief(_Branch):
    def __init__(self, beside: nn.Conv2d, reduction: int) -> None:
        super().__init__()
        hidden = _hidden(beside.in_channels, reduction)
        self.reduce = nn.Conv2d(beside.in_channels, hidden, 1)
        self.down = _spatial(beside, hidden, hidden, "fan_in")
        self.up = nn.Conv2d(hidden, beside.out_channels, 1)
        self.start_at_zero()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.up(torch.relu(self.down(self.reduce(x))))
        return result


_UNDECAYED = (".adapter.scale", ".bias", ".norm.weight")


def _hidden(channels: int, reduction: int) -> int:
    """Channels of the bottleneck: the most that divide ``channels`` and are at most a ``reduction``-th of them."""
    return next(h for h in range(max(1, channels // reduction), 0, -1) if channels % h == 0)


def _spatial(beside: nn.Conv2d, inputs: int, hidden: int, fan: Literal["fan_in", "fan_out"]) -> nn.Conv2d:
    """A convolution with the geometry of another, in as many groups as it has outputs; ``fan`` scales its weights."""
    names = ("kernel_size", "stride", "padding", "dilation")
    geometry: dict[str, Any] = {name: getattr(beside, name) for name in names}
    # Of the same class, because one that pads by the size of its image (timm's Conv2dSame) says so by its class alone.
    made = type(beside)(inputs, hidden, **geometry, groups=hidden, bias=True)
    made.padding_mode = beside.padding_mode
    nn.init.kaiming_normal_(made.weight, mode=fan, nonlinearity="relu")
    assert made.bias is not None
    nn.init.zeros_(made.bias)
    return made


def _sites(model: Model, reduction: int) -> list[ConvSite]:
    """The first spatial convolution of each block; each one of those that stand in a mere sequence."""
    if reduction < 1:
        raise ValueError(f"conv_adapter: reduction={reduction} is below 1")
    sites, blocks = [], set()
    for site in conv_sites(model.backbone):
        block = site.name.rpartition(".")[0]
        if site.stem or site.module.kernel_size == (1, 1) or block in blocks:
            continue
        if not isinstance(model.backbone.get_submodule(block), nn.Sequential):
            blocks.add(block)
        sites.append(site)
    if not sites:
        raise NotDefinedError("this network has no spatial convolution beside its first")
    return sites


def _activations(model: Model, sites: list[ConvSite]) -> dict[str, nn.Module]:
    """The activation behind each site's norm, a module of its own call, where there is one."""
    try:
        chains = {chain.conv.name: chain.activation for chain in conv_chains(model)}
    except ValueError as error:
        raise NotDefinedError(f"{error}, or set join to pre_bn") from error
    followers = {site.name: chains[site.name] for site in sites}
    return {name: follower.module for name, follower in followers.items() if follower is not None}


def _pool(model: Model) -> nn.Module:
    pools = [module for module in model.backbone.modules() if isinstance(module, nn.AdaptiveAvgPool2d)]
    if not pools:
        raise NotDefinedError("this network pools without a module, so that final_norm finds no place in it")
    if conv_sites(model.backbone)[-1].module.out_channels != model.head.in_features:
        raise NotDefinedError("layers follow this network's pooling, so that final_norm finds no place before the head")
    return pools[-1]


def _normalise(module: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (module.norm(inputs[0]),)
