"""Completion of ``gpaf-bench`` in a shell: ``python -m harness.completion SHELL``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

import shtab

from harness.__main__ import COMMANDS, PROGRAM
from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, run_command

EPILOG = f"""For this shell alone, bash or zsh:

  eval "$({PROGRAM} completion bash)"
  eval "$({PROGRAM} completion zsh)"

For every new one, write it to a file where the shell looks:

  {PROGRAM} completion bash > ~/.local/share/bash-completion/completions/{PROGRAM}
  {PROGRAM} completion zsh > FOLDER/_{PROGRAM}    with FOLDER in zsh's fpath
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.completion``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.completion",
        description=f"Print a script with which a shell completes {PROGRAM}'s commands, options and paths.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("shell", choices=shtab.SUPPORTED_SHELLS, help="the shell")
    return result


def whole() -> argparse.ArgumentParser:
    """One parser with every command below it."""
    result = argparse.ArgumentParser(prog=PROGRAM)
    commands = result.add_subparsers(metavar="COMMAND")
    for name, (module, about) in COMMANDS.items():
        own = importlib.import_module(module).parser()
        commands.add_parser(name, parents=[own], add_help=False, help=about, description=about)
        _complete_paths(own)
    return result


def _complete_paths(parser: argparse.ArgumentParser) -> None:
    """Say of each argument that is a path that it is one; ``parents`` shares the arguments themselves."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for own in action.choices.values():
                _complete_paths(own)
        elif action.type is user_path:
            action.complete = shtab.DIRECTORY if action.metavar in ("DIR", "FOLDER", "RUN") else shtab.FILE  # type: ignore[attr-defined]


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parse(parser(), argv)
    return run_command(lambda: _print(arguments.shell))


def _print(shell: str) -> int:
    print(shtab.complete(whole(), shell=shell))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
