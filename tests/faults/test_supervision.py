"""Supervisors and receivers killed and renewed in any order: what was acknowledged stays, and one receives."""

import contextlib
import os
import signal

import pytest
from support.protection import assert_same_wal, last_acknowledged, segment_size, stop, wait_until

from catalog.lock import holder, is_held
from catalog.state import receiver_holder

pytestmark = pytest.mark.timeout(1800)

KEEPS_ITS_WAL = {"wal_keep_size": "4GB", "max_wal_size": "1GB", "autovacuum": "off"}


class Supervised:
    """A server under a supervisor, and what can happen to them."""

    def __init__(self, ours, chance):
        self.ours = ours
        self._chance = chance
        self._supervisor = self._start()

    def _start(self):
        """A supervisor that is ready for signals: it has its lock."""
        process = self.ours.start("run")
        lock = self.ours.home().parent / ".run.lock"
        wait_until(lambda: is_held(str(lock)) and (holder(str(lock)) or {}).get("pid") == process.pid)
        return process

    def receiver(self):
        found = receiver_holder(str(self.ours.home()))
        return found[1] if found else 0

    def kill_receiver(self):
        with contextlib.suppress(ProcessLookupError):
            if pid := self.receiver():
                os.kill(pid, signal.SIGKILL)

    def kill_supervisor(self):
        stop(self._supervisor, signal.SIGKILL)
        self._supervisor = self._start()

    def restart_supervisor(self):
        assert self.end() == 0
        self._supervisor = self._start()

    def renew(self):
        self.ours.configure({"main": {"compression": self._chance.choice(["zstd", "lz4", "gzip", "none"])}})
        self._supervisor.send_signal(signal.SIGHUP)

    def run_cron(self):
        self.ours.run("cron")

    def end(self):
        return stop(self._supervisor, timeout=100)


def test_whatever_happens_to_supervisor_and_receiver_nothing_acknowledged_is_lost(
    cluster_factory, protect, rounds, chance
):
    cluster = cluster_factory(KEEPS_ITS_WAL, segment_megabytes=1)
    size = segment_size(cluster)
    ours = protect(cluster)
    with ours.receiving():
        begin = position = ours.catch_up()
    supervised = Supervised(ours, chance)
    events = [
        supervised.kill_receiver,
        supervised.kill_supervisor,
        supervised.restart_supervisor,
        supervised.renew,
        supervised.run_cron,
    ]
    try:
        for _ in range(3 * rounds):
            wait_until(ours.streams, timeout=90)
            cluster.load(rows=chance.randrange(100, 9000))
            event = chance.choice(events)
            print(event.__name__)
            event()
            before, position = position, max(position, last_acknowledged(ours))
            assert_same_wal(ours, position, size.number_before(before))
        wait_until(ours.streams, timeout=90)
        position = ours.catch_up()
    finally:
        code = supervised.end()
        left = supervised.receiver()
        supervised.kill_receiver()
    assert (code, left) == (0, 0), ours.log.read_text()
    wait_until(lambda: not ours.streams())
    assert_same_wal(ours, position, size.number_before(begin))
