"""Downloads from real servers on this machine: resumed, verified, exclusive, and clear about what failed."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from pathlib import Path
from zipfile import ZipFile

import pytest
from file_server import CONTENT, Site
from tiny import ROOT

from harness.core.errors import DataError, RequestError
from harness.data import http_fetch
from harness.data.download import download
from harness.dataset import Dataset, Download, KaggleFile, Record, RemoteFile

MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()


class Remote(Dataset):
    """A dataset of which only the downloads matter."""

    name = title = modality = licence = citation = "remote"
    classes = ("a",)
    files = ("raw.zip",)

    def __init__(self, *wanted: Download) -> None:
        super().__init__()
        self.wanted = wanted

    @property
    def downloads(self) -> tuple[Download, ...]:
        return self.wanted

    def records(self, root: Path) -> Sequence[Record]:
        raise AssertionError("nothing is decoded here")


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(http_fetch, "RETRY_WAITS", (0.01, 0.01, 0.01))
    monkeypatch.setenv("no_proxy", "*")
    served = Site()
    yield served
    served.close()


def remote(site: Site, checksum: str | None = MD5) -> Remote:
    return Remote(RemoteFile("raw.zip", site.url, checksum))


def left_over(root: Path) -> list[str]:
    """Everything in the data root but the file and the leases."""
    return sorted(path.name for path in root.iterdir() if path.name not in ("raw.zip", ".raw.zip.lock"))


def test_a_missing_file_comes_whole_and_once(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    root = tmp_path / "not" / "yet"
    assert download(remote(site), root, lambda *call: seen.append(call)) == [root / "raw.zip"]
    assert (root / "raw.zip").read_bytes() == CONTENT
    assert left_over(root) == []
    assert seen[-1] == ("raw.zip", len(CONTENT), len(CONTENT))
    assert download(remote(site), root) == []
    assert site.asked == [None]


def test_without_a_published_checksum_the_one_found_is_noted_and_later_compared(site: Site, tmp_path: Path) -> None:
    download(remote(site, None), tmp_path)
    noted = tmp_path / "raw.zip.sha256"
    assert noted.read_text() == f"{hashlib.sha256(CONTENT).hexdigest()}  raw.zip\n"
    assert download(remote(site, None), tmp_path) == []
    (tmp_path / "raw.zip").write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=r"was noted in raw\.zip\.sha256.*move the file away"):
        download(remote(site, None), tmp_path)


def test_a_present_file_is_compared_and_never_changed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "raw.zip").write_bytes(b"mine")
    found = hashlib.md5(b"mine").hexdigest()
    with pytest.raises(DataError, match=f"raw.zip: has checksum md5:{found}, but {MD5} is published; move") as caught:
        download(remote(site), tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "raw.zip").read_bytes() == b"mine"
    assert download(remote(site, None), tmp_path) == []
    assert site.asked == []


def test_a_wrong_checksum_is_named_and_leaves_nothing(site: Site, tmp_path: Path) -> None:
    other = "sha256:" + "0" * 64
    with pytest.raises(DataError, match=rf"raw\.zip: .* sha256:{hashlib.sha256(CONTENT).hexdigest()}, but {other}"):
        download(remote(site, other), tmp_path)
    assert not (tmp_path / "raw.zip").exists()
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("validator", [("ETag", '"first"'), ("Last-Modified", formatdate(0, usegmt=True))])
def test_what_was_cut_goes_on_where_it_ended(site: Site, tmp_path: Path, validator: tuple[str, str]) -> None:
    # More cuts than retries: each brought something, so none counts twice.
    site.validator, site.cuts = validator, [100_000] * 8
    download(remote(site), tmp_path)
    assert (tmp_path / "raw.zip").read_bytes() == CONTENT
    assert site.asked == [None, *(f"bytes={n * 100_000}-" for n in range(1, 9))]


@pytest.mark.parametrize(
    ("validator", "ranges"),
    [(None, True), (("ETag", 'W/"weak"'), True), (("ETag", '"first"'), False)],
)
def test_what_cannot_be_resumed_starts_again(
    site: Site, tmp_path: Path, validator: tuple[str, str] | None, ranges: bool
) -> None:
    site.validator, site.ranges, site.cuts = validator, ranges, [100_000, 200_000]
    download(remote(site), tmp_path)
    assert (tmp_path / "raw.zip").read_bytes() == CONTENT
    assert len(site.asked) == 3


def test_a_server_that_always_cuts_at_the_same_place_is_given_up(site: Site, tmp_path: Path) -> None:
    site.ranges, site.cuts = False, [100_000] * 50
    with pytest.raises(DataError, match=r"ended after 100,000 of 1,048,576 bytes \(4 attempts\)"):
        download(remote(site), tmp_path)
    assert len(site.asked) == 4


@pytest.mark.parametrize("blind", [False, True])
def test_a_file_that_has_changed_starts_again(site: Site, tmp_path: Path, blind: bool) -> None:
    original = site.content

    def change() -> None:
        site.content, site.validator, site.blind = original[::-1], ("ETag", '"second"'), blind

    site.cuts, site.on_cut = [500_000], change
    download(remote(site, None), tmp_path)
    assert (tmp_path / "raw.zip").read_bytes() == original[::-1]
    assert site.asked[:2] == [None, "bytes=500000-"]


def test_a_busy_server_is_asked_again_and_a_refusal_is_final(site: Site, tmp_path: Path) -> None:
    site.statuses = [503, 429]
    download(remote(site), tmp_path)
    assert len(site.asked) == 3
    (tmp_path / "raw.zip").unlink()
    site.statuses = [404]
    with pytest.raises(DataError, match=rf"raw\.zip: not downloaded: the server answers 404.*{site.url} by hand"):
        download(remote(site), tmp_path)
    assert len(site.asked) == 4


def test_a_range_beyond_the_end_starts_again(site: Site, tmp_path: Path) -> None:
    site.cuts, site.on_cut = [500_000], lambda: site.statuses.append(416)
    download(remote(site), tmp_path)
    assert (tmp_path / "raw.zip").read_bytes() == CONTENT
    assert site.asked == [None, "bytes=500000-", None]


def test_redirects_go_to_https_or_stay(site: Site, tmp_path: Path) -> None:
    site.redirect = site.url.replace("raw.zip", "elsewhere/raw.zip").replace("127.0.0.1", "localhost")
    download(remote(site), tmp_path)
    (tmp_path / "raw.zip").unlink()
    for place in ("http://192.0.2.1/raw.zip", "ftp://127.0.0.1/raw.zip"):
        site.redirect = place
        with pytest.raises(DataError, match=f"redirects to {place}, which is not https"):
            download(remote(site), tmp_path)
    site.redirect = "file:///etc/hostname"
    with pytest.raises(DataError, match="'file:///etc/hostname' is not allowed"):
        download(remote(site), tmp_path)
    with pytest.raises(DataError, match="is no http or https address"):
        download(Remote(RemoteFile("raw.zip", "file:///etc/hostname")), tmp_path)
    assert not (tmp_path / "raw.zip").exists()


def test_offline_is_one_line_that_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_fetch, "RETRY_WAITS", (0.01,))
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}/raw.zip"
        with pytest.raises(DataError) as caught:
            download(Remote(RemoteFile("raw.zip", url)), tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for words in (str(tmp_path / "raw.zip"), "127.0.0.1 cannot be reached", f"get {url} by hand and put it there"):
        assert words in message


def test_a_web_page_and_a_full_disk_are_named(site: Site, tmp_path: Path) -> None:
    site.content_type = "text/html; charset=utf-8"
    with pytest.raises(DataError, match="sends a web page instead"):
        download(remote(site), tmp_path)
    site.content_type, site.announced = "application/zip", 1 << 60
    with pytest.raises(RequestError, match=r"1,152,921,504,606\.8 MB are needed .* --data-root"):
        download(remote(site), tmp_path)


def test_a_bad_checksum_in_a_plugin_is_named(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'md5:abc'; the plugin must write"):
        download(remote(site, "md5:abc"), tmp_path)
    assert site.asked == []


FETCHER = """
import sys
from pathlib import Path
from harness.data.download import download
from harness.dataset import Dataset, RemoteFile

class Remote(Dataset):
    name = title = modality = licence = citation = "remote"
    classes, files = ("a",), ("raw.zip",)
    downloads = (RemoteFile("raw.zip", sys.argv[1], sys.argv[2]),)

    def records(self, root):
        return []

print(len(download(Remote(), Path(sys.argv[3]))))
"""


def start_fetcher(site: Site, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FETCHER, site.url, MD5, str(root)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "no_proxy": "*"}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def part_length(root: Path) -> int:
    return http_fetch.length(root / ".raw.zip.part")


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_ends_half_way_is_continued(site: Site, tmp_path: Path, ending: signal.Signals) -> None:
    site.gate = threading.Event()
    first = start_fetcher(site, tmp_path)
    wait_for(lambda: part_length(tmp_path) == len(CONTENT) // 2)
    first.send_signal(ending)
    first.communicate(timeout=60)
    assert not (tmp_path / "raw.zip").exists()
    site.gate.set()
    assert download(remote(site), tmp_path) == [tmp_path / "raw.zip"]
    assert (tmp_path / "raw.zip").read_bytes() == CONTENT
    assert site.asked == [None, f"bytes={len(CONTENT) // 2}-"]


def test_of_two_processes_one_fetches_and_the_other_waits(site: Site, tmp_path: Path) -> None:
    site.gate = threading.Event()
    first = start_fetcher(site, tmp_path)
    wait_for(lambda: part_length(tmp_path) == len(CONTENT) // 2)
    waiting: list[tuple[str, int, int | None]] = []

    def let_go(*call: object) -> None:
        waiting.append(call)  # type: ignore[arg-type]
        site.gate.set()  # type: ignore[union-attr]

    assert download(remote(site), tmp_path, let_go) == []
    output, errors = first.communicate(timeout=60)
    assert (output.strip(), first.returncode) == ("1", 0), errors
    assert waiting[0] == ("raw.zip", len(CONTENT) // 2, None)
    assert site.asked == [None]
    assert left_over(tmp_path) == []


def test_an_owner_that_was_succeeded_stops_and_goes_back_to_the_queue(site: Site, tmp_path: Path) -> None:
    """A suspended owner wakes up after another process has taken over and given up again."""
    lock = tmp_path / ".raw.zip.lock"

    def succeed(name: str, done: int, total: int | None) -> None:
        if not (lock / "lease.0002").exists():
            (lock / "lease.0002").write_text('{"released": "ended early"}')

    assert download(remote(site), tmp_path, succeed) == [tmp_path / "raw.zip"]
    assert (tmp_path / "raw.zip").read_bytes() == CONTENT
    assert sorted(path.name for path in lock.iterdir()) == ["lease.0001", "lease.0002", "lease.0003"]
    assert left_over(tmp_path) == []


def kaggle() -> Remote:
    return Remote(KaggleFile("raw.zip", "someone/scans"))


def pretend_kagglehub(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], str]) -> None:
    """The library cannot be had in tests: a module of its name whose one function does what ``answer`` does."""
    module = types.ModuleType("kagglehub")
    module.dataset_download = answer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", module)


def test_a_kaggle_folder_is_packed_the_same_each_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unpacked(handle: str) -> str:
        assert handle == "someone/scans"
        folder = tmp_path / f"cache{time.monotonic_ns()}"
        for name, content in (("Testing/b/1.jpg", b"three"), ("Training/a b/ü.jpg", b"two"), ("Testing.txt", b"")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return str(folder)

    pretend_kagglehub(monkeypatch, unpacked)
    archives = [download(kaggle(), tmp_path / root)[0] for root in ("one", "two")]
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with ZipFile(archives[0]) as archive:
        assert archive.namelist() == ["Testing.txt", "Testing/b/1.jpg", "Training/a b/ü.jpg"]
        assert archive.read("Training/a b/ü.jpg") == b"two"
        assert archive.testzip() is None
    assert left_over(tmp_path / "one") == ["raw.zip.sha256"]


def test_kaggle_without_library_credentials_or_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def denied(handle: str) -> str:
        raise RuntimeError("User is\nnot authenticated")

    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(DataError, match=r"pip install 'kagglehub[^']*'") as missing:
        download(kaggle(), tmp_path)
    pretend_kagglehub(monkeypatch, denied)
    with pytest.raises(DataError, match="User is not authenticated") as refused:
        download(kaggle(), tmp_path)
    (tmp_path / "empty").mkdir()
    pretend_kagglehub(monkeypatch, lambda handle: str(tmp_path / "empty"))
    with pytest.raises(DataError, match="gave no files") as empty:
        download(kaggle(), tmp_path)
    for caught in (missing, refused, empty):
        message = str(caught.value)
        assert "\n" not in message
        assert f"{tmp_path / 'raw.zip'}: not downloaded" in message
        assert "get https://www.kaggle.com/datasets/someone/scans by hand" in message
