"""Networks without values, built in a fraction of the time and memory: for their names and shapes alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class _WithoutValues(TorchFunctionMode):
    """Parameters are made on the meta device and not initialised; small things that constructors compute are real.

    ``torch.device("meta")`` alone makes those meta as well, and a RegNet reads its widths out of a tensor.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        given: Mapping[str, Any] = kwargs or {}
        if func is torch.empty and given.get("device") is None:
            return func(*args, **{**given, "device": "meta"})
        if getattr(func, "__module__", None) == nn.init.__name__:
            return given.get("tensor", args[0] if args else None)
        return func(*args, **given)


def hollow(build: Callable[[], nn.Module]) -> nn.Module:
    """A network whose parameters have shapes and no values.

    Args:
        build: makes it.
    """
    try:
        with _WithoutValues():
            return build()
    except (RuntimeError, NotImplementedError):
        # A few networks run a layer while they are built, which mixes meta and real tensors.
        with torch.device("meta"):
            return build()
