"""Do the intervals and tests hold what they promise? ``python -m benchmarks.calibration``

Sweeps of 6 methods on 3 datasets are drawn from a latent model of seeds and cases in which no method is better than
another, and analysed by the functions that the report uses. A claim of a difference is then false, and an interval that
misses zero misses the truth. Further parts: the power that a plan promises against the power found, equivalence at the
margin, posterior probabilities, the other metrics, whose pseudo-values are right to first order alone (coverage, and
width against that of the crossed bootstrap), several labels of one source of images, replicates on several splits,
evaluations beside the test split, subgroups, learning curves, several networks, and twins of a real learner that
is searched and confirmed. Every promise is a gate, judged by its worst count.

Two cores need about an hour; set ``OMP_NUM_THREADS=1``. With ``--keep`` an interrupted run continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.calibration import (
    first_order,
    networks,
    null,
    posterior,
    power,
    scores,
    searches,
    shifts,
    sizes,
    sources,
    splits,
    subgroups,
    twins,
)
from benchmarks.calibration.counting import Task, counted, program
from benchmarks.calibration.gates import judged
from benchmarks.calibration.judging import markdown

PARTS = {
    "null": null,
    "power": power,
    "scores": scores,
    "first order": first_order,
    "sources": sources,
    "splits": splits,
    "searches": searches,
    "posterior": posterior,
    "shifts": shifts,
    "subgroups": subgroups,
    "sizes": sizes,
    "networks": networks,
    "twins": twins,
}
"""By the name that their rows have."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a setting and a table of gates, and write all numbers as JSON; 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calibration", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--repetitions",
        type=int,
        default=2000,
        help="simulated sweeps a setting (default: 2000); a quarter of them where nothing is promised "
        "and for subgroups and the metrics right to first order, half for learning curves, a fifth for twins, a tenth "
        "for single scores",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5, 10, 20], help="seeds a method (2 3 5 10 20)")
    parser.add_argument("--base-seed", type=int, default=0)
    parser.add_argument("--only", default="", help="only the settings whose name contains this text")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="(default: one a core)")
    parser.add_argument("--keep", type=Path, help="a file for every count, to continue from")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "results" / "calibration.json")
    options = parser.parse_args(arguments)
    tasks = [
        Task(setting, seeds, options.base_seed)
        for part in PARTS.values()
        for setting in part.settings(options.repetitions, options.base_seed)
        for seeds in options.seeds
        if options.only in setting.name and seeds >= setting.fewest
    ]
    rows, start = [], time.perf_counter()
    for row in counted(tasks, options.processes, options.keep):
        rows.append(row)
        print(f"{len(rows)} of {len(tasks)}, {time.perf_counter() - start:.0f} s: {PARTS[row['part']].line(row)}")
        sys.stdout.flush()
    gates = judged(rows)
    only = f" --only {options.only!r}" if options.only else ""
    record = {
        "command": f"python -m benchmarks.calibration --repetitions {options.repetitions} --seeds "
        f"{' '.join(map(str, options.seeds))} --base-seed {options.base_seed}{only}",
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "program": program(),
        "processor_seconds": round(sum(row["processor_seconds"] for row in rows)),
        "gates": gates,
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print("\n".join(markdown(gates)))
    return 1 if any(gate["state"] == "not met" for gate in gates) else 0


if __name__ == "__main__":
    sys.exit(main())
