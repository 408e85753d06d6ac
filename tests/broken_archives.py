"""Broken archives, tables, arrays and images: made of small valid ones by what transfers, programs and attackers do.

``python -m tests.broken_input archives --count 1000``
"""

from __future__ import annotations

import csv
import io
import os
import random
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from broken_images import damaged, odd_image, picture
from broken_input import Reader
from hypothesis import strategies as st

from harness.core.errors import run_command
from harness.data.cache import prepare
from harness.data.split import make_split
from harness.dataset import Dataset
from harness.plugins import Catalogue, discover
from harness.spec.source import YamlSource
from harness.studies.loading import read_options

Files = dict[str, bytes | None]
"""Path below the data root → content; None is a named pipe."""

_ISIC = "ISIC2018_Task3_Training_"


@dataclass(frozen=True)
class Broken:
    """One example."""

    seed: int
    dataset: str
    files: Files
    options: tuple[str, ...] = ()
    story: list[str] = field(default_factory=list)


def make(seed: int) -> Broken:
    """The example of a seed; the same each time."""
    draw = random.Random(seed)
    made = draw.choice((_folder_archive, _folder_archive, _folder, _folder, _brain, _isic, _medmnist))(draw, seed)
    # Some stay as they are laid out, and are broken in their images or names alone.
    if draw.random() < 0.6:
        name = draw.choice(sorted(name for name, content in made.files.items() if content))
        content = made.files[name]
        assert content is not None
        for _ in range(draw.randint(1, 3)):
            content = damaged(content, draw, made.story)
        made.files[name] = content
    return made


# Folders and archives of images

_NAMES = (
    *("../x.png", "a/../../x.png", "/etc/x.png", "C:\\x.png", "C:/x.png", "\\\\host\\x.png", "a\\0.png", "a//0.png"),
    *("./a/0.png", "a/./0.png", "", "/", ".", "..", "a/", "a", "a/0.png/", "a/0.png/1.png", "A/0.png", "a /0.png"),
    *("a/" + "x" * 3000 + ".png", "x/" * 400 + "0.png", "a/\x1b[31m.png", "a/x\ny.png", "a/x\0y.png", "a/\u202e.png"),
    *("__MACOSX/a/._0.png", "@eaDir/0.png", ".git/config", "Thumbs.db", "a/0_mask.png", "masks/0.png", "train/a/9.png"),
    *(
        "train/9.png",
        "fold1/9.png",
        "a/0.PNG",
        "a/notes.txt",
        "a/0.gif",
        "a/noending",
        "gro\u0308ße/0.png",
        "größe/0.png",
    ),
    *("c/0.dcm", "images/a/0.png", "a/p1/0.png", "=cmd/0.png", "%s/{0}.png", "a/inner.zip", "a/0.svg", "CON/nul.png"),
)


def _laid_out(draw: random.Random, story: list[str]) -> Files:
    top = draw.choice(("", "", "", "mine/", "outer/inner/", "train/", "images/", "\u00fc/"))
    classes = draw.choice((("a", "b"), ("a", "b"), ("a", "A"), ("a",), ("a", "b", "c"), ("train", "test"), ("1", "10")))
    story.append(f"{top}{'|'.join(classes)}")
    files: Files = {f"{top}{name}/{n}.png": picture(20 * k + n) for k, name in enumerate(classes) for n in range(6)}
    for _ in range(draw.choice((0, 0, 1, 1, 2, 5))):
        name = draw.choice(_NAMES) if draw.random() < 0.6 else f"{top}{draw.choice(classes)}/odd{draw.randrange(9)}.png"
        files[name] = odd_image(draw, story)
        story.append(f"+ {name[:40]!a}")
    return files


def _zipped(files: Files, draw: random.Random, story: list[str]) -> bytes:
    stream = io.BytesIO()
    usual = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")
        for name, content in files.items():
            odd = draw.random() < 0.02
            method = draw.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)) if odd else usual
            entry = zipfile.ZipInfo(name or "x")
            entry.filename = name
            archive.writestr(entry, content or b"", compress_type=method)
            if draw.random() < 0.01:
                archive.writestr(name, content or b"")
                story.append(f"twice: {name[:40]!a}")
    return stream.getvalue()


def _options(draw: random.Random) -> tuple[str, ...]:
    more = (
        "masks=keep",
        'exclude=["*_mask*"]',
        "ignore=[c]",
        "classes=[a, b]",
        "group_pattern=(.)",
        "max_megapixels=1",
    )
    return tuple(draw.sample(more, draw.choice((0, 0, 0, 1, 2))))


def _folder_archive(draw: random.Random, seed: int) -> Broken:
    story: list[str] = []
    files: Files = {"mine.zip": _zipped(_laid_out(draw, story), draw, story)}
    return Broken(seed, "image_folder", files, ("path=mine.zip", *_options(draw)), story)


def _folder(draw: random.Random, seed: int) -> Broken:
    story: list[str] = []
    files: Files = {}
    for name, content in _laid_out(draw, story).items():
        # A file system takes no names that leave it, are too long, or are of a file and a folder.
        parts = name.split("/")
        fits = all(part not in ("", ".", "..") and "\0" not in part and len(part) < 200 for part in parts)
        path = f"mine/{name}"
        if (
            fits
            and len(parts) < 50
            and not any(known.startswith(f"{path}/") or path.startswith(f"{known}/") for known in files)
        ):
            files[path] = content
    if draw.random() < 0.05:
        files["mine/a/pipe.png"] = None
        story.append("named pipe")
    return Broken(seed, "image_folder", files, ("path=mine", *_options(draw)), story)


# Published archives


def _brain(draw: random.Random, seed: int) -> Broken:
    story: list[str] = []
    top = draw.choice(("", "", "brain/", "a/b/"))
    files: Files = {
        f"{top}{side}/{name}/{n}.jpg": picture(n + 3 * k)
        for side in ("Training", "Testing")
        for k, name in enumerate(("glioma", "meningioma", "notumor", "pituitary"))
        for n in range(3)
    }
    for _ in range(draw.choice((0, 1, 3))):
        name = draw.choice((*_NAMES, "Training/glioma/9.jpg", "other/Training/glioma/0.jpg", "Training/Glioma/9.jpg"))
        files[name] = odd_image(draw, story)
        story.append(f"+ {name[:40]!a}")
    return Broken(seed, "brain_mri", {"brain-tumor-mri-dataset.zip": _zipped(files, draw, story)}, (), story)


def _isic(draw: random.Random, seed: int) -> Broken:
    story: list[str] = []
    cases = [f"ISIC_{number:07d}" for number in range(14)]
    images: Files = {f"Input/{case}.jpg": picture(number) for number, case in enumerate(cases)}
    if draw.random() < 0.4:
        images[draw.choice(("Input/LICENSE.txt", "Input/ISIC_0000000.png", *_NAMES))] = odd_image(draw, story)
    labels = [["image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]]
    labels += [[case, *("1.0" if n % 7 == k else "0.0" for k in range(7))] for n, case in enumerate(cases)]
    lesions = [
        ["image", "lesion_id", "diagnosis_confirm_type"],
        *([case, f"HAM_{n // 2}", "x"] for n, case in enumerate(cases)),
    ]
    for table in (labels, lesions):
        for _ in range(draw.choice((0, 0, 1, 2))):
            row = draw.choice(table)
            value = draw.choice(
                ("", "nan", "1e999", "2", '"', "\0", "x" * 5000, "ISIC_0000001", "=1", "\x1b[31m", "inf")
            )
            row[draw.randrange(len(row))] = value
            story.append(f"cell {value[:12]!r}")
        if draw.random() < 0.2:
            del table[draw.randrange(len(table))]
    truth: Files = {"Truth/Truth.csv": _csv(labels)}
    files: Files = {
        f"{_ISIC}Input.zip": _zipped(images, draw, story),
        f"{_ISIC}GroundTruth.zip": _zipped(truth, draw, story),
        f"{_ISIC}LesionGroupings.csv": _csv(lesions),
    }
    return Broken(seed, "isic2018", files, (), story)


def _csv(rows: list[list[str]]) -> bytes:
    stream = io.StringIO()
    # Some cells must not be quoted: that is what is broken about them.
    writer = csv.writer(stream, quoting=csv.QUOTE_NONE, escapechar=" ", lineterminator="\n")
    writer.writerows(rows)
    return stream.getvalue().encode()


def _medmnist(draw: random.Random, seed: int) -> Broken:
    story: list[str] = []
    arrays: dict[str, bytes] = {}
    for side, count in (("train", 16), ("val", 8), ("test", 8)):
        images = np.arange(count * 28 * 28 * 3, dtype=np.uint32).astype(np.uint8).reshape(count, 28, 28, 3)
        arrays[f"{side}_images.npy"] = _npy(images)
        arrays[f"{side}_labels.npy"] = _npy(np.arange(count, dtype=np.uint8)[:, None] % 8)
    for _ in range(draw.choice((0, 1, 1, 2))):
        name = draw.choice(sorted(arrays))
        change = draw.choice(_ARRAY_CHANGES)
        arrays[name] = change(arrays[name], draw)
        story.append(f"{name}: array change {_ARRAY_CHANGES.index(change)}")
    if draw.random() < 0.1:
        del arrays[draw.choice(sorted(arrays))]
        story.append("an array is missing")
    return Broken(seed, "bloodmnist", {"bloodmnist.npz": _zipped({**arrays}, draw, story)}, (), story)


def _npy(array: np.ndarray, **options: bool) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def _header(text: str) -> Callable[[bytes, random.Random], bytes]:
    def change(content: bytes, draw: random.Random) -> bytes:
        form = draw.choice((b"\x93NUMPY\x01\0", b"\x93NUMPY\x02\0", b"\x93NUMPY\x03\0", b"\x93NUMPY\xff\0"))
        length = struct.pack("<H" if form[6] == 1 else "<I", len(text))
        return form + length + text.encode() + content[128:]

    return change


_ARRAY_CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    lambda content, draw: content[: draw.randrange(len(content))],
    lambda content, draw: damaged(content[:128], draw, []) + content[128:],
    lambda content, draw: _npy(np.zeros((8, 1), dtype=draw.choice(("<i8", ">f4", "?", "S5", "M8[s]", "<u8")))),
    lambda content, draw: _npy(np.full((16, 1), 2**63, dtype=np.uint64)),
    lambda content, draw: _npy(np.array([print, None], dtype=object), allow_pickle=True),
    lambda content, draw: _npy(np.zeros(())),
    lambda content, draw: _npy(np.zeros((0, 28, 28, 3), dtype=np.uint8)),
    _header("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 28, 28, 3)}"),
    _header("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, -28, 28, 3)}"),
    _header("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (16,)}"),
    _header("(" * 900),
    _header("[" * 60_000),
)


# The reader


def _lay(example: Broken, folder: Path) -> list[str]:
    # Once, and not in the time of the first example.
    _catalogue()
    for name, content in example.files.items():
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            os.mkfifo(path)
        else:
            path.write_bytes(content)
    return [example.dataset, *example.options]


def _command(arguments: list[str]) -> int:
    """What every command does with raw files, without the plugins' discovery and the card's pictures."""
    return run_command(lambda: _read(*arguments))


def _read(name: str, *assignments: str) -> int:
    plugin, given = _catalogue().find(Dataset, name, "DATASET"), YamlSource({})
    for assignment in assignments:
        given.set(assignment)
    options = read_options(plugin.cls, given.data, lambda *keys: ".".join(map(str, keys)))
    with tempfile.TemporaryDirectory(prefix="broken-cache-") as decoded:
        make_split(prepare(plugin.cls(options), plugin.code, 8, Path("data").absolute(), Path(decoded)), "grouped", 0)
    return 0


@cache
def _catalogue() -> Catalogue:
    return discover()


def _show(example: Broken) -> str:
    return f"seed {example.seed}: {example.dataset} {' '.join(example.options)}: {'; '.join(example.story)}"


READER: Reader[Broken] = Reader(examples=st.integers(0, 2**48).map(make), lay=_lay, command=_command, show=_show)
