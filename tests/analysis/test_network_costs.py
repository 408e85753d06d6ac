from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from analysis.report import write_report

if TYPE_CHECKING:
    from analysis.report_files import ReportPaths
    from harness.run.study_folder import StudyFolder
    from tests.analysis.conftest import RunBuilder

Builder = Callable[..., "RunBuilder"]


def cost(own: int, norm: int) -> dict[str, Any]:
    return {
        "own": own,
        "norm": norm,
        "head": 1026,
        "backbone": 1_000_000,
        "percent": (own + norm) / 10_000,
        "storage_bytes": 4 * (own + norm + 1026),
        "optimizer_bytes": 8 * (own + norm + 1026),
        "multiply_adds": 1_850_000_000,
        "multiply_adds_before": 1_814_000_000,
    }


def confirm(made: RunBuilder, label: str, plugin: str, seconds: float, own: int, norm: int, **place: Any) -> None:
    """A study whose trials took ``seconds`` for 40 steps."""
    study: StudyFolder = made.study(label, "alpha")
    study.describe({**study.description(), "method": plugin})
    made.extra = {
        "cost": cost(own, norm),
        "time": {"attempt_seconds": seconds, "train_seconds": seconds, "started": 1.0, "ended": 9.0},
        "device": {"name": "cpu", "threads": 1, **place},
        "memory": {"peak_bytes": 3_000_000_000},
    }
    made.searched(study, [0.8])
    made.choose(study, 0, 0.8)
    made.confirmed(study, made.known_seeds)


def costs(paths: ReportPaths) -> dict[str, dict[str, Any]]:
    return {study["method"]: study["cost"] for study in json.loads(paths.results.read_text())["studies"]}


@pytest.mark.usefixtures("no_figures")
def test_each_study_has_its_networks_cost_beside_full_fine_tuning(builder: Builder) -> None:
    made = builder(["full_finetune", "norms", "other_threads", "gpu", "old"], ["alpha"])
    made.card("alpha")
    confirm(made, "full_finetune", "full_finetune", 8.0, 990_000, 10_000)
    confirm(made, "norms", "bn_affine", 2.0, 0, 10_000)
    confirm(made, "other_threads", "bn_affine", 2.0, 0, 10_000, threads=2)
    confirm(made, "gpu", "bn_affine", 0.1, 0, 10_000, name="A GPU")
    made.extra = {}
    old = made.study("old", "alpha")
    made.choose(old, 0, 0.8)
    made.confirmed(old, made.known_seeds)

    paths = write_report(made.run)

    found = costs(paths)
    assert found["norms"]["relative_step"] == pytest.approx(0.25)
    assert found["norms"]["step_seconds"] == pytest.approx(2.0 / 40)
    assert found["full_finetune"]["relative_step"] == 1.0
    # Times on other devices, or with other threads, do not compare; the memory of a CPU's process says nothing.
    assert [found[name]["relative_step"] for name in ("other_threads", "gpu")] == [None, None]
    assert [found[name]["peak_bytes"] for name in ("norms", "gpu")] == [None, 3e9]
    assert found["norms"]["norm"] == [10_000] and found["norms"]["multiply_adds"] == [1_850_000_000]
    # A result from before costs were recorded is read all the same.
    assert found["old"]["own"] == [] and found["old"]["percent"] == []
    rows = [line for line in paths.markdown.read_text().splitlines() if line.startswith("| norms |")]
    assert any(
        "| 0 | 10,000 | 1,026 | 1.000 | 0.04 | 0.09 | 1.814 | 1.850 |" in row and "| 0.25 |" in row for row in rows
    )


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("labels", "reference"),
    [(["tuned"], 0.5), (["tuned", "longer"], None), (["full_finetune", "longer"], 0.5)],
    ids=["the only one", "which of two", "the one of that name"],
)
def test_what_is_compared_with_is_never_guessed(builder: Builder, labels: list[str], reference: float | None) -> None:
    made = builder([*labels, "norms"], ["alpha"])
    made.card("alpha")
    for number, label in enumerate(labels):
        confirm(made, label, "full_finetune", 4.0 * (number + 1), 990_000, 10_000)
    confirm(made, "norms", "bn_affine", 2.0, 0, 10_000)
    found = costs(write_report(made.run))["norms"]["relative_step"]
    assert found == (None if reference is None else pytest.approx(reference))
