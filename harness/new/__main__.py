"""``python -m harness.new method|dataset|sweep NAME``: write a commented skeleton that passes its checks."""

from __future__ import annotations

import argparse
import keyword
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, RequestError, run_command
from harness.core.output import say

_TEMPLATES = Path(__file__).parent / "templates"
_PLUGINS = "my_plugins"
KINDS = {
    "method": (
        "method.py.txt",
        _PLUGINS,
        "python -m harness.check_methods --plugins {folder} --method {name}",
    ),
    "dataset": (
        "dataset.py.txt",
        _PLUGINS,
        "python -m harness.data {name} --plugins {folder} --data-root FOLDER",
    ),
    "sweep": ("sweep.yaml.txt", "sweeps", "python -m harness.sweep {path} --dry-run"),
}
"""Kind → its skeleton, the folder that it is written to by default, and the command that checks it."""


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.new``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.new",
        description="Write a commented skeleton of a method, a dataset or a sweep, which passes its checks.",
    )
    result.add_argument("kind", choices=list(KINDS), help="what to begin")
    result.add_argument("name", help="its name, as sweep files have it: letters, digits and underscores")
    result.add_argument(
        "--into", type=user_path, metavar="DIR", help="folder to write to (my_plugins; sweeps for a sweep)"
    )
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = parse(parser(), arguments)
    return run_command(lambda: _run(given))


def _run(arguments: argparse.Namespace) -> int:
    name, kind = arguments.name, arguments.kind
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        alone = re.sub(r"[^a-z0-9_]+", "_", Path(name).stem.lower()).strip("_0123456789")
        meant = f"; did you mean {alone}? --into says where to write it" if alone else ""
        raise RequestError(
            f"{name!r}: a name has small letters, digits and underscores, and begins with a letter{meant}"
        )
    template, default, check = KINDS[kind]
    folder = arguments.into or Path(default)
    path = folder / f"{name}{Path(template.removesuffix('.txt')).suffix}"
    text = Template((_TEMPLATES / template).read_text(encoding="utf-8")).substitute(
        name=name,
        title=name.replace("_", " ").capitalize(),
        class_name="".join(part.capitalize() for part in name.split("_")),
        file=path.as_posix(),
        plugins=Path(os.path.relpath(_PLUGINS, folder)).as_posix(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise RequestError(f"{path}: is there already; choose another name, or remove it") from error
    say(str(path))
    print(f"next: {check.format(folder=folder, name=name, path=path)}", file=sys.stderr)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
