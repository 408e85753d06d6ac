"""Results of finished trials in one file of the run, so that whoever looks at a run need not open every single one.

It saves time and says nothing by itself. An entry counts as long as the files of its trial bear the stamps that they
had when they were read; a file of the index that is missing, torn, edited or of another version counts for nothing.
Small runs have none, and none is begun where files are quick, as on a local disk: making it takes longer than it saves.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from harness.core.files import NoPlainFileError, TornFileError, parse_json, read_with_status, write_atomic
from harness.core.many_files import SLOW_SECONDS, each, waits_for
from harness.run.directory import RunDirectory
from harness.run.study_folder import StudyFolder
from harness.run.trial import TrialFolder, digest, on_one_line
from harness.run.trial_records import TrialResult

FORMAT = 2
NEW_ENTRIES = 500
NEW_SHARE = 0.25
"""It is written again when so many entries, and such a share of them, are new: the work stays linear in the trials."""
SETTLED_SECONDS = 2.0
"""Some file servers stamp by the second: what is younger may change once more under the same stamp."""

_Found = TypeVar("_Found")
Examined: TypeAlias = tuple[list[_Found], TrialResult | None]
"""What is wrong with the files of a trial, and its result where that is whole."""


class IndexEntry(NamedTuple):
    """What is remembered of a finished trial."""

    result: bytes
    """The stamp of its result."""
    folder: bytes
    """The stamp of its folder when all files in it were found whole; empty where nobody has looked."""
    digest: bytes
    """Of the file of its result, whose lines may be broken otherwise than those of ``content``."""
    content: bytes
    """What the file of its result holds."""


class ResultIndex:
    """The results of a run's finished trials, as remembered and as they are.

    Args:
        run: the run directory.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._path, self._root = run.index_path, f"{run.path}{os.sep}"
        self._entries = entries_of(self._path)
        self._saved = len(self._entries)
        self._learns = self._saved > 0 or waits_for(run.path) >= SLOW_SECONDS
        self._new: dict[str, TrialFolder] = {}
        self._seen: dict[str, bytes] = {}
        self._results: dict[str, TrialResult] = {}
        """Results that were examined, as they were read, by the paths of their folders."""

    def contents(self, trials: Sequence[TrialFolder], now: float) -> list[bytes | None]:
        """What the files of results hold; None for a trial that is not finished.

        Args:
            trials: of the run; all are asked for at once.
            now: the clock that files are stamped with, read before.
        """
        return each(lambda trial: self._content(trial, now), trials)

    def contents_seen(self, trials: Sequence[TrialFolder]) -> list[bytes | None]:
        """The same without a look at those that ``examined`` has just looked at; nothing new is remembered."""
        return each(lambda trial: self._seen.get(self._name(trial)) or self._content(trial, None), trials)

    def results(self, trials: Sequence[TrialFolder]) -> dict[str, TrialResult]:
        """Results by the paths of the trials' folders; a trial that is not finished has none.

        Args:
            trials: of the run; what ``examined`` has read of them is not read again.

        Raises:
            TornFileError: a result is not readable.
        """
        found = {path: result for trial in trials if (result := self._results.get(path := str(trial.path))) is not None}
        unread = [trial for trial in trials if str(trial.path) not in found]
        contents = self.contents_seen(unread)
        read = [(trial, content) for trial, content in zip(unread, contents, strict=True) if content is not None]
        results = each(lambda one: one[0].result_in(one[1]), read)
        return found | {str(trial.path): result for (trial, _), result in zip(read, results, strict=True)}

    def digest(self, trial: TrialFolder, content: bytes) -> str:
        """The digest of the file of a result of which ``contents`` or ``contents_seen`` gave the content."""
        known = self._entries.get(self._name(trial)) if self._entries else None
        return known.digest.decode() if known is not None and known.content is content else digest(content)

    def examined(
        self, trial: TrialFolder, examine: Callable[[TrialFolder, bytes | None], Examined[_Found]], now: float
    ) -> list[_Found]:
        """What ``examine`` finds wrong with the files of a trial.

        It is not asked where it found nothing before and neither the result nor the folder has another stamp since:
        files that were added, replaced or removed show, and so does every change of the result; another file that
        was written over in its place does not.

        Args:
            trial: of the run.
            examine: reads the trial's other files; given what the file of the result holds, None where there is none.
            now: as for ``contents``.
        """
        name, folder = self._name(trial), b""
        with suppress(FileNotFoundError):
            folder = _folder_stamp(trial.path.stat(), now) if self._learns else b""
            known = self._entries.get(name)
            if folder and known is not None and known.folder == folder and known.result == _result_stamp(trial):
                self._seen[name] = known.content
                return []
        # Read before: what changes meanwhile has another stamp then.
        content = self._content(trial, now)
        found, result = examine(trial, content)
        if result is not None:
            self._results[str(trial.path)] = result
        entry = self._entries.get(name)
        if entry is not None and folder and not found:
            self._remember(trial, entry._replace(folder=folder))
        return found

    def forget(self, study: StudyFolder) -> None:
        """Forget what was seen of a study that is set aside."""
        for trial in study.every_trial():
            self._seen.pop(self._name(trial), None)
            self._results.pop(str(trial.path), None)

    def keep(self, trials: Sequence[TrialFolder]) -> None:
        """Forget all trials but these."""
        names = {self._name(trial) for trial in trials}
        self._entries = {name: entry for name, entry in self._entries.items() if name in names}

    def save(self) -> None:
        """Write it, if enough is new; that it cannot be written is no error."""
        if len(self._new) < max(NEW_ENTRIES, NEW_SHARE * self._saved):
            return
        self._shorten()
        body = b"".join(_line(name, entry) for name, entry in sorted(self._entries.items()))
        # A full disk, or somebody else's run that may only be read.
        with suppress(OSError):
            write_atomic(self._path, _header(body) + body)
        self._saved, self._new = len(self._entries), {}

    def _shorten(self) -> None:
        """Leave out what has no meaning in new entries, and those that are no results."""
        for name, trial in self._new.items():
            entry = self._entries.pop(name, None)
            with suppress(TornFileError):
                if entry is not None and trial.result_in(entry.content):
                    self._entries[name] = entry._replace(content=on_one_line(entry.content))

    def _name(self, trial: TrialFolder) -> str:
        return str(trial.path).removeprefix(self._root)

    def _content(self, trial: TrialFolder, now: float | None) -> bytes | None:
        name = self._name(trial)
        known = self._entries.get(name)
        try:
            if known is not None:
                if known.result == _result_stamp(trial):
                    return known.content
                del self._entries[name]
            status, content = trial.read_result()
        except FileNotFoundError:
            return None
        if self._learns and _settled(status, now):
            self._remember(trial, IndexEntry(_stamp(status), b"", digest(content).encode(), content))
        return content

    def _remember(self, trial: TrialFolder, entry: IndexEntry) -> None:
        name = self._name(trial)
        if name.isprintable():
            self._entries[name] = entry
            self._new[name] = trial


def entries_of(path: Path) -> dict[str, IndexEntry]:
    """What an index holds, by the paths of trials inside the run; nothing where it is not whole.

    Args:
        path: of the index.
    """
    try:
        header, body = _parts(path)
    except (OSError, NoPlainFileError):
        return {}
    if header != _header(body):
        return {}
    lines = (line.split(b"\t", 4) for line in body.splitlines())
    # Whoever wrote it may have written anything: a name that leads out of the run is none of its trials.
    return {
        os.fsdecode(name): IndexEntry._make(rest)
        for name, *rest in lines
        if len(rest) == len(IndexEntry._fields) and _is_inside(name)
    }


def _is_inside(name: bytes) -> bool:
    return not name.startswith(b"/") and b".." not in name.split(b"/")


def disagreeing(run: RunDirectory) -> list[str]:
    """Trials, by their paths inside the run, of which an index says something else than a result of the same stamp."""
    entries = entries_of(run.index_path)

    def differs(name: str) -> bool:
        trial, entry = TrialFolder(run.path / name, "search"), entries[name]
        try:
            status, content = trial.read_result()
        except FileNotFoundError:
            return False
        return entry.result == _stamp(status) and parse_json(content) != parse_json(entry.content)

    names = sorted(entries)
    return [name for name, wrong in zip(names, each(differs, names), strict=True) if wrong]


def fault_of(path: Path) -> str | None:
    """What is wrong with an index: "empty", "torn" or "other version"; None where nothing is.

    Raises:
        OSError: it cannot be read.
    """
    header, body = _parts(path)
    if header == _header(body):
        return None
    if not header and not body:
        return "empty"
    try:
        return "torn" if json.loads(header)["format"] == FORMAT else "other version"
    except (ValueError, KeyError, TypeError):
        return "torn"


def _line(name: str, entry: IndexEntry) -> bytes:
    return b"%s\t%s\t%s\t%s\t%s\n" % (os.fsencode(name), *entry)


def _parts(path: Path) -> tuple[bytes, bytes]:
    _, content = read_with_status(path)
    end = content.find(b"\n") + 1
    return content[:end], content[end:]


def _header(body: bytes) -> bytes:
    return json.dumps({"format": FORMAT, "sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n"


def _result_stamp(trial: TrialFolder) -> bytes:
    return _stamp(trial.result_status())


def _stamp(status: os.stat_result) -> bytes:
    return b"%d %d %d %d" % (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


def _folder_stamp(status: os.stat_result, now: float) -> bytes:
    """Empty, which no folder's is, where it may soon change once more under the same stamp."""
    return b"%d %d %d" % (status.st_mtime_ns, status.st_ctime_ns, status.st_ino) if _settled(status, now) else b""


def _settled(status: os.stat_result, now: float | None) -> bool:
    return now is not None and max(status.st_mtime, status.st_ctime) < now - SETTLED_SECONDS
