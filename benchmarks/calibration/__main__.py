"""Do the intervals and tests hold what they promise? ``python -m benchmarks.calibration``

Sweeps of 6 methods on 3 datasets are drawn from a latent model of seeds and cases in which no method is better than
another, and analysed by the functions that the report uses. A claim of a difference is then false, and an interval that
misses zero misses the truth. Further parts: the power that a plan promises against the power found, equivalence at the
margin, the other metrics, whose pseudo-values are right to first order alone (coverage, and width against that of
the crossed bootstrap), several labels of one source of images, and replicates on several splits.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.calibration import first_order, null, power, scores, searches, sources, splits
from benchmarks.calibration.model import Row

PARTS = (null, power, scores, first_order, sources, splits, searches)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a setting and write all numbers as JSON; 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calibration", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--repetitions",
        type=int,
        default=2000,
        help="simulated sweeps a setting (default: 2000); a quarter of them where nothing is promised",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5, 10, 20], help="seeds a method (2 3 5 10 20)")
    parser.add_argument("--base-seed", type=int, default=0)
    parser.add_argument("--only", default="", help="only the settings whose name contains this text")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "results" / "calibration.json")
    options = parser.parse_args(arguments)
    repetitions, base = options.repetitions, options.base_seed
    rows, start = [], time.perf_counter()
    for part in PARTS:
        for name, job in part.settings(repetitions, base):
            for seeds in options.seeds if options.only in name else ():
                rows.append(job(seeds))
                print(f"{part.line(rows[-1])}: {_mark(rows[-1])}", flush=True)
    record = {
        "command": f"python -m benchmarks.calibration --repetitions {repetitions} --base-seed {base}",
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "seconds": time.perf_counter() - start,
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["met"] or not row.get("required", True) for row in rows) else 1


def _mark(row: Row) -> str:
    if row["met"]:
        return "met"
    return "NOT MET" if row.get("required", True) else "not met (nothing is promised here)"


if __name__ == "__main__":
    sys.exit(main())
