"""The predictions that somebody's table holds: logits of every method and seed on the test cases of each dataset."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from analysis.comparison.evidence import Predictions
from analysis.imported.checks import Block, CaseRows, IntArray, check_block, check_columns, check_filled
from analysis.imported.draws import TableDraws, Training, draw_cells, read_draws
from analysis.imported.file import LONGEST_NAME, ForeignTable, open_table, shown
from analysis.stats.cautions import Caution
from analysis.stats.estimate import FloatArray
from harness.core.errors import RequestError

KEYS = ("method", "dataset", "seed", "case_id")


class PredictionTable:
    """A table with the columns ``KEYS``, ``label`` (or ``label_0`` …), ``logit_0`` …; maybe ``group`` and ``split``.

    Only the rows of one dataset are ever in memory. Datasets may have different numbers of classes; the columns of the
    classes that one lacks are empty there.

    Args:
        path: a CSV, TSV or parquet file.

    Raises:
        RequestError: the file is no such table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._table: ForeignTable = open_table(path)
        self._logits, self._labels = self._numbered("logit"), self._numbered("label")
        self._single = [name for name in ("label",) if name in self._table.columns or not self._labels]
        if "split" in self._table.columns and "case_id" not in self._table.columns:
            raise RequestError(
                f"{path}: no column 'case_id'; add it: splits test on images that only their names tell apart"
            )
        self._table.need((*KEYS, *self._single, "logit_0", *self._logits[1:], *self._labels))
        self._drawn = draw_cells(self._table)
        self.grouped = bool(self._table.optional("group"))
        """Whether the table says which cases belong together."""

    def _numbered(self, kind: str) -> list[str]:
        found = sorted(int(name[len(kind) + 1 :]) for name in self._table.columns if re.fullmatch(rf"{kind}_\d+", name))
        for place, number in enumerate(found):
            if place != number:
                raise RequestError(f"{self.path}: '{kind}_{number}' but no '{kind}_{place}'; number the classes from 0")
        return [f"{kind}_{number}" for number in found]

    @property
    def trials(self) -> tuple[Training, ...]:
        """Every training with predictions, in the order of the file; RequestError as for ``draws``."""
        return tuple(self.draws.trainings)

    @cached_property
    def draws(self) -> TableDraws:
        """What each training drew anew.

        Raises:
            RequestError: a name is empty, a seed is not a whole number, there is no row, or as for ``read_draws``.
        """
        table = self._table
        keys = [table.text("method"), table.text("dataset"), table.whole("seed"), table.text("seed").alias("written")]
        rows = table.collect(table.frame.select(*keys, *self._drawn).unique(maintain_order=True))
        if rows.is_empty():
            raise RequestError(f"{self.path}: no row below the header; write one for each method, seed and test case")
        for method, dataset, seed, written in rows.select("method", "dataset", "seed", "written").iter_rows():
            for what, word in (("method", method), ("dataset", dataset)):
                if word is not None and len(word) > LONGEST_NAME:
                    raise RequestError(
                        f"{self.path}: the {what} {shown(word)} has more than {LONGEST_NAME} letters; shorten it"
                    )
            if method is None or dataset is None:
                missing = "method" if method is None else "dataset"
                raise RequestError(f"{self.path}: a row (seed {written}) has no {missing}; fill in its name")
            if seed is None:
                raise RequestError(
                    f"{self.path}: {method} on {dataset} has the seed {shown(written or 'empty')}, not a whole number "
                    "below 2^63; write one"
                )
        return read_draws(table, rows)

    def read(self, dataset: str, splits: Mapping[tuple[str, int], str] | None = None) -> dict[str | None, Predictions]:
        """The predictions of one dataset by split, the cases of each in ascending order of their names.

        Trials whose test cases are not those of most trials of the split are left out, and ``cautions`` say so.

        Args:
            dataset: which.
            splits: (method, seed) → split, in the order of which the splits come; without them there is one, ``None``.

        Returns:
            Nothing for a split without predictions.

        Raises:
            RequestError: a label or a logit is missing or impossible, a case stands twice in a trial, two trials
                disagree on a case's label or group, or two splits have the same cases.
        """
        block = self._block(dataset)
        if block is None:
            return {}
        known = {} if splits is None else splits
        check_block(block, several_splits=bool(known))
        trials: dict[str | None, list[CaseRows]] = {split: [] for split in (known.values() if known else (None,))}
        for trial in block.trials:
            trials[known[trial.method, trial.seed] if known else None].append(trial)
        result = {split: _predictions(block, own, split) for split, own in trials.items() if own}
        tested: dict[tuple[str, ...], str | None] = {}
        for split, own in result.items():
            other = tested.setdefault(own.case_ids, split)
            if other != split:
                raise RequestError(
                    f"{self.path}, {dataset}: the splits {shown(str(other))!r} and {shown(str(split))!r} have the same "
                    "test cases, so these were not drawn anew; give both the same label, or each image a case_id of "
                    "its own"
                )
        return result

    def _block(self, dataset: str) -> Block | None:
        table, where = self._table, f"{self.path}, {dataset}"
        more = [*self._single, *self._labels, *self._logits, *(["group"] if self.grouped else [])]
        rows = table.collect(table.only("dataset", dataset).select("method", "seed", "case_id", *more))
        if rows.is_empty():
            return None
        filled = rows.select(table.present(name).any() for name in more).row(0, named=True)
        logits, several = ([name for name in names if filled[name]] for names in (self._logits, self._labels))
        single = [name for name in self._single if filled[name]]
        check_columns(where, logits, single, several)
        keys = [table.text("method"), table.whole("seed"), table.text("case_id")]
        ranked = [pl.col("group").rank("dense").cast(pl.Int64)] if filled.get("group") else []
        rows = (
            rows.select(
                *keys,
                *(table.whole(name) for name in (*single, *several)),
                *(table.number(name) for name in logits),
                *([table.text("group")] if ranked else []),
            )
            .with_columns((pl.col("case_id").rank("dense") - 1).cast(pl.Int64).alias("case"), *ranked)
            .sort("method", "seed", "case_id")
        )
        check_filled(where, rows)
        lengths = rows.group_by("method", "seed", maintain_order=True).len()
        ends = lengths["len"].cum_sum().to_list()
        return Block(
            where=where,
            keys=rows.select("method", "seed", "case_id"),
            trials=[
                CaseRows(method, seed, slice(end - length, end))
                for (method, seed, length), end in zip(lengths.rows(), ends, strict=True)
            ],
            cases=rows["case"].to_numpy(),
            labels=np.ascontiguousarray(rows.select(*single, *several).to_numpy()),
            several=bool(several),
            groups=rows["group"].to_numpy() if ranked else None,
            logits=np.ascontiguousarray(rows.select(logits).to_numpy()),
        )


def _without_gaps(groups: IntArray) -> IntArray | None:
    """The groups numbered from 0; None where every case is its own."""
    names, numbers = np.unique(groups, return_inverse=True)
    return None if len(names) == len(groups) else numbers.astype(np.int64)


def _predictions(block: Block, trials: Sequence[CaseRows], split: str | None) -> Predictions:
    """Those of one split, on the test cases that most of its trials have."""
    sets = Counter(block.cases[trial.rows].tobytes() for trial in trials)
    chosen = max(sets, key=lambda cases: (sets[cases], len(cases)))
    kept = [trial for trial in trials if block.cases[trial.rows].tobytes() == chosen]
    first = kept[0].rows
    logits: dict[str, dict[int, FloatArray]] = {}
    for trial in kept:
        logits.setdefault(trial.method, {})[trial.seed] = block.logits[trial.rows]
    return Predictions(
        labels=block.labels[first] if block.several else block.labels[first, 0],
        classes=tuple(f"class {number}" for number in range(block.logits.shape[1])),
        groups=None if block.groups is None else _without_gaps(block.groups[first]),
        logits=logits,
        case_ids=tuple(block.keys["case_id"][first].to_list()),
        cautions=tuple(_left_out(block, trials, block.cases[first], split)),
    )


def _left_out(block: Block, trials: Sequence[CaseRows], cases: IntArray, split: str | None) -> Iterator[Caution]:
    """A caution for each method with trials on other test cases."""
    other: dict[str, list[CaseRows]] = {}
    for trial in trials:
        if not np.array_equal(block.cases[trial.rows], cases):
            other.setdefault(trial.method, []).append(trial)
    of_split = "" if split is None else f" of split {split}"
    for method, left in other.items():
        own = block.cases[left[0].rows]
        yield Caution(
            "other_cases",
            f"{method} was scored on other test cases than most trials{of_split} in seed{'s' if len(left) > 1 else ''} "
            f"{', '.join(str(trial.seed) for trial in left)} ({len(own)} cases, {len(np.intersect1d(own, cases))} of "
            f"them among the {len(cases)} of most), so these predictions are left out and no metric is computed from "
            "them; scores of these seeds that a table of results gives may rest on other cases too.",
        )
