"""What decoded data save: ``python -m benchmarks.data``, against torchvision's ImageFolder with a DataLoader.

Both sides of every ratio get the same image files, cores and batch size, and are measured in this one run, in turn.
Ratios are of images per second, so that more than 1 is in favour of the harness.

decoding       once, from the zip archive to the array on disk (with checksums, fingerprint and duplicate clusters),
               against one pass of the DataLoader over the unpacked files, which decodes and resizes and keeps nothing
an epoch       of normalised training batches from the array, against an epoch of them from the DataLoader, whose
               workers already run; without augmentation, and with the same kinds and sizes of random changes
opening        a decoded dataset, small and large

On a busy machine the DataLoader's several processes get a larger share of the cores than the harness's one; the rows
about the work of the processor do not depend on that.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.image_sources import Listed, Sources, lay_out
from benchmarks.overhead import machine
from harness.data.cache import default_data_root, prepare
from harness.data.decoded import DecodedDataset
from harness.data.split import Split
from harness.dataset import ArrayImage, Augmentation
from harness.networks.normalisation import Normalisation
from harness.train.data import TrialData

Row = dict[str, Any]
Clocks = tuple[float, float]

ARCHIVE = "brain-tumor-mri-dataset.zip"
BATCH = 64
FEW, OPENED_SIZE = 1_000, 8
MAX_OPEN_MS = 100.0
NORMALISATION = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


# The two sides


def decode(sources: Sources, size: int, cache: Path) -> DecodedDataset:
    """Decode into a folder, or open what an earlier call has decoded into it."""
    return prepare(sources.dataset, "benchmark", size, cache, cache)


def loader(sources: Sources, transform: v2.Transform, workers: int, again: bool) -> DataLoader[Any]:
    """A DataLoader as its documentation shows it; ``again``: shuffled, and workers that stay for the next epoch."""
    folder = ImageFolder(str(sources.folder), transform)
    return DataLoader(folder, BATCH, shuffle=again, num_workers=workers, persistent_workers=again)


def only_decode(size: int) -> v2.Transform:
    """Pillow's decoder and resize, to uint8."""
    return v2.Compose([v2.Resize((size, size)), v2.PILToTensor()])


def for_training(size: int, policy: Augmentation | None) -> v2.Transform:
    """What a training script writes: resize, random changes of kinds and sizes as the policy's, normalise."""
    changes: list[v2.Transform] = []
    if policy is not None:
        changes = [
            v2.RandomHorizontalFlip(0.5 if policy.flip_horizontal else 0.0),
            v2.RandomVerticalFlip(0.5 if policy.flip_vertical else 0.0),
            v2.RandomAffine(
                policy.rotate,
                translate=(policy.shift, policy.shift),
                scale=(1 - policy.zoom, 1 + policy.zoom),
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            v2.ColorJitter(brightness=policy.brightness, contrast=policy.contrast),
        ]
    return v2.Compose(
        [
            v2.Resize((size, size)),
            v2.PILToTensor(),
            *changes,
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(NORMALISATION.mean), list(NORMALISATION.std)),
        ]
    )


def array_epoch(data: TrialData, policy: Augmentation | None, epoch: int) -> None:
    """Every training batch of an epoch, as a trial draws them."""
    order = data.order(0, epoch)
    for step, start in enumerate(range(0, len(order), BATCH)):
        data.training_batch(order[start : start + BATCH], policy, 0, step)


# The measurements


def measure_decoding(sources: Sources, size: int, workers: int, pairs: int, work: Path) -> list[Row]:
    """Images per second of a first decoding over those of a DataLoader's pass, and whether the pixels are the same."""
    ours: list[Clocks] = []
    theirs: list[Clocks] = []
    batches: list[torch.Tensor] = []
    for pair in range(pairs):
        batches.clear()
        one = loader(sources, only_decode(size), workers, again=False)
        sides: list[tuple[list[Clocks], Callable[[], object]]] = [
            (ours, lambda pair=pair: decode(sources, size, work / f"cache{pair}")),  # type: ignore[misc]
            (theirs, lambda one=one: batches.extend(images for images, _ in one)),  # type: ignore[misc]
        ]
        for times, action in sides if pair % 2 == 0 else reversed(sides):
            times.append(_clocked(action))
    decoded = decode(sources, size, work / "cache0").images
    same = np.array_equal(decoded, torch.cat(batches).permute(0, 2, 3, 1).numpy())
    what = f"{sources.what} to {size} px, {workers} workers"
    ratio, *rest = _ratio("decoding / DataLoader", what, sources.count, ours, theirs)
    return [{**ratio, "same_pixels": same}, *rest]


def measure_epoch(
    sources: Sources, size: int, workers: int, pairs: int, work: Path, policy: Augmentation | None
) -> list[Row]:
    """Images per second of an epoch from the array over those of one from the DataLoader."""
    decoded = decode(sources, size, work / "cache0")
    split = Split("random", 0, decoded.case_ids, (), ())
    data = TrialData.load(decoded, split, False, NORMALISATION, torch.device("cpu"))
    batches = loader(sources, for_training(size, policy), workers, again=True)

    def loader_epoch() -> None:
        for _ in batches:
            pass

    array_epoch(data, policy, pairs)
    loader_epoch()
    ours, theirs = [], []
    for pair in range(pairs):
        ours.append(_clocked(lambda pair=pair: array_epoch(data, policy, pair)))  # type: ignore[misc]
        theirs.append(_clocked(loader_epoch))
    name = f"epoch / DataLoader, {'not augmented' if policy is None else 'augmented'}"
    return _ratio(name, f"{sources.what}, {size} px, {workers} workers or threads", sources.count, ours, theirs)


def measure_opening(many: int, samples: int, work: Path) -> list[Row]:
    """Milliseconds to open a decoded dataset of few and of many synthetic images, in turn."""
    opened = {count: _tiny(count) for count in (FEW, many)}
    times: dict[int, list[float]] = {count: [] for count in opened}
    for sample in range(samples + 1):
        for count, dataset in opened.items():
            begun = time.perf_counter()
            data = prepare(dataset, f"opening {count}", OPENED_SIZE, work, work / "opened")
            elapsed = 1000 * (time.perf_counter() - begun)
            if len(data.labels) != count:
                raise RuntimeError(f"{len(data.labels)} images opened instead of {count}")
            # The first one decodes.
            if sample:
                times[count].append(elapsed)
    return [_row("opening", f"{count:,} decoded images", times[count], "ms", MAX_OPEN_MS) for count in opened]


def _tiny(count: int) -> Listed:
    pixels = np.random.default_rng(0).integers(0, 256, (count, OPENED_SIZE, OPENED_SIZE, 3), dtype=np.uint8)
    return Listed([(f"case{n:07d}", n % 2, ArrayImage(pixels[n])) for n in range(count)], ("a", "b"))


def _clocked(action: Callable[[], object]) -> Clocks:
    """Wall and processor seconds of an action; the latter of all threads and child processes, at least a clock tick."""
    wall, cpu = time.perf_counter(), _processor_seconds()
    action()
    return time.perf_counter() - wall, max(_processor_seconds() - cpu, 1 / os.sysconf("SC_CLK_TCK"))


def _processor_seconds() -> float:
    own = psutil.Process()
    living = 0.0
    for child in own.children(recursive=True):
        # A child's time goes over to its parent when it ends.
        with suppress(psutil.NoSuchProcess):
            living += sum(child.cpu_times()[:4])
    return living + sum(own.cpu_times()[:4])


def _ratio(name: str, what: str, images: int, ours: Sequence[Clocks], theirs: Sequence[Clocks]) -> list[Row]:
    wall, cpu = ([their[c] / our[c] for our, their in zip(ours, theirs, strict=True)] for c in (0, 1))
    return [
        _row(name, what, wall, "×", None),
        _row("the same, work of the processor", "", cpu, "×", None),
        _row("the harness", "", [images / seconds for seconds, _ in ours], "images/s", None),
        _row("the DataLoader", "", [images / seconds for seconds, _ in theirs], "images/s", None),
    ]


def _row(name: str, what: str, values: Sequence[float], unit: str, limit: float | None) -> Row:
    middle = statistics.median(values)
    met = None if limit is None else middle <= limit
    spread = {"median": middle, "min": min(values), "max": max(values), "values": list(values)}
    return {"measure": name, "what": what, **spread, "unit": unit, "limit": limit, "met": met}


def show(rows: Sequence[Row]) -> None:
    """Print the measurements."""
    table = Table("measure", "case", "median", "min – max", "at most")
    for row in rows:
        note = {True: " (same pixels)", False: " (OTHER PIXELS)"}.get(row.get("same_pixels", ""), "")
        limit = "" if row["limit"] is None else f"{row['limit']:g} {row['unit']}: {'yes' if row['met'] else 'NO'}"
        spread = f"{row['min']:,.2f} – {row['max']:,.2f}"
        table.add_row(row["measure"], row["what"] + note, f"{row['median']:,.2f} {row['unit']}", spread, limit)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, record; 1 where a requirement is not met or the pixels differ."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description="What decoded data save.")
    parser.add_argument("--images", type=int, default=2000, help="image files (default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="side in pixels (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=3, help="measurements of each side (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=cores, help="of each side (default: as many as cores)")
    parser.add_argument("--opened", type=int, default=200_000, help="images of the large decoded dataset")
    parser.add_argument("--synthetic", action="store_true", help="also where the brain MRI archive is in the data root")
    parser.add_argument("--work-dir", type=Path, help="where images are written (default: a temporary folder)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "data.json")
    options = parser.parse_args(argv)
    synthetic = options.synthetic or not (default_data_root() / ARCHIVE).is_file()
    if hasattr(os, "sched_setaffinity"):
        # The harness decodes on all cores that it may use.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.workers])
    torch.set_num_threads(options.workers)
    where = machine(options.workers)
    with tempfile.TemporaryDirectory(prefix="gpaf-data-", dir=options.work_dir) as scratch:
        work = Path(scratch)
        sources = lay_out(work, options.images, synthetic)
        rows = measure_decoding(sources, options.size, options.workers, options.pairs, work)
        for policy in (None, Augmentation()):
            rows += measure_epoch(sources, options.size, options.workers, options.pairs, work, policy)
        rows += measure_opening(options.opened, 4 * options.pairs, work)
    where["load_average_after"] = os.getloadavg()
    show(rows)
    print(json.dumps(where))
    command = ["python", "-m", "benchmarks.data", *(sys.argv[1:] if argv is None else argv)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    record = {"machine": where, "command": " ".join(command), "rows": rows}
    options.out.write_text(json.dumps(record, indent=2) + "\n")
    return 0 if all(row["met"] is not False and row.get("same_pixels", True) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
