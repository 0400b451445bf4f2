"""The rate of PostgreSQL's own ``pg_receivewal`` for a bench, of the same WAL, into the same disk.

It runs without a slot and not synchronously, so it reports no flushed position either, and syncs each segment
as it does by itself. Its start is part of what is measured: some hundredths of a second.
"""

from __future__ import annotations

import os
import subprocess
import time

from catalog.errors import ServerRefused
from catalog.walname import Segment
from walstream.connecting import without_password
from walstream.ops.bench_measures import Rate
from walstream.ops.bench_streams import APPLICATION_NAME, Source

_LOOK = 0.01
_PATIENCE = 5.0


def rate_of_pg_receivewal(program: str, source: Source, seconds: float, directory: str) -> Rate:
    """How fast it receives whole segments; ``directory`` is empty, and is so again.

    ``ServerRefused`` with its own words when it does not receive any.
    """
    # It takes segment 0 for none, so of a server that is quite new it begins with segment 2.
    number = max(1, source.size.number_at(source.start) - 1)
    before = Segment(source.timeline, number).name(source.size)
    try:
        # It goes on behind the last whole segment that it finds: one without content costs nothing.
        with open(os.path.join(directory, before), "wb") as file:
            file.truncate(source.size.nbytes)
        return _received(program, source, seconds, directory, before)
    finally:
        for name in os.listdir(directory):
            os.unlink(os.path.join(directory, name))


def _received(program: str, source: Source, seconds: float, directory: str, before: str) -> Rate:
    shown, secret = without_password(source.conninfo, APPLICATION_NAME)
    environment = {**os.environ, "PGPASSWORD": secret} if secret is not None else dict(os.environ)
    words = [program, "-d", shown, "-D", directory, "--no-loop", "--no-password", f"--endpos={source.end}"]
    with open(os.path.join(directory, "said"), "w+", encoding="utf-8", errors="replace") as said:
        began = time.monotonic()
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment
            )
        except OSError as error:
            raise ServerRefused(f"{program!r} does not start: {error.strerror}") from error
        try:
            nbytes, took = _watched(process, source, directory, before, began, seconds)
        finally:
            _end(process)
        if not nbytes:
            said.seek(0)
            words = said.read().strip().splitlines() or ["it received no whole segment in this time"]
            raise ServerRefused(f"{program!r} received nothing: {words[-1]}")
    return Rate(nbytes, took, None)


def _watched(
    process: subprocess.Popen[bytes],
    source: Source,
    directory: str,
    before: str,
    began: float,
    seconds: float,
) -> tuple[int, float]:
    """The bytes of the whole segments that came, and when the last of them was complete; each is removed."""
    nbytes, took, runs = 0, 0.0, True
    while runs and time.monotonic() < began + seconds:
        runs = process.poll() is None
        for name in os.listdir(directory):
            if len(name) == len(before) and name != before:
                os.unlink(os.path.join(directory, name))
                nbytes += source.size.nbytes
                took = time.monotonic() - began
        if runs:
            time.sleep(_LOOK)
    return nbytes, took


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
