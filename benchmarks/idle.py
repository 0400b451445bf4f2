"""What a receiver costs while nothing happens; ``python -m benchmarks.idle``, see benchmarks/README.md.

A server with PostgreSQL's default settings and nobody else on it, ours and pg_receivewal side by side.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measure import Failed
from benchmarks.programs import configured
from benchmarks.service import Service
from catalog.errors import WalstreamError
from walstream.connection import Connection
from walstream.ops import unprivileged
from walstream.ops.throwaway import ThrowawayServer, find_binaries

GOAL = 0.5  # per cent of one core
SETTLE = 10.0  # seconds: what the start costs is not what is asked


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to look on (default: 10)")
    parser.add_argument("--pg", type=int, default=17, help="version of server and tools (default: 17)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    place = Path(tempfile.mkdtemp(prefix="walstream-idle-"))
    try:
        place.chmod(0o711)
        unprivileged.way().give(str(place))
        with ThrowawayServer(find_binaries(options.pg), str(place / "pg")) as server:
            server.init()
            server.start()
            return _measure(server, place, options.minutes * 60)
    except (Failed, WalstreamError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _measure(server: ThrowawayServer, place: Path, seconds: float) -> int:
    with ExitStack() as stack:
        receivers = [
            (name, stack.enter_context(Service(argv))) for name, argv in _commands(server, place).items()
        ]
        for _, receiver in receivers:
            receiver.wait_for(lambda: _streaming(server) == len(receivers), "stream")
        time.sleep(SETTLE)
        before = [(receiver.cpu(), receiver.wakeups()) for _, receiver in receivers]
        time.sleep(seconds)
        for (name, receiver), (cpu, wakeups) in zip(receivers, before, strict=True):
            spent = receiver.cpu() - cpu
            print(
                f"{name:15} {spent:6.2f} s of CPU in {seconds:.0f} s: {spent / seconds * 100:.3f} % of a core "
                f"(goal: {GOAL} %), {(receiver.wakeups() - wakeups) / seconds:.2f} wake-ups/s, "
                f"peak {receiver.peak() / 2**20:.0f} MiB"
            )
            receiver.stop()
    return 0


def _commands(server: ThrowawayServer, place: Path) -> dict[str, Sequence[str]]:
    theirs = place / "theirs"
    theirs.mkdir()
    conninfo = server.conninfo()
    return {
        "walstream": [*configured(conninfo, place / "ours", "ours"), "receive-wal", "main"],
        "pg_receivewal": [f"{server.bin_dir}/pg_receivewal", "-d", conninfo, "-D", str(theirs), "--no-loop"],
    }


def _streaming(server: ThrowawayServer) -> int:
    with Connection.open(server.conninfo(), application_name="benchmarks", replication=False) as connection:
        ((count,),) = connection.query("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
    return int(count or b"0")


if __name__ == "__main__":
    sys.exit(main())
