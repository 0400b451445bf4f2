"""``walstream metrics``: figures of all servers for Prometheus, served over HTTP."""

from __future__ import annotations

import argparse
import logging
import math
import os
import select
import sys
import threading
import time

from catalog.errors import ListenFailed, UsageError, one_line
from walstream.cli.context import Context
from walstream.cli.signals import calling
from walstream.ops.http import Pages, Server
from walstream.ops.observer import Observer
from walstream.ops.pages import pages
from walstream.settings.listen import Listen
from walstream.settings.options import METRICS_LISTEN
from walstream.settings.server import joined
from walstream.wakeup import Wakeup

EXAMPLE = "walstream metrics --listen 127.0.0.1:9797"

log = logging.getLogger("walstream.metrics")

PAUSE = 5.0
LOOK = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Serves /metrics, the figures of all servers for Prometheus, and /healthz, which is ok while every active "
        "server's receiver runs and streams, or was stopped on purpose. Whoever can reach the address can read "
        "them. What is stored is looked at when somebody asks, servers are checked once a minute. A signal ends "
        "it. 'walstream run' runs it by itself where metrics_listen is set."
    )
    parser.add_argument("--listen", metavar="HOST:PORT", help="where, in place of metrics_listen")
    parser.add_argument(
        "--supervised",
        action="store_true",
        help="as run calls it: end when nobody reads standard output any more",
    )


def run(context: Context, arguments: argparse.Namespace) -> int:
    configuration = context.configuration
    if configuration.problems:
        raise joined(configuration.problems)
    address = _address(arguments.listen, configuration.globals.metrics_listen)
    context.start_logging()
    observer, waiting = Observer(configuration), _Waiting(arguments.supervised)
    with calling(waiting.end, waiting.end):
        server = _listening(address, pages(observer), waiting, arguments.supervised)
        if server is not None:
            observer.watch()
            threading.Thread(target=server.serve_forever, name="walstream-http", daemon=True).start()
            log.info("metrics are served on http://%s/metrics", address)
            waiting.has_ended(math.inf)
    context.output.close()
    sys.stdout.flush()
    # Threads that hang in the operating system would keep the process from ending.
    os._exit(0)


class _Waiting:
    """Waits for a signal; or until the supervisor is gone, which reads what this process prints."""

    def __init__(self, supervised: bool) -> None:
        self._wakeup = Wakeup()
        self.end = self._wakeup.set
        self._poll = select.poll()
        self._poll.register(self._wakeup.fileno(), select.POLLIN)
        if supervised:
            self._poll.register(sys.stdout.fileno(), 0)

    def has_ended(self, seconds: float) -> bool:
        """Wait for so long; whether it is time to end."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            # Not all at once: a signal that comes just before the poll begins is handled after it.
            if self._poll.poll(min(left, LOOK) * 1000):
                return True
        return False


def _listening(address: Listen, served: Pages, waiting: _Waiting, supervised: bool) -> Server | None:
    """What listens; None when it is time to end. A supervised one says once why it cannot, and tries on."""
    said = ""
    while True:
        try:
            return Server(address, served)
        except ListenFailed as error:
            if not supervised:
                raise
            if error.message != said:
                log.error("%s; tried again by itself", one_line(error))
            said = error.message
        if waiting.has_ended(PAUSE):
            return None


def _address(given: str | None, configured: Listen | None) -> Listen:
    if given is None:
        if configured is None:
            raise UsageError(
                "there is no address to listen on", "give --listen HOST:PORT, or set metrics_listen"
            )
        return configured
    try:
        return Listen.parse(given)
    except ValueError as error:
        raise UsageError(
            f"cannot listen on {given!r}: {error}", f"accepted: {METRICS_LISTEN.kind.accepted}"
        ) from None
