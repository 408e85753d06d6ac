"""Every method on every kind of network: which pairs work, which are not defined, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from harness.method import Method
from harness.plugins import Plugin
from harness.proof.promises import MethodCheck, check

NETWORKS = (
    "resnet20",
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "densenet121",
    "vgg11_bn",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "regnet_y_400mf",
    "convnext_tiny",
    "timm:efficientnet_lite0",
    "timm:efficientnet_b0_gn",
)
"""One or more of each kind: residual, grouped, dense and plain; depthwise with ReLU6, Hardswish and SiLU; batch, group
and layer norms; ReLU and GELU; torchvision and timm."""

PAGE = "networks.md"


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """A method on a network."""

    method: str
    network: str
    verdict: MethodCheck

    def __str__(self) -> str:
        if self.verdict.refusal is not None:
            return f"{self.method} on {self.network}: not defined: {self.verdict.refusal}"
        broken = "; ".join(self.verdict.violations)
        return f"{self.method} on {self.network}: {f'BROKEN: {broken}' if broken else 'works'}"


def matrix(methods: Sequence[Plugin[Method]], networks: Sequence[str], size: int) -> Iterator[MatrixCell]:
    """Check every method on every network, network by network.

    Args:
        methods: each with its default settings.
        networks: as for ``build_model``; with random weights.
        size: side of the square images, in pixels.

    Raises:
        RequestError: there is no such network.
    """
    for network in networks:
        for plugin in methods:
            yield MatrixCell(plugin.name, network, check(plugin.cls, network, size, briefly=True))


def page(cells: Sequence[MatrixCell], command: str, link: Callable[[str], str] = "[`{0}`]({0}.md)".format) -> str:
    """The cells as a Markdown page: a table, and below it why a pair is not defined or what it breaks.

    Args:
        cells: what ``matrix`` gave.
        command: that wrote the page.
        link: a method's name → how the table shows it.
    """
    methods, networks = (list(dict.fromkeys(getattr(cell, name) for cell in cells)) for name in ("method", "network"))
    notes = list(dict.fromkeys(note for cell in cells if (note := _note(cell)) is not None))
    shown = {(cell.method, cell.network): _mark(notes, _note(cell)) for cell in cells}
    return "\n".join(
        [
            "# Methods and networks",
            "",
            f"<!-- Written by `{command}`; change a method instead. -->",
            "",
            "Each method with its default settings on each network, with random weights. *yes*: it keeps what its page",
            "says under *Verified*: it starts as the pretrained function where it promises that, trains what its",
            "formula counts and nothing else, and merges where it merges; resuming is verified on the page's network.",
            "A letter: it is not defined there, for the reason below. A sweep that names such a pair is refused before",
            "it is launched.",
            "",
            f"| method | {' | '.join(name.removeprefix('timm:') for name in networks)} |",
            f"|---|{':-:|' * len(networks)}",
            *(f"| {link(m)} | {' | '.join(shown[m, network] for network in networks)} |" for m in methods),
            "",
            *(f"- **{_mark(notes, note)}**: {note}" for note in notes),
            *([""] if notes else []),
        ]
    )


def _note(cell: MatrixCell) -> str | None:
    if cell.verdict.refusal is not None:
        return f"`{cell.method}` is not defined: {cell.verdict.refusal}"
    if cell.verdict.violations:
        return f"`{cell.method}` is **broken**: {'; '.join(cell.verdict.violations)}"
    return None


def _mark(notes: Sequence[str], note: str | None) -> str:
    return "yes" if note is None else f"({_letters(notes.index(note))})"


def _letters(number: int) -> str:
    """a to z, then aa, ab and so on."""
    first, last = divmod(number, len(ascii_lowercase))
    return (_letters(first - 1) if first else "") + ascii_lowercase[last]
