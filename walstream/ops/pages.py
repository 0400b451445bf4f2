"""The two pages of ``walstream metrics``: ``/metrics`` for Prometheus, ``/healthz`` for whoever wants yes or no."""

from __future__ import annotations

import time
from collections.abc import Sequence
from http import HTTPStatus

from walstream.ops import metrics
from walstream.ops.check_receiver import running_item
from walstream.ops.figures import ServerFigures
from walstream.ops.http import Page, Pages
from walstream.ops.observer import RECEIVER, Observer


def pages(observer: Observer) -> Pages:
    """The pages by path."""
    return {"/metrics": lambda: metrics_page(observer), "/healthz": lambda: health_page(observer)}


def metrics_page(observer: Observer) -> Page:
    """All figures."""
    text = metrics.exposition(observer.figures(), time.time())
    return Page(text, content_type=metrics.CONTENT_TYPE)


def health_page(observer: Observer) -> Page:
    """``ok``, or what is wrong with which server, a line each."""
    found = troubles(observer.figures(), time.time())
    if not found:
        return Page(b"ok\n")
    return Page("".join(f"{line}\n" for line in found).encode(), HTTPStatus.SERVICE_UNAVAILABLE)


def troubles(servers: Sequence[ServerFigures], now: float) -> list[str]:
    """Why WAL is not received: of each active server whose receiver neither streams, nor did a moment ago."""
    found = []
    for server in servers:
        if server.settings is None:
            found.append(f"{server.name}: its section of the configuration is wrong: see walstream check")
        elif server.receiver is not None:
            item = running_item(server.settings, server.receiver, now)
            if not item.ok:
                found.append(f"{server.name}: {' '.join(item.hint.split())}")
        elif RECEIVER in server.readable:
            found.append(f"{server.name}: what its receiver publishes cannot be read: see walstream check")
    return found
