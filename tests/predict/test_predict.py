"""Predictions of new images with kept models: those of the trial, bit for bit, and nothing is written into the run."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
import torch
from home import Home, content, one_error
from jobs import decode_digits
from PIL import Image
from tiny import ROOT, environment, run_inline, tiny_sweep

from harness.api import load_model
from harness.core.errors import RequestError
from harness.metrics.logits import sigmoid, softmax
from harness.predict.__main__ import main
from harness.predict.models import find_kept, open_models
from harness.predict.table import mean_probabilities, predicted_classes
from harness.predict.temperature import HIGHEST, LOWEST, fitted_temperature
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder

CELL = "lora_c@small"
SEEDS = (1000, 1001)


@dataclass(frozen=True)
class Kept:
    """A finished run that kept its models, and its test images as files."""

    run: RunDirectory
    images: Path
    pixels: npt.NDArray[np.uint8]
    cache: Path

    def trial(self, seed: int) -> TrialFolder:
        (found,) = (one for one in self.run.study(CELL).trials("confirm") if one.request()["seed"] == seed)
        return found

    def recorded(self, seed: int) -> npt.NDArray[np.float64]:
        return self.trial(seed).predictions().select(pl.col("^logit_.*$")).to_numpy()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Kept:
    folder = tmp_path_factory.mktemp("kept")
    file = tiny_sweep(folder, methods=["lora_c"], confirm={"seeds": 2, "keep": "chosen"})
    run_inline(file, folder / "run", shared_cache, report=False)
    run = RunDirectory(folder / "run")
    data = decode_digits(shared_cache)[1]
    (first, *_) = run.study(CELL).trials("confirm")
    pixels = data.images[[data.rows[case] for case in first.predictions()["case_id"]]]
    (folder / "images" / "deeper").mkdir(parents=True)
    for place, image in enumerate(pixels):
        # Sorted by their paths they are in the order of the test split.
        where = "deeper" if place < 5 else "some"
        (folder / "images" / where).mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / "images" / where / f"{place:04d}.png")
    return Kept(run, folder / "images", pixels, shared_cache)


@pytest.fixture
def kept(finished: Kept, monkeypatch: pytest.MonkeyPatch) -> Kept:
    for name, value in environment(finished.cache).items():
        monkeypatch.setenv(name, value)
    return finished


def predict(kept: Kept, out: Path, *extra: str, images: Path | None = None, expect: int = 0) -> pl.DataFrame:
    command = [str(kept.run.path), CELL, str(images or kept.images), "--out", str(out), "--device", "cpu", *extra]
    assert main(command) == expect
    return pl.read_parquet(out) if out.suffix == ".parquet" else pl.read_csv(out)


def probabilities(frame: pl.DataFrame) -> npt.NDArray[np.float64]:
    return frame.select(pl.col("^p_.*$")).to_numpy()


def test_one_replicate_predicts_what_its_trial_recorded_and_an_ensemble_their_mean(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {**content(kept.run.path), "folders": sorted(map(str, kept.run.path.rglob("*")))}
    alone = [
        predict(kept, tmp_path / f"{seed}.parquet", "--replicate", str(seed), "--no-temperature") for seed in SEEDS
    ]
    for seed, frame in zip(SEEDS, alone, strict=True):
        assert np.array_equal(probabilities(frame), softmax(kept.recorded(seed)))
        assert frame["models"].unique().to_list() == [1] and frame["error"].null_count() == len(kept.pixels)
        names = np.array(["7", "8", "9"])[kept.recorded(seed).argmax(axis=1)]
        assert frame["predicted"].to_list() == names.tolist()
    assert alone[0]["file"][0] == "deeper/0000.png" and not alone[0].equals(alone[1])
    both = predict(kept, tmp_path / "both.csv", "--no-temperature")
    assert both.columns == ["file", "p_7", "p_8", "p_9", "predicted", "models", "error"]
    wanted = (softmax(kept.recorded(SEEDS[0])) + softmax(kept.recorded(SEEDS[1]))) / 2
    assert np.array_equal(probabilities(both), wanted) and both["models"].unique().to_list() == [2]
    said = capsys.readouterr().out
    assert "mean of the probabilities of 2 replicates of lora_c@small (1000, 1001), no temperature" in said
    assert {**content(kept.run.path), "folders": sorted(map(str, kept.run.path.rglob("*")))} == before


def test_a_zip_archive_and_a_single_image_are_read_too(kept: Kept, tmp_path: Path) -> None:
    files = sorted(path for path in kept.images.rglob("*.png"))[:3]
    archive = tmp_path / "some.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in files:
            opened.write(path, path.relative_to(kept.images))
    whole = predict(kept, tmp_path / "whole.parquet", "--replicate", "1000")
    zipped = predict(kept, tmp_path / "zipped.parquet", "--replicate", "1000", images=archive)
    single = predict(kept, tmp_path / "single.parquet", "--replicate", "1000", images=files[0])
    assert zipped["file"].to_list() == whole["file"].to_list()[:3] and single["file"].to_list() == ["0000.png"]
    assert np.allclose(probabilities(zipped), probabilities(whole)[:3], atol=1e-6)
    assert np.allclose(probabilities(single), probabilities(whole)[:1], atol=1e-6)


def test_the_temperature_is_of_the_validation_images_of_the_same_replicate(kept: Kept, tmp_path: Path) -> None:
    models = open_models(find_kept(kept.run, CELL), device="cpu")
    assert [model.seed for model in models] == list(SEEDS)
    assert len({model.temperature for model in models}) == 2 and all(model.temperature != 1 for model in models)
    frame = predict(kept, tmp_path / "scaled.parquet", "--replicate", "1001")
    assert np.array_equal(probabilities(frame), softmax(kept.recorded(1001) / models[1].temperature))
    # No test image is within reach of what fits it.
    assert "test" not in models[0].restored.data.positions


@pytest.mark.parametrize(("logit", "right", "of"), [(2.0, 3, 4), (1.0, 2, 3), (6.0, 9, 10)])
def test_a_temperature_makes_two_classes_as_sure_as_they_are_right(logit: float, right: int, of: int) -> None:
    # Every prediction is class 0 with the same logit, so that its probability has to be the share that is right.
    logits = np.tile([logit, 0.0], (of, 1))
    labels = np.array([0] * right + [1] * (of - right))
    wanted = logit / math.log(right / (of - right))
    assert fitted_temperature(logits, labels) == pytest.approx(wanted, rel=1e-9)
    # The same as a question of its own, for an image that may bear several classes.
    assert fitted_temperature(logits[:, :1], 1 - labels[:, None]) == pytest.approx(wanted, rel=1e-9)


def test_a_temperature_has_limits() -> None:
    logits = np.tile([1.0, 0.0], (4, 1))
    assert fitted_temperature(logits, np.zeros(4, dtype=np.int64)) == LOWEST
    assert fitted_temperature(logits, np.ones(4, dtype=np.int64)) == HIGHEST


def test_an_ensemble_is_the_mean_of_probabilities() -> None:
    members = [np.array([[0.9, 0.1], [0.6, 0.4], [0.5, 0.5]]), np.array([[0.3, 0.7], [0.2, 0.8], [0.5, 0.5]])]
    mean = mean_probabilities(members)
    assert np.allclose(mean, [[0.6, 0.4], [0.4, 0.6], [0.5, 0.5]])
    assert predicted_classes(mean, ("a", "b"), multi_label=False) == ["a", "b", "a"]
    several = np.array([[0.9, 0.6], [0.5, 0.51], [0.1, 0.2]])
    assert predicted_classes(several, ("a", "b"), multi_label=True) == ["a;b", "b", ""]


def test_an_image_that_cannot_be_read_is_named(kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "images"
    shutil.copytree(kept.images / "deeper", folder)
    (folder / "0001.png").write_bytes((folder / "0001.png").read_bytes()[:60])
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(folder / "0003.png")
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"")
    frame = predict(kept, tmp_path / "some.csv", "--no-temperature", images=folder, expect=1)
    assert "3 images could not be read" in capsys.readouterr().err
    assert frame["file"].to_list() == [f"{place:04d}.png" for place in range(5)] + ["gone.png"]
    unread = frame.filter(pl.col("error").is_not_null())
    assert unread["file"].to_list() == ["0001.png", "0003.png", "gone.png"]
    assert "0001.png: not a readable image" in unread["error"][0] and "8 bits" in unread["error"][1]
    assert "gone.png: cannot be read" in unread["error"][2]
    assert unread["p_7"].null_count() == 3 and unread["predicted"].null_count() == 3
    assert frame["models"].to_list() == [2, 0, 2, 0, 2, 0]
    whole = predict(kept, tmp_path / "whole.csv", "--no-temperature")
    assert np.allclose(probabilities(frame)[[0, 2, 4]], probabilities(whole)[[0, 2, 4]], atol=1e-6)


@pytest.mark.parametrize(("changes", "words"), [
    ({"cell": "lora@small"}, "'lora' is none of the methods"),
    ({"cell": "lora_c@smal"}, "'smal' is none of the datasets"),
    ({"cell": "lora_c"}, "not of the form"),
    ({"cell": "lora_c,gpaf@small"}, "'gpaf' is none of the methods"),
    ({"cell": "lora_c@small:7"}, "no model of replicate 7 was kept; those of 1000, 1001 were"),
    ({"extra": ["--replicate", "7"]}, "no model of replicate 7 was kept; those of 1000, 1001 were"),
    ({"cell": "lora_c@small:1000", "extra": ["--replicate", "1001"]}, "names another replicate"),
    ({"images": "empty"}, "holds no image"),
    ({"images": "nowhere"}, "no such folder, zip archive or image"),
    ({"images": "torn.zip"}, "truncated or no zip archive"),
    ({"out": "table.txt"}, "ends in neither .csv nor .parquet"),
    ({"out": "there.csv"}, "exists already"),
    ({"out": "no/table.csv"}, "there is no folder"),
    ({"out": "RUN/table.csv"}, "is inside the run directory"),
    ({"run": "empty"}, "empty"),
    ({"extra": ["--device", "tpu"]}, "--device tpu"),
])  # fmt: skip
def test_what_cannot_be_done_takes_one_line(
    kept: Kept, tmp_path: Path, changes: dict[str, object], words: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("torn.zip").write_bytes(b"PK")
    Path("there.csv").write_text("mine")
    given = {"run": kept.run.path, "cell": CELL, "images": kept.images, "out": "table.csv", "extra": [], **changes}
    out = str(given["out"]).replace("RUN", str(kept.run.path))
    extra = given["extra"]
    assert isinstance(extra, list)
    before = content(kept.run.path)
    code = main([str(given["run"]), str(given["cell"]), str(given["images"]), "--out", out, *extra])
    one_error(code, capsys.readouterr().err, words)
    assert content(kept.run.path) == before and Path("there.csv").read_text() == "mine"
    assert not Path("table.csv").exists()


def test_a_damaged_or_foreign_model_is_refused(kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory(Path(shutil.copytree(kept.run.path, tmp_path / "run")))
    first, second = run.study(CELL).trials("confirm")
    shutil.copy(first.trained_path, second.trained_path)
    command = [str(run.path), CELL, str(kept.images), "--out", str(tmp_path / "t.csv"), "--device", "cpu"]
    one_error(main(command), capsys.readouterr().err, second.trained_path.name)
    # Where nobody recorded a digest, its validation scores tell.
    result = json.loads(second.result_path.read_text())
    del result["files"]
    second.result_path.write_text(json.dumps(result))
    one_error(main(command), capsys.readouterr().err, "gives another validation")


def test_where_nothing_was_kept_one_line_says_what_to_do_and_that_works(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "new.png"
    Image.fromarray(np.full((20, 30, 3), 7, dtype=np.uint8)).save(image)
    command = [str(home.run), "my_probe@zero_one", str(image), "--out", str(tmp_path / "t.csv"), "--device", "cpu"]
    said = one_error(main(command), capsys.readouterr().err, "no model was kept", "device-hours by their records")
    assert "write `confirm: {keep: chosen}` in the sweep file, move the 1 folders of its confirm trials out" in said
    home.file.write_text(home.file.read_text().replace("repeat: false", "repeat: false, keep: chosen"))
    shutil.move(home.confirm_trial, tmp_path / "moved")
    home.sweep(report=False)
    capsys.readouterr()
    # The run names a plugin, whose code nobody has trusted yet.
    one_error(main(command), capsys.readouterr().err, "whose code would run here; add --code")
    assert main([*command, "--code"]) == 0
    assert pl.read_csv(tmp_path / "t.csv")["file"].to_list() == ["new.png"]
    home.plugin.write_text(
        home.plugin.read_text().replace("super().__init__()", "super().__init__()  # x") + "\nX = 1\n"
    )
    (tmp_path / "t.csv").unlink()
    one_error(main([*command, "--code"]), capsys.readouterr().err, "since it was trained")


def test_some_replicates_without_a_model_are_counted(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(Path(shutil.copytree(kept.run.path, tmp_path / "run")))
    run.study(CELL).trials("confirm")[0].trained_path.unlink()
    command = [str(run.path), CELL, str(kept.images), "--out", str(tmp_path / "t.csv"), "--device", "cpu"]
    assert main(command) == 0
    assert "note: 1 of 2 finished replicates kept no model" in capsys.readouterr().err
    assert pl.read_csv(tmp_path / "t.csv")["models"].unique().to_list() == [1]


def test_names_that_a_spreadsheet_would_run_are_guarded(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    shutil.copy(kept.images / "deeper" / "0000.png", tmp_path / "images" / "=cmd().png")
    frame = predict(kept, tmp_path / "t.csv", "--replicate", "1000", images=tmp_path / "images")
    assert frame["file"].to_list() == ["'=cmd().png"]


def test_a_program_gets_the_model_itself(kept: Kept) -> None:
    model = load_model(kept.run.path, CELL, 1000)
    images = torch.from_numpy(kept.pixels.copy()).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (model.normalisation.mean, model.normalisation.std))
    with torch.inference_mode():
        logits = model((images - mean) / std)
    assert not model.training and np.allclose(logits.double().numpy(), kept.recorded(1000), atol=1e-4)
    with pytest.raises(RequestError, match="no model of replicate 3 was kept"):
        load_model(kept.run.path, CELL, 3)


def test_the_program_of_the_page_runs(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "using-a-model.md").read_text()
    (text,) = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    for there, here in (("runs/my_sweep", str(kept.run.path)), ("gpaf@isic2018", CELL), ("224, 224", "8, 8")):
        assert there in text
        text = text.replace(there, here)
    shutil.copy(kept.images / "deeper" / "0003.png", tmp_path / "lesion.png")
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(text, "predict_one.py", "exec"), {})
    printed = [float(number) for number in re.findall(r"\d\.\d+(?:e-\d+)?", said.getvalue())]
    assert np.allclose(printed, softmax(kept.recorded(1000))[3], atol=1e-3)


def test_images_of_several_classes_are_resized_and_each_class_has_a_probability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for side, count in (("train", 64), ("val", 24), ("test", 30)):
        arrays[f"{side}_images"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{side}_labels"] = (rng.random((count, 14)) < 0.3).astype(np.uint8)
    np.savez_compressed(tmp_path / "chestmnist.npz", **arrays)  # type: ignore[arg-type]
    file = tiny_sweep(
        tmp_path,
        datasets=["chestmnist"],
        methods=["linear_probe"],
        train={"epochs": 1, "image_size": 16},
        search={"trials": 1, "seeds": [0]},
        confirm={"seeds": [1000], "keep": "chosen"},
    )
    run_inline(file, tmp_path / "run", tmp_path / "cache", "--data-root", str(tmp_path), report=False)
    (trial,) = RunDirectory(tmp_path / "run").study("linear_probe@chestmnist").trials("confirm")
    recorded = trial.predictions()
    (tmp_path / "images").mkdir()
    for place, case in enumerate(recorded["case_id"]):
        image = arrays["test_images"][int(re.findall(r"\d+", case)[-1])]
        Image.fromarray(image).save(tmp_path / "images" / f"{place:03d}.png")
    for name, value in environment(tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "t.parquet"
    command = [str(tmp_path / "run"), "linear_probe@chestmnist", str(tmp_path / "images"), "--out", str(out)]
    assert main([*command, "--no-temperature", "--device", "cpu", "--data-root", str(tmp_path)]) == 0
    frame = pl.read_parquet(out)
    logits = recorded.select(pl.col("^logit_.*$")).to_numpy()
    assert np.array_equal(probabilities(frame), sigmoid(logits)) and len(frame) == 30
    names = [name.removeprefix("p_") for name in frame.columns if name.startswith("p_")]
    said = [";".join(name for name, one in zip(names, row, strict=True) if one > 0) for row in logits]
    assert frame["predicted"].to_list() == said and "atelectasis" in names
    # Without the images nothing says that the model is what it was; one line says what is missing.
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(tmp_path / "elsewhere"))
    out.unlink()
    code = main([*command, "--device", "cpu", "--data-root", str(tmp_path / "nothing")])
    one_error(code, capsys.readouterr().err, "chestmnist")
