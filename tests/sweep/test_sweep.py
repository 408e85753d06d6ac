"""The main job through its commands: shared, repeated, extended, interrupted."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import environment, run_inline, run_sweep, sweep_command, tiny_sweep
from warm import EMPTY_FIGURES, warm

from harness.proof.comparison import repeated_work, run_differences, trial_differences
from harness.proof.replay import main as replay
from harness.run.directory import RunDirectory
from harness.studies.study import Roots
from harness.trial import main as trial_command
from harness.work.scheduler import Scheduler
from harness.work.worker import load_studies

PLUGIN = '''"""A plugin of the user's own."""

from harness.method import Method, optimiser_space
from harness.space.parameters import Float


class Mine(Method):
    """Train the last stage."""

    name = "mine"
    space = optimiser_space(Float(1e-3, 1e-4, 1e-1, log=True))

    def adapt(self, model, hp):
        # only the last block
        for parameter in list(model.backbone.parameters())[-6:]:
            parameter.requires_grad_(True)
'''


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Path, Path]:
    """A sweep file and its complete run directory."""
    folder = tmp_path_factory.mktemp("finished")
    file = tiny_sweep(folder)
    run_sweep(file, folder / "run", cache)
    return file, folder / "run"


def snapshot(folder: Path, *without: str) -> dict[str, tuple[int, str]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part in path.parts for part in without)
    }


def test_a_sweep_runs_to_its_report_and_again_changes_nothing(finished: tuple[Path, Path], cache: Path) -> None:
    file, path = finished
    run = RunDirectory(path)
    assert len(list(run.trials())) == 8 and repeated_work(run) == []
    results = [trial.result() for trial in run.trials()]
    assert all(result["status"] == "done" for result in results)
    assert all(("test" in result["metrics"]) == (result["stage"] == "confirm") for result in results)
    tuning = {result["seed"] for result in results if result["stage"] == "search"}
    assert tuning.isdisjoint(result["seed"] for result in results if result["stage"] == "confirm")
    logs = [trial.log_path.read_text() for trial in run.study("linear_probe@small").trials("search")]
    assert sum(log.count("(train) computed in") for log in logs) <= 1, "one trial of two workers' computes the features"
    before = snapshot(path, "lock")
    done = run_sweep(file, path, cache)
    assert done.stdout.strip() == str(path / "report" / "report.html")
    assert "Question: does" in done.stderr and "\nAnswer: " in done.stderr
    assert snapshot(path, "lock") == before


def test_a_second_run_of_the_same_sweep_reports_the_same_numbers(
    finished: tuple[Path, Path], cache: Path, tmp_path: Path
) -> None:
    file, path = finished
    run_inline(file, tmp_path / "again", cache)
    assert run_differences(RunDirectory(path), RunDirectory(tmp_path / "again")) == []
    reports = [json.loads((folder / "report" / "results.json").read_text()) for folder in (path, tmp_path / "again")]
    assert reports[0]["scores"] == reports[1]["scores"]


def test_adding_a_method_runs_only_that_method(finished: tuple[Path, Path], cache: Path, tmp_path: Path) -> None:
    _, path = finished
    shutil.copytree(path, tmp_path / "run")
    before = snapshot(tmp_path / "run" / "studies")
    file = tiny_sweep(tmp_path, methods=["linear_probe", "lora_c", "bn_affine"])
    run_inline(file, tmp_path / "run", cache)
    after = snapshot(tmp_path / "run" / "studies")
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"bn_affine@small"}
    assert "bn_affine" in (tmp_path / "run" / "report" / "report.md").read_text()


def test_the_first_confirmed_training_is_repeated_from_scratch(
    finished: tuple[Path, Path], cache: Path, tmp_path: Path
) -> None:
    file, path = finished
    shutil.copytree(path, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    before = snapshot(run.path / "studies")
    wanted = ("--set", "confirm.repeat=true")
    assert "10 trials of at most 2 epochs" in run_inline(file, run.path, cache, *wanted, "--dry-run").stdout

    # Asked for only now: everything else is there already and stays as it is.
    assert "10/10 trials done" in run_inline(file, run.path, cache, *wanted, report=False).stderr
    after = snapshot(run.path / "studies")
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[2].partition("-s")[2] for name in after.keys() - before.keys()} == {"1000-again"}
    assert repeated_work(run) == []
    for study in run.studies():
        (again,) = study.repeats()
        first, second = study.trials("confirm")
        assert again.request() == {**first.request(), "repeat": True}
        assert len(again.attempts()) == 1 and len(again.curve()) == 2
        # Metrics, curve and predictions are bit-identical, and those of another seed are not.
        assert trial_differences(first, again) == ["requests"]
        assert trial_differences(second, again) == ["requests", "results", "curves", "predictions"]

    # Where a repetition is damaged, it runs again and nothing else does.
    kept = snapshot(run.path, "lock", "report", "plan.json", "news.log")
    (again.path / "predictions.parquet").write_bytes(b"torn")
    assert f"{again.name}/predictions.parquet" in run_inline(file, run.path, cache, *wanted, expect=2).stderr
    run_inline(file, run.path, cache, *wanted, "--repair", report=False)
    assert trial_differences(first, again) == ["requests"]
    assert snapshot(run.path, "lock", "report", "plan.json", "news.log", again.name) == {
        name: value for name, value in kept.items() if again.name not in Path(name).parts
    }


def test_a_failed_training_is_not_repeated(finished: tuple[Path, Path], cache: Path, tmp_path: Path) -> None:
    shutil.copytree(finished[1], tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    spec = run.spec()
    run.write_spec({**spec, "confirm": {**spec["confirm"], "repeat": True}})
    failed = run.study("lora_c@small").trials("confirm")[0]
    failed.result_path.write_text(json.dumps({**failed.result(), "status": "failed", "cause": "nan", "message": "nan"}))
    scheduler = Scheduler(load_studies(run, Roots(cache / "none", cache))[1], retries=0)
    assert {state.study.name: state.progress.total() for state in scheduler.states} == {
        "linear_probe@small": 5,
        "lora_c@small": 4,
    }
    task = scheduler.claim_next()
    assert task is not None and task.folder.path.match("linear_probe@small/confirm/*-s1000-again")
    assert scheduler.claim_next() is None and not scheduler.complete()
    assert task.folder.finish({**task.request, "status": "failed", "cause": "oom", "message": "no memory"})
    assert scheduler.claim_next() is None and scheduler.complete()


def test_two_sweeps_at_once_share_the_work(finished: tuple[Path, Path], cache: Path, tmp_path: Path) -> None:
    file, path = finished
    command = warm(sweep_command(file, tmp_path / "run", "--workers", "1"))
    sweeps = [
        subprocess.Popen(command, env=environment(cache) | EMPTY_FIGURES, stderr=subprocess.DEVNULL) for _ in range(2)
    ]
    assert [sweep.wait(timeout=300) for sweep in sweeps] == [0, 0]
    run = RunDirectory(tmp_path / "run")
    assert repeated_work(run) == []
    assert run_differences(RunDirectory(path), run) == []
    assert all(len(trial.attempts()) == 1 for trial in run.trials())


def test_ctrl_c_leaves_everything_resumable(finished: tuple[Path, Path], cache: Path, tmp_path: Path) -> None:
    file, path = finished
    run = RunDirectory(tmp_path / "run")
    # As a shell starts it in the background: with Ctrl-C ignored.
    command = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *warm(sweep_command(file, run.path))]
    sweep = subprocess.Popen(
        command, env=environment(cache) | EMPTY_FIGURES, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not any(trial.claimed for trial in run.trials()):
        assert time.monotonic() < deadline and sweep.poll() is None
        time.sleep(0.05)
    os.killpg(sweep.pid, signal.SIGINT)
    _, errors = sweep.communicate(timeout=120)
    assert sweep.returncode == 130 and "Traceback" not in errors and "resumes from here" in errors
    # Nobody holds anything any more: what was running is free, with its checkpoint.
    leases = {trial.path: trial.lease() for trial in run.trials() if not trial.finished}
    held = {path: lease for path, lease in leases.items() if lease is not None and not lease.content.get("released")}
    assert not held, (held, *(log.read_text() for log in run.path.rglob("*.log")))
    run_inline(file, run.path, cache, report=False)
    assert repeated_work(run) == []
    assert run_differences(RunDirectory(path), run) == []


def test_a_comment_reruns_nothing_and_a_change_is_named(cache: Path, tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "mine.py").write_text(PLUGIN)
    file = tiny_sweep(tmp_path, methods=["mine"], plugins=["plugins"], confirm={"seeds": 1})
    path = tmp_path / "run"
    run_inline(file, path, cache, report=False)
    before = snapshot(path, "lock")

    (plugins / "mine.py").write_text(PLUGIN.replace("# only the last block", "# a better comment\n"))
    run_inline(file, path, cache, report=False)
    assert snapshot(path, "lock") == before

    (plugins / "mine.py").write_text(PLUGIN.replace("[-6:]", "[-3:]"))
    refused = run_inline(file, path, cache, expect=2)
    assert "mine@small: method.code: changed" in refused.stderr and "--stale rerun" in refused.stderr
    assert snapshot(path, "lock") == before

    changed = run_inline(file, path, cache, "--set", "train.epochs=3", expect=2)
    assert "train.epochs: 2 → 3" in changed.stderr

    run_inline(file, path, cache, "--stale", "rerun", report=False)
    run = RunDirectory(path)
    assert repeated_work(run) == [] and len(list(run.trials())) == 3
    stale = {name: value for name, value in snapshot(path).items() if name.startswith("stale/")}
    kept = {name.removeprefix("stale/mine@small.1/"): value for name, value in stale.items()}
    assert kept == {n.removeprefix("studies/mine@small/"): v for n, v in before.items() if n.startswith("studies/")}


def test_every_ask_of_a_parallel_search_can_be_replayed(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = {"trials": 7, "startup": 2, "concurrency": 2}
    file = tiny_sweep(tmp_path, methods=["lora_c"], search=search, train={"epochs": 1, "image_size": 8})
    run_sweep(file, tmp_path / "run", cache)
    assert replay([str(tmp_path / "run")]) == 0
    assert "7 asks and 0 decisions replayed, 0 differ" in capsys.readouterr().out
    study = RunDirectory(tmp_path / "run").study("lora_c@small")
    assert study.search_trial(6, 0).request()["conditioned_on"] == [0, 1, 2, 3, 4]

    request = study.search_trial(5, 0).path / "trial.json"
    content = json.loads(request.read_text())
    content["hyperparameters"]["rank"] = 3
    request.write_text(json.dumps(content))
    assert replay([str(tmp_path / "run")]) == 1
    assert "slot 5" in capsys.readouterr().out


def test_several_tuning_seeds_are_averaged(cache: Path, tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path, methods=["linear_probe"], search={"trials": 2, "seeds": [0, 3]}, confirm={"seeds": 1})
    run_inline(file, tmp_path / "run", cache, report=False)
    study = RunDirectory(tmp_path / "run").study("linear_probe@small")
    means = []
    for slot in range(2):
        trials = [study.search_trial(slot, seed).result() for seed in (0, 3)]
        assert trials[0]["hyperparameters"] == trials[1]["hyperparameters"]
        means.append(sum(trial["metrics"]["val"]["balanced_accuracy"] for trial in trials) / 2)
    chosen = study.chosen()
    assert chosen is not None and chosen["slot"] == means.index(max(means))
    assert chosen["value"] == pytest.approx(max(means))


def test_a_failing_method_is_a_row_and_the_sweep_goes_on(cache: Path, tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    broken = PLUGIN.replace("for parameter in", "raise RuntimeError('a bug of mine')\n        for parameter in")
    (plugins / "mine.py").write_text(broken)
    file = tiny_sweep(tmp_path, methods=["mine", "linear_probe"], plugins=["plugins"], confirm={"seeds": 1})
    done = run_inline(file, tmp_path / "run", cache, expect=1)
    assert "mine@small search slot 0 seed 0: bug: RuntimeError: a bug of mine" in done.stderr
    assert RunDirectory(tmp_path / "run").study("linear_probe@small").chosen() is not None
    assert "a bug of mine" in (tmp_path / "run" / "report" / "report.md").read_text()


def test_a_trial_that_kills_every_worker_is_given_up(cache: Path, tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    deadly = (
        "\n    def training_step(self, context, images, labels):\n        import os\n        os.kill(os.getpid(), 9)\n"
    )
    (plugins / "mine.py").write_text(PLUGIN + deadly)
    file = tiny_sweep(
        tmp_path,
        methods=["mine"],
        plugins=["plugins"],
        search={"trials": 1},
        launch={"workers": 1, "threads": 1, "retries": 1},
    )
    done = run_sweep(file, tmp_path / "run", cache, expect=1)
    assert "worker_died: 2 workers died at the same place" in done.stderr


def test_trial_command_shows_progress_and_goes_on_after_ctrl_c(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--method", "lora_c", "--dataset", "digits", "--save-model", "--out", str(tmp_path / "t"),
        "--set", "train.epochs=15", "--set", "train.image_size=8", "--set", "backbone.name=resnet20",
        "--set", "datasets.digits.classes=[0, 1, 2]",
    ]  # fmt: skip
    command = [sys.executable, "-m", "harness.trial", *arguments]
    trial = subprocess.Popen(
        warm(command), env=environment(cache), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    curve = tmp_path / "t" / "curve.jsonl"
    deadline = time.monotonic() + 120
    while not curve.exists():
        assert time.monotonic() < deadline and trial.poll() is None
        time.sleep(0.05)
    trial.send_signal(signal.SIGINT)
    _, errors = trial.communicate(timeout=60)
    assert trial.returncode == 130 and "epoch 1/15: validation balanced_accuracy" in errors
    for name, value in environment(cache).items():
        monkeypatch.setenv(name, value)
    assert trial_command(arguments) == 0
    assert "val: accuracy" in capsys.readouterr().out
    log = (tmp_path / "t" / "log.txt").read_text()
    assert "resumed after epoch" in log
    assert (tmp_path / "t" / "model.safetensors").exists()


def test_trial_command_opens_a_debugger_at_the_error(cache: Path, tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "mine.py").write_text(PLUGIN.replace("for parameter in", "wrong = 1 / 0\n        for parameter in"))
    command = [
        sys.executable, "-m", "harness.trial", "--method", "mine", "--dataset", "digits", "--plugins", str(plugins),
        "--out", str(tmp_path / "t"), "--set", "train.image_size=8", "--set", "backbone.name=resnet20", "--pdb",
    ]  # fmt: skip
    done = subprocess.run(
        warm(command), env=environment(cache), input="p hp['lr']\nq\n", capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr
    assert "(Pdb) 0.001" in done.stdout


def test_two_runs_without_trials_are_not_called_equal(tmp_path: Path) -> None:
    (difference,) = run_differences(RunDirectory(tmp_path / "first"), RunDirectory(tmp_path / "second"))
    assert "no trials to compare" in difference
