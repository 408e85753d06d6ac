"""A page a method, from its docstring, its search space and what was measured: ``python -m harness.methods_pages``."""

from __future__ import annotations

import argparse
import copy
import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, RequestError, one_line, run_command
from harness.core.output import say
from harness.proof.check_methods import chosen_methods
from harness.space.intervals import interval_of
from harness.space.parameters import Choice, Fixed, Parameter, Value, defaults

if TYPE_CHECKING:
    from harness.method import Method
    from harness.networks.backbones import Model
    from harness.plugins import Plugin
    from harness.proof.promises import MethodCheck

COUNTED = ("resnet18", "resnet50")
TRIED = ("resnet18", "resnet50", "densenet121", "vgg11_bn", "efficientnet_b0")
CHECKED, CHECKED_SIZE = "resnet20", 32
SIZE, CLASSES = 224, 4

INDEX = "README.md"
_GENERATED = "<!-- Written by `python -m harness.methods_pages`; change the method's docstring instead. -->"


def described(plugin: Plugin[Method]) -> str:
    """The part of a page that takes no network: title, docstring, properties, search space; Markdown."""
    from harness.method import Method as Base

    cls = plugin.cls
    norms = {
        "frozen": "frozen: evaluation mode, running statistics never move",
        "train": "batch statistics, running statistics move",
    }
    lines = [
        f"# `{plugin.name}`",
        "",
        _GENERATED,
        "",
        inspect.getdoc(cls) or "",
        "",
        "| property | value |",
        "|---|---|",
        f"| file | `{plugin.path.name}` |",
        f"| starts as the pretrained function | {_yes(cls.preserves_function)} |",
        f"| batch norms | {norms[cls.batch_norm]} |",
        f"| merges into plain layers | {_yes(cls.merge is not Base.merge)} |",
        "",
        "## Hyperparameters",
        "",
        "Those without a range are searched only where a sweep gives one.",
        "",
        "| name | default | searched in | understood |",
        "|---|---|---|---|",
        *(
            f"| `{name}` | {_value(parameter.default)} | {_range(parameter)} | {_allowed(name, parameter)} |"
            for name, parameter in cls.space.items()
        ),
        "",
    ]
    return "\n".join(lines)


def measured(plugin: Plugin[Method], networks: dict[str, Model]) -> str:
    """The part of a page that takes networks: counts, backbones, promises; Markdown.

    Args:
        plugin: the method.
        networks: unchanged networks by name, ``COUNTED`` and ``TRIED`` among them; they stay unchanged.
    """
    from harness.proof.promises import check

    adapted = {name: _adapted(plugin, model) for name, model in networks.items()}
    lines = [
        "## Cost",
        "",
        *_costs(adapted, moving=plugin.cls.batch_norm == "train"),
        "",
        "## Backbones",
        "",
        *(f"- {name}: {f'no: {result}' if isinstance(result, str) else 'yes'}" for name, result in adapted.items()),
        "",
        f"## Verified on {CHECKED}",
        "",
        *_promises(plugin, check(plugin.cls, CHECKED, CHECKED_SIZE)),
        "",
    ]
    return "\n".join(lines)


def index_row(plugin: Plugin[Method]) -> str:
    """The line of a method in the index, without what takes a network."""
    cls = plugin.cls
    summary = one_line(plugin.summary).replace("|", "\\|")
    return f"| [`{plugin.name}`]({plugin.name}.md) | {summary} | {_yes(cls.preserves_function)} | {cls.batch_norm} |"


def write_pages(plugins: Sequence[Plugin[Method]], out: Path) -> list[Path]:
    """Write the page of each method and the index; files that are as they should be keep their time stamp.

    Raises:
        RequestError: ``out`` is not a folder.
        OSError: it cannot be written.
    """
    from harness.core.files import update
    from harness.networks.backbones import build_model

    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RequestError(f"{out}: not a folder; choose another --out") from error
    networks = {name: build_model(name, None, CLASSES, seed=0)[0] for name in dict.fromkeys((*COUNTED, *TRIED))}
    paths = []
    for plugin in plugins:
        paths.append(out / f"{plugin.name}.md")
        update(paths[-1], (described(plugin) + "\n" + measured(plugin, networks)).encode())
    index = [
        "# Methods",
        "",
        _GENERATED,
        "",
        "| method | what it does | starts as pretrained | batch norms |",
        "|---|---|---|---|",
        *map(index_row, plugins),
        "",
    ]
    paths.append(out / INDEX)
    update(paths[-1], "\n".join(index).encode())
    return paths


def _adapted(plugin: Plugin[Method], model: Model) -> Model | str:
    """The adapted copy, or why there is none."""
    import torch

    changed = copy.deepcopy(model)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            plugin.cls().adapt(changed, defaults(plugin.cls.space))
    except (ValueError, RequestError) as error:
        return one_line(str(error))
    return changed


def _costs(adapted: dict[str, Model | str], moving: bool) -> Iterator[str]:
    from harness.networks.costs import cost, pretrained

    yield (
        f"With the default settings and {CLASSES} classes. Own: trained tensors that are neither of a norm nor of the "
        "head; the percentage is of own and norms. Storage: what one task needs beside the pretrained file. GMACs: "
        f"10⁹ multiply-adds of an image of {SIZE} pixels through the backbone's convolutions and linear layers, before "
        "and after; norms and activations are not counted."
    )
    yield ""
    yield "| backbone | own | norms | head | % | storage | GMACs before | GMACs |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for name in COUNTED:
        model = adapted[name]
        if isinstance(model, str):
            yield f"| {name} | cannot act on it | | | | | | |"
            continue
        found = cost(model, pretrained(name, None, SIZE), SIZE, None, moving)
        figures = {name: figure for name, figure in found.items() if figure is not None}
        yield (
            f"| {name} | {figures['own']:,} | {figures['norm']:,} | {figures['head']:,} | {figures['percent']:.3f} | "
            f"{figures['storage_bytes'] / 1e6:.2f} MB | {figures['multiply_adds_before'] / 1e9:.3f} | "
            f"{figures['multiply_adds'] / 1e9:.3f} |"
        )


def _promises(plugin: Plugin[Method], verdict: MethodCheck) -> Iterator[str]:
    from harness.proof.promises import promises

    if verdict.refusal is not None:
        yield f"Nothing: it cannot act on this network ({verdict.refusal})."
    elif verdict.violations:
        yield "**Broken:**"
        yield ""
        yield from (f"- {sentence}" for sentence in verdict.violations)
    else:
        yield f"By `python -m harness.check_methods --method {plugin.name}`, with the default settings:"
        yield ""
        yield from (f"- {sentence}" for sentence in promises(plugin.cls))


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _value(value: Value) -> str:
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def _range(parameter: Parameter) -> str:
    if isinstance(parameter, Fixed):
        return ""
    if isinstance(parameter, Choice):
        return ", ".join(map(_value, parameter.choices))
    return f"{parameter.low} to {parameter.high}{', logarithmic' if parameter.log else ''}"


def _allowed(name: str, parameter: Parameter) -> str:
    if isinstance(parameter, Fixed) and parameter.allowed:
        return ", ".join(map(_value, parameter.allowed))
    if isinstance(parameter.default, bool | str):
        return ""
    return interval_of(name, parameter.within).in_words()


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.methods_pages``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.methods_pages",
        description="Write a Markdown page for each method and an index: docstring, search space, counts, promises.",
    )
    result.add_argument(
        "--out", type=user_path, default=Path("docs/methods"), metavar="DIR", help="default: %(default)s"
    )
    result.add_argument("--plugins", action="append", default=[], type=user_path, metavar="DIR",
                        help="the methods of this folder; may be repeated (default: all methods)")  # fmt: skip
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = parse(parser(), arguments)

    def command() -> int:
        for path in write_pages(chosen_methods(options.plugins, [])[1], options.out):
            say(str(path))
        return EXIT_DONE

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
