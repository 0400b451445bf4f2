"""A PostgreSQL server of our own, made to be thrown away: for the demo, the benchmarks and the tests.

Binaries in, a running server out: ``init`` makes a cluster, ``start`` runs that or any other data
directory (a restored one), ``close`` ends it at once. ``postgres`` itself is our child, without
pg_ctl, so that it is waited for when it dies and never leaves a process id behind that looks alive.
It listens on a Unix socket in a short private directory, and nowhere else unless asked to.
Knows no SQL: what it tells about the server comes from the server's files (``postmaster``).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Literal, Self

from catalog.errors import ServerError
from walstream.ops import postmaster, unprivileged
from walstream.ops.installation import SUPERUSER, find_binaries, make_cluster, tail

__all__ = ["Recovery", "StopMode", "ThrowawayServer", "find_binaries"]

StopMode = Literal["smart", "fast", "immediate"]
Recovery = Literal["ended", "paused", "stopped"]

_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_PAUSED = ("pausing at the end of recovery", "recovery has paused")
_POLL = 0.02


class ThrowawayServer:
    """One data directory and, between ``start`` and ``stop``, the server that runs on it.

    ``settings`` go on the command line of every start, where they win over every file and leave no
    trace in copies of the data; ``configure`` writes to the file. ``environment`` is what the server and its
    commands get beside ours. The log is at ``log``, beside the data.
    A context manager: leaving it closes the server. The data directory is the caller's to remove.
    """

    def __init__(
        self,
        bin_dir: str,
        directory: str,
        settings: Mapping[str, str] | None = None,
        port: int = 5432,
        socket_directory: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.bin_dir = bin_dir
        self.directory = os.path.abspath(directory)
        self.log = f"{self.directory}.log"
        self.settings = dict(settings or {})
        self.port = port
        self.socket_directory = socket_directory
        self.environment = dict(environment or {})
        self._made_socket_directory = False
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The postmaster's process id; None unless it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def init(
        self,
        *,
        segment_megabytes: int | None = None,
        checksums: bool | None = None,
        password_users: Sequence[str] = (),
        hba: Sequence[str] = (),
    ) -> None:
        """Make the cluster (``installation.make_cluster``); ``password_users`` must give theirs, by SCRAM."""
        asked = [
            f'{source} all,replication "{user}" {address} scram-sha-256'
            for user in password_users
            for source, address in (("local", ""), ("host", "127.0.0.1/32"), ("host", "::1/128"))
        ]
        make_cluster(
            self.bin_dir,
            self.directory,
            segment_megabytes=segment_megabytes,
            checksums=checksums,
            hba=[*hba, *asked],
        )
        if password_users:
            self.configure({"password_encryption": "scram-sha-256"})  # 13 would store md5

    def configure(self, settings: Mapping[str, str]) -> None:
        """Append to postgresql.conf; ``reload``, or the next start, makes it count."""
        with open(os.path.join(self.directory, "postgresql.conf"), "a", encoding="utf-8") as file:
            file.writelines(f"{name} = {_quoted(value, doubled=True)}\n" for name, value in settings.items())

    def reload(self) -> None:
        """Have the server read its files again, which it does a moment later."""
        self._running().send_signal(signal.SIGHUP)

    def start(self, timeout: float = 60, *, wait: bool = True) -> None:
        """Start, and wait until it takes connections (with hot_standby off: until it replays WAL).

        Without ``wait`` return at once; ``wait_for_recovery`` may follow. Raises ``ServerError`` with the
        end of the log, and then nothing runs.
        """
        if self.pid is not None:
            raise ServerError(f'the server on "{self.directory}" runs already')
        way = unprivileged.way()
        way.require_access(self.bin_dir)
        way.require_access(self.directory)
        way.give(self.directory)
        argv = [os.path.join(self.bin_dir, "postgres"), "-D", self.directory, *self._options(way)]
        with open(self.log, "ab") as log:
            self._log_start = log.tell()
            self._process = way.popen(argv, log, self.environment)
        _alive.add(self)
        try:
            limit = time.monotonic() + timeout
            while wait and self._status() not in ("ready", "standby"):
                self._pause(limit, "take connections")
        except BaseException:
            self.close()
            raise

    def stop(self, mode: StopMode = "fast", timeout: float = 60) -> None:
        """Shut down and wait for the end. What takes longer is killed, and raises ``ServerError``.

        ``smart`` and ``fast`` deliver all WAL to every walsender's client first: one that stands still
        holds them up.
        """
        process = self._process
        if process is None:
            return
        process.send_signal(_SIGNALS[mode])
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerError(f'the server on "{self.directory}" did not stop in {timeout:g} seconds')
        self._process = None

    def kill(self) -> None:
        """A crash: SIGKILL for the postmaster and every child. The files keep what was written."""
        process = self._process
        if process is None:
            return
        # Stopped first: between looking for its children and its end it could make another.
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        family = postmaster.children(process.pid)
        process.kill()
        process.wait()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while not all(postmaster.is_gone(pid) for pid in family):
            time.sleep(_POLL)
        self._process = None

    def close(self) -> None:
        """Stop at once, without a checkpoint, and remove the socket's directory. Can be repeated."""
        with contextlib.suppress(ServerError):  # too slow, so it was killed: ended it has
            self.stop("immediate", timeout=20)
        if self._made_socket_directory and self.socket_directory is not None:
            shutil.rmtree(self.socket_directory, ignore_errors=True)
            self.socket_directory, self._made_socket_directory = None, False
        _alive.discard(self)

    def conninfo(self, dbname: str = "postgres", **extra: str) -> str:
        """A libpq connection string for the running server; ``extra`` adds and replaces parameters."""
        if self.socket_directory is None:
            raise ServerError(f'the server on "{self.directory}" was not started')
        host = {"host": self.socket_directory, "port": str(self.port)}
        words = host | {"user": SUPERUSER, "dbname": dbname} | extra
        return " ".join(f"{name}={_quoted(value)}" for name, value in words.items())

    def wait_for_recovery(self, timeout: float = 60) -> Recovery:
        """Wait until recovery (a restore, a promotion) has ended, or paused or shut down at its target.

        Raises ``ServerError`` with the end of the log when the server failed instead.
        """
        limit = time.monotonic() + timeout
        while True:
            if self._process is not None and self._process.poll() == 0:
                return "stopped"
            if self._status() == "ready" and postmaster.is_in_production(self.directory):
                return "ended"
            if any(words in self.log_text() for words in _PAUSED):
                return "paused"
            self._pause(limit, "end its recovery")

    def log_text(self) -> str:
        """What the server logged since its last start; nothing before the first."""
        if not os.path.exists(self.log):
            return ""
        with open(self.log, "rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", "replace")

    def _options(self, way: unprivileged.Way) -> list[str]:
        if self.socket_directory is None:
            # not $TMPDIR, which may be long: a socket's path has at most 107 bytes
            self.socket_directory = tempfile.mkdtemp(prefix="walstream-", dir="/tmp")
            self._made_socket_directory = True
            way.give(self.socket_directory)
        ours = {
            "port": str(self.port),
            "unix_socket_directories": self.socket_directory,
            "logging_collector": "off",
            "log_destination": "stderr",
            "lc_messages": "C",
        }
        settings = {"listen_addresses": ""} | self.settings | ours
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerError(f'the server on "{self.directory}" does not run')
        if self._process.poll() is not None:
            raise ServerError(f'the server on "{self.directory}" has ended: {tail(self.log_text())}')
        return self._process

    def _status(self) -> str:
        return postmaster.status(self.directory, self._running().pid)

    def _pause(self, limit: float, goal: str) -> None:
        if time.monotonic() > limit:
            raise ServerError(
                f'the server on "{self.directory}" did not {goal} in time: {tail(self.log_text())}'
            )
        time.sleep(_POLL)


_alive: weakref.WeakSet[ThrowawayServer] = weakref.WeakSet()


def _close_all(maker: int) -> None:
    """At exit: no server outlives the process that started it; a forked child leaves them alone."""
    for server in list(_alive) if os.getpid() == maker else []:
        server.close()


def _quoted(value: str, *, doubled: bool = False) -> str:
    """Between single quotes: with ``''`` inside for a configuration file, ``\\'`` for a conninfo."""
    escaped = value.replace("\\", "\\\\")
    return "'" + escaped.replace("'", "''" if doubled else "\\'") + "'"


atexit.register(_close_all, os.getpid())
