"""WAL received in the background of a block, and what is published while the receiver sleeps."""

from contextlib import contextmanager

import pytest

from catalog.lsn import LSN
from catalog.state import live_receiver_state
from walstream.ops import wiring
from walstream.ops.reception import Reception
from walstream.settings.load import load
from walstream.settings.write import add_server


@pytest.fixture
def receiving(server, tmp_path):
    """The settings of a server whose WAL is being received."""
    file = str(tmp_path / "walstream.conf")
    add_server(file, "main", {"conninfo": server.conninfo(), "synchronous": "on"}, str(tmp_path / "home"))
    settings = load(file).server("main")

    @contextmanager
    def make():
        with wiring.running_receiver(settings, wiring.receive_options(settings)) as (receiver, _):
            yield receiver

    with Reception(make):
        yield settings


def test_the_last_flushed_position_is_published_soon(receiving, server, eventually):
    with server.connect() as connection:
        for _ in range(20):  # a few milliseconds apart, too often to publish each
            connection.execute("SELECT pg_logical_emit_message(true, 'test', 'x')")
    position = LSN.parse(server.one("SELECT pg_current_wal_flush_lsn()"))
    eventually(lambda: live_receiver_state(receiving.home).flushed >= position, timeout=3)
