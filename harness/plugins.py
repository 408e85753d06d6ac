"""Finding plugins of every kind: loaded by path, under module names of our own, each failure on its own.

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
from typing import Any, Generic, NamedTuple, TypeVar

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, one_line, run_command, suggestion
from harness.core.identity import code_hash
from harness.core.infrastructure import PLUGIN_PACKAGE
from harness.core.pluggable import Pluggable, modules_in, plugins_in

GROUP = "gpaf_bench.plugins"
"""Entry-point group; an entry point loads to a module, or to the path of a folder."""


class _Kind(NamedTuple):
    """Where a kind of plugin is."""

    contract: str
    """The base class of its plugins, as ``module:name``."""
    builtin: str = ""
    """The built-in ones: a folder beside the package, or a package, which is loaded when its kind is asked for. Empty
    where there are none."""


KINDS = {
    "method": _Kind("harness.method:Method", "methods/"),
    "dataset": _Kind("harness.dataset:Dataset", "datasets/"),
    "export": _Kind("harness.export.contract:Export", "harness.export.targets"),
    "figure": _Kind("analysis.contracts:Figure"),
    "table": _Kind("analysis.contracts:Table"),
    "launcher": _Kind("harness.launcher:Launcher", "harness.launch.kinds"),
    "metric": _Kind("harness.metrics.metric:Metric", "harness.metrics.builtin"),
    "evaluation": _Kind("harness.evaluation:Evaluation", "harness.evaluations"),
    "sampler": _Kind("harness.search.sampler:Sampler", "harness.search.samplers"),
    "engine": _Kind("harness.search.sampler:Engine", "harness.ray.engines"),
}
"""Every kind of plugin."""

P = TypeVar("P", bound=Pluggable)
P_co = TypeVar("P_co", bound=Pluggable, covariant=True)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Plugin(Generic[P_co]):
    """A plugin that can be used."""

    name: str
    cls: type[P_co]
    path: Path
    code: str
    """Hash of its syntax tree and of the helpers that it imports relatively."""

    @property
    def builtin(self) -> bool:
        """Whether it came with the harness."""
        home = KINDS[self.cls.kind].builtin
        return self.cls.__module__.rpartition(".")[0] == home or self.path.parent in builtin_folders()

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


class Catalogue:
    """Everything that was found.

    Args:
        found: plugins of all kinds, without those in built-in packages, which are loaded when their kind is asked for.
        broken: what cannot be used.
        folders: those that a user named.
    """

    def __init__(
        self, found: Sequence[Plugin[Any]], broken: Sequence[BrokenPlugin], folders: Sequence[Path] = ()
    ) -> None:
        self._found, self.broken = list(found), tuple(broken)
        self._folders = {folder.resolve() for folder in folders}
        self._by_kind: dict[str, dict[str, Plugin[Any]]] = {}
        for kind in dict.fromkeys(plugin.cls.kind for plugin in found):
            self._of(kind)

    def all(self, contract: type[P]) -> dict[str, Plugin[P]]:
        """Every usable plugin of a kind, by name.

        Args:
            contract: the base class of the kind, such as ``Method``.
        """
        return self._of(contract.kind)

    def given(self, contract: type[P]) -> list[Plugin[P]]:
        """Every usable plugin of a kind that is in a folder that a user named, by name."""
        own = (plugin for plugin in self.all(contract).values() if plugin.path.parent in self._folders)
        return sorted(own, key=lambda plugin: plugin.name)

    def find(self, contract: type[P], name: str, place: str) -> Plugin[P]:
        """A plugin by name.

        Args:
            contract: the base class of its kind.
            name: its name.
            place: where the name was read, as the message begins.

        Raises:
            RequestError: there is none, or it is broken.
        """
        known = self.all(contract)
        if name in known:
            return known[name]
        for one in self.broken:
            if one.name == name:
                raise RequestError(f"{place}: the plugin {name!r} is broken: {one.path}: {one.error}")
        raise RequestError(f"{place}: no {contract.kind} is called {name!r}{suggestion(name, known)}")

    def _of(self, kind: str) -> dict[str, Plugin[Any]]:
        if kind not in self._by_kind:
            some = [*_built_into_the_package(kind), *(plugin for plugin in self._found if plugin.cls.kind == kind)]
            usable, conflicts = _without_conflicts(some)
            self.broken = (*self.broken, *conflicts)
            self._by_kind[kind] = {plugin.name: plugin for plugin in usable}
        return self._by_kind[kind]


def discover(folders: Sequence[Path] = ()) -> Catalogue:
    """Load every plugin: the built-in ones, those of ``folders``, then those of installed packages.

    A folder's ``*.py`` files are loaded but those whose name starts with an underscore.

    Raises:
        RequestError: one of ``folders`` does not exist.
    """
    found: list[Plugin[Any]] = []
    broken: list[BrokenPlugin] = []
    seen: set[Path] = set()
    for folder in [*builtin_folders(), *_there(folders)]:
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
    return Catalogue(found, broken, folders)


def of_folders(folders: Sequence[Path]) -> Catalogue:
    """Load the plugins of ``folders``, and of the built-in ones those kinds that belong to the package alone.

    For commands that only read: no method or dataset is loaded for them, and nothing that their user did not name.

    Raises:
        RequestError: one of ``folders`` does not exist.
    """
    found: list[Plugin[Any]] = []
    broken: list[BrokenPlugin] = []
    seen: set[Path] = set()
    for folder in _there(folders):
        _load_folder(folder, found, broken, seen)
    return Catalogue(found, broken)


def packaged() -> Catalogue:
    """The built-in plugins of kinds that are in the package: those of a kind are loaded when it is asked for."""
    return Catalogue([], [])


def load_builtin() -> None:
    """Load the built-in plugins, so that ``discover`` need not in this process and its forks."""
    for folder in builtin_folders():
        _load_folder(folder, [], [], set())


def builtin_folders() -> list[Path]:
    """The folders of the built-in plugins."""
    package = Path(__file__).resolve().parent
    # A wheel has them inside the package, a checkout beside it.
    home = package / "builtin" if (package / "builtin").is_dir() else package.parent
    names = [kind.builtin for kind in KINDS.values() if kind.builtin.endswith("/")]
    return [home / name for name in names if (home / name).is_dir()]


def contract_of(kind: str) -> type[Pluggable]:
    """The base class of the plugins of a kind."""
    module, _, name = KINDS[kind].contract.partition(":")
    contract: type[Pluggable] = getattr(importlib.import_module(module), name)
    return contract


def described(path: Path, error: BaseException) -> str:
    """What a plugin raised, in one line, with the line of its file where there is one.

    Args:
        path: the plugin's file.
        error: with its traceback.
    """
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    line = _line(path, error)
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "harness":
        # The modules of the harness move; its public names stay.
        text += "; import what a plugin needs from harness.api"
    shown = one_line(f"{type(error).__name__}: {text}".removesuffix(": "))
    return f"line {line}: {shown}" if line else shown


def _there(folders: Sequence[Path]) -> Sequence[Path]:
    for folder in folders:
        if not folder.is_dir():
            raise RequestError(f"{folder}: no such plugin folder")
    return folders


def _built_into_the_package(kind: str) -> list[Plugin[Any]]:
    home = KINDS[kind].builtin
    if not home or home.endswith("/"):
        return []
    modules = modules_in(home)
    return [plugin for module in modules for plugin in _plugins(module, Path(str(module.__file__)))]


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
            raise TypeError(f"defines no plugin with a name ({', '.join(KINDS)}); begin a helper file's name with '_'")
    except (TypeError, OSError, SyntaxError) as error:
        broken.append(_broken(stem, path, error))
    else:
        found.extend(plugins)


def _plugins(module: ModuleType, path: Path) -> Iterator[Plugin[Any]]:
    code = code_hash(path)
    for cls in plugins_in(module):
        if cls.kind not in KINDS:
            raise TypeError(f"{cls.__name__} is a {cls.kind!r}, which is no kind of plugin ({', '.join(KINDS)})")
        if not isinstance(cls.name, str) or not _NAME.fullmatch(cls.name):
            raise TypeError(f"{cls.__name__}.name is {cls.name!r}; use letters, digits, '.', '_' and '-'")
        absent = [attribute for attribute in cls.required if not hasattr(cls, attribute)]
        absent += sorted(getattr(cls, "__abstractmethods__", ()))
        if absent:
            raise TypeError(f"{cls.__name__} lacks {' and '.join(absent)}")
        fault = cls.fault()
        if fault is not None:
            raise TypeError(f"{cls.__name__} {fault}")
        yield Plugin(cls.name, cls, path, code)


def _without_conflicts(found: Sequence[Plugin[Any]]) -> tuple[list[Plugin[Any]], list[BrokenPlugin]]:
    """Plugins of a kind whose name is their own, and the others: which one was meant cannot be guessed."""
    usable, conflicts = [], []
    for plugin in found:
        rivals = [one for one in found if one is not plugin and one.name == plugin.name]
        if rivals:
            others = ", ".join(str(rival.path) for rival in rivals)
            error = f"the {plugin.cls.kind} {plugin.name!r} is also defined in {others}; rename one"
            conflicts.append(BrokenPlugin(plugin.name, plugin.path, error, ""))
        else:
            usable.append(plugin)
    return usable, conflicts


def _broken(name: str, path: Path, error: BaseException) -> BrokenPlugin:
    return BrokenPlugin(name, path, described(path, error), "".join(traceback.format_exception(error)))


def _line(path: Path, error: BaseException) -> int | None:
    """The line of ``path`` at which it failed; None where it failed as a whole."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.plugins``."""
    result = argparse.ArgumentParser(prog="python -m harness.plugins", description="List plugins of every kind.")
    result.add_argument(
        "--plugins", action="append", default=[], type=user_path, metavar="DIR", help="additional folder"
    )
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found and what is broken; 1 when anything is broken."""
    options = parse(parser(), arguments)
    return run_command(lambda: _list(options.plugins))


def _list(folders: Sequence[Path]) -> int:
    from rich.table import Table
    from rich.text import Text

    from harness.core.console import Console

    catalogue = discover(folders)
    table = Table("kind", "name", "summary", "file")
    for plugin in (one for kind in KINDS for one in catalogue.all(contract_of(kind)).values()):
        # As Text, because a bracket in a docstring would be read as markup.
        table.add_row(plugin.cls.kind, Text(plugin.name), Text(plugin.summary), Text(str(plugin.path)))
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
