"""What a report says along training sizes, networks and domains held out in turn."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from made_up_shifts import with_subgroups, write_shifted

from analysis.report import write_report
from analysis.report_files import ReportPaths
from analysis.shift_models import WholeDocument
from harness.core.files import write_json
from harness.run.directory import RunDirectory

NOTHING = {"dataset": "alpha", "domain": None, "per_class": None, "fraction": None, "backbone": None}


def with_tasks(run: RunDirectory, tasks: Mapping[str, Mapping[str, object]], images: Mapping[str, int]) -> RunDirectory:
    spec = dict(run.spec())
    entries = {label: {**spec["datasets"][label], "task": {**NOTHING, **task}} for label, task in tasks.items()}
    write_json(run.path / "spec.json", {**spec, "datasets": entries})
    for label, number in images.items():
        path = run.path / "cards" / f"{label}.json"
        card = json.loads(path.read_text(encoding="utf-8"))
        write_json(path, {**card, "source": "alpha", "sides": {**card["sides"], "train": number}})
    return run


def report(run: RunDirectory, out: Path) -> tuple[ReportPaths, str, dict[str, Any]]:
    paths = write_report(run, out)
    whole = json.loads(paths.results.read_text(encoding="utf-8"))["comparison"]
    assert WholeDocument.model_validate(whole).model_dump(mode="json", exclude_defaults=True).keys() <= whole.keys()
    return paths, paths.markdown.read_text(encoding="utf-8"), whole


def section(text: str, title: str) -> str:
    found = re.search(rf"^## A?\d+\. {re.escape(title)}\n(.*?)(?=^## )", text, re.DOTALL | re.MULTILINE)
    assert found, title
    return found.group(1)


@pytest.mark.parametrize("splits", [1, 6])
def test_training_sizes_have_curves_areas_and_images_saved(
    builder: Callable[..., Any], no_figures: None, tmp_path: Path, splits: int
) -> None:
    labels = ("alpha.n10", "alpha.n40", "alpha.all")
    run = write_shifted(builder, datasets=labels, evaluations=(), splits=splits)
    sizes = dict(zip(labels, (30, 120, 480), strict=True))
    tasks = dict(zip(labels, ({"per_class": 10}, {"per_class": 40}, {"per_class": "all"}), strict=True))
    paths, text, whole = report(with_tasks(run, tasks, sizes), tmp_path / "report")
    own = section(text, "Training sizes")
    assert "On alpha, methods were trained with 30, 120 and 480 images." in own
    assert "The area under the learning curve of gpaf was 0.1" in own
    assert "To score as gpaf does, control needed more than 480 images" in own
    assert "not reached with 480" in section(text, "Training sizes: tables")
    (curve,) = whole["learning_curves"]
    assert curve["images"] == [30, 120, 480] and len(curve["points"]) == 9 and len(curve["images_needed"]) == 6
    assert not {"on_networks", "held_out_domains"} & whole.keys()
    paper = (paths.html.parent / "paper.tex").read_text(encoding="utf-8")
    assert "area under the learning curve" in paper


def test_subgroups_are_told_for_the_largest_size_and_the_others_in_the_appendix(
    builder: Callable[..., Any], no_figures: None, tmp_path: Path
) -> None:
    # Two sizes come to the same images, because no class has more: the first stands for both.
    labels = ("alpha.n10", "alpha.n99", "alpha.all")
    run = write_shifted(builder, datasets=labels, evaluations=())
    tasks = dict(zip(labels, ({"per_class": 10}, {"per_class": 99}, {"per_class": "all"}), strict=True))
    run = with_tasks(run, tasks, dict(zip(labels, (30, 297, 297), strict=True)))
    columns = {"sex": lambda case: "female" if case % 5 < 2 else "male"}
    _, text, whole = report(with_subgroups(run, columns), tmp_path / "report")
    title = "Subgroups of the test cases"
    own = section(text, title) + section(text, f"{title}: tables")
    rest = section(text, "Subgroups at other training sizes")
    for told, there, elsewhere in (
        (own, ("alpha.n99",), ("alpha.n10", "alpha.all")),
        (rest, ("alpha.n10", "alpha.all"), ("alpha.n99",)),
    ):
        for label in there:
            assert f"the test cases of {label} fall into" in told and f"{label}: " in told
        assert not [label for label in elsewhere if label in told]
    assert [one["dataset"] for one in whole["subgroups"]] == list(labels)
    # Three tasks are no three datasets.
    assert "these 3 tasks of 1 dataset" in text and "3 datasets" not in text and "1 source" not in text


def test_networks_have_a_verdict_each_and_one_on_all_of_them(
    builder: Callable[..., Any], no_figures: None, tmp_path: Path
) -> None:
    labels = ("alpha.resnet50", "alpha.convnext")
    run = write_shifted(builder, datasets=labels, evaluations=())
    tasks = {label: {"backbone": label.partition(".")[2]} for label in labels}
    _, text, whole = report(with_tasks(run, tasks, dict.fromkeys(labels, 240)), tmp_path / "report")
    own = section(text, "Networks")
    assert (
        "The verdict on gpaf against control on alpha is better on each of 2 networks (resnet50 and convnext)." in own
    )
    assert "The difference was not shown to change from network to network" in own
    assert whole["on_networks"][0]["outcomes"] == {"resnet50": "better", "convnext": "better"}


def test_domains_that_are_held_out_in_turn_have_a_table(
    builder: Callable[..., Any], no_figures: None, tmp_path: Path
) -> None:
    labels = tuple(f"alpha.site{place}" for place in range(6))
    run = write_shifted(builder, datasets=labels, evaluations=(), cases=120)
    tasks = {label: {"domain": [label.partition(".")[2]]} for label in labels}
    _, text, whole = report(with_tasks(run, tasks, dict.fromkeys(labels, 240)), tmp_path / "report")
    own = section(text, "Domains held out in turn")
    assert (
        "in turn, each time trained on all others" in own
        and "On new domains like the held-out ones, gpaf scores" in own
    )
    (found,) = whole["held_out_domains"]
    assert len(found["domains"]) == 6 and found["pairs"][0]["difference"]["low"] > 0
