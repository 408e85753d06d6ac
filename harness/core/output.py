"""The one door for output: nothing that reads it, or does not, ends a command.

Standard output and error may be closed, a pipe that nobody reads any more, a file on a full disk, or a terminal that
knows no UTF-8. ``prepare`` makes both fit to be written to; ``finish`` writes out what is still held back. What
comes from files and from users goes through ``printable``, because a terminal obeys control characters.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import sys
import unicodedata
from typing import TextIO

EXIT_BAD_OUTPUT = 2
EXIT_BROKEN_PIPE = 141
"""As of a command that a shell saw end by SIGPIPE: whoever read its output has gone."""

_PLAIN = {
    "…": "...", "–": "-", "—": "-", "−": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "·": "*", "×": "x", "→": "->",
    "≥": ">=", "≤": "<=", "±": "+-", "•": "*", "✓": "+", "✗": "x", "\xa0": " ",
}  # fmt: skip


def _in_plain_signs(error: UnicodeError) -> tuple[str, int]:
    """What a stream prints in the place of characters that its encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    known = error.encoding.replace("-", "").lower()
    shown = "".join(_PLAIN.get(sign) or sign.encode("unicode_escape").decode() for sign in lacking)
    if not shown.isascii():
        raise UnicodeError(f"{known} cannot write {shown!r}") from error
    return shown, error.end


codecs.register_error("plain_signs", _in_plain_signs)


def prepare() -> None:
    """Make standard output and error fit to be written to; may be called again."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken: else the next file that is opened would be written to as the output.
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123  (lives as long as the process)
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="plain_signs")


def finish(code: int) -> int:
    """Write out what is held back; the exit code, which is another one where standard output cannot take it."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return lost_output(error)
    finally:
        flush_errors()
    return code


def lost_output(error: OSError) -> int:
    """Give up standard output, which has refused what was written; the exit code."""
    mute(sys.stdout)
    if error.errno == errno.EPIPE:
        return EXIT_BROKEN_PIPE
    complain(f"error: standard output: {error.strerror or error}")
    return EXIT_BAD_OUTPUT


def refuses(stream: TextIO) -> bool:
    """Whether a stream cannot be written to any more."""
    try:
        stream.flush()
        # A stream without a buffer has nothing left that could fail once more.
        gone = select.poll()
        gone.register(stream.fileno(), 0)
        return any(event & select.POLLERR for _, event in gone.poll(0))
    except io.UnsupportedOperation:
        return False
    except OSError:
        return True


def flush_errors() -> None:
    """Write out standard error, or give it up."""
    if refuses(sys.stderr):
        mute(sys.stderr)


def mute(stream: TextIO) -> None:
    """Let a stream that cannot be written to end in nothing, for child processes as well.

    What is left in its buffer would fail again when the process ends, and change its exit code.
    """
    with contextlib.suppress(OSError, ValueError):
        number = stream.fileno()
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, number)
        os.close(nothing)
        stream.flush()


def say(text: str) -> None:
    """Print a text on standard output, line by line, what a terminal would obey as its escape."""
    print(printable_lines(text))


def complain(text: str) -> None:
    """Print a line on standard error; where that cannot be written to, the exit code alone has to tell."""
    try:
        print(printable_lines(text), file=sys.stderr, flush=True)
    except OSError:
        mute(sys.stderr)


def printable(text: str) -> str:
    """The text with each character that has no shape of its own, or turns the direction, as its escape: ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join(sign if _has_shape(sign) else sign.encode("unicode_escape").decode() for sign in text)


def _has_shape(sign: str) -> bool:
    # Python counts no space but the common one as printable.
    return sign.isprintable() or unicodedata.category(sign) == "Zs"


def printable_lines(text: str) -> str:
    """The same for a text of several lines, which it leaves as they are."""
    if text.isprintable():
        return text
    return "\n".join(printable(line.expandtabs()) for line in text.split("\n"))


class Errors:
    """Standard error as a file that takes everything: a run goes on where nobody can read its progress any more."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    @property
    def _stream(self) -> TextIO:
        # A progress bar puts itself in the place of the stream; what it prints must not come back to it.
        stream: TextIO = getattr(sys.stderr, "rich_proxied_file", sys.stderr)
        return stream

    def write(self, text: str) -> int:
        """Write, or give the stream up."""
        try:
            return self._stream.write(text)
        except OSError:
            mute(self._stream)
            return len(text)

    def flush(self) -> None:
        """Write out what is held back, or give the stream up."""
        if refuses(self._stream):
            mute(self._stream)
