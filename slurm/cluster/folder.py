"""The folder of a cluster: which may be used, what is made in it, what is removed."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from harness.core.errors import RequestError
from slurm.cluster.settings import LONGEST_ROOT, Layout, Settings

_PLAIN = re.compile(r"[A-Za-z0-9._/+-]+")


def usable_root(root: Path) -> Path:
    """The folder as an absolute path without symbolic links.

    Raises:
        RequestError: too long for the sockets in it, or with signs that slurm.conf cannot hold.
    """
    path = root.expanduser().resolve()
    if len(str(path)) > LONGEST_ROOT:
        raise RequestError(
            f"{path}: {len(str(path))} characters, too long for the sockets below it (at most {LONGEST_ROOT}); "
            "choose a shorter --root"
        )
    if not _PLAIN.fullmatch(str(path)):
        raise RequestError(
            f"{path}: only letters, digits and ._/+- can be written in slurm.conf; choose another --root"
        )
    return path


def made_folder() -> Path:
    """A new folder below the system's temporary one, or below /tmp where that one's path is too long."""
    try:
        return usable_root(Path(tempfile.mkdtemp(prefix="slurm-")))
    except RequestError:
        return usable_root(Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp")))


def prepare(layout: Layout, settings: Settings) -> None:
    """Make the folders of a new cluster; what an earlier one left in them is removed."""
    for path in (*layout.folders, layout.root / "nodes"):
        shutil.rmtree(path, ignore_errors=True)
    layout.munge_key.unlink(missing_ok=True)
    # Jobs of other users read the configuration and reach munge's socket.
    layout.root.chmod(0o755)
    nodes = [path for name in settings.node_names for path in (layout.node_scratch(name), layout.node_spool(name))]
    for path in (*layout.folders, *nodes):
        path.mkdir(parents=True)
    layout.scratch.chmod(0o1777)
    for name in settings.node_names:
        layout.node_scratch(name).chmod(0o1777)


def is_foreign(layout: Layout) -> bool:
    """Whether the folder holds something and was not a cluster's before."""
    if not layout.root.is_dir() or layout.state.exists() or layout.etc.is_dir():
        return False
    return any(path != layout.lock for path in layout.root.iterdir())


def remove_folder(root: Path) -> None:
    """Remove a folder that was made for one cluster."""
    shutil.rmtree(root, ignore_errors=True)
