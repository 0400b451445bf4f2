"""Metrics of a real server, its receiver and its backups, in good and in bad times."""

import os
import signal
import time

import pytest
from support.metrics import answer_of, free_port, samples_of
from support.protection import stop, wait_until

from catalog.state import receiver_holder

pytestmark = pytest.mark.postgres(versions=[18])  # the server's version plays no role

STREAMS = {("walstream_receiver_up", "main"): 1, ("walstream_receiver_streaming", "main"): 1}
WELL = STREAMS | {
    ("walstream_configuration_ok", "main"): 1,
    ("walstream_receiver_lag_bytes", "main"): 0,
    ("walstream_receiver_restarts_total", "main"): 0,
    ("walstream_backups", "main", "DONE"): 1,
    ("walstream_open_gaps", "main"): 0,
    ("walstream_spool_segments", "main"): 0,
    ("walstream_slot_active", "main"): 1,
    ("walstream_slot_wal_status", "main", "reserved"): 1,
    ("walstream_check_ok", "receive-wal running", "main"): 1,
    ("walstream_check_ok", "replication slot", "main"): 1,
}


class Scraped:
    """A server with one backup whose receiver streams under ``run``, and a process that serves its metrics.

    A server is asked once a minute: the first time when all is well.
    """

    def __init__(self, ours):
        self.ours, self.began = ours, time.time()
        self.port = free_port()
        self.supervisor = ours.start("run")
        wait_until(ours.streams)
        ours.backup()
        ours.cluster.load(rows=1000)
        ours.cluster.switch_wal()
        ours.catch_up()
        self.metrics = ours.start("metrics", "--listen", f"127.0.0.1:{self.port}")

    def samples(self):
        return samples_of(answer_of(self.port, "/metrics")[1])

    def tells(self, wanted):
        """Wait until a scrape has these values; all that it tells."""
        wait_until(lambda: wanted.items() <= self.samples().items(), 180)
        return self.samples()


@pytest.fixture
def scraped(cluster_factory, protect):
    made = Scraped(protect(cluster_factory({"max_slot_wal_keep_size": "1GB"}, segment_megabytes=1)))
    yield made
    for process in (made.metrics, made.supervisor):
        stop(process, timeout=60)


def test_of_a_server_that_is_well_protected_all_is_told(scraped):
    found = scraped.tells(WELL)
    (backup,) = scraped.ours.facts("list-backups", "main")
    for name in ("last_archived_wal", "check", "receiver_published"):
        assert scraped.began - 5 < found[f"walstream_{name}_timestamp_seconds", "main"] < time.time() + 5
    ended = found["walstream_last_backup_timestamp_seconds", "main", "DONE"]
    assert int(ended) == int(backup["end_time_timestamp"])
    assert ended == found["walstream_recoverable_since_timestamp_seconds", "main"]
    assert found["walstream_last_backup_size_bytes", "main", "DONE"] > 1 << 20
    assert 0 < found["walstream_slot_safe_wal_bytes", "main"] < 1 << 31
    assert found["walstream_wal_segments", "main"] == len(scraped.ours.stored())
    assert answer_of(scraped.port, "/healthz") == (200, "ok\n")


def test_a_receiver_that_dies_and_a_server_that_falls_are_told(scraped):
    scraped.tells(STREAMS)
    os.kill(receiver_holder(str(scraped.ours.home()))[1], signal.SIGKILL)
    scraped.tells(STREAMS | {("walstream_receiver_restarts_total", "main"): 1})
    scraped.ours.cluster.stop()
    scraped.tells({("walstream_receiver_up", "main"): 1, ("walstream_receiver_streaming", "main"): 0})
    assert stop(scraped.supervisor, timeout=60) == 0
    lag = scraped.tells({("walstream_receiver_up", "main"): 0})["walstream_receiver_lag_seconds", "main"]
    wait_until(lambda: scraped.samples()["walstream_receiver_lag_seconds", "main"] > lag)
    status, said = answer_of(scraped.port, "/healthz")
    assert status == 503 and said.startswith("main: no receiver runs")
    assert scraped.samples()["walstream_backups", "main", "DONE"] == 1
