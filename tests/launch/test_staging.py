"""Decoded images on a node's own disk: copied once, whole or not at all, and never without room."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jobs import Digits, job, run
from tiny import ROOT

from harness.core.lease import view
from harness.data import node_disk
from harness.launch.slurm import staging

PROCESSES = 8
SMALL, LARGE = 12, 16
"""Sides of the images in pixels; 5,000 of them are 2.2 and 3.8 MB."""
MEGABYTE = 1 << 20

# `decode SIZE…` fills the shared cache. `stage N SIZE…` has N processes stage it at once and open what they get, where
# nothing may be decoded again; each prints what it got and then waits for the end of its input. While a file `hold`
# is there, copies stop half way.
SCRIPT = """
import json, os, shutil, sys, time
from pathlib import Path
import numpy as np
from harness.data.cache import prepare
from harness.dataset import ArrayImage, Dataset, Record
from harness.launch.slurm.staging import stage

base, scratch, command = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
IMAGES = 5000

class Noise(Dataset):
    name, title, modality, licence, citation = "noise", "Noise", "noise", "CC0", "none"
    classes, files = ("a", "b"), ()

    def records(self, root):
        assert command == "decode", "decoded again"
        pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 8, 8, 3), dtype=np.uint8)
        return [Record(f"case{i}", i % 2, ArrayImage(image)) for i, image in enumerate(pixels)]

def opened(cache, size):
    return prepare(Noise(), "code", size, base, cache)

def copy_slowly(source, target, length, copy=shutil.copyfileobj):
    target.write(source.read(1000))
    while (base / "hold").exists():
        time.sleep(0.02)
    copy(source, target, length)

def use(sizes):
    shutil.copyfileobj = copy_slowly
    shared = base / "cache"
    folders = [next(shared.glob(f"noise-{size}px-*")) for size in sizes]
    lines = []
    root = stage(folders, shared, scratch, lines.append)
    found = [opened(root, int(size)) for size in sizes]
    sums = [[data.fingerprint, int(data.images[:].sum())] for data in found]
    return {"pid": os.getpid(), "root": str(root), "lines": lines, "sums": sums}

if command == "decode":
    for size in sys.argv[4:]:
        opened(base / "cache", int(size))
else:
    go, start = os.pipe()
    for _ in range(int(sys.argv[4])):
        if os.fork() == 0:
            os.close(start)
            os.read(go, 1)
            answer = json.dumps(use(sys.argv[5:])) + "\\n"
            os.write(1, answer.encode())
            sys.stdin.read()
            os._exit(0)
    os.close(start)
    os.close(1)
    sys.stdin.read()
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
"""


def _start(base: Path, scratch: Path, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(base), str(scratch), *map(str, words)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def staged(base: Path, scratch: Path, processes: int, *sizes: int) -> Iterator[Iterator[dict[str, Any]]]:
    """What each of some processes that go on living in here got, in the order in which they got it."""
    process = _start(base, scratch, "stage", processes, *sizes)
    assert process.stdout is not None and process.stdin is not None
    try:
        yield map(json.loads, process.stdout)
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def stage_once(base: Path, scratch: Path, *sizes: int) -> dict[str, Any]:
    """What one process got that has ended."""
    with staged(base, scratch, 1, *sizes) as answers:
        return next(answers)


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("decoded")
    assert _start(base, base, "decode", SMALL, LARGE).wait(120) == 0
    return base


@pytest.fixture
def base(decoded: Path, tmp_path: Path) -> Path:
    """A folder whose shared cache is the decoded one."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "cache").symlink_to(decoded / "cache")
    return base


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "node disk"
    folder.mkdir()
    return folder


def own(scratch: Path) -> Path:
    return scratch / f"gpaf-bench-{os.getuid()}"


def copies(scratch: Path) -> list[str]:
    return sorted(path.name.partition("px")[0] for path in own(scratch).iterdir() if not path.name.startswith("."))


def test_eight_processes_copy_once_and_open_it_without_decoding(base: Path, scratch: Path) -> None:
    with staged(base, scratch, PROCESSES, SMALL, LARGE) as answers:
        found = [next(answers) for _ in range(PROCESSES)]
    assert {answer["root"] for answer in found} == {str(own(scratch))}
    assert len({json.dumps(answer["sums"]) for answer in found}) == 1
    said = [line for answer in found for line in answer["lines"]]
    assert len(said) == 1 and said[0].startswith("copying 0.00")
    assert copies(scratch) == ["noise-12", "noise-16"]
    assert stat.S_IMODE(own(scratch).stat().st_mode) == 0o700
    assert list(own(scratch).glob(".*.lock/build.*")) == []
    # The next job finds it there.
    assert stage_once(base, scratch, LARGE)["lines"] == []


def test_a_copier_killed_half_way_is_succeeded(base: Path, scratch: Path) -> None:
    (base / "hold").touch()
    with staged(base, scratch, PROCESSES, LARGE) as answers:
        deadline = time.monotonic() + 60
        while not (begun := list(own(scratch).glob(".noise-*/build.0001.*/images.npy"))):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        lease = view(begun[0].parent.parent)
        assert lease is not None and copies(scratch) == []
        os.kill(lease.content["pid"], signal.SIGKILL)
        (base / "hold").unlink()
        found = [next(answers) for _ in range(PROCESSES - 1)]
    assert lease.content["pid"] not in {answer["pid"] for answer in found}
    assert {answer["root"] for answer in found} == {str(own(scratch))}
    assert copies(scratch) == ["noise-16"]
    assert list(own(scratch).glob(".*.lock/build.*")) == []


def test_without_room_the_shared_cache_is_used(base: Path, small_disk: Callable[..., Path]) -> None:
    scratch = small_disk("size=3m")
    found = stage_once(base, scratch, LARGE)
    assert found["root"] == str(base / "cache")
    assert len(found["lines"]) == 1 and "GB needed" in found["lines"][0]
    assert copies(scratch) == []
    small_disk("ro")
    (line,) = stage_once(base, scratch, SMALL)["lines"]
    assert "Read-only file system" in line


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_half_copied(
    base: Path, small_disk: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = small_disk("size=3m")
    monkeypatch.setattr(staging, "_make_room", lambda root, needed: None)
    (source,) = (base / "cache").glob(f"noise-{LARGE}px-*")
    lines: list[str] = []
    assert staging.stage([source], base / "cache", scratch, lines.append) == base / "cache"
    assert "No space left" in lines[-1]
    assert copies(scratch) == [] and list(own(scratch).glob(".*.lock/build.*")) == []


def test_room_is_made_from_what_nobody_uses(base: Path, small_disk: Callable[..., Path]) -> None:
    scratch = small_disk("size=6m")
    stage_once(base, scratch, SMALL)
    with staged(base, scratch, 1, SMALL) as users:
        next(users)
        assert "GB needed" in stage_once(base, scratch, LARGE)["lines"][0]
        assert copies(scratch) == ["noise-12"]
    assert stage_once(base, scratch, LARGE)["root"] == str(own(scratch))
    assert copies(scratch) == ["noise-16"]


def test_features_that_no_process_uses_make_room(
    base: Path, small_disk: Callable[..., Path], tmp_path: Path, digits: Digits
) -> None:
    scratch = small_disk("size=9m")
    filler = scratch / "filler"
    filler.write_bytes(bytes(6 * MEGABYTE))
    assert "GB needed" in stage_once(base, scratch, LARGE)["lines"][0]
    before = node_disk.used_here()
    for size in (32, 64):
        made = job(digits, "linear_probe", stage="search", train={"eval_batch_size": size}, cache=own(scratch))
        run(made, tmp_path / f"{size}")
    kept = copies(scratch)
    assert len(kept) == 4 and all(name.startswith("features-") for name in kept)
    (source,) = (base / "cache").glob(f"noise-{LARGE}px-*")
    needed = sum(path.stat().st_size for path in source.iterdir()) + staging.SPARE_BYTES
    lacking = needed - shutil.disk_usage(scratch).free
    os.truncate(filler, 6 * MEGABYTE - lacking + 4096)
    # They are in use as long as the process lives that has trained with them: this one.
    assert "GB needed" in stage_once(base, scratch, LARGE)["lines"][0]
    assert copies(scratch) == kept
    oldest = kept[2]
    os.utime(own(scratch) / f".{oldest}.use", (0, 0))
    # As if it had ended: what is mapped takes room although it is removed.
    node_disk.give_back(before)
    gc.collect()
    assert stage_once(base, scratch, LARGE)["root"] == str(own(scratch))
    assert copies(scratch) == sorted({*kept, "noise-16"} - {oldest})


def test_a_damaged_copy_is_replaced(base: Path, scratch: Path) -> None:
    stage_once(base, scratch, SMALL)
    (images,) = own(scratch).glob("noise-*/images.npy")
    os.truncate(images, MEGABYTE)
    found = stage_once(base, scratch, SMALL)
    assert found["root"] == str(own(scratch)) and images.stat().st_size > 2 * MEGABYTE


@pytest.mark.parametrize("planted", ["link", "other user", "file", "no folder"])
def test_a_folder_of_somebody_else_is_not_used(base: Path, scratch: Path, tmp_path: Path, planted: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if planted == "link":
        own(scratch).symlink_to(elsewhere)
    elif planted == "file":
        own(scratch).touch()
    elif planted == "other user":
        if os.getuid() != 0:
            pytest.skip("only root can give a folder away")
        own(scratch).mkdir()
        os.chown(own(scratch), 4711, 4711)
    else:
        scratch = Path("$NO_SUCH_VARIABLE")
    lines: list[str] = []
    (source,) = (base / "cache").glob(f"noise-{SMALL}px-*")
    assert staging.stage([source], base / "cache", scratch, lines.append) == base / "cache"
    assert len(lines) == 1 and lines[0].startswith(f"using the shared cache {base / 'cache'}: not staged to")
    assert list(elsewhere.iterdir()) == []


def test_what_was_found_of_near_duplicates_comes_along(tmp_path: Path, scratch: Path) -> None:
    from jobs import decode_digits

    from harness.data import near_clusters

    _, data, _ = decode_digits(tmp_path / "cache")
    joined = near_clusters.join_near_duplicates(data, tmp_path / "cache")
    (source,) = (tmp_path / "cache").glob("digits-*")
    root = staging.stage([source], tmp_path / "cache", scratch, print)
    assert copies(scratch) == ["digits-8", next((tmp_path / "cache").glob("near-*")).name]

    def never(*_: object) -> None:
        raise AssertionError("looked for again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_clusters, "_clusters", never)
        assert near_clusters.join_near_duplicates(data, root).records.equals(joined.records)
