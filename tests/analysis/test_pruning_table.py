"""The report says what was pruned, and where it was not because early ranks mislead."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import made_up_records

from analysis.runs.summary import summarise
from analysis.tables.pruning import pruning

if TYPE_CHECKING:
    from tests.analysis.conftest import RunBuilder


def decision(epoch: int, prune: bool, tau: float | None, mean: float | None) -> dict[str, Any]:
    return {
        "epoch": epoch, "step": 10 * epoch, "value": 0.5, "prune": prune, "reason": "made up", "known": 3,
        "agreement": tau, "mean_agreement": mean, "seconds": 1.0, "least_agreement": 0.4,
    }  # fmt: skip


def test_pruned_trials_are_counted_by_rung_and_are_not_missing(builder: Callable[..., RunBuilder]) -> None:
    made = builder(["gpaf", "slow"], ["alpha"])
    for method, tau in (("gpaf", 0.8), ("slow", -0.4)):
        study = made.study(method, "alpha", slots=3)
        for slot in range(3):
            trial = study.search_trial(slot, 0)
            trial.create()
            ended = method == "gpaf" and slot == 2
            known = None if slot == 0 else tau
            trial.write_decisions([decision(1, ended, known, known), decision(3, False, 0.1, known)][: 2 - ended])
            metrics = {"val": made.scalars(0.8, slot)}
            status = "pruned" if ended else "done"
            trial.finish(made_up_records.result(slot=slot, status=status, metrics=metrics))
    table = pruning(made.run)
    assert table is not None
    ((dataset, rows),) = table.groups
    assert dataset == "alpha"
    assert [(row[0], row[1], row[2], row[3], row[4]) for row in rows] == [
        ("gpaf", "1", "10", "3", "1"), ("gpaf", "3", "30", "2", "0"),
        ("slow", "1", "10", "3", "0"), ("slow", "3", "30", "3", "0"),
    ]  # fmt: skip
    assert [row[-1] for row in rows] == ["yes", "no, its ranks mislead"] + ["pruning is off in this study"] * 2

    summary = summarise(made.run)
    assert [(study.search.done, study.search.pruned, study.search.missing) for study in summary.studies] == [
        (2, 1, 0),
        (3, 0, 0),
    ]
    assert [spent.pruned for spent in summary.ledger] == [1, 0]


def test_rows_keep_the_order_of_the_sweep_file(builder: Callable[..., RunBuilder]) -> None:
    made = builder(["slow", "gpaf"], ["beta", "alpha"])
    for dataset in ("alpha", "beta"):
        for method in ("gpaf", "slow"):
            trial = made.study(method, dataset, slots=1).search_trial(0, 0)
            trial.create()
            trial.write_decisions([decision(1, False, None, None)])
            trial.finish(made_up_records.result(metrics={"val": made.scalars(0.8, 0)}))
    table = pruning(made.run)
    assert table is not None
    assert [(dataset, [row[0] for row in rows]) for dataset, rows in table.groups] == [
        ("beta", ["slow", "gpaf"]), ("alpha", ["slow", "gpaf"]),
    ]  # fmt: skip
    # A method that the file no longer names comes last.
    spec = made.run.spec()
    del spec["methods"]["slow"]
    made.run.write_spec(spec)
    table = pruning(made.run)
    assert table is not None
    assert [[row[0] for row in rows] for _, rows in table.groups] == [["gpaf", "slow"]] * 2
