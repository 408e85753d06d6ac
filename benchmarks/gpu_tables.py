"""The tables of ``benchmarks/gpu.sh``, from the files that it wrote: ``python -m benchmarks.gpu_tables FOLDER``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import card, packing, throughput


def main(argv: Sequence[str] | None = None) -> int:
    """Print what there is; a part that left no file is named."""
    folder = Path((sys.argv[1:] if argv is None else argv)[0])
    shows: dict[str, Callable[[Any], None]] = {
        "gpu_card.json": _card,
        "gpu_packing.json": lambda record: packing.show(record["rows"]),
        "gpu_packing_mps.json": lambda record: packing.show(record["rows"]),
        "gpu_throughput.json": _throughput,
        "gpu_compiled.json": _throughput,
    }
    for name, show in shows.items():
        path = folder / name
        if path.exists():
            print(f"\n{name}")
            show(json.loads(path.read_text()))
        else:
            print(f"\n{name}: not there; gpu.log tells why")
    return 0


def _card(record: Any) -> None:
    rows = [{**row, "shape": tuple(row["shape"])} for row in record["activations"]]
    card.show(record["ceilings"], rows)


def _throughput(record: Any) -> None:
    for case in record["cases"]:
        throughput.show(f"{case['case']}, {record['machine']['device']}", case["rows"])


if __name__ == "__main__":
    sys.exit(main())
