"""Telling systemd how a service fares: a datagram per message, to a socket that the environment names.

Where nobody listens, nothing happens. That the message is lost is no reason to end.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

_SOCKET = "NOTIFY_SOCKET"
_WATCHDOG = "WATCHDOG_USEC"
_WATCHDOG_PID = "WATCHDOG_PID"
VARIABLES = (_SOCKET, _WATCHDOG, _WATCHDOG_PID)


class Notifier:
    """Speaks to the service manager that has started this process, if one has.

    ``interval``: seconds within which ``alive`` is to be said again; None when nobody waits for it.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, pid: int | None = None) -> None:
        self._address = _address(environ.get(_SOCKET, ""))
        self.interval = _interval(environ, os.getpid() if pid is None else pid)
        self._said = ""

    def ready(self) -> None:
        """The service does its work: for the first time, or again after ``reloading``."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Settings are being reread."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The service is about to end."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for people; sent only when it has changed."""
        if text != self._said:
            self._said = text
            self._send(f"STATUS={text}")

    def alive(self) -> None:
        """The service is not stuck."""
        if self.interval is not None:
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            pass


def _address(text: str) -> str | None:
    if text.startswith("@"):
        return "\0" + text[1:]  # Linux: a name that is no file
    return text if text.startswith("/") else None


def _interval(environ: Mapping[str, str], pid: int) -> float | None:
    try:
        limit = int(environ[_WATCHDOG]) / 1e6
        meant = int(environ.get(_WATCHDOG_PID, pid))
    except (KeyError, ValueError):
        return None
    return limit / 3 if limit > 0 and meant == pid else None
