"""``~`` is the home folder wherever a user writes a path: in options, variables and files."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tiny import ROOT, tiny_sweep

from analysis import trace
from harness import trial
from harness.core.arguments import user_path
from harness.core.errors import RequestError
from harness.data import __main__ as data
from harness.data.cache import default_cache_root, default_data_root
from harness.doctor import __main__ as doctor
from harness.export import __main__ as export
from harness.export import archive
from harness.plan import __main__ as plan
from harness.proof import reproduce
from harness.ray import driver
from harness.ray import node as ray_node
from harness.status import __main__ as status
from harness.studies.loading import load_sweep
from harness.sweep import __main__ as sweep
from harness.work import worker

INTERNAL = {Path(module.__file__).relative_to(ROOT).as_posix() for module in (worker, driver, ray_node)}
"""What the program itself starts, with absolute paths."""


@pytest.fixture(autouse=True)
def home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "me"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.chdir(tmp_path)
    return path


@pytest.mark.parametrize("command", [sweep, plan, trial, data, status, doctor, export, archive, trace, reproduce])
def test_every_path_option_expands_it(command: object, home_folder: Path) -> None:
    parser: argparse.ArgumentParser = command.parser()  # type: ignore[attr-defined]
    named = [action for action in parser._actions if action.metavar in ("RUN", "DIR", "FILE", "DEST")]
    assert named
    for action in named:
        convert: Callable[[str], Path] = action.type  # type: ignore[assignment]
        assert convert("~/a b") == home_folder / "a b", action.option_strings


@pytest.mark.parametrize(
    ("variable", "root"), [("GPAF_BENCH_CACHE", default_cache_root), ("GPAF_BENCH_DATA", default_data_root)]
)
def test_variables_expand_it(
    variable: str, root: Callable[[], Path], home_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "~/store")
    assert root() == home_folder / "store"


def test_paths_of_a_sweep_file_expand_it(tmp_path: Path, home_folder: Path) -> None:
    (home_folder / "plugins").mkdir()
    (home_folder / "earlier").mkdir()
    (home_folder / "net.safetensors").write_bytes(b"")
    (home_folder / "site.yaml").write_text("")
    changes = {
        "plugins": ["~/plugins"],
        "backbone": {"name": "resnet20", "weights": "~/net.safetensors"},
        "launch": {"kind": "slurm", "profile": "~/site.yaml"},
        "search": {"trials": 2, "seeds": [0], "warm_start": "~/earlier"},
    }
    spec = load_sweep(tiny_sweep(tmp_path, **changes)).spec
    found = [*spec.plugins, spec.backbone.weights, spec.launch.profile, spec.search.warm_start]
    assert found == [str(home_folder / name) for name in ("plugins", "net.safetensors", "site.yaml", "earlier")]


def test_a_home_that_nobody_has_is_a_name_in_a_line(tmp_path: Path) -> None:
    assert user_path("~no-such-user-here/x") == Path("~no-such-user-here/x")
    assert user_path("./~") == Path("~")
    file = tiny_sweep(tmp_path)
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "plugins": ["~no-such-user-here/x"]}))
    with pytest.raises(RequestError, match="no such folder"):
        load_sweep(file)


def test_no_option_takes_a_path_literally() -> None:
    literal = set()
    for path in (path for name in ("harness", "analysis", "slurm") for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "type" and ast.unparse(node.value) == "Path":
                literal.add(path.relative_to(ROOT).as_posix())
    assert literal == INTERNAL
