"""When it makes no sense to go on with a sweep: the first trials of every method have failed alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping

FAILURES_TO_HALT = 2
"""Failures of each method, with nothing done by any, after which a sweep stops."""

REMEDY = "fix the cause and run the command with --retry-failed"


def halt_reason(failures: Mapping[str, Collection[tuple[str, str]]]) -> str | None:
    """Why a sweep of which no trial is done stops; None where it goes on.

    Args:
        failures: cause and message of each failed trial, by the label of the method; all methods are in it.
    """
    found = [failure for failed in failures.values() for failure in failed]
    kinds = {(cause, message.partition(":")[0]) for cause, message in found}
    if len(kinds) != 1 or min(map(len, failures.values())) < FAILURES_TO_HALT:
        return None
    cause, message = found[0]
    return f"the first trials of every method failed alike: {cause}: {message}"
