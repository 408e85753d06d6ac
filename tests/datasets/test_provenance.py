"""What datasets say of where their images come from and of patients, and what a sweep makes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from archives import dataset, plugin
from tiny import run_inline, tiny_sweep

from harness.core.errors import RequestError
from harness.core.origin import group_state
from harness.data.__main__ import main as data_command
from harness.data.options import with_options
from harness.dataset import Dataset
from harness.plan.__main__ import main as plan_command
from harness.plugins import discover
from harness.run.directory import RunDirectory

PLUGIN = '''"""Scans that show patients whom the archive does not name, divided by patient by their publisher."""

import numpy as np

from harness.api import ArrayImage, Dataset, Options, Record


class ScansOptions(Options):
    """What it says of itself."""

    said: str = "unknown"
    given: int = 0
    source: str = "some-hospital"


class Scans(Dataset):
    """Noise in two classes, 60 images. Licence: CC0 1.0."""

    name, title, modality, licence, citation = "scans", "Scans", "noise", "CC0 1.0", "none"
    classes, files, official_by_patient = ("dark", "light"), (), True
    Options = ScansOptions

    @property
    def source(self):
        return self.options.source

    @property
    def groups(self):
        return self.options.said

    def records(self, root):
        rng = np.random.default_rng(0)
        images = [(rng.integers(0, 100, (8, 8)) + 120 * (number % 2)).astype(np.uint8) for number in range(60)]
        sides = ["train"] * 30 + ["val"] * 10 + ["test"] * 20
        return [
            Record(f"c{n:02d}", n % 2, ArrayImage(image), f"p{n}" if n < self.options.given else None, side)
            for n, (image, side) in enumerate(zip(images, sides, strict=True))
        ]
'''


def sweep(folder: Path, *datasets: dict[str, Any], **changes: Any) -> Path:
    (folder / "plugins").mkdir(exist_ok=True)
    (folder / "plugins" / "scans.py").write_text(PLUGIN)
    train, search = {"epochs": 1, "batch_size": 16, "image_size": 8}, {"trials": 1}
    return tiny_sweep(
        folder,
        plugins=["plugins"],
        datasets=list(datasets),
        methods=["linear_probe"],
        train=train,
        search=search,
        **changes,
    )


def test_every_dataset_names_its_source_and_what_is_known_of_patients() -> None:
    of = {
        name: (one.source, one.groups, one.official_by_patient)
        for name, found in discover().all(Dataset).items()
        if name not in ("image_folder", "image_table")
        for one in [found.cls()]
    }
    assert of["isic2018"] == ("ham10000", "known", False)
    assert of["dermamnist"] == ("ham10000", "unknown", False)
    assert {of[f"organ{plane}mnist"] for plane in "acs"} == {("lits", "unknown", True)}
    assert {name for name, (_, _, by_patient) in of.items() if by_patient} == {
        *("organamnist", "organcmnist", "organsmnist", "chestmnist", "octmnist", "pathmnist"),
    }
    assert {name for name, (_, groups, _) in of.items() if groups == "known"} == {"isic2018"}
    # Two names of one source are those above alone.
    assert len({source for source, _, _ in of.values()}) == len(of) - 3


def test_a_folders_options_decide() -> None:
    plain = dataset("image_folder", path="mine/Site A.zip")
    assert (plain.source, plain.groups) == ("mine-site-a", "unknown")
    assert dataset("image_folder", path="mine", source="ham10000").source == "ham10000"
    assert dataset("image_folder", path="mine", group_pattern="^(P[0-9]+)_").groups == "known"
    assert dataset("image_folder", path="mine", one_each=True).groups == "none"
    cls = plugin("image_folder").cls
    for wrong, words in (
        ({"source": "My Hospital"}, "x.source: 'My Hospital' is no short name"),
        ({"one_each": True, "group_pattern": "(a)"}, "x.one_each: is true, but group_pattern names patients"),
    ):
        with pytest.raises(RequestError) as caught:
            with_options(cls, {"path": "mine", **wrong}, lambda *keys: ".".join(("x", *map(str, keys))))
        assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "given", "state"),
    [
        ("unknown", ["a", "b"], "known"),
        ("known", ["a", None], "unknown"),
        ("unknown", ["a", None], "unknown"),
        ("unknown", [None], "unknown"),
        ("none", [None, None], "none"),
    ],
)
def test_groups_that_are_given_count(said: Any, given: Sequence[str | None], state: str) -> None:
    assert group_state(said, given) == state


FAULTS: dict[str, tuple[str, str]] = {
    "source": ('source = "HAM 10000"', "Scans has the source 'HAM 10000'; use lower-case letters"),
    "groups": ('groups = "maybe"', "Scans says 'maybe' of its groups; it is one of known, none, unknown"),
    "by_patient": ("official_by_patient = 1", "Scans says 1 of official_by_patient, which is True or False"),
}


@pytest.mark.parametrize(("line", "fault"), FAULTS.values(), ids=FAULTS)
def test_what_no_dataset_can_say_of_itself_is_one_line(tmp_path: Path, line: str, fault: str) -> None:
    (tmp_path / "scans.py").write_text(
        PLUGIN.replace("    Options =", f"    {line}\n    Options =").split("    @property")[0]
    )
    text = (tmp_path / "scans.py").read_text() + "    def records(self, root):\n        return []\n"
    (tmp_path / "scans.py").write_text(text)
    (error,) = [one.error for one in discover([tmp_path]).broken if one.path.parent == tmp_path]
    assert fault in error and "\n" not in error


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"said": "known"}, "says that its groups are known, but no record has one"),
        ({"said": "none", "given": 60}, "says that each image is a unit of its own, but records have groups"),
        ({"said": "perhaps"}, "says 'perhaps' of its groups"),
        ({"source": "UKE"}, "has the source 'UKE'"),
    ],
)
def test_groups_that_contradict_it_are_one_line(
    tmp_path: Path, options: dict[str, object], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(tmp_path, {"scans": None})
    given = [part for name, value in options.items() for part in ("--set", f"{name}={value}")]
    folders = ("--plugins", str(tmp_path / "plugins"), "--out", str(tmp_path / "out"), "--size", "8")
    assert data_command(["scans", *given, *folders]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert fault in error


def test_where_the_publisher_split_by_patient_that_is_the_default_and_all_of_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(tmp_path / "cache"))
    file = sweep(tmp_path, {"scans": None}, {"again": {"dataset": "scans"}}, confirm={"seeds": 2})
    assert plan_command([str(file), "--no-probe"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "scans: source some-hospital; official split, its publisher's, which is by patient" in shown
    assert shown.count("scans and again are one source (some-hospital) and count once") == 1
    assert "! scans: It is not known which images show the same patient. The publisher kept the patients" in shown

    run_inline(file, tmp_path / "run", tmp_path / "cache")
    run = RunDirectory(tmp_path / "run")
    (study,) = [one.description() for one in run.studies() if one.name.endswith("@scans")]
    assert (study["source"], study["groups"], study["split_kind"]) == ("some-hospital", "unknown", "official")
    card, split = run.cards()["scans"], json.loads((run.path / "splits" / "scans.json").read_text())
    assert (card["source"], card["group_state"], card["split"]["kind"]) == ("some-hospital", "unknown", "official")
    assert split["test"] == [f"c{number}" for number in range(40, 60)]
    report = run.report.joinpath("report.md").read_text()
    assert "split as its publishers did, by patient (split seed 0)" in report
    assert (
        "It is not known which images of scans and again show the same patient; those that do count as independent."
        in report
    )
    assert "No leak was found" not in report and "patients or lesions" not in report
    # A sweep file that named no kind goes on as it was declared; a kind that it names wins, and is flagged.
    declared = run.declaration()
    assert declared is not None and declared["declared"]["datasets"]["scans"]["split"] == "official"
    run_inline(file, tmp_path / "run", tmp_path / "cache", report=False)
    assert run.amendments() == []

    assert plan_command([str(file), "--no-probe", "--set", "split.kind=grouped"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "scans: source some-hospital; grouped split" in shown
    assert "so the grouped split kept identical images together, but not those of a patient" in shown
    assert "; the publisher's own split is by patient" in shown


def test_a_set_without_a_publishers_split_declares_what_it_always_did(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    run_inline(
        tiny_sweep(folder, methods=["linear_probe"], search={"trials": 1}),
        folder / "run",
        tmp_path / "cache",
        report=False,
    )
    record = RunDirectory(folder / "run").declaration()
    assert record is not None and record["declared"]["split"]["kind"] == "grouped"
    assert record["declared"]["datasets"]["small"] == {"dataset": "digits", "options": {"classes": [7, 8, 9]}}
