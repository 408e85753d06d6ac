"""Convolutions of few places as products: the same function and gradients, in a network that trains as before."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.networks.backbones import Model, build_model
from harness.train.speed import few_places
from harness.train.speed.few_places import use_products


def network(conv: nn.Conv2d) -> Model:
    return Model(nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten()), conv.out_channels, 2)


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "padding", "size"),
    [
        ((5, 7), 3, 1, 1, (1, 1)),  # one pair: any number of channels
        ((128, 130), 3, 1, 1, (2, 2)),
        ((128, 130), 3, 1, 1, (3, 3)),
        ((128, 130), 3, 2, 1, (5, 5)),
        ((128, 130), 1, 1, 1, (1, 1)),  # only padding in the places around
        ((128, 130), 3, 2, 1, (4, 4)),
        ((128, 130), 3, 2, 1, (3, 2)),
        ((128, 130), (3, 1), (2, 1), (1, 0), (4, 2)),
        ((128, 130), 1, 2, 0, (3, 3)),
        ((128, 130), 2, 1, 0, (2, 3)),
    ],
)
def test_value_and_all_gradients_are_those_of_the_convolution(
    monkeypatch: pytest.MonkeyPatch, channels: tuple[int, int], kernel: Any, stride: Any, padding: Any, size: Any
) -> None:
    used = []
    real = few_places._Products.apply
    monkeypatch.setattr(few_places._Products, "apply", lambda *given: used.append(1) or real(*given))
    torch.manual_seed(0)
    plain = nn.Conv2d(*channels, kernel, stride, padding)
    product = copy.deepcopy(plain)
    images = torch.randn(6, channels[0], *size, requires_grad=True)
    use_products(network(product), images.detach())

    expected, found = plain(images), product(images)
    assert used
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    upstream = torch.randn_like(expected)
    for one, other in zip(
        gradients(found, images, product, upstream), gradients(expected, images, plain, upstream), strict=True
    ):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def gradients(value: Tensor, images: Tensor, conv: nn.Conv2d, upstream: Tensor) -> list[Tensor]:
    """First gradients by all inputs, and the gradients of their squares."""
    first = torch.autograd.grad(value, [images, *conv.parameters()], upstream, create_graph=True)
    squares = first[0].square().sum() + first[1].square().sum()
    return [*first, *torch.autograd.grad(squares, [images, conv.weight])]


def test_a_network_trains_alike_with_products_and_says_the_same_of_itself() -> None:
    torch.manual_seed(0)
    model, _ = build_model("resnet18", None, classes=3, seed=0)
    model.requires_grad_(True)
    images, labels = torch.randn(8, 3, 28, 28), torch.randint(0, 3, (8,))
    other = copy.deepcopy(model)
    use_products(other, images)
    copied = copy.deepcopy(other)
    moved = [name for name, p in other.named_parameters() if p.dim() == 4 and not p.is_contiguous()]
    # Of stage 3, 2x2 places come out, of stage 4 1x1; kernels of 1x1 lie in one way only.
    assert len(moved) == 8 and all(name.startswith(("backbone.layer3", "backbone.layer4")) for name in moved)
    assert [p.shape for p in other.parameters()] == [p.shape for p in model.parameters()]

    for one in (model, other, copied):
        F.cross_entropy(one.train()(images), labels).backward()
    for (name, own), plain in zip(other.named_parameters(), model.parameters(), strict=True):
        assert own.grad is not None and plain.grad is not None
        assert (own.grad - plain.grad).abs().max() <= 1e-3 * plain.grad.abs().max(), name
        plain.grad = own.grad.contiguous()
    # torch's fused step takes it that a tensor and its gradient lie alike in memory.
    torch.optim.AdamW(model.parameters(), lr=1e-3, fused=False).step()
    for one in (other, copied):
        torch.optim.AdamW(one.parameters(), lr=1e-3, fused=True).step()
    for (name, own), plain in zip(other.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(own, plain, rtol=1e-5, atol=1e-6, msg=name)
        assert torch.equal(copied.get_parameter(name), own)


@pytest.mark.parametrize(
    "conv",
    [nn.Conv2d(128, 128, 3, padding=1, groups=2), nn.Conv2d(128, 128, 3, padding=2, dilation=2),
     nn.Conv2d(128, 128, 3, padding=1, padding_mode="reflect"), nn.Conv2d(128, 128, 3, padding="same")],
)  # fmt: skip
def test_other_convolutions_stay_as_they_are(conv: nn.Conv2d) -> None:
    images = torch.randn(2, 128, 2, 2)
    expected = conv(images)
    use_products(network(conv), images)
    assert torch.equal(conv(images), expected) and conv.weight.is_contiguous()
