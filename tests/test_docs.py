"""What the guides for authors of plugins show is what runs: their blocks are written out and executed."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from home import Home
from tiny import ROOT, environment
from warm import warm

from analysis.report import main as report
from harness import __version__
from harness.export.__main__ import main as export
from harness.sweep.__main__ import main as sweep
from harness.trial import main as trial

GUIDES = ("writing-a-method.md", "writing-a-dataset.md")
OUTPUTS = "writing-an-export-or-figure.md"
METRICS = "writing-a-metric.md"


def blocks(guide: str, language: str) -> list[str]:
    text = (ROOT / "docs" / guide).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds every file of the guides where its first line says."""
    folder = tmp_path_factory.mktemp("guides")
    for guide in (*GUIDES, METRICS):
        # A part of a sweep file has no name; tests/test_code_blocks.py checks it.
        whole = [block for block in blocks(guide, "yaml") if block.startswith("# ")]
        for block in (*blocks(guide, "python"), *whole):
            place = re.match(r"# (\S+)\n", block)
            assert place, f"{guide}: a block does not begin with the name of its file"
            path = folder / place[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(block, encoding="utf-8")
    return folder


def run(workplace: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = warm([sys.executable, *words])
    env = {**environment(workplace / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=workplace, env=env, capture_output=True, text=True, timeout=300)


def commands(guide: str, module: str) -> list[list[str]]:
    lines = [line for block in blocks(guide, "bash") for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if f"-m {module} " in line]


def test_the_guides_own_tests_pass(workplace: Path) -> None:
    files = ("test_norm_bias.py", "test_shapes.py", "test_geometric_mean.py")
    done = run(workplace, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


@pytest.fixture
def there(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are given in that folder."""
    monkeypatch.chdir(workplace)
    for name, value in environment(workplace / "cache").items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("guide", GUIDES)
def test_the_guides_trial_trains(guide: str, capsys: pytest.CaptureFixture[str]) -> None:
    ((_, _, *arguments),) = commands(guide, "harness.trial")
    assert trial(arguments) == 0
    assert "balanced_accuracy" in capsys.readouterr().out


@pytest.mark.usefixtures("there")
def test_the_guides_sweep_by_a_metric_is_valid() -> None:
    ((_, _, file),) = commands(METRICS, "harness.sweep")
    assert sweep([file, "--dry-run"]) == 0


@pytest.mark.usefixtures("there")
def test_the_guides_sweep_is_valid_and_is_the_one_that_is_killed(capsys: pytest.CaptureFixture[str]) -> None:
    ((_, _, file, *_),) = commands(GUIDES[0], "harness.chaos")
    assert sweep([file, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "norm_bias" in said.out + said.err


def test_the_guides_export_figure_and_table_show_a_run(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    guide = OUTPUTS
    for block in blocks(guide, "python"):
        place = re.match(r"# (\S+)\n", block)
        assert place
        (home.path / place[1]).parent.mkdir(exist_ok=True)
        (home.path / place[1]).write_text(block, encoding="utf-8")

    def words(module: str) -> list[str]:
        ((_, _, *found),) = commands(guide, module)
        place = {"runs/shapes": home.run, "my_outputs": home.path / "my_outputs", "trials.jsonl": home.path / "lines"}
        return [str(place.get(word, word)) for word in found]

    assert export(words("harness.export")) == 0
    assert len((home.path / "lines").read_text().splitlines()) == 2
    assert report(words("analysis.report")) == 0
    page = (home.run / "report" / "report.html").read_text()
    assert "over 1 seeds" in page and "Median training time of a trial." in page
    assert capsys.readouterr().err.strip() == ""


def readme_sweep() -> dict[str, Any]:
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(block)
    return found


def test_the_readmes_commands_name_what_its_own_sweep_has() -> None:
    spec = readme_sweep()
    methods = {next(iter(one)) if isinstance(one, dict) else one for one in spec["methods"]}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    (python -m .*?)(?:  +#.*)?$", text, flags=re.MULTILINE)
    runs = {word.removeprefix("runs/") for line in commands for word in line.split() if word.startswith("runs/")}
    assert runs == {spec["name"], "an_earlier_one"}
    cells = [word for line in commands for word in line.split() if re.fullmatch(r"\w+@\w+", word)]
    assert len(cells) >= 2
    for cell in cells:
        method, dataset = cell.split("@")
        assert method in methods and dataset in spec["datasets"]
    files = {word for line in commands for word in line.split() if word.endswith(".yaml") and "/" not in word}
    assert files == {f"{spec['name']}.yaml"}
    modules = {line.split()[2] for line in commands}
    assert len(modules) > 10 and all(importlib.util.find_spec(name) is not None for name in modules)
    for method in re.findall(r"--method (\w+)", text):
        assert (ROOT / "methods" / f"{method}.py").exists()


def test_no_document_presumes_a_published_package() -> None:
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "harness").rglob("*.py")]
    assert not [path for path in texts if re.search(r"pip install '?gpaf-bench", path.read_text(encoding="utf-8"))]


def test_all_places_state_the_same_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert newest is not None
    assert citation["version"] == newest[1] == __version__


def test_the_dry_run_and_the_plan_count_the_same_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    assert sweep([str(ROOT / "sweeps" / "demo.yaml"), "--dry-run", "--run-dir", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    # Five methods, four slots, five seeds and a repetition each, and the network that they begin from.
    assert "131 trials of at most 8 epochs, 1 of them for backbones that are trained first" in " ".join(shown.split())
