"""``walstream metrics``: where it listens, how it ends, and what it says of an address that is taken."""

import signal
import socket
import subprocess
import sys

import pytest
from support.configurations import write
from support.metrics import answer_of, free_port
from support.protection import environment, stop, wait_until

from walstream.cli import metrics_cmd
from walstream.settings.listen import Listen


@pytest.fixture
def config(tmp_path):
    return write(tmp_path, f"[walstream]\nwalstream_home = {tmp_path}/home\n")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_serves_where_it_is_told_to_until_a_signal(config, signum):
    port = free_port()
    words = ["-c", config, "metrics", "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "walstream", *words],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    wait_until(lambda: answer_of(port, "/healthz") == (200, "ok\n"))
    assert answer_of(port, "/")[0] == 404
    assert stop(process, signum) == 0
    assert f"metrics are served on http://127.0.0.1:{port}/metrics" in process.stderr.read()
    process.stderr.close()


def test_an_address_that_is_taken_is_an_error(commands, config):
    commands.file = config
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = commands("metrics", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.code == 1
    assert "error: cannot listen on 127.0.0.1:" in done.err and "hint: see what listens there" in done.err


@pytest.mark.parametrize("words", [(), ("--listen", "9797"), ("--listen", "nowhere at all:9797")])
def test_without_an_address_that_makes_sense_it_is_a_wrong_call(commands, config, words):
    commands.file = config
    done = commands("metrics", *words)
    assert done.code == 2 and "hint: " in done.err and "listen" in done.err


def test_a_wrong_global_section_is_refused(commands, tmp_path):
    commands.file = write(tmp_path, "[walstream]\nmetrics_listen = 127.0.0.1:0\n")
    done = commands("metrics", "--listen", "127.0.0.1:1")
    assert done.code == 2 and "metrics_listen" in done.err


class Waiting:
    """Stands for the time between two tries; ``then`` is called in the third."""

    def __init__(self, then):
        self._then = then
        self.pauses = 0

    def has_ended(self, seconds):
        self.pauses += 1
        return self._then() if self.pauses == 3 else False


def test_a_supervised_one_says_once_that_an_address_is_taken_and_has_it_when_it_is_free(caplog):
    taken = socket.create_server(("127.0.0.1", 0))
    address = Listen("127.0.0.1", taken.getsockname()[1])
    waiting = Waiting(taken.close)
    server = metrics_cmd._listening(address, {}, waiting, True)
    assert server.server_address == ("127.0.0.1", address.port) and waiting.pauses == 3
    server.server_close()
    assert caplog.text.count("cannot listen on") == 1


def test_a_supervised_one_ends_while_it_waits_for_an_address():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Listen("127.0.0.1", taken.getsockname()[1])
        assert metrics_cmd._listening(address, {}, Waiting(lambda: True), True) is None
