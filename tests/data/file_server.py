"""A web server on this machine that serves one file and misbehaves as a test tells it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 4096


class Site:
    """A web server that serves one file and misbehaves as told."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.validator: tuple[str, str] | None = ("ETag", '"first"')
        self.ranges = True
        self.blind = False
        """Sends ranges of a changed file too."""
        self.cuts: list[int] = []
        """Bytes after which the next answers break off."""
        self.on_cut: Callable[[], None] = lambda: None
        self.statuses: list[int] = []
        """What the next answers are instead of the file."""
        self.redirect: str | None = None
        self.content_type = "application/zip"
        self.announced: int | None = None
        self.gate: threading.Event | None = None
        """Where set: the second half of an answer waits for it."""
        self.asked: list[str | None] = []
        """The Range of each request."""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}/raw.zip"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        if self.gate is not None:
            self.gate.set()
        self.server.shutdown()
        self.server.server_close()

    def _handler(site) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.headers.get("Range"))
                if site.statuses:
                    self.send_response(site.statuses.pop(0))
                    self.send_header("Retry-After", "0")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif site.redirect and self.path == "/raw.zip":
                    self.send_response(302)
                    self.send_header("Location", site.redirect)
                    self.end_headers()
                else:
                    self._send_file()

            def _send_file(self) -> None:
                start, total = 0, len(site.content)
                wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
                same = site.blind or (site.validator is not None and condition == site.validator[1])
                if wanted and site.ranges and same:
                    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
                else:
                    self.send_response(200)
                if site.validator is not None:
                    self.send_header(*site.validator)
                self.send_header("Content-Type", site.content_type)
                self.send_header("Content-Length", str(site.announced or total - start))
                self.end_headers()
                body = site.content[start:]
                if site.cuts:
                    body = body[: site.cuts.pop(0)]
                    site.on_cut()
                half = len(body) // 2
                self.wfile.write(body[:half])
                if site.gate is not None:
                    site.gate.wait(60)
                self.wfile.write(body[half:])

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        return Handler
