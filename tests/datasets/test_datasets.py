"""The datasets that come with the harness, on the archives as published where these are at hand."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from harness.data.cache import DecodedDataset, prepare
from harness.data.split import indices, make_split
from harness.dataset import Dataset
from harness.errors import DataError, RequestError

REPOSITORY = Path(__file__).parents[2]


def load_plugin(name: str) -> ModuleType:
    """A plugin file as a module of its own; the folder is no package."""
    module_name = f"_datasets_under_test_{name}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, REPOSITORY / "datasets" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        spec.loader.exec_module(module)
    return sys.modules[module_name]


def plugins(module: ModuleType) -> dict[str, type[Dataset]]:
    classes = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Dataset)]
    return {cls.name: cls for cls in classes if cls is not Dataset}


digits = load_plugin("digits")
brain_mri = load_plugin("brain_mri")
medmnist = load_plugin("medmnist")


def real(name: str) -> Path:
    root = Path(os.environ.get("GPAF_BENCH_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (root / name).is_file():
        pytest.skip(f"{name} is not in {root}")
    return root


# Digits


def test_digits_come_complete_and_in_full_range(tmp_path: Path) -> None:
    records = digits.Digits().records(tmp_path)
    assert len(records) == 1797
    assert records[42].case_id == "digits/0042"
    pixels = np.stack([record.image.load() for record in records])
    assert pixels.shape == (1797, 8, 8)
    assert set(np.unique(pixels)) == set(np.rint(np.arange(17) * 255 / 16).astype(int))


def test_some_digits_keep_their_case_ids_and_get_new_labels(tmp_path: Path) -> None:
    every = {record.case_id: record for record in digits.Digits().records(tmp_path)}
    some = digits.Digits(digits.DigitsOptions(classes=[7, 1]))
    assert some.classes == ("7", "1")
    records = some.records(tmp_path)
    assert {every[record.case_id].label: record.label for record in records} == {7: 0, 1: 1}
    assert len(records) == sum(record.label in (1, 7) for record in every.values())


@pytest.mark.parametrize("classes", [[3], [1, 1], [0, 10], ["0", "1"]])
def test_senseless_digits_are_refused(classes: list[object]) -> None:
    with pytest.raises(ValidationError):
        digits.DigitsOptions.model_validate({"classes": classes})


# Brain MRI


@pytest.fixture(scope="session")
def brain(tmp_path_factory: pytest.TempPathFactory) -> DecodedDataset:
    root = real("brain-tumor-mri-dataset.zip")
    return prepare(brain_mri.BrainMRI(), "code", 64, root, tmp_path_factory.mktemp("decoded"))


def shared(data: DecodedDataset, kind: str) -> tuple[tuple[int, ...], int, int]:
    """Sizes of the sides, clusters on more than one side, test images whose cluster reaches into train."""
    rows = indices(make_split(data, kind, 0), data)  # type: ignore[arg-type]
    sides: dict[str, set[int]] = defaultdict(set)
    for side, members in enumerate(rows):
        for row in members:
            sides[data.groups[row]].add(side)
    several = sum(len(of) > 1 for of in sides.values())
    return tuple(map(len, rows)), several, sum(0 in sides[data.groups[row]] for row in rows[2])


def test_brain_mri_is_complete_and_its_copies_are_found(brain: DecodedDataset) -> None:
    assert brain.images.shape == (7019, 64, 64, 3)
    assert Counter(brain.official) == {"train": 5708, "test": 1311}
    names = [brain.classes[label] for label in brain.labels]
    assert Counter(names) == {"glioma": 1621, "meningioma": 1645, "notumor": 1996, "pituitary": 1757}
    assert all(case.split("/")[1] == name for case, name in zip(brain.case_ids, names, strict=True))
    assert sum(count > 1 for count in Counter(brain.groups).values()) == 300
    sides = defaultdict(set)
    for group, side in zip(brain.groups, brain.official, strict=True):
        sides[group].add(side)
    assert sum(len(of) == 2 for of in sides.values()) == 189
    leaked = [g for g, side in zip(brain.groups, brain.official, strict=True) if side == "test" and "train" in sides[g]]
    assert len(leaked) == 216


def test_brain_mri_splits(brain: DecodedDataset) -> None:
    assert shared(brain, "grouped") == ((4492, 1123, 1404), 0, 0)
    sizes, several, leaked = shared(brain, "random")
    assert sizes == (4492, 1123, 1404)
    assert several > 50
    assert leaked > 50
    sizes, several, leaked = shared(brain, "official")
    assert sizes == (4567, 1141, 1311)
    assert (several, leaked > 100) == (189, True)
    whole = np.bincount(brain.labels) / len(brain.labels)
    for rows in indices(make_split(brain, "grouped", 0), brain):
        assert np.abs(np.bincount(brain.labels[rows]) / len(rows) - whole).max() < 0.01


def jpeg(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (10, 12), value).save(buffer, "JPEG")
    return buffer.getvalue()


def write_zip(root: Path, members: dict[str, bytes]) -> Path:
    path = root / "brain-tumor-mri-dataset.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


ALL_CLASSES = {
    f"{side}/{name}/{number}.jpg": jpeg(40 * label + number)
    for side in ("Training", "Testing")
    for label, name in enumerate(("pituitary", "notumor", "meningioma", "glioma"))
    for number in range(2)
}


@pytest.mark.parametrize("top", ["", "brain tumour/"])
def test_brain_mri_below_a_top_folder_is_the_same(tmp_path: Path, top: str) -> None:
    extra = {
        "README.md": b"",
        "__MACOSX/Training/glioma/._0.jpg": b"",
        f"{top}Training/glioma/.DS_Store": b"",
    }
    write_zip(tmp_path, {f"{top}{name}": content for name, content in ALL_CLASSES.items()} | extra)
    records = brain_mri.BrainMRI().records(tmp_path)
    assert [record.case_id for record in records] == sorted(ALL_CLASSES)
    assert [record.official for record in records] == ["test"] * 8 + ["train"] * 8
    assert records[0].image.load().shape == (12, 10, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Training/gliom/9.jpg": jpeg(1)}, r"unknown class folder 'gliom'; did you mean 'glioma'\?"),
        ({"Validation/glioma/9.jpg": jpeg(1)}, "Validation/glioma/9.jpg: expected Training/CLASS/IMAGE"),
        ({"loose.jpg": jpeg(1)}, "loose.jpg: expected Training/CLASS/IMAGE"),
        ({name: b"" for name in ALL_CLASSES if "notumor" in name}, "no image of class 'notumor'"),
    ],
)
def test_brain_mri_with_other_folders_is_refused(tmp_path: Path, changes: dict[str, bytes], message: str) -> None:
    members = {name: content for name, content in (ALL_CLASSES | changes).items() if content}
    write_zip(tmp_path, members)
    with pytest.raises(DataError, match=message):
        brain_mri.BrainMRI().records(tmp_path)


def test_a_damaged_brain_mri_archive_is_one_line(tmp_path: Path) -> None:
    dataset = brain_mri.BrainMRI()
    with pytest.raises(DataError, match=r"not found; download it from https://www\.kaggle\.com"):
        dataset.records(tmp_path)
    path = write_zip(tmp_path, ALL_CLASSES | {"Testing/glioma/bad.jpg": b"no image"})
    with pytest.raises(DataError, match=r"Testing/glioma/bad\.jpg: cannot be read"):
        prepare(dataset, "code", 8, tmp_path, tmp_path / "cache")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="truncated or no zip archive"):
        dataset.records(tmp_path)


# MedMNIST


def published() -> Iterator[str]:
    return (name for name in medmnist._table() if not name.endswith("3d"))


def test_the_medmnist_plugins_are_the_2d_sets_with_the_package_metadata() -> None:
    found = plugins(medmnist)
    assert set(found) == set(published())
    for name, cls in found.items():
        info = medmnist._table()[name]
        assert (cls.licence, cls.title) == (info["license"], info["python_class"])
        assert cls.ordinal == (info["task"] == "ordinal-regression")
        assert cls.__doc__ is not None and f"{name}.npz" in cls.__doc__
        if info["task"].startswith("multi-label"):
            with pytest.raises(RequestError, match=r"chestmnist.*multi-label sets are not supported yet"):
                cls()
        else:
            assert cls().classes == tuple(info["label"].values())
            assert not cls.augmentation.flip_horizontal or not any("left" in label for label in cls().classes)


def write_npz(path: Path, size: int, **changes: np.ndarray) -> None:
    rng = np.random.default_rng(size)
    arrays: dict[str, np.ndarray] = {}
    for side, count in (("train", 20), ("val", 5), ("test", 9)):
        arrays[f"{side}_images"] = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        arrays[f"{side}_labels"] = rng.integers(0, 9, (count, 1), dtype=np.uint8)
    np.savez_compressed(path, **(arrays | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "file"), [(28, "pathmnist.npz"), (64, "pathmnist_64.npz")])
def test_medmnist_in_its_published_layout(tmp_path: Path, size: int, file: str) -> None:
    write_npz(tmp_path / file, size)
    dataset = medmnist.PathMNIST(medmnist.MedMNISTOptions(size=size))
    data = prepare(dataset, "code", size, tmp_path, tmp_path / "cache")
    assert Counter(data.official) == {"train": 20, "val": 5, "test": 9}
    assert data.case_ids[20] == "pathmnist/val/000000"
    with np.load(tmp_path / file) as source:
        assert np.array_equal(data.images[25:], source["test_images"])
        assert data.labels[25:].tolist() == source["test_labels"][:, 0].tolist()
    assert len(make_split(data, "official", 0).val) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_images": np.zeros((5, 64, 64, 3), dtype=np.uint8)}, r"val_images uint8 \(5, 64, 64, 3\)"),
        ({"train_images": np.zeros((20, 28, 28))}, "train_images float64"),
        ({"test_labels": np.zeros((8, 1), dtype=np.uint8)}, r"test_labels uint8 \(8, 1\)"),
        ({"test_labels": np.zeros((9, 14), dtype=np.uint8)}, r"test_labels uint8 \(9, 14\)"),
    ],
)
def test_another_medmnist_layout_is_one_line(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    write_npz(tmp_path / "bloodmnist.npz", 28, **changes)
    with pytest.raises(DataError, match=message):
        medmnist.BloodMNIST().records(tmp_path)


def test_a_missing_or_torn_medmnist_file_says_what_to_put_where(tmp_path: Path) -> None:
    dataset = medmnist.BloodMNIST(medmnist.MedMNISTOptions(size=128))
    path = tmp_path / "bloodmnist_128.npz"
    place = rf"{path}: not found; download bloodmnist_128\.npz from https://zenodo\.org/records/10519652"
    with pytest.raises(DataError, match=place):
        dataset.records(tmp_path)
    write_npz(path, 128)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match="not as published"):
        dataset.records(tmp_path)
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(DataError, match="not as published"):
        dataset.records(tmp_path)
    np.savez(path, something=np.zeros(3))
    with pytest.raises(DataError, match=r"not as published.*train_images"):
        dataset.records(tmp_path)


def test_breastmnist_as_published(tmp_path: Path) -> None:
    data = prepare(medmnist.BreastMNIST(), "code", 28, real("breastmnist.npz"), tmp_path)
    sizes, several, leaked = shared(data, "official")
    assert (sizes, several, leaked) == ((546, 78, 156), 1, 1)
    assert shared(data, "grouped") == ((499, 124, 157), 0, 0)
    assert Counter(data.labels.tolist()) == {0: 210, 1: 570}


def test_listing_the_plugins_imports_neither_torch_nor_the_medmnist_package() -> None:
    names = ("digits", "brain_mri", "medmnist")
    program = (
        "import sys, runpy\n"
        f"for name in {names}: plugin = runpy.run_path(f'datasets/{{name}}.py', run_name=name)\n"
        "assert plugin['PathMNIST']().classes[0] == 'adipose'\n"
        "print([name for name in ('torch', 'sklearn', 'medmnist.dataset') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
