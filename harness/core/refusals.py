"""A request that is refused leaves nothing behind: no run that never was, no folder on the way to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.core.errors import RequestError


@contextmanager
def leaving_nothing(place: Path, keep: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Remove what was made at a place, and the folders above that were made for it, where the request is refused.

    What was there before stays as it was.

    Args:
        place: file or folder that the request makes, whether it exists or not.
        keep: asked after a refusal: whether the folder holds something worth keeping by now, or somebody else's.
    """
    place = place.absolute()
    absent = [one for one in (place, *place.parents) if not one.exists()]
    empty = place.is_dir() and next(place.iterdir(), None) is None
    try:
        yield
    except (RequestError, OSError):
        # Somebody else may have begun something there, or nobody may remove it any more.
        with suppress(OSError):
            if (absent or empty) and not keep():
                for made in [place] if absent else list(place.iterdir()):
                    _remove(made)
            for folder in absent[1:]:
                folder.rmdir()
        raise


def held_by_others(lock: Path) -> bool:
    """Whether another process than this one has ever owned a folder that serialises something."""
    from harness.core.lease import history
    from harness.core.owner import host_identity

    owners = history(lock) if lock.is_dir() else []
    return any((owner.get("pid"), owner.get("host")) != (os.getpid(), host_identity()) for owner in owners)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
