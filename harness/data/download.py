"""Fetches the raw files of a dataset: each once, whole, and with the checksum that its publisher states.

ROOT/NAME             appears when the file is whole and its checksum right
ROOT/NAME.sha256      where no checksum is published: that of the file as fetched, in the form of sha256sum
ROOT/.NAME.part       what has come so far, with .NAME.part.json
ROOT/.NAME.lock/      the leases of all who have fetched it
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from harness.core import lease as leases
from harness.core.errors import DataError
from harness.core.files import write_atomic
from harness.data.http_fetch import FetchError, discard, fetch, length
from harness.data.kaggle import fetch_kaggle
from harness.dataset import Dataset, Download, KaggleFile

POLL_SECONDS = 0.5
"""How often a process looks whether another one has finished fetching."""

_GUARD_SECONDS = 0.2
_BLOCK = 1 << 20
_HEX_DIGITS = {"md5": 32, "sha256": 64}

Progress = Callable[[str, int, int | None], None]
"""Called with (name of the file, bytes so far, bytes of all of it or None where that is unknown)."""


def download(dataset: Dataset, root: Path, progress: Progress | None = None) -> list[Path]:
    """Fetch what the dataset's ``downloads`` name and the data root lacks.

    A file that is there is compared with its checksum and never changed. Of any number of processes one
    fetches and the others wait. Interrupted anywhere, also by SIGKILL, the same call resumes from there.

    Args:
        dataset: the plugin, with its options.
        root: the data root; made where it does not exist.
        progress: called now and then while a file comes, also while another process fetches it.

    Returns:
        The files that this call fetched; those that were there already are not among them.

    Raises:
        DataError: a file cannot be had (naming what to get from where by hand), or has a wrong checksum.
        RequestError: the disk has too little room.
    """
    report = progress or (lambda name, done, total: None)
    return [root / wanted.name for wanted in dataset.downloads if _provide(wanted, root / wanted.name, report)]


def _provide(wanted: Download, target: Path, progress: Progress) -> bool:
    """Whether this process had to fetch the file."""
    part = target.with_name(f".{target.name}.part")
    published = None if isinstance(wanted, KaggleFile) else _checked_form(wanted.checksum, target)

    def make(lease: leases.Lease) -> None:
        _fetch(wanted, part, target, _guarded(lease, target.name, progress))
        _approve(wanted, published, part, target)
        lease.check()
        part.replace(target)
        discard(part)

    def wait() -> None:
        progress(target.name, length(part), None)
        time.sleep(POLL_SECONDS)

    if not target.exists() and _make_once(target, make, wait):
        return True
    _check_present(published, target)
    return False


def _make_once(target: Path, make: Callable[[leases.Lease], None], wait: Callable[[], None]) -> bool:
    lock = target.with_name(f".{target.name}.lock")
    lock.mkdir(parents=True, exist_ok=True)
    while not target.exists():
        lease = leases.claim(lock)
        if lease is None:
            wait()
            continue
        reason = "ended early"
        try:
            # The last owner may have finished between the two looks.
            if target.exists():
                reason = "nothing to do"
                return False
            with leases.keep_alive(lease):
                make(lease)
            reason = "fetched"
            return True
        except leases.LeaseLost:
            continue
        finally:
            lease.release(reason)
    return False


def _guarded(lease: leases.Lease, name: str, progress: Progress) -> Callable[[int, int | None], None]:
    """A tick that stops an owner which was suspended and succeeded before it writes into its successor's file."""
    last = 0.0

    def tick(done: int, total: int | None) -> None:
        nonlocal last
        if done == total or time.monotonic() - last > _GUARD_SECONDS:
            lease.check()
            progress(name, done, total)
            last = time.monotonic()

    return tick


def _fetch(wanted: Download, part: Path, target: Path, tick: Callable[[int, int | None], None]) -> None:
    try:
        if isinstance(wanted, KaggleFile):
            fetch_kaggle(wanted.handle, part, tick)
        else:
            fetch(wanted.url, part, tick)
    except FetchError as error:
        raise DataError(
            f"{target}: not downloaded: {error}; run the same command again where the network is, "
            f"or get {_address(wanted)} by hand and put it there under this name"
        ) from error


def _address(wanted: Download) -> str:
    return f"https://www.kaggle.com/datasets/{wanted.handle}" if isinstance(wanted, KaggleFile) else wanted.url


def _checked_form(checksum: str | None, target: Path) -> str | None:
    if checksum is None:
        return None
    kind, _, digits = checksum.partition(":")
    if _HEX_DIGITS.get(kind) != len(digits) or set(digits.lower()) - set("0123456789abcdef"):
        raise DataError(f"{target}: its checksum is given as {checksum!r}; the plugin must write md5:HEX or sha256:HEX")
    return f"{kind}:{digits.lower()}"


def _approve(wanted: Download, published: str | None, part: Path, target: Path) -> None:
    """Compare a fetched file with its published checksum, or note the one it has."""
    found = _checksum(part, published or "sha256:")
    if published is None:
        write_atomic(_noted_path(target), f"{found.partition(':')[2]}  {target.name}\n".encode())
    elif found != published:
        discard(part)
        raise DataError(
            f"{target}: {_address(wanted)} gave a file with checksum {found}, but {published} is published; "
            "it was removed; run the same command again, and if it comes again the publisher has changed the file"
        )


def _check_present(published: str | None, target: Path) -> None:
    expected, origin = published, "is published"
    if expected is None and _noted_path(target).exists():
        expected = "sha256:" + _noted_path(target).read_text(encoding="utf-8").partition(" ")[0].strip()
        origin = f"was noted in {_noted_path(target).name} when it was fetched"
    if expected is None or target.is_dir():
        return
    found = _checksum(target, expected)
    if found != expected:
        raise DataError(
            f"{target}: has checksum {found}, but {expected} {origin}; move the file away "
            "and run the same command again, or leave --download out to use it as it is"
        )


def _noted_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


def _checksum(path: Path, like: str) -> str:
    """Checksum of a file, of the same kind and in the same form as ``like``."""
    kind = like.partition(":")[0]
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return f"{kind}:{digest.hexdigest()}"
