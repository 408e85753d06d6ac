"""How to install what only some uses need: the requirements themselves, since no index has this package."""

from __future__ import annotations

import importlib.metadata
import re
import shlex

PACKAGE = "gpaf-bench"


def install(extra: str, package: str | None = None) -> str:
    """The command that installs an optional part, such as ``pip install 'timm>=1.0'``.

    Args:
        extra: its name in ``pyproject.toml``.
        package: only the one of that name, where the part has one.
    """
    try:
        required = importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        required = []
    parts = (text.partition(";") for text in required)
    wanted = [text.strip() for text, _, marker in parts if re.search(rf"extra == ['\"]{extra}['\"]", marker)]
    named = [text for text in wanted if re.match(rf"{re.escape(package or '')}(?![\w.-])", text)] if package else []
    if not wanted:
        return f"pip install -e '.[{extra}]' in the clone"
    return f"pip install {' '.join(map(shlex.quote, named or wanted))}"
