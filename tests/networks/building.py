"""Whether two networks are the same one, and in which words one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from harness.core.errors import RequestError
from harness.networks.backbones import build_model


def same(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def refusal(name: str, weights: str | Path | None) -> str:
    with pytest.raises(RequestError) as caught:
        build_model(name, weights, 3, seed=0)
    message = str(caught.value)
    assert "\n" not in message
    return message
