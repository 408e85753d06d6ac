"""A folder that one of any number of processes builds, and all others find complete.

FOLDER                  appears complete or not at all
.FOLDER.lock/           the leases of all who have built it, and what is being built
"""

from __future__ import annotations

import errno
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from harness.core import lease as leases
from harness.core.errors import RequestError

POLL_SECONDS = 0.5
"""How often a process looks whether another one has finished building."""

_WRONG_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
"""What a folder that nobody can make answers; anything else may pass."""


def build_once(folder: Path, build: Callable[[Path], None], waiting: Callable[[], None] = lambda: None) -> None:
    """Have a folder built by exactly one of any number of processes; the others wait, a dead one is succeeded.

    Args:
        folder: appears complete or not at all.
        build: fills the folder that it is given.
        waiting: called now and then while another process builds; what it raises ends the waiting.

    Raises:
        RequestError: the folder cannot be made in this place.
        OSError: the file system fails.
    """
    lock = folder.with_name(f".{folder.name}.lock")
    try:
        lock.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in _WRONG_PLACE:
            raise
        raise RequestError(
            f"{lock.parent}: no folder for decoded images can be made there ({error.strerror}); "
            "name another with GPAF_BENCH_CACHE"
        ) from error
    while not folder.is_dir():
        lease = leases.claim(lock)
        if lease is None:
            waiting()
            time.sleep(POLL_SECONDS)
            continue
        reason = "failed"
        try:
            # The last owner may have finished between the two looks.
            if not folder.is_dir():
                with leases.keep_alive(lease):
                    _build_and_move(folder, lease, build)
            reason = "built"
        except leases.LeaseLost:
            continue
        finally:
            lease.release(reason)


def _build_and_move(folder: Path, lease: leases.Lease, build: Callable[[Path], None]) -> None:
    # Whoever made these is dead, or was suspended so long that it no longer owns the lock.
    for stale in lease.folder.glob("build.*"):
        shutil.rmtree(stale, ignore_errors=True)
    # Numbers begin anew where a user removes the cache under a suspended owner.
    target = lease.folder / f"build.{lease.number:04d}.{secrets.token_hex(4)}"
    target.mkdir()
    try:
        build(target)
        lease.check()
        target.rename(folder)
    except OSError:
        # A successor clears this owner's unfinished folder away; that is no error to show.
        lease.check()
        raise
    finally:
        shutil.rmtree(target, ignore_errors=True)
