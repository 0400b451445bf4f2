"""A program that runs until it is told to: started in the background, its CPU time read while it works.

For receivers under a load that somebody else makes. Reads /proc, so only on Linux.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.measure import ROOT, Failed, environment

PATIENCE = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


class Service:
    """One running process; a context manager that ends it. Its children do not count."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = argv
        self._output = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            argv,
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the condition holds; ``Failed`` when the process ends, or a minute passes, before."""
        limit = time.monotonic() + PATIENCE
        while not condition():
            if self._process.poll() is not None or time.monotonic() > limit:
                raise self._failed(f"did not come to {what}")
            time.sleep(0.05)

    def cpu(self) -> float:
        """CPU seconds so far, in the resolution of the kernel's clock (10 ms)."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak(self) -> int:
        """The largest resident set so far, in bytes."""
        return self._status("VmHWM") * 1024

    def wakeups(self) -> int:
        """How often its threads have gone to sleep of their own accord so far."""
        path = Path(f"/proc/{self._process.pid}/task")
        return sum(self._status("voluntary_ctxt_switches", f"task/{task.name}/") for task in path.iterdir())

    def stop(self) -> None:
        """Ask it to end, and wait; ``Failed`` unless it ends in order."""
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise self._failed("did not end") from None
        if code:
            raise self._failed(f"ended with exit code {code}")

    def _status(self, name: str, below: str = "") -> int:
        lines = (line.split() for line in self._proc(f"{below}status").splitlines())
        return next(int(words[1]) for words in lines if words[0] == f"{name}:")

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._process.pid}/{name}").read_text(encoding="utf-8")

    def _failed(self, what: str) -> Failed:
        self._output.seek(0)
        said = self._output.read()[-2000:].decode(errors="replace")
        return Failed(f"{' '.join(self._argv)}\n{what}\n{said}")
