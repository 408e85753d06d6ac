"""Samplers are plugins: built-in ones and a user's keep the same promises, and a user's one searches a sweep."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conformance import EngineConformance
from home import one_error
from tiny import ROOT, environment, run_inline, sweep_command, tiny_sweep
from warm import warm

from harness.core.errors import RequestError
from harness.doctor.studies import examine_code
from harness.plugins import discover, packaged
from harness.proof.check_methods import main as check_plugins
from harness.proof.replay import main as replay
from harness.proof.sampler_conformance import violations
from harness.run.directory import RunDirectory
from harness.search import Asked, Engine, Sampler, find_sampler
from harness.space.parameters import Float, Space, Value
from harness.spec.search import SearchSpec
from harness.spec.sections import SweepSpec
from harness.studies.planner import settings_identity

BUILTIN = packaged().all(Sampler)
GUIDE = (ROOT / "docs" / "writing-a-sampler.md").read_text(encoding="utf-8")
NEAR_BEST, SWEEP = re.findall(r"^```(?:python|yaml)\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^python -m (\S+) (.*)$", GUIDE, flags=re.MULTILINE)
REFUSES = """
    @classmethod
    def check(cls, search):
        from harness.api import RequestError

        raise RequestError("only on Sundays")
"""


class TestNearBest(EngineConformance):
    """The guide's own sampler, in a sweep that is interrupted and goes on."""

    search: ClassVar[dict[str, Any]] = {"sampler": "near_best", "trials": 5}
    plugin = NEAR_BEST


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.large if n == "gp" else ()) for n in BUILTIN])
def test_a_built_in_sampler_keeps_its_promises(name: str) -> None:
    assert list(violations(BUILTIN[name].cls)) == []


class Careless(Sampler):
    """Breaks a promise in each of its descendants."""

    space_of_study: Space

    def ask(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        return {name: parameter.default for name, parameter in self.space.items()} | self.changed(slot, history)

    def changed(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        raise NotImplementedError


class Global(Careless):
    def changed(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        return {"depth": random.randint(1, 3)} if "depth" in self.space else {}


class Counting(Careless):
    calls = 0

    def changed(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        self.calls += 1
        return {"depth": 1 + self.calls % 3} if "depth" in self.space else {}


class Outside(Careless):
    def changed(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        return {"depth": 9} if "depth" in self.space else {}


class Incomplete(Careless):
    def ask(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        return {}


class Waiting(Careless):
    def conditioning(self, slot: int) -> range:
        return range(slot + 1)


class Failing(Careless):
    def changed(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        return {"depth": [1][slot]}


class Refusing(Careless):
    def __init__(self, *arguments: Any) -> None:
        raise RequestError("search.sampler: no")


class Last(Careless):
    """Looks at whatever it is told; the harness tells it nothing that it may not know."""

    def changed(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        scores = [one.score for one in history if one.score is not None]
        assert scores == [] and [one.slot for one in history] == list(range(slot))
        return {}


@pytest.mark.parametrize(
    ("careless", "words"),
    [
        (Global, "a random generator of the process counts"),
        (Counting, "what was asked before counts"),
        (Outside, "ValueError: depth: 9 is not in the space"),
        (Incomplete, r"a configuration of \[\] where the space has"),
        (Waiting, r"conditioning\(0\) is range\(0, 1\); give range\(n\), n at most 0"),
        (Failing, r"slot 1: IndexError: list index out of range \(.*test_samplers.py:\d+\)"),
        (Refusing, "it refuses every space"),
        (Last, None),
    ],
)
def test_what_a_sampler_breaks_is_told(careless: type[Careless], words: str | None) -> None:
    careless.name = careless.__name__.lower()
    found = list(violations(careless))
    assert (found == []) if words is None else re.search(words, found[0]), found


def test_the_guides_commands_do_what_it_says(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_plugins").mkdir()
    (tmp_path / "my_plugins" / "near_best.py").write_text(NEAR_BEST)
    (tmp_path / "near_best.yaml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    (checking, given), (sweeping, file), (replaying, words) = COMMANDS
    assert (checking, sweeping, replaying) == ("harness.check_methods", "harness.sweep", "harness.replay")
    assert check_plugins(given.split()) == 0
    assert capsys.readouterr().out == "sampler near_best: kept\n"
    run_inline(Path(file), Path("runs/near_best"), shared_cache, report=False)
    (study,) = RunDirectory(Path("runs/near_best")).studies()
    assert [trial.request()["conditioned_on"] for trial in study.trials("search")] == [
        [],
        [],
        [0],
        [0, 1],
        [0, 1, 2],
        [0, 1, 2, 3],
    ]
    assert replay(words.split()) == 0
    assert capsys.readouterr().out == "6 asks and 0 decisions replayed, 0 differ\n"

    # Its code is part of the study's identity, and of no trial's.
    identity = study.description()["identity"]
    plugin = discover([tmp_path / "my_plugins"]).find(Sampler, "near_best", "")
    assert identity["sampler"] == {"name": "near_best", "code": plugin.code}
    # A command that reads imports nothing that a run names.
    assert replay(["runs/near_best"]) == 2
    one_error(2, capsys.readouterr().err, "linear_probe@small", "the sampler 'near_best' is not built in", "--plugins")
    # Looked at without being imported, its files tell that it has changed.
    run, folders = RunDirectory(Path("runs/near_best")), [tmp_path / "my_plugins"]
    assert [one.kind for one in examine_code(run)] == []
    changed = NEAR_BEST.replace("(scored[number], -number)", "(scored[number], number)")
    (folders[0] / "near_best.py").write_text(changed)
    (finding,) = examine_code(run)
    assert finding.kind == "stale" and "sampler.code: changed" in finding.what
    (folders[0] / "near_best.py").unlink()
    (finding,) = examine_code(run)
    assert finding.kind == "code" and "near_best is in no file" in finding.what


def test_a_killed_search_asks_the_same(tmp_path: Path, shared_cache: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "near_best.py").write_text(NEAR_BEST)
    file = tmp_path / "near_best.yaml"
    file.write_text(SWEEP.replace("my_plugins", "mine"))
    command = warm(sweep_command(file, tmp_path / "killed", "--launcher", "inline"))
    process = subprocess.Popen(command, env=environment(shared_cache), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 300
    while len(list(tmp_path.glob("killed/studies/*/search/*/result.json"))) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    asked = {}
    for name in ("killed", "undisturbed"):
        run_inline(file, tmp_path / name, shared_cache, report=False)
        (study,) = RunDirectory(tmp_path / name).studies()
        asked[name] = {trial.name: trial.request() for trial in study.trials("search")}
    assert len(asked["killed"]) == 6 and asked["killed"] == asked["undisturbed"]


@pytest.mark.parametrize(
    ("search", "words"),
    [
        (
            {"sampler": "near_bets"},
            ("tiny.yaml:", "search.sampler: no sampler", "did you mean 'near_best'"),
        ),
        ({"sampler": "tpa"}, ("tiny.yaml:", "search.sampler", "did you mean 'tpe'")),
        ({"engine": "rey"}, ("tiny.yaml:", "search.engine", "no engine is called 'rey'", "did you mean 'ray'")),
        ({"engine": "optunaa"}, ("search.engine", "did you mean 'optuna'")),
        ({"sampler": "torn"}, ("search.sampler", "the plugin 'torn' is broken", "torn.py: line 1: ZeroDivisionError")),
        ({"sampler": "waits"}, ("search.sampler", "waits: conditioning(0)", "n at most 0")),
        ({"sampler": "refuses"}, ("tiny.yaml:", "search.sampler: refuses: only on Sundays")),
        ({"sampler": "fails"}, ("search.sampler: fails: slot 1: ZeroDivisionError", "fails.py:")),
        ({"sampler": "near_best", "pruner": "pbt"}, ("search.pruner", "the engine optuna has no pbt")),
        ({"engine": "ray", "pruner": "median"}, ("tiny.yaml:", "search.pruner", "the engine ray has no median", "pbt")),
        ({"engine": "ray", "sampler": "near_best"}, ("search.sampler", "the engine ray has no near_best", "tpe")),
        ({"engine": "ray", "pruner": "pbt", "seeds": [0, 1]}, ("search.seeds", "one seed")),
        ({"engine": "ray"}, ("launch.kind", "the engine ray starts processes of its own", "docs/ray.md")),
        ({"sampler": "near_best", "warm_start": "earlier"}, ("search.warm_start", "near_best learns nothing")),
    ],
)
def test_wrong_names_and_settings_take_one_line(
    tmp_path: Path, shared_cache: Path, search: dict[str, Any], words: tuple[str, ...]
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    waits = NEAR_BEST.replace("near_best", "waits").replace("self.before(slot)", "range(slot + 1)")
    for stem, text in (
        ("near_best", NEAR_BEST),
        ("torn", "1 / 0\n"),
        ("fails", NEAR_BEST.replace("near_best", "fails").replace("drawn = ", "drawn = 1 / 0 or ")),
        ("refuses", NEAR_BEST.replace("near_best", "refuses") + REFUSES),
        ("waits", waits.replace("slot >= self.search.startup", "slot >= 0")),
    ):
        (mine / f"{stem}.py").write_text(text)
    file = tiny_sweep(tmp_path, plugins=[str(mine)], search={"trials": 2, **search})
    done = run_inline(file, tmp_path / "run", shared_cache, expect=2)
    one_error(done.returncode, done.stderr, *words)


def test_the_identity_of_a_study_with_a_built_in_sampler_is_as_before() -> None:
    spec = SweepSpec.model_validate(
        {"name": "x", "backbone": {"name": "resnet20"}, "datasets": ["digits"], "methods": ["linear_probe"]}
    )
    plugin: Any = type("Plugin", (), {"name": "linear_probe", "code": "c0de"})
    for sampler in BUILTIN:
        search = SearchSpec(sampler=sampler)
        one = spec.model_copy(update={"search": search})
        identity = settings_identity(one, one.train, plugin, {"lr": Float(0.1, 0.01, 1.0)}, find_sampler(search))
        # As it was written before samplers were plugins.
        assert json.dumps(identity["search"]) == (
            f'{{"engine": "optuna", "sampler": "{sampler}", "pruner": "none", "first_rung": 1, "reduction": 3, '
            '"percentile": 25.0, "patience": 3, "anchors": 5, "seeds": [0], "metric": "balanced_accuracy", '
            '"startup": 10, "concurrency": 4}'
        )
        assert list(identity) == ["protocol", "method", "space", "train", "search"]


def test_engines_and_samplers_are_listed_apart_and_load_no_optuna() -> None:
    assert sorted(BUILTIN) == ["cmaes", "gp", "grid", "qmc", "random", "tpe"]
    assert list(packaged().all(Engine)) == ["ray"]
    code = (
        "import sys; from harness.search import make_sampler; from harness.spec.search import SearchSpec\n"
        "from harness.space.parameters import Float\n"
        "make_sampler({'lr': Float(0.1, 0.01, 1.0)}, SearchSpec(sampler='random'), 'm@d').propose(3, ())\n"
        "assert not {'optuna', 'torch', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
