"""Bad input, end to end: one clear line that names place and remedy, exit code 2, no traceback, nothing lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from home import Home, content, one_error, truncate
from tiny import ROOT, environment
from warm import warm

from analysis.report import main as report
from harness.doctor.trial_files import examine
from harness.plugins import main as plugins
from harness.proof.comparison import run_differences
from harness.run.code import take_snapshot
from harness.run.directory import RunDirectory
from harness.sweep.__main__ import main as sweep
from harness.trial import main as trial
from harness.work.worker import main as worker

Command = Callable[[list[str]], int]


class Refusals:
    """Gives commands and checks how they refuse."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, command: Command, arguments: list[object], *words: str) -> str:
        """Give a command in this process; the one line that it says, without ``error:``."""
        self._capsys.readouterr()
        code = command([str(argument) for argument in arguments])
        return one_error(code, self._capsys.readouterr().err, *words)


@pytest.fixture
def refuses(capsys: pytest.CaptureFixture[str]) -> Refusals:
    return Refusals(capsys)


PROBE = "methods: [my_probe]"

SWEEP_FILE: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "unknown key": ("epochs: 1", "epoch: 1", (":7: train.epoch", "did you mean 'epochs'")),
    "wrong type": ("trials: 1", "trials: many", (":8: search.trials", "whole number", "'many'")),
    "negative trials": ("trials: 1", "trials: -1", (":8: search.trials", "at least 1")),
    "impossible image size": ("image_size: 8", "image_size: 4", (":7: train.image_size", "at least 8")),
    "a seed twice": ("seeds: [0]", "seeds: [0, 0]", (":8: search.seeds.1", "seed 0 is listed twice")),
    "confirm on a tuning seed": ("[1000]", "[0]", (":9: confirm.seeds.0", "tunes in search.seeds", "fresh")),
    "unknown method": (PROBE, "methods: [my_prob]", (":6: methods.my_prob", "did you mean 'my_probe'")),
    "no method": (PROBE, "methods: []", (":6: methods", "list at least one")),
    "unknown dataset": ("dataset: digits", "dataset: digit", (":5: datasets.zero_one.dataset", "'digits'")),
    "dataset option": ("classes: [0, 1]", "classes: [0]", (":5: datasets.zero_one.classes", "two different digits")),
    "YAML syntax": (PROBE, "methods: [my_probe", (":7: not valid YAML", "expected ',' or ']'")),
    "default outside its range": (
        PROBE,
        "methods: [my_probe: {head_lr: {log: [0.5, 1.0]}}]",
        (":6: methods.my_probe.head_lr", "0.001 is not in [0.5, 1.0]", "add `default: …`"),
    ),
    "logarithm of zero": (
        PROBE,
        "methods: [my_probe: {head_lr: {log: [0, 1.0]}}]",
        (":6: methods.my_probe.head_lr", "must start above 0"),
    ),
    "grid over a range": (
        "trials: 1,",
        "trials: 4, sampler: grid,",
        (":8: search.sampler", "'head_lr'", "list its values"),
    ),
    "split that the data lack": (
        "train:",
        "split: {kind: official}\ntrain:",
        ("datasets.zero_one", "no official side", "split: {kind: grouped}"),
    ),
    "misspelt backbone": ("resnet20", "resnet19", (":3: backbone.name", "did you mean 'resnet18'")),
    "misspelt weights": (
        "resnet20, weights: null",
        "resnet18, weights: IMAGENET1K_V9",
        (":3: backbone.weights", "did you mean 'IMAGENET1K_V1'"),
    ),
    "misspelt backbone of a method": (
        PROBE,
        "methods: [my_probe: {backbone: {name: resnet21}}]",
        (":6: methods.my_probe.backbone.name", "did you mean 'resnet20'"),
    ),
    "missing weights file": ("weights: null", "weights: w.safetensors", (":3: backbone.weights", "no such file")),
    "missing plugin folder": ("[plugins]", "[plugs]", (":2: plugins.0", "no such folder")),
    "missing archive": (
        "zero_one: {dataset: digits, classes: [0, 1]}",
        "brain_mri",
        ("brain-tumor-mri-dataset.zip not found in", "kaggle.com", "--data-root or GPAF_BENCH_DATA"),
    ),
}


@pytest.mark.parametrize("kind", SWEEP_FILE)
def test_sweep_file_is_refused_and_the_run_left_alone(kind: str, home: Home, refuses: Refusals) -> None:
    old, new, words = SWEEP_FILE[kind]
    text = home.file.read_text()
    assert text.count(old) == 1
    home.file.write_text(text.replace(old, new))
    before = content(home.run)
    line = refuses(sweep, [home.file, "--run-dir", home.run], *words)
    if words[0].startswith(":"):
        assert line.startswith(f"{home.file}{words[0]}")
    assert content(home.run) == before
    refuses(sweep, [home.file, "--run-dir", home.path / "new"], *words)
    assert not (home.path / "new" / "spec.json").exists()


@pytest.mark.parametrize("kind", ["misspelt backbone", "misspelt weights", "grid over a range", "unknown method"])
def test_a_dry_run_refuses_what_the_run_would(kind: str, home: Home, refuses: Refusals) -> None:
    old, new, words = SWEEP_FILE[kind]
    home.file.write_text(home.file.read_text().replace(old, new))
    refuses(sweep, [home.file, "--dry-run"], *words)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--set", "train.epoch=2"], ("--set train.epoch", "did you mean 'epochs'")),
        (["--set", "train.epochs"], ("--set train.epochs", "KEY=VALUE")),
        (["--set", "train.epochs=[1"], ("--set train.epochs", "not valid YAML")),
        (["--set", "backbone.name=resnet19"], ("--set backbone.name", "did you mean 'resnet18'")),
        (["--launcher", "nowhere"], ("launch.kind", "no launcher is called 'nowhere'", "local")),
        (["--workers", "0"], ("launch.workers", "at least 1")),
    ],
    ids=str,
)
def test_options_are_refused(extra: list[str], words: tuple[str, ...], home: Home, refuses: Refusals) -> None:
    before = content(home.run)
    refuses(sweep, [home.file, "--run-dir", home.run, *extra], *words)
    assert content(home.run) == before


def test_missing_sweep_file(home: Home, refuses: Refusals) -> None:
    refuses(sweep, [home.path / "tiny.yml"], "tiny.yml: no such file", "did you mean 'tiny.yaml'")
    refuses(sweep, [home.path], "not a file", "sweep file (.yaml)")


def test_run_directory_that_is_none(home: Home, refuses: Refusals) -> None:
    refuses(sweep, [home.file, "--run-dir", home.file], "tiny.yaml: not a folder", "--run-dir")
    refuses(sweep, [home.file, "--run-dir", home.file / "below"], "below: not a folder", "--run-dir")
    refuses(sweep, [home.file, "--run-dir", home.path / ("x" * 300)], "longer than a file name may be")
    foreign = home.path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.tex").write_text("years of work")
    refuses(sweep, [home.file, "--run-dir", foreign], "thesis: holds other files and no run", "empty folder")
    assert content(foreign) == {"chapter.tex": b"years of work"}
    refuses(worker, [foreign], "thesis: no run directory", "folder of a sweep")
    refuses(report, [foreign], "thesis: no run directory", "folder of a sweep")
    refuses(report, [home.run, "--out", home.file], "tiny.yaml: not a folder", "--out")


def test_read_only_disk(home: Home, refuses: Refusals, small_disk: Callable[..., Path]) -> None:
    disk = small_disk("size=8m")
    shutil.copytree(home.run, disk / "run")
    before = content(disk / "run")
    small_disk("ro")
    refuses(sweep, [home.file, "--run-dir", disk / "run"], f"{disk / 'run'}: cannot be", "--run-dir")
    refuses(sweep, [home.file, "--run-dir", disk / "new"], f"{disk / 'new'}: Read-only", "--run-dir")
    refuses(report, [disk / "run"], str(disk / "run"), "Read-only", "another place")
    assert content(disk / "run") == before


def test_no_place_for_decoded_images(home: Home, refuses: Refusals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(home.file))
    refuses(sweep, [home.file, "--run-dir", home.run], f"{home.file}: no folder for decoded", "GPAF_BENCH_CACHE")


def test_full_disk_loses_nothing(
    home: Home, finished_home: Home, refuses: Refusals, small_disk: Callable[..., Path]
) -> None:
    elsewhere = RunDirectory(home.path / "elsewhere")
    elsewhere.create()
    copy = take_snapshot(elsewhere, [])
    code = sum(path.stat().st_blocks * 512 for path in copy.rglob("*"))
    run = small_disk("size=16k") / "run"
    refuses(sweep, [home.file, "--run-dir", run], str(run), "no space left on the disk", "same command again")
    small_disk(f"size={code + 80 * 1024}")
    training = home.sweep_with_workers(run, expect=2)
    one_error(training.returncode, training.stderr, str(run), "no space left on the disk", "same command again")
    small_disk(f"size={code + 8 * 1024**2}")
    home.sweep(run=run)
    assert run_differences(RunDirectory(run), RunDirectory(finished_home.run)) == []
    assert (run / "report" / "report.html").stat().st_size > 0


def test_exit_code_arrives_where_nothing_can_be_said(tmp_path: Path) -> None:
    # A worker's words go into its log, which lies on the disk that is full.
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "analysis.report", str(tmp_path / "none")]
        assert subprocess.run(command, cwd=ROOT, env=environment(tmp_path), stdout=full, stderr=full).returncode == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b"\xff\xfe", "half"], ids=repr)
@pytest.mark.parametrize("name", ["trial.json", "result.json"])
def test_torn_trial(name: str, damage: bytes | str, home: Home, refuses: Refusals) -> None:
    path = home.confirm_trial / name
    path.write_bytes(damage if isinstance(damage, bytes) else path.read_bytes()[: path.stat().st_size // 2])
    before = content(home.run)
    refuses(sweep, [home.file, "--run-dir", home.run], f"{path}: torn or edited", "--repair")
    assert content(home.run) == before


@pytest.mark.parametrize(
    "name",
    [
        "spec.json",
        "environment.json",
        "cards/zero_one.json",
        "studies/my_probe@zero_one/study.json",
        "studies/my_probe@zero_one/chosen.json",
        "studies/my_probe@zero_one/search/0000-s0/curve.jsonl",
        "studies/my_probe@zero_one/search/0000-s0/trial.json",
    ],
)
def test_torn_file_is_refused_by_sweep_and_report(name: str, home: Home, refuses: Refusals) -> None:
    truncate(home.run / name)
    before = content(home.run)
    refuses(sweep, [home.file, "--run-dir", home.run], str(home.run / name).removesuffix(".jsonl"), "--repair")
    if name.endswith(("curve.jsonl", "trial.json")):
        return  # the result of a finished trial says all that a report needs
    refuses(report, [home.run], str(home.run / name), "--repair")
    assert content(home.run) == before


def test_repair_gives_the_results_of_an_undisturbed_run(home: Home, finished_home: Home, refuses: Refusals) -> None:
    """Everything that can be torn at once, with a trial stopped in its middle on top."""
    stopped = home.confirm_trial
    (stopped / "result.json").unlink()
    torch.save({"format": 1, "progress": list(range(1000))}, stopped / "checkpoint.pt")
    truncate(stopped / "checkpoint.pt")
    refuses(sweep, [home.file, "--run-dir", home.run], f"{stopped / 'checkpoint.pt'}: torn", "--repair")
    damaged = [
        stopped / "checkpoint.pt",
        home.search_trial / "trial.json",
        *(home.study / name for name in ("chosen.json", "study.json")),
        *(home.run / name for name in ("spec.json", "environment.json", "cards/zero_one.json")),
    ]
    for path in damaged[1:]:
        truncate(path)
    kept = {path: path.read_bytes() for path in damaged} | {
        path: path.read_bytes() for path in [home.search_trial / "result.json"]
    }
    done = home.sweep("--repair", report=False)
    for path, old in kept.items():
        aside = home.run / "set_aside" / f"{path.relative_to(home.run)}.1"
        assert f"set aside: {aside}" in done.stderr and aside.read_bytes() == old
    assert run_differences(RunDirectory(home.run), RunDirectory(finished_home.run)) == []


def test_repair_of_predictions_result_and_curve(home: Home, finished_home: Home, refuses: Refusals) -> None:
    truncate(home.confirm_trial / "predictions.parquet")
    refuses(sweep, [home.file, "--run-dir", home.run], "predictions.parquet: torn", "--repair")
    truncate(home.search_trial / "result.json")
    truncate(home.search_trial / "curve.jsonl")
    home.sweep("--repair", report=False)
    assert run_differences(RunDirectory(home.run), RunDirectory(finished_home.run)) == []
    aside = sorted(path.name for path in (home.run / "set_aside").rglob("*") if path.is_file())
    assert aside == [
        "curve.jsonl.1", "curve.jsonl.1", "predictions.parquet.1", "result.json.1", "result.json.1"
    ]  # fmt: skip


def test_checkpoint_with_changed_bytes_is_found_by_repair(home: Home, refuses: Refusals) -> None:
    (home.confirm_trial / "result.json").unlink()
    path = home.confirm_trial / "checkpoint.pt"
    torch.save({"format": 1, "tensors": torch.zeros(10_000)}, path)
    spoilt = bytearray(path.read_bytes())
    spoilt[len(spoilt) // 2] ^= 0xFF
    path.write_bytes(spoilt)
    home.file.write_text(home.file.read_text().replace("trials: 1", "trials: 0"))
    refuses(sweep, [home.file, "--run-dir", home.run, "--repair"], "search.trials")
    assert path.exists(), "nothing is fixed for a request that is wrong"
    (stopped,) = RunDirectory(home.run).study("my_probe@zero_one").trials("confirm")
    assert [finding.place for finding in examine(stopped, thorough=True)] == [path]


def test_lost_description_does_not_hide_that_a_study_is_stale(home: Home, refuses: Refusals) -> None:
    (home.study / "study.json").unlink()
    home.file.write_text(home.file.read_text().replace("epochs: 1", "epochs: 2"))
    before = content(home.run)
    refuses(sweep, [home.file, "--run-dir", home.run], "1 stale study", "--stale rerun")
    assert content(home.run) == before


def test_stale_study_is_named_and_kept(home: Home) -> None:
    before = content(home.study)
    home.plugin.write_text(home.plugin.read_text().replace("Float(1e-3, 1e-4, 1e-1", "Float(2e-3, 1e-4, 1e-1"))
    stopped = home.sweep(expect=2)
    one_error(stopped.returncode, stopped.stderr, f"{home.run}: 1 stale study", "--run-dir", "--stale rerun")
    assert "stale: my_probe@zero_one: " in stopped.stderr
    assert "method.code: changed" in stopped.stderr and "0.001 → 0.002" in stopped.stderr
    assert content(home.study) == before
    home.sweep("--stale", "rerun", report=False)
    assert content(home.run / "stale" / "my_probe@zero_one.1") == before
    (renewed,) = RunDirectory(home.run).study("my_probe@zero_one").trials("search")
    assert renewed.result()["hyperparameters"]["head_lr"] == 0.002


def test_budget_below_what_ran(home: Home, refuses: Refusals) -> None:
    study = home.study / "study.json"
    study.write_text(study.read_text().replace('"search_slots": 1', '"search_slots": 3'))
    refuses(sweep, [home.file, "--run-dir", home.run], "search.trials: 1 is below the 3", "can only grow", "--run-dir")


def test_broken_plugin_stops_only_the_sweeps_that_name_it(
    home: Home, refuses: Refusals, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = home.plugin.with_name("halfway.py")
    broken.write_text("class Halfway(:\n")
    assert sweep([str(home.file), "--dry-run"]) == 0
    assert plugins(["--plugins", str(broken.parent)]) == 1
    assert "line 1: SyntaxError: invalid syntax" in capsys.readouterr().out
    home.file.write_text(home.file.read_text().replace(PROBE, "methods: [my_probe, halfway]"))
    refuses(sweep, [home.file], ":6: methods.halfway", "'halfway' is broken", f"{broken}: line 1: SyntaxError")


def test_truncated_weights(home: Home, refuses: Refusals) -> None:
    weights = home.path / "w.safetensors"
    weights.write_bytes(b"\x10" + bytes(7) + b'{"a"')
    home.file.write_text(home.file.read_text().replace("weights: null", "weights: w.safetensors"))
    refuses(sweep, [home.file, "--run-dir", home.path / "new"], f"{weights}: not a readable", "write it again")


def test_weights_without_a_network(home: Home, refuses: Refusals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(home.path / "torch"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    text = home.file.read_text().replace("resnet20, weights: null", "resnet18, weights: IMAGENET1K_V1")
    home.file.write_text(text)
    place = home.path / "torch" / "hub" / "checkpoints"
    words = ("backbone.weights: cannot download IMAGENET1K_V1", "put resnet18-", f"into {place}")
    refuses(sweep, [home.file, "--run-dir", home.path / "new"], *words)


TRIAL = [
    *("--method", "linear_probe", "--dataset", "digits", "--set", "datasets.digits.classes=[0, 1]"),
    *("--set", "train.image_size=8", "--set", "train.epochs=1", "--set", "backbone.name=resnet20"),
]


def test_trial_is_refused_before_it_begins(home: Home, refuses: Refusals) -> None:
    out = home.path / "trial"
    refuses(trial, ["--method", "lorac", "--dataset", "digits"], "--method: no method", "did you mean 'lora_c'")
    refuses(trial, ["--method", "lora_c", "--dataset", "digit"], "--dataset: no dataset", "did you mean 'digits'")
    refuses(trial, [*TRIAL, "--seed", "-1"], "--seed -1: must be 0 or more")
    refuses(trial, [*TRIAL, "--out", out, "--device", "gpu"], "--device gpu: cannot be used here", "known: cpu")
    refuses(trial, [*TRIAL, "--out", out, "--set", "train.epoch=1"], "--set train.epoch", "did you mean 'epochs'")
    refuses(trial, [*TRIAL, "--out", out, "--set", "backbone.name=resnet19"], "--set backbone.name", "resnet18")
    assert not out.exists()
    refuses(trial, [*TRIAL, "--out", home.file], "tiny.yaml: not a folder", "--out")
    refuses(trial, [*TRIAL, "--out", home.plugin.parent], "holds other files and no trial", "--out")


def test_trial_in_a_folder_that_holds_another_or_a_damaged_one(home: Home, refuses: Refusals) -> None:
    out = home.path / "trial"
    assert trial([*TRIAL, "--out", str(out)]) == 0
    before = content(out)
    refuses(trial, [*TRIAL, "--out", out, "--seed", "3"], f"{out}: holds another trial", "choose another --out")
    assert content(out) == before
    for name, torn in (("result.json", b"{"), ("checkpoint.pt", b"PK"), ("trial.json", b"")):
        # An unfinished trial opens its checkpoint, a finished one does not.
        (out / "result.json").unlink(missing_ok=True)
        (out / name).write_bytes(torn)
        refuses(trial, [*TRIAL, "--out", out], f"{out / name}: torn or edited", f"delete {out}")


def test_worker_refuses_an_unknown_device_and_changed_code(home: Home, finished_home: Home) -> None:
    spec = home.run / "spec.json"
    spec.write_text(spec.read_text().replace(str(finished_home.path), str(home.path)))
    home.plugin.write_text(home.plugin.read_text().replace("Float(1e-3, 1e-4, 1e-1", "Float(2e-3, 1e-4, 1e-1"))
    for extra, words in (
        (["--device", "gpu"], ("--device gpu", "known: cpu")),
        ([], ("my_probe@zero_one", "since the sweep was planned", "sweep command again")),
    ):
        # In a process of its own: a worker takes over what signals do.
        done = subprocess.run(
            warm([sys.executable, "-m", "harness.work.worker", str(home.run), *extra]),
            env=environment(home.cache), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        one_error(done.returncode, done.stderr, *words)
