"""What the harness costs stays small, and what makes it small changes no answer."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import ROOT, environment

from harness.search import Asked, make_sampler
from harness.space.parameters import Choice, Fixed, Float, Int, Space
from harness.spec.search import SearchSpec

SPACE: Space = {
    "lr": Float(1e-3, 1e-5, 1e-1, log=True),
    "rank": Choice(8, (1, 2, 4, 8, 16)),
    "depth": Int(3, 1, 6),
    "optimizer": Fixed("adamw"),
}


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    startup=st.integers(1, 4),
    concurrency=st.integers(1, 4),
    failures=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_a_searcher_that_keeps_its_study_asks_what_a_fresh_one_asks(
    seed: int, startup: int, concurrency: int, failures: float
) -> None:
    # Two workers share the slots at random, so each must take over what the other asked, with scores that tie, and
    # now and then a slot is asked again after later ones.
    rng = random.Random(seed)
    search = SearchSpec(sampler="tpe", trials=40, startup=startup, concurrency=concurrency)
    workers = [make_sampler(SPACE, search, "m@d"), make_sampler(SPACE, search, "m@d")]
    history: list[Asked] = []
    for slot in range(16):
        fresh = make_sampler(SPACE, search, "m@d").propose(slot, history)
        assert rng.choice(workers).propose(slot, history) == fresh
        history.append(Asked(slot, fresh, None if rng.random() < failures else round(rng.random(), 1)))
        if rng.random() < 0.1:
            earlier = rng.randrange(slot + 1)
            assert workers[0].propose(earlier, history) == history[earlier].hyperparameters


@pytest.mark.parametrize("sampler", ["qmc", "grid", "random"])
def test_other_samplers_do_not_depend_on_what_was_asked_before(sampler: str) -> None:
    space = {name: SPACE[name] for name in ("rank", "depth", "optimizer")}
    search = SearchSpec.model_validate({"sampler": sampler, "trials": 20})
    searcher = make_sampler(space, search, "m@d")
    for slot in (0, 1, 2, 7, 3, 7, 8):
        assert searcher.propose(slot, []) == make_sampler(space, search, "m@d").propose(slot, [])


@pytest.mark.slow
def test_the_benchmark_runs_and_finds_small_costs_and_the_same_training(tmp_path: Path) -> None:
    # Bounds are loose because the machine may be busy: on a quiet one expect 0.1 s, below 30 ms, and ratios near 1.
    out = tmp_path / "overhead.json"
    command = [sys.executable, "-m", "benchmarks.overhead", "--quick", "--out", str(out), "--work-dir", str(tmp_path)]
    env = {**environment(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=500)
    assert out.exists(), done.stdout + done.stderr
    rows = json.loads(out.read_text())["rows"]
    medians = {row["measure"]: row["median"] for row in rows}
    assert medians["python -m harness.sweep --help"] <= 1.0
    coordination = [row["median"] for row in rows if row["measure"] == "coordination of a trial"]
    assert len(coordination) == 2 and max(coordination) <= 150
    trials = [row for row in rows if row["measure"] == "trial / bare loop"]
    assert len(trials) == 2 and all(row["same_training"] for row in trials)
