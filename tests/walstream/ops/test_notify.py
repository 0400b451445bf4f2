"""Datagrams as systemd gets them, on real sockets."""

import socket
import time

import pytest

from walstream.ops.notify import Notifier


@pytest.fixture(params=["file", "abstract"])
def manager(request, tmp_path):
    """A service manager's socket, and its name for the environment."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = str(tmp_path / "notify") if request.param == "file" else f"@walstream-{time.monotonic_ns()}"
        listening.bind(name.replace("@", "\0"))
        listening.settimeout(10)
        yield listening, name


def received(listening):
    return listening.recv(4096).decode().split("\n")


def test_each_message_is_one_datagram(manager):
    listening, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000000"})
    notifier.ready()
    assert received(listening) == ["READY=1"]
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    reloading, moment = received(listening)
    assert reloading == "RELOADING=1"
    assert before <= int(moment.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    notifier.status("1 of 2")
    notifier.status("1 of 2")
    notifier.alive()
    notifier.stopping()
    assert [received(listening) for _ in range(3)] == [["STATUS=1 of 2"], ["WATCHDOG=1"], ["STOPPING=1"]]


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_three_times_as_often_as_asked_if_it_is_ours(environ, interval):
    assert Notifier(environ, pid=7).interval == interval


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}, {"NOTIFY_SOCKET": "relative"}])
def test_nothing_happens_where_nobody_listens(environ):
    notifier = Notifier(environ)
    notifier.ready()
    notifier.status("fine")
    notifier.stopping()
