"""What every kind of plugin has in common."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from types import ModuleType
from typing import ClassVar


class Pluggable:
    """The base of the contracts of plugins: of a method, a dataset and whatever else a user may add in a file.

    A contract is a subclass that sets ``kind``; a plugin is a concrete subclass of a contract that sets ``name``.
    ``harness.plugins`` finds plugins, and has the table of contracts.
    """

    kind: ClassVar[str]
    """The kind of plugin, in one word; set by the contract."""
    name: ClassVar[str]
    """Unique among the plugins of a kind: up to 64 letters, digits, ``.``, ``_`` and ``-``."""
    required: ClassVar[tuple[str, ...]] = ()
    """Attributes that the contract leaves to each plugin, beside ``name``; set by the contract."""

    @classmethod
    def documented(cls) -> bool:
        """Whether the class has a docstring of its own, as far as that can be told."""
        # Python leaves all docstrings out where it is told to (-OO).
        return bool((cls.__doc__ or "").strip()) or sys.flags.optimize >= 2

    @classmethod
    def fault(cls) -> str | None:
        """Why a plugin that has all its attributes still cannot be used, as the end of "CLASS …"; None if it can."""
        return None


def modules_in(package: str) -> list[ModuleType]:
    """The modules of a package of built-in plugins, by name; those that begin with an underscore are helpers."""
    home = importlib.import_module(package)
    names = sorted(found.name for found in pkgutil.iter_modules(home.__path__) if not found.name.startswith("_"))
    return [importlib.import_module(f"{package}.{name}") for name in names]


def plugins_in(module: ModuleType) -> list[type[Pluggable]]:
    """The plugins that a module defines itself; a class without a name is a base of others."""
    # Without repetition: a class may have several names in its module.
    classes = dict.fromkeys(value for value in vars(module).values() if inspect.isclass(value))
    own = [cls for cls in classes if cls.__module__ == module.__name__]
    return [cls for cls in own if issubclass(cls, Pluggable) and hasattr(cls, "name")]
