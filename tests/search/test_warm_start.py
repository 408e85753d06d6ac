"""A search may begin from what an earlier run has found: told, recorded, and never counted as its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from home import one_error
from tiny import run_inline, tiny_sweep

from analysis.runs.summary import summarise
from analysis.tables.ledger import ledger
from analysis.words.flags import flags
from harness.proof.comparison import run_differences
from harness.proof.replay import Replayed, replay
from harness.run.directory import RunDirectory
from harness.studies.reading import RunReader

SPACE = {"head_lr": {"log": [0.001, 1.0], "default": 0.1}, "weight_decay": 0.0}


def sweep(folder: Path, cache: Path, run: str, **search: Any) -> RunDirectory:
    file = tiny_sweep(
        folder,
        methods=[{"linear_probe": SPACE}],
        train={"epochs": 1, "batch_size": 64, "image_size": 8},
        search={"concurrency": 1, "startup": 3, **search},
        confirm={"seeds": 1},
    )
    run_inline(file, folder / run, cache, report=False)
    return RunDirectory(folder / run)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    sweep(folder, shared_cache, "earlier", sampler="random", trials=3)
    return folder


def test_a_search_begins_from_an_earlier_run(earlier: Path, shared_cache: Path) -> None:
    cold = sweep(earlier, shared_cache, "cold", trials=3)
    warm = sweep(earlier, shared_cache, "warm", trials=3, warm_start="earlier")
    (before,), (without,), (study,) = (RunDirectory(earlier / "earlier").studies(), cold.studies(), warm.studies())
    scores = [before.search_trial(slot, 0).result()["metrics"]["val"]["balanced_accuracy"] for slot in range(3)]
    prior = study.prior()
    assert prior is not None and [one["score"] for one in prior["observations"]] == scores

    # The default still comes first; then the sampler models what it knows, where a cold one draws at random.
    asked = [[one.search_trial(slot, 0).request()["hyperparameters"] for slot in range(3)] for one in (study, without)]
    assert asked[0][0] == asked[1][0] and asked[0][1] != asked[1][1]
    assert replay(study) == Replayed(asks=3)
    assert study.search_trial(1, 0).request()["conditioned_on"] == [0]

    # They are no slots of this run, and are told wherever its budget is told.
    assert len(study.trials("search")) == 3 and study.chosen()["of"] == 3  # type: ignore[index]
    (overview,) = RunReader(warm).read(0.0).studies
    assert overview.total == 4 and overview.ledger.known_before == 3 and overview.ledger.trials == 4
    summary = summarise(warm)
    assert summary.ledger[0].known_before == 3 and "Known before" in ledger(summary).head
    said = " ".join(flags(summary))
    assert "the search began from 3 slots of the run earlier (3 trials" in said
    assert "differs" not in said and "Known before" not in ledger(summarise(cold)).head

    # The earlier run may be gone: it goes on, and ends alike.
    again = RunDirectory(earlier / "again")
    shutil.copytree(warm.path, again.path)
    (copy,) = again.studies()
    shutil.rmtree(copy.search_trial(2, 0).path)
    shutil.rmtree(copy.path / "confirm")
    copy.chosen_path.unlink()
    (earlier / "earlier").rename(earlier / "moved")
    try:
        sweep(earlier, shared_cache, "again", trials=3, warm_start="earlier")
        assert run_differences(warm, again) == []
        # What was told beforehand is part of what the search is.
        spec = json.loads(warm.spec_path.read_text())
        assert spec["search"]["warm_start"] == str(earlier / "earlier")
    finally:
        (earlier / "moved").rename(earlier / "earlier")


@pytest.mark.parametrize(
    ("search", "extra", "words"),
    [
        ({"warm_start": "nowhere"}, (), "nowhere is no run directory"),
        ({"warm_start": "earlier", "sampler": "random"}, (), "the sampler random learns nothing from earlier trials"),
        ({"warm_start": "earlier", "metric": "nll"}, (), "it was searched by balanced_accuracy, this one is by nll"),
        ({"warm_start": "earlier"}, ("--set", "split.seed=1"), "scores do not compare: dataset.split"),
        (
            {"warm_start": "earlier"},
            ("--set", "methods.linear_probe.head_lr.log=[0.01, 1.0]"),
            "scores do not compare: space.head_lr.low: 0.001 → 0.01",
        ),
        (
            {"warm_start": "earlier"},
            ("--set", "methods.other={method: linear_probe}"),
            "has no study other@small; some methods would know more",
        ),
    ],
)
def test_what_does_not_compare_is_refused(
    earlier: Path, shared_cache: Path, search: dict[str, Any], extra: tuple[str, ...], words: str
) -> None:
    file = tiny_sweep(
        earlier,
        methods={"linear_probe": SPACE},
        train={"epochs": 1, "batch_size": 64, "image_size": 8},
        search={"trials": 3, **search},
        confirm={"seeds": 1},
    )
    done = run_inline(file, earlier / "refused", shared_cache, *extra, expect=2, report=False)
    one_error(done.returncode, done.stderr, "search.warm_start", words)
