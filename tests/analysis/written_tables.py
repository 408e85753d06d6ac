"""Evidence written out as the tables that somebody else would have, and what a refusal of them looks like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analysis.comparison.evidence import Evidence
from harness.core.errors import RequestError, one_line

Rows = list[dict[str, Any]]


def result_rows(evidence: Evidence, metrics: Sequence[str] = ("balanced_accuracy",)) -> Rows:
    return [
        {"method": method, "dataset": dataset, "seed": seed, "metric": metric, "value": value}
        for (dataset, method), cell in evidence.cells.items()
        for metric in metrics
        for seed, value in cell.scores[metric].items()
    ]


def prediction_rows(evidence: Evidence) -> Rows:
    rows = []
    for dataset in evidence.datasets:
        predictions = evidence.predictions(dataset)
        assert predictions is not None
        groups = predictions.groups
        for method, by_seed in predictions.logits.items():
            for seed, logits in by_seed.items():
                for case, values in enumerate(logits):
                    rows.append(
                        {"method": method, "dataset": dataset, "seed": seed, "case_id": f"case {case:04}"}
                        | {"label": int(predictions.labels[case])}
                        | ({} if groups is None else {"group": f"patient {groups[case]:04}"})
                        | {f"logit_{k}": float(value) for k, value in enumerate(values)}
                    )
    return rows


def write(path: Path, rows: Rows) -> Path:
    frame = pl.DataFrame(rows, infer_schema_length=None)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator="," if path.suffix == ".csv" else "\t")
    return path


def refused(request: Callable[[], object], *said: str) -> None:
    with pytest.raises(RequestError) as caught:
        request()
    message = str(caught.value)
    assert message == one_line(message)
    for part in said:
        assert part in message
