"""A small server of a few pages, for programs that ask on the same host: GET, one answer per connection.

It knows nothing of what it serves: a page is a function, called for each request on that request's thread. Whoever
says nothing, or takes nothing, is let go after a while; more than a few at once are told to come back later.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from catalog.errors import ListenFailed
from walstream import __version__
from walstream.settings.listen import Listen

log = logging.getLogger("walstream.metrics")

AT_ONCE = 8
PATIENCE = 5.0
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """What is answered."""

    body: bytes
    status: int = HTTPStatus.OK
    content_type: str = TEXT


Pages = Mapping[str, Callable[[], Page]]


class Server(socketserver.ThreadingTCPServer):
    """Listens from when it is made; ``serve_forever`` answers. ``ListenFailed`` when the address cannot be had."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 16

    def __init__(self, address: Listen, pages: Pages) -> None:
        self.pages = pages
        self._free = threading.BoundedSemaphore(AT_ONCE)
        try:
            found = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            self.address_family = found[0][0]
            super().__init__((str(found[0][4][0]), address.port), _Request)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise ListenFailed(
                f"cannot listen on {address}: {reason or error}",
                "see what listens there (ss -ltnp), or choose another host and port for metrics_listen",
            ) from error

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client: object) -> None:
        """Answer on a thread, if one is free."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client)
            return
        if isinstance(request, socket.socket):
            _send_away(request)
        self.shutdown_request(request)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client: object
    ) -> None:
        """Answer, and let the next one in."""
        try:
            super().process_request_thread(request, client)
        finally:
            self._free.release()

    def handle_error(self, request: object, client: object) -> None:
        """Log what has gone wrong with one request; one who asks and goes away is nothing to be told."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            log.error("internal error: %s: %s", type(error).__name__, error)


class _Request(BaseHTTPRequestHandler):
    """One request and its answer."""

    server: Server
    timeout = PATIENCE
    server_version = f"walstream/{__version__}"
    sys_version = ""

    def do_GET(self) -> None:
        page = self.server.pages.get(urlsplit(self.path).path)
        if page is None:
            known = ", ".join(sorted(self.server.pages))
            self._answer(Page(f"not found; there is: {known}\n".encode(), HTTPStatus.NOT_FOUND))
            return
        try:
            answer = page()
        except Exception as error:
            # The boundary of the thread: whoever asks is told, and so is the log.
            log.exception("internal error: %s: %s", type(error).__name__, error)
            answer = Page(b"internal error: see the log\n", HTTPStatus.INTERNAL_SERVER_ERROR)
        self._answer(answer)

    def _refuse(self) -> None:
        self._answer(Page(b"only GET is answered\n", HTTPStatus.METHOD_NOT_ALLOWED), Allow="GET")

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _answer(self, page: Page, **headers: str) -> None:
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are not logged: monitoring asks several times a minute."""


def _send_away(connection: socket.socket) -> None:
    connection.setblocking(False)
    try:
        connection.send(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n")
    except OSError:
        pass  # it has gone already
