"""An archive is made of the run alone; one that a stranger made is counted before it is believed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from home import one_error
from made_up_runs import make_run

from harness.export.archive import main as archive
from harness.run.directory import RunDirectory

EMPTY = hashlib.sha256(b"").hexdigest()
MEGABYTE = 1 << 20


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path / "runs" / "mine", ["m"])


def verify(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = archive(["--verify", str(path)])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return code, printed.out + printed.err


@pytest.mark.parametrize("place", ["notes.txt", "studies/m@small/notes.txt", "cards", "studies/m@small/search"])
def test_links_are_refused_by_name(run: RunDirectory, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    outside = run.path.parent / "outside"
    outside.mkdir()
    (outside / "private").write_text("private")
    link = run.path / place
    link.symlink_to(outside if "." not in place else outside / "private")
    one_error(archive([str(run.path)]), capsys.readouterr().err, str(link), "link")
    link.unlink()
    os.mkfifo(link)
    assert archive([str(run.path)]) == 2
    assert list(run.path.parent.glob("*.zip")) == [] and list(run.path.parent.glob(".*")) == []


def test_what_lies_beside_plugins_stays_out(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    copied = run.path / "code" / "abc" / "plugins" / "0"
    copied.mkdir(parents=True)
    (copied / "data").symlink_to("/etc")
    (copied / "passwd").symlink_to("/etc/passwd")
    (copied / "method.py").write_text("WANDB = login(key='0123456789abcdef0123456789abcdef01234567')\nx = 1\n")
    (run.path / "environment.patch").write_text("+++ b/x.yaml\n+api_key: abcd1234efgh5678\n")
    assert archive([str(run.path)]) == 0
    said = capsys.readouterr().err
    assert "code/abc/plugins/0/method.py:1: looks like a secret" in said and "environment.patch:2" in said
    out = run.path.parent / "mine.zip"
    with zipfile.ZipFile(out) as packed:
        assert packed.read("code/abc/plugins/0/method.py") == b"WANDB = login(key='***')\nx = 1\n"
        assert b"abcd1234" not in packed.read("environment.patch")
        assert not any("data" in name or "passwd" in name for name in packed.namelist())
    assert verify(out, capsys)[0] == 0


def manifest(files: dict[str, object]) -> bytes:
    return json.dumps({"format": 1, "run": "x", "files": files}).encode()


def zipped(path: Path, files: dict[str, object], members: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in [("MANIFEST.json", manifest(files)), *members]:
            packed.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, object], members: list[tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        first = tarfile.TarInfo("MANIFEST.json")
        first.size = len(manifest(files))
        packed.addfile(first, io.BytesIO(manifest(files)))
        for member in members:
            packed.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def test_sizes_are_those_of_the_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = {"a": {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}}
    assert verify(zipped(tmp_path / "right.zip", short, [("a", b"abc")]), capsys)[0] == 0
    for content in (b"ab", b"abcd", b"abd", bytes(MEGABYTE)):
        assert verify(zipped(tmp_path / "wrong.zip", short, [("a", content)]), capsys)[0] == 1
    code, said = verify(zipped(tmp_path / "more.zip", short, [("a", b"abc"), ("b", b"")]), capsys)
    assert code == 1 and "b: not in the manifest" in said
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = zipped(tmp_path / "twice.zip", short, [("a", b"abc"), ("a", b"abc")])
    assert "a: occurs twice" in verify(twice, capsys)[1]
    for files in ({"a": {"bytes": -1, "sha256": ""}}, {"a": {"bytes": "3"}}, {"a": 3}, {"a": {"sha256": EMPTY}}):
        assert verify(zipped(tmp_path / "odd.zip", files, []), capsys)[0] == 2
    outside = {"../a": short["a"], "/a": short["a"]}
    code, said = verify(zipped(tmp_path / "out.zip", outside, [("../a", b"abc"), ("/a", b"abc")]), capsys)
    assert code == 1 and said.count("leads out of the archive") == 2


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_what_is_no_file_is_named(tmp_path: Path, kind: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    member = tarfile.TarInfo("a")
    member.type, member.linkname = kind, "/etc/passwd"
    packed = tarred(tmp_path / "x.tar.gz", {"a": {"bytes": 0, "sha256": EMPTY}}, [member])
    code, said = verify(packed, capsys)
    assert code == 1 and "a: a link or a device instead of a file" in said


def bombs(folder: Path) -> list[Path]:
    """Small files that expand to gigabytes, each in another way."""
    huge = {"a": {"bytes": 6 << 30, "sha256": EMPTY}}
    lying = {"a": {"bytes": 10, "sha256": EMPTY}}
    zeros = bytes(400 * MEGABYTE)
    made = [zipped(folder / "honest.zip", huge, []), zipped(folder / "lying.zip", lying, [("a", zeros)])]
    with zipfile.ZipFile(folder / "manifest.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("MANIFEST.json", b'{"format": 1, "files": {"a": [' + b"[]," * (15 * MEGABYTE) + b"[]]}}")
    with zipfile.ZipFile(folder / "lzma.zip", "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr("MANIFEST.json", zeros)
    with gzip.open(folder / "header.tar.gz", "wb", compresslevel=1) as stream:
        # A description of the next member, 400 MB long.
        entry = tarfile.TarInfo("x")
        entry.type, entry.size = tarfile.XHDTYPE, len(zeros)
        stream.write(entry.tobuf(tarfile.USTAR_FORMAT) + zeros)
    with gzip.open(folder / "members.tar.gz", "wb", compresslevel=1) as stream:
        first = tarfile.TarInfo("MANIFEST.json")
        first.size = len(manifest({}))
        stream.write(first.tobuf() + manifest({}).ljust(512, b"\0"))
        for number in range(0, 200_000, 1000):
            stream.write(b"".join(tarfile.TarInfo(f"m{number + one}").tobuf() for one in range(1000)))
    return [*made, *(folder / name for name in ("manifest.zip", "lzma.zip", "header.tar.gz", "members.tar.gz"))]


def test_no_archive_fills_the_memory(tmp_path: Path) -> None:
    """In a process of its own, whose memory ends at 1 GB."""
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom harness.export.archive import main\n"
        "for path in sys.argv[1:]:\n"
        "    begun = time.process_time()\n    assert main(['--verify', path]) in (1, 2), path\n"
        "    assert time.process_time() - begun < 20, path\n"
        # Not ``ru_maxrss``, which a child inherits from the process that it was forked from.
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
    )
    made = [str(path) for path in bombs(tmp_path)]
    done = subprocess.run([sys.executable, "-c", script, *made], capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert int(done.stdout.splitlines()[-1]) < 500 * 1024


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
