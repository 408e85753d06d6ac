"""The JSON Schema of the sweep file, with the names of built-in plugins: ``python -m harness.spec --schema``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from harness.core.arguments import parse
from harness.core.errors import run_command
from harness.evaluation import Evaluation
from harness.launcher import Launcher
from harness.metrics.metric import Metric
from harness.plugins import packaged
from harness.search import Engine, Sampler
from harness.search.sampler import WORKERS
from harness.spec.sections import json_schema


def schema() -> dict[str, Any]:
    """The form of a sweep file, for editors."""
    known = packaged()
    names = {contract.kind: [*known.all(contract)] for contract in (Sampler, Launcher, Metric, Evaluation)}
    return json_schema({**names, Engine.kind: [WORKERS, *known.all(Engine)]})


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.spec``."""
    result = argparse.ArgumentParser(prog="python -m harness.spec", description="The form of a sweep file.")
    result.add_argument("--schema", action="store_true", required=True, help="print its JSON Schema")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the JSON Schema."""
    parse(parser(), arguments)
    return run_command(_print_schema)


def _print_schema() -> int:
    # JSON has escapes of its own for what the reader of the output cannot show.
    plain = "utf" not in (sys.stdout.encoding or "utf-8").lower()
    print(json.dumps(schema(), indent=2, ensure_ascii=plain))
    return 0
