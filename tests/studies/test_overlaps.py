"""Images that two datasets of a sweep share, and tested images that a backbone is trained on, are found beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from home import one_error
from tiny import run_inline, tiny_sweep

from harness.data.copies import find_copies
from harness.data.decoded import COLUMNS, DecodedDataset
from harness.data.overlap import IdenticalImages, find_identical
from harness.doctor.__main__ import main as doctor_command
from harness.plan.__main__ import main as plan_command
from harness.run.directory import RunDirectory

PLUGIN = '''"""Sixty pieces of a photograph, of which the first few may be those of another one."""

import numpy as np
from sklearn.datasets import load_sample_image

from harness.api import ArrayImage, Dataset, Options, Record


class PiecesOptions(Options):
    """Which photograph, and what of the other one."""

    photo: str = "flower.jpg"
    source: str = "flowers"
    borrowed: int = 0
    brighter: int = 0


def cut(name):
    photo = load_sample_image(name)[:384]
    return photo.reshape(6, 64, 10, 64, 3).swapaxes(1, 2).reshape(-1, 64, 64, 3)


class Pieces(Dataset):
    """Sixty pieces of a photograph. Licence: CC BY 2.0."""

    name, title, modality, licence, citation = "pieces", "Pieces", "photograph", "CC BY 2.0", "none"
    classes, files, groups = ("even", "odd"), (), "none"
    Options = PiecesOptions

    @property
    def source(self):
        return self.options.source

    def records(self, root):
        images, options = cut(self.options.photo), self.options
        if options.borrowed:
            images[: options.borrowed] = np.clip(
                cut("china.jpg")[-options.borrowed :].astype(int) + options.brighter, 0, 255
            )
        return [
            Record(f"{options.photo[:5]}/{number}", number % 2, ArrayImage(image), None)
            for number, image in enumerate(images)
        ]
'''

CHINA = {"china": {"dataset": "pieces", "photo": "china.jpg", "source": "chinas"}}
SHARING = {"flower": {"dataset": "pieces", "borrowed": 5}}
NAMED = "(such as china/55 = flowe/0, china/56 = flowe/1, china/57 = flowe/2)"
Shown = Callable[..., tuple[str, dict[str, Any]]]


def sweep(folder: Path, *datasets: dict[str, Any], **changes: Any) -> Path:
    (folder / "plugins").mkdir(exist_ok=True)
    (folder / "plugins" / "pieces.py").write_text(PLUGIN)
    settings: dict[str, Any] = {
        "plugins": ["plugins"],
        "datasets": list(datasets),
        "methods": ["linear_probe"],
        "train": {"epochs": 1, "batch_size": 16, "image_size": 8},
        "search": {"trials": 1},
        "confirm": {"seeds": 2},
    }
    return tiny_sweep(folder, **{**settings, **changes})


@pytest.fixture
def shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What the plan of a sweep of some datasets shows and, as JSON, says of shared images."""
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(tmp_path / "cache"))

    def plan(*datasets: dict[str, Any], **changes: Any) -> tuple[str, dict[str, Any]]:
        file = sweep(tmp_path, *datasets, **changes)
        assert plan_command([str(file), "--no-probe"]) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert plan_command([str(file), "--no-probe", "--json"]) == 0
        return text, json.loads(capsys.readouterr().out)["overlaps"]

    return plan


def test_a_plan_warns_of_images_that_two_sources_share(shown: Shown) -> None:
    text, found = shown(CHINA, SHARING)
    assert f"! 5 images of china and 5 of flower are the same {NAMED}, but they name two sources" in text
    assert found == {
        "datasets": [
            {
                "datasets": ["china", "flower"],
                "sources": ["chinas", "flowers"],
                "identical": [5, 5],
                "near": None,
                "named": [["china/55", "flowe/0"], ["china/56", "flowe/1"], ["china/57", "flowe/2"]],
            }
        ],
        "backbones": [],
        "allow_leakage": None,
    }


def test_of_one_source_only_the_count_is_said(shown: Shown) -> None:
    text, found = shown(CHINA, {"flower": {**SHARING["flower"], "source": "chinas"}})
    assert (
        "5 images of china and 5 of flower are the same; both are of one source (chinas) and count once in averages."
    ) in text
    assert "such as" not in text and "two sources" not in text
    assert found["datasets"][0]["identical"] == [5, 5]


def test_datasets_that_share_nothing_and_tasks_of_one_dataset_are_not_spoken_of(shown: Shown) -> None:
    sizes = {"epochs": 1, "batch_size": 16, "image_size": 8, "per_class": [4, "all"]}
    for datasets, changes in (([CHINA, {"flower": {"dataset": "pieces"}}], {}), ([CHINA], {"train": sizes})):
        text, found = shown(*datasets, **changes)
        assert (found["datasets"], found["backbones"]) == ([], [])
        assert "are the same" not in text


def test_near_duplicates_are_looked_for_where_the_sweep_asks_and_only_once(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    brighter = {"flower": {**SHARING["flower"], "brighter": 15}}
    train = {"epochs": 1, "batch_size": 16, "image_size": 64}
    assert shown(CHINA, brighter, train=train)[1]["datasets"] == []
    text, found = shown(CHINA, brighter, train=train, split={"near_duplicates": True})
    (pair,) = found["datasets"]
    assert (pair["identical"], pair["near"]) == ([0, 0], [5, 5])
    assert pair["named"] == [["china/55", "flowe/0"], ["china/56", "flowe/1"], ["china/57", "flowe/2"]]
    assert f"! 5 images of china and 5 of flower look like near-duplicates {NAMED}, but they name two sources" in text
    for module in ("copies", "near_clusters"):
        monkeypatch.setattr(f"harness.data.{module}.take_fingerprints", None)
    assert shown(CHINA, brighter, train=train, split={"near_duplicates": True})[1] == found


def test_a_sweep_warns_before_it_trains_and_its_report_says_it_first(tmp_path: Path) -> None:
    file, run = sweep(tmp_path, CHINA, SHARING), RunDirectory(tmp_path / "run")
    done = run_inline(file, run.path, tmp_path / "cache")
    said = f"5 images of china and 5 of flower are the same {NAMED}, but they name two sources (chinas and flowers): "
    assert done.stderr.index(f"warning: {said}") < done.stderr.index("run directory: ")
    flags = json.loads(run.report_results.read_text())["flags"]
    assert [flag.startswith(said) for flag in flags].count(True) == 1
    assert said in (run.report / "report.md").read_text()
    assert doctor_command([str(run.path)]) == 0

    # What the file says later counts: of one source there is nothing to warn of.
    same = sweep(tmp_path, CHINA, {"flower": {**SHARING["flower"], "source": "chinas"}})
    again = run_inline(same, run.path, tmp_path / "cache", report=False)
    assert "warning: " not in again.stderr and "note: 5 images of china and 5 of flower are the same" in again.stderr
    found = run.overlaps()
    assert found is not None and found["datasets"][0]["sources"] == ["chinas", "chinas"]


def backbone(dataset: dict[str, Any]) -> dict[str, Any]:
    source = {"method": "full_finetune", "dataset": dataset, "train": {"epochs": 1}}
    return {"backbone": {"name": "resnet20", "weights": source}}


def test_a_backbone_that_saw_test_images_is_refused_without_a_reason(tmp_path: Path) -> None:
    file = sweep(tmp_path, {"flower": {"dataset": "pieces", "borrowed": 40}}, **backbone(CHINA["china"]))
    done = run_inline(file, tmp_path / "run", tmp_path / "cache", expect=2)
    said = "the backbone that is trained first on pieces sees 7 of the 13 test images of flower in training or "
    one_error(2, done.stderr, f"backbone.weights.dataset: {said}")
    one_error(2, done.stderr, '`split.allow_leakage: "..."`')
    assert not (tmp_path / "run").exists()

    reason = "the images of the borrowed forty are wanted"
    run_inline(file, tmp_path / "run", tmp_path / "cache", "--set", f"split.allow_leakage={reason}")
    run = RunDirectory(tmp_path / "run")
    (flag,) = [flag for flag in json.loads(run.report_results.read_text())["flags"] if said[1:] in flag]
    assert flag.startswith("The backbone") and flag.endswith(f"with this reason: {reason}")
    found, test = run.overlaps(), set(run.split("flower")["test"])
    assert found is not None
    (leak,) = found["backbones"]
    assert (leak["identical"], leak["test"], leak["near"]) == (7, 13, None)
    assert {tested for _, tested in leak["named"]} <= test


def test_a_backbone_of_the_same_dataset_sees_no_test_image_of_its_own_split_but_of_others(
    shown: Shown, tmp_path: Path
) -> None:
    own = backbone(CHINA["china"])
    for changes in ({}, {"split": {"seeds": [0]}, "confirm": {"seeds": 2}}):
        assert shown(CHINA, **own, **changes)[1]["backbones"] == []
    several = sweep(tmp_path, CHINA, **own, split={"seeds": [0, 1]})
    done = run_inline(several, tmp_path / "several", tmp_path / "cache", expect=2)
    one_error(2, done.stderr, "backbone.weights.dataset: the backbone that is trained first on pieces sees")


def test_near_duplicates_of_test_images_stop_no_backbone_and_are_warned_of(shown: Shown) -> None:
    flower = {"flower": {"dataset": "pieces", "borrowed": 40, "brighter": 15}}
    train = {"epochs": 1, "batch_size": 16, "image_size": 64}
    text, found = shown(flower, train=train, split={"near_duplicates": True}, **backbone(CHINA["china"]))
    (leak,) = found["backbones"]
    assert leak["identical"] == 0 and 0 < leak["near"] <= leak["test"]
    assert (
        f"! The backbone that is trained first on pieces sees what look like near-duplicates of {leak['near']} of the "
        f"{leak['test']} test images of flower in training or validation (such as {' = '.join(leak['named'][0])}"
    ) in text
    assert "reason" not in text


def test_the_message_names_the_section_whose_backbone_it_is(tmp_path: Path) -> None:
    network = backbone(CHINA["china"])["backbone"]
    flower = {"flower": {"dataset": "pieces", "borrowed": 40}}
    file = sweep(tmp_path, flower)
    plain = yaml.safe_load(file.read_text())
    own = plain | {"methods": [{"own": {"method": "linear_probe", "backbone": network}}]}
    listed = {key: value for key, value in plain.items() if key != "backbone"} | {"backbones": {"first": network}}
    for spec, place in ((own, "methods.own.backbone"), (listed, "backbones.first")):
        file.write_text(yaml.safe_dump(spec, sort_keys=False))
        done = run_inline(file, tmp_path / "run", tmp_path / "cache", expect=2)
        one_error(2, done.stderr, f"{place}.weights.dataset: the backbone that is trained first on pieces sees")


def records(ids: str, pixels: str) -> pl.DataFrame:
    return pl.DataFrame({"case_id": list(ids), "pixels": list(pixels)})


def test_copies_within_a_set_count_on_their_side_and_all_pairs_of_sets_are_told_apart() -> None:
    found = find_identical(
        {"a": records("abcd", "ZXXY"), "b": records("efg", "XQY"), "c": records("h", "Y"), "d": records("i", "R")}
    )
    assert found == {
        ("a", "b"): IdenticalImages(3, 2, (("b", "e"), ("d", "g"))),
        ("a", "c"): IdenticalImages(1, 1, (("d", "h"),)),
        ("b", "c"): IdenticalImages(1, 1, (("g", "h"),)),
    }
    assert find_identical({}) == {}
    assert find_identical({"a": records("abcd", "ZXXY")}) == {}


def test_datasets_of_two_small_sizes_are_compared_at_the_smaller(tmp_path: Path) -> None:
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("china.jpg")[-128:, :256]
    large = photo.reshape(2, 64, 4, 64, 3).swapaxes(1, 2).reshape(-1, 64, 64, 3)
    halves = {"small": large.reshape(-1, 32, 2, 32, 2, 3).mean(axis=(2, 4)).astype(np.uint8), "large": large}

    def decoded(name: str) -> DecodedDataset:
        ids = [f"{name}/{number}" for number in range(len(large))]
        table = pl.DataFrame(dict.fromkeys(COLUMNS, ids), schema=dict.fromkeys(COLUMNS, pl.String))
        return DecodedDataset(halves[name], np.zeros(len(ids), dtype=np.int64), table, ("a",), name * 16)

    found = find_copies(decoded("small"), decoded("large"), tmp_path)
    assert found.near.tolist() == [[row, row] for row in range(7)]  # the last one is nearly black
