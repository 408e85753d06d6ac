"""How often is a method called different from itself? ``python -m benchmarks.twins``, through the whole harness.

A sweep holds one method under many labels. Two labels have the same code, space and budget and differ in the draws of
their searches, as a method and its twin do, so each "better" or "worse" between them is false. Disjoint pairs are
counted, each judged alone at .05, once for every choice of what a replicate draws anew. The backbone is a ResNet-20
that the sweep trains first on the digits 0 to 5; the method is a linear probe, the cheapest whose result depends on its
search. Interrupted, the same command continues.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from analysis.comparison.evidence import Evidence
from analysis.comparison.pairs import DatasetValues
from analysis.comparison.verdicts import judge
from analysis.runs.evidence import evidence_of
from benchmarks.calibration.model import wilson
from harness.core.arguments import user_path
from harness.core.errors import EXIT_DONE, RequestError, run_command
from harness.run.directory import RunDirectory

RESULTS = Path(__file__).parent / "results" / "twins.json"
MOST_LABELS = 60
"""Of one sweep; more pairs take several."""
TRIALS, SEEDS = 6, 5
DATASETS: Mapping[str, dict[str, Any]] = {
    "digits": {"dataset": "digits", "classes": [6, 7, 8, 9]},
    "breastmnist": {"dataset": "breastmnist"},
}
SIZES = {"digits": 16, "breastmnist": 28}
"""Side of the images, in pixels."""
CHOICES: Mapping[str, dict[str, Any]] = {
    "vary: [seed]": {"confirm": {"vary": ["seed"]}},
    "vary: [seed, split]": {"confirm": {"vary": ["seed", "split"]}},
    "vary: [seed, split, search]": {"confirm": {"vary": ["seed", "split", "search"]}},
    "split.seeds: 0 to 4; split.tune: each": {"split": {"seeds": [0, 1, 2, 3, 4], "tune": "each"}},
    "vary: [seed, search]; search.repeats: 5": {"confirm": {"vary": ["seed", "search"]}, "search": {"repeats": 5}},
}


def sweep_of(dataset: str, choice: str, labels: Sequence[str]) -> dict[str, Any]:
    """The sweep file of one method under some labels."""
    changes = CHOICES[choice]
    method = {"method": "linear_probe", "head_lr": {"log": [1e-4, 1.0], "default": 0.01}}
    return {
        "name": "twins",
        "backbone": {
            "name": "resnet20",
            "weights": {
                "method": "full_finetune",
                "dataset": {"dataset": "digits", "classes": [0, 1, 2, 3, 4, 5]},
                "train": {"epochs": 3},
                "hyperparameters": {"lr": 0.003, "head_lr_ratio": 1.0},
            },
        },
        "datasets": [{dataset: DATASETS[dataset]}],
        "methods": [{label: method} for label in labels],
        "train": {"epochs": 3, "batch_size": 32, "image_size": SIZES[dataset]},
        "split": {"kind": "grouped", **changes.get("split", {})},
        "search": {"trials": TRIALS, "seeds": [0], "sampler": "random", **changes.get("search", {})},
        "confirm": {"seeds": SEEDS, "repeat": False, "control": labels[0], **changes.get("confirm", {})},
        "launch": {"kind": "local", "workers": 2, "threads": 1},
    }


def trained(folder: Path, data_root: Path | None, dataset: str, choice: str, labels: Sequence[str]) -> RunDirectory:
    """The run of a sweep, trained as far as it is not.

    Raises:
        RequestError: the sweep did not come to its end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump(sweep_of(dataset, choice, labels), sort_keys=False), encoding="utf-8")
    root = [] if data_root is None else ["--data-root", str(data_root)]
    run = RunDirectory(folder / "run")
    command = [sys.executable, "-m", "harness.sweep", str(file), "--run-dir", str(run.path), *root]
    code = subprocess.run(command).returncode
    if code != EXIT_DONE:
        raise RequestError(f"the sweep in {folder} ended with code {code}; the same command continues")
    return run


def called_different(evidence: Evidence, dataset: str) -> Iterator[tuple[str, str, float | None, bool]]:
    """Disjoint pairs of labels with their p value, None where there is none, and whether they are called different."""
    # Judged alone, at the level itself.
    alone = replace(evidence, plan=replace(evidence.plan, correction="none"))
    values = DatasetValues(alone, dataset)
    pairs = zip(evidence.methods[::2], evidence.methods[1::2], strict=False)
    for one in judge([values.pair(evidence.plan.metric, *pair) for pair in pairs], alone, detectable=False):
        yield one.pair.first, one.pair.second, one.p, one.outcome in ("better", "worse")


def experiment(options: argparse.Namespace) -> int:
    """Train, compare and record."""
    rows = []
    for dataset in options.datasets:
        for choice in options.choices or CHOICES:
            start, found, trainings = time.perf_counter(), list[tuple[str, str, float | None, bool]](), 0
            for number, first in enumerate(range(0, 2 * options.pairs, MOST_LABELS)):
                labels = [f"t{place:03d}" for place in range(first, min(first + MOST_LABELS, 2 * options.pairs))]
                place = options.folder / dataset / "".join(c if c.isalnum() else "_" for c in choice) / str(number)
                run = trained(place, options.data_root, dataset, choice, labels)
                found += called_different(evidence_of([run]), dataset)
                trainings += sum(1 for study in run.studies() for _ in study.every_trial())
            different = sum(one[3] for one in found)
            low, high = wilson(different / len(found), len(found))
            row = {
                "dataset": dataset,
                "choice": choice,
                "pairs": len(found),
                "called_different": different,
                "rate": different / len(found),
                "low": low,
                "high": high,
                "trainings": trainings,
                "seconds": time.perf_counter() - start,
                "p": [p for _, _, p, _ in found],
            }
            rows.append(row)
            print(
                f"{dataset}, {choice}: {different} of {len(found)} pairs of a method with itself called different, "
                f"{row['rate']:.3f} [{low:.3f}, {high:.3f}], {trainings} trainings",
                flush=True,
            )
    record = {
        "command": f"python -m benchmarks.twins --pairs {options.pairs} --datasets {' '.join(options.datasets)}",
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "trials": TRIALS,
        "seeds": SEEDS,
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return EXIT_DONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.twins", description=(__doc__ or "").split("\n")[0].partition("``")[0]
    )
    parser.add_argument("--pairs", type=int, default=60, help="pairs of labels for each choice and dataset (60)")
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=["digits"])
    parser.add_argument("--choices", nargs="+", choices=CHOICES, help="what replicates draw anew (default: all)")
    parser.add_argument("--data-root", type=user_path, help="folder of the raw archives")
    parser.add_argument("--folder", type=user_path, default=Path("runs") / "twins", help="for the runs")
    parser.add_argument("--out", type=user_path, default=RESULTS)
    options = parser.parse_args(arguments)
    return run_command(lambda: experiment(options))


if __name__ == "__main__":
    sys.exit(main())
