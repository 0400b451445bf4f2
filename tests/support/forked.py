"""Commands as processes of their own, forked from one that has imported them all.

Each has its own memory, descriptors, signals and exit code, as if a shell had started it; what it does without is
the start of Python and the imports, which take longer than most commands. ``Popen`` has as much of
``subprocess.Popen`` as tests use. The commands that a command starts are started from nothing, as ever.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from multiprocessing.reduction import DupFd
from typing import IO, Any

from walstream.cli.commands import COMMANDS

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["walstream.cli.program", "walstream.connection", *(each.module for each in COMMANDS)]
)
_ONE_AT_A_TIME = threading.RLock()  # multiprocessing itself takes an exit code twice if two threads ask


class Popen:
    """``walstream WORDS`` with these descriptors as standard output and standard error, and no input."""

    def __init__(
        self, words: Sequence[str], stdout: IO[bytes], stderr: IO[bytes], env: Mapping[str, str]
    ) -> None:
        output, errors = (_Handed(file.fileno()) for file in (stdout, stderr))
        self._process = _CONTEXT.Process(
            target=_command, args=(list(words), output, errors, dict(env)), daemon=True
        )
        with _ONE_AT_A_TIME:
            self._process.start()
        assert self._process.pid is not None
        self.args, self.pid = ["walstream", *words], self._process.pid

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        """The exit code, negative by a signal; None while it runs."""
        with _ONE_AT_A_TIME:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, awaited."""
        wait([self._process.sentinel], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, signum: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signum)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(words: Sequence[str], env: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a command until it has ended and nobody holds its output any more."""
    with ThreadPoolExecutor(2) as readers:
        process, pipes = None, [os.pipe(), os.pipe()]
        said = [readers.submit(_read, output) for output, _ in pipes]
        try:
            stdout, stderr = (open(fd, "wb") for _, fd in pipes)
            with stdout, stderr:
                process = Popen(words, stdout, stderr, env)
            texts = [each.result(timeout) for each in said]
            return subprocess.CompletedProcess(process.args, process.wait(timeout), *texts)
        finally:
            if process is not None:
                process.kill()


def _read(fd: int) -> str:
    with open(fd, encoding="utf-8") as file:
        return file.read()


class _Handed:
    """A descriptor on its way to the new process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (DupFd(self._fd),)


def _received(duplicate: Any) -> int:
    fd = duplicate.detach()
    assert isinstance(fd, int)
    return fd


def _command(words: list[str], stdout: int, stderr: int, env: dict[str, str]) -> None:
    """What the new process does: make itself look as if a shell had started it, run the command, end."""
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    for fd, given in ((1, stdout), (2, stderr)):
        os.dup2(given, fd)
        os.close(given)
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.__stderr__ = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.argv = ["walstream", *words]
    sys.dont_write_bytecode = True
    from walstream.cli import main  # only here: whoever starts commands need not import them

    try:
        code = main(words)
        sys.stdout.flush()
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves these out
    sys.exit(code)
