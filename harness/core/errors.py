"""Errors that a user can act on, and the exit codes of every command."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from harness.core.infrastructure import is_refusal
from harness.core.output import complain, finish, lost_output, prepare, printable, refuses

EXIT_DONE = 0
EXIT_SOME_FAILED = 1
EXIT_BAD_REQUEST = 2
EXIT_INTERRUPTED = 130


_LONGEST_WORD = 100
_LONGEST_MESSAGE = 1900
_LONGEST_LIST = 1000
"""Characters of the names that a message lists."""


class RequestError(Exception):
    """The request cannot be carried out as it was made.

    The message is one line: the place, what is wrong there, and the remedy.
    """


class DataError(RequestError):
    """A raw archive or a decoded image is missing or damaged."""


def suggestion(word: str, known: Any) -> str:
    """A closing remark such as ``; did you mean 'lora_c'?``, or what is known when nothing is close."""
    names = sorted(str(name) for name in known)
    # Comparing takes time by the square of a word's length, and nothing that long is a slip of the fingers.
    close = get_close_matches(word, names, n=1) if len(word) <= _LONGEST_WORD else []
    if close:
        return f"; did you mean {close[0]!r}?"
    listed = ", ".join(names)
    if len(listed) > _LONGEST_LIST:
        listed = f"{listed[:_LONGEST_LIST].rpartition(', ')[0]}, … ({len(names):,} in all)"
    return f"; known: {listed}" if names else ""


def is_close(word: str, known: Any) -> bool:
    """Whether one of the names is close enough to be suggested."""
    return len(word) <= _LONGEST_WORD and bool(get_close_matches(word, [str(name) for name in known], n=1))


def one_line(text: str) -> str:
    """The text with every run of white space folded to one space, and what a terminal would obey as its escape."""
    return printable(" ".join(text.split()))


def shortened(text: str, length: int = 40) -> str:
    """At most the first ``length`` characters; three dots stand for the rest."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def run_command(command: Callable[[], int]) -> int:
    """Run a command's body and turn the errors that a user can act on into one line and an exit code.

    Output that is closed, full, or read by nobody any more is no error of the program either (``harness.core.output``).
    """
    prepare()
    try:
        code = command()
    except RequestError as error:
        complain(f"error: {shortened(one_line(str(error)), _LONGEST_MESSAGE)}")
        code = EXIT_BAD_REQUEST
    except KeyboardInterrupt:
        complain("interrupted; the same command resumes from here")
        code = EXIT_INTERRUPTED
    except OSError as error:
        if error.filename is None and refuses(sys.stdout):
            return lost_output(error)
        if not is_refusal(error):
            raise
        complain(f"error: {one_line(describe_os_error(error))}")
        code = EXIT_BAD_REQUEST
    return finish(code)


def describe_os_error(error: OSError) -> str:
    """Place, cause and remedy of a failed file operation."""
    place = error.filename if error.filename is not None else "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{place}: no space left on the disk; free some and run the same command again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{place}: {error.strerror}; change its permissions or choose another place (for a run: --run-dir)"
    if error.errno == errno.ENAMETOOLONG:
        return f"{place}: longer than a file name may be; shorten it"
    return f"{place}: {error.strerror}; run the same command again when the file system answers"
