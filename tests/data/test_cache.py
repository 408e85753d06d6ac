"""The decoded cache: decoded once by whomever, found again in no time, and never silently wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

import harness.data.cache
from harness.core.errors import DataError, RequestError
from harness.core.identity import source_hash
from harness.data.cache import default_cache_root, default_data_root, is_decoded, prepare
from harness.data.decoded import DecodedDataset
from harness.dataset import ArrayImage, Dataset, Record


class Stored(Dataset):
    """Images from one npy file, each row with a label and a group of its own making."""

    name = "stored"
    title = "Stored"
    modality = "noise"
    licence = "CC0 1.0"
    citation = "https://example.org/stored"
    lists = 0

    @property
    def classes(self) -> tuple[str, ...]:
        return ("even", "odd")

    @property
    def files(self) -> tuple[str, ...]:
        return ("images.npy",)

    def records(self, root: Path) -> Sequence[Record]:
        type(self).lists += 1
        rows = np.load(root / "images.npy")
        return [Record(f"case{number}", number % 2, ArrayImage(row)) for number, row in enumerate(rows)]


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    data, cache = tmp_path / "data", tmp_path / "new" / "cache"
    data.mkdir()
    np.save(data / "images.npy", np.random.default_rng(0).integers(0, 256, (150, 8, 8), dtype=np.uint8))
    return data, cache


def decode(roots: tuple[Path, Path], dataset: Dataset | None = None, code: str = "c", size: int = 8) -> DecodedDataset:
    return prepare(dataset or Stored(), code, size, *roots)


def folders(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if not path.name.startswith("."))


def test_decodes_once_and_finds_it_again(roots: tuple[Path, Path]) -> None:
    Stored.lists = 0
    calls: list[tuple[int, int]] = []
    first = prepare(Stored(), "c", 8, *roots, progress=lambda done, total: calls.append((done, total)))
    raw = np.load(roots[0] / "images.npy")
    assert np.array_equal(first.images, np.repeat(raw[..., None], 3, axis=3))
    assert isinstance(first.images, np.memmap)
    assert not first.images.flags.writeable
    assert first.labels.dtype == np.int64
    assert first.labels[:4].tolist() == [0, 1, 0, 1]
    assert calls == [(64, 150), (128, 150), (150, 150)]

    second = decode(roots)
    assert Stored.lists == 1
    assert (second.fingerprint, second.case_ids, second.groups) == (
        first.fingerprint,
        first.case_ids,
        first.groups,
    )
    decode(roots, code="other code")
    decode(roots, size=4)
    assert Stored.lists == 3
    assert len(folders(roots[1])) == 3


def test_the_fingerprint_is_of_the_content_only(roots: tuple[Path, Path]) -> None:
    first = decode(roots)
    os.utime(roots[0] / "images.npy", ns=(1, 1))
    assert decode(roots).fingerprint == first.fingerprint
    assert len(folders(roots[1])) == 1, "nor is anything decoded again"

    rows = np.load(roots[0] / "images.npy")
    rows[149, 7, 7] ^= 1
    np.save(roots[0] / "images.npy", rows)
    assert decode(roots).fingerprint != first.fingerprint

    class Renamed(Stored):
        @property
        def classes(self) -> tuple[str, ...]:
            return ("straight", "odd")

    assert decode(roots, Renamed(), code="other code").fingerprint != decode(roots).fingerprint


def test_a_replaced_archive_is_decoded_anew_whatever_its_time_stamp_says(roots: tuple[Path, Path]) -> None:
    path = roots[0] / "images.npy"
    first, status = decode(roots), path.stat()
    rows = np.load(path)
    np.save(path, 255 - rows)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert not is_decoded(Stored(), "c", 8, *roots)
    second = decode(roots)
    assert second.fingerprint != first.fingerprint
    assert np.array_equal(second.images[..., 0], 255 - rows)
    assert is_decoded(Stored(), "c", 8, *roots)


def test_a_copy_of_an_archive_is_known_by_its_content(roots: tuple[Path, Path], tmp_path: Path) -> None:
    decode(roots)
    shutil.copytree(roots[0], tmp_path / "copy")
    Stored.lists = 0
    assert prepare(Stored(), "c", 8, tmp_path / "copy", roots[1]).case_ids == decode(roots).case_ids
    assert Stored.lists == 0 and len(folders(roots[1])) == 1


def test_an_archive_that_changes_while_it_is_decoded_is_refused(roots: tuple[Path, Path]) -> None:
    class Changing(Stored):
        def records(self, root: Path) -> Sequence[Record]:
            found = super().records(root)
            np.save(root / "images.npy", np.zeros((150, 8, 8), dtype=np.uint8))
            return found

    with pytest.raises(DataError, match="changed while they were read"):
        decode(roots, Changing())
    assert folders(roots[1]) == []


def test_other_reading_code_decodes_anew(roots: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    decode(roots)
    for change in (("of another module", "13.0.0"), ("the same", "99.0.0")):
        monkeypatch.setattr(harness.data.cache, "_reading_code", lambda change=change: change)
        assert not is_decoded(Stored(), "c", 8, *roots)
    modules = harness.data.cache._READING_CODE
    assert {"harness.data.decode", "harness.data.image_files", "harness.data.zip_members"} <= set(modules)
    assert source_hash(modules) != source_hash(modules[1:])


def test_a_cache_that_may_only_be_read_is_read(roots: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first = decode(roots)
    shutil.rmtree(roots[1] / ".content")

    def refuse(folder: Path, *given: object, **named: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(folder))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert decode(roots).fingerprint == first.fingerprint


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOMEM, errno.ETIMEDOUT])
def test_what_the_file_system_fails_is_no_damage(
    roots: tuple[Path, Path], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode(roots)

    def fail(path: object, *given: object, **named: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    for place, name, code in ((np, "load", "c"), (Path, "mkdir", "other")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, fail)
            with pytest.raises(OSError) as caught:
                decode(roots, code=code)
            assert caught.value.errno == number and caught.value.filename is not None


class Handmade(Stored):
    """Records given by the test; no file."""

    files = ()

    def __init__(self, records: list[Record]) -> None:
        super().__init__()
        self.given = records

    def find_classes(self, root: Path) -> tuple[str, ...]:
        return self.classes[: 1 + max((record.label for record in self.given), default=1)]

    def records(self, root: Path) -> Sequence[Record]:
        return self.given


def image(value: int, shape: tuple[int, ...] = (4, 4)) -> ArrayImage:
    return ArrayImage(np.full(shape, value, dtype=np.uint8))


def test_clusters_join_groups_and_identical_pixels_in_chains(roots: tuple[Path, Path]) -> None:
    records = [
        Record("e", 0, image(1), group="patient 1"),
        Record("d", 0, image(2), group="patient 1"),
        Record("c", 0, ArrayImage(np.full((4, 4, 3), 2, dtype=np.uint8)), group="patient 2"),
        Record("b", 1, image(3), group="patient 2"),
        Record("a", 1, image(4)),
        # The same after the resize, but not the same image.
        Record("f", 1, image(4, (8, 8))),
    ]
    assert decode(roots, Handmade(records), size=4).groups == ("b", "b", "b", "b", "a", "f")
    assert decode(roots, Handmade(records[::-1]), code="r", size=2).groups == ("f", "a", "b", "b", "b", "b")


def test_resizing_squashes_and_averages(roots: tuple[Path, Path]) -> None:
    halves = np.zeros((8, 32, 3), dtype=np.uint8)
    halves[:, 16:, 0] = 200
    board = ((np.indices((32, 32)).sum(axis=0) % 2) * 255).astype(np.uint8)
    data = decode(roots, Handmade([Record("a", 0, ArrayImage(halves)), Record("b", 1, ArrayImage(board))]))
    assert (data.images[0, :, :3] == 0).all()
    assert (data.images[0, :, 5:] == (200, 0, 0)).all()
    # Without antialiasing single squares of the board would come through as 0 or 255.
    assert np.abs(data.images[1].astype(int) - 127).max() <= 2


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "holds no image"),
        ([Record("a", 0, image(1)), Record("a", 1, image(2))], "'a' occurs twice"),
        ([Record("a", 1, image(1)), Record("b", 1, image(2))], "no image of class 'even'"),
        ([Record("a", 0, image(1)), Record("b", 0, image(2))], "only one class, 'even'; at least two are needed"),
        ([Record("a", 2, image(1))], "a has label 2, but labels go from 0 to 1"),
        ([Record("a", 0, image(1, (4, 4, 4))), Record("b", 1, image(1))], r"a: decoded to uint8 of shape \(4, 4, 4\)"),
        ([Record("a", 0, ArrayImage(np.zeros((4, 4)))), Record("b", 1, image(1))], "a: decoded to float64"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_record_is_named_and_leaves_nothing(
    roots: tuple[Path, Path], records: list[Record], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        decode(roots, Handmade(records))
    assert folders(roots[1]) == []
    assert not list(roots[1].rglob("images.npy"))
    # The failed owner gave the lock up: the next one, in the same process, need not wait for it to expire.
    assert len(decode(roots, Handmade([Record("a", 0, image(1)), Record("b", 1, image(2))])).images) == 2


def test_missing_files_are_named_with_the_place_and_the_remedy(roots: tuple[Path, Path]) -> None:
    with pytest.raises(DataError) as caught:
        prepare(Stored(), "c", 8, roots[0] / "elsewhere", roots[1])
    message = str(caught.value)
    for part in (
        "stored",
        "images.npy",
        str(roots[0] / "elsewhere"),
        "--data-root",
        "GPAF_BENCH_DATA",
        "example.org",
    ):
        assert part in message


def truncate(folder: Path) -> None:
    path = folder / "images.npy"
    path.write_bytes(path.read_bytes()[:-100])


def drop_a_case(folder: Path) -> None:
    table = pl.read_ipc(folder / "records.arrow")
    table[:-1].write_ipc(folder / "records.arrow")


def tear_meta(folder: Path) -> None:
    (folder / "meta.json").write_text("{")


@pytest.mark.parametrize(
    "damage", [truncate, drop_a_case, tear_meta, lambda folder: (folder / "records.arrow").unlink()]
)
def test_a_damaged_folder_is_named(roots: tuple[Path, Path], damage: object) -> None:
    decode(roots)
    (folder,) = folders(roots[1])
    assert callable(damage)
    damage(folder)
    with pytest.raises(RequestError, match="delete the folder") as caught:
        decode(roots)
    assert str(folder) in str(caught.value)


def test_default_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GPAF_BENCH_DATA", str(tmp_path / "d"))
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(tmp_path / "c"))
    assert (default_data_root(), default_cache_root()) == (tmp_path / "d", tmp_path / "c")
    monkeypatch.delenv("GPAF_BENCH_DATA")
    monkeypatch.delenv("GPAF_BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert default_data_root() == tmp_path / "gpaf-bench" / "data"
        assert default_cache_root() == tmp_path / "gpaf-bench" / "decoded"


def test_a_builder_that_was_thought_dead_leaves_the_result_to_its_successor(roots: tuple[Path, Path]) -> None:
    """A suspended owner wakes up after another process has claimed the lock and cleared its folder away."""
    (rows, cache) = (np.load(roots[0] / "images.npy"), roots[1])

    class Suspended(Stored):
        def records(self, root: Path) -> Sequence[Record]:
            return [Record("case0", 0, _Succeeded(rows[0], cache)), Record("case1", 1, ArrayImage(rows[1]))]

    class _Succeeded:
        def __init__(self, array: npt.NDArray[np.uint8], cache: Path) -> None:
            self.array, self.cache = array, cache

        def load(self) -> npt.NDArray[np.uint8]:
            (lock,) = self.cache.glob(".*.lock")
            if not (lock / "lease.0002").exists():
                expired = json.loads((lock / "lease.0001").read_text()) | {"released": "declared dead"}
                (lock / "lease.0002").write_text(json.dumps(expired))
                (begun,) = lock.glob("build.0001.*")
                for path in begun.iterdir():
                    path.unlink()
                begun.rmdir()
            return self.array

    assert len(decode(roots, Suspended()).images) == 2
    (lock,) = cache.glob(".*.lock")
    assert sorted(path.name for path in lock.iterdir()) == ["lease.0001", "lease.0002", "lease.0003"]
    assert len(folders(cache)) == 1
