"""Child processes that are this program with a command of its own, and what they leave to say when they end.

Each is called with ``-f json``, so that what it prints is one document with its errors, at its end: it is this
process that says them. What it logs goes where this process's own log goes, also when this process has ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from walstream.ops.notify import VARIABLES

_AT_ONCE = 1 << 16
_MOST = 4 << 20
# glibc keeps what threads have freed; buffers of this size are given back. It saves 20 MiB of 45 per receiver.
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(256 << 10)}


class Child:
    """A process that was started; ``poll`` must have seen its end before ``error`` is asked."""

    def __init__(self, words: Sequence[str], log: IO[bytes] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "walstream", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            # Of a session of its own: a terminal's Ctrl-C is for whoever stops its children in order.
            start_new_session=True,
            env=_MEMORY | {name: value for name, value in os.environ.items() if name not in VARIABLES},
        )
        self.pid = self._process.pid
        self._said = b""

    def fileno(self) -> int:
        """Readable when the process has printed something, or ended."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def poll(self) -> int | None:
        """The exit code, negative by a signal; None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """The exit code, awaited for so long."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def signal(self, signum: int) -> None:
        """Send a signal, unless the process has ended."""
        self._process.send_signal(signum)

    def hear(self) -> None:
        """Take in what it has printed so far: one that prints more than a pipe holds waits for that."""
        os.set_blocking(self.fileno(), False)
        with suppress(OSError):
            while piece := os.read(self.fileno(), _AT_ONCE):
                self._said = (self._said + piece)[:_MOST]

    def error(self) -> str | None:
        """What the process failed with, on one line; None when it said nothing."""
        return "; ".join(self._told("_ERROR")) or None

    def warnings(self) -> list[str]:
        """What the process warned of."""
        return self._told("_WARNING")

    def facts(self) -> dict[str, object]:
        """The document that it printed; empty when there is none."""
        self.hear()
        try:
            found = json.loads(self._said)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _told(self, key: str) -> list[str]:
        lines = self.facts().get(key)
        return [str(line) for line in lines] if isinstance(lines, list) else []

    def close(self) -> None:
        """Let go of the process, which need not have ended."""
        if self._process.stdout is not None:
            self._process.stdout.close()


def receiver_words(config: str, log_level: str | None, server: str) -> list[str]:
    """The command line of a receiver."""
    return ["-c", config, *_level(log_level), "-f", "json", "receive-wal", server, "--supervised"]


def metrics_words(config: str, log_level: str | None) -> list[str]:
    """The command line of what serves metrics."""
    return ["-c", config, *_level(log_level), "-f", "json", "metrics", "--supervised"]


def backup_words(config: str, log_level: str | None, server: str) -> list[str]:
    """The command line of a scheduled backup."""
    return ["-c", config, *_level(log_level), "-f", "json", "backup", server, "--supervised"]


def round_words(config: str, log_level: str | None) -> list[str]:
    """The command line of one maintenance round."""
    return ["-c", config, *_level(log_level), "-f", "json", "cron", "--supervised"]


def _level(log_level: str | None) -> list[str]:
    return ["--log-level", log_level] if log_level is not None else []
