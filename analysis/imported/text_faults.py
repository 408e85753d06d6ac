"""Why a text file is no table, with the line: asked only after a reader has refused the file, or before one begins."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

HEADER_BYTES = 1 << 20
MOST_COLUMNS = 20_000
"""More take a reader seconds before it has seen a row; a thousand classes need two thousand."""


def header_fault(path: Path, separator: str) -> str | None:
    """What the first line says against the file; None where a reader may begin."""
    with path.open("rb") as stream:
        head = stream.read(HEADER_BYTES)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head:
        return "it holds zero bytes, as UTF-16 and binary files do; save it as text in UTF-8"
    line, found, _ = head.partition(b"\n")
    if not found and len(head) == HEADER_BYTES:
        return f"its first line is longer than {HEADER_BYTES:,} bytes; the header belongs there"
    if b"\r" in line.rstrip(b"\r"):
        return "its lines end with a carriage return alone; save it with line feeds"
    columns = line.count(separator.encode()) + 1
    if columns > MOST_COLUMNS:
        return f"line 1: {columns:,} columns; a table has at most {MOST_COLUMNS:,}"
    return None


def row_fault(path: Path, separator: str) -> str | None:
    """The first line that is not text, not well quoted, or has more fields than the header; None where all are well."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"line {number}: byte 0x{line[error.start]:02x} is not UTF-8; save the file as UTF-8"
    columns = 0
    try:
        for number, row in _rows(path, separator):
            columns = columns or len(row)
            if len(row) > columns:
                return (
                    f"line {number}: {len(row)} fields, but the header has {columns} columns; remove what is too much, "
                    "write decimal points, and put quotes around a cell that holds the separator"
                )
    except csv.Error as error:
        return f"{error}; look at its quotes"
    return None


def first_lines(path: Path, separator: str) -> list[int] | None:
    """The line on which each row below the header begins; None where row and line go together."""
    with path.open("rb") as stream:
        if not any(b'"' in line for line in stream):
            return None
    try:
        begins = [number for number, _ in _rows(path, separator)][1:]
    except csv.Error:
        return None
    return None if begins == list(range(2, len(begins) + 2)) else begins


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line on which it begins; blank lines are rows without a field.

    Raises:
        csv.Error: its message names the line on which the broken row begins.
    """
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, delimiter=separator, strict=True)
        begin = 1
        try:
            for row in reader:
                yield begin, row
                begin = reader.line_num + 1
        except csv.Error as error:
            raise csv.Error(f"line {begin}: {error}") from error
