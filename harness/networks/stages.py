"""The stages of a network: what its architecture calls by one name, or what its sequence of blocks shows."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from torch import nn

# ``layer1``, ``features.denseblock1``, ``trunk_output.block1``; ``stages.0``, ``blocks.0``; ``s1``. Only near the
# top of the path: further down, ``block.2`` is a place inside a residual block.
_NAMED = re.compile(r"(?:(?:\w+\.)?(?:layer|stage|block|denseblock)_?|(?:stages|blocks)\.|s)(\d+)(?=\.|$)")
_Parts = list[tuple[str, nn.Module]]


def stages(backbone: nn.Module) -> dict[str, int]:
    """The number of the stage that each module is in, by the module's path; what is in no stage is not there.

    Where the architecture names its stages (``layer1`` of a ResNet, ``denseblock1`` of a DenseNet, ``block1`` of a
    RegNet, ``stages.0`` and ``blocks.0`` in timm), they are these. Otherwise they are found in the sequence that
    most of its convolutions are in, in this order: the parts of it that are sequences of blocks (EfficientNet,
    ConvNeXt), what lies between its poolings (VGG), or its neighbouring blocks of one width (MobileNetV2 and V3).
    Numbers are the architecture's own, from 1 where it counts from 0. Stem, downsampling between stages and
    closing layers are in no stage, unless nothing sets them apart (VGG).

    Returns:
        At least two stages, or nothing where none can be told apart.
    """
    paths = [path for path, _ in backbone.named_modules()]
    heads = _named(paths) or _in_sequence(backbone)
    if len(set(heads.values())) < 2:
        return {}
    places = {path: next((head for head in _above(path) if head in heads), None) for path in paths}
    return {path: heads[head] for path, head in places.items() if head is not None}


def _above(path: str) -> Iterator[str]:
    """The path itself and those of what it is in, the innermost first."""
    while path:
        yield path
        path = path.rpartition(".")[0]


def _named(paths: list[str]) -> dict[str, int]:
    matches = filter(None, map(_NAMED.match, paths))
    numbers = {match[0]: int(match[1]) for match in matches}
    shift = 1 if 0 in numbers.values() else 0
    return {path: number + shift for path, number in numbers.items()}


def _in_sequence(backbone: nn.Module) -> dict[str, int]:
    sequences = [(name, child) for name, child in backbone.named_children() if isinstance(child, nn.Sequential)]
    if not sequences:
        return {}
    top, sequence = max(sequences, key=lambda one: len(_convolutions(one[1])))
    parts = [(f"{top}.{name}", child) for name, child in sequence.named_children()]
    return _sequences_of_blocks(parts) or _between_poolings(parts) or _blocks_of_one_width(parts)


def _sequences_of_blocks(parts: _Parts) -> dict[str, int]:
    found = [path for path, part in parts if isinstance(part, nn.Sequential) and all(map(_composite, part))]
    return {path: number for number, path in enumerate(found, 1)} if len(found) > 1 else {}


def _between_poolings(parts: _Parts) -> dict[str, int]:
    pools = list(itertools.accumulate((isinstance(part, nn.MaxPool2d) for _, part in parts), initial=1))
    weighty = {path: number for (path, part), number in zip(parts, pools, strict=False) if _has_weights(part)}
    return weighty if pools[-1] > 1 else {}


def _blocks_of_one_width(parts: _Parts) -> dict[str, int]:
    blocks = [(path, part) for path, part in parts if _composite(part) and not isinstance(part, nn.Sequential)]
    groups = itertools.groupby(blocks, key=lambda one: [c.out_channels for c in _convolutions(one[1])[-1:]])
    return {path: number for number, (_, group) in enumerate(groups, 1) for path, _ in group}


def _composite(module: nn.Module) -> bool:
    return next(module.children(), None) is not None


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [one for one in module.modules() if isinstance(one, nn.Conv2d)]


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
