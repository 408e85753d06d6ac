"""Check the promises of methods and samplers: ``python -m harness.check_methods [--plugins DIR]``.

It runs ``harness.proof.conformance`` over every method that is found, or over those of the given folders, and
``harness.proof.sampler_conformance`` over the samplers of these folders, and prints what each one breaks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, one_line, run_command
from harness.core.output import say
from harness.method import Method

if TYPE_CHECKING:
    from harness.method import Method
    from harness.plugins import Catalogue, Plugin


@dataclass(frozen=True, slots=True)
class MethodCheck:
    """What became of one method on one network."""

    refusal: str | None
    """Why it cannot act on this network, in the words of its ``ValueError``; None where it can."""
    violations: tuple[str, ...]
    """One sentence a broken promise."""


def check(method: type[Method], backbone: str, size: int) -> MethodCheck:
    """Adapt, train for a few steps, merge and resume, on fixed random weights and the method's default settings.

    Args:
        method: the class under test.
        backbone: as for ``build_model``.
        size: side of the square images, in pixels.

    Raises:
        RequestError: there is no such backbone.
    """
    from harness.proof.conformance import random_network, violations
    from harness.space.parameters import defaults
    from harness.train.run import describe

    network = random_network(backbone, size)
    try:
        method().adapt(network, defaults(method.space))
    except ValueError as error:
        return MethodCheck(one_line(str(error)), ())
    except Exception as error:  # noqa: BLE001  (a plugin may fail in any way, and the next one is to be checked)
        return MethodCheck(None, (f"adapt raised {describe(error)}",))
    try:
        return MethodCheck(None, tuple(violations(method, lambda: random_network(backbone, size), size=size)))
    except Exception as error:  # noqa: BLE001  (as above)
        return MethodCheck(None, (f"raised {describe(error)}",))


def promises(method: type[Method]) -> Iterator[str]:
    """What ``check`` finds kept where it finds nothing, in words; a method promises more than another."""
    from harness.method import Method as Base
    from harness.proof.conformance import MERGE_TOLERANCE, STEPS

    yield "the head starts with the values that it has for every method"
    if method.preserves_function:
        yield "before its first step the network gives the pretrained logits bit for bit"
    if method.expected_trainable is not Base.expected_trainable:
        yield "as many scalars train as its formula says"
    yield "each tensor that trains stands in one optimiser group, each frozen one in none"
    yield f"each tensor that trains has changed after {STEPS} steps"
    moving = ", running statistics of batch norms excepted" if method.batch_norm == "train" else ""
    yield f"frozen tensors and buffers are bit for bit as before{moving}"
    if method.merge is not Base.merge:
        yield f"merged into plain layers, no logit differs by more than {MERGE_TOLERANCE:g} of the largest"
    yield "a deep copy can be merged without a change of the original"
    yield "interrupted and resumed from a checkpoint, the next step is the same bit for bit"


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Print each method with what it breaks; 1 when anything is broken."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.check_methods",
        description="Check what methods promise, on a network with random weights, and what samplers promise.",
        epilog="exit codes: 0 all kept, 1 something is broken, 2 the request was wrong",
    )
    parser.add_argument("--plugins", action="append", default=[], type=user_path, metavar="DIR",
                        help="check what is in this folder; may be repeated (default: all methods)")  # fmt: skip
    parser.add_argument(
        "--method", action="append", default=[], metavar="NAME", help="check only this one; may be repeated"
    )
    parser.add_argument("--backbone", default="resnet20", metavar="NAME", help="network (default: %(default)s)")
    parser.add_argument("--size", type=int, default=32, metavar="PX", help="side of the images (default: %(default)s)")
    options = parse(parser, arguments)
    return run_command(lambda: _check_all(options.plugins, options.method, options.backbone, options.size))


def _check_all(folders: Sequence[Path], names: Sequence[str], backbone: str, size: int) -> int:
    from harness.networks.backbones import check_backbone
    from harness.proof.sampler_conformance import violations
    from harness.search import Sampler

    if size < 8:
        raise RequestError(f"--size {size}: images need at least 8 pixels")
    check_backbone(backbone, None)
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
