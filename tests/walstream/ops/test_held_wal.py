"""All WAL that is held, and which timeline counts when the server cannot be asked."""

import os

import pytest
from support.published import published
from support.repositories import SIZE, SYSTEM, new_repository, store_backup, store_in_backup, store_wal
from support.values import history
from support.wal_records import WalWriter

from catalog.state import write_receiver_state
from catalog.walname import Segment
from walstream.ops.held_wal import held_wal
from walstream.ops.status_facts import stored_status


@pytest.fixture
def came_back(tmp_path):
    """Timeline 2 branched off in segment 5 and was left; timeline 1 went on."""
    repository = new_repository(tmp_path / "main")
    store_backup(repository)
    store_wal(repository, range(2, 12))
    store_wal(repository, range(5, 8), timeline=2)
    repository.storage.put("wals/00000002.history", history(2, (1, 5.5)).format())
    os.mkdir(tmp_path / "main" / "state")
    return repository


@pytest.mark.parametrize("known", [None, 7])
def test_without_the_server_the_timeline_that_was_received_last_counts(came_back, known):
    assert stored_status(came_back, came_back.root, known).timeline == 2, "nothing tells which branch counts"
    write_receiver_state(came_back.root, published(timeline=1))
    found = stored_status(came_back, came_back.root, known)
    assert (found.timeline, found.windows[-1].last.number) == (1, 11)
    assert held_wal(came_back, came_back.root).newest_path(2).timeline == 2


def in_part(number, timeline, nbytes=3000):
    """A segment's bytes with a few records at its beginning, and where those end."""
    wal = WalWriter(SIZE, number, timeline=timeline, system_identifier=SYSTEM)
    wal.fill(nbytes)
    return wal.segments[number], wal.position


def test_right_behind_a_promotion_the_window_ends_on_the_new_timeline(tmp_path):
    repository = new_repository(tmp_path / "main")
    store_backup(repository)
    store_wal(repository, range(2, 5))
    repository.storage.put("wals/00000002.history", history(2, (1, 5.5)).format())
    data, end = in_part(5, timeline=2)
    os.makedirs(tmp_path / "main" / "streaming")
    name = Segment(2, 5).name(SIZE)
    (tmp_path / "main" / "streaming" / f"{name}.partial").write_bytes(data)
    (window,) = stored_status(repository, repository.root, 2).windows
    assert (window.last, window.timeline, window.end(SIZE)) == (Segment(1, 4), 2, end)


def test_a_segment_of_which_a_backup_holds_the_beginning_is_not_promised_whole(tmp_path):
    repository = new_repository(tmp_path / "main")
    backup = store_backup(repository)
    store_wal(repository, [2])
    data, end = in_part(3, timeline=1, nbytes=0xA000)
    store_in_backup(repository, backup, Segment(1, 3).name(SIZE), data)
    (window,) = stored_status(repository, repository.root).windows
    assert (window.last, window.timeline, window.end(SIZE)) == (Segment(1, 3), 1, end)
    store_wal(repository, [3])
    (window,) = stored_status(repository, repository.root).windows
    assert window.end(SIZE) == Segment(1, 3).end(SIZE)


def test_of_a_segment_that_cannot_be_read_no_more_is_promised_than_the_backup_needs(tmp_path):
    repository = new_repository(tmp_path / "main")
    backup = store_backup(repository)
    store_wal(repository, [2])
    store_in_backup(repository, backup, Segment(1, 3).name(SIZE), b"\x55" * SIZE.nbytes)
    (window,) = stored_status(repository, repository.root).windows
    assert window.end(SIZE) == backup.end.lsn
