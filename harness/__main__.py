"""``gpaf-bench COMMAND``: the same commands as the ``python -m`` forms."""

from __future__ import annotations

import importlib
import sys

from harness.core.errors import EXIT_DONE, RequestError, run_command, shortened, suggestion

COMMANDS = {
    "sweep": ("harness.sweep.__main__", "run a sweep, or go on with it"),
    "trial": ("harness.trial", "run one trial here and now, for debugging"),
    "plan": ("harness.plan.__main__", "say what a sweep costs and what it can show, before it runs"),
    "data": ("harness.data.__main__", "prepare a dataset, look at it, audit its split"),
    "plugins": ("harness.plugins", "list methods and datasets, and what is broken"),
    "check-methods": ("harness.proof.check_methods", "run what every method promises, your own included"),
    "methods-pages": ("harness.proof.methods_pages", "write a page for each method"),
    "chaos": ("harness.proof.chaos.__main__", "disturb a sweep at random and compare with an undisturbed run"),
    "replay": ("harness.proof.replay", "ask every search slot again and compare"),
    "report": ("analysis.report", "write the report of a run directory again"),
}


def main() -> int:
    """Hand over to the named command."""
    return run_command(_main)


def _main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print("usage: gpaf-bench COMMAND …\n")
        for name, (module, what) in COMMANDS.items():
            print(f"  {name:<15}{what} (python -m {module.removesuffix('.__main__')})")
        return EXIT_DONE
    name = sys.argv[1]
    if name not in COMMANDS:
        raise RequestError(f"no command {shortened(name)!r}{suggestion(name, COMMANDS)}")
    answer: int = importlib.import_module(COMMANDS[name][0]).main(sys.argv[2:])
    return answer


if __name__ == "__main__":
    sys.exit(main())
