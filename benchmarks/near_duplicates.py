"""Near-duplicates among very many images: ``python -m benchmarks.near_duplicates``.

Two measurements, each in a process of its own, whose memory is what it had at most beside the files that it maps:

- pairs: fingerprints of a million images that do not exist, a thousand of them with a changed, every second one also a
  mirrored, copy. Every copy must be found, in at most 40 minutes and 4 GB, and nothing else.
- audit: 200,000 drawn images of 64 pixels, audited from pixels to the list of pairs, copies and mirrored copies again.

``--small`` does both with a hundredth of the images, which tests the command. The whole takes a quarter of an hour on
two cores.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

IMAGES = 1_000_000
AUDITED = 200_000
COPIES = 1_000
MOST_SECONDS = 40 * 60.0
MOST_BYTES = 4e9
CHANGED_BITS = 20
"""Bits of 256 that differ between the hashes of a made-up image and of its copy."""


def _progress(name: str, total: int) -> Callable[[int], None]:
    started, said = time.monotonic(), [0]

    def report(done: int) -> None:
        if done * 20 // total > said[0]:
            said[0] = done * 20 // total
            print(
                f"{name}: {done:,} of {total:,} after {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True
            )

    return report


def _memory() -> int:
    """Bytes that this process had at most that are not pages of a file."""
    with Path("/proc/self/status").open() as lines:
        sizes = {name: value for name, _, value in (line.partition(":") for line in lines)}
    mapped = int(sizes["RssFile"].split()[0]) + int(sizes["RssShmem"].split()[0])
    return max(0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - mapped) * 1024


def pairs(images: int, copies: int) -> dict[str, Any]:
    """Search made-up fingerprints and say what it took and how many of the planted copies it found."""
    from harness.data.near_duplicates import Fingerprints, find_near

    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 64, (images, 4), dtype=np.uint64)
    thumbnails = rng.integers(20, 230, (images, 8, 8), dtype=np.uint8)
    originals, copied = rng.permutation(images)[: 2 * copies].reshape(2, copies)
    for number, (original, copy) in enumerate(zip(originals, copied, strict=True)):
        mirrored = number % 2 == 1
        changed = np.zeros((4, 64), dtype=np.bool_)
        changed.reshape(-1)[rng.permutation(256)[:CHANGED_BITS]] = True
        # Mirrored left to right, coefficients of odd columns change their sign: the second and the fourth word.
        changed[1::2] ^= mirrored
        hashes[copy] = hashes[original] ^ np.packbits(changed, axis=1).view(np.uint64).reshape(4)
        thumbnails[copy] = thumbnails[original][:, :: -1 if mirrored else 1] + 5
    prints = Fingerprints(thumbnails, hashes, np.zeros(images, dtype=np.bool_))
    started = time.perf_counter()
    found = find_near(prints, np.arange(images), _progress("pairs", images))
    seconds = time.perf_counter() - started
    planted = {(min(pair), max(pair)) for pair in zip(originals.tolist(), copied.tolist(), strict=True)}
    seen = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    return {
        "images": images,
        "seconds": seconds,
        "bytes": _memory(),
        "planted": copies,
        "found": len(planted & seen),
        "others": len(seen - planted),
    }


def _drawn(images: int, copies: int, folder: Path) -> npt.NDArray[np.uint8]:
    """Smooth pictures in a file, the last ones copies of the first, brighter, every second one mirrored."""
    from PIL import Image

    drawn = np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=(images, 64, 64, 3))
    rng = np.random.default_rng(0)
    for row in range(images - copies):
        coarse = Image.fromarray(rng.integers(40, 200, (8, 8), dtype=np.uint8))
        drawn[row] = np.asarray(coarse.resize((64, 64), Image.Resampling.BICUBIC))[..., None]
    for number, row in enumerate(range(images - copies, images)):
        drawn[row] = np.minimum(drawn[number][:, :: -1 if number % 2 else 1], 240) + 9
    drawn.flush()
    return drawn


def audited(images: int, copies: int) -> dict[str, Any]:
    """Audit drawn images under a random split and say what it took and how many of the planted copies it found."""
    import polars as pl

    from harness.data.audit import audit
    from harness.data.decoded import COLUMNS, DecodedDataset
    from harness.data.split import make_split

    with tempfile.TemporaryDirectory(prefix="gpaf-near-") as folder:
        names = [f"case{row}" for row in range(images)]
        columns: dict[str, Sequence[str | None]] = dict.fromkeys(COLUMNS, [None] * images)
        table = pl.DataFrame(
            {**columns, "case_id": names, "cluster": names, "pixels": names}, schema=dict.fromkeys(COLUMNS, pl.String)
        )
        pictures = _drawn(images, copies, Path(folder))
        data = DecodedDataset(pictures, np.arange(images) % 2, table, ("a", "b"), "drawn")
        report = _progress("audit", 2 * images)
        started = time.perf_counter()
        found = audit(data, make_split(data, "random", 0), lambda done, _: report(done))
        seconds = time.perf_counter() - started
    planted = {frozenset((f"case{number}", f"case{images - copies + number}")) for number in range(copies)}
    seen = {frozenset((pair.first, pair.second)) for pair in found.near}
    return {
        "images": images,
        "seconds": seconds,
        "bytes": _memory(),
        "planted": copies,
        "found": len(planted & seen),
        "others": len(seen - planted),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, record; 1 where a requirement is not met."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.near_duplicates", description="Near-duplicates among very many images."
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "near_duplicates.json")
    parser.add_argument("--small", action="store_true", help="a hundredth of the images, nothing is recorded")
    parser.add_argument("--part", choices=("pairs", "audit"), help="measure this part here alone, print JSON")
    options = parser.parse_args(argv)
    scale = 100 if options.small else 1
    if options.part is not None:
        measure, images = {"pairs": (pairs, IMAGES), "audit": (audited, AUDITED)}[options.part]
        print(json.dumps(measure(images // scale, COPIES // scale)))
        return 0
    command = [sys.executable, "-m", "benchmarks.near_duplicates", *(["--small"] if options.small else []), "--part"]
    found = {
        part: json.loads(subprocess.run([*command, part], check=True, stdout=subprocess.PIPE).stdout)
        for part in ("pairs", "audit")
    }
    met = found["pairs"]["seconds"] <= MOST_SECONDS and all(
        part["bytes"] <= MOST_BYTES and part["found"] == part["planted"] for part in found.values()
    )
    from benchmarks.overhead import machine

    record = {
        "machine": machine(1),
        "command": "python -m benchmarks.near_duplicates",
        "requirements": {"seconds": MOST_SECONDS, "bytes": MOST_BYTES},
        **found,
        "met": met,
    }
    print(json.dumps(record, indent=2))
    if not options.small:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=2) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
