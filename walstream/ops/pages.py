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
    """``ok``, with a line for each receiver that was stopped; or what is wrong with which server, a line each."""
    servers = observer.figures()
    found = troubles(servers, time.time())
    if found:
        return Page(_lines(found), HTTPStatus.SERVICE_UNAVAILABLE)
    stopped = [f"{each.name}: its receiver was stopped on purpose" for each in servers if _is_stopped(each)]
    return Page(_lines(["ok", *stopped]))


def troubles(servers: Sequence[ServerFigures], now: float) -> list[str]:
    """Why WAL is not received: of each active server whose receiver neither streams, nor did a moment ago.

    One that an operator has stopped is no trouble: it would hide that of the others for as long as it lasts.
    """
    found = []
    for server in servers:
        if server.settings is None:
            found.append(f"{server.name}: its section of the configuration is wrong: see walstream check")
        elif _is_stopped(server):
            continue
        elif server.receiver is not None:
            item = running_item(server.settings, server.receiver, now)
            if not item.ok:
                found.append(f"{server.name}: {' '.join(item.hint.split())}")
        elif RECEIVER in server.readable:
            found.append(f"{server.name}: what its receiver publishes cannot be read: see walstream check")
    return found


def _is_stopped(server: ServerFigures) -> bool:
    return server.receiver is not None and server.receiver.stopped and not server.receiver.running


def _lines(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
