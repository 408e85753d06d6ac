"""``python -m harness.data``: what it prints, writes and answers, on data with and without faults."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from home import one_error
from PIL import Image
from tiny import ROOT

from harness.data.__main__ import main
from harness.data.audit import Audit, ImagePair
from harness.data.card import make_card, worst_pairs
from harness.data.decoded import DecodedDataset, describe
from harness.data.leaks import Leaks, find_leaks
from harness.data.pictures import sample_grid
from harness.data.split import Split
from harness.dataset import ArrayImage, Dataset, Record
from harness.run.data_records import CARD

REAL = Path(os.environ.get("GPAF_BENCH_DATA") or ROOT.parent / "shared" / "data").absolute()
PLUGIN = '''
"""Blocks of random grey, some of them faulty."""
from pathlib import Path

import numpy as np

from harness.dataset import ArrayImage, Dataset, FileImage, Options, Record, RemoteFile


class BlocksOptions(Options):
    torn: int = 0
    archive: str | None = None


class Blocks(Dataset):
    """Random grey blocks, [bold]not[/bold] a real set."""

    name = "blocks"
    title = "Blocks"
    modality = "noise"
    licence = "CC0 1.0"
    citation = "nobody"
    Options = BlocksOptions

    @property
    def classes(self):
        return ("plain", "[red]<b>odd")

    @property
    def files(self):
        return () if self.options.archive is None else ("blocks.bin",)

    @property
    def downloads(self):
        return () if self.options.archive is None else (RemoteFile("blocks.bin", self.options.archive),)

    def records(self, root):
        rng = np.random.default_rng(0)
        pixels = [np.kron(rng.integers(0, 200, (8, 8)), np.ones((8, 8))).astype(np.uint8) for _ in range(60)]
        pixels[50], pixels[51], pixels[52] = pixels[0], pixels[1], pixels[2] + np.uint8(20)
        labels = [number % 2 for number in range(60)]
        labels[51] = 1 - labels[1]
        made = [
            Record(f"c{n:02d}", labels[n], ArrayImage(pixels[n]), official="train" if n < 40 else "test")
            for n in range(60)
        ]
        torn = [Record(f"torn{n}", 0, FileImage(Path(f"/nowhere/{n}.png"))) for n in range(self.options.torn)]
        return [*made, *torn]
'''


@pytest.fixture(autouse=True)
def place(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands run in, with the plugin in ``plugins``."""
    folder = tmp_path / "a place"
    (folder / "plugins").mkdir(parents=True)
    (folder / "plugins" / "blocks.py").write_text(PLUGIN)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(shared_cache))
    monkeypatch.setenv("GPAF_BENCH_DATA", str(folder / "none"))
    return folder


def blocks(*extra: str) -> int:
    return main(["blocks", "--plugins", "plugins", "--size", "64", *extra])


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


def test_digits_are_prepared_and_their_split_is_reusable(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["digits", "--size", "8", "--seed", "3", "--set", "classes=[0, 1, 7]"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    folder = place / "runs" / "data" / "digits-grouped-3"
    assert printed.splitlines()[-1] == str(folder / "card.html")
    assert "No identical images stand on more than one side; whether patients do is not known." in printed
    assert "No leak was found" not in printed and "If several show one patient, scores are too high" in printed

    card = json.loads((folder / "card.json").read_text())
    split = Split.from_json(json.loads((folder / "split.json").read_text()))
    cases = rows(folder / "split.csv")
    assert (split.digest, split.seed) == (card["split"]["digest"], 3)
    assert card["sides"] == {side: len(getattr(split, side)) for side in ("train", "val", "test")}
    assert {(case["side"], case["case_id"]) for case in cases} == {
        (side, case) for side in ("train", "val", "test") for case in getattr(split, side)
    }
    by_class = Counter((case["side"], case["class"]) for case in cases)
    for side, counts in card["counts"].items():
        assert counts == [by_class[side, name] for name in ("0", "1", "7")]
        assert card["shares"][side] == pytest.approx([count / card["sides"][side] for count in counts], abs=1e-6)
    assert Image.open(folder / "figures" / "sample.png").width == 618

    first = contents(folder)
    again = subprocess.run(
        [sys.executable, "-m", "harness.data", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (again.returncode, again.stdout) == (0, printed), again.stderr
    assert contents(folder) == first


def test_an_audit_shows_what_the_official_split_leaks(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert blocks("--split", "official", "--audit", "--out", "out") == 1
    printed = capsys.readouterr().out
    assert "The split leaks: 2 groups of identical images" in printed
    assert "[red]<b>odd" in printed, "a class name is no markup"

    card = json.loads((place / "out" / "card.json").read_text())
    assert card["leaks"]["duplicate_test"] == 2
    assert card["identical"] == {"sets": 2, "images": 4}
    assert card["audit"]["kinds"]["identical"] == {"pairs": 2, "straddling": 2, "test": 2, "conflicting": 1}
    found = {
        (*sorted((pair["first"], pair["second"])), pair["kind"]): pair for pair in rows(place / "out" / "audit.csv")
    }
    assert set(found) == {("c00", "c50", "identical"), ("c01", "c51", "identical"), ("c02", "c52", "near")}
    assert {ids[:2]: pair["two_labels"] for ids, pair in found.items()} == {
        ("c00", "c50"): "no",
        ("c01", "c51"): "yes",
        ("c02", "c52"): "no",
    }
    page = (place / "out" / "card.html").read_text()
    assert page.count("<img") == 2 and "Audit</h2>" in page and "&lt;b&gt;odd" in page

    assert blocks("--split", "official", "--out", "out") == 1
    assert not [name for name in contents(place / "out") if "audit" in name or "pairs" in name]


def test_a_grouped_split_of_the_same_images_is_clean(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert blocks("--out", "out") == 0

    groups: dict[str, set[str]] = {}
    for case in rows(place / "out" / "split.csv"):
        groups.setdefault(case["group"], set()).add(case["side"])
    assert len(groups) == 58
    assert all(len(sides) == 1 for sides in groups.values())


def test_a_few_unreadable_images_are_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = blocks("--set", "torn=3")

    line = one_error(code, capsys.readouterr().err, "dataset blocks: 3 of 63 images cannot be read")
    assert all(f"/nowhere/{number}.png" in line for number in range(3))
    assert "listed in" not in line and not (place / "runs").exists()


def test_many_unreadable_images_are_one_line_and_a_file(
    place: Path, shared_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = blocks("--set", "torn=60")

    err = capsys.readouterr().err
    line = one_error(code, err, "dataset blocks: 60 of 120 images cannot be read: /nowhere/0.png: ", "; and 57 more")
    assert sum("nowhere" in each for each in err.splitlines()) == 1
    listed = Path(line.rpartition("all listed in ")[2])
    assert listed.parent == shared_cache
    told = listed.read_text().splitlines()
    assert [each.startswith(f"/nowhere/{number}.png: cannot be read") for number, each in enumerate(told)] == [
        True
    ] * 60
    assert not (place / "runs").exists(), "a refused request leaves no folder"


def test_a_refused_request_leaves_the_folders_that_were_there(place: Path) -> None:
    (place / "out").mkdir()
    assert blocks("--set", "torn=1", "--out", "out") == 2
    assert list((place / "out").iterdir()) == []
    assert blocks("--set", "torn=1", "--out", "deep/down") == 2
    assert not (place / "deep").exists()


def test_the_card_says_what_was_left_out_and_which_class_is_too_small(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, number in (("common", 12), ("rare", 1)):
        (place / "raw" / "mine" / name).mkdir(parents=True)
        for n in range(number):
            pixels = np.full((9, 9), 3 * n + 100 * (name == "rare"), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "raw" / "mine" / name / f"{n}.png")
    (place / "raw" / "mine" / "rare" / "notes.txt").write_text("x")
    assert main(["image_folder", "--set", "path=mine", "--data-root", "raw", "--size", "8", "--out", "out"]) == 0

    printed = capsys.readouterr().out
    assert "files that end in .txt: 1" in printed and "class 'rare' has no test image" in printed
    card = json.loads((place / "out" / "card.json").read_text())
    assert card["left_out"] == {"files that end in .txt": 1}
    assert "Left out" in (place / "out" / "card.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["digit"], ["DATASET", "did you mean 'digits'"]),
        (["digits", "--set", "clases=[0, 1]"], ["--set clases", "did you mean 'classes'"]),
        (["digits", "--set", "classes=[0, 0]"], ["--set classes", "two different digits"]),
        (["digits", "--set", "classes"], ["KEY=VALUE"]),
        (["digits", "--size", "0"], ["image size 0"]),
        (["digits", "--size", "8", "--split", "official"], ["official split", "no official side"]),
        (["digits", "--out", "plugins/blocks.py"], ["not a folder", "--out"]),
        (["digits", "--plugins", "nowhere"], ["nowhere: no such plugin folder"]),
        (["brain_mri", "--data-root", "."], ["brain-tumor-mri-dataset.zip not found"]),
    ],
)
def test_a_wrong_request_is_one_line(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(arguments)

    one_error(code, capsys.readouterr().err, *words)


def test_download_fetches_what_is_missing_first(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "served").mkdir()
    (place / "served" / "blocks.bin").write_bytes(b"blocks")
    handler = partial(QuietHandler, directory=str(place / "served"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        command = ["--set", f"archive=http://127.0.0.1:{server.server_port}/blocks.bin", "--data-root", "raw"]
        code = blocks(*command)
        one_error(code, capsys.readouterr().err, "blocks.bin", "--download")
        assert blocks(*command, "--download") == 0
        assert (place / "raw" / "blocks.bin").read_bytes() == b"blocks"
        assert "downloaded: " in capsys.readouterr().err
        assert blocks(*command, "--download") == 0
        assert "downloaded: " not in capsys.readouterr().err
    finally:
        server.shutdown()
        server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    """Prints no line a request."""

    def log_message(self, format: str, *values: object) -> None:
        return


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from harness.data.__main__ import parser; parser().format_help(); "
        "print(*sorted(name for name in sys.modules if '.' not in name))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT)

    assert not {"torch", "numpy", "polars", "pydantic", "rich", "PIL", "matplotlib"} & set(loaded.stdout.split())


# The parts


def in_memory(
    sides: list[str], labels: list[int] | list[tuple[int, ...]], colours: dict[str, tuple[int, int, int]]
) -> tuple[DecodedDataset, Split]:
    """A dataset whose images have the colour of their side, and its split."""
    images = np.stack([np.full((8, 8, 3), colours[side], dtype=np.uint8) for side in sides])
    records = [
        Record(f"c{number}", label, ArrayImage(image), group=f"g{number // 2}")
        for number, (label, image) in enumerate(zip(labels, images, strict=True))
    ]
    made, table = describe(
        records, [record.case_id for record in records], [bytes([n]) * 32 for n in range(len(sides))]
    )
    data = DecodedDataset(images, made, table, ("one", "two"), "f00d")
    case_ids = {side: tuple(f"c{n}" for n, own in enumerate(sides) if own == side) for side in ("train", "val", "test")}
    return data, Split("random", 0, **case_ids)


def test_the_grid_shows_training_images_alone() -> None:
    colours = {"train": (255, 0, 0), "val": (0, 255, 0), "test": (0, 0, 255)}
    data, split = in_memory(["train", "test", "val", "test", "test", "train"] * 4, [0, 0, 0, 1, 1, 1] * 4, colours)

    picture = sample_grid(data, split, per_class=3)

    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGBA")).reshape(-1, 4)
    counted = {side: int((pixels == (*colour, 255)).all(axis=1).sum()) for side, colour in colours.items()}
    assert counted == {"train": 2 * 3 * 98 * 98, "val": 0, "test": 0}
    assert picture == sample_grid(data, split, per_class=3)


class Plain(Dataset):
    """One line.

    More.
    """

    name, title, modality, licence, citation = "plain", "Plain", "none", "CC0", "nobody"

    @property
    def classes(self) -> tuple[str, ...]:
        return ("one", "two")

    @property
    def files(self) -> tuple[str, ...]:
        return ()

    def records(self, root: Path) -> list[Record]:
        return []


def test_an_image_with_several_labels_counts_in_each() -> None:
    labels = [(1, 1), (0, 0), (1, 0), (0, 1)] * 2
    sides = ["train"] * 5 + ["val"] + ["test"] * 2
    data, split = in_memory(sides, labels, dict.fromkeys(("train", "val", "test"), (9, 9, 9)))

    card = make_card(Plain(), data, split, find_leaks(data, split), allow_leakage="because of this")

    assert json.loads(json.dumps(card)) == card
    assert CARD.fault(card) is None
    assert card["counts"] == {"train": [3, 3], "val": [0, 0], "test": [1, 1]}
    assert card["sides"] == {"train": 5, "val": 1, "test": 2}
    assert card["shares"]["train"] == [0.6, 0.6] and card["shares"]["all"] == [0.5, 0.5]
    assert (card["summary"], card["groups"], card["allow_leakage"]) == ("One line.", 4, "because of this")
    assert card["leaks"]["groups"] == 1


def test_a_card_with_its_audit_has_the_form_of_a_card() -> None:
    data, split = in_memory(
        ["train"] * 5 + ["val"] + ["test"] * 2, [0, 1] * 4, dict.fromkeys(("train", "val", "test"), (9, 9, 9))
    )
    leaks = find_leaks(data, split)
    pair = ImagePair("c0", "c1", ("train", "test"), ("one", "two"), "near", 0.9)
    audit = Audit(8, leaks, (), (pair,), 1000, 0, ("nothing more",))

    card = make_card(Plain(), replace(data, near_joined=True), split, leaks, audit)

    assert CARD.fault(json.loads(json.dumps(card))) is None


def test_the_worst_pairs_are_of_every_kind() -> None:
    def pair(number: int, kind: str, sides: tuple[str, str], labels: tuple[str, str]) -> ImagePair:
        return ImagePair(f"a{number}", f"b{number}", sides, labels, kind, 1.0 if kind == "identical" else 0.9)  # type: ignore[arg-type]

    apart, same = ("train", "test"), ("x", "x")
    identical = [pair(n, "identical", apart, same) for n in range(200)]
    near = [pair(n, "near", apart, same) for n in range(200, 400)] + [pair(400, "near", ("train", "train"), ("x", "y"))]
    audit = Audit(1000, Leaks(200, 200, 0, 0, 200), tuple(identical), tuple(near), 1000, 0, ())

    worst = worst_pairs(audit, most=9)

    assert [one.kind for one in worst] == ["identical"] * 4 + ["near"] * 5
    assert near[-1] in worst
    assert worst == tuple(sorted(worst, key=[*identical, *near].index))


# Real data


def test_brain_mris_official_sides_leak_as_is_known(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not (REAL / "brain-tumor-mri-dataset.zip").is_file():
        pytest.skip(f"brain-tumor-mri-dataset.zip is not in {REAL}")
    assert main(["brain_mri", "--size", "64", "--split", "official", "--data-root", str(REAL)]) == 1

    printed = capsys.readouterr().out
    assert "189 groups of identical images" in printed and "216 of the 1,311 test images" in printed
    card = json.loads((place / "runs" / "data" / "brain_mri-official-0" / "card.json").read_text())
    assert card["identical"]["sets"] == 300
    assert card["counts"]["test"] == [300, 306, 405, 300]
