"""Exclusive, expiring claims on a folder, by files alone.

The owner of a folder is whoever made its highest-numbered ``lease.NNNN``. A lease file appears together with its
content (hard link), so of any number of claimants exactly one makes a given number. A lease is never removed: a dead
owner is succeeded by the next number, and the numbers are the record of all attempts.

A lease is dead when its owner released it, when its process is gone (told at once on the same host), when it was not
renewed for ``EXPIRY_SECONDS``, or when it belongs to an earlier start of the Slurm job that looks at it. An owner that
was only suspended, or that lives on beside its own second start, notices before each write that it was succeeded.

Each claim carries a token that never comes twice. A number alone does not tell an owner that its folder was moved away
and that another folder, with a lease of the same number, has taken its place.

Lease files are not flushed to the disk: a claim need not outlive a power failure, because its owner does not.
"""

from __future__ import annotations

import errno
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from harness.core.clock import server_now
from harness.core.files import TornFileError, encode_json, parse_json, read_with_status
from harness.core.infrastructure import persistently
from harness.core.json_form import Form
from harness.core.owner import OwnerRecord, host_identity, is_gone, this_process


class LeaseRecord(OwnerRecord, total=False):
    """``lease.NNNN``: who claimed a folder, and how that ended; what else a claimant notes is kept with it."""

    token: str
    claimed: float
    progress: int
    device: str | None
    code: str | None
    released: str | None
    death: str


class AttemptRecord(LeaseRecord):
    """A lease with the time when its owner last showed that it lives."""

    last_seen: float
    """Seconds since the epoch, by the file server's clock."""


RECORD: Form[LeaseRecord] = Form(LeaseRecord)

RENEW_SECONDS = 10.0
EXPIRY_SECONDS = 120.0
POLL_SECONDS = 0.2


class LeaseLost(Exception):
    """Another process has succeeded this one as owner of the folder."""


@dataclass(frozen=True, slots=True)
class LeaseView:
    """A lease as another process sees it."""

    number: int
    content: LeaseRecord
    age: float
    """Seconds since it was last renewed, by the file server's clock; infinite where it was released."""

    @property
    def dead(self) -> bool:
        """Whether the folder may be claimed."""
        return bool(self.content.get("released")) or self.age > EXPIRY_SECONDS or is_gone(self.content)


@dataclass
class Lease:
    """A claim that this process holds."""

    folder: Path
    number: int
    content: LeaseRecord

    @property
    def path(self) -> Path:
        """The file that stands for this claim."""
        return lease_path(self.folder, self.number)

    def _make(self) -> bool:
        """Make the file of this claim; tell whether it is this claim's."""
        temporary = _temporary(self.path, self.content)
        try:
            os.link(temporary, self.path)
        except FileExistsError:
            # A file server whose answer was lost is asked again, and then finds what it has made itself.
            return self._is_own()
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def renew(self) -> None:
        """Show that the owner lives.

        Raises:
            LeaseLost: another process has succeeded this one.
        """
        self.check()
        os.utime(self.path)

    @property
    def held(self) -> bool:
        """Whether this claim still is the folder's: no other process has succeeded it, and the folder is the same."""
        return persistently(self._is_current)

    def _is_current(self) -> bool:
        try:
            return latest_number(self.folder) == self.number and self._is_own()
        except (FileNotFoundError, NotADirectoryError):
            return False  # the folder was moved away

    def _is_own(self) -> bool:
        """Whether the file of this number is the one that this claim made."""
        # The token alone counts, whatever else the file holds.
        content = parse_json(read_with_status(self.path)[1])
        return content is not None and content.get("token") == self.content.get("token")

    def check(self) -> None:
        """Raise LeaseLost if another process has succeeded this one."""
        if not self.held:
            raise LeaseLost(str(self.folder))

    def note(self, **facts: Unpack[LeaseRecord]) -> None:
        """Add facts to the lease file.

        Raises:
            LeaseLost: the file of this number is another claim's.
        """
        try:
            own = persistently(self._is_own)
        except (FileNotFoundError, NotADirectoryError):
            own = False
        if not own:
            raise LeaseLost(str(self.folder))
        self.content.update(facts)

        def write() -> None:
            temporary = _temporary(self.path, self.content)
            try:
                temporary.replace(self.path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise

        persistently(write)

    def release(self, reason: str) -> None:
        """Give the folder up; the next claimant need not wait."""
        if self.held:
            try:
                self.note(released=reason)
            except OSError:
                # On a full disk nothing can be written; a lease that looks expired is free as well.
                expired = self.path.stat().st_mtime - EXPIRY_SECONDS - 1
                os.utime(self.path, (expired, expired))
                raise


def claim(folder: Path, **facts: Unpack[LeaseRecord]) -> Lease | None:
    """Claim an existing folder; None when a living process owns it or another claimant was faster."""
    current = view(folder)
    if current is not None and not current.dead:
        return None
    number = 1 if current is None else current.number + 1
    content: LeaseRecord = {
        **this_process(),
        "token": secrets.token_hex(16),
        "claimed": time.time(),
        **facts,
    }
    lease = Lease(folder, number, content)
    return lease if persistently(lease._make) else None


def view(folder: Path, clock: Callable[[Path], float] = server_now) -> LeaseView | None:
    """The current lease of a folder; None when it was never claimed.

    Args:
        folder: perhaps claimed.
        clock: tells the file server's time, given the folder. A time that was told a little earlier lets a lease look
            younger than it is, never older.
    """
    number = latest_number(folder)
    if number == 0:
        return None
    path = lease_path(folder, number)
    try:
        content = RECORD.read(path)
    except TornFileError:
        content = {}
    if content.get("released"):
        # Asking for the clock would touch the folder of a trial that is finished.
        return LeaseView(number, content, math.inf)
    renewed = path.stat().st_mtime
    try:
        now = clock(folder)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        # Who may only read the folder claims nothing in it either.
        now = time.time()
    return LeaseView(number, content, now - renewed)


def history(folder: Path) -> list[AttemptRecord]:
    """Every attempt on a folder, oldest first, with ``last_seen`` (seconds since the epoch)."""
    attempts: list[AttemptRecord] = []
    for path in lease_files(folder).values():
        try:
            content = RECORD.read(path)
        except TornFileError:
            content = {}
        attempts.append({**content, "last_seen": path.stat().st_mtime})
    return attempts


def latest_number(folder: Path) -> int:
    """Number of the current lease, 0 when there is none."""
    return max(_numbers(folder), default=0)


def lease_path(folder: Path, number: int) -> Path:
    """The file of a folder's lease of this number."""
    return folder / f"lease.{number:04d}"


def lease_files(folder: Path) -> dict[int, Path]:
    """The files of all leases of a folder, by number, oldest first."""
    return {number: lease_path(folder, number) for number in sorted(_numbers(folder))}


def _numbers(folder: Path) -> list[int]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    return [int(name[6:]) for name in names if name.startswith("lease.") and name[6:].isdigit()]


def expire(path: Path) -> None:
    """Let a lease that nobody renews look as old as it is; an owner that lives on renews it again."""
    long_ago = server_now(path.parent) - EXPIRY_SECONDS - 1
    os.utime(path, (long_ago, long_ago))


def record_loss(path: Path) -> None:
    """Put a lease in the place of one that was lost or cannot be read, as of an owner that gave its folder back.

    Only for one that is dead or succeeded already: who owns the folder depends on the highest number alone.
    """
    there = path.exists()
    seen = path.stat().st_mtime if there else server_now(path.parent) - EXPIRY_SECONDS - 1
    temporary = _temporary(path, {"released": "record lost"})
    os.utime(temporary, (seen, seen))
    if there:
        temporary.replace(path)
        return
    with suppress(FileExistsError):  # a claimant that was faster has the number now
        os.link(temporary, path)
    temporary.unlink()


def record_death(folder: Path, pid: int, cause: str) -> None:
    """Note in the folder's lease why its owner died, if that process of this host still owns it."""
    current = view(folder)
    if current is None or current.content.get("released"):
        return
    if current.content.get("pid") == pid and current.content.get("host") == host_identity():
        Lease(folder, current.number, current.content).note(death=cause)


@contextmanager
def hold(folder: Path) -> Iterator[Lease]:
    """Own a folder for a while; waits for whoever owns it."""
    while (lease := claim(folder)) is None:
        time.sleep(POLL_SECONDS)
    try:
        with keep_alive(lease):
            yield lease
    finally:
        lease.release("done")


def _temporary(path: Path, content: LeaseRecord) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        temporary.write_bytes(encode_json(content))
    except OSError as error:
        temporary.unlink(missing_ok=True)
        error.filename = str(path)
        raise
    return temporary


@contextmanager
def given_back(lease: Lease, reason: str) -> Iterator[None]:
    """Release a lease if what follows its claim fails: its owner lives on, so nobody else would get the folder."""
    try:
        yield
    except BaseException:
        with suppress(OSError, LeaseLost):  # which must not hide the error that is being raised
            lease.release(reason)
        raise


@contextmanager
def keep_alive(lease: Lease) -> Iterator[None]:
    """Renew a lease in the background as long as this lasts.

    Raises:
        OSError: the system has no thread left for that.
    """
    finished = threading.Event()

    def renew() -> None:
        while not finished.wait(RENEW_SECONDS):
            # A file server that is away for a moment: the fence before the next write decides, and if it stays away
            # the lease expires.
            try:
                with suppress(OSError):
                    lease.renew()
            except LeaseLost:
                return

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        # Python names no number: it is the one of a limit of processes, which may pass.
        raise OSError(errno.EAGAIN, str(error)) from error
    try:
        yield
    finally:
        finished.set()
        thread.join()
