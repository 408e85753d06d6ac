"""Paths as addresses of a database: the one door to what reads ``?``, ``%`` or ``{`` in a path as something else."""

from __future__ import annotations

from pathlib import Path


def sqlite_address(path: Path) -> str:
    """The address by which SQLAlchemy, and what is built on it, opens this very file.

    Args:
        path: absolute; of a file in any place, whether it exists or not.
    """
    from sqlalchemy.engine import URL

    # Its own words, because it depends on the version which signs it takes as they are.
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
