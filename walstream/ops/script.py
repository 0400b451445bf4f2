"""One shell command of an operator: fed through standard input, heard within a bound, ended when it takes too long.

The end of what it says is kept, because there is why it failed.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

MOST = 4096
LOOK = 0.2

_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Outcome:
    """``code`` is None when it was killed, with all that it started; ``left_out`` counts bytes before ``said``."""

    code: int | None
    said: str
    left_out: int


def run_script(
    command: str,
    environment: Mapping[str, str],
    told: bytes,
    timeout: float,
    is_over: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Run it to its end, for at most ``timeout`` seconds and until ``is_over``; ``OSError`` if it cannot start.

    It has ended when nothing holds its output any more, what it leaves in the background included.
    """
    script = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        env=environment,
        start_new_session=True,
    )
    until = time.monotonic() + timeout

    def goes_on() -> bool:
        return time.monotonic() < until and not is_over()

    said = _Tail()
    try:
        if _converse(script, memoryview(told), said, goes_on) and _wait(script, goes_on):
            return Outcome(script.returncode, said.text(), said.left_out)
    finally:
        _kill_group(script)
    return Outcome(None, said.text(), said.left_out)


class _Tail:
    """The end of a text."""

    def __init__(self) -> None:
        self.left_out = 0
        self._kept = bytearray()

    def add(self, piece: bytes) -> None:
        self._kept += piece
        beyond = max(0, len(self._kept) - MOST)
        del self._kept[:beyond]
        self.left_out += beyond

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace").strip()


def _converse(
    script: subprocess.Popen[bytes], told: memoryview, said: _Tail, goes_on: Callable[[], bool]
) -> bool:
    """Tell it all and hear it until both pipes are at their end; False when that took too long."""
    assert script.stdin is not None and script.stdout is not None
    tell, hear = script.stdin.fileno(), script.stdout.fileno()
    os.set_blocking(tell, False)
    with selectors.DefaultSelector() as pipes:
        pipes.register(tell, selectors.EVENT_WRITE)
        pipes.register(hear, selectors.EVENT_READ)
        while pipes.get_map():
            if not goes_on():
                return False
            for ready, _ in pipes.select(LOOK):
                if ready.fd == tell:
                    told = told[_write(tell, told) :]
                    if not told:
                        pipes.unregister(tell)
                        script.stdin.close()
                elif piece := os.read(hear, _PIECE):
                    said.add(piece)
                else:
                    pipes.unregister(hear)
    return True


def _write(fd: int, told: memoryview) -> int:
    """How much of it went; all of it when nobody reads it any more."""
    try:
        return os.write(fd, told)
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        return len(told)


def _wait(script: subprocess.Popen[bytes], goes_on: Callable[[], bool]) -> bool:
    while True:
        with suppress(subprocess.TimeoutExpired):
            script.wait(LOOK)
            return True
        if not goes_on():
            return False


def _kill_group(script: subprocess.Popen[bytes]) -> None:
    """End a script that has not ended, and all that it has started in its session."""
    if script.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(script.pid, signal.SIGKILL)
        script.wait()
    for pipe in (script.stdin, script.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
