"""A program that runs until it is told to: started in the background, its CPU time and memory read while it works.

For receivers under a load that somebody else makes. Reads /proc, so only on Linux.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.measure import ROOT, Failed, environment
from walstream.ops import postmaster

PATIENCE = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Family:
    """A process and those below it: CPU seconds of all; of those below how many, their memory, the largest peak.

    Memory is in bytes, and what several share is divided among them.
    """

    cpu: float
    below: int
    memory: int
    peak: int


class Service:
    """One running process; a context manager that ends it. Its children do not count, but for ``family``."""

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

    def family(self) -> Family:
        """What it and all below it have used so far, those that have ended included, and hold now."""
        pids = [self._process.pid]
        for pid in pids:  # grows while it is walked
            pids += postmaster.children(pid)
        fields = [
            text.rpartition(")")[2].split() for text in map(_read, (f"{pid}/stat" for pid in pids)) if text
        ]
        held = [_kilobytes(_read(f"{pid}/smaps_rollup"), "Pss") for pid in pids[1:]]
        peaks = [_kilobytes(_read(f"{pid}/status"), "VmHWM") for pid in pids[1:]]
        cpu = sum(sum(map(int, each[11:15])) for each in fields) / TICKS
        return Family(cpu, len(held), sum(held) * 1024, max(peaks, default=0) * 1024)

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


def _read(name: str) -> str:
    """A file below /proc; empty when its process has just ended."""
    try:
        return Path("/proc", name).read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _kilobytes(text: str, name: str) -> int:
    lines = (line.split() for line in text.splitlines())
    return next((int(words[1]) for words in lines if words[0] == f"{name}:"), 0)
