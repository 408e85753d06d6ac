"""What the code of a plugin is now, told from its files alone: nothing is imported, and nothing of it runs."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

from harness.core.errors import RequestError
from harness.core.files import read_with_status
from harness.core.identity import MOST_CODE, code_hash

_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError, OSError, RequestError)


def plugin_code(name: str, folders: Sequence[Path]) -> str | None:
    """The hash of a plugin's code, as ``harness.plugins`` has it once that is imported.

    Args:
        name: of the plugin, as its class says in ``name = "…"``.
        folders: of plugins, in which it is looked for.

    Returns:
        None where no file there says so, or more than one does, or the file cannot be read.
    """
    found = [path for folder in folders for path in sorted(folder.glob("*.py")) if _defines(path, name)]
    if len(found) != 1:
        return None
    try:
        return code_hash(found[0])
    except _UNREADABLE:
        return None


def _defines(path: Path, name: str) -> bool:
    if path.name.startswith("_"):
        return False
    try:
        tree = ast.parse(read_with_status(path.resolve(), MOST_CODE)[1])
    except _UNREADABLE:
        return False
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return any(_named(statement) == name for one in classes for statement in one.body)


def _named(statement: ast.stmt) -> object:
    """What a statement of a class gives ``name``, where that is written out."""
    if isinstance(statement, ast.Assign):
        targets: list[ast.expr] = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return None
    is_name = any(isinstance(target, ast.Name) and target.id == "name" for target in targets)
    return statement.value.value if is_name and isinstance(statement.value, ast.Constant) else None
