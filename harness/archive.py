"""What a paper's artefact needs of a run, in one file that can be verified: ``python -m harness.archive RUN``.

Checkpoints, trained models, logs of workers and what was set aside stay out; specification, environment, code, splits,
cards, choices, every trial's request, result, curve, leases and predictions, and the report go in. The same files give
the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.arguments import user_path
from harness.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, run_command

if TYPE_CHECKING:
    from harness.store import RunDirectory

MANIFEST = "MANIFEST.json"
FORMAT = 1
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time stamp of everything in the archive: when a file was copied must not change its bytes."""
EXIT_CODES = "exit codes: 0 done or verified, 1 the archive is damaged, 2 the request was wrong, 130 interrupted"

Add = Callable[[str, bytes], None]


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.archive``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.archive",
        description="Pack what a paper's artefact needs of a run, without checkpoints; or verify an archive.",
        epilog=EXIT_CODES,
    )
    result.add_argument("run", type=user_path, nargs="?", metavar="RUN", help="run directory of a sweep")
    result.add_argument("--out", type=user_path, metavar="FILE", help="ends in .zip or .tar.gz (default: NAME.zip)")
    result.add_argument("--verify", type=user_path, metavar="FILE", help="compare an archive with its own manifest")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parser().parse_args(argv)
    return run_command(lambda: archive(arguments))


def archive(arguments: argparse.Namespace) -> int:
    """Carry out the command line."""
    if (arguments.run is None) == (arguments.verify is None) or (arguments.verify and arguments.out):
        raise RequestError("give either a run directory, with or without --out, or --verify and an archive")
    if arguments.verify is not None:
        return _verified(arguments.verify)
    from harness.store import RunDirectory

    run = RunDirectory(arguments.run)
    out = arguments.out or Path(f"{run.path.name}.zip")
    count, size = pack(run, out)
    unfinished = sum(not trial.finished for trial in run.trials())
    note = f"; {unfinished} trials in it are not finished" if unfinished else ""
    print(f"{out}: {count} files, {size / 1e6:.1f} MB{note}")
    return EXIT_DONE


def pack(run: RunDirectory, out: Path) -> tuple[int, int]:
    """Write the archive; returns its number of files and its size in bytes.

    Raises:
        RequestError: no run there, an unknown ending, or the archive exists already.
    """
    from harness.run_files import artefact

    run.require()
    if out.exists():
        raise RequestError(f"{out}: exists already; choose another name with --out")
    files = artefact(run)
    digests = {name: _digest(path) for name, path in files.items()}
    facts = {"format": FORMAT, "run": run.path.name, "files": digests}
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        with _writer(out, temporary) as add:
            add(MANIFEST, (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())
            for name, path in files.items():
                content = path.read_bytes()
                if hashlib.sha256(content).hexdigest() != digests[name]["sha256"]:
                    raise RequestError(f"{path}: changed while it was packed; wait until the run is complete")
                add(name, content)
        temporary.rename(out)
    finally:
        temporary.unlink(missing_ok=True)
    return len(files), out.stat().st_size


def problems(archive: Path) -> list[str]:
    """What an archive holds otherwise than its manifest says, a line each.

    Raises:
        RequestError: it is not such an archive.
    """
    stored = _contents(archive)
    name, first = next(stored, ("", b""))
    try:
        manifest = json.loads(first)
        expected: Mapping[str, Mapping[str, object]] = manifest["files"]
        known = name == MANIFEST and manifest["format"] == FORMAT
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise RequestError(f"{archive}: no archive of a run, or damaged: it does not begin with {MANIFEST}")
    lines, seen = [], set()
    for name, content in stored:
        seen.add(name)
        if name not in expected:
            lines.append(f"{name}: not in the manifest")
        elif hashlib.sha256(content).hexdigest() != expected[name]["sha256"]:
            lines.append(f"{name}: changed")
    return lines + [f"{name}: missing" for name in sorted(expected.keys() - seen)]


def _verified(path: Path) -> int:
    found = problems(path)
    for line in found:
        print(line)
    print(f"{path}: {f'{len(found)} differences from its manifest' if found else 'verified, every file is as packed'}")
    return EXIT_SOME_FAILED if found else EXIT_DONE


def _digest(path: Path) -> dict[str, object]:
    with path.open("rb") as stream:
        return {"sha256": hashlib.file_digest(stream, "sha256").hexdigest(), "bytes": path.stat().st_size}


@contextmanager
def _writer(out: Path, temporary: Path) -> Iterator[Add]:
    """A function that adds a file to an archive of the kind that a name ends in."""
    if out.name.endswith(".zip"):
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            yield lambda name, content: packed.writestr(_zip_entry(name), content)
    elif out.name.endswith((".tar.gz", ".tgz")):
        with (
            temporary.open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as squeezed,
            tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            yield lambda name, content: tar.addfile(_tar_entry(name, content), io.BytesIO(content))
    else:
        raise RequestError(f"--out {out}: unknown ending; use .zip or .tar.gz")


def _zip_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o100644 << 16
    return entry


def _tar_entry(name: str, content: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    return entry


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of an archive with its content, in the order in which they were packed."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                for entry in packed.infolist():
                    yield entry.filename, packed.read(entry)
        else:
            with tarfile.open(path, "r:gz") as tar:
                for member in tar:
                    stream = tar.extractfile(member)
                    yield member.name, b"" if stream is None else stream.read()
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RequestError(f"{path}: damaged, or neither .zip nor .tar.gz: {error}") from error
    except FileNotFoundError as error:
        raise RequestError(f"{path}: no such file") from error


if __name__ == "__main__":
    sys.exit(main())
