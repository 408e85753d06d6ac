"""The parts of a network that share a learning rate: its stem and its blocks."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def blocks(backbone: nn.Module) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """Name and tensors of each part, in the network's order; every tensor is in exactly one.

    A module with a forward of its own that holds others (a residual block with its shortcut, a dense layer) is
    one part. What stands beside such modules is divided so that each part has one convolution or linear layer,
    with the norms around it: the stem, for one. ResNet-50 has 17 parts.
    """
    yield from _parts(backbone, "")


def _parts(module: nn.Module, path: str) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """The parts of a module that is a container or the whole network."""
    name, plain, has_weights = path, list(module.parameters(recurse=False)), False
    for child_name, child in module.named_children():
        child_path = f"{path}.{child_name}" if path else child_name
        if next(child.parameters(), None) is None:
            continue
        composite = next(child.children(), None) is not None
        matrix = any(p.dim() > 1 for p in child.parameters())
        if plain and (composite or (matrix and has_weights)):
            yield name, plain
            plain, has_weights = [], False
        if isinstance(child, _CONTAINERS):
            yield from _parts(child, child_path)
        elif composite:
            yield child_path, list(child.parameters())
        else:
            name = name if plain else child_path
            plain += child.parameters()
            has_weights |= matrix
    if plain:
        yield name, plain
