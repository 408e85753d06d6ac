"""Which folders of a cache on a node's own disk are used by whom, so that the others can make room.

ROOT/.NAME.use     locked by every process that uses ROOT/NAME, until it ends; its time stamp is that of the last use
ROOT/.turn/        one process at a time copies or makes room; only a cache on a node's own disk has it
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TURN = ".turn"
_in_use: dict[Path, int] = {}
"""Descriptors that keep this process's folders from being removed; the system closes them when it ends."""


def turn(root: Path) -> Path:
    """The folder whose lease says who copies or makes room."""
    folder = root / _TURN
    folder.mkdir(exist_ok=True)
    return folder


def use(root: Path, name: str) -> None:
    """Keep a folder, there or not yet there, from being removed as long as this process lives."""
    path = _mark(root, name)
    if path not in _in_use:
        # Waits while another process removes the folder.
        _in_use[path] = _locked(path, fcntl.LOCK_SH)
    os.utime(path)


def use_if_node_disk(cache: Path, name: str) -> None:
    """``use`` where a cache is on a node's own disk; in others nobody makes room, and they may know no locks."""
    if (cache / _TURN).is_dir():
        use(cache, name)


def used_here() -> set[Path]:
    """What this process keeps so far, for ``give_back``."""
    return set(_in_use)


def give_back(before: set[Path]) -> None:
    """Let what was not kept before be removed again."""
    for path in _in_use.keys() - before:
        os.close(_in_use.pop(path))


def unused(root: Path) -> list[str]:
    """The folders that this process does not use, those used longest ago first; others may use them."""
    last: dict[str, float] = {}
    for entry in os.scandir(root):
        if not entry.name.startswith(".") and entry.is_dir():
            last.setdefault(entry.name, entry.stat().st_mtime)
        elif entry.name.startswith(".") and entry.name.endswith(".use"):
            last[entry.name[1 : -len(".use")]] = entry.stat().st_mtime
    return sorted((name for name in last if _mark(root, name) not in _in_use), key=lambda name: last[name])


@contextmanager
def alone(root: Path, name: str) -> Iterator[bool]:
    """Whether no other process uses a folder; as long as this lasts, none begins to."""
    path = _mark(root, name)
    held = _in_use.get(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600) if held is None else held
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        yield free
    finally:
        if held is None:
            os.close(descriptor)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_SH)


def _mark(root: Path, name: str) -> Path:
    return root / f".{name}.use"


def _locked(path: Path, kind: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, kind)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
