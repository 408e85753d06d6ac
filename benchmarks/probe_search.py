"""A search of ten linear probes beside a script that trains ten: ``python -m benchmarks.probe_search``.

Here: ten trials of the method with different learning rates, one after the other, through a trial's whole way (network,
features, epochs with validation and curve, result), with an empty cache of features before each search. Decoding the
images once is told apart. There: the loop of torchvision's reference scripts with all but the last layer frozen, whose
images per second are measured and multiplied up to ten trainings of as many epochs, without validation. Both in turn
in this one process; a ratio is that of a pair. Of several numbers of DataLoader processes the faster one counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.image_sources import lay_out
from benchmarks.overhead import machine
from benchmarks.trainings import Case, Script, training_job
from harness.data.cache import default_data_root
from harness.data.split import make_split
from harness.run.trial import TrialFolder
from harness.run.trial_records import TrialRequest
from harness.train.device import usable_device
from harness.train.job import Control, TrialJob
from harness.train.run import run_trial

ARCHIVE = "brain-tumor-mri-dataset.zip"
AT_LEAST = 20.0
TRIALS = 10


def search(job: TrialJob, work: Path, device: torch.device) -> float:
    """Seconds of all trials, with a cache that holds no features."""
    cache = work / "features"
    cache.mkdir(parents=True)
    began = time.perf_counter()
    for slot in range(TRIALS):
        folder = TrialFolder(work / str(slot), "search")
        folder.create()
        values = {**job.hyperparameters, "head_lr": 10 ** (-4 + 3 * slot / (TRIALS - 1))}
        request: TrialRequest = {
            "stage": "search",
            "slot": slot,
            "seed": 0,
            "hyperparameters": values,
            "identity": "",
            "conditioned_on": [],
            "threads": 1,
        }
        folder.write_request(request)
        trial = replace(job, hyperparameters=values, cache=cache)
        result = run_trial(trial, request, folder, device, Control())
        if result["status"] != "done":
            raise RuntimeError(f"slot {slot}: {result['cause']}: {result['message']}")
    return time.perf_counter() - began


def measure(case: Case, loaders: Sequence[int], epochs: int, pairs: int, seconds: float, work: Path) -> dict[str, Any]:
    """Both sides in turn, and their ratios."""
    began = time.perf_counter()
    job = training_job("linear_probe", case, work)
    decoding = time.perf_counter() - began
    split = make_split(job.data, "random", 0)
    job = replace(job, split=split, train=job.train.merged({"epochs": epochs, "features": "once"}))
    scripts = {count: Script("script", replace(case, loaders=count), frozen=True) for count in loaders}
    steps = {count: max(2, round(seconds / (script.seconds(2) / 2))) for count, script in scripts.items()}
    images = TRIALS * epochs * len(split.train)
    ours, theirs = [], []
    for pair in range(pairs):
        ours.append(search(job, work / f"{case.size}-{pair}", case.device))
        speeds = [steps[count] * case.batch / script.seconds(steps[count]) for count, script in scripts.items()]
        theirs.append(images / max(speeds))
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    decoded = [their / (our + decoding) for our, their in zip(ours, theirs, strict=True)]
    return {
        "case": f"{case.backbone}, {case.size} px, {len(split.train)} training images, {epochs} epochs",
        "seconds": ours,
        "script_seconds": theirs,
        "decoding_seconds": decoding,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "ratio_with_decoding": statistics.median(decoded),
        "at_least": AT_LEAST,
        "met": statistics.median(ratios) >= AT_LEAST,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, record; 1 where the requirement is not met."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probe_search", description="A search of linear probes.")
    parser.add_argument("--backbone", default="resnet18", help="of torchvision (default: %(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[28, 64], help="sides in pixels")
    parser.add_argument("--images", type=int, default=1024, help="image files (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=30, help="of each training (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement of the script")
    parser.add_argument("--loaders", type=int, nargs="+", default=[0, cores], help="processes of a DataLoader")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "probe_search.json")
    options = parser.parse_args(argv)
    torch.set_num_threads(cores)
    where, device = machine(cores), usable_device(options.device)
    synthetic = not (default_data_root() / ARCHIVE).is_file()
    cases = []
    with tempfile.TemporaryDirectory(prefix="gpaf-probes-") as scratch:
        sources = lay_out(Path(scratch), options.images, synthetic)
        for size in options.sizes:
            case = Case(sources, options.backbone, size, 64, device, "fp32", 0)
            work = Path(scratch) / str(size)
            work.mkdir()
            found = measure(case, options.loaders, options.epochs, options.pairs, options.seconds, work)
            print(
                f"{found['case']}: ten trials {statistics.median(found['seconds']):.1f} s, script "
                f"{statistics.median(found['script_seconds']):,.0f} s: {found['ratio']:.0f} times, "
                f"{found['ratio_with_decoding']:.0f} with decoding once ({found['decoding_seconds']:.1f} s); "
                f"at least {AT_LEAST:g}"
            )
            cases.append(found)
    where["load_average_after"] = os.getloadavg()
    command = ["python", "-m", "benchmarks.probe_search", *(sys.argv[1:] if argv is None else argv)]
    record = {"machine": where, "command": " ".join(command), "images": sources.what, "cases": cases}
    options.out.write_text(json.dumps(record, indent=2) + "\n")
    return 0 if all(case["met"] for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main())
