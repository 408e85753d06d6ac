"""Plans beside what sweeps then take, and what is said of the comparison before there is one."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import ROOT, environment, run_inline, tiny_sweep

from analysis.stats.twoway import two_way
from harness.plan import __main__ as command
from harness.plan.detectable import Spread, assumed, detectable, family
from harness.plan.document import _of_machine
from harness.plan.parts import Measured, Parts, Span, Stops, study_seconds, wall_seconds
from harness.plan.probe import processor_time
from harness.plan.shapes import Shape, StudyShape
from harness.run.code import take_snapshot
from harness.run.directory import RunDirectory
from harness.spec.sections import ConfirmSpec
from harness.studies.loading import load_sweep

METHODS = ["linear_probe", {"lora_c": {"rank": 2}}]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> tuple[Path, RunDirectory]:
    """A sweep file and its complete run directory."""
    folder = tmp_path_factory.mktemp("ran")
    file = tiny_sweep(folder, methods=METHODS, confirm={"seeds": 2, "repeat": True, "control": "linear_probe"})
    run_inline(file, folder / "run", shared_cache)
    return file, RunDirectory(folder / "run")


@pytest.fixture(autouse=True)
def _own_folders(shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(shared_cache).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


def planned(capsys: pytest.CaptureFixture[str], file: Path, *extra: str) -> dict[str, Any]:
    assert command.main([str(file), "--json", *extra]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_a_plan_like_a_run_says_what_that_run_took(
    ran: tuple[Path, RunDirectory], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file, run = ran
    plan = planned(capsys, file, "--like", str(run.path))
    trials = list(run.trials())
    assert plan["trials"] == len(trials) == 10
    assert plan["steps"] == sum(trial.result()["steps"] for trial in trials)
    taken = sum(trial.spent().seconds for trial in trials)
    span = plan["device_seconds"]
    assert span["low"] < taken < span["high"] and span["middle"] == pytest.approx(taken)
    parts = [path for part in ("studies", "splits", "cards") for path in (run.path / part).rglob("*") if path.is_file()]
    copied = [path for path in take_snapshot(RunDirectory(tmp_path / "other"), []).rglob("*") if path.is_file()]
    room = plan["disk"]
    assert room["code"] == sum(path.stat().st_size for path in copied)
    assert room["files"] == len(parts) + len(copied)
    assert room["stays"] - room["code"] == pytest.approx(sum(path.stat().st_size for path in parts), rel=0.2)
    # Without processes of their own there is no copy of the code.
    inline = planned(capsys, file, "--like", str(run.path), "--set", "launch.kind=inline")["disk"]
    assert (inline["files"], inline["code"]) == (len(parts), 0)
    # What differs between two methods over seeds comes from the run as well.
    (shown,) = plan["detectable"]
    assert "median of 1 pairs" in shown["spread"]["origin"] and shown["both"] > 0
    # The plan itself is something to be like, on a machine without the run.
    (tmp_path / "earlier.json").write_text(json.dumps(plan))
    again = planned(capsys, file, "--like", "earlier.json", "--set", "confirm.seeds=4")
    assert again["trials"] == 14
    assert again["device_seconds"]["middle"] == pytest.approx(taken * 1.4)


def test_a_pilot_measures_the_spread_over_seeds(
    tmp_path: Path, shared_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = {"launch": {"kind": "inline", "threads": 1}, "train": {"epochs": 1, "batch_size": 64, "image_size": 8}}
    file = tiny_sweep(tmp_path, methods=METHODS, search={"trials": 5, "metric": "auc"}, **quick)
    plan = planned(capsys, file, "--no-probe", "--pilot", "3")
    assert list(tmp_path.iterdir()) == [file]
    (shown,) = plan["detectable"]
    assert shown["spread"]["origin"].startswith("pilot of 3 seeds on validation images, median of 1 pairs; two methods")

    # The same trainings in a sweep.
    (tmp_path / "again").mkdir()
    search = {"trials": 1, "seeds": [0, 1, 2], "metric": "auc"}
    again = tiny_sweep(tmp_path / "again", methods=METHODS, search=search, **quick)
    run_inline(again, tmp_path / "run", shared_cache, report=False)
    scores = [
        [study.search_trial(0, seed).result()["metrics"]["val"]["auc"] for seed in range(3)]
        for study in RunDirectory(tmp_path / "run").studies()
    ]
    assert shown["spread"]["seed_sd"] == pytest.approx(np.std(np.subtract(*scores), ddof=1))
    assert command.main([str(file), "--no-probe", "--pilot", "3", "--seed-sd", "0.01"]) == 2
    assert "--pilot: --seed-sd tells the spread over seeds already" in capsys.readouterr().err


def test_a_probe_measures_every_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tiny_sweep(tmp_path, methods=METHODS, launch={"kind": "inline", "threads": 1}, search={"trials": 1})
    plan = planned(capsys, file)
    assert set(plan["measured"]) == {"linear_probe@small", "lora_c@small"}
    for measured in plan["measured"].values():
        assert len(measured["parts"]) == 2 and measured["checkpoint_bytes"] > 0 and measured["peak_bytes"] > 0
        assert all(parts["step"] > 0 and parts["case"] > 0 for parts in measured["parts"])
        assert 0 < measured["running"] <= 1 and measured["load"] >= 0 and "load" in measured["origin"]
    assert 0 < plan["device_seconds"]["low"] < plan["device_seconds"]["high"]
    assert list(tmp_path.iterdir()) == [file]  # nothing is left of what was measured


def test_a_dry_run_is_quick_and_shows_the_plan(
    ran: tuple[Path, RunDirectory], capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.sweep.__main__ import main

    assert main([str(ran[0]), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "10 trials of at most 2 epochs; nothing was started" in shown
    assert "smallest difference found" in shown and "device time: not known" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert main([str(ran[0]), "--dry-run", "--set", "train.image_size=9"]) == 0
    assert "not decoded yet: small" in capsys.readouterr().out


def test_what_a_plan_warns_of(ran: tuple[Path, RunDirectory], capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--seconds-per-step", "linear_probe=36", "--seconds-per-step", "lora_c=72", "--want", "0.02")
    plan = planned(capsys, ran[0], *given, "--set", "budget.device_hours=1", "--set", "confirm.margin=0.01")
    # Ten steps a trial, five trials a study.
    assert plan["device_seconds"]["middle"] == 5400
    warnings = "\n".join(plan["warnings"])
    assert "an exact test can never reach significance at 0.05" in warnings and "6 seeds could" in warnings
    assert "more than the margin of 1" in warnings and "2 replicates cannot carry a verdict" in warnings
    assert "a difference of 2 points would usually be missed; more seeds would not help" in warnings
    assert "The budget of 1 device-hours does not suffice: 1.2 to 1.8 are expected" in warnings
    assert "Some classes have fewer than 30" not in warnings  # 107 test images of three digits
    assert command.main([str(ran[0]), "--seconds-per-step", "lora=1"]) == 2
    assert "did you mean 'lora_c'?" in capsys.readouterr().err


TABLE = {
    5: (1.68, 3.07, 3.51, 4.65),
    8: (1.16, 1.77, 1.93, 2.32),
    10: (1.0, 1.46, 1.58, 1.84),
    20: (0.66, 0.9, 0.95, 1.07),
}
"""Smallest d_z found with 80 % power at 0.05 / 1, 9, 15 and 45, as scipy's noncentral t and statsmodels have it too."""


@pytest.mark.parametrize("seeds", TABLE)
def test_the_seeds_alone_find_what_is_known(seeds: int) -> None:
    spread = assumed(0.01, 0.1, "mcc", "given")
    assert spread.origin == "given; nothing is assumed of the spread over test cases, which the report counts too"
    for comparisons, known in zip((1, 9, 15, 45), TABLE[seeds], strict=True):
        found = detectable("d", seeds, 500, 500, 0.05 / comparisons, spread, known * spread.seed_sd * 1.005)
        assert found.both is None and found.decisive == found.seeds_only
        assert found.seeds_only / (0.01 * math.sqrt(2)) == pytest.approx(known, abs=0.005)
        assert found.seeds_for_wanted == seeds


def test_a_simulated_comparison_finds_what_the_plan_says() -> None:
    rng = np.random.default_rng(0)
    spread, level, seeds, cases = assumed(0.01, 0.1, "accuracy", "given"), 0.05 / 9, 8, 300
    assert spread.origin == "given; two methods differ on 10 % of the cases"
    found = detectable("d", seeds, cases, cases, level, spread, None)
    assert found.both is not None and spread.components is not None

    def significant() -> bool:
        own, shared = rng.normal(0, math.sqrt(2) * 0.01, (seeds, 1)), rng.normal(0, math.sqrt(0.1), (1, cases))
        # A little chance in each case: without any the mean squares are degenerate.
        table = found.both + own + shared + rng.normal(0, 0.05, (seeds, cases))
        p = two_way(table).p_value()
        return p is not None and p <= level

    assert np.mean([significant() for _ in range(600)]) == pytest.approx(0.8, abs=0.05)


def test_seeds_that_exact_tests_need() -> None:
    # Methods → seeds against a control, all pairs, all pairs on three datasets and on average over them.
    for methods, needed in {2: (6, 6, 8), 4: (7, 8, 10), 6: (8, 10, 12), 8: (9, 11, 13), 10: (9, 11, 13)}.items():
        for (kind, datasets), seeds in zip(
            (("vs_control", 1), ("all_pairs", 1), ("all_pairs", 3)), needed, strict=True
        ):
            declared = family(ConfirmSpec.model_validate({"control": "m", "family": kind}), seeds, methods, datasets)
            assert declared is not None and declared.reachable and declared.seeds_for_exact == seeds
            fewer = family(ConfirmSpec.model_validate({"control": "m", "family": kind}), seeds - 1, methods, datasets)
            assert fewer is not None and not fewer.reachable and fewer.caution is not None


def test_time_is_put_together_from_its_parts() -> None:
    shape = Shape(train=640, val=100, test=50, epochs=10, steps=100, batch_size=64)
    slow = Parts(start=2.0, step=0.1, epoch=0.5, case=0.01, finish=0.02)
    assert slow.seconds(shape, confirm=False) == pytest.approx(2 + 10 + 10 * 1.5 + 2)
    assert slow.seconds(shape, confirm=True, epochs=3) == pytest.approx(2 + 3 + 3 * 1.5 + 2 + 0.5)
    assert Parts(start=1.0, case=0.01, fit=0.1).seconds(shape, confirm=True) == pytest.approx(1 + 64 + 1 + 0.5)
    study = StudyShape("m@d", "m", "d", shape, 4, 4, 2, 0, waits=3)
    measured = Measured(parts=(slow, slow), origin="x")
    span = study_seconds(study, measured, Stops())
    assert span.low < span.middle < span.high and span.middle == pytest.approx(6 * 29 + 2 * 0.5)
    # One slot is never pruned, and three may end after an epoch.
    pruned = study_seconds(study, measured, Stops(rung=1, anchors=1))
    assert pruned.high == span.high and span.low - pruned.low == pytest.approx(0.8 * 3 * 9 * 2.5)
    # Six trials of ten seconds, three of which wait for each other.
    assert wall_seconds([(study, Span(60, 60, 60))], workers=2).middle == 30
    assert wall_seconds([(study, Span(60, 60, 60))], workers=6).middle == 30
    assert wall_seconds([(study, Span(60, 60, 60))], workers=1).middle == 60


def test_times_of_a_busy_machine_are_a_wide_interval() -> None:
    shape = Shape(train=640, val=100, test=50, epochs=10, steps=100, batch_size=64)
    study = StudyShape("m@d", "m", "d", shape, 4, 4, 2, 0, waits=3)
    quiet = Measured(parts=(Parts(start=2.0, step=0.1),), origin="x")
    busy = dataclasses.replace(quiet, parts=(Parts(start=8.0, step=0.4),), running=0.25, load=2.5)
    alone, crowded = study_seconds(study, quiet, Stops()), study_seconds(study, busy, Stops())
    assert (crowded.low, crowded.middle) == pytest.approx((alone.low, alone.middle))
    assert crowded.high == pytest.approx(4 * alone.high)
    assert list(_of_machine({"m@d": quiet})) == []
    (said,) = _of_machine({"m@d": busy})
    assert "busy while it was measured (load 2.5 for each processor before): trials had a processor for 25 %" in said


def test_waiting_for_a_processor_is_told_from_sleeping() -> None:
    before = processor_time()
    time.sleep(0.3)
    ran, waited = (now - then for now, then in zip(processor_time(), before, strict=True))
    assert ran < 0.2 and waited < 0.3
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("this system does not count it")
    # On one processor, with others on it: each has it for a part of the time.
    one = min(os.sched_getaffinity(0))
    spin = f"import os\nos.sched_setaffinity(0, {{{one}}})\nwhile True: pass"
    others = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(3)]
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {one})
        time.sleep(0.5)
        before, began = processor_time(), time.perf_counter()
        while time.perf_counter() < began + 1.5:
            pass
        ran, waited = (now - then for now, then in zip(processor_time(), before, strict=True))
    finally:
        os.sched_setaffinity(0, allowed)
        for other in others:
            other.kill()
            other.wait()
    assert ran / (ran + waited) < 0.6


def test_a_spread_without_seeds_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        detectable("d", 1, 10, 10, 0.05, Spread(0.01, None, "x"), None)


def test_a_probe_that_is_ended_leaves_no_folder(
    ran: tuple[Path, RunDirectory], shared_cache: Path, tmp_path: Path
) -> None:
    asked = {
        "spec": load_sweep(ran[0]).spec.model_dump(mode="json"), "threads": 1, "device": "cpu",
        "data": str(tmp_path), "cache": str(shared_cache), "folder": str(tmp_path),
    }  # fmt: skip
    command = [sys.executable, "-m", "harness.plan.probe"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as probe:
        assert probe.stdin is not None
        print(json.dumps(asked), file=probe.stdin, flush=True)
        while not any(tmp_path.glob("probe-*")):
            assert probe.poll() is None, probe.stderr
            time.sleep(0.05)
        probe.terminate()
        assert probe.wait(60) != 0
    assert list(tmp_path.iterdir()) == []
