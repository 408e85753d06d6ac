from __future__ import annotations

import copy
import io
from collections import Counter
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.networks.activation_sites import ActivationSite, conv_chains, expose_activations, replace_activation
from harness.networks.backbones import Model, build_model, set_training_mode
from harness.networks.sites import conv_sites, norm_sites
from harness.proof.conformance import random_network

NETWORKS = {
    # name: calls, of them directly after a batch norm, channels of all calls together
    "resnet18": (17, 9, 3_904),
    "resnet34": (33, 17, 7_616),
    "resnet50": (49, 33, 22_720),
    "resnet101": (100, 67, 48_832),
    "densenet121": (121, 121, 41_824),
    "efficientnet_b0": (49, 33, 19_580),
    "convnext_tiny": (18, 0, 26_496),
    "vgg11_bn": (10, 8, 10_944),
    "resnet20": (19, 10, 688),
}
SIZE = 32


def network(name: str) -> Model:
    return random_network(name, SIZE)


def images(count: int = 2, size: int = SIZE) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def logits(model: nn.Module, batch: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(batch)
    return result


def trained_once(model: Model) -> dict[str, Tensor]:
    """Gradients of every tensor and of the images, and the buffers, after one pass in training mode."""
    model.requires_grad_(True).train()
    batch = images().requires_grad_()
    torch.manual_seed(3)
    model(batch).square().sum().backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert batch.grad is not None and len(found) == len(list(model.parameters()))
    return {**found, **dict(model.named_buffers()), "images": batch.grad}


class Counting(nn.Module):
    """What was there, counted; its input must have the shape that the site promises."""

    def __init__(self, site: ActivationSite) -> None:
        super().__init__()
        self.base = site.module
        last = site.channel_dim == -1
        self.shape = (*site.spatial, site.channels) if last else (site.channels, *site.spatial)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        assert tuple(x.shape[1:]) == self.shape
        self.calls += 1
        result: Tensor = self.base(x)
        return result


@pytest.mark.parametrize("name", NETWORKS)
def test_each_call_is_a_module_of_its_own_and_nothing_else_changes(name: str) -> None:
    original = network(name)
    model = copy.deepcopy(original)
    torch.manual_seed(7)
    stream = torch.get_rng_state()

    sites = expose_activations(model, SIZE)

    assert torch.equal(torch.get_rng_state(), stream)
    found = (len(sites), sum(site.norm is not None for site in sites), sum(site.channels for site in sites))
    assert found == NETWORKS[name]
    assert len({id(site.module) for site in sites}) == len({site.name for site in sites}) == len(sites)
    assert all(model.backbone.get_submodule(site.name) is site.module for site in sites)
    assert not any(getattr(site.module, "inplace", False) for site in sites)
    for kind in ("named_parameters", "named_buffers"):
        assert [n for n, _ in getattr(model, kind)()] == [n for n, _ in getattr(original, kind)()]
    assert [s.name for s in conv_sites(model.backbone)] == [s.name for s in conv_sites(original.backbone)]
    assert [s.name for s in norm_sites(model.backbone)] == [s.name for s in norm_sites(original.backbone)]

    expected = logits(original, images())
    assert not torch.allclose(expected[0], expected[1])
    assert torch.equal(logits(model, images()), expected)
    first, second = trained_once(original), trained_once(model)
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "efficientnet_b0", "convnext_tiny"])
def test_a_replacement_runs_once_a_pass_and_the_pretrained_call_can_be_brought_back(name: str) -> None:
    model = network(name)
    expected = logits(model, images())
    sites = expose_activations(model, SIZE)
    untouched = copy.deepcopy(model)
    for site in sites:
        replace_activation(model, site, Counting(site))

    assert torch.equal(logits(model, images()), expected)
    assert [model.backbone.get_submodule(site.name).calls for site in sites] == [1] * len(sites)

    copied = copy.deepcopy(model)
    for site in sites:
        replace_activation(copied, site, nn.Tanh())
    assert not torch.equal(logits(copied, images()), expected)
    assert torch.equal(logits(model, images()), expected)
    assert torch.equal(logits(untouched, images()), expected)

    for site in sites:
        replace_activation(model, site, site.module)
    assert torch.equal(logits(model, images()), expected)
    assert model.state_dict().keys() == untouched.state_dict().keys()
    assert [site.name for site in expose_activations(model, SIZE)] == [site.name for site in sites]


def on_meta(name: str) -> Model:
    with torch.device("meta"):
        return build_model(name, None, 3, seed=0)[0]


def test_resnet50_has_the_inventory_that_counts_rest_on() -> None:
    model = on_meta("resnet50")
    with torch.device("meta"):
        sites = expose_activations(model, image_size=224)

    stages = {1: ([64, 64, 256], 3), 2: ([128, 128, 512], 4), 3: ([256, 256, 1024], 6), 4: ([512, 512, 2048], 3)}
    for stage, (widths, blocks) in stages.items():
        assert [site.channels for site in sites if site.stage == stage] == widths * blocks
    stem = sites[0]
    assert (stem.name, stem.channels, stem.stage, stem.block, stem.position) == ("relu", 64, None, "", 0)
    assert [site.name for site in sites[1:4]] == ["layer1.0.act1", "layer1.0.act2", "layer1.0.act3"]
    by_position = Counter[int]()
    for site in sites:
        by_position[site.position] += site.channels
    assert by_position == {0: 64, 1: 3_776, 2: 3_776, 3: 15_104}
    # 64 · 112² and, for stage s with n blocks of width w at side 224 / 2^(s + 1), n · 6 w side² but for the first
    # block's first call, which is before the stride.
    assert sum(site.channels * site.spatial[0] * site.spatial[1] for site in sites) == 9_608_704

    for site in sites:
        block = model.backbone.get_submodule(site.block)
        norms = {0: getattr(model.backbone, "bn1", None), 1: block.bn1, 2: getattr(block, "bn2", None), 3: None}
        assert site.norm is norms[site.position]
    assert type(model.backbone.layer1[0]).__name__ == "Bottleneck"
    assert not any(name.endswith("relu") for name, _ in model.backbone.named_modules() if "." in name)


def test_an_exposed_network_goes_through_files_formats_and_precisions() -> None:
    model = network("resnet50")
    plain = build_model("resnet50", None, model.head.out_features, seed=1)[0]
    expose_activations(model, SIZE)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    plain.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(logits(plain, images()), logits(model, images()))

    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(logits(plain, images()), logits(model, images()))
    for one in (plain, model):
        one.to(memory_format=torch.channels_last)
    batch = images().to(memory_format=torch.channels_last)
    assert torch.equal(logits(plain, batch), logits(model, batch))
    assert torch.equal(logits(plain.double(), batch.double()), logits(model.double(), batch.double()))


def test_a_network_keeps_its_mode_and_gives_it_to_a_replacement() -> None:
    model = network("resnet18")
    set_training_mode(model, "frozen")
    # The shared activations go.
    modes = {name: module.training for name, module in model.named_modules() if "relu" not in name}
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    sites = expose_activations(model, SIZE)
    assert {name: module.training for name, module in model.named_modules() if name in modes} == modes
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    model.eval()
    dropout = nn.Dropout()
    replace_activation(model, sites[0], dropout)
    assert not dropout.training


class Body(nn.Module):
    """A convolution and whatever follows."""

    def __init__(self, after: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.conv(x)).mean((2, 3))


FUNCTIONS: list[tuple[str, Callable[[Tensor], Tensor], nn.Module]] = [
    ("relu", F.relu, nn.ReLU()),
    ("relu", lambda x: F.relu(x, True), nn.ReLU()),
    ("relu", lambda x: F.relu(input=x, inplace=True), nn.ReLU()),
    ("relu", torch.relu_, nn.ReLU()),
    ("relu", lambda x: x.relu(), nn.ReLU()),
    ("relu", lambda x: x.relu_(), nn.ReLU()),
    ("relu6", lambda x: F.relu6(9 * x), nn.ReLU6()),
    ("leaky_relu", lambda x: F.leaky_relu(x, 0.2, True), nn.LeakyReLU(0.2)),
    ("leaky_relu", F.leaky_relu_, nn.LeakyReLU()),
    ("elu", lambda x: F.elu(x, alpha=0.7), nn.ELU(0.7)),
    ("celu", lambda x: F.celu(x, 0.6), nn.CELU(0.6)),
    ("silu", lambda x: F.silu(x, inplace=True), nn.SiLU()),
    ("gelu", F.gelu, nn.GELU()),
    ("gelu", lambda x: F.gelu(x, approximate="tanh"), nn.GELU("tanh")),
    ("mish", F.mish, nn.Mish()),
    ("hardswish", F.hardswish, nn.Hardswish()),
    ("softplus", lambda x: F.softplus(x, 2.0, threshold=15.0), nn.Softplus(2.0, 15.0)),
]


@pytest.mark.parametrize(("kind", "function", "module"), FUNCTIONS)
def test_a_function_becomes_the_module_with_its_arguments(
    kind: str, function: Callable[[Tensor], Tensor], module: nn.Module
) -> None:
    model = Model(Body(function), 4, 2)
    expected = logits(model, images(size=8))
    (site,) = expose_activations(model, 8)
    assert (site.name, site.kind, repr(site.module)) == ("act1", kind, repr(module))
    assert (site.channels, site.spatial, site.norm) == (4, (6, 6), None)
    assert torch.equal(logits(model, images(size=8)), expected)


class NormWithActivation(nn.BatchNorm2d):
    """A batch norm that calls its own activation, as networks of timm have it."""

    def __init__(self, channels: int, act: nn.Module) -> None:
        super().__init__(channels)
        self.drop = nn.Identity()
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        normed = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training)
        result: Tensor = self.act(self.drop(normed))
        return result


class Unusual(nn.Module):
    """Looks at its data, shares an activation between blocks, and calls one in three ways."""

    def __init__(self) -> None:
        super().__init__()
        relu = nn.ReLU(inplace=True)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), NormWithActivation(4, relu))
        self.block1 = Sharing(relu)
        self.spare = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if bool(x.sum() > 1e9):
            x = x * 2
        result: Tensor = self.block1(x).mean((2, 3))
        return result


class Sharing(nn.Module):
    def __init__(self, relu: nn.Module) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.relu = relu
        self.act2 = "a name that is taken"

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        y = self.norm(x)
        y += x
        return self.relu(self.relu(y) - 0.1) + F.silu(self.norm(x)) * scale


def test_only_the_modules_that_make_shared_calls_are_traced() -> None:
    model = Model(Unusual(), 4, 2).eval()
    expected = logits(model, images(size=8))
    sites = expose_activations(model, 8)
    assert [(site.name, site.kind, site.block, site.position, site.stage) for site in sites] == [
        ("stem.1.act", "relu", "", 0, None),
        # One block alone is no stage.
        ("block1.act1", "relu", "block1", 1, None),
        ("block1.act2_", "relu", "block1", 2, None),
        ("block1.act3", "silu", "block1", 3, None),
    ]
    backbone = model.backbone
    # The first of the block takes a sum that was made in place in the norm's output.
    assert [site.norm for site in sites] == [backbone.stem[1], None, None, backbone.block1.norm]
    assert torch.equal(logits(model, images(size=8)), expected)
    replace_activation(model, sites[0], nn.Tanh())
    assert not torch.equal(logits(model, images(size=8)), expected)


class NormThenActivation(nn.Module):
    def __init__(self, between: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.norm, self.relu, self.between = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), between

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        result: Tensor = self.relu(self.between(self.norm(x), x)).mean((2, 3))
        return result


@pytest.mark.parametrize(
    ("between", "direct"),
    [
        (lambda normed, x: normed, True),
        (lambda normed, x: normed.contiguous(), True),
        (lambda normed, x: normed.add_(x), False),
        (lambda normed, x: normed + x, False),
    ],
)
def test_a_norm_counts_only_where_nothing_changes_its_output(
    between: Callable[[Tensor, Tensor], Tensor], direct: bool
) -> None:
    model = Model(NormThenActivation(between), 4, 2)
    (site,) = expose_activations(model, 8)
    assert (site.norm is model.backbone.norm, site.norm is None) == (direct, not direct)
    (chain,) = conv_chains(model, 8)
    assert (chain.activation == site) == direct


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(self.layer(x)).mean((2, 3))
        return result


def looks_at_data(x: Tensor) -> Tensor:
    return F.relu(x) if bool(x.sum() > 0) else F.relu(-x)


def uses_what_it_overwrote(x: Tensor) -> Tensor:
    return F.relu(x, inplace=True) * 0 + x


class Dropping(Body):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(F.relu(self.conv(x)), training=self.training).mean((2, 3))


@pytest.mark.parametrize(
    ("backbone", "size", "reason"),
    [
        (Body(looks_at_data), 8, "the activations of the whole network (Body) cannot be told apart: its forward"),
        (Body(lambda x: F.elu(x, x.mean())), 8, "calls elu with an argument that is computed"),
        (Dropping(F.relu), 8, "is another in training than in evaluation"),
        (Twice(), 8, "layer runs more than once a pass"),
        (Body(uses_what_it_overwrote), 8, "relies on activations that work in place"),
        (Body(torch.sigmoid), 8, "makes no activation call"),
        (Body(F.relu), 2, "takes no image of 2 pixels"),
    ],
)
def test_a_network_that_cannot_be_exposed_is_refused_in_one_line(backbone: nn.Module, size: int, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        expose_activations(Model(backbone, 4, 2, name="some_net"), size)
    message = str(caught.value)
    assert message.startswith("some_net: ") and reason in message and "\n" not in message


def test_conv_chains_of_resnet50_and_of_networks_without_its_blocks() -> None:
    model = on_meta("resnet50")
    chains = {chain.conv.name: chain for chain in conv_chains(model)}
    assert list(chains) == [site.name for site in conv_sites(model.backbone)]
    spatial = [chain for chain in chains.values() if chain.conv.module.kernel_size == (3, 3)]
    assert Counter(chain.conv.module.in_channels for chain in spatial) == {64: 3, 128: 4, 256: 6, 512: 3}
    for chain in spatial:
        assert chain.norm is not None and chain.activation is not None
        assert (chain.conv.name, chain.norm.name, chain.activation.name) == tuple(
            f"{chain.block}.{name}" for name in ("conv2", "bn2", "act2")
        )
    for name in ("layer2.0.conv3", "layer2.0.downsample.0"):
        assert chains[name].norm is not None and chains[name].activation is None
        assert chains[name].block == "layer2.0"

    (forked,) = conv_chains(Model(Body(lambda x: F.relu(x) + F.silu(x)), 4, 2), 8)
    assert forked.norm is None and forked.activation is None
    (plain,) = conv_chains(Model(Body(F.relu), 4, 2), 8)
    assert plain.norm is None and plain.activation is not None and plain.activation.name == "act1"
    dense = {chain.conv.name: chain for chain in conv_chains(on_meta("densenet121"))}
    layer = "features.denseblock2.denselayer3"
    chain = dense[f"{layer}.conv1"]
    assert chain.norm is not None and chain.activation is not None
    assert (chain.norm.name, chain.activation.name, chain.block) == (f"{layer}.norm2", f"{layer}.relu2", layer)
    assert (dense[f"{layer}.conv2"].norm, dense[f"{layer}.conv2"].activation) == (None, None)
