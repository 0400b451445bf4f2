"""The operating system failing: calls of ``os`` that fail, that hang, and a disk that loses power."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from typing import Any

import pytest


def fail(
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    code: int,
    *,
    times: int | None = None,
    when: Callable[..., bool] = lambda *arguments: True,
) -> None:
    """Let ``os.<call>`` fail with this ``errno``, always or so many times, where ``when`` says so."""
    real = getattr(os, call)
    left = [times]

    def fake(*arguments: Any, **named: Any) -> Any:
        if not when(*arguments) or left[0] == 0:
            return real(*arguments, **named)
        if left[0] is not None:
            left[0] -= 1
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fake)


class Hanging:
    """``os.<call>`` stands still: ``entered`` is set once it was called, and ``let_go`` ends all calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
        self.entered = threading.Event()
        self._may_go = threading.Event()
        self._real = getattr(os, call)
        monkeypatch.setattr(os, call, self._call)

    def let_go(self) -> None:
        self._may_go.set()

    def _call(self, *arguments: Any) -> Any:
        self.entered.set()
        assert self._may_go.wait(30)
        return self._real(*arguments)


_open, _mkdir = os.open, os.mkdir


def is_pipe(target: object) -> bool:
    """Whether this is a descriptor of a pipe."""
    return isinstance(target, int) and stat.S_ISFIFO(os.fstat(target).st_mode)


class PowerLoss(BaseException):
    """The machine stops: nothing that follows is done, no clean-up either."""


class Disk:
    """Remembers what was synced: a file's bytes by its own sync, a name by its directory's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._contents: dict[int, bytes] = {}
        self._entries: dict[int, dict[str, int]] = {}
        self._calls_left: int | None = None
        self._lock = threading.Lock()
        for call in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, call, self._syncing(getattr(os, call)))
        for call in ("open", "write", "rename", "link", "unlink", "mkdir", "rmdir"):
            monkeypatch.setattr(os, call, self._counting(getattr(os, call)))

    def stop_after(self, calls: int) -> None:
        """Raise ``PowerLoss`` at every call behind so many that change or sync something."""
        self._calls_left = calls

    def survivors(self, directory: str) -> dict[str, bytes]:
        """The files below a directory that is itself durable, and what they hold after a power loss."""
        return self._below(os.stat(directory).st_ino, "")

    def _below(self, directory: int, prefix: str) -> dict[str, bytes]:
        found = {}
        for name, inode in self._entries.get(directory, {}).items():
            if inode in self._contents:
                found[prefix + name] = self._contents[inode]
            else:
                found |= self._below(inode, f"{prefix}{name}/")
        return found

    def _count(self) -> None:
        if self._calls_left is not None:
            if self._calls_left <= 0:
                raise PowerLoss
            self._calls_left -= 1

    def _counting(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if not is_pipe(arguments[0]):  # what wakes a thread up is no matter of the disk
                self._count()
            found = real(*arguments, **named)
            if real is _open and arguments[1] & os.O_EXCL:
                self._forget(os.fstat(found).st_ino)
            if real is _mkdir:
                self._forget(os.stat(arguments[0]).st_ino)
            return found

        return call

    def _forget(self, inode: int) -> None:
        """A new file may have the number of one that is gone."""
        with self._lock:
            self._contents.pop(inode, None)
            self._entries.pop(inode, None)

    def _syncing(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def call(fd: int) -> None:
            self._count()
            facts = os.fstat(fd)
            with self._lock:
                if stat.S_ISDIR(facts.st_mode):
                    with os.scandir(f"/proc/self/fd/{fd}") as entries:
                        self._entries[facts.st_ino] = {entry.name: entry.inode() for entry in entries}
                else:
                    with open(f"/proc/self/fd/{fd}", "rb") as file:
                        self._contents[facts.st_ino] = file.read()

        return call
