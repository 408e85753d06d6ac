"""Finding methods and datasets: loaded by path, under module names of our own, each failure on its own.

No folder of plugins is ever put on ``sys.path``: a top-level ``datasets`` would shadow the well-known package
of that name. A folder becomes a private package, so that ``from . import _helper`` works in its files.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, one_line, run_command, suggestion
from harness.core.identity import code_hash
from harness.core.infrastructure import PLUGIN_PACKAGE
from harness.dataset import Dataset
from harness.method import Method

GROUP = "gpaf_bench.plugins"
"""Entry-point group; an entry point loads to a module, or to the path of a folder."""

Kind = Literal["method", "dataset"]
T_co = TypeVar("T_co", bound=Method | Dataset, covariant=True)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REQUIRED: dict[Kind, tuple[str, ...]] = {
    "method": ("space",),
    "dataset": ("title", "modality", "licence", "citation"),
}


@dataclass(frozen=True, slots=True)
class Plugin(Generic[T_co]):
    """A method or dataset that can be used."""

    name: str
    kind: Kind
    cls: type[T_co]
    path: Path
    code: str
    """Hash of its syntax tree and of the helpers that it imports relatively."""

    @property
    def summary(self) -> str:
        """First line of the class's docstring, as plain text."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0].replace("``", "")


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """A file, or a name in it, that cannot be used."""

    name: str
    """The file's stem or, in a conflict, the name that two files claim."""
    path: Path
    error: str
    """One line, with the line number where there is one."""
    traceback: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything that was found."""

    methods: dict[str, Plugin[Method]]
    datasets: dict[str, Plugin[Dataset]]
    broken: tuple[BrokenPlugin, ...]

    def method(self, name: str, place: str) -> Plugin[Method]:
        """A method by name.

        Raises:
            RequestError: there is none or it is broken; the message begins with ``place``.
        """
        if name not in self.methods:
            raise self._absent("method", name, place, self.methods)
        return self.methods[name]

    def dataset(self, name: str, place: str) -> Plugin[Dataset]:
        """A dataset by name.

        Raises:
            RequestError: there is none or it is broken; the message begins with ``place``.
        """
        if name not in self.datasets:
            raise self._absent("dataset", name, place, self.datasets)
        return self.datasets[name]

    def _absent(self, kind: Kind, name: str, place: str, known: dict[str, Any]) -> RequestError:
        for one in self.broken:
            if one.name == name:
                return RequestError(f"{place}: the plugin {name!r} is broken: {one.path}: {one.error}")
        return RequestError(f"{place}: no {kind} is called {name!r}{suggestion(name, known)}")


def discover(folders: Sequence[Path] = ()) -> Catalogue:
    """Load every plugin: the built-in ones, those of ``folders``, then those of installed packages.

    A folder's ``*.py`` files are loaded but those whose name starts with an underscore.

    Raises:
        RequestError: one of ``folders`` does not exist.
    """
    for folder in folders:
        if not folder.is_dir():
            raise RequestError(f"{folder}: no such plugin folder")
    found: list[Plugin[Any]] = []
    broken: list[BrokenPlugin] = []
    seen: set[Path] = set()
    for folder in [*builtin_folders(), *folders]:
        _load_folder(folder, found, broken, seen)
    for entry in entry_points(group=GROUP):
        try:
            loaded = entry.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001  (a plugin may fail in any way)
            broken.append(_broken(entry.name, Path(entry.value), error))
            continue
        if isinstance(loaded, ModuleType):
            _collect(entry.name, Path(loaded.__file__ or entry.value), loaded, found, broken)
        elif isinstance(loaded, str | Path) and Path(loaded).is_dir():
            _load_folder(Path(loaded), found, broken, seen)
        else:
            problem = TypeError(f"the entry point gives {loaded!r}, neither a module nor a folder")
            broken.append(_broken(entry.name, Path(entry.value), problem))
    usable, conflicts = _without_conflicts(found)
    return Catalogue(
        {plugin.name: plugin for plugin in usable if plugin.kind == "method"},
        {plugin.name: plugin for plugin in usable if plugin.kind == "dataset"},
        (*broken, *conflicts),
    )


def load_builtin() -> None:
    """Load the built-in plugins, so that ``discover`` need not in this process and its forks."""
    for folder in builtin_folders():
        _load_folder(folder, [], [], set())


def builtin_folders() -> list[Path]:
    """The folders of the built-in plugins."""
    package = Path(__file__).resolve().parent
    # A wheel has them inside the package, a checkout beside it.
    home = package / "builtin" if (package / "builtin").is_dir() else package.parent
    return [folder for folder in (home / "methods", home / "datasets") if folder.is_dir()]


def _load_folder(folder: Path, found: list[Plugin[Any]], broken: list[BrokenPlugin], seen: set[Path]) -> None:
    folder = folder.resolve()
    if folder in seen:
        return
    seen.add(folder)
    package = _package(folder)
    importlib.invalidate_caches()
    for path in sorted(folder.glob("*.py")):
        if path.stem.startswith("_"):
            continue
        try:
            if not path.stem.isidentifier():
                raise ImportError("the file's name must be a Python identifier")
            module = importlib.import_module(f"{package}.{path.stem}")
        except (Exception, SystemExit) as error:  # noqa: BLE001  (a plugin may fail in any way)
            broken.append(_broken(path.stem, path, error))
        else:
            _collect(path.stem, path, module, found, broken)


def _package(folder: Path) -> str:
    name = f"{PLUGIN_PACKAGE}{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        package.__spec__ = ModuleSpec(name, None, is_package=True)
        package.__spec__.submodule_search_locations = package.__path__
        sys.modules[name] = package
    return name


def _collect(stem: str, path: Path, module: ModuleType, found: list[Plugin[Any]], broken: list[BrokenPlugin]) -> None:
    try:
        plugins = list(_plugins(module, path))
        if not plugins:
            raise TypeError("defines no Method or Dataset with a name; begin a helper file's name with '_'")
    except (TypeError, OSError, SyntaxError) as error:
        broken.append(_broken(stem, path, error))
    else:
        found.extend(plugins)


def _plugins(module: ModuleType, path: Path) -> Iterator[Plugin[Any]]:
    code = code_hash(path)
    # Without repetition: a class may have several names in its module.
    for cls in dict.fromkeys(value for value in vars(module).values() if inspect.isclass(value)):
        if cls.__module__ != module.__name__ or inspect.isabstract(cls):
            continue
        # A class without a name is a base of others.
        if not issubclass(cls, Method | Dataset) or not hasattr(cls, "name"):
            continue
        kind: Kind = "method" if issubclass(cls, Method) else "dataset"
        if not isinstance(cls.name, str) or not _NAME.fullmatch(cls.name):
            raise TypeError(f"{cls.__name__}.name is {cls.name!r}; use letters, digits, '.', '_' and '-'")
        absent = [attribute for attribute in _REQUIRED[kind] if not hasattr(cls, attribute)]
        if absent:
            raise TypeError(f"{cls.__name__} lacks {' and '.join(absent)}")
        # Python leaves all docstrings out where it is told to (-OO).
        if kind == "method" and not (cls.__doc__ or "").strip() and sys.flags.optimize < 2:
            raise TypeError(
                f"{cls.__name__} has no docstring; write its source, equations and what trains, its first line is in "
                "lists and reports"
            )
        if issubclass(cls, Dataset) and cls.ordinal and cls.multi_label:
            raise TypeError(f"{cls.__name__} is ordinal and multi_label; classes that occur together have no order")
        yield Plugin(cls.name, kind, cls, path, code)


def _without_conflicts(found: Sequence[Plugin[Any]]) -> tuple[list[Plugin[Any]], list[BrokenPlugin]]:
    """Those whose name is their own, and the others: which one was meant cannot be guessed."""
    usable, conflicts = [], []
    for plugin in found:
        rivals = [one for one in found if one is not plugin and (one.kind, one.name) == (plugin.kind, plugin.name)]
        if rivals:
            others = ", ".join(str(rival.path) for rival in rivals)
            error = f"the {plugin.kind} {plugin.name!r} is also defined in {others}; rename one"
            conflicts.append(BrokenPlugin(plugin.name, plugin.path, error, ""))
        else:
            usable.append(plugin)
    return usable, conflicts


def _broken(name: str, path: Path, error: BaseException) -> BrokenPlugin:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    line = _line(path, error)
    shown = one_line(f"{type(error).__name__}: {text}".removesuffix(": "))
    return BrokenPlugin(
        name, path, f"line {line}: {shown}" if line else shown, "".join(traceback.format_exception(error))
    )


def _line(path: Path, error: BaseException) -> int | None:
    """The line of ``path`` at which it failed; None where it failed as a whole."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found and what is broken; 1 when anything is broken."""
    parser = argparse.ArgumentParser(prog="python -m harness.plugins", description="List methods and datasets.")
    parser.add_argument("--plugins", action="append", default=[], type=user_path, metavar="DIR", help="one more folder")
    options = parse(parser, arguments)
    return run_command(lambda: _list(options.plugins))


def _list(folders: Sequence[Path]) -> int:
    from rich.table import Table
    from rich.text import Text

    from harness.core.console import Console

    catalogue = discover(folders)
    table = Table("kind", "name", "summary", "file")
    plugins: list[Plugin[Any]] = [*catalogue.methods.values(), *catalogue.datasets.values()]
    for plugin in plugins:
        # As Text, because a bracket in a docstring would be read as markup.
        table.add_row(plugin.kind, Text(plugin.name), Text(plugin.summary), Text(str(plugin.path)))
    for broken in catalogue.broken:
        table.add_row("broken", Text(broken.name), Text(broken.error), Text(str(broken.path)), style="red")
    console = Console()
    if not console.is_terminal:
        # Whoever reads it greps, and a folded line cannot be found.
        console.width = 2000
    console.print(table)
    return EXIT_SOME_FAILED if catalogue.broken else EXIT_DONE


if __name__ == "__main__":
    raise SystemExit(main())
