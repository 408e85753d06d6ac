"""A user's metric: computed beside the built-in ones, searched by, and shown by commands that load none of its code."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny import ROOT, run_inline, tiny_sweep

from analysis.report import main as report
from harness.api import Metric as PublicMetric
from harness.core.errors import RequestError
from harness.metrics.metric import Metric
from harness.metrics.table import evaluate
from harness.plugins import discover
from harness.proof.replay import replay
from harness.run.directory import RunDirectory
from tests.metrics.conformance import check

GUIDE = (ROOT / "docs" / "writing-a-metric.md").read_text(encoding="utf-8")
G_MEAN = re.findall(r"^```python\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)[0]

MISSES = '''
from harness.api import Metric, MultiLabelCases, ScoredCases


class MissRate(Metric):
    """Mean over classes of the share of cases that is missed."""

    name = "miss_rate"
    label = "Mean miss rate"
    phrase = "mean miss rate of the classes"
    higher_is_better = False
    bounds = (0.0, 1.0)

    def value(self, cases: ScoredCases) -> float | None:
        found = [share for share in cases.sensitivity if share is not None]
        return 1.0 - sum(found) / len(found) if len(found) == cases.classes else None
'''


def written(folder: Path) -> Path:
    folder.mkdir()
    (folder / "geometric_mean.py").write_text(G_MEAN)
    (folder / "miss_rate.py").write_text(MISSES)
    return folder


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", ["geometric_mean", "miss_rate"])
def test_the_contract(tmp_path: Path, name: str, several: bool) -> None:
    cls = discover([written(tmp_path / "mine")]).find(Metric, name, "here").cls
    assert issubclass(cls, PublicMetric)
    check(cls(), several)


@pytest.mark.slow
def test_a_sweep_by_a_metric_of_which_less_is_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, run, cache = written(tmp_path / "mine"), tmp_path / "run", tmp_path / "cache"
    file = tiny_sweep(
        tmp_path,
        plugins=["mine"],
        methods=["linear_probe", "bn_affine"],
        train={"epochs": 2, "batch_size": 32, "image_size": 8},
        search={"trials": 3, "seeds": [0], "metric": "miss_rate", "sampler": "random"},
    )
    run_inline(file, run, cache, report=False)
    studies = RunDirectory(run).studies()
    for study in studies:
        description = study.description()
        assert [one["name"] for one in description["metrics"]] == ["geometric_mean", "miss_rate"]
        assert description["identity"]["metrics"].keys() == {"geometric_mean", "miss_rate"}
        values = {}
        for trial in study.trials("search"):
            (result, curve) = (trial.result(), trial.curve())
            values[result["slot"]] = result["metrics"]["val"]["miss_rate"]
            assert curve[-1]["val"].keys() >= {"accuracy", "miss_rate", "geometric_mean"}
            assert values[result["slot"]] == pytest.approx(1.0 - np.mean(result["metrics"]["val"]["sensitivity"]))
        choice = study.chosen()
        assert choice is not None
        assert (choice["metric"], choice["value"]) == ("miss_rate", min(values.values()))
        assert values[choice["slot"]] == choice["value"]
        assert len(set(values.values())) > 1, "all slots scored alike, so that any choice would pass"
        confirmed = next(iter(study.trials("confirm"))).result()["metrics"]["test"]
        assert confirmed["geometric_mean"] == pytest.approx(np.prod(confirmed["sensitivity"]) ** (1 / 3))
        assert replay(study).different == []

    # What reads a run needs no plugin.
    shutil.move(mine, tmp_path / "elsewhere")
    assert report([str(run)]) == 0
    capsys.readouterr()
    text = (run / "report" / "report.md").read_text(encoding="utf-8")
    assert "Mean miss rate on the test split" in text
    assert "Mean miss rate: lower is better, so that a negative difference favours the first method." in text
    assert "G-mean" in text
    assert "A plugin defines mean miss rate of the classes" in text
    document = json.loads((run / "report" / "results.json").read_text())
    assert [one["label"] for one in document["own_metrics"]] == ["G-mean", "Mean miss rate"]
    primary = [one for one in document["comparison"]["comparisons"] if one["role"] == "primary"]
    assert {one["interval"] for one in primary} <= {"t_over_seeds", None}
    for one in primary:
        if one["outcome"] in ("better", "worse"):
            assert (one["difference"] < 0) == (one["outcome"] == "better")
    assert "Mean miss rate" in (run / "report" / "paper.tex").read_text()

    # Its code is part of what a study is.
    shutil.move(tmp_path / "elsewhere", mine)
    (mine / "miss_rate.py").write_text(MISSES.replace("sum(found) / len(found)", "min(found)"))
    refused = run_inline(file, run, cache, expect=2)
    assert "metrics.miss_rate: changed" in refused.stdout + refused.stderr


def test_a_study_without_a_metric_of_its_own_is_described_as_before(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path, methods=["linear_probe"], train={"epochs": 1, "image_size": 8}, confirm={"seeds": 1})
    run_inline(file, tmp_path / "run", tmp_path / "cache", report=False)
    (study,) = RunDirectory(tmp_path / "run").studies()
    description = study.description()
    assert "metrics" not in description and "metrics" not in description["identity"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: text.replace('"miss_rate"', '"auc"'), "is also defined in"),
        (lambda text: text.replace('"miss_rate"', '"support"'), "names something else in a result"),
        (lambda text: text.replace("(0.0, 1.0)", "(1.0, 0.0)"), "the first must be below the second"),
        (lambda text: text.replace('"Mean miss rate"', '"two\\nlines"'), "has the label"),
        (lambda text: text.replace("    higher_is_better = False\n", ""), "lacks higher_is_better"),
        (lambda text: text.replace("higher_is_better = False", "higher_is_better = 'no'"), "write True or False"),
    ],
)
def test_what_cannot_be_a_metric_is_refused(tmp_path: Path, change: Callable[[str], str], complaint: str) -> None:
    mine = written(tmp_path / "mine")
    (mine / "miss_rate.py").write_text(change(MISSES))
    catalogue = discover([mine])
    catalogue.all(Metric)
    assert complaint in " ".join(one.error for one in catalogue.broken if one.path.is_relative_to(tmp_path))
    with pytest.raises(RequestError, match="miss_rate"):
        catalogue.find(Metric, "miss_rate", "here")


@pytest.mark.parametrize(("value", "complaint"), [("float('nan')", "finite"), ("1.5", "outside its bounds")])
def test_a_value_that_is_none_is_the_metrics_mistake(tmp_path: Path, value: str, complaint: str) -> None:
    mine = written(tmp_path / "mine")
    (mine / "miss_rate.py").write_text(MISSES.replace("1.0 - sum(found) / len(found)", value))
    metric = discover([mine]).find(Metric, "miss_rate", "here").cls()
    with pytest.raises(ValueError, match=f"'miss_rate'.*{complaint}"):
        evaluate(np.eye(2), np.arange(2), further=(metric,))
