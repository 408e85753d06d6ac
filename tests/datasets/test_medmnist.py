"""The MedMNIST plugins on files in the published layout, and on a published one where it is at hand."""

from __future__ import annotations

import os
import tracemalloc
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from harness.core.errors import DataError
from harness.data.cache import prepare
from harness.data.decoded import DecodedDataset
from harness.data.split import indices, make_split
from harness.dataset import Dataset, RemoteFile
from harness.plugins import discover

REPOSITORY = Path(__file__).parents[2]


def plugin(name: str, size: int = 28) -> Dataset:
    cls = discover().find(Dataset, name, "test").cls
    return cls(cls.Options.model_validate({"size": size}))


def test_the_plugins_are_the_2d_sets_with_the_metadata_of_the_package() -> None:
    from medmnist.info import INFO

    found = {name: one.cls for name, one in discover().all(Dataset).items() if one.path.stem == "medmnist"}
    assert set(found) == {name for name in INFO if not name.endswith("3d")}
    for name, cls in found.items():
        info = INFO[name]
        assert (cls.licence, cls.title) == (info["license"], info["python_class"])
        assert cls.ordinal == (info["task"] == "ordinal-regression")
        assert cls.multi_label == info["task"].startswith("multi-label")
        assert cls.__doc__ is not None and f"{name}.npz" in cls.__doc__
        assert cls().classes == tuple(info["label"].values())
        assert not cls.augmentation.flip_horizontal or not any("left" in label for label in cls().classes)


@pytest.mark.parametrize(("size", "suffix"), [(28, ""), (64, "_64"), (128, "_128"), (224, "_224")])
def test_downloads_are_those_of_the_package_for_each_size(size: int, suffix: str) -> None:
    from medmnist.info import INFO

    dataset, info = plugin("bloodmnist", size), INFO["bloodmnist"]
    checksum = f"md5:{info[f'MD5{suffix}']}"
    assert dataset.downloads == (RemoteFile(f"bloodmnist{suffix}.npz", info[f"url{suffix}"], checksum),)
    assert dataset.files == (f"bloodmnist{suffix}.npz",)


def write_npz(path: Path, size: int, **changes: np.ndarray) -> None:
    rng = np.random.default_rng(size)
    arrays: dict[str, np.ndarray] = {}
    for side, count in (("train", 20), ("val", 5), ("test", 9)):
        arrays[f"{side}_images"] = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        arrays[f"{side}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 9
    np.savez_compressed(path, **(arrays | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "file"), [(28, "pathmnist.npz"), (64, "pathmnist_64.npz")])
def test_the_published_layout(tmp_path: Path, size: int, file: str) -> None:
    write_npz(tmp_path / file, size)
    data = prepare(plugin("pathmnist", size), "code", size, tmp_path, tmp_path / "cache")
    assert Counter(data.official) == {"train": 20, "val": 5, "test": 9}
    assert data.case_ids[20] == "pathmnist/val/000000"
    with np.load(tmp_path / file) as source:
        assert np.array_equal(data.images[:20], source["train_images"])
        assert np.array_equal(data.images[25:], source["test_images"])
        assert data.labels[25:].tolist() == source["test_labels"][:, 0].tolist()
    assert len(make_split(data, "official", 0).val) == 5


def test_several_labels_an_image(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (20, 14))
    labels[0] = 0
    grey = {
        f"{side}_images": rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for side, n in (("val", 5), ("test", 9))
    }
    write_npz(
        tmp_path / "chestmnist.npz",
        28,
        train_images=rng.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        train_labels=labels,
        val_labels=labels[:5],
        test_labels=labels[:9],
        **grey,
    )
    data = prepare(plugin("chestmnist"), "code", 28, tmp_path, tmp_path / "cache")
    assert data.multi_label
    assert np.array_equal(data.labels, np.concatenate([labels, labels[:5], labels[:9]]))
    write_npz(tmp_path / "chestmnist.npz", 28, train_labels=labels, val_labels=labels[:5])
    with pytest.raises(DataError, match=r"test_labels uint8 \(9, 1\).*14 labels of 0 or 1 each are expected"):
        plugin("chestmnist").records(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_images": np.zeros((5, 64, 64, 3), dtype=np.uint8)}, r"val_images uint8 \(5, 64, 64, 3\)"),
        ({"train_images": np.zeros((20, 28, 28))}, "train_images float64"),
        ({"test_labels": np.zeros((8, 1), dtype=np.uint8)}, r"test_labels uint8 \(8, 1\)"),
        ({"test_labels": np.zeros((9, 14), dtype=np.uint8)}, r"test_labels uint8 \(9, 14\)"),
        ({"test_labels": np.zeros(9, dtype=np.uint8)}, r"test_labels uint8 \(9,\)"),
        ({"train_images": np.asfortranarray(np.zeros((20, 28, 28), np.uint8))}, "train_images is not stored as rows"),
        ({"train_images": np.array([b"x"] * 20, dtype=object)}, "train_images is not stored as rows"),
    ],
)
def test_another_layout_is_one_line(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    write_npz(tmp_path / "bloodmnist.npz", 28, **changes)
    with pytest.raises(DataError, match=f"not as published.*{message}.*download bloodmnist.npz from"):
        plugin("bloodmnist").records(tmp_path)


def test_a_missing_or_torn_file_says_what_to_put_where(tmp_path: Path) -> None:
    dataset = plugin("bloodmnist", 128)
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


def test_damage_inside_the_images_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "pathmnist.npz"
    write_npz(path, 28)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("val_images.npy").header_offset
    content[start + 5000] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"pathmnist\.npz: val_images cannot be read from row \d on \(.*; get the file"):
        prepare(plugin("pathmnist"), "code", 28, tmp_path, tmp_path / "cache")


def test_decoding_needs_no_memory_for_the_whole_file(tmp_path: Path) -> None:
    # What np.load would hold is 300 MB. The decoded array is a file's memory and tracemalloc counts it not.
    # Rows that wait for their thread take up to 1,024 of 49 kB on a machine of 16 cores.
    count, size = 6104, 128
    with zipfile.ZipFile(tmp_path / "pathmnist_128.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for side, number in (("train", count), ("val", 1), ("test", 1)):
            with archive.open(f"{side}_images.npy", "w", force_zip64=True) as stream:
                header = {"descr": "|u1", "fortran_order": False, "shape": (number, size, size, 3)}
                np.lib.format.write_array_header_1_0(stream, header)
                for row in range(number):
                    stream.write(bytes([row % 256]) * (size * size * 3))
            with archive.open(f"{side}_labels.npy", "w") as stream:
                np.lib.format.write_array(stream, np.arange(number, dtype=np.uint8)[:, None] % 9)
    tracemalloc.start()
    try:
        data = prepare(plugin("pathmnist", size), "code", 8, tmp_path, tmp_path / "cache")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.array_equal(data.images[:count, 0, 0, 0], np.arange(count) % 256)
    assert peak < 120e6, f"{peak / 1e6:.0f} MB"


def shared(data: DecodedDataset, kind: str) -> tuple[tuple[int, ...], int, int]:
    """Sizes of the sides, clusters on more than one side, test images whose cluster reaches into train."""
    rows = indices(make_split(data, kind, 0), data)  # type: ignore[arg-type]
    sides: dict[str, set[int]] = defaultdict(set)
    for side, members in enumerate(rows):
        for row in members:
            sides[data.groups[row]].add(side)
    several = sum(len(of) > 1 for of in sides.values())
    return tuple(map(len, rows)), several, sum(0 in sides[data.groups[row]] for row in rows[2])


def test_breastmnist_as_published(tmp_path: Path) -> None:
    root = Path(os.environ.get("GPAF_BENCH_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (root / "breastmnist.npz").is_file():
        pytest.skip(f"breastmnist.npz is not in {root}")
    data = prepare(plugin("breastmnist"), "code", 28, root, tmp_path)
    sizes, several, leaked = shared(data, "official")
    assert (sizes, several, leaked) == ((546, 78, 156), 1, 1)
    assert shared(data, "grouped") == ((499, 124, 157), 0, 0)
    assert Counter(data.labels.tolist()) == {0: 210, 1: 570}
