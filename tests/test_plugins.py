"""Plugins are found by path, and one that fails stops no other."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest
from tiny import ROOT

import harness.space
from harness import plugins
from harness.core.errors import RequestError
from harness.core.identity import code_hash
from harness.dataset import Dataset
from harness.method import Method
from harness.plugins import Catalogue, discover, main


def method(name: str, extra: str = "") -> str:
    return f'''
from harness.method import Method
{extra}

class Probe(Method):
    """Probe of [{name}].

    More.
    """

    name = "{name}"
    space = {{}}

    def adapt(self, model, hp):
        model.backbone.eval()
'''


DATASET = '''
from harness.dataset import Dataset


class Toy(Dataset):
    """A toy."""

    name = "my_toy"
    title = "Toy"
    modality = "none"
    licence = "CC0"
    citation = "none"
    classes = ("a", "b")
    files = ()

    def records(self, root):
        return []
'''


def folder(path: Path, **sources: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for stem, source in sources.items():
        (path / f"{stem}.py").write_text(source)
    return path


def broken(catalogue: Catalogue, place: Path) -> dict[str, str]:
    return {one.name: one.error for one in catalogue.broken if one.path.is_relative_to(place)}


def test_methods_and_datasets_of_a_folder_are_found(tmp_path: Path) -> None:
    mine = folder(tmp_path / "mine", probe=method("my_probe") + "\n\nAlias = Probe\n", toys=DATASET, _private="1 / 0\n")
    catalogue = discover([mine])
    found = catalogue.find(Method, "my_probe", "here")
    assert (found.cls.kind, found.path, found.summary) == ("method", mine / "probe.py", "Probe of [my_probe].")
    assert found.code == code_hash(mine / "probe.py")
    assert catalogue.find(Dataset, "my_toy", "here").cls().classes == ("a", "b")
    assert broken(catalogue, tmp_path) == {}


def test_a_failing_file_is_listed_with_its_line_and_stops_no_other(tmp_path: Path) -> None:
    mine = folder(
        tmp_path,
        good=method("good_probe"),
        syntax="x = 1\ndef f(:\n",
        absent="import os\nimport nowhere_to_be_found\n",
        raises="def f():\n    raise ValueError('two\\nlines')\n\n\nf()\n",
        leaves="import sys\nsys.exit('bye')\n",
        helper_fails="from . import _bad\n",
        _bad="1 / 0\n",
        moved="from harness.space import Float\n",
        gone="import harness.backbones\n",
        nothing="x = 1\n",
        nameless=method("x").replace('name = "x"', "title = 'x'"),
        misnamed=method("a b"),
        silent=method("silent").replace('"""Probe of [silent].\n\n    More.\n    """', ""),
        blank=method("blank").replace("Probe of [blank].\n\n    More.\n", ""),
        spaceless=method("y").replace("space = {}", "pass"),
        untitled=DATASET.replace('title = "Toy"', "pass").replace('licence = "CC0"', "pass"),
    )
    (mine / "with-dash.py").write_text(method("dash"))
    catalogue = discover([mine])
    assert "good_probe" in catalogue.all(Method)
    errors = broken(catalogue, mine)
    assert all("\n" not in error for error in errors.values())
    helper = f"defines no plugin with a name ({', '.join(plugins.KINDS)}); begin a helper file's name with '_'"
    space = inspect.getfile(harness.space)
    undocumented = (
        "Probe has no docstring; write its source, equations and what trains, its first line is in lists and reports"
    )
    assert errors == {
        "syntax": "line 2: SyntaxError: invalid syntax",
        "absent": "line 2: ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        "raises": "line 2: ValueError: two lines",
        "leaves": "line 2: SystemExit: bye",
        "helper_fails": "line 1: ZeroDivisionError: division by zero",
        "moved": "line 1: ImportError: cannot import name 'Float' from 'harness.space' "
        f"({space}); import what a plugin needs from harness.api",
        "gone": "line 1: ModuleNotFoundError: No module named 'harness.backbones'; "
        "import what a plugin needs from harness.api",
        "nothing": f"TypeError: {helper}",
        "nameless": f"TypeError: {helper}",
        "misnamed": "TypeError: Probe.name is 'a b'; use letters, digits, '.', '_' and '-'",
        "silent": f"TypeError: {undocumented}",
        "blank": f"TypeError: {undocumented}",
        "spaceless": "TypeError: Probe lacks space",
        "untitled": "TypeError: Toy lacks title and licence",
        "with-dash": "ImportError: the file's name must be a Python identifier",
    }
    assert "_bad.py" in next(one.traceback for one in catalogue.broken if one.name == "helper_fails")


def test_two_plugins_of_one_name_are_both_refused(tmp_path: Path) -> None:
    first = folder(tmp_path / "a", one=method("same"), other=method("other"))
    second = folder(tmp_path / "b", two=method("same"))
    catalogue = discover([first, second, first])
    assert "same" not in catalogue.all(Method)
    assert "other" in catalogue.all(Method)
    errors = {one.path: one.error for one in catalogue.broken if one.name == "same"}
    assert errors == {
        first / "one.py": f"the method 'same' is also defined in {second / 'two.py'}; rename one",
        second / "two.py": f"the method 'same' is also defined in {first / 'one.py'}; rename one",
    }
    with pytest.raises(
        RequestError, match=r"x.yaml:3: methods.same: the plugin 'same' is broken: .*one.py: the method"
    ):
        catalogue.find(Method, "same", "x.yaml:3: methods.same")


def test_a_method_and_a_dataset_may_share_a_name(tmp_path: Path) -> None:
    catalogue = discover([folder(tmp_path, both=method("my_toy") + DATASET)])
    assert catalogue.find(Method, "my_toy", "").cls.__name__ == "Probe"
    assert catalogue.find(Dataset, "my_toy", "").cls.__name__ == "Toy"


def test_relative_imports_of_helpers_work_and_count_as_code(tmp_path: Path) -> None:
    base = "from harness.method import Method\n\n\nclass Base(Method):\n    name = 'base'\n    space = {}\n"
    child = (
        "from ._base import Base\n\n\nclass Child(Base):\n    '''A child.'''\n\n    name = 'child'\n\n"
        "    def adapt(self, model, hp):\n        model.eval()\n"
    )
    mine = folder(tmp_path, child=child, _base=base)
    catalogue = discover([mine])
    assert "base" not in catalogue.all(Method)
    before = catalogue.find(Method, "child", "").code
    (mine / "_base.py").write_text(base + "x = 1\n")
    assert code_hash(mine / "child.py") != before


def test_nothing_becomes_importable_and_a_folder_is_loaded_once(tmp_path: Path) -> None:
    mine = folder(tmp_path / "datasets", probe=method("once", extra="import json as datasets"), toys=DATASET)
    path_before = list(sys.path)
    first = discover([mine]).find(Method, "once", "").cls
    assert discover([tmp_path / "datasets" / ".." / "datasets"]).find(Method, "once", "").cls is first
    assert sys.path == path_before
    assert first.__module__.startswith("_gpaf_plugins_")
    assert not {"datasets", "toys", "probe"} & set(sys.modules)


def test_a_folder_called_datasets_shadows_no_package(tmp_path: Path) -> None:
    """An installed package ``datasets`` stays what ``import datasets`` finds, in a plugin too."""
    folder(tmp_path / "installed" / "datasets", __init__="REAL = True\n")
    mine = folder(tmp_path / "datasets", probe=method("shadow", extra="import datasets\nassert datasets.REAL"))
    code = (
        "import sys; from pathlib import Path; from harness.plugins import discover\n"
        f"found = discover([Path({str(mine)!r})])\n"
        "import datasets; from harness.method import Method\n"
        "assert datasets.REAL and 'shadow' in found.all(Method), found.broken\n"
    )
    environment = {"PYTHONPATH": f"{tmp_path / 'installed'}:{Path(__file__).parents[1]}"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)


def test_importing_the_module_is_light() -> None:
    code = "import sys, harness.plugins; assert not {'torch', 'optuna', 'polars', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_names_are_suggested(tmp_path: Path) -> None:
    catalogue = discover([folder(tmp_path, probe=method("my_probe"), toys=DATASET, torn="1 / 0\n")])
    with pytest.raises(RequestError, match=r"^here: no method is called 'my_prob'; did you mean 'my_probe'\?$"):
        catalogue.find(Method, "my_prob", "here")
    with pytest.raises(RequestError, match=r"^here: no dataset is called 'my_toi'; did you mean 'my_toy'\?$"):
        catalogue.find(Dataset, "my_toi", "here")
    with pytest.raises(RequestError, match=r"^here: the plugin 'torn' is broken: .*torn.py: line 1: ZeroDivision"):
        catalogue.find(Dataset, "torn", "here")
    with pytest.raises(RequestError, match="nowhere: no such plugin folder"):
        discover([tmp_path / "nowhere"])


def test_installed_packages_offer_plugins_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    folder(tmp_path / "inside", probe=method("by_folder"))
    folder(
        tmp_path,
        ep_module=method("by_module"),
        ep_folder=f"WHERE = {str(tmp_path / 'inside')!r}\n",
        ep_wrong="WHERE = 3\n",
        ep_fails="1 / 0\n",
    )
    offered = [
        EntryPoint(stem, value, plugins.GROUP)
        for stem, value in {
            "module": "ep_module",
            "folder": "ep_folder:WHERE",
            "wrong": "ep_wrong:WHERE",
            "fails": "ep_fails",
        }.items()
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: offered if group == plugins.GROUP else [])
    catalogue = discover()
    assert catalogue.find(Method, "by_module", "").path == tmp_path / "ep_module.py"
    assert "by_folder" in catalogue.all(Method)
    errors = {one.name: one.error for one in catalogue.broken if one.name in ("wrong", "fails")}
    assert errors["wrong"] == "TypeError: the entry point gives 3, neither a module nor a folder"
    assert errors["fails"].startswith("ZeroDivisionError")
    assert isinstance(sys.modules["ep_module"], ModuleType)


def test_the_list_shows_everything_and_fails_when_something_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = folder(tmp_path / "empty")
    monkeypatch.setattr(plugins, "builtin_folders", lambda: [empty])
    good = folder(tmp_path / "good", probe=method("listed"), toys=DATASET)
    torn = folder(tmp_path / "torn", torn="import nowhere_to_be_found\n")
    assert main(["--plugins", str(good)]) == 0
    listing = capsys.readouterr().out
    for words in (
        ("method", "listed", "Probe of [listed].", "probe.py"),
        ("dataset", "my_toy", "A toy.", "toys.py"),
    ):
        assert any(all(word in line for word in words) for line in listing.splitlines()), listing
    assert main(["--plugins", str(good), "--plugins", str(torn)]) == 1
    listing = capsys.readouterr().out
    row = next(line for line in listing.splitlines() if "broken" in line)
    assert "line 1: ModuleNotFoundError: No module named 'nowhere_to_be_found'" in row
    assert str(torn / "torn.py") in row
    assert "listed" in listing
    assert main(["--plugins", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: no such plugin folder" in capsys.readouterr().err


def test_every_built_in_plugin_is_usable_without_docstrings() -> None:
    done = subprocess.run(
        [sys.executable, "-OO", "-m", "harness.plugins"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert all(f" {kind} " in done.stdout for kind in ("method", "metric", "sampler", "launcher", "export"))
