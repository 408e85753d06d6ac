"""A YAML file that remembers where each of its keys stands, and what the command line changed.

What it may hold and how much of it: ``harness.spec.yaml_reading``.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.core.errors import RequestError, shortened, suggestion
from harness.spec.yaml_reading import LONGEST_KEY, MOST_BYTES, load

Key: TypeAlias = str | int

MOST_WORDS = 20
"""Words of a key of ``--set``, between dots."""


class YamlSource:
    """The content of a YAML file, with the place of each key.

    ``data`` is the document as plain Python data, with every ``set`` applied. Without a file the place of a
    key is the key itself.
    """

    def __init__(self, data: dict[str, Any], path: Path | None = None, root: Node | None = None) -> None:
        self.data = data
        self.path = path
        self._root = root
        self._assigned: set[tuple[Key, ...]] = set()
        self._created: set[tuple[Key, ...]] = set()

    @classmethod
    def read(cls, path: Path, kind: str = "sweep file", example: str = "name: my_sweep") -> YamlSource:
        """Read a file whose document is a mapping.

        Args:
            path: the file.
            kind: what it should be, for messages.
            example: one of its keys with a value, for messages.

        Raises:
            RequestError: the file is missing, a folder, empty, too large, not UTF-8, not valid YAML, no mapping,
                writes a key twice, or holds anything but plain data. The message is ``path:line: …``.
            OSError: it cannot be read.
        """
        root, data = _load(_read_text(path, kind), str(path))
        if root is None:
            raise RequestError(f"{path}:1: the file is empty; a {kind} has keys such as `{example}`")
        if not isinstance(data, dict):
            line = root.start_mark.line + 1
            raise RequestError(f"{path}:{line}: expected keys and values such as `{example}`, got {_kind(data)}")
        return cls(data, path, root)

    def place(self, keys: Sequence[Key]) -> str:
        """Where a key stands, as ``sweeps/x.yaml:12: methods.lora_c.rank`` or ``--set train.epochs``.

        The line is that of the deepest part of ``keys`` that the file has. An item of a list may be addressed
        by its number or, in a list of names and one-key mappings, by its name.
        """
        dotted = ".".join(shortened(str(key), 80) for key in keys)
        path = tuple(keys)
        if path in self._created or any(path[:end] in self._assigned for end in range(1, len(path) + 1)):
            return f"--set {dotted}"
        if self._root is None:
            return dotted
        node, line = self._root, self._root.start_mark.line
        for key in path:
            below = _child(node, key)
            if below is None:
                break
            line, node = below
        return f"{self.path}:{line + 1}" + (f": {dotted}" if dotted else "")

    def set(self, assignment: str) -> None:
        """Apply ``a.b.c=value``; the value is YAML, missing mappings on the way are made.

        A number addresses an item of a list; a name addresses the item of a list of names, or adds one.

        Raises:
            RequestError: no ``=``, an empty key or value, a value that is not YAML, or a way that leads
                through something that has no keys.
        """
        name, equals, text = assignment.partition("=")
        words = name.strip().split(".")
        if not equals or not all(words):
            raise RequestError(f"--set {shortened(assignment)}: expected KEY=VALUE, such as train.epochs=3")
        if len(words) > MOST_WORDS or len(name) > MOST_WORDS * LONGEST_KEY:
            raise RequestError(f"--set {shortened(name)}: a longer key than any that there is")
        place = f"--set {name.strip()}"
        node, value = _load(text, place, numbered=False)
        if node is None:
            raise RequestError(f"{place}: no value after '='; write null for none")
        container: Any = self.data
        path: tuple[Key, ...] = ()
        while True:
            if not isinstance(container, dict | list):
                way = ".".join(map(str, path))
                raise RequestError(
                    f"{place}: {way} is {shortened(repr(container))} and has no keys; set {way} as a whole"
                )
            holder, key, used = _slot(container, words, place)
            path, words = (*path, key), words[used:]
            if not words:
                holder[key] = value
                self._assigned.add(path)
                return
            below = holder.get(key) if isinstance(holder, dict) else holder[key]
            if below is None:
                below = {}
                self._created.add(path)
            # A copy, because an alias shares one object between several places of the file.
            container = holder[key] = copy.copy(below)


def _read_text(path: Path, kind: str) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        near = [entry.name for entry in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise RequestError(f"{path}: no such file{suggestion(path.name, near)}") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise RequestError(f"{path}: not a file; give the path of a {kind} (.yaml)") from error
    if len(content) > MOST_BYTES:
        raise RequestError(f"{path}: larger than {MOST_BYTES // 1024} KiB; is it a {kind}?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RequestError(f"{path}:{line}: not UTF-8 text; save the file with UTF-8 encoding") from error


def _load(text: str, name: str, numbered: bool = True) -> tuple[Node | None, Any]:
    """The node tree and the data of a document; (None, None) for an empty one."""
    return load(text, (lambda line: f"{name}:{line + 1}") if numbered else (lambda line: name))


def _child(node: Node, key: Key) -> tuple[int, Node] | None:
    """Line (from 0) and node of what stands under a key."""
    if isinstance(node, MappingNode):
        # From the end: keys merged in by `<<` come first, and the mapping's own win.
        for name, value in reversed(node.value):
            if name.value == str(key):
                return name.start_mark.line, value
    elif isinstance(node, SequenceNode) and isinstance(key, int):
        if key < len(node.value):
            return node.value[key].start_mark.line, node.value[key]
    elif isinstance(node, SequenceNode):
        for item in node.value:
            if isinstance(item, ScalarNode) and item.value == key:
                return item.start_mark.line, item
            if isinstance(item, MappingNode) and len(item.value) == 1 and item.value[0][0].value == key:
                return item.start_mark.line, item.value[0][1]
    return None


def _slot(container: dict[str, Any] | list[Any], words: Sequence[str], place: str) -> tuple[Any, Key, int]:
    """What to assign into, under which key, and how many words that key took (a label may hold dots)."""
    joined = [(".".join(words[:count]), count) for count in range(len(words), 0, -1)]
    if isinstance(container, dict):
        name, used = next(((name, used) for name, used in joined if name in container), joined[-1])
        return container, name, used
    if words[0].isdecimal():
        if int(words[0]) >= len(container):
            raise RequestError(f"{place}: the list has {len(container)} items, numbered from 0")
        return container, int(words[0]), 1
    names = [next(iter(item)) if isinstance(item, dict) and len(item) == 1 else item for item in container]
    if not all(isinstance(name, str) for name in names):
        raise RequestError(f"{place}: {words[0]!r} should be the number of an item, from 0")
    name, used = next(((name, used) for name, used in joined if name in names), joined[-1])
    if name not in names:
        container.append({name: None})
        return container[-1], name, used
    index = names.index(name)
    item = container[index]
    container[index] = dict(item) if isinstance(item, dict) else {name: None}
    return container[index], name, used


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else shortened(repr(value))
