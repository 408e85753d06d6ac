"""What counts as infrastructure: failures of the file system, the node or the scheduler, never of a method.

One list for everybody: a trial that meets such a failure is given back and tried again; a command says it in a line.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

LASTING = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.EMLINK,
        errno.EFBIG,
    }
)
"""Errors that stay until somebody frees space, changes permissions or chooses another place."""

AMBIGUOUS = frozenset(
    {
        errno.ENOENT,
        errno.EEXIST,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENOTEMPTY,
        errno.EINVAL,
        errno.EBADF,
        errno.EPIPE,
        errno.ECHILD,
        errno.ESRCH,
    }
)
"""Errors that a wrong program causes too: infrastructure only where the harness itself meets them."""

PAUSES = (0.02, 0.1, 0.5)
"""Seconds between the attempts of one file operation that meets a passing error."""
LASTING_PATIENCE = 5.0
PASSING_PATIENCE = 300.0
"""Seconds for which a worker goes on trying before it stops, for both kinds of error."""
LONGEST_PAUSE = 30.0

PLUGIN_PACKAGE = "_gpaf_plugins_"
"""How the names of the packages begin in which plugins are imported."""

Result = TypeVar("Result")


def passes(error: BaseException) -> bool:
    """Whether a failed file operation may succeed when it is simply tried again."""
    return isinstance(error, OSError) and is_refusal(error) and error.errno not in LASTING


def is_refusal(error: OSError) -> bool:
    """Whether the system refused a file operation through no fault of the program that asked for it."""
    return error.errno is not None and error.errno not in AMBIGUOUS


def is_infrastructure(error: BaseException) -> bool:
    """Whether an error is a failure of the infrastructure, and so never counts against a trial.

    An ``OSError`` with a number is, whatever that number. Only a number that a wrong program causes as well
    (``AMBIGUOUS``) is none where a plugin's own code met it. An ``OSError`` without a number is a library's own, such
    as an image that cannot be identified.
    """
    if not isinstance(error, OSError) or error.errno is None:
        return False
    return is_refusal(error) or not _raised_by_plugin(error.__traceback__)


def persistently(operation: Callable[[], Result]) -> Result:
    """The result of a file operation that is safe to repeat; a passing error is met with a few attempts more.

    Raises:
        OSError: it lasts, or it did not pass within a second.
    """
    for pause in PAUSES:
        try:
            return operation()
        except OSError as error:
            if not passes(error):
                raise
        time.sleep(pause)
    return operation()


class Patience:
    """How long whoever works on a run directory goes on trying while operations fail one after another."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._failures = 0

    def calm(self) -> None:
        """Note that something has succeeded."""
        self._since, self._failures = None, 0

    def pause(self, error: OSError) -> float:
        """Seconds to wait before the next attempt, twice as long each time.

        Raises:
            OSError: ``error``, where it has lasted too long.
        """
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since >= (PASSING_PATIENCE if passes(error) else LASTING_PATIENCE):
            raise error
        self._failures += 1
        return float(min(LONGEST_PAUSE, 0.25 * 2.0**self._failures))


def patiently(operation: Callable[[], Result], wait: Callable[[OSError, float], None]) -> Result:
    """The result of something that may be begun again from its beginning; it is, while the infrastructure fails.

    Args:
        operation: what to do.
        wait: waits; given what failed, and the seconds to wait.

    Raises:
        OSError: it has failed for too long.
    """
    patience = Patience()
    while True:
        try:
            return operation()
        except OSError as error:
            if not is_infrastructure(error):
                raise
            wait(error, patience.pause(error))


def _raised_by_plugin(traceback: TracebackType | None) -> bool:
    """Whether a plugin's frame is nearer to where the error was raised than any of the harness."""
    nearest = False
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if module.startswith((PLUGIN_PACKAGE, "harness.")):
            nearest = module.startswith(PLUGIN_PACKAGE)
        traceback = traceback.tb_next
    return nearest
