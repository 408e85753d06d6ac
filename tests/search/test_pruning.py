"""Trials are ended at rungs, and neither a kill nor the number of workers changes which."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pruned_study import planned, search_through
from tiny import environment, tiny_sweep

from harness.proof.comparison import repeated_work, run_differences
from harness.proof.replay import replay
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder
from harness.search import Asked
from harness.search.rungs import LEAST_AGREEMENT, Judge, agreement, rung_epochs
from harness.spec.search import SearchSpec
from harness.studies.study import Study

PRUNERS = ("median", "percentile", "asha", "hyperband", "patience")
SEARCH = {"trials": 10, "metric": "nll", "reduction": 2, "percentile": 50.0, "patience": 1}
FORK = multiprocessing.get_context("fork")


def pruned(run: RunDirectory) -> dict[str, int]:
    """Epochs of the trials that were pruned."""
    results = {trial.name: trial.result() for trial in run.trials() if trial.finished}
    return {name: result["epochs"] for name, result in results.items() if result["status"] == "pruned"}


def killed_at(study: Study, name: str, call: int) -> None:
    """Search in a child process that ends by SIGKILL at the ``call``-th call of a trial folder's method."""

    def child() -> None:
        original: Callable[..., Any] = getattr(TrialFolder, name)
        calls = 0

        def counted(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments)

        setattr(TrialFolder, name, counted)
        search_through(study)

    process = FORK.Process(target=child)
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def test_a_killed_search_prunes_what_an_undisturbed_one_prunes(tmp_path: Path, shared_cache: Path) -> None:
    search = {**SEARCH, "pruner": "asha", "trials": 9}
    run, study = planned(tmp_path / "undisturbed", shared_cache, search, epochs=3)
    search_through(study)
    assert pruned(run) and set(pruned(run).values()) <= {1, 2}

    disturbed, again = planned(tmp_path / "disturbed", shared_cache, search, epochs=3)
    # Between a decision and its result, between a curve and its decision, and in the middle of a trial.
    decisions = sum(len(trial.decisions()) for trial in study.folder.trials("search"))
    ends = [trial.decisions()[-1]["prune"] for trial in study.folder.trials("search")]
    killed_at(again, "finish", ends.index(True) + 1)
    assert pruned(disturbed) == {} and any(d["prune"] for t in disturbed.trials() for d in t.decisions())
    killed_at(again, "write_decisions", 1)
    killed_at(again, "write_curve", 4)
    search_through(again)
    assert run_differences(run, disturbed) == [] and repeated_work(disturbed) == []
    replayed = replay(again.folder)
    assert replayed.decisions == decisions and replayed.contradicted == [] == replayed.different

    # The result of a pruned trial says where it ended, and by what.
    first = next(trial for trial in study.folder.trials("search") if trial.result()["status"] == "pruned")
    result, decision = first.result(), first.decisions()[-1]
    assert result["epochs"] == decision["epoch"] == len(first.curve())
    assert result["steps"] == decision["step"] == first.curve()[-1]["step"]
    assert result["metrics"]["val"]["nll"] == min(line["val"]["nll"] for line in first.curve()) == -decision["value"]
    assert "asha" in result["message"] and not first.checkpoint_path.exists()

    # An edited curve is noticed.
    path = first.path / "curve.jsonl"
    path.write_text(path.read_text().replace('"nll": ', '"nll": 1'))
    assert replay(again.folder).contradicted == []
    assert replay(study.folder).contradicted


def test_where_the_first_seed_is_pruned_the_others_are_not_trained(tmp_path: Path, shared_cache: Path) -> None:
    run, study = planned(
        tmp_path / "seeds",
        shared_cache,
        {**SEARCH, "pruner": "asha", "seeds": [0, 3], "trials": 6, "anchors": 0},
        epochs=3,
    )
    scheduler = search_through(study)
    (state,) = scheduler.states
    names = {trial.name for trial in study.folder.trials("search")}
    ended = pruned(run)
    assert ended and all(name.endswith("-s0") for name in ended)
    expected = {
        f"{slot:04d}-s{seed}" for slot in range(6) for seed in (0, 3) if seed == 0 or f"{slot:04d}-s0" not in ended
    }
    assert names == expected and state.progress.total() == len(expected) + 1
    scheduler.record()
    chosen = study.folder.chosen()
    assert chosen is not None and chosen["slot"] not in {int(name[:4]) for name in ended}


@pytest.mark.large
@pytest.mark.parametrize("pruner", PRUNERS)
def test_a_search_under_chaos_prunes_the_same_trials(pruner: str, tmp_path: Path) -> None:
    """With four workers and SIGKILLs at random moments; every decision follows from the curves on disk."""
    file = tiny_sweep(
        tmp_path,
        methods=[{"linear_probe": {"head_lr": {"log": [0.0002, 0.1], "default": 0.05}, "weight_decay": 0.0}}],
        train={"epochs": 9, "batch_size": 64, "image_size": 8},
        search={**SEARCH, "pruner": pruner, "trials": 16, "startup": 4, "concurrency": 4, "anchors": 0},
        confirm={"seeds": 1},
        launch={"workers": 4, "threads": 1},
    )
    command = [sys.executable, "-m", "harness.chaos", str(file), "--kills", "4", "--pause", "2"]
    done = subprocess.run(
        [*command, "--work-dir", str(tmp_path / "runs")],
        env=environment(tmp_path / "cache"), capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0 and "no difference" in done.stdout, done.stdout + done.stderr
    for path in (tmp_path / "runs").iterdir():
        run = RunDirectory(path)
        assert pruned(run)
        (study,) = run.studies()
        replayed = replay(study)
        assert replayed.decisions and not replayed.contradicted and not replayed.different


def rising(final: float, half_way: float, epochs: int = 27) -> list[float]:
    """A curve that is at half of ``final`` after so many epochs."""
    return [float(final / (1 + np.exp((half_way - epoch) / 2))) for epoch in range(1, epochs + 1)]


def searched(search: SearchSpec, curves: Sequence[list[float]]) -> dict[int, int]:
    """Slot → epoch at which it is pruned, of trainings with these curves."""
    known: list[Asked] = []
    ended: dict[int, int] = {}
    for slot, curve in enumerate(curves):
        judge = Judge(search, "m@d", slot, known[: max(0, slot - search.concurrency + 1)])
        decisions = [judge(len(curve), 10 * epoch, curve[:epoch]) for epoch in range(1, len(curve))]
        end = next((decision.epoch for decision in decisions if decision is not None and decision.prune), None)
        if end is not None:
            ended[slot] = end
        known.append(Asked(slot, {}, None if end else max(curve), end is not None, curve[:end]))
    return ended


@pytest.mark.parametrize("pruner", ["median", "asha", "hyperband"])
def test_early_ranks_that_mislead_prune_nothing(pruner: str) -> None:
    rng = np.random.default_rng(0)
    finals = rng.uniform(0.5, 1.0, 30)
    # The better a configuration is in the end, the slower it starts.
    slow_starters = [rising(final, 40 * (final - 0.5)) for final in finals]
    honest = [rising(final, 5.0) for final in finals]
    settings = {"pruner": pruner, "trials": 30, "concurrency": 2}
    guarded, unguarded = SearchSpec(**settings), SearchSpec(**settings, anchors=0)  # type: ignore[arg-type]
    best = int(np.argmax([max(curve) for curve in slow_starters[6:]])) + 6
    assert best in searched(unguarded, slow_starters), (pruner, searched(unguarded, slow_starters))
    assert best not in searched(guarded, slow_starters), (pruner, searched(guarded, slow_starters))
    assert len(searched(guarded, honest)) >= 8 and int(np.argmax(finals)) not in searched(guarded, honest)

    known = [Asked(slot, {}, max(curve), curve=curve) for slot, curve in enumerate(slow_starters)]
    first = agreement(known, 5, rung_epochs(guarded, 27)[0])
    assert first is not None and first < LEAST_AGREEMENT
    assert agreement([Asked(s, {}, max(c), curve=c) for s, c in enumerate(honest)], 5, 1) == 1.0


def test_a_rung_is_an_epoch_and_the_last_epoch_is_none() -> None:
    def rungs(**settings: Any) -> list[int]:
        return rung_epochs(SearchSpec(**settings), 10)

    assert rungs(pruner="none") == []
    assert rungs(pruner="asha") == [1, 3, 9] and rungs(pruner="hyperband", first_rung=2, reduction=2) == [2, 4, 8]
    assert rungs(pruner="median", first_rung=7) == [7, 8, 9]


def test_patience_ends_a_trial_that_does_not_improve() -> None:
    search = SearchSpec(pruner="patience", patience=2, anchors=0)
    assert searched(search, [[0.1, 0.5, 0.4, 0.4, 0.3, 0.2, 0.9]]) == {0: 5}
