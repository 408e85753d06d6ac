"""From a YAML text to plain data, within bounds that no file of this program comes near.

Plain data only: mappings with text keys, lists, text, numbers, true, false and null. Deviations from PyYAML's reading
of YAML 1.1: ``1e-4`` is a number, a date is text, and so is ``12:00:00``. A number that has two meanings (``010``) and
one that a computer would round to 0 or to infinity (``1e-400``) are refused.

The bounds hold while the text is composed, so that what is too much is never built.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.core.errors import RequestError, shortened

At: TypeAlias = Callable[[int], str]
"""Line, from 0 → the place as a message names it."""

MOST_BYTES = 256 * 1024
MOST_VALUES = 10_000
"""Keys, items and values, those behind an alias counted wherever it is used."""
MOST_LEVELS = 20
LONGEST_TEXT = 10_000
LONGEST_KEY = 200
LONGEST_NUMBER = 40
"""Characters of a number as it is written."""

TAG = "tag:yaml.org,2002:"
_PLAIN = {TAG + kind for kind in ("null", "bool", "int", "float", "str", "map", "seq")}
_FLOAT = re.compile(
    r"""^[-+]?(?: [0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
                | \.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
                | [0-9][0-9_]*[eE][-+]?[0-9]+
                | \.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN) )$""",
    re.VERBOSE,
)
_INT = re.compile(
    r"""^(?: [-+]?0b[0-1_]+ | [-+]?0[0-7_]+ | [-+]?(?:0|[1-9][0-9_]*) | [-+]?0x[0-9a-fA-F_]+ )$""", re.VERBOSE
)
_OCTAL = re.compile(r"[-+]?0[0-7]+")
_GROUPED = re.compile(r"[-+]?[1-9][0-9]{0,2}(?:_[0-9]{3})+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?")
"""``1_000``."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without dates and numbers to the base 60, with YAML 1.2's floats, and with bounds."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML declares it so)
        first: [(tag, form) for tag, form in forms if tag not in (TAG + "float", TAG + "int", TAG + "timestamp")]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str, at: At) -> None:
        super().__init__(text)
        self._at = at
        self._levels = 0
        self._values = 0
        self._sizes: dict[int, int] = {}
        """id of each composed node → number of values in it."""

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """One node with all that is below it."""
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        line = 0 if event.start_mark is None else event.start_mark.line
        before = self._values
        self._values += 1
        self._levels += 1
        if self._levels > MOST_LEVELS:
            raise RequestError(f"{self._at(line)}: nested too deeply: more than {MOST_LEVELS} levels")
        node = super().compose_node(parent, index)
        self._levels -= 1
        if isinstance(event, yaml.AliasEvent):
            # An alias inside of what it refers to has no size yet; it is refused later, by name.
            self._values += self._sizes.get(id(node), 1) - 1
        else:
            self._sizes[id(node)] = self._values - before
        if self._values > MOST_VALUES:
            raise RequestError(f"{self._at(line)}: more than {MOST_VALUES:,} values up to here, aliases written out")
        return node


_Loader.add_implicit_resolver(TAG + "float", _FLOAT, list("-+0123456789."))
_Loader.add_implicit_resolver(TAG + "int", _INT, list("-+0123456789"))


def load(text: str, at: At) -> tuple[Node | None, Any]:
    """The node tree and the data of a document; (None, None) for an empty one.

    Args:
        text: the document.
        at: names the place of a line in messages.

    Raises:
        RequestError: it is not valid YAML, too much of anything, or holds what plain data cannot express.
    """
    if len(text) > MOST_BYTES:
        raise RequestError(f"{at(0)}: larger than {MOST_BYTES // 1024} KiB")
    try:
        loader = _Loader(text, at)
        root = loader.get_single_node()
        if root is None:
            return None, None
        _check(loader, root, (), set(), set(), at)
        return root, loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        remedy = "; indent with spaces" if "\\t" in str(error.problem) else ""
        line = mark.line if mark is not None else 0
        raise RequestError(
            f"{at(line)}: not valid YAML: {shortened(str(error.problem or error.context), 200)}{remedy}"
        ) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position)
        raise RequestError(f"{at(line)}: not valid YAML: unprintable character {error.character!r}") from error
    except (ValueError, OverflowError) as error:
        # PyYAML asks chr() for whatever an escape such as "\UFFFFFFFF" names.
        raise RequestError(f"{at(loader.line)}: not valid YAML: an escape that is no character") from error


def _check(loader: _Loader, node: Node, path: tuple[str, ...], seen: set[int], above: set[int], at: At) -> None:
    """Refuse what plain data cannot express; ``seen``: ids of nodes done, ``above``: of those in progress."""
    where = f"{at(node.start_mark.line)}: {'.'.join(path)}".removesuffix(": ")
    if id(node) in above:
        raise RequestError(f"{where}: refers to itself; write it out")
    if id(node) in seen:
        return
    if node.tag not in _PLAIN:
        if isinstance(node, ScalarNode) and node.value in ("=", "<<"):
            raise RequestError(f"{where}: {node.value} has a meaning in YAML; put it in quotes")
        tag = shortened(node.tag.replace(TAG, "!!"))
        raise RequestError(f"{where}: the tag {tag} is not allowed; remove it")
    seen.add(id(node))
    above.add(id(node))
    if isinstance(node, ScalarNode):
        _check_scalar(loader, node, where)
    elif isinstance(node, SequenceNode):
        for number, item in enumerate(node.value):
            _check(loader, item, (*path, str(number)), seen, above, at)
    elif isinstance(node, MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == TAG + "merge":
                _check(loader, value, (*path, "<<"), seen, above, at)
                continue
            line = key.start_mark.line
            if key.tag != TAG + "str" or not isinstance(key, ScalarNode):
                shown = repr(shortened(key.value)) if isinstance(key, ScalarNode) else "a list or mapping"
                raise RequestError(f"{at(line)}: {'.'.join((*path, ''))}{shown} as a key: put it in quotes")
            if len(key.value) > LONGEST_KEY:
                raise RequestError(f"{at(line)}: a key of more than {LONGEST_KEY} characters; shorten it")
            dotted = ".".join((*path, key.value))
            _check_scalar(loader, key, f"{at(line)}: {dotted}")
            if key.value in lines:
                first = at(lines[key.value]).rpartition(":")[2]
                raise RequestError(f"{at(line)}: {dotted}: written twice, first in line {first}; remove one")
            lines[key.value] = line
            _check(loader, value, (*path, key.value), seen, above, at)
    above.discard(id(node))


def _check_scalar(loader: _Loader, node: ScalarNode, where: str) -> None:
    text: str = node.value
    if len(text) > LONGEST_TEXT:
        raise RequestError(f"{where}: longer than {LONGEST_TEXT:,} characters; shorten it")
    kind = node.tag.removeprefix(TAG)
    if kind in ("int", "float"):
        if len(text) > LONGEST_NUMBER:
            raise RequestError(f"{where}: a number of {len(text):,} characters; no number here is that long")
        _check_number(text, kind, where)
    try:
        value = loader.construct_object(node)
    except (ValueError, KeyError, IndexError) as error:
        # An IndexError, where PyYAML looks for the sign of a number without a character.
        raise RequestError(f"{where}: {shortened(text)!r} is no {kind}") from error
    if isinstance(value, float) and math.isinf(value) and "inf" not in text.lower():
        raise RequestError(f"{where}: {text} is larger than any number that a computer can hold")
    if value == 0 and kind == "float" and re.search("[1-9]", re.split("[eE]", text)[0]):
        raise RequestError(f"{where}: {text} is so small that it would read as 0; write 0, or a larger number")
    if isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value):
        raise RequestError(f"{where}: {shortened(value)!r} holds half a character; write the character itself")


def _check_number(text: str, kind: str, where: str) -> None:
    """Refuse a spelling that has two meanings, with both of them."""
    if "_" in text and not _GROUPED.fullmatch(text):
        raise RequestError(f"{where}: {text} has an underscore at an odd place; write {text.replace('_', '')}")
    if kind == "int" and _OCTAL.fullmatch(text):
        sign, digits = ("-" if text[0] == "-" else ""), text.lstrip("+-")
        octal, decimal = f"{sign}{int(digits, 8)}", f"{sign}{int(digits)}"
        either = decimal if octal == decimal else f"{decimal} or {octal}, or put it in quotes"
        raise RequestError(
            f"{where}: {text} is {octal} to some readers of YAML and {decimal} to others; write {either}"
        )
