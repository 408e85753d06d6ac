"""Check the promises of methods and samplers: ``python -m harness.check_methods [--plugins DIR] [--matrix]``.

It runs ``harness.proof.conformance`` over every method that is found, or over those of the given folders, and
``harness.proof.sampler_conformance`` over the samplers of these folders, and prints what each one breaks. With
``--matrix`` it runs the methods on a network of every kind, and can write the table as a page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, run_command
from harness.core.output import say
from harness.method import Method

if TYPE_CHECKING:
    from harness.method import Method
    from harness.plugins import Catalogue, Plugin


def chosen_methods(folders: Sequence[Path], names: Sequence[str]) -> tuple[Catalogue, list[Plugin[Method]]]:
    """The methods that a command line means, by name.

    Args:
        folders: more plugins; where any are given and no names, theirs alone are meant.
        names: of methods, from anywhere.

    Raises:
        RequestError: a folder or a name does not exist, or there is no method.
    """
    from harness.plugins import discover

    catalogue = discover(folders)
    if names:
        return catalogue, [catalogue.find(Method, name, "--method") for name in names]
    homes = {folder.resolve() for folder in folders}
    methods = [
        one for _, one in sorted(catalogue.all(Method).items()) if not homes or one.path.resolve().parent in homes
    ]
    return catalogue, methods


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.check_methods``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.check_methods",
        description="Check what methods promise, on a network with random weights, and what samplers promise.",
        epilog="exit codes: 0 all kept, 1 something is broken, 2 the request was wrong",
    )
    result.add_argument("--plugins", action="append", default=[], type=user_path, metavar="DIR",
                        help="check what is in this folder; may be repeated (default: all methods)")  # fmt: skip
    result.add_argument(
        "--method", action="append", default=[], metavar="NAME", help="check only this one; may be repeated"
    )
    result.add_argument("--backbone", action="append", default=[], metavar="NAME",
                        help="network; may be repeated (default: resnet20, or with --matrix every kind)")  # fmt: skip
    result.add_argument("--size", type=int, default=32, metavar="PX", help="side of the images (default: %(default)s)")
    result.add_argument("--matrix", action="store_true",
                        help="which methods work on which kinds of networks (an hour for all)")  # fmt: skip
    result.add_argument("--out", type=user_path, metavar="FILE", help="with --matrix: write the table as Markdown")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Print each method with what it breaks; 1 when anything is broken."""
    options = parse(parser(), arguments)
    return run_command(lambda: _command(options))


def _command(options: argparse.Namespace) -> int:
    from harness.networks.backbones import check_backbone

    if options.size < 8:
        raise RequestError(f"--size {options.size}: images need at least 8 pixels")
    if options.out is not None and not options.matrix:
        raise RequestError("--out: there is a table only with --matrix; give that too, or leave --out out")
    for backbone in options.backbone:
        check_backbone(backbone, None)
    if options.matrix:
        return _check_matrix(options.plugins, options.method, options.backbone, options.size, options.out)
    backbones = options.backbone or ["resnet20"]
    return max(_check_all(options.plugins, options.method, backbone, options.size) for backbone in backbones)


def _check_matrix(
    folders: Sequence[Path], names: Sequence[str], backbones: Sequence[str], size: int, out: Path | None
) -> int:
    from harness.core.files import update
    from harness.networks.backbones import check_backbone
    from harness.proof.matrix import NETWORKS, matrix, page

    methods = chosen_methods(folders, names)[1]
    for backbone in backbones or NETWORKS:
        check_backbone(backbone, None)
    cells = []
    for cell in matrix(methods, backbones or NETWORKS, size):
        say(str(cell))
        cells.append(cell)
    if out is not None:
        update(out, page(cells, "python -m harness.check_methods --matrix --out docs/methods/networks.md").encode())
    return EXIT_SOME_FAILED if any(cell.verdict.violations for cell in cells) else EXIT_DONE


def _check_all(folders: Sequence[Path], names: Sequence[str], backbone: str, size: int) -> int:
    from harness.proof.promises import check
    from harness.proof.sampler_conformance import violations
    from harness.search import Sampler

    catalogue, methods = chosen_methods(folders, names)
    homes = {folder.resolve() for folder in folders}
    bad = [one for one in catalogue.broken if not homes or one.path.resolve().parent in homes] if not names else []
    for broken in bad:
        say(f"{broken.name}: BROKEN: {broken.path}: {broken.error}")
    samplers = [
        one for _, one in sorted(catalogue.all(Sampler).items()) if one.path.resolve().parent in homes and not names
    ]
    if not methods and not samplers and not bad:
        raise RequestError(
            "--plugins: there is no method in it, and no sampler; each is a class derived from harness.api's Method or "
            "Sampler"
        )
    failed = len(bad)
    for plugin in methods:
        verdict = check(plugin.cls, backbone, size)
        if verdict.refusal is not None:
            say(f"method {plugin.name}: cannot act on {backbone}: {verdict.refusal}")
        else:
            failed += _told(f"method {plugin.name}", verdict.violations)
    failed += sum(_told(f"sampler {one.name}", tuple(violations(one.cls))) for one in samplers)
    return EXIT_SOME_FAILED if failed else EXIT_DONE


def _told(name: str, violations: Sequence[str]) -> bool:
    """Print what a plugin breaks; whether it breaks anything."""
    say("\n".join([f"{name}: {'BROKEN' if violations else 'kept'}", *(f"    {one}" for one in violations)]))
    return bool(violations)


if __name__ == "__main__":
    sys.exit(main())
