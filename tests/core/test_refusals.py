"""A request that is refused leaves nothing behind, whatever it is refused for."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from home import Home, content, one_error
from tiny import run_inline, run_sweep, tiny_sweep

from harness.core.errors import RequestError
from harness.core.refusals import leaving_nothing
from harness.data.__main__ import main as data
from harness.export.__main__ import main as export
from harness.export.archive import main as archive
from harness.proof.reproduce import main as reproduce
from harness.sweep.__main__ import main as sweep

METHOD = """
from harness.method import Method

class Picky(Method):
    \"\"\"Acts on no network.\"\"\"

    name = "picky"
    space = {}

    def adapt(self, model, hp):
        raise ValueError("needs a transformer")
"""
IDLE = """
from harness.method import Method

class Idle(Method):
    \"\"\"Trains nothing.\"\"\"

    name = "idle"
    space = {}

    def adapt(self, model, hp):
        model.requires_grad_(False)

    def param_groups(self, model, hp):
        return []
"""
REFUSED: dict[str, dict[str, Any]] = {
    "missing archive": {"datasets": ["brain_mri"]},
    "leaking split": {"datasets": [{"mine": {"dataset": "image_folder", "path": "mine"}}], "split": {"kind": "random"}},
    "weights of another network": {"backbone": {"name": "resnet20", "weights": "other.safetensors"}},
    "weights that are none": {"backbone": {"name": "resnet20", "weights": "broken.safetensors"}},
    "a method that refuses the network": {"plugins": ["plugins"], "methods": ["picky"]},
    "a method that trains nothing": {"plugins": ["plugins"], "methods": ["idle"]},
    "a split that nobody published": {"split": {"kind": "official"}},
    "no Slurm": {"launch": {"kind": "slurm", "profile": "site.yaml"}},
    "an earlier run that is none": {"search": {"trials": 2, "seeds": [0], "warm_start": "nowhere"}},
}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the refused sweeps name; commands are given in an empty one beside it."""
    folder, here = tmp_path / "asked", tmp_path / "here"
    (folder / "plugins").mkdir(parents=True)
    here.mkdir()
    (folder / "plugins" / "picky.py").write_text(METHOD)
    (folder / "plugins" / "idle.py").write_text(IDLE)
    (folder / "broken.safetensors").write_bytes(b"no such file")
    (folder / "site.yaml").write_text("partition: gpu\ntime: 60\n")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PATH", str(here))
    return folder


def write_images(root: Path) -> None:
    from PIL import Image

    for number in range(40):
        for name in ("a", "b"):
            path = root / "mine" / name / f"{number % 4}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number % 4 * 9, 3 if name == "a" else 200, 0)).save(path)


def write_other_network(path: Path) -> None:
    from harness.networks.backbones import build_model, save_model

    model, _ = build_model("resnet18", None, classes=2, seed=0)
    save_model(model, path, {})


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_sweep_was_never_begun(name: str, asked: Path, shared_cache: Path, capsys: Any) -> None:
    if name == "leaking split":
        write_images(asked)
    if name == "weights of another network":
        write_other_network(asked / "other.safetensors")
    file = tiny_sweep(asked, **REFUSED[name])
    own = [] if name == "no Slurm" else ["--launcher", "inline"]
    for run in ("runs/tiny", "a/b/c"):
        with mock.patch.dict("os.environ", GPAF_BENCH_CACHE=str(shared_cache), GPAF_BENCH_DATA=str(asked)):
            code = sweep([str(file), "--run-dir", run, *own])
        one_error(code, capsys.readouterr().err)
        assert list(Path().iterdir()) == []


def test_workers_that_were_started_leave_nothing_either(asked: Path, shared_cache: Path, tmp_path: Path) -> None:
    file = tiny_sweep(asked, **REFUSED["a method that refuses the network"])
    run_sweep(file, tmp_path / "new" / "run", shared_cache, expect=2)
    assert not (tmp_path / "new").exists()


def test_an_empty_folder_stays_an_empty_folder(asked: Path, shared_cache: Path) -> None:
    Path("mine").mkdir()
    run_inline(tiny_sweep(asked, **REFUSED["missing archive"]), Path("mine"), shared_cache, expect=2)
    assert list(Path("mine").iterdir()) == []


def test_a_run_that_was_begun_stays_as_it_is(home: Home) -> None:
    before = content(home.run)
    home.sweep("--set", "datasets=[brain_mri]", expect=2)
    assert content(home.run) == before


def test_what_another_process_began_is_kept(tmp_path: Path) -> None:
    with pytest.raises(RequestError), leaving_nothing(tmp_path / "a" / "b", keep=lambda: True):
        (tmp_path / "a" / "b").mkdir(parents=True)
        raise RequestError("no")
    assert (tmp_path / "a" / "b").is_dir()


def test_commands_about_a_run_leave_nothing(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    (home.search_trial / "result.json").write_text("torn")
    (home.run / "spec.json").write_text("torn")
    for refused in (
        lambda: export([str(home.run), "--to", "optuna", "new/deep/study.db"]),
        lambda: export([str(home.run), "--to", "csv", "new/deep/trials.csv"]),
        lambda: archive([str(home.run), "--out", "new/deep/run.rar"]),
        lambda: reproduce([str(home.run), "my_probe@zero_one", "--code", "--keep", "new/deep"]),
        lambda: data(["brain_mri", "--out", "new/deep"]),
    ):
        one_error(refused(), capsys.readouterr().err)
        assert not Path("new").exists()
