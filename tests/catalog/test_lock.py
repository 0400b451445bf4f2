import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from support.faults import fail

from catalog.errors import Busy, StorageError
from catalog.lock import Lock, holder, is_held

HOLD = """
import sys
from catalog.lock import Lock
with Lock(sys.argv[1], "a test"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "lock" / "archive")


@pytest.fixture
def other_process(path):
    """Another process that holds the lock; it lets go when its input ends."""
    program = [sys.executable, "-c", HOLD, path]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_can_be_taken_and_taken_again_after_its_release(path):
    lock = Lock(path, "archiving")
    with lock:
        assert is_held(path)
    assert not is_held(path)
    lock.release()
    with lock:
        assert is_held(path)


def test_a_lock_that_was_never_taken_is_not_held(path):
    assert not is_held(path)
    assert holder(path) is None


def test_the_holder_says_who_and_where_it_is_and_what_it_does(path):
    with Lock(path, "archiving WAL of 'main'"):
        found = holder(path)
    assert found["pid"] == os.getpid()
    assert found["host"] == socket.gethostname()
    assert found["command"] == "archiving WAL of 'main'"
    assert abs(time.mktime(time.strptime(found["started"], "%Y-%m-%dT%H:%M:%SZ")) - time.time()) < 86400
    assert os.stat(path).st_size == 0  # nobody holds it: nobody is named


def test_another_process_that_holds_it_is_named(path, other_process):
    with pytest.raises(Busy) as caught:
        Lock(path, "archiving WAL of 'main'").acquire()
    assert str(caught.value).startswith(f"process {other_process.pid} on {socket.gethostname()} since ")
    assert str(caught.value).endswith(" is archiving WAL of 'main'")
    assert f"ps -fp {other_process.pid}" in str(caught.value.hint)
    assert re.search(r" since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d is ", str(caught.value))
    assert holder(path)["pid"] == other_process.pid
    assert is_held(path)


def test_the_lock_of_a_killed_process_is_free(path, other_process):
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    assert not is_held(path)
    assert holder(path)["pid"] == other_process.pid  # a dead man's word, which counts for nothing
    with Lock(path, "archiving"):
        assert holder(path)["pid"] == os.getpid()


def test_one_can_wait_for_a_lock(path, other_process):
    other_process.stdin.close()
    with Lock(path, "archiving").acquire(wait=30):
        assert is_held(path)


def test_within_one_process_two_locks_exclude_each_other(path):
    with Lock(path, "archiving"), pytest.raises(Busy):
        Lock(path, "archiving").acquire()


def test_somebody_who_looks_whether_it_is_held_does_not_make_it_busy(path):
    look = "import sys; from catalog.lock import is_held\nwhile True: is_held(sys.argv[1])"
    looking = subprocess.Popen([sys.executable, "-c", look, path])
    try:
        for _ in range(50):
            with Lock(path, "archiving"):
                pass
    finally:
        looking.kill()
        looking.wait()


def test_what_is_written_in_the_file_decides_nothing(path):
    os.makedirs(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as file:
        json.dump(["not", "ours"], file)
    assert holder(path) is None
    with open(path, "w", encoding="utf-8") as file:
        file.write("\0{")
    assert holder(path) is None
    with Lock(path, "archiving"):
        assert holder(path)["pid"] == os.getpid()


@pytest.mark.parametrize("call", ["open", "mkdir", "pwrite"])
def test_a_lock_that_the_system_refuses_is_a_storage_error_and_not_held(path, monkeypatch, call):
    with monkeypatch.context() as faults:
        fail(faults, call, errno.ENOSPC)
        with pytest.raises(StorageError, match="no space left"):
            Lock(path, "archiving").acquire()
    assert not is_held(path)


def test_a_lock_file_that_cannot_be_read_is_trouble_and_not_freedom(path, monkeypatch):
    with Lock(path, "archiving"):
        fail(monkeypatch, "open", errno.EACCES)
        with pytest.raises(StorageError):
            is_held(path)


def test_a_full_disk_at_release_still_frees_the_lock(path, monkeypatch):
    lock = Lock(path, "archiving").acquire()
    fail(monkeypatch, "ftruncate", errno.EIO)
    lock.release()
    assert not is_held(path)
