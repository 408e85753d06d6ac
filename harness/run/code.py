"""The code of a launch, copied into the run directory: editing a file while jobs wait or workers run changes nothing.

A copy holds ``harness``, ``analysis``, the built-in plugins and the plugin folders that the sweep names. It is named by
a hash of all that, so that launches of the same code share one. Workers import the copy, however late they are started;
the process of the sweep command, the inline launcher and single trials run the code where it lies.

Of a user's plugin folder the Python files are copied; what else lies there, such as data, is reached through links.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import harness
from harness.core.errors import RequestError
from harness.core.files import encode_json, read_json
from harness.core.identity import code_hash
from harness.core.many_files import each
from harness.run.directory import RunDirectory

MANIFEST = "snapshot.json"
BESIDE = ("analysis", "methods", "datasets")
"""What lies beside the package in a checkout; in a wheel the last two are inside it."""


def take_snapshot(run: RunDirectory, plugins: Sequence[str]) -> Path:
    """Copy the code into the run directory, unless it is there; returns the copy.

    Args:
        run: the run directory.
        plugins: folders of plugins that the sweep names.

    Raises:
        RequestError: a file cannot be read, or would not be the same in the copy.
    """
    code = _Code.of(plugins, run.path)
    name = code.digest(code.files)
    target = run.code_folder() / name
    if target.is_dir() and not _is_whole(code, target):
        run.set_aside(target)
    if not target.is_dir():
        _copy(code, target)
    return target


def snapshot_size(plugins: Sequence[str], run: Path) -> tuple[int, int]:
    """How many files a copy of the present code holds, and their bytes; links to a user's data are of no account.

    Args:
        plugins: folders of plugins that the sweep names.
        run: the run directory, whether it exists or not.

    Raises:
        RequestError: a folder cannot be read.
    """
    code = _Code.of(plugins, run.absolute())
    compiled = [found for path in code.files.values() if (found := _compiled(path)) is not None]
    sizes = each(lambda path: path.stat().st_size, [*code.files.values(), *compiled])
    return len(sizes) + 1, sum(sizes) + len(_manifest(code))


def environment(program: Path) -> dict[str, str]:
    """Variables with which a new Python imports a copy, whatever lies in its current folder."""
    # The folder of the sweep command is looked into as before, but last: a plugin may import what lies there.
    last = [] if sys.flags.safe_path else [str(Path.cwd())]
    path = [str(program), *filter(None, [os.environ.get("PYTHONPATH")]), *last]
    return {"PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}


def own_snapshot() -> str | None:
    """The name of the copy that this process runs; None where it runs the code in place."""
    return _home().name if (_home() / MANIFEST).exists() else None


def plugin_folders(folders: Sequence[str]) -> list[Path]:
    """Where this process finds the plugins of a sweep: in the copy that it runs, as far as they are there."""
    manifest = _home() / MANIFEST
    copied: Mapping[str, str] = read_json(manifest, ("plugins",))["plugins"] if manifest.exists() else {}
    return [_home() / copied[folder] if folder in copied else Path(folder) for folder in folders]


@dataclass
class _Code:
    """All that a copy holds, by its place there."""

    files: dict[str, Path] = field(default_factory=dict)
    links: dict[str, Path] = field(default_factory=dict)
    plugins: dict[str, str] = field(default_factory=dict)
    """Plugin folder → its place."""

    @classmethod
    def of(cls, plugins: Sequence[str], run: Path) -> _Code:
        """The present code."""
        code = cls(plugins={folder: f"plugins/{number}" for number, folder in enumerate(plugins)})
        own = {"harness": _home() / "harness", **{part: _home() / part for part in BESIDE}}
        inside = (_home() / "harness" / "builtin").is_dir()
        # In site-packages a folder of such a name is another package.
        for part in own.keys() - set(BESIDE[1:] if inside else ()):
            code.files |= {f"{part}/{inner}": path for inner, path in _entries(own[part], frozenset(), whole=True)}
        for folder, place in code.plugins.items():
            for inner, path in _entries(Path(folder), frozenset(), whole=False):
                if path.suffix == ".py":
                    code.files[f"{place}/{inner}"] = path
                elif not run.is_relative_to(path):
                    code.links[f"{place}/{inner}"] = path
        return code

    def digest(self, files: Mapping[str, Path]) -> str:
        """The name of a copy; ``files`` are this code's or those of a copy, by place."""
        total = hashlib.sha256(encode_json([self.plugins, {place: str(path) for place, path in self.links.items()}]))
        places = sorted(files)
        contents = each(lambda place: hashlib.sha256(_content(files[place])).hexdigest(), places)
        for place, content in zip(places, contents, strict=True):
            total.update(f"{place}\0{content}\n".encode())
        return total.hexdigest()[:16]


def _home() -> Path:
    """The folder that the package lies in."""
    return Path(harness.__file__).absolute().parent.parent


def _entries(folder: Path, above: frozenset[Path], whole: bool) -> Iterator[tuple[str, Path]]:
    """What a folder of code holds, by place in it: files at any depth, and folders without Python files as such.

    Args:
        above: folders that it lies in, so that a link to one of them is not followed for ever.
        whole: enter every folder.
    """
    above |= {folder.resolve()}
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise RequestError(f"{folder}: cannot be copied for the workers: {error.strerror}") from error
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith(".") or entry.name == "__pycache__":
            continue
        if entry.is_file():
            yield entry.name, path
        elif entry.is_dir() and path.resolve() not in above:
            if whole or next(path.glob("*.py"), None) is not None:
                yield from ((f"{entry.name}/{inner}", found) for inner, found in _entries(path, above, whole))
            else:
                yield entry.name, path


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: cannot be copied for the workers: {error.strerror}") from error


def _is_whole(code: _Code, copy: Path) -> bool:
    """Whether a copy holds what its name says: it is not flushed to the disk, and somebody may have edited it."""
    files = {place: copy / place for place in code.files}
    if any(path.is_symlink() or not path.is_file() for path in (copy / MANIFEST, *files.values())):
        return False
    if (copy / MANIFEST).read_bytes() != _manifest(code) or code.digest(files) != copy.name:
        return False
    # In a stranger's run there may be more: a module of another package's name, or compiled code that is no source's.
    _forget_compiled(code, copy)
    return _places_in(copy) == {MANIFEST, *code.files, *code.links}


def _forget_compiled(code: _Code, copy: Path) -> None:
    """Remove compiled files that are not those of the present code; Python makes them again."""
    own = {copy / place: path for place, path in code.files.items()}
    expected = {
        _compiled_place(target): found for target, path in own.items() if (found := _compiled(path)) is not None
    }
    for cache in copy.rglob("__pycache__"):
        for path in () if cache.is_symlink() else cache.iterdir():
            known = expected.get(path)
            if path.is_symlink() or known is None or path.read_bytes() != known.read_bytes():
                path.unlink()


def _places_in(copy: Path) -> set[str]:
    """All files and links in a copy but compiled ones, by their places."""
    found = set()
    for folder, folders, names in os.walk(copy):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        caches = {name for name in folders if name == "__pycache__" and name not in links}
        found |= {Path(folder, name).relative_to(copy).as_posix() for name in (*names, *links)}
        folders[:] = [name for name in folders if name not in caches]
    return found


def _compiled_place(source: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(source)))


def _copy(code: _Code, target: Path) -> None:
    """Make the copy under another name first, so that it appears complete or not at all."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        for folder in sorted({(temporary / place).parent for place in (*code.files, *code.links)}):
            folder.mkdir(parents=True, exist_ok=True)
        each(lambda item: _copy_file(item[1], temporary / item[0]), list(code.files.items()))
        for place, path in code.links.items():
            (temporary / place).symlink_to(path.absolute())
        (temporary / MANIFEST).write_bytes(_manifest(code))
        temporary.rename(target)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            error.filename = str(target)
        # Another launch of the same code may have been faster.
        if not (isinstance(error, OSError) and target.is_dir()):
            raise


def _manifest(code: _Code) -> bytes:
    return encode_json({"plugins": code.plugins})


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file with its time stamp, by which the report and Python's compiled files tell whether it has changed."""
    shutil.copy2(source, target)
    if source.suffix != ".py":
        return
    if source.is_symlink() and _hash(source) != _hash(target):
        raise RequestError(
            f"{source}: a link to a file whose helpers lie beside that file, where workers do not look; "
            "put the files themselves into the plugin folder"
        )
    compiled = _compiled(source)
    if compiled is not None:
        # Compiling everything anew would take seconds in each new run directory.
        place = Path(importlib.util.cache_from_source(str(target)))
        place.parent.mkdir(exist_ok=True)
        shutil.copy2(compiled, place)


def _compiled(source: Path) -> Path | None:
    """The compiled file that lies beside a Python file; None where there is none."""
    if source.suffix != ".py" or sys.pycache_prefix is not None:
        return None
    compiled = Path(importlib.util.cache_from_source(str(source)))
    return compiled if compiled.exists() else None


def _hash(path: Path) -> str:
    try:
        return code_hash(path)
    except SyntaxError:
        return ""
