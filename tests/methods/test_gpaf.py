"""GPAF and the activation family as methods: counts on a ResNet-50, promises kept, scales and sharing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.activations.base import PreservingActivation, mean_deviation
from harness.activations.family import ACTIVATIONS
from harness.activations.scale import calibrate
from harness.method import Method, NotDefinedError
from harness.networks.activation_calls import Kind
from harness.networks.activation_sites import expose_activations
from harness.networks.backbones import Model, build_model
from harness.plugins import discover
from harness.proof.conformance import random_network, violations
from harness.space.parameters import defaults

CATALOGUE = discover()
GPAF, ACTIVATION = CATALOGUE.all(Method)["gpaf"].cls, CATALOGUE.all(Method)["activation"].cls


def adapted(method: type[Method], model: Model, **hp: Any) -> Method:
    one = method()
    one.adapt(model, {**defaults(method.space), **hp})
    return one


def batches() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 3, 32, 32, generator=generator) for _ in range(3)]


@pytest.mark.parametrize(
    "hp",
    [
        {"variant": "w3", "sharing": "group"},
        {"variant": "w5", "sharing": "site", "execution": "plain"},
        {"variant": "h", "sites": "act1", "penalty": 0.1},
        {"variant": "m", "sharing": "stage"},
        {"sharing": "global", "laplacian": True},
        {"sites": "last_block", "scale": "one", "laplacian": True},
        {"sites": "after_norm", "optimizer": "sgd", "lr": 0.1},
    ],
    ids=lambda hp: "-".join(str(value) for value in hp.values()),
)
def test_gpaf_keeps_its_promises_in_every_form(hp: dict[str, Any]) -> None:
    assert violations(GPAF, partial(random_network, size=24), hp=hp, size=24) == []


UNREACHED = {"pwlu": ".slope_", "dy_relu_a": ".fc", "dy_relu_b": ".fc"}
"""What a small network may leave without a gradient: no value lies beyond the points, both hidden units are dead."""


@pytest.mark.parametrize("kind", [kind for kind in ACTIVATIONS if kind not in ("prelu0", "relu", "kglap")])
def test_the_family_keeps_its_promises(kind: str) -> None:
    found = violations(ACTIVATION, partial(random_network, size=16), hp={"kind": kind, "lr": 1e-3}, size=16)
    assert [line for line in found if "left it as it was" not in line or UNREACHED.get(kind, "?") not in line] == []


def test_the_prototypes_square_overflows_where_norms_are_frozen() -> None:
    model = random_network()
    adapted(ACTIVATION, model, kind="kglap")
    assert not model(batches()[0]).isfinite().all()


def test_counts_on_a_resnet50() -> None:
    model, _ = build_model("resnet50", None, 4, seed=0)

    def count(method: type[Method], **hp: Any) -> int | None:
        return method().expected_trainable(model, {**defaults(method.space), **hp})

    assert count(GPAF) == 90_880
    assert (count(GPAF, sites="after_norm"), count(GPAF, sites="act2"), count(GPAF, sites="act3")) == (
        30_464,
        15_104,
        60_416,
    )
    assert (count(GPAF, sites="last_stage"), count(GPAF, sites="last_block")) == (36_864, 12_288)
    shared = [count(GPAF, sharing=sharing) for sharing in ("group", "site", "stage", "global")]
    assert shared == [1_568, 196, 52, 4]
    assert [count(GPAF, variant=variant) for variant in ("w3", "w5", "h", "m")] == [68_160, 113_600, 90_880, 68_160]
    assert count(GPAF, laplacian=True) == 113_600
    assert count(ACTIVATION, kind="dy_relu_b") == 14_242_840


def test_logits_and_input_gradients_start_bit_equal_and_return_there() -> None:
    plain = random_network()
    model = copy.deepcopy(plain)
    method = adapted(GPAF, model, laplacian=True)
    method.prepare(model, iter(batches()))

    def both(network: Model) -> tuple[Tensor, Tensor]:
        images = batches()[0].requires_grad_()
        logits = network(images)
        return logits, torch.autograd.grad(logits.square().sum(), images)[0]

    own = [p for p in model.backbone.parameters() if p.requires_grad]
    expected = both(plain)
    for round_ in range(2):
        assert all(torch.equal(a, b) for a, b in zip(both(model), expected, strict=True))
        if round_ == 0:
            for parameter in own:
                nn.init.normal_(parameter, std=0.1)
            assert not torch.equal(model(batches()[0]), plain(batches()[0]))
            for parameter in own:
                nn.init.zeros_(parameter)


RESIDUALS = [kind for kind, entry in ACTIVATIONS.items() if entry.on_base is not None]


@pytest.mark.parametrize(
    "network", ["resnet20", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "convnext_tiny"]
)
def test_learned_forms_of_others_start_as_every_network_and_are_scaled_like_gpaf(network: str) -> None:
    """ReLU, ReLU6, Hardswish, gates of squeeze-and-excitation that stay, and GELU with the channels last."""
    plain = random_network(network)
    images = [torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))]
    expected = plain(images[0])
    ours = copy.deepcopy(plain)
    adapted(GPAF, ours).prepare(ours, iter(images))
    scales = [buffer for name, buffer in ours.named_buffers() if name.endswith(".scale")]
    for kind in RESIDUALS:
        model = copy.deepcopy(plain)
        adapted(ACTIVATION, model, kind=kind).prepare(model, iter(images))
        assert torch.equal(model(images[0]), expected), kind
        own = [buffer for name, buffer in model.named_buffers() if name.endswith(".scale")]
        assert len(own) == len(scales) > 0 and all(torch.equal(a, b) for a, b in zip(own, scales, strict=True))
        if kind.endswith("_4"):
            count = [method().expected_trainable(plain, defaults(method.space)) for method in (GPAF,)]
            hp = {**defaults(ACTIVATION.space), "kind": kind}
            assert [ACTIVATION().expected_trainable(plain, hp)] == count


@pytest.mark.parametrize("source", ["norm", "measured", "one"])
def test_scales_come_from_norms_or_from_training_images(source: str) -> None:
    model = random_network()
    exposed = copy.deepcopy(model)
    sites = expose_activations(exposed)
    measured = calibrate(exposed, {site.name: site.module for site in sites}, batches())
    method = adapted(GPAF, model, variant="h", scale=source)
    method.prepare(model, iter(batches()))
    for site in sites:
        activation = model.backbone.get_submodule(site.name)
        assert isinstance(activation, PreservingActivation)
        scale, centre = activation.get_buffer("scale"), activation.get_buffer("centre")
        if source == "one":
            assert torch.equal(scale, torch.ones(site.channels)) and not centre.any()
        elif source == "norm" and site.norm is not None:
            assert torch.equal(scale, site.norm.weight.abs()) and torch.equal(centre, site.norm.bias)
        else:
            assert torch.equal(scale, measured[site.name].scale) and torch.equal(centre, measured[site.name].centre)
    assert sum(site.norm is None for site in sites) == 9


def test_the_penalty_holds_the_function_where_it_was() -> None:
    def deviation_after(penalty: float) -> float:
        reached: list[float] = []

        class Watched(GPAF):  # type: ignore[misc, valid-type]
            """Records how far the function is from the pretrained one."""

            def training_step(self, context: Any, images: Tensor, labels: Tensor) -> Tensor:
                loss: Tensor = super().training_step(context, images, labels)
                found = [m for m in context.model.modules() if isinstance(m, PreservingActivation)]
                reached.append(mean_deviation(found).item())
                return loss

        assert violations(Watched, hp={"penalty": penalty, "optimizer": "sgd", "lr": 1.0}) == []
        return reached[2]

    assert 0 < deviation_after(300.0) < 0.5 * deviation_after(0.0)


def test_what_cannot_be_adapted_is_said_in_one_line() -> None:
    with pytest.raises(ValueError, match="has no activation for sites=act3; take sites=all"):
        adapted(GPAF, random_network(), sites="act3")
    with pytest.raises(NotDefinedError, match="laplacian looks at the pixels of an image, and classifier"):
        adapted(GPAF, build_model("vgg11_bn", None, 4, seed=0)[0], laplacian=True)
    with pytest.raises(NotDefinedError, match="frelu looks at the pixels of an image, and classifier"):
        adapted(ACTIVATION, build_model("vgg11_bn", None, 4, seed=0)[0], kind="frelu")
    with pytest.raises(ValueError, match="penalty must not be negative"):
        adapted(GPAF, random_network(), penalty=-1.0)
    with pytest.raises(ValueError, match=r"beta and c between 0 and 1, got 1\.5"):
        adapted(ACTIVATION, random_network(), kind="s_ct", beta=1.5)


class Functions(nn.Module):
    """Every activation that torch has, some as modules and some as calls, behind one another."""

    CALLS: ClassVar[list[Callable[[Tensor], Tensor]]] = [
        F.relu,
        F.relu6,
        lambda x: F.leaky_relu(x, 0.2),
        lambda x: F.elu(x, 0.7),
        F.selu,
        F.silu,
        F.gelu,
        F.hardswish,
        lambda x: F.softplus(x, 2.0),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(8 if n else 3, 8, 3, padding=1) for n in range(len(self.CALLS)))
        self.acts = nn.ModuleList([nn.Mish(), nn.GELU("tanh"), nn.CELU(0.6)])

    def forward(self, x: Tensor) -> Tensor:
        for conv, call in zip(self.convs, self.CALLS, strict=True):
            x = call(conv(x))
        for module in self.acts:
            x = module(x)
        return x.mean((2, 3))


@pytest.mark.parametrize("execution", ["plain", "fused"])
def test_every_activation_whether_module_or_call_keeps_its_values_and_gradients(execution: str) -> None:
    torch.manual_seed(0)
    plain = Model(Functions(), 8, 4)
    model = copy.deepcopy(plain)
    adapted(GPAF, model, execution=execution, scale="one")
    found = [module for module in model.modules() if isinstance(module, PreservingActivation)]
    assert {module.base.kind for module in found} == set(get_args(Kind)) and len(found) == 12
    images = torch.randn(2, 3, 9, 9, requires_grad=True)
    results = []
    for network in (plain.requires_grad_(True), model.requires_grad_(True)):
        value = network(images)
        wanted = [images, *network.get_submodule("backbone.convs").parameters()]
        results.append([value, *torch.autograd.grad(value.square().sum(), wanted)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert violations(GPAF, lambda: copy.deepcopy(plain), hp={"sharing": "group", "execution": execution}, size=9) == []


@pytest.mark.parametrize(
    ("network", "size"), [("efficientnet_b0", 32), ("convnext_tiny", 32), ("densenet121", 32), ("mobilenet_v2", 32)]
)
def test_networks_with_other_activations_are_preserved(network: str, size: int) -> None:
    model = random_network(network, size)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model.eval()(images)
        method = adapted(GPAF, model)
        method.prepare(model, iter([images]))
        assert torch.equal(model(images), before)
