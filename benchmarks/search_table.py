"""A table of real trials for ``benchmarks.search``: the validation curves of 60 points of a small grid.

``python -m benchmarks.search_table --data-root DIR`` trains it and writes ``benchmarks/results/search_curves.csv``, a
row for each configuration and epoch. BreastMNIST (``breastmnist.npz`` lies in DIR), a ResNet-20 from random weights,
fully trained. Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from harness.core.errors import EXIT_DONE, RequestError, run_command
from harness.run.directory import RunDirectory

TABLE = Path(__file__).parent / "results" / "search_curves.csv"
METRIC = "auc"
RATES = [float(f"{rate:.3g}") for rate in np.geomspace(1e-5, 0.3, 12)]
CONFIGURATIONS = 60
"""Of the grid of rates and ratios, in random order."""
RATIOS = [float(f"{ratio:.3g}") for ratio in np.geomspace(0.1, 100, 8)]

TRAIN = {"epochs": 27, "batch_size": 64, "image_size": 14}
SEARCH = {"sampler": "grid", "trials": CONFIGURATIONS, "metric": METRIC}
SWEEP = {
    "name": "search_table",
    "backbone": {"name": "resnet20", "weights": None},
    "datasets": ["breastmnist"],
    "methods": [
        {
            "full_finetune": {
                "lr": {"choice": RATES, "default": RATES[3]},
                "head_lr_ratio": {"choice": RATIOS, "default": RATIOS[5]},
            }
        }
    ],
    "confirm": {"seeds": 1, "repeat": False},
    "launch": {"kind": "local", "workers": 1, "threads": 1},
}


def record(run_dir: Path, data_root: Path, table: Path, configurations: int, epochs: int) -> int:
    """Train what is missing of the table and write it."""
    run_dir.mkdir(parents=True, exist_ok=True)
    file = run_dir / "search_table.yaml"
    changed = {"search": {**SEARCH, "trials": configurations}, "train": {**TRAIN, "epochs": epochs}}
    file.write_text(yaml.safe_dump({**SWEEP, **changed}))
    run = run_dir / "run"
    command = [sys.executable, "-m", "harness.sweep", str(file), "--run-dir", str(run), "--data-root", str(data_root)]
    code = subprocess.run(command).returncode
    if code != EXIT_DONE:
        raise RequestError(f"the sweep ended with code {code}; the same command goes on")
    (study,) = RunDirectory(run).studies()
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("lr", "head_lr_ratio", "epoch", "step", METRIC))
        for slot in range(configurations):
            trial = study.search_trial(slot, 0)
            hyperparameters = trial.request()["hyperparameters"]
            place = RATES.index(float(hyperparameters["lr"])), RATIOS.index(float(hyperparameters["head_lr_ratio"]))
            for line in trial.curve():
                writer.writerow((*place, line["epoch"] + 1, line["step"], f"{line['val'][METRIC]:.6f}"))
    print(f"{table}: {configurations} trials")
    return EXIT_DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_table", description="Record a table of trials.")
    parser.add_argument("--data-root", type=Path, required=True, metavar="DIR", help="where breastmnist.npz lies")
    parser.add_argument("--work-dir", type=Path, default=Path("runs/search_table"), help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=TABLE, help="default: %(default)s")
    parser.add_argument(
        "--configurations",
        type=int,
        default=CONFIGURATIONS,
        help="points of the grid (default: %(default)s)",
    )
    parser.add_argument("--epochs", type=int, default=TRAIN["epochs"], help="default: %(default)s")
    given = parser.parse_args(argv)
    return run_command(lambda: record(given.work_dir, given.data_root, given.out, given.configurations, given.epochs))


if __name__ == "__main__":
    sys.exit(main())
