import errno
import os
import socket
from dataclasses import replace

import pytest
from support.faults import fail

from catalog.errors import StorageError
from catalog.lock import Lock
from catalog.lsn import LSN
from catalog.state import (
    ReceiverState,
    clear_stopped,
    is_stopped,
    live_receiver_state,
    mark_stopped,
    read_receiver_state,
    receiver_holder,
    receiver_lock_path,
    write_receiver_state,
)

STATE = ReceiverState(
    pid=os.getpid(),
    at=1.8e9,
    started=1.7e9,
    phase="streaming",
    since=1.75e9,
    trouble=None,
    host="db:5432",
    slot="main",
    synchronous=True,
    named=True,
    withheld=False,
    timeline=3,
    written=LSN(0x707E78),
    flushed=LSN(0x700000),
    server=LSN(1 << 33),
    lag=0.5,
    last_archived="000000030000000000000006",
    last_archived_at=1.79e9,
    waiting=2,
    spooled=2 << 24,
    archive_trouble=None,
)


@pytest.fixture
def home(tmp_path):
    (tmp_path / "state").mkdir()
    return str(tmp_path)


def test_what_was_published_is_read(home):
    write_receiver_state(home, STATE)
    assert read_receiver_state(home) == STATE
    write_receiver_state(home, replace(STATE, last_archived=None))
    assert read_receiver_state(home).last_archived is None
    assert os.listdir(os.path.join(home, "state")) == ["receiver.json"]


def test_without_anything_published_there_is_none(home, tmp_path):
    assert read_receiver_state(home) is None
    assert read_receiver_state(str(tmp_path / "nowhere")) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"written": 1}', '{"written": "0/0"}', "\0"])
def test_what_cannot_be_read_is_none(home, text):
    with open(os.path.join(home, "state", "receiver.json"), "w", encoding="utf-8") as file:
        file.write(text)
    assert read_receiver_state(home) is None


def test_a_state_with_more_keys_than_we_know_is_none(home):
    write_receiver_state(home, STATE)
    path = os.path.join(home, "state", "receiver.json")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("{", '{"more": 1, ', 1))
    assert read_receiver_state(home) is None


def test_it_is_live_only_while_its_writer_holds_the_lock(home):
    write_receiver_state(home, STATE)
    assert live_receiver_state(home) is None
    with Lock(receiver_lock_path(home), "receiving"):
        assert live_receiver_state(home) == STATE
        write_receiver_state(home, replace(STATE, pid=os.getpid() + 1))  # a dead receiver's last word
        assert live_receiver_state(home) is None
    assert live_receiver_state(home) is None


def test_what_cannot_be_published_leaves_the_former_state_and_nothing_else(home, monkeypatch):
    write_receiver_state(home, STATE)
    with monkeypatch.context() as faults:
        fail(faults, "rename", errno.ENOSPC)
        with pytest.raises(OSError, match="No space left"):
            write_receiver_state(home, replace(STATE, waiting=9))
    assert read_receiver_state(home) == STATE
    assert os.listdir(os.path.join(home, "state")) == ["receiver.json"]


def test_a_server_is_stopped_until_that_is_cleared(tmp_path):
    home = str(tmp_path)
    os.mkdir(tmp_path / "state")
    assert not is_stopped(home)
    mark_stopped(home)
    mark_stopped(home)
    assert is_stopped(home)
    clear_stopped(home)
    clear_stopped(home)
    assert not is_stopped(home)


def test_an_order_to_stop_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(StorageError, match="stopped"):
        mark_stopped(str(tmp_path))


def test_the_holder_of_the_lock_is_known_only_while_it_holds_it(tmp_path):
    home = str(tmp_path)
    assert receiver_holder(home) is None
    with Lock(receiver_lock_path(home), "receiving"):
        assert receiver_holder(home) == (socket.gethostname(), os.getpid())
    assert receiver_holder(home) is None
