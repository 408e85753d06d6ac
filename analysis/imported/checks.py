"""What predictions of one dataset must satisfy before anything is computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.imported.file import LARGEST
from analysis.stats.estimate import FloatArray
from harness.core.errors import RequestError

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CaseRows:
    """The rows of one training."""

    method: str
    seed: int
    rows: slice


@dataclass(frozen=True, slots=True)
class Block:
    """All rows of one dataset, ordered by method, seed and case."""

    where: str
    keys: pl.DataFrame
    """Columns ``method``, ``seed``, ``case_id``."""
    trials: list[CaseRows]
    cases: IntArray
    """Shape (rows,): the rank of the case among those of all trials, from 0."""
    labels: IntArray
    """Shape (rows, 1), or (rows, classes) where a case may bear several."""
    several: bool
    """Whether it may."""
    groups: IntArray | None
    """Shape (rows,), by rank; None where there are none."""
    logits: FloatArray
    """Shape (rows, classes)."""

    def refuse(self, wrong: npt.NDArray[np.bool_], reason: str) -> None:
        """Raise RequestError naming the first row that is wrong; ``wrong`` has a value for each row."""
        if wrong.any():
            method, seed, case = self.keys.row(int(wrong.argmax()))
            raise RequestError(f"{self.where}, {method}, seed {seed}, case {case}: {reason}")


def check_columns(where: str, logits: Sequence[str], single: Sequence[str], several: Sequence[str]) -> None:
    """Refuse a dataset whose filled columns do not fit together.

    Args:
        where: file and dataset.
        logits: the filled ones of ``logit_0`` …
        single: ``label`` where it is filled.
        several: the filled ones of ``label_0`` …
    """
    for names in (logits, several):
        for place, name in enumerate(names):
            kind, _, number = name.partition("_")
            if number != str(place):
                raise RequestError(f"{where}: {name!r} is filled but '{kind}_{place}' is empty; fill it in")
    if single and several:
        raise RequestError(f"{where}: both 'label' and {several[0]!r} are filled; keep the one that the dataset has")
    if not logits or not (single or several):
        raise RequestError(f"{where}: no {'label' if logits else 'logit'} at all; fill them in")
    if several and len(several) != len(logits):
        raise RequestError(
            f"{where}: {len(several)} columns of labels are filled and {len(logits)} of logits; each class needs both"
        )
    if single and len(logits) < 2:
        raise RequestError(
            f"{where}: one logit for each case, but every class needs its own; for two classes write 0 into 'logit_0' "
            "and the logit of the second class into 'logit_1'"
        )


def check_filled(where: str, rows: pl.DataFrame) -> None:
    """Refuse the first null; cells that were not what their column says have become one."""
    for name in rows.columns:
        found = rows.filter(pl.col(name).is_null()).head(1).to_dicts()
        if not found:
            continue
        if name.startswith("logit"):
            wrong = "empty or no number; the trials of a dataset need a logit for the same classes"
        elif name.startswith("label"):
            wrong = "empty or no whole number; number the classes like the logits"
        else:
            wrong = "empty; fill it in"
        place = "{method}, seed {seed}, case {case_id}".format(**found[0])
        raise RequestError(f"{where}, {place}: {name!r} is {wrong}")


def check_block(block: Block, several_splits: bool) -> None:
    """Refuse rows that are impossible, or that contradict each other; a case is one image on ``several_splits`` too."""
    top = 1 if block.several else block.logits.shape[1] - 1
    again = np.zeros(len(block.cases), dtype=np.bool_)
    for trial in block.trials:
        again[trial.rows][1:] = np.diff(block.cases[trial.rows]) == 0
    block.refuse(again, "it stands twice; keep one row of it")
    impossible = np.any((block.labels < 0) | (block.labels > top), axis=1)
    block.refuse(impossible, f"its label is not one of 0 to {top}; number the classes like the logits")
    block.refuse(
        ~np.all(np.isfinite(block.logits), axis=1),
        "a logit is not finite; if the training diverged, say failed in the results and leave its predictions out",
    )
    block.refuse(
        np.any(np.abs(block.logits) > LARGEST, axis=1),
        f"a logit is beyond ±{LARGEST:g}, which no network gives; say failed in the results if the training diverged",
    )
    first = _first_of_case(block.cases)
    block.refuse(
        np.any(block.labels != block.labels[first], axis=1),
        "its label is another than in another trial; give each test case one label"
        + (", and an image the same case_id in all splits" if several_splits else ""),
    )
    if block.groups is not None:
        block.refuse(
            block.groups != block.groups[first],
            "its group is another than in another trial; give each test case one group",
        )
    for trial in block.trials:
        _check_logits(block, trial)


def _check_logits(block: Block, trial: CaseRows) -> None:
    """Refuse probabilities: every metric but accuracy would come out wrong."""
    values = block.logits[trial.rows]
    if values.min() < 0 or values.max() > 1 or values.max() == 0:
        return
    if block.several or np.abs(values.sum(axis=1) - 1).max() < 1e-3:
        formula = "log(p / (1 - p))" if block.several else "log(p)"
        raise RequestError(
            f"{block.where}, {trial.method}, seed {trial.seed}: these look like probabilities p, not logits; "
            f"write {formula}"
        )


def _first_of_case(cases: IntArray) -> IntArray:
    """For each row the first row of the same case."""
    _, first, place = np.unique(cases, return_index=True, return_inverse=True)
    result: IntArray = first[place]
    return result
