"""Broken tables for ``python -m analysis.report --table/--predictions``, made from valid ones.

``python -m tests.broken_input tables --count 2000`` is the long form.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
from broken_input import Reader
from hypothesis import strategies as st

from analysis.report import main

Rows = list[dict[str, Any]]

CELLS = (
    "", " ", "0", "-0", "1", "-1", "01", "1.0", "1.5", "1e3", "1e-320", "1e-400", "1e38", "2e38", "1e150", "-1e200",
    "1e308", "1e400", "nan", "NaN", "inf", "-inf", "n/a", "NA", "failed", "FAILED", "None", "null", "True", "0,81",
    "1_000", "0x10", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "9" * 400, "=1+1", "+1",
    "-a", "@x", "\t1", "'1", "a,b", 'a"b', "a\nb", "a\r\nb", "a\rb", "\x1b[31mred", "a\x00b", "\u202eabc",
    "lo\u200bra", "LoRA", "lora ", "l\u043era", "cafe\u0301", "caf\u00e9", "\U0001f9ea", "x" * 201, "y" * 5000, "{0}",
    "%s", "$x_1$", "\\frac{1}{0}", "<b>", "../../x", "accuracy", "nll", "auc", "dice", "alpha", "gpaf", "3",
)  # fmt: skip
HEADERS = (
    "method", "dataset", "seed", "metric", "value", "case_id", "label", "logit_0", "logit_1", "logit_7", "label_0",
    "group", "split", "search", "train_cases", "test_cases", "Split", "row number", "", " value", "Value",
    "m\u0435thod", "x" * 3000,
)  # fmt: skip
OPTIONS = (
    [], [], [], ["--control", "control"], ["--control", "lora"], ["--control", "LORA"], ["--metric", "accuracy"],
    ["--metric", "acuracy"], ["--margin", "0.01"], ["--margin", "0"], ["--margin", "nan"], ["--margin", "1e300"],
    ["--lower-is-better", "dice"], ["--lower-is-better", "accuracy"], ["--correction", "none"], ["--name", "a/b\n"],
    ["--source", "alpha=nevi"], ["--source", "alpha="], ["--source", "gamma=nevi"],
)  # fmt: skip


@dataclass(frozen=True)
class Broken:
    """Files by name, and the arguments that name them."""

    files: tuple[tuple[str, bytes], ...]
    arguments: tuple[str, ...]

    def __repr__(self) -> str:
        return f"{' '.join(self.arguments)!r}\n" + "\n".join(f"{name}: {data[:600]!r}" for name, data in self.files)


def result_rows(drawn: bool = False) -> Rows:
    """Three methods on two datasets, six seeds each; where ``drawn``, on three splits and by two searches."""
    draw = random.Random(1)
    return [
        {"method": method, "dataset": dataset, "seed": seed, "metric": "accuracy", "value": round(draw.random(), 4)}
        | ({"split": f"s{seed % 3}", "search": seed // 3, "train_cases": 20, "test_cases": 8} if drawn else {})
        for method in ("lora", "gpaf", "control")
        for dataset in ("alpha", "beta")
        for seed in range(6)
    ]


def prediction_rows(drawn: bool = False) -> Rows:
    """Two methods, three seeds, a dozen cases of three classes in six patients; where ``drawn``, eight a split."""
    draw = random.Random(2)
    return [
        {"method": method, "dataset": "alpha", "seed": seed, "case_id": f"c{case}", "group": f"g{case // 2}"}
        | {"label": case % 3}
        | {f"logit_{k}": draw.gauss(0, 1) for k in range(3)}
        | ({"split": f"s{seed}"} if drawn else {})
        for method in ("lora", "gpaf")
        for seed in range(3)
        for case in (range(2 * seed, 2 * seed + 8) if drawn else range(12))
    ]


def _as_text(rows: Rows) -> list[list[str]]:
    return [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]


def _written(grid: list[list[str]], separator: str, quote: bool) -> bytes:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if quote and any(sign in text for sign in '",\n\r\t') else text

    return "".join(separator.join(map(cell, row)) + "\n" for row in grid).encode("utf-8", "surrogatepass")


def _change_grid(draw: st.DrawFn, grid: list[list[str]]) -> None:
    """One change of the cells, in place."""
    row = draw(st.integers(0, len(grid) - 1))
    column = draw(st.integers(0, max(0, len(grid[0]) - 1)))
    kind = draw(st.sampled_from(("cell", "cell", "cell", "column", "header", "extra", "short", "drop", "twice", "swap",
                                 "none", "blank", "method", "shuffle")))  # fmt: skip
    cells = st.one_of(st.sampled_from(CELLS), st.text(max_size=8), st.floats().map(str), st.integers().map(str))
    if kind == "cell" and column < len(grid[row]):
        grid[row][column] = draw(cells)
    elif kind == "column":
        value = draw(cells)
        for line in grid[1:]:
            if column < len(line):
                line[column] = value
    elif kind == "header" and column < len(grid[0]):
        grid[0][column] = draw(st.sampled_from(HEADERS))
    elif kind == "extra":
        grid[row].extend(draw(st.lists(cells, min_size=1, max_size=3)))
    elif kind == "short":
        del grid[row][draw(st.integers(0, len(grid[row]))) :]
    elif kind == "drop":
        for line in grid:
            del line[column : column + 1]
    elif kind == "twice":
        grid.append(list(grid[row]))
    elif kind == "swap" and len(grid[0]) > 1:
        for line in grid:
            if len(line) > column > 0:
                line[0], line[column] = line[column], line[0]
    elif kind == "none":
        del grid[row : row + draw(st.integers(1, len(grid)))]
        if not grid:
            grid.append([])
    elif kind == "blank":
        grid.insert(row, [])
    elif kind == "method":
        word = draw(st.sampled_from(("LORA", "lo ra", "l\u043era", "Lora\u200b")))
        for line in grid[1 : len(grid) // 3]:
            if line:
                line[0] = word
    elif kind == "shuffle":
        draw(st.randoms(use_true_random=False)).shuffle(grid)


def _change_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """One change of the file as it is stored."""
    place = draw(st.integers(0, max(0, len(data) - 1)))
    kinds: dict[str, Callable[[], bytes]] = {
        "flip": lambda: data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :],
        "cut": lambda: data[:place],
        "cut off": lambda: data[place:],
        "insert": lambda: data[:place] + draw(st.binary(min_size=1, max_size=8)) + data[place:],
        "quote": lambda: data[:place] + b'"' + data[place:],
        "double": lambda: data + data,
        "bom": lambda: b"\xef\xbb\xbf" + data,
        "utf-16": lambda: data.decode("utf-8", "replace").encode("utf-16"),
        "latin": lambda: data.decode("utf-8", "replace").replace("a", "\u00e9").encode("latin-1", "replace"),
        "carriage": lambda: data.replace(b"\n", b"\r"),
        "windows": lambda: data.replace(b"\n", b"\r\n"),
        "semicolons": lambda: data.replace(b",", b";"),
        "tabs": lambda: data.replace(b",", b"\t"),
    }
    return kinds[draw(st.sampled_from(sorted(kinds)))]()


def _change_frame(draw: st.DrawFn, frame: pl.DataFrame) -> pl.DataFrame:
    """One change of a column's kind, or of its cells."""
    name = draw(st.sampled_from(frame.columns))
    column = pl.col(name)
    day = datetime.date(2020, 1, 1)
    changes: dict[str, Callable[[], pl.DataFrame]] = {
        "list": lambda: frame.with_columns(column.cast(pl.String).str.split("").alias(name)),
        "struct": lambda: frame.with_columns(pl.struct(column.alias("x")).alias(name)),
        "binary": lambda: frame.with_columns(column.cast(pl.String).cast(pl.Binary).alias(name)),
        "date": lambda: frame.with_columns(pl.lit(day).alias(name)),
        "time": lambda: frame.with_columns(pl.lit(datetime.datetime(2020, 1, 1)).alias(name)),
        "categorical": lambda: frame.with_columns(column.cast(pl.String).cast(pl.Categorical).alias(name)),
        "decimal": lambda: frame.with_columns(pl.lit(1).cast(pl.Decimal(10, 2)).alias(name)),
        "narrow": lambda: frame.with_columns(column.cast(pl.Float32, strict=False).alias(name)),
        "unsigned": lambda: frame.with_columns(pl.lit(2**64 - 1, dtype=pl.UInt64).alias(name)),
        "boolean": lambda: frame.with_columns(pl.lit(True).alias(name)),
        "null": lambda: frame.with_columns(pl.lit(None).alias(name)),
        "nulls": lambda: frame.with_columns(pl.when(pl.int_range(pl.len()) % 5 > 0).then(column).alias(name)),
        "huge": lambda: frame.with_columns(pl.lit(draw(st.floats())).alias(name)),
        "text": lambda: frame.with_columns(pl.lit(draw(st.sampled_from(CELLS))).alias(name)),
        "drop": lambda: frame.drop(name),
        "rename": lambda: frame.rename({name: draw(st.sampled_from(HEADERS))}),
        "empty": lambda: frame.head(0),
        "twice": lambda: pl.concat([frame, frame.head(3)]),
        "short": lambda: frame.head(draw(st.integers(1, len(frame)))) if len(frame) else frame,
    }
    kind = draw(st.sampled_from(sorted(changes)))
    try:
        return changes[kind]()
    except pl.exceptions.PolarsError:  # A column that has no such kind, or a name that is taken: no change then.
        return frame


@st.composite
def broken(draw: st.DrawFn) -> Broken:
    """One or both tables, each with some changes, and a request."""
    asked = draw(st.sampled_from((("table",), ("table",), ("predictions",), ("table", "predictions"))))
    drawn = draw(st.booleans())
    files: list[tuple[str, bytes]] = []
    arguments: list[str] = []
    for option in asked:
        rows = result_rows(drawn) if option == "table" else prediction_rows(drawn)
        suffix = draw(st.sampled_from((".csv", ".csv", ".tsv", ".parquet")))
        if suffix == ".parquet":
            frame = pl.DataFrame(rows)
            for _ in range(draw(st.integers(0, 2))):
                frame = _change_frame(draw, frame) if frame.columns else frame
            stream = io.BytesIO()
            frame.write_parquet(stream)
            data = stream.getvalue()
        else:
            grid = _as_text(rows)
            for _ in range(draw(st.integers(0, 3))):
                _change_grid(draw, grid)
            data = _written(grid, "," if suffix == ".csv" else "\t", draw(st.booleans()))
        for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
            data = _change_bytes(draw, data)
        files.append((f"{option}{suffix}", data))
        arguments += [f"--{option}", f"{option}{suffix}"]
    arguments += draw(st.sampled_from(OPTIONS))
    return Broken(tuple(files), (*arguments, "--out", "out"))


@cache
def _imported() -> None:
    """A report's first second goes into imports, which are nobody's fault."""
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        for option, rows in (("table", result_rows()), ("predictions", prediction_rows())):
            path = Path(name) / f"{option}.parquet"
            pl.DataFrame(rows).write_parquet(path)
            assert main([f"--{option}", str(path), "--out", f"{name}/{option}"]) == 0


def _lay(example: Broken, folder: Path) -> list[str]:
    _imported()
    for name, data in example.files:
        (folder / name).write_bytes(data)
    return list(example.arguments)


READER = Reader(broken(), _lay, main, writes=True, taking=15.0)
