from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import made_up_records
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from analysis.runs.evidence import evidence_of
from analysis.runs.summary import summarise
from harness.core.files import TornFileError
from harness.core.parallel import Pool
from harness.run import frames
from harness.run.trial import TrialFolder

if TYPE_CHECKING:
    from tests.analysis.conftest import RunBuilder


def test_every_trial_is_a_row_with_its_metrics_or_its_cause(unfinished: RunBuilder) -> None:
    trials = frames.trials(unfinished.run)

    assert trials.height == 3 + 6 + 3 + 5 + 2 + 4 * 8
    failed = trials.filter(pl.col("status") == "failed").select("method", "stage", "slot", "seed", "cause").rows()
    assert sorted(failed, key=str) == [
        ("gpaf", "confirm", None, 1004, "oom"),
        ("gpaf", "search", 2, 0, "nan"),
    ]
    known = trials.filter(
        (pl.col("method") == "bn_affine") & (pl.col("dataset") == "alpha") & (pl.col("stage") == "confirm")
    )
    assert known.filter("chosen")["test_balanced_accuracy"].to_list() == [0.812, 0.825, 0.809, 0.834, 0.818]
    assert known.filter(~pl.col("chosen"))["configuration"].to_list() == ["beef"]
    running = trials.filter(pl.col("status") == "unfinished").row(0, named=True)
    assert (running["trial"], running["slot"]) == ("studies/lora_c@alpha/search/0001-s0", 1)


def test_the_search_frame_holds_no_test_metric(unfinished: RunBuilder) -> None:
    searched = frames.trials(unfinished.run).filter(pl.col("stage") == "search")

    assert searched["test_balanced_accuracy"].null_count() == searched.height > 0
    assert searched.filter(pl.col("status") == "done")["val_balanced_accuracy"].null_count() == 0


def test_undefined_metrics_are_null_whether_written_as_null_or_nan(
    builder: Callable[..., RunBuilder],
) -> None:
    made = builder(["probe"], ["alpha"])
    study = made.study("probe", "alpha")
    values = made.scalars(0.8, 0)
    made.done(study.search_trial(0, 0), 0, 0, {**values, "auc": None, "mcc": float("nan")})

    row = frames.trials(made.run).row(0, named=True)

    assert (row["val_auc"], row["val_mcc"]) == (None, None)
    assert row["val_accuracy"] == values["accuracy"]


def test_dead_attempts_keep_their_time(unfinished: RunBuilder) -> None:
    attempts = frames.attempts(unfinished.run).filter(
        (pl.col("dataset") == "alpha") & (pl.col("method") == "gpaf") & (pl.col("trial").str.contains("s1004"))
    )

    assert attempts["seconds"].to_list() == pytest.approx([5.0, 7.0])
    assert attempts["has_result"].to_list() == [False, True]


def test_a_lease_without_content_is_an_attempt_of_unknown_length(builder: Callable[..., RunBuilder]) -> None:
    made = builder(["probe"], ["alpha"])
    folder = made.study("probe", "alpha").search_trial(0, 0)
    folder.create()
    lease = folder.claim()
    assert lease is not None
    lease.path.write_text("")

    assert frames.attempts(made.run)["seconds"].to_list() == [None]


def test_a_torn_result_is_named(unfinished: RunBuilder) -> None:
    path = unfinished.run.study("gpaf@beta").search_trial(1, 0).path / "result.json"
    path.write_text('{"status": "do')

    with pytest.raises(TornFileError, match=r"gpaf@beta.*result\.json"):
        frames.trials(unfinished.run)


def test_curves_are_those_of_chosen_configurations_that_are_done(unfinished: RunBuilder) -> None:
    curves = frames.curves(unfinished.run, "balanced_accuracy").filter(pl.col("dataset") == "alpha")

    seeds = dict(curves.group_by("method").agg(pl.col("seed").unique().sort()).iter_rows())
    assert seeds == {"bn_affine": [1000, 1001, 1002, 1003, 1004], "gpaf": [1000, 1001, 1002, 1003]}
    assert curves["epoch"].unique().sort().to_list() == [1, 2, 3, 4]


def test_a_repetition_is_a_row_of_its_own_stage_and_has_no_curve(builder: Callable[..., RunBuilder]) -> None:
    made = builder(["probe"], ["alpha"])
    study = made.study("probe", "alpha")
    made.choose(study, 0, 0.8)
    made.confirmed(study, {1000: 0.8, 1001: 0.9})
    made.done(study.repeat_trial("c0ffee", 1000), None, 1000, made.scalars(0.7, 0), made.scalars(0.7, 0))

    records = frames.read(made.run)

    repeat = records.trials.row(-1, named=True)
    assert repeat["trial"] == "studies/probe@alpha/confirm/c0ffee-s1000-again"
    assert (repeat["stage"], repeat["configuration"], repeat["chosen"]) == ("repeat", "c0ffee", True)
    assert repeat["test_balanced_accuracy"] == 0.7
    assert records.trials["stage"].to_list() == ["confirm", "confirm", "repeat"]
    assert records.attempts["stage"].to_list() == ["confirm", "confirm", "repeat"]
    assert frames.curves(made.run, "balanced_accuracy", records.trials).select("seed").unique().height == 2


def test_a_request_is_read_where_the_result_does_not_repeat_it(builder: Callable[..., RunBuilder]) -> None:
    made = builder(["probe"], ["alpha"])
    folder = made.study("probe", "alpha").search_trial(7, 3)
    made.begin(folder, 7, 3)
    folder.finish(made_up_records.result(slot=7, seed=3, status="failed", cause="worker_died"))

    row = frames.trials(made.run).row(0, named=True)

    assert (row["slot"], row["seed"], row["status"], row["cause"]) == (7, 3, "failed", "worker_died")


def test_what_was_read_once_is_not_read_again(unfinished: RunBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    run = unfinished.run
    fresh = summarise(run), evidence_of([run]).cells, frames.curves(run, "balanced_accuracy")
    records = frames.read(run)

    def read_again(folder: TrialFolder) -> None:
        raise AssertionError(f"{folder.path} is read again")

    for name in ("result", "request", "attempts"):
        monkeypatch.setattr(TrialFolder, name, read_again)

    assert summarise(run, records) == fresh[0]
    assert evidence_of([run], [records]).cells == fresh[1]
    assert_frame_equal(frames.curves(run, "balanced_accuracy", records.trials), fresh[2])


def test_several_processes_read_the_same_and_say_the_same(unfinished: RunBuilder) -> None:
    with Pool(2) as pool:
        alone, together = frames.read(unfinished.run), frames.read(unfinished.run, pool)

    assert_frame_equal(together.trials, alone.trials)
    assert_frame_equal(together.attempts, alone.attempts)
    unfinished.run.study("gpaf@beta").search_trial(1, 0).result_path.write_text('{"status": "do')
    messages = []
    for workers in (1, 2):
        with Pool(workers) as pool, pytest.raises(TornFileError) as caught:
            frames.read(unfinished.run, pool)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
