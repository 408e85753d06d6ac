"""``gpaf-bench COMMAND``: the same commands as the ``python -m`` forms."""

from __future__ import annotations

import importlib
import sys

from harness.core.errors import EXIT_DONE, RequestError, run_command, shortened, suggestion

PROGRAM = "gpaf-bench"

COMMANDS = {
    "new": ("harness.new.__main__", "begin a method, a dataset or a sweep from a skeleton"),
    "sweep": ("harness.sweep.__main__", "run a sweep, or resume it"),
    "trial": ("harness.trial", "run one trial in this process, for debugging"),
    "plan": ("harness.plan.__main__", "what a sweep costs and what it can show, before it runs"),
    "evaluate": ("harness.evaluate.__main__", "score the kept models of a run on further images"),
    "predict": ("harness.predict.__main__", "predict new images with the kept models of a run"),
    "cases": ("harness.cases.__main__", "test images that all methods, none, or only one gets right"),
    "status": ("harness.status.__main__", "the progress of a run"),
    "doctor": ("harness.doctor.__main__", "find what is wrong with a run directory, and fix it"),
    "data": ("harness.data.__main__", "prepare a dataset, show its card, audit its split"),
    "networks": ("harness.networks.__main__", "list networks, look into a file of weights, fetch what a sweep needs"),
    "plugins": ("harness.plugins", "list methods and datasets, and what is broken"),
    "spec": ("harness.spec.__main__", "the JSON Schema of sweep files"),
    "export": ("harness.export.__main__", "a run in the formats of other tools"),
    "archive": ("harness.archive", "a run as one file that can be verified"),
    "chaos": ("harness.chaos", "disturb a sweep at random and compare it with an undisturbed run"),
    "replay": ("harness.replay", "repeat every ask and decision of a search and compare"),
    "check-methods": ("harness.check_methods", "check what every method promises, your own included"),
    "methods-pages": ("harness.methods_pages", "write a page for each method"),
    "report": ("analysis.report", "write the report of a run directory, or of tables of results"),
    "results-schema": ("analysis.comparison_results", "the JSON Schema of results.json"),
    "model-card": ("analysis.model_card", "a card of the models of one method on one dataset"),
    "checklist": ("analysis.checklist", "a checklist of the field (CLAIM, TRIPOD+AI, …), filled in from a run"),
    "changes": ("analysis.changes", "what changed between two reports"),
    "trace": ("analysis.trace", "the trials behind a number"),
    "reproduce": ("analysis.reproduce", "run the trials behind a number again and compare"),
    "completion": ("harness.completion.__main__", "a script with which a shell completes these commands"),
}
"""Name → its module, and one line about it: what this command, the README's list and the tests go by."""


def main() -> int:
    """Hand over to the named command."""
    return run_command(_main)


def _main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(f"usage: {PROGRAM} COMMAND …\n")
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
