"""A tensor cut into parts that stay in a processor's cache while many single operations are applied to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from harness.activations.formulas import Rows, widen

_PART = {"cpu": 1 << 16}
"""Elements that a part has for each thread, on a GPU 2**26: what is needed at a time stays in a core's own cache."""
_ROW = 1 << 10
"""Elements of a row of channels-last images, at most, where a place has no more."""


class Grid:
    """A tensor (N, C, …) as rows that meet the channels in the same order, (rows, …, …), as it lies in memory.

    What belongs to a channel is written out over a row where that is short, so that all loops are long.
    """

    def __init__(self, x: Tensor) -> None:
        last = x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
        self.layout = torch.channels_last if last else torch.contiguous_format
        images, channels = x.shape[:2]
        places = math.prod(x.shape[2:])
        if last:
            block = _places_of_a_row(places, channels)
            self._shape, self._axis = (images * places // block, block, channels), 1
        else:
            self._shape, self._axis = (images, channels, places), 2
        wide = widen(x[:0])
        self._dtype, self._threads = wide.dtype, torch.get_num_threads() if x.device.type == "cpu" else 1
        self._part = _PART.get(x.device.type, 1 << 26)

    def view(self, tensor: Tensor) -> Tensor:
        """The rows of a tensor of this shape."""
        lying = tensor.contiguous(memory_format=self.layout)
        return (lying.permute(0, 2, 3, 1) if self.layout == torch.channels_last else lying).view(self._shape)

    def spread(self, per_channel: Tensor) -> Rows:
        """The lines of a tensor (k, C), each of a shape that broadcasts with a row."""
        lines = per_channel.to(self._dtype)
        if self._axis == 1:
            return lines[:, None].expand(-1, *self._shape[1:]).contiguous().unbind()
        rows = lines[:, :, None]
        short = math.prod(self._shape[1:]) <= _PART["cpu"]
        return (rows.expand(-1, *self._shape[1:]).contiguous() if short else rows).unbind()

    def gather(self, rows: Sequence[Tensor]) -> Tensor:
        """The sums over each channel of what ``spread`` has given the shape of, (k, C)."""
        return torch.stack([row.sum(self._axis - 1) for row in rows])

    def parts(self) -> list[slice]:
        """Rows that are computed at a time."""
        size = max(1, self._part * self._threads // max(1, math.prod(self._shape[1:])))
        return [slice(start, start + size) for start in range(0, self._shape[0], size)]


@lru_cache(maxsize=1024)
def _places_of_a_row(places: int, channels: int) -> int:
    """The largest divisor of the number of places with which a row is no longer than ``_ROW``; at least 1."""
    most = max(1, _ROW // channels)
    return next(size for size in range(min(most, places), 0, -1) if places % size == 0)
