"""Rows of a compressed array come right in any order, from any thread or process, and damage is told."""

from __future__ import annotations

import os
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness.data.npy_stream
from harness.core.errors import DataError
from harness.data.npy_stream import NpyStream, RowImage

ARRAY = np.random.default_rng(0).integers(0, 256, (200, 9, 7, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("npz") / "some.npz"
    np.savez_compressed(path, images=ARRAY, words=np.arange(40, dtype=">i4").reshape(20, 2))
    return path


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.integers(0, len(ARRAY) - 1), max_size=60), kept=st.integers(0, 30))
def test_rows_come_in_any_order_and_however_few_are_kept(archive: Path, rows: list[int], kept: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness.data.npy_stream, "KEPT_ROWS", kept)
        stream = NpyStream(archive, "images")
        for row in rows:
            assert np.array_equal(stream.row(row), ARRAY[row])


def test_other_types_and_copies_for_another_process(archive: Path) -> None:
    stream = NpyStream(archive, "words")
    assert (len(stream), stream.shape, stream.dtype) == (20, (20, 2), np.dtype(">i4"))
    assert pickle.loads(pickle.dumps(RowImage(stream, 7))).load().tolist() == [14, 15]
    for row in (-1, 20):
        with pytest.raises(IndexError):
            stream.row(row)


def test_ascending_chunks_of_many_threads_are_read_once(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    open_member = zipfile.ZipFile.open

    def count(self: zipfile.ZipFile, name: str, mode: str = "r") -> object:
        opened.append(name)
        return open_member(self, name, mode)

    monkeypatch.setattr(zipfile.ZipFile, "open", count)
    monkeypatch.setattr(harness.data.npy_stream, "KEPT_ROWS", 8 * 10)
    stream = NpyStream(archive, "images")
    with ThreadPoolExecutor(8) as pool:
        chunks = list(pool.map(lambda start: [stream.row(start + i) for i in range(10)], range(0, len(ARRAY), 10)))
    assert np.array_equal(np.concatenate(chunks), ARRAY)
    assert opened == ["images.npy"] * 2, "once for the header, once for all rows"


def test_a_forked_child_and_its_parent_both_read_on(archive: Path) -> None:
    stream = NpyStream(archive, "images")
    stream.row(49)
    # Another thread of the parent may be reading during the fork: its lock is for ever held in the child.
    with stream._reader.lock:
        child = os.fork()
        if child == 0:
            right = all(np.array_equal(stream.row(row), ARRAY[row]) for row in range(50, 200))
            os._exit(0 if right else 1)
    assert all(np.array_equal(stream.row(row), ARRAY[row]) for row in range(50, 200))
    assert os.waitpid(child, 0)[1] == 0


def test_damage_is_told_for_each_row_behind_it_and_the_archive_is_not_read_again(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "damaged.npz"
    # Stored, not deflated: a changed byte is noticed by the checksum alone, when the array's end is read.
    np.savez(path, images=ARRAY)
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    stream = NpyStream(path, "images")
    with pytest.raises(DataError, match=r"damaged\.npz: images cannot be read from row 19\d on \(Bad CRC-32"):
        [stream.row(row) for row in range(200)]

    torn = tmp_path / "torn.npz"
    content = bytearray(archive.read_bytes())
    content[4000:5000] = bytes(1000)
    torn.write_bytes(content)
    stream = NpyStream(torn, "images")
    with pytest.raises(DataError, match=r"torn\.npz: images cannot be read from row \d+ on .*; get the file again"):
        stream.row(199)
    monkeypatch.setattr(harness.data.npy_stream, "ZipFile", None)
    with pytest.raises(DataError, match="cannot be read from row"):
        stream.row(198)


def test_an_array_of_another_length_than_announced_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.npz"
    with zipfile.ZipFile(path, "w") as file, file.open("images.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (200, 9, 7, 3)})
        stream.write(ARRAY[:150].tobytes())
    with pytest.raises(ValueError, match="images has 28478 bytes where its header announces 37928"):
        NpyStream(path, "images")


def test_a_file_that_was_replaced_in_between_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    np.savez_compressed(path, images=ARRAY)
    stream = NpyStream(path, "images")
    np.savez_compressed(path, images=ARRAY[:, :3])
    with pytest.raises(DataError, match="replaced while it was read"):
        stream.row(0)
