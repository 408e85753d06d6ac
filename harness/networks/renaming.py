"""How other programs name the tensors of the same networks: one open table.

A layout maps each name in the network to the name in a file. What comes before all names (``module.``,
``encoder_q.``, …) is no part of a layout: ``harness.networks.fitting`` finds it in the file itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Names: TypeAlias = Mapping[str, str]
"""Name in the network → name in the file."""


@dataclass(frozen=True)
class NameLayout:
    """One program's names."""

    name: str
    """What a user knows it as."""
    names: Callable[[Iterable[str]], Names]
    """The names in a file of those in a network; empty where the network is none that this program has."""

    def renames(self, name: str) -> str:
        """The name in a file of a module or tensor that the network itself may not have, such as its classifier."""
        return self.names([name]).get(name, name)


def _by_patterns(*pairs: tuple[str, str]) -> Callable[[Iterable[str]], Names]:
    """Names whose beginning one of some patterns matches, the first that does; the others stay as they are."""
    compiled = [(re.compile(pattern), to) for pattern, to in pairs]

    def names(wanted: Iterable[str]) -> Names:
        found: dict[str, str] = {}
        changed = False
        for name in wanted:
            pattern, to = next(((p, to) for p, to in compiled if p.match(name)), (None, ""))
            found[name] = name if pattern is None else pattern.sub(to, name, count=1)
            changed = changed or pattern is not None
        return found if changed else {}

    return names


_TIMM_BLOCK = re.compile(r"blocks\.(\d+)\.(\d+)\.(\w+)\.(.+)")
_STEM_AND_HEAD = {
    "conv_stem": "_conv_stem",
    "bn1": "_bn0",
    "conv_head": "_conv_head",
    "bn2": "_bn1",
    "classifier": "_fc",
}
_EXPANDED = {
    **{"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"},
    **{"conv_pwl": "_project_conv", "bn3": "_bn2"},
}
_NOT_EXPANDED = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
_SQUEEZE = {"conv_reduce": "_se_reduce", "conv_expand": "_se_expand"}


def _efficientnet_pytorch(wanted: Iterable[str]) -> Names:
    """timm numbers blocks within stages, efficientnet_pytorch from the first to the last.

    A block that does not expand its channels has no first convolution, so its norms count from 1.
    """
    names = list(wanted)
    matches = {name: match for name in names if (match := _TIMM_BLOCK.fullmatch(name))}
    places = sorted({(int(match[1]), int(match[2])) for match in matches.values()})
    expanded = {(int(match[1]), int(match[2])) for match in matches.values() if match[3] == "conv_pwl"}
    found: dict[str, str] = {}
    for name in names:
        match = matches.get(name)
        if match is None:
            module, _, rest = name.partition(".")
            if module not in _STEM_AND_HEAD:
                return {}
            found[name] = f"{_STEM_AND_HEAD[module]}.{rest}" if rest else _STEM_AND_HEAD[module]
            continue
        place, module, rest = (int(match[1]), int(match[2])), match[3], match[4]
        below, _, inner = rest.partition(".")
        if module == "se" and below in _SQUEEZE:
            theirs = f"{_SQUEEZE[below]}.{inner}"
        else:
            own = _EXPANDED if place in expanded else _NOT_EXPANDED
            if module not in own:
                return {}
            theirs = f"{own[module]}.{rest}"
        found[name] = f"_blocks.{places.index(place)}.{theirs}"
    return found


_CHILDREN_OF_RESNET = _by_patterns(
    (r"conv1\.", "0."),
    (r"bn1\.", "1."),
    *((rf"layer{stage}\.", f"{stage + 3}.") for stage in (1, 2, 3, 4)),
    (r"fc(\.|$)", r"9\1"),
)

LAYOUTS = (
    NameLayout("the network's own names", lambda wanted: {name: name for name in wanted}),
    NameLayout("efficientnet_pytorch", _efficientnet_pytorch),
    NameLayout(
        "DenseNet before torchvision 0.3 (norm.1)",
        _by_patterns((r"(features\.denseblock\d+\.denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.")),
    ),
    NameLayout("children of a ResNet in a Sequential (RadImageNet)", _CHILDREN_OF_RESNET),
    NameLayout("children of a DenseNet in a Sequential (RadImageNet)", _by_patterns((r"features\.", "0."))),
    NameLayout(
        "ConvNeXt of its authors",
        _by_patterns(
            (r"stem\.(\d)\.", r"downsample_layers.0.\1."),
            (r"stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
            (r"stages\.(\d)\.blocks\.(\d+)\.conv_dw\.", r"stages.\1.\2.dwconv."),
            (r"stages\.(\d)\.blocks\.(\d+)\.mlp\.fc([12])\.", r"stages.\1.\2.pwconv\3."),
            (r"stages\.(\d)\.blocks\.(\d+)\.", r"stages.\1.\2."),
            (r"head\.norm\.", "norm."),
            (r"head\.fc(\.|$)", r"head\1"),
        ),
    ),
)
"""In the order in which they are tried; the first of those that fit equally well is taken."""

PREFERRED = frozenset({"teacher", "state_dict_ema", "model_ema", "ema"})
"""Where several branches of a training state fit: averages over its steps, which their authors evaluate, come first."""

LAST = frozenset(
    {
        *("encoder_k", "momentum_encoder", "momentum_backbone", "momentum_net", "target_encoder", "target_network"),
        *("target_backbone", "key_encoder", "encoder_momentum", "target"),
    }
)
"""Copies that a training follows at a distance (MoCo, BYOL): taken only where nothing else fits."""

HARMLESS = ("num_batches_tracked", "total_ops", "total_params")
"""Ends of names of counters: they may be missing, or stand where the network has none."""


def rank(words: Iterable[str]) -> int:
    """0 for what is preferred, 2 for what comes last, 1 for all else; ``words`` are the keys on the way to a tensor."""
    given = set(words)
    return 2 if given & LAST else 0 if given & PREFERRED else 1
