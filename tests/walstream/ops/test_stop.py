"""Ending whoever holds a receiver's lock: only if it is known who that is."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.errors import Busy, RepositoryError
from catalog.state import is_stopped, receiver_holder, receiver_lock_path
from walstream.ops.stop import stop_receiver

HOLD = """
import sys, time
from catalog.lock import Lock
with Lock(sys.argv[1], "receiving"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / "state").mkdir()
    return str(tmp_path)


@pytest.fixture
def receiver(home):
    """A process that holds the receiver's lock."""
    words = [sys.executable, "-c", HOLD, receiver_lock_path(home)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def sign(home, **facts):
    """Let the lock say something else about its holder."""
    path = Path(receiver_lock_path(home))
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def stop(home, patience=60.0):
    return stop_receiver("main", home, home, patience)


def test_the_holder_is_asked_to_end_and_waited_for(home, receiver):
    assert stop(home) == receiver.pid
    assert receiver.wait(10) == -signal.SIGTERM
    assert receiver_holder(home) is None and is_stopped(home)


def test_where_nobody_receives_only_the_order_stays(home):
    assert stop(home) is None
    assert is_stopped(home)


def test_there_is_nothing_to_stop_where_nothing_was_ever_received(tmp_path):
    with pytest.raises(RepositoryError, match="nothing was ever received"):
        stop(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_a_receiver_of_another_host_is_left_alone(home, receiver):
    sign(home, host="elsewhere")
    with pytest.raises(Busy, match="'elsewhere'"):
        stop(home)
    assert receiver.poll() is None and is_stopped(home)


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="the kernel does not say who holds a lock")
def test_a_process_that_only_bears_the_number_of_the_holder_is_left_alone(home, receiver):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        sign(home, pid=bystander.pid)
        with pytest.raises(Busy, match="another container"):
            stop(home)
        assert bystander.poll() is None
    assert receiver.poll() is None


def test_one_that_does_not_end_is_named(home, receiver):
    receiver.send_signal(signal.SIGSTOP)
    with pytest.raises(Busy, match=f"process {receiver.pid} still receives"):
        stop(home, patience=0.2)
    assert is_stopped(home)
