"""Which design of a confirmation keeps its level? ``python -m benchmarks.calibration.designs``

Sweeps of a real learner, softmax regression on 500 of scikit-learn's digits: two methods are searched and confirmed by
every design, with searches of several sizes and several numbers of replicates. Counted is how often the two are called
different at .05: twins, which are one method; halves, which are equal on average and differ on every training set; and
a method beside the same one trained half as long, which is really worse.

One core needs about 30 minutes for 400 sweeps of each; set ``OMP_NUM_THREADS=1``, because the matrices are small. With
``--keep`` an interrupted run continues where it stopped, and more repetitions add to those that are there.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.calibration.designs.counts import Kept, cells, outcomes, summary
from benchmarks.calibration.designs.figure import draw
from benchmarks.calibration.designs.frontier import keeping, shown_rows
from benchmarks.calibration.designs.layouts import DESIGNS
from benchmarks.calibration.designs.sweeps import POOL, SCENARIOS
from benchmarks.calibration.designs.tables import markdown
from benchmarks.calibration.model import Row

ROOT = Path(__file__).parents[3]
TRIALS, REPLICATES = (3, 6, 12, 30), (5, 10, 20)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line every few sweeps and a table, and write all numbers as JSON; 1 if no design keeps its level."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calibration.designs", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--repetitions", type=int, default=400, help="sweeps of each scenario (default: 400)")
    parser.add_argument("--trials", type=int, nargs="+", default=list(TRIALS), help="slots of a search (3 6 12 30)")
    parser.add_argument("--replicates", type=int, nargs="+", default=list(REPLICATES), help="replicates (5 10 20)")
    letters = list(dict.fromkeys(design.letter for design in DESIGNS))
    parser.add_argument("--designs", nargs="+", default=[], choices=letters, help="letters of designs (default: all)")
    parser.add_argument("--images", type=int, default=POOL, help="images that a sweep has, a multiple of 5 (500)")
    parser.add_argument("--base-seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the outcome of every sweep, to continue from")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "designs.json")
    parser.add_argument("--figure", type=Path, help="an SVG of level and power by cost")
    options = parser.parse_args(arguments)
    wanted = cells(options.trials, options.replicates, options.designs)
    kept = Kept(options.keep, wanted, options.images, options.base_seed)
    start = time.perf_counter()
    for repetition in range(options.repetitions):
        for scenario in SCENARIOS:
            if not kept.has(scenario.name, repetition):
                began = time.process_time()
                found = outcomes(
                    scenario, wanted, options.images, (options.base_seed, SCENARIOS.index(scenario), repetition)
                )
                kept.add(scenario.name, repetition, found, time.process_time() - began)
        if (repetition + 1) % 20 == 0:
            print(f"{repetition + 1} of {options.repetitions} sweeps, {time.perf_counter() - start:.0f} s", flush=True)
    rows = shown_rows(summary(wanted, kept, options.repetitions))
    sizes = {"trials": options.trials, "replicates": options.replicates, "designs": options.designs}
    numbers = {"repetitions": [options.repetitions], "images": [options.images], "base-seed": [options.base_seed]}
    given = [f"--{name} {' '.join(map(str, values))}" for name, values in {**numbers, **sizes}.items() if values]
    record = {
        "command": " ".join(["python -m benchmarks.calibration.designs", *given]),
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "processor_seconds": round(kept.seconds),
        "repetitions": options.repetitions,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(_written(record, rows), encoding="utf-8")
    print("\n".join(markdown(rows)))
    if options.figure:
        draw(rows, options.figure)
    return 0 if keeping(rows, "search") else 1


def _written(record: Mapping[str, object], rows: Sequence[Row]) -> str:
    """JSON with a line a row, of which there are hundreds."""
    head = json.dumps(record, indent=1).removesuffix("\n}")
    return f'{head},\n "rows": [\n  ' + ",\n  ".join(map(json.dumps, rows)) + "\n ]\n}\n"


if __name__ == "__main__":
    sys.exit(main())
