"""Models that are kept and scored later: nothing is trained, and the logits are those of the trial, bit for bit."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jobs import CPU, Digits, job, run
from sites import sites_sweep
from tiny import environment, run_inline

from harness.core.errors import RequestError
from harness.core.lease import claim
from harness.evaluate.__main__ import main
from harness.evaluate.processes import devices
from harness.evaluations.corruptions import Corruptions
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder
from harness.train.evaluations import GivenEvaluation
from harness.train.job import Control, Interrupted
from harness.train.kept import score_kept
from harness.train.run import run_trial

CORRUPTIONS = {"corruptions": ["gaussian_noise", "pixelate"], "severities": [3]}
CONFIRM = {"seeds": 2, "keep": "chosen", "repeat": True}
GIVEN = GivenEvaluation("corruptions", Corruptions(Corruptions.Options.model_validate_json(
    '{"corruptions": ["gaussian_noise", "characters"], "severities": [1, 4]}')), "f" * 64)  # fmt: skip


@pytest.mark.parametrize("method", [
    "linear_probe", "bn_affine", "lora_c", "gpaf", "metalr", "conv_adapter", "wise_ft", "full_finetune", "ssf",
])  # fmt: skip
def test_a_kept_model_gives_the_logits_of_its_trial(digits: Digits, tmp_path: Path, method: str) -> None:
    made = job(digits, method, train={"epochs": 2}, evaluations=(GIVEN,), keep=True)
    folder, result = run(made, tmp_path / "trial")
    assert result["status"] == "done", result
    within = folder.evaluation("corruptions")
    again = TrialFolder(Path(shutil.copytree(folder.path, tmp_path / "again")), "confirm")
    again.evaluation_path("corruptions").unlink()
    scored = score_kept(made, again, CPU, Control())
    assert scored.part["evaluations"] == result["evaluations"]
    assert again.evaluation("corruptions").equals(within)


class Stopping(Corruptions):
    """Corruptions that are stopped, or fail, at their third set."""

    name = "stopping"

    def __init__(self, end: Any, of: Corruptions) -> None:
        super().__init__(of.options)
        self._end = end

    def sets(self, opened: Any) -> Any:
        for place, one in enumerate(super().sets(opened)):
            if place == 2:
                self._end()
            yield one


@pytest.mark.parametrize("killed", [True, False])
def test_a_trial_that_ends_within_an_evaluation_trains_nothing_again(
    digits: Digits, tmp_path: Path, killed: bool
) -> None:
    made = job(digits, "bn_affine", train={"epochs": 2}, evaluations=(GIVEN,))
    whole, wanted = run(made, tmp_path / "whole")
    control = Control()

    def end() -> None:
        if killed:
            raise KeyboardInterrupt
        control.stop.set()

    broken = replace(made, evaluations=(replace(GIVEN, evaluation=Stopping(end, GIVEN.evaluation)),))  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt if killed else Interrupted):
        run(broken, tmp_path / "broken", control)
    folder = TrialFolder(tmp_path / "broken", "confirm")
    assert not folder.finished and folder.evaluation_names() == []
    steps: list[Any] = []
    result = run_trial(made, folder.request(), folder, CPU, Control(progress=steps.append))
    assert not [facts for facts in steps if "step" in facts]
    assert result["evaluations"] == wanted["evaluations"] and result["metrics"] == wanted["metrics"]
    assert folder.evaluation_path("corruptions").read_bytes() == whole.evaluation_path("corruptions").read_bytes()
    assert folder.predictions_path.read_bytes() == whole.predictions_path.read_bytes()
    assert folder.curve_path.read_bytes() == whole.curve_path.read_bytes()


@pytest.fixture
def kept(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    for name, value in environment(shared_cache).items():
        monkeypatch.setenv(name, value)
    file = sites_sweep(
        tmp_path, confirm={"seeds": 2, "keep": "chosen", "repeat": True}, methods=["linear_probe", "gpaf"]
    )
    run_inline(file, tmp_path / "run", shared_cache, report=False)
    return RunDirectory(tmp_path / "run")


def confirmed(run: RunDirectory) -> list[TrialFolder]:
    return [trial for study in run.studies() for trial in study.trials("confirm")]


def snapshot(run: RunDirectory) -> dict[str, bytes]:
    return {
        str(path.relative_to(run.path)): path.read_bytes() for path in sorted(run.path.rglob("*")) if path.is_file()
    }


def test_an_evaluation_added_to_a_finished_run_trains_nothing(
    kept: RunDirectory, shared_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {trial.path: trial.result() for trial in confirmed(kept)}
    command = [
        str(kept.path),
        "--add",
        "{corruptions: [gaussian_noise, pixelate], severities: [3]}",
        "--code",
        "--device",
        "cpu",
    ]
    assert main([*command, "--dry-run"]) == 0
    assert "evaluation corruptions: 4 finished confirm trials lack it" in capsys.readouterr().out
    assert {trial.path: trial.result() for trial in confirmed(kept)} == before
    assert main(command) == 0
    assert "4 models scored" in capsys.readouterr().out
    for trial in confirmed(kept):
        result, old = trial.result(), before[trial.path]
        assert [one["evaluation"] for one in result["evaluations"]] == ["in_distribution", "corruptions", "corruptions"]
        same = {key: value for key, value in result.items() if key not in ("evaluations", "files")}
        assert same == {key: value for key, value in old.items() if key not in ("evaluations", "files")}
        assert {*trial.evaluation("corruptions")["set"]} == {"gaussian_noise", "pixelate"}
        assert "differ from the recorded ones by at most 0\n" in trial.log_path.read_text()
    assert [one["name"] for one in kept.spec()["evaluate"]] == ["corruptions"]
    (amendment,) = kept.amendments()
    assert any("evaluate" in line for line in amendment["changed"])
    assert main([str(kept.path)]) == 2 and "whose code would run here; add --code" in capsys.readouterr().err
    # Once more changes nothing, and a sweep that knows of it has nothing to do.
    state = snapshot(kept)
    assert main([str(kept.path), "--code", "--device", "cpu"]) == 0
    assert "no model was scored" in capsys.readouterr().out and snapshot(kept) == state
    file = sites_sweep(kept.path.parent, confirm=CONFIRM, methods=["linear_probe", "gpaf"], evaluate=[CORRUPTIONS])
    done = run_inline(file, kept.path, shared_cache, report=False)
    assert "lack it" not in done.stderr
    assert {path: one for path, one in snapshot(kept).items() if "/confirm/" in path} == {
        path: one for path, one in state.items() if "/confirm/" in path
    }


def test_processes_share_the_models_and_leave_to_others_what_these_have(
    kept: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    held, *rest = confirmed(kept)
    lease = claim(held.evaluations_folder())
    assert lease is not None
    command = [str(kept.path), "--add", "{corruptions: [pixelate], severities: [3]}", "--code", "--device", "cpu"]
    assert main([*command, "--workers", "2"]) == 1
    said = capsys.readouterr().out
    assert "3 models scored" in said and "1 models are not scored, another process has or had them" in said
    assert "corruptions" not in held.evaluation_names()
    for trial in rest:
        assert trial.log_path.read_text().count("evaluate: evaluation corruptions: ") == 1
        assert "differ from the recorded ones by at most 0\n" in trial.log_path.read_text()
    lease.release("finished")
    assert main([str(kept.path), "--code", "--device", "cpu"]) == 0
    assert "corruptions" in held.evaluation_names()


def test_processes_take_every_gpu_or_part_of_one_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert devices(None, 3) == ["cuda:0", "cuda:1", "cuda:0"]
    assert devices("cuda:1", 2) == ["cuda:1"] * 2
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert devices(None, 2) == ["cpu"] * 2
    # Of several parts CUDA shows a process one.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a,MIG-b")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert devices(None, 3) == ["MIG-a", "MIG-b", "MIG-a"]


def test_a_sweep_says_what_would_be_trained_where_nothing_was_kept(kept: RunDirectory, shared_cache: Path) -> None:
    lost = confirmed(kept)[0]
    lost.trained_path.unlink()
    file = sites_sweep(kept.path.parent, confirm=CONFIRM, methods=["linear_probe", "gpaf"], evaluate=[CORRUPTIONS])
    before = {trial.path: trial.result() for trial in confirmed(kept)}
    done = run_inline(file, kept.path, shared_cache, report=False)
    said = " ".join(done.stderr.split())
    assert "evaluation corruptions: 4 finished confirm trials lack it; `python -m harness.evaluate" in said
    assert "scores the 3 whose model was kept and trains nothing; 1 kept no model" in said and lost.name in said
    assert {trial.path: trial.result() for trial in confirmed(kept)} == before
    assert main([str(kept.path), "--code", "--device", "cpu"]) == 1
    assert sum("corruptions" in trial.evaluation_names() for trial in confirmed(kept)) == 3


def test_a_damaged_evaluation_of_a_kept_model_is_scored_again_and_nothing_is_trained(
    kept: RunDirectory, shared_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.doctor.__main__ import main as doctor

    trial = confirmed(kept)[0]
    before, whole = trial.result(), trial.evaluation("in_distribution")
    trial.evaluation_path("in_distribution").write_bytes(b"PAR1 torn")
    assert doctor([str(kept.path), "--fix"]) == 0
    assert trial.finished and trial.evaluation_names() == []
    assert main([str(kept.path), "--code", "--device", "cpu"]) == 0
    assert "1 models scored" in capsys.readouterr().out
    assert trial.evaluation("in_distribution").equals(whole) and trial.result() == before
    trial.trained_path.write_bytes(b"torn")
    assert doctor([str(kept.path), "--fix"]) == 0
    assert trial.finished and not trial.trained_path.exists() and trial.result() == before


def test_a_model_that_is_not_the_trials_is_refused(kept: RunDirectory) -> None:
    first, second = confirmed(kept)[:2]
    shutil.copy(first.trained_path, second.trained_path)
    command = [str(kept.path), "--add", "corruptions: mri", "--code", "--device", "cpu"]
    assert main(command) == 2


@pytest.mark.parametrize(("entry", "what"), [
    ("corruptions: mir", "evaluate.0.corruptions: 'mir' is unknown; did you mean 'mri'?"),
    ("nothing.yaml", "nothing.yaml: no such file"),
    ("[[", "--add"),
])  # fmt: skip
def test_what_cannot_be_added_takes_one_line(
    kept: RunDirectory, entry: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    state = snapshot(kept)
    assert main([str(kept.path), "--code", "--add", entry]) == 2
    said = capsys.readouterr().err
    assert what in said and said.count("\n") == 1 and snapshot(kept) == state


def test_a_search_trial_that_asks_for_evaluations_is_refused(digits: Digits, tmp_path: Path) -> None:
    from harness.train.evaluations import QuarantineError, score

    made = job(digits, "linear_probe", stage="search", evaluations=(GIVEN,))
    folder, result = run(made, tmp_path / "trial")
    assert "evaluations" not in result and folder.evaluation_names() == []
    with pytest.raises(QuarantineError):
        score(made, [GIVEN], None, None, None, folder, Control())  # type: ignore[arg-type]
    with pytest.raises((RequestError, FileNotFoundError)):
        folder.evaluation("corruptions")
