"""All WAL that is held, and which timeline counts when the server cannot be asked."""

import os

import pytest
from support.published import published
from support.repositories import new_repository, store_backup, store_wal
from support.values import history

from catalog.state import write_receiver_state
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
