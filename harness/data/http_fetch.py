"""One file over HTTP: resumed where it was cut, started again where the file has changed on the server."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from http.client import HTTPException, HTTPMessage, HTTPResponse
from ipaddress import ip_address
from pathlib import Path
from typing import IO, TypedDict
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from harness.core.errors import RequestError, one_line
from harness.core.files import TornFileError, write_json
from harness.core.json_form import Form

TIMEOUT_SECONDS = 30.0
"""Longest silence of a server before the connection is given up and tried again."""

RETRY_WAITS = (1.0, 2.0, 4.0)
"""Seconds before each retry; the count begins anew whenever more of the file has come than ever before."""

LONGEST_WAIT = 60.0
"""Most seconds that a server's Retry-After can ask for."""

_BLOCK = 1 << 20


class PartState(TypedDict):
    """What is known of a file that is not whole yet."""

    url: str
    validator: str | None
    total: int | None


_STATE: Form[PartState] = Form(PartState)
_RETRIED = (408, 429)

Tick = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes of the whole file or None)."""


class FetchError(Exception):
    """The file cannot be had; the message is the reason alone, as a part of a sentence."""


class _InterruptedError(Exception):
    """This attempt failed, but another one may succeed."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def fetch(url: str, part: Path, tick: Tick) -> None:
    """Complete ``part``, the beginning of the file at ``url``, which need not exist yet.

    What the server said of the file is kept beside it in ``PART.json``, so that a later call, also in another
    process, goes on where this one ends. Without an ETag or a date that proves it the same file, and from a
    server that knows no ranges, it starts from the beginning.

    Args:
        url: http or https.
        part: written to; left as it is by any error and by Ctrl-C.
        tick: called before each write.

    Raises:
        FetchError: refused, or still failing after several attempts.
        RequestError: the disk has too little room.
        OSError: the part cannot be written; ``filename`` is set.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise FetchError(f"{url} is no http or https address")
    furthest, failures = length(part), 0
    while True:
        try:
            _attempt(url, part, tick)
            return
        except _InterruptedError as error:
            reached = length(part)
            failures = 1 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            if failures > len(RETRY_WAITS):
                raise FetchError(f"{error} ({failures} attempts)") from error
            time.sleep(min(max(RETRY_WAITS[failures - 1], error.wait), LONGEST_WAIT))


def length(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def discard(part: Path) -> None:
    """Remove an unfinished file and what is known of it."""
    part.unlink(missing_ok=True)
    _state_path(part).unlink(missing_ok=True)


def check_room(folder: Path, needed: int) -> None:
    """Raise RequestError unless the folder's disk has room for ``needed`` more bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RequestError(
            f"{folder}: {needed / 1e6:,.1f} MB are needed and {free / 1e6:,.1f} MB are free; "
            "make room or name another folder with --data-root"
        )


def _attempt(url: str, part: Path, tick: Tick) -> None:
    state = _read_state(url, part)
    offset = length(part) if state else 0
    if state and part.exists() and offset == state["total"]:
        return
    request = Request(url, headers={"User-Agent": "gpaf-bench"})  # noqa: S310  (the scheme was checked)
    if state and offset and (validator := state["validator"]):
        request.add_header("Range", f"bytes={offset}-")
        request.add_header("If-Range", validator)
    with _open(request, part) as response:
        total: int | None
        if state and offset and response.status == 206:
            total = _resumed_total(response, state, offset, part)
        elif response.status == 200:
            offset, total = 0, _started_total(response, url, part)
        else:
            raise FetchError(f"the server answers {response.status} {response.reason}")
        if total is not None:
            check_room(part.parent, total - offset)
        offset = _receive(response, part, offset, total, tick)
    if total is not None and offset < total:
        raise _InterruptedError(f"the connection ended after {offset:,} of {total:,} bytes")


def _started_total(response: HTTPResponse, url: str, part: Path) -> int | None:
    """Length of a file that is sent from its beginning; what is known of it is recorded."""
    if response.headers.get_content_type() == "text/html" and not part.name.endswith(".html.part"):
        raise FetchError("the server sends a web page instead of the file (a login, or the network's own page)")
    announced = response.headers.get("Content-Length")
    total = int(announced) if announced is not None and announced.isdigit() else None
    # The part goes first: it must never stand beside the description of another file.
    discard(part)
    state: PartState = {"url": url, "validator": _validator(response.headers), "total": total}
    write_json(_state_path(part), state)
    return total


def _resumed_total(response: HTTPResponse, state: PartState, offset: int, part: Path) -> int:
    """Length of a file whose rest is sent; a server that ignored the condition is found out here."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", "").strip())
    same = _validator(response.headers) in (None, state["validator"])
    if not found or int(found[1]) != offset or int(found[2]) != state["total"] or not same:
        discard(part)
        raise _InterruptedError("the file has changed on the server")
    return int(found[2])


def _receive(response: HTTPResponse, part: Path, offset: int, total: int | None, tick: Tick) -> int:
    try:
        with part.open("ab" if offset else "wb") as stream:
            while block := _read(response):
                tick(offset, total)
                stream.write(block)
                offset += len(block)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        error.filename = str(part)
        raise
    tick(offset, total)
    return offset


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read1(_BLOCK)
    except (OSError, HTTPException) as error:
        raise _InterruptedError(one_line(str(error) or type(error).__name__)) from error


def _open(request: Request, part: Path) -> HTTPResponse:
    try:
        response: HTTPResponse = build_opener(_Redirects).open(request, timeout=TIMEOUT_SECONDS)
        return response
    except HTTPError as error:
        error.close()
        if error.code == 416:
            discard(part)
            raise _InterruptedError("the file has changed on the server") from error
        reason = one_line(f"the server answers {error.code} {error.reason}")
        if error.code in _RETRIED or error.code >= 500:
            raise _InterruptedError(reason, _retry_after(error.headers)) from error
        raise FetchError(reason) from error
    except (OSError, HTTPException) as error:
        cause = getattr(error, "reason", error)
        reason = one_line(f"{urlsplit(request.full_url).hostname} cannot be reached ({cause})")
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise FetchError(reason) from error
        raise _InterruptedError(reason) from error


class _Redirects(HTTPRedirectHandler):
    """Follows to https addresses, and from http also to the same host."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        at_home = old.hostname == new.hostname or (_loopback(old.hostname) and _loopback(new.hostname))
        if new.scheme != "https" and not (new.scheme == old.scheme == "http" and at_home):
            raise FetchError(f"the server redirects to {newurl}, which is not https and on another host")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _loopback(host: str | None) -> bool:
    with suppress(ValueError):
        return ip_address(host or "").is_loopback
    return host == "localhost"


def _validator(headers: Message) -> str | None:
    """What proves a file the same in ``If-Range``, for which a weak ETag does not do (RFC 9110, 13.1.5)."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _retry_after(headers: Message) -> float:
    # The header may also be a date; the usual wait then has to do.
    value = headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0


def _read_state(url: str, part: Path) -> PartState | None:
    """What is known of the unfinished file; None where it cannot be gone on with."""
    try:
        state = _STATE.read(_state_path(part))
    except (FileNotFoundError, TornFileError):
        return None
    if state["url"] != url or state["validator"] is None or state["total"] is None or length(part) > state["total"]:
        return None
    return state


def _state_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")
