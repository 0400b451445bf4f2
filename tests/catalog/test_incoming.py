"""What put-wal brings: whole, durable, never over another, and nothing of it thrown away."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.faults import Disk, PowerLoss
from support.filed_wal import IDENTITY, filing, name, new_repository, segment_bytes
from support.streams import Given
from support.values import MB, history

from catalog.errors import Conflict, Malformed, StorageError
from catalog.incoming import Incoming

HISTORY = history(2, (1, 7.5)).format()


@pytest.fixture
def incoming(tmp_path):
    return Incoming(str(tmp_path / "home"), MB, IDENTITY.system_identifier)


@pytest.fixture
def repository(tmp_path):
    return new_repository(tmp_path / "main")


def receive(incoming, file, data):
    return incoming.receive(file, Given(data))


def file_all(incoming, repository):
    with filing(repository.storage, "zstd") as ours:
        return incoming.file_all(ours.put)


def put_aside(incoming):
    directory = os.path.join(incoming.home, "errors")
    found = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    reasons = [Path(directory, each).read_text() for each in found if each.endswith(".why")]
    return [each for each in found if not each.endswith(".why")], reasons


def test_histories_are_filed_first_and_then_the_rest_by_name(incoming, repository):
    files = {name(8): segment_bytes(8), name(7): segment_bytes(7), "00000002.history": HISTORY}
    assert all(receive(incoming, file, data) for file, data in files.items())
    assert incoming.names() == ["00000002.history", name(7), name(8)]
    assert file_all(incoming, repository) == 3
    assert incoming.names() == [] and sorted(repository.wal.names()) == sorted(files)
    assert file_all(incoming, repository) == 0


def test_the_same_bytes_may_come_twice_and_others_may_not(incoming):
    assert receive(incoming, name(7), segment_bytes(7))
    assert not receive(incoming, name(7), segment_bytes(7))
    with pytest.raises(Conflict):
        receive(incoming, name(7), segment_bytes(7, fill=b"x"))


def test_what_is_stored_already_with_other_bytes_is_put_aside_with_the_reason(incoming, repository):
    receive(incoming, name(7), segment_bytes(7))
    file_all(incoming, repository)
    receive(incoming, name(7), segment_bytes(7))
    assert file_all(incoming, repository) == 1 and put_aside(incoming) == ([], [])
    receive(incoming, name(7), segment_bytes(7, fill=b"x"))
    receive(incoming, name(8), segment_bytes(8))
    assert file_all(incoming, repository) == 1
    (file,), (why,) = put_aside(incoming)
    assert file.startswith(f"{name(7)}.20") and "holds other bytes" in why
    assert incoming.names() == [] and repository.wal.holds(name(8))


@pytest.mark.parametrize(
    ("file", "data"),
    [
        (name(7), segment_bytes(7)[:-1]),
        (name(7), segment_bytes(7) + b"x"),
        (name(7), segment_bytes(8)),
        (name(7), b""),
        (f"{name(7)}.partial", segment_bytes(7)[:4096]),
        ("00000002.history", HISTORY.rstrip(b"\n")),
        ("00000002.history", b"nonsense\n"),
        ("../identity.json", b"{}\n"),
        (f"{name(7)}.00000028.backup", b"x" * (2 << 20)),
    ],
)
def test_what_is_not_what_its_name_says_leaves_nothing(incoming, file, data):
    with pytest.raises(Malformed):
        receive(incoming, file, data)
    assert not os.path.isdir(incoming.directory) or os.listdir(incoming.directory) == []


def test_a_repository_that_cannot_be_written_leaves_all_where_it_is(incoming):
    receive(incoming, name(7), segment_bytes(7))

    def put(file, open_raw, path):
        raise StorageError("read-only")

    with pytest.raises(StorageError):
        incoming.file_all(put)
    assert incoming.names() == [name(7)]


def test_what_there_is_no_time_for_waits(incoming, repository):
    for number in (7, 8, 9):
        receive(incoming, name(number), segment_bytes(number))
    answers = iter([True, True, False])
    with filing(repository.storage) as ours:
        assert incoming.file_all(ours.put, lambda: next(answers)) == 2
    assert incoming.names() == [name(9)] and not repository.wal.holds(name(9))


@pytest.mark.parametrize("calls", range(12))
def test_what_was_said_to_be_there_survives_a_power_loss(incoming, monkeypatch, calls):
    os.makedirs(incoming.home)
    disk = Disk(monkeypatch)
    disk.stop_after(calls)
    try:
        said = receive(incoming, name(7), segment_bytes(7))
    except PowerLoss:
        said = False
    survivors = disk.survivors(incoming.home)
    monkeypatch.undo()
    content = survivors.get(f"incoming/{name(7)}")
    assert content in (None, segment_bytes(7))
    assert not said or content is not None


@given(st.binary(max_size=200), st.sampled_from([name(7), "00000002.history", f"{name(7)}.00000028.backup"]))
def test_any_bytes_are_taken_whole_or_refused(tmp_path_factory, data, file):
    made = Incoming(str(tmp_path_factory.mktemp("home")), MB, IDENTITY.system_identifier)
    try:
        receive(made, file, data)
    except Malformed:
        assert made.names() == []
    else:
        assert made.names() == [file]
