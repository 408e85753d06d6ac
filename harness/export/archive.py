"""What a paper's artefact needs of a run, in one file that can be verified: ``python -m harness.archive RUN``.

Checkpoints, trained models, logs of workers and what was set aside stay out; specification, environment, code, splits,
cards, choices, every trial's request, result, curve, leases and predictions, and the report go in. What looks like a
secret in the changes and in the user's code is replaced by ``***``. The same files give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import secrets
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, run_command
from harness.core.output import complain, say
from harness.export.archive_check import FORMAT, MANIFEST, problems

if TYPE_CHECKING:
    from harness.run.directory import RunDirectory

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time stamp of everything in the archive: when a file was copied must not change its bytes."""
EXIT_CODES = "exit codes: 0 done or verified, 1 the archive is damaged, 2 the request was wrong, 130 interrupted"
PIECE = 1 << 20

Add = Callable[[str, IO[bytes], int], None]
"""Adds a file to an archive: its name, a stream of its content, and how many bytes that has."""


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.archive``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.archive",
        description="Pack what a paper's artefact needs of a run, without checkpoints; or verify an archive.",
        epilog=EXIT_CODES,
    )
    result.add_argument("run", type=user_path, nargs="?", metavar="RUN", help="run directory of a sweep")
    result.add_argument("--out", type=user_path, metavar="FILE", help="ends in .zip or .tar.gz (default: RUN.zip)")
    result.add_argument("--verify", type=user_path, metavar="FILE", help="compare an archive with its own manifest")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parse(parser(), argv)
    return run_command(lambda: archive(arguments))


def archive(arguments: argparse.Namespace) -> int:
    """Carry out the command line."""
    if (arguments.run is None) == (arguments.verify is None) or (arguments.verify and arguments.out):
        raise RequestError("give either a run directory, with or without --out, or --verify and an archive")
    if arguments.verify is not None:
        return _verified(arguments.verify)
    from harness.run.directory import RunDirectory

    run = RunDirectory(arguments.run)
    # Beside the run: an archive in a clone of the code would be one more file of that.
    out = arguments.out or run.path.with_name(f"{run.path.name}.zip")
    count, size, hidden = pack(run, out)
    for line in hidden:
        complain(f"note: {line}: looks like a secret; *** in its place in the archive")
    unfinished = sum(not trial.finished for trial in run.trials())
    note = f"; {unfinished} trials in it are not finished" if unfinished else ""
    say(f"{out}: {count} files, {size / 1e6:.1f} MB{note}")
    return EXIT_DONE


def pack(run: RunDirectory, out: Path) -> tuple[int, int, list[str]]:
    """Write the archive; returns its number of files, its size in bytes, and the places where a secret was replaced.

    Raises:
        RequestError: no run there, an unknown ending, the archive exists already, there is no folder for it, or the
            run holds a link, a pipe or a device.
    """
    from harness.run.inventory import artefact
    from harness.run.links import refuse_links

    run.require()
    refuse_links(run)
    if out.exists():
        raise RequestError(f"{out}: exists already; choose another name with --out")
    if not out.parent.is_dir():
        raise RequestError(f"{out.parent}: no such folder; make it, or choose another place with --out")
    files = artefact(run)
    texts, hidden = _without_secrets(files)
    digests = {name: _digest(path, texts.get(name)) for name, path in files.items()}
    facts = {"format": FORMAT, "run": run.path.name, "files": digests}
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(6)}.tmp")
    try:
        with _writer(out, temporary) as add:
            manifest = (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode()
            add(MANIFEST, io.BytesIO(manifest), len(manifest))
            for name, path in files.items():
                with _opened(path, texts.get(name)) as stream:
                    watched = _Watched(stream)
                    try:
                        add(name, cast(IO[bytes], watched), int(str(digests[name]["bytes"])))
                    except OSError as error:
                        # Its end came too early, by tarfile's words.
                        if error.errno is not None:
                            raise
                    if watched.digest() != digests[name]["sha256"]:
                        raise RequestError(f"{path}: changed while it was packed; wait until the run is complete")
        temporary.rename(out)
    finally:
        temporary.unlink(missing_ok=True)
    return len(files), out.stat().st_size, hidden


class _Watched(io.RawIOBase):
    """A stream that knows the digest of what was read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._digest = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size)
        self._digest.update(content)
        return content

    def digest(self) -> str:
        """Of everything, the rest that nobody asked for included."""
        while self.read(PIECE):
            pass
        return self._digest.hexdigest()


def _without_secrets(files: Mapping[str, Path]) -> tuple[dict[str, bytes], list[str]]:
    """The texts in which something was replaced, by name, and a line about each place.

    Looked at are the changes to the code, and code that is not the program's own: launches of one code share a copy,
    but not those after an edit, so that most files come again and again.
    """
    from harness.core.secret_masks import masked
    from harness.run.directory import PATCH

    found: dict[str, bytes] = {}
    lines: list[str] = []
    known: dict[tuple[str, bytes], tuple[str, list[int]]] = {}
    for name, path in files.items():
        parts = PurePosixPath(name).parts
        if name != PATCH and not (parts[0] == "code" and parts[2:3] not in (("harness",), ("analysis",))):
            continue
        with _opened(path, None) as stream:
            content = stream.read(PIECE)
        if len(content) == PIECE or b"\0" in content:
            continue
        key = PurePosixPath(name).suffix, content
        if key not in known:
            known[key] = masked(content.decode(errors="surrogateescape"), parts[-1])
        text, places = known[key]
        if places:
            found[name] = text.encode(errors="surrogateescape")
            lines += [f"{name}:{place}" for place in places]
    return found, lines


def _verified(path: Path) -> int:
    found = problems(path)
    for line in found:
        say(line)
    say(f"{path}: {f'{len(found)} differences from its manifest' if found else 'verified, every file is as packed'}")
    return EXIT_SOME_FAILED if found else EXIT_DONE


def _opened(path: Path, instead: bytes | None) -> io.BufferedReader | io.BytesIO:
    from harness.core.files import open_stream

    return io.BytesIO(instead) if instead is not None else open_stream(path)


def _digest(path: Path, instead: bytes | None) -> dict[str, object]:
    with _opened(path, instead) as stream:
        # Of bytes in memory it reads nothing, and leaves the stream at its beginning.
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"sha256": digest, "bytes": stream.seek(0, os.SEEK_END)}


@contextmanager
def _writer(out: Path, temporary: Path) -> Iterator[Add]:
    """A function that adds a file to an archive of the kind that a name ends in."""
    if out.name.endswith(".zip"):
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:

            def add(name: str, stream: IO[bytes], size: int) -> None:
                with packed.open(_zip_entry(name, size), "w") as target:
                    shutil.copyfileobj(stream, target, PIECE)

            yield add
    elif out.name.endswith((".tar.gz", ".tgz")):
        with (
            temporary.open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as squeezed,
            tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            yield lambda name, stream, size: tar.addfile(_tar_entry(name, size), stream)
    else:
        raise RequestError(f"--out {out}: unknown ending; use .zip or .tar.gz")


def _zip_entry(name: str, size: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o100644 << 16
    entry.file_size = size
    return entry


def _tar_entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry


if __name__ == "__main__":
    sys.exit(main())
