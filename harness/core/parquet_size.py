"""How much memory a Parquet file takes once it is read, seen without reading its columns.

Polars has no limit of its own, and tells neither the size of a page nor of a column. The format is Thrift's compact
protocol, of which a reader of numbers and structures is a page of code; pyarrow, which has one, is 100 MB.
"""

from __future__ import annotations

from typing import Any

_MAGIC = b"PAR1"
_ROWS, _GROUPS, _COLUMNS, _META = 3, 4, 1, 3
"""Fields of a file's description: its rows; its row groups, their columns, and a column's description."""
_VALUES, _COMPRESSED, _DATA_PAGE, _DICTIONARY_PAGE = 5, 7, 9, 11
"""Fields of a column's description."""
_PAGE_EXPANDED, _PAGE_COMPRESSED, _PAGE_HEADERS = 2, 3, (5, 7, 8)
"""Fields of a page's description; the last are those of each kind of page, whose first field counts its values."""
_CELL_BYTES = 16
"""Of a text in memory, beside its letters; a number takes half."""
_DEEPEST = 12


def expanded_bytes(content: bytes) -> int:
    """An upper bound of the memory that the table takes, in bytes, by what its pages say of themselves.

    Args:
        content: of the whole file.

    Raises:
        ValueError: it is no Parquet file.
    """
    try:
        return _expanded(content)
    except (IndexError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("its description is not readable") from error


def _expanded(content: bytes) -> int:
    if len(content) < 12 or content[:4] != _MAGIC or content[-4:] != _MAGIC:
        raise ValueError("it does not begin and end as one")
    length = int.from_bytes(content[-8:-4], "little")
    if length > len(content) - 12:
        raise ValueError("its description is longer than the file")
    described, _ = _structure(content, len(content) - 8 - length, 0)
    columns = [column[_META] for group in described.get(_GROUPS, ()) for column in group[_COLUMNS]]
    rows: int = described[_ROWS]
    return rows * _CELL_BYTES + sum(_column(content, column) for column in columns)


def _column(content: bytes, column: dict[int, Any]) -> int:
    place = min(column[field] for field in (_DATA_PAGE, _DICTIONARY_PAGE) if column.get(field))
    end: int = place + column[_COMPRESSED]
    values = size = 0
    if place < 0 or end > len(content):
        raise ValueError("a column lies outside of the file")
    while place < end:
        page, place = _structure(content, place, 0)
        if page[_PAGE_COMPRESSED] < 0 or page[_PAGE_EXPANDED] < 0:
            raise ValueError("a page has a negative size")
        size += page[_PAGE_EXPANDED]
        values += sum(page[kind].get(1, 0) for kind in _PAGE_HEADERS if kind in page)
        place += page[_PAGE_COMPRESSED]
    counted: int = max(values, column[_VALUES])
    return size + _CELL_BYTES * counted


def _structure(content: bytes, place: int, depth: int) -> tuple[dict[int, Any], int]:
    """The fields of a structure by number, and where it ends."""
    if depth > _DEEPEST:
        raise ValueError("its description is too deep")
    found: dict[int, Any] = {}
    number = 0
    while True:
        head = content[place]
        place += 1
        if head == 0:
            return found, place
        step, kind = head >> 4, head & 15
        if step:
            number += step
        else:
            number, place = _number(content, place)
        if kind in (1, 2):
            found[number] = kind == 1
        else:
            found[number], place = _value(content, place, kind, depth)


def _value(content: bytes, place: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2, 3):
        return content[place], place + 1
    if kind in (4, 5, 6):
        return _number(content, place)
    if kind == 7:
        return None, place + 8
    if kind == 8:
        length, place = _unsigned(content, place)
        return None, place + length
    if kind in (9, 10):
        count, inner = content[place] >> 4, content[place] & 15
        place += 1
        if count == 15:
            count, place = _unsigned(content, place)
        if count > len(content):
            raise ValueError("a list is longer than the file")
        items = []
        for _ in range(count):
            item, place = _value(content, place, inner, depth + 1)
            items.append(item)
        return items, place
    if kind == 12:
        return _structure(content, place, depth + 1)
    raise ValueError(f"its description has a field of the unknown kind {kind}")


def _unsigned(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def _number(content: bytes, place: int) -> tuple[int, int]:
    value, place = _unsigned(content, place)
    return (value >> 1) ^ -(value & 1), place
