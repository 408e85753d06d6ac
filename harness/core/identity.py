"""What makes two trainings the same: hashes of values and of code, and what differs between two of them."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.errors import RequestError
from harness.core.files import read_with_status
from harness.core.public_names import PLACES

_LONG_HASH = re.compile(r"[0-9a-f]{32,}")


def canonical_hash(value: Any) -> str:
    """SHA-256, in hexadecimal, of a JSON-like value.

    Mappings are equal whatever the order of their keys, tuples equal lists; ``1``, ``1.0`` and ``True``
    differ. Floats are written by ``repr``, which tells any two of them apart.

    Raises:
        TypeError: the value holds something that JSON does not know.
    """
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


def configuration_hash(hyperparameters: Mapping[str, object], schedule: Sequence[Mapping[str, object]] = ()) -> str:
    """Short name of a configuration, with the changes that it makes on the way."""
    whole: Any = [dict(hyperparameters), list(schedule)] if schedule else dict(hyperparameters)
    return canonical_hash(whole)[:10]


SEARCH_ALONE = ("search", "space", "prior", "sampler")
"""Parts of a study's identity that decide what is trained, and nothing of how."""


def trial_identity(
    study: Mapping[str, object],
    stage: str,
    hyperparameters: Mapping[str, object],
    seed: int,
    schedule: Sequence[Mapping[str, object]] = (),
    split: str | None = None,
) -> str:
    """Hash of everything that determines the result of one trial.

    Args:
        study: the identity of its study, part by part.
        stage: search or confirm; a repetition is what it repeats.
        hyperparameters: its configuration.
        seed: its seed.
        schedule: how its hyperparameters change on the way.
        split: the digest of its split, where that is not the study's.
    """
    parts = {part: value for part, value in study.items() if part not in SEARCH_ALONE}
    dataset = parts.get("dataset")
    if split is not None and isinstance(dataset, Mapping):
        parts["dataset"] = {**dataset, "split": split}
    return canonical_hash(
        {
            **parts,
            "stage": stage,
            "hyperparameters": dict(hyperparameters),
            "seed": seed,
            **({"schedule": list(schedule)} if schedule else {}),
        }
    )


BUILDING_BLOCKS = (
    "harness.activations",
    "harness.networks.activation_sites",
    "harness.networks.activation_calls",
    "harness.networks.sites",
)
"""Modules of the harness that are parts of methods: a change of one concerns the methods that use it, no others."""

_HARNESS = Path(__file__).resolve().parents[1]


MOST_CODE = 1 << 20
"""Bytes of the longest module of a plugin: its syntax takes a hundred times as much memory."""


def code_hash(path: Path) -> str:
    """SHA-256, in hexadecimal, of a module's syntax and of all that it imports, transitively, as far as it counts.

    What counts is what it imports relatively, and ``BUILDING_BLOCKS``. The rest of the harness is covered by the
    protocol version, other packages by the recorded environment. Comments, blank lines, formatting, docstrings,
    the name and place of the file, and the places of the harness's modules change nothing.

    Raises:
        SyntaxError: a file is not Python.
        OSError: a file cannot be read.
    """
    start = path.resolve()
    modules: dict[Path, str] = {}
    waiting = [start]
    while waiting:
        current = waiting.pop()
        if current in modules:
            continue
        # Its links are resolved already; a pipe would be waited for, and a huge file fill the memory.
        modules[current], candidates = _parsed(current, read_with_status(current, MOST_CODE)[1])
        waiting.extend(candidate.resolve() for candidate in candidates if candidate.is_file())
    own = modules.pop(start)
    # A helper counts under the name by which it is imported: that from the folder of the first file, or its own.
    helpers = sorted(
        (f"/{path.name}" if path.is_relative_to(_HARNESS) else _relative_name(path, start.parent), shape)
        for path, shape in modules.items()
    )
    # The canonical form of [own, helpers], put together from those of the modules.
    shapes = ",".join(f"{_canonical(name)}:{shape}" for name, shape in helpers)
    return hashlib.sha256(f"[{own},{{{shapes}}}]".encode()).hexdigest()


@functools.cache
def _parsed(path: Path, content: bytes) -> tuple[str, tuple[Path, ...]]:
    """The canonical form of a module's syntax, and the files that may be what it imports, as far as that counts.

    Kept, because many plugins are built from the same modules: parsing them again for each took most of a second.
    """
    tree = ast.parse(content, filename=str(path))
    return _canonical(_shape(tree)), (*_relative_imports(tree, path), *_building_blocks(tree))


def naming(folders: Sequence[Path], names: Sequence[str]) -> list[Path]:
    """Files of plugin folders that say one of some public names; nothing is loaded.

    A folder that is not there has none.
    """
    pattern = re.compile(rf"\b({'|'.join(names)})\b".encode())
    files = [path for folder in folders for path in sorted(folder.resolve().glob("*.py"))]
    return [path for path in files if pattern.search(_source(path))]


def _source(path: Path) -> bytes:
    """The content of a file, which may be a link; nothing of what is no module."""
    try:
        return read_with_status(path.resolve(), MOST_CODE)[1]
    except (OSError, RequestError):
        return b""


@functools.cache
def source_hash(modules: tuple[str, ...]) -> str:
    """SHA-256, in hexadecimal, of the files of some modules of the harness as they are: for what is kept for later.

    A changed comment then costs one computation; parsing, as ``code_hash`` does, would cost each process its time.
    """
    digest = hashlib.sha256()
    for name in modules:
        content = _HARNESS.parent.joinpath(*name.split(".")).with_suffix(".py").read_bytes()
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def differences(old: Mapping[str, object], new: Mapping[str, object], prefix: str = "") -> list[str]:
    """One readable line for each leaf that differs, such as ``train.epochs: 3 → 5``, sorted by key.

    Empty exactly when ``canonical_hash`` of both is equal. Lists are leaves. Long hashes are shown by their
    first eight characters: ``method.code: changed (0a1b2c3d → 4e5f6071)``.
    """
    lines: list[str] = []
    for key in sorted({*old, *new}):
        name = f"{prefix}.{key}" if prefix else str(key)
        if key not in old:
            lines.extend(f"{leaf}: added ({_shown(value)})" for leaf, value in _leaves(new[key], name))
        elif key not in new:
            lines.extend(f"{leaf}: removed (was {_shown(value)})" for leaf, value in _leaves(old[key], name))
        else:
            before, after = old[key], new[key]
            if isinstance(before, Mapping) and isinstance(after, Mapping):
                lines.extend(differences(before, after, name))
            elif _canonical(before) != _canonical(after):
                lines.append(f"{name}: {_change(before, after)}")
    return lines


def _canonical(value: Any) -> str:
    def convert(other: Any) -> Any:
        if isinstance(other, Mapping):
            return dict(other)
        raise TypeError(f"{type(other).__name__} has no canonical form: {other!r}")

    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=convert)


def _shape(node: Any) -> Any:
    """A syntax tree as nested lists, without positions and docstrings.

    Not ``ast.dump``: which empty fields that writes depends on the version of Python, and an upgrade would
    make every result stale. Empty fields are therefore left out, and so is the ``u`` of a ``u"text"``.
    """
    if isinstance(node, list):
        return [_shape(item) for item in node]
    if isinstance(node, ast.Constant):
        return ["Constant", type(node.value).__name__, repr(node.value)]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.ImportFrom) and node.level == 0 and str(node.module).partition(".")[0] == _HARNESS.name:
        fields["module"] = _HARNESS.name  # wherever in it the names are
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _has_docstring(node):
        fields["body"] = fields["body"][1:]
    kept = [[name, _shape(value)] for name, value in fields.items() if value is not None and value != []]
    return [type(node).__name__, *kept]


def _has_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    first = node.body[0] if node.body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _relative_imports(tree: ast.Module, path: Path) -> Iterator[Path]:
    """Files that a module's relative imports may mean; most do not exist."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node.level == 0:
            continue
        folder = path.parents[node.level - 1]
        candidates = []
        for part in (node.module or "").split(".") if node.module else []:
            candidates += [folder / f"{part}.py", folder / part / "__init__.py"]
            folder = folder / part
        for alias in node.names:
            candidates += [folder / f"{alias.name}.py", folder / alias.name / "__init__.py"]
        yield from candidates


def _building_blocks(tree: ast.Module) -> Iterator[Path]:
    """Files of ``BUILDING_BLOCKS`` that a module's imports by full names may mean."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "harness.api":
            names = [PLACES[alias.name] for alias in node.names if alias.name in PLACES]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if any(name == block or name.startswith(f"{block}.") for block in BUILDING_BLOCKS):
                path = _HARNESS.parent.joinpath(*name.split("."))
                yield from (path.with_suffix(".py"), path / "__init__.py")


def _relative_name(path: Path, folder: Path) -> str:
    ups = 0
    while not path.is_relative_to(folder):
        folder = folder.parent
        ups += 1
    return "../" * ups + path.relative_to(folder).as_posix()


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key in sorted(value):
            yield from _leaves(value[key], f"{name}.{key}")
    else:
        yield name, value


def _change(old: Any, new: Any) -> str:
    if _is_hash(old) and _is_hash(new):
        return f"changed ({old[:8]} → {new[:8]})"
    if _shown(old) == _shown(new):
        return f"{_canonical(old)} → {_canonical(new)}"
    return f"{_shown(old)} → {_shown(new)}"


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _LONG_HASH.fullmatch(value) is not None


def _shown(value: Any) -> str:
    if _is_hash(value):
        return str(value[:8])
    text = value if isinstance(value, str) else _canonical(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
