"""Something to do for a server while a test goes on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psycopg
from support.clusters import Cluster

KEEPS_ITS_WAL = {"wal_keep_size": "4GB", "max_wal_size": "1GB", "autovacuum": "off"}


@contextlib.contextmanager
def load_on(cluster: Cluster) -> Iterator[None]:
    """Rows are inserted, a few at a time, until the end of the block."""
    done = threading.Event()
    cluster.sql("CREATE TABLE IF NOT EXISTS busy (id bigserial, body text)")

    def write() -> None:
        with contextlib.suppress(psycopg.Error), cluster.connect() as connection:
            while not done.wait(0.002):
                connection.execute(
                    "INSERT INTO busy (body) SELECT md5(i::text) FROM generate_series(1, 30) i"
                )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()
