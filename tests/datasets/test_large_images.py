"""Images and archives that announce more than a memory holds: refused by what they announce, before it is taken."""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from archives import dataset, encoded, picture, refused, write_folder, write_zip
from PIL import Image
from tiny import ROOT

from harness.core.errors import DataError
from harness.data.decode import decode_into
from harness.data.image_files import Memory, decode_image
from harness.data.npy_stream import NpyStream
from harness.data.zip_members import list_members, read_table
from harness.dataset import FileImage, Record, ZipImage


def blank_png(width: int, height: int, content: bool = True) -> bytes:
    """A grey PNG of any size in few bytes, or one that announces the size alone."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = zlib.compressobj(9)
    packed = b""
    if content:
        row = bytes(width + 1)
        packed = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


LARGE: dict[str, bytes] = {
    "PNG": blank_png(20_000, 10_000, content=False),
    "just above the limit": blank_png(8_001, 8_000, content=False),
    "beyond Pillow's own limit": blank_png(60_000, 60_000, content=False),
    "GIF": b"GIF89a" + struct.pack("<HHBBB", 20_000, 10_000, 0xF0, 0, 0) + bytes(6) + b",\0\0\0\0\0\0\0\0\0\2\0;",
    "BMP": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 20_000, 10_000, 1, 24, 0, 0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_large_image_is_told_the_limit_and_how_to_raise_it(kind: str) -> None:
    begun = time.process_time()
    with pytest.raises(DataError) as caught:
        decode_image(LARGE[kind], "a.png")
    line = str(caught.value)
    assert time.process_time() - begun < 0.5
    assert line.startswith("a.png: has ") and "more than the limit of 64 megapixels" in line
    assert "raise the limit (`max_megapixels` of image_folder, `max_pixels` of another dataset's plugin)" in line
    assert "again" not in line


def test_the_200_megapixels_of_a_folder_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_zip(tmp_path / "mine.zip", {"a/0.png": picture(1), "b/0.png": LARGE["PNG"]})
    line = refused("image_folder", tmp_path, path="mine.zip")
    assert line.startswith("b/0.png: has 200.0 megapixels, more than the limit of 64 megapixels; make")
    assert capfd.readouterr().err == "", "Pillow's own warning is not shown"


def test_a_plugin_and_a_user_raise_the_limit_beyond_pillows_own(monkeypatch: pytest.MonkeyPatch) -> None:
    before = 10_000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", before)
    large = blank_png(2_000, 1_000)
    images = np.ones((1, 8, 8, 3), dtype=np.uint8)

    class Source:
        def load(self) -> bytes:
            return large

    decode_into(images, [Record("a", 0, Source())], None, max_pixels=2_000_000)
    assert not images.any()
    with pytest.raises(DataError, match=r"has 2\.0 megapixels, more than the limit of 64 meg"):
        decode_image(large, "a")
    assert before == Image.MAX_IMAGE_PIXELS
    assert dataset("image_folder", path="m", max_megapixels=200.0).max_pixels == 200_000_000
    assert dataset("brain_mri").max_pixels == 64_000_000


@pytest.mark.parametrize(("width", "height"), [(70_000, 10), (10, 70_000)])
def test_a_side_that_no_image_has_is_refused(width: int, height: int) -> None:
    with pytest.raises(DataError, match=rf"is {width:,} × {height:,} pixels, and a side may have 65,535"):
        decode_image(blank_png(width, height), "a.png")


def test_a_file_that_no_such_image_needs_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "mine" / "a" / "0.bmp"
    write_folder(tmp_path / "mine", {"a/0.bmp": b"BM", "b/0.png": picture(1)})
    with path.open("r+b") as stream:
        stream.truncate(6 << 30)
    line = refused_quickly(tmp_path)
    assert line.startswith("a/0.bmp: a file of 6,442.5 MB, more than the limit of 64 megapixels")


def refused_quickly(root: Path) -> str:
    """As ``refused``; the content is not hashed, which would take seconds of a made-up file."""
    records = dataset("image_folder", path="mine").records(root)
    with pytest.raises(DataError) as caught:
        decode_into(np.zeros((len(records), 8, 8, 3), dtype=np.uint8), records, None)
    return str(caught.value)


# Memory that is taken at once


def test_threads_share_the_memory_and_one_that_needs_more_is_alone() -> None:
    memory = Memory(100)
    inside: list[int] = []
    most: list[int] = []
    lock = threading.Lock()

    def work(amount: int) -> None:
        with memory.claim() as take:
            take(amount)
            with lock:
                inside.append(amount)
                most.append(sum(inside) if len(inside) > 1 else 0)
            time.sleep(0.002)
            with lock:
                inside.remove(amount)

    threads = [threading.Thread(target=work, args=(amount,)) for amount in [30, 40, 50, 500, 60] * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    assert 0 < max(most) <= 100
    with pytest.raises(KeyError), memory.claim() as take:
        take(80)
        raise KeyError
    with memory.claim() as take:
        take(100)


PROGRAM = """
import resource, sys
from pathlib import Path
import numpy as np
from harness.data import decode
from harness.data.decode import decode_into
from harness.dataset import FileImage, Record

decode._cores = lambda: 16
decode._CHUNK = 1
decode.DECODING_BYTES = 64 << 20
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
records = [Record(str(n), 0, FileImage(Path(sys.argv[1]))) for n in range(16)]
decode_into(np.zeros((16, 8, 8, 3), dtype=np.uint8), records, None)
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(path: Path) -> float:
    """Megabytes that 16 threads take to decode a file 16 times."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    before, after = map(int, done.stdout.split())
    return (after - before) * 1024 / 1e6


@pytest.mark.parametrize("side", [1_900, pytest.param(8_000, marks=pytest.mark.large)])
def test_sixteen_threads_take_no_more_memory_than_is_allowed(tmp_path: Path, side: int) -> None:
    (tmp_path / "large.png").write_bytes(blank_png(side, side))
    # All at once they would take sixteen times 25 MB, or 450.
    allowed = max(64 << 20, 8 * side * side) / 1e6
    assert peak(tmp_path / "large.png") < 1.1 * allowed + 60


# Archives that announce what their bytes cannot hold


def announce(path: Path, **changes: int) -> None:
    """Change numbers of the last member in the archive's directory, and where they stand in its own header."""
    places = {"compressed": (20, 18), "size": (24, 22), "method": (10, 8), "offset": (42, None)}
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    own = struct.unpack_from("<I", content, entry + 42)[0]
    for name, value in changes.items():
        central, local = places[name]
        form = "<H" if name == "method" else "<I"
        struct.pack_into(form, content, entry + central, value)
        if local is not None:
            struct.pack_into(form, content, own + local, value)
    path.write_bytes(content)


BOMBS: dict[str, tuple[dict[str, int], int, str]] = {
    "large": (
        {"size": 3 << 30},
        zipfile.ZIP_DEFLATED,
        r"announces 3,221,225,472 bytes, which .* packed ones cannot hold",
    ),
    "stored": ({"size": 19_999}, zipfile.ZIP_STORED, "announces 19,999 bytes, which"),
    "beyond": ({"compressed": 1 << 30}, zipfile.ZIP_DEFLATED, "is announced beyond the end of the archive"),
    "method": (
        {"method": 97},
        zipfile.ZIP_DEFLATED,
        r".*compressed in a way that is not read \(method 97\); pack it by",
    ),
    "shared": ({"offset": 0}, zipfile.ZIP_DEFLATED, "shares its bytes with another member"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_archives_that_announce_what_cannot_be(tmp_path: Path, kind: str) -> None:
    changes, method, message = BOMBS[kind]
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a/0.png", picture(1))
        archive.writestr("b/1.png", picture(2))
    announce(path, **changes)
    with pytest.raises(DataError, match=rf"a\.zip: b/1\.png: {message}"):
        list_members(path, None)
    if kind != "shared":
        with pytest.raises(DataError, match=rf"a\.zip: b/1\.png: {message}"):
            ZipImage(path, "b/1.png").load()
    npz = tmp_path / "a.npz"
    write = np.savez if method == zipfile.ZIP_STORED else np.savez_compressed
    write(npz, first=np.zeros(2000), last=np.zeros(2000))
    announce(npz, **changes)
    with pytest.raises(ValueError, match=message.replace("another member", "another array")):
        NpyStream(npz, "last")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_without_a_limit_is_not_unpacked(tmp_path: Path, method: int) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("labels.csv", "w") as member:
        for _ in range(16):
            member.write(bytes(1 << 20))
    for read in (lambda: list_members(path, None), lambda: read_table(path, ("a",), None)):
        with pytest.raises(DataError, match=rf"labels.csv: is compressed in a way .* \(method {method}\)"):
            read()


def npy(shape: tuple[int, ...], content: bytes, descr: str = "|u1", header: str | None = None) -> bytes:
    stream = io.BytesIO()
    text = header or repr({"descr": descr, "fortran_order": False, "shape": shape})
    stream.write(b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text.encode() + content)
    return stream.getvalue()


ARRAYS: dict[str, tuple[bytes, str]] = {
    "more rows than bytes": (npy((10**12, 28, 28), b"x" * 784), "has 870 bytes where its header announces"),
    "beyond 64 bits": (npy((2**62, 2**62), b""), "where its header announces"),
    "negative": (npy((-1, -784), b"x" * 784), "not stored as rows of plain numbers"),
    "objects": (npy((1,), b"\x80\x04N.", "|O"), "not stored as rows of plain numbers"),
    "a header of gigabytes": (
        b"\x93NUMPY\x02\x00" + struct.pack("<I", 3 << 30) + bytes(100),
        "header of 3,221,225,472",
    ),
    "no header": (npy((), b"", header="(" * 500), "."),
    "a header that is code": (npy((), b"", header="__import__('os').abort()"), "."),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_that_announce_what_cannot_be(tmp_path: Path, kind: str) -> None:
    content, message = ARRAYS[kind]
    names = [f"{side}_{part}.npy" for side in ("train", "val", "test") for part in ("images", "labels")]
    write_zip(tmp_path / "bloodmnist.npz", dict.fromkeys(names, content))
    with pytest.raises(DataError, match=f"not as published.*{message}.*download bloodmnist.npz"):
        dataset("bloodmnist").records(tmp_path)


def test_labels_are_not_read_before_they_fit_the_images(tmp_path: Path) -> None:
    images = np.zeros((3, 28, 28, 3), dtype=np.uint8)
    arrays = {f"{side}_images": images for side in ("train", "val", "test")}
    huge = np.zeros((50_000_000, 1), dtype=np.uint8)
    np.savez_compressed(tmp_path / "bloodmnist.npz", **arrays, **dict.fromkeys(("train_labels", "val_labels"), huge))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"train_labels uint8 \(50000000, 1\)"):
        dataset("bloodmnist").records(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_more_images_than_are_published_are_refused(tmp_path: Path) -> None:
    arrays = {f"{side}_images": np.zeros((2000, 28, 28, 3), dtype=np.uint8) for side in ("train", "val", "test")}
    arrays |= {f"{side}_labels": np.zeros((2000, 1), dtype=np.uint8) for side in ("train", "val", "test")}
    np.savez_compressed(tmp_path / "bloodmnist.npz", **arrays)
    with pytest.raises(DataError, match="2,000 images in val, where 1,712 are published"):
        dataset("bloodmnist").records(tmp_path)


def test_arrays_that_are_not_published_are_counted(tmp_path: Path) -> None:
    arrays = {f"{side}_images": np.zeros((9, 28, 28, 3), dtype=np.uint8) for side in ("train", "val", "test")}
    arrays |= {f"{side}_labels": np.zeros((9, 1), dtype=np.uint8) for side in ("train", "val", "test")}
    np.savez_compressed(tmp_path / "bloodmnist.npz", **arrays, extra=np.zeros(3))
    assert dataset("bloodmnist").left_out(tmp_path) == {"arrays that MedMNIST does not name": 1}


# Oddities of single formats that must neither raise nor speak


def animated(frames: int) -> bytes:
    pages = [Image.new("L", (4, 3), n % 256) for n in range(frames)]
    return encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])


ODD: dict[str, Callable[[], bytes]] = {
    "many pages": lambda: animated(400),
    "junk in EXIF": lambda: encoded(Image.new("RGB", (4, 3)), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08" + b"\xff" * 99),
    "junk as profile": lambda: encoded(Image.new("RGB", (4, 3)), "PNG", icc_profile=b"\xff" * 5000),
    "a side of 0": lambda: blank_png(0, 5),
    "Adobe's CMYK": lambda: encoded(Image.new("CMYK", (4, 3)), "JPEG"),
    "end missing": lambda: encoded(Image.effect_noise((60, 60), 50), "WEBP")[:-200],
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_files_are_taken_or_refused_in_silence(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(ODD[kind]())
    begun = time.process_time()
    try:
        decode_into(np.zeros((1, 8, 8, 3), dtype=np.uint8), [Record("a", 0, FileImage(path))], None)
    except DataError as error:
        assert "\n" not in str(error) and str(error).startswith("a: ")
    assert time.process_time() - begun < 1
    assert capfd.readouterr() == ("", "")
