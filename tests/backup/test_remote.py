"""A restore to another machine before it begins: what is refused without a connection."""

import pytest
from support.values import record

from backup.remote import RemoteOptions, look
from backup.restore_options import RestoreOptions
from catalog.errors import DestinationRefused, RemoteFailed, StorageError, UsageError
from catalog.recovery import RecoveryPlan
from catalog.target import RecoveryTarget
from catalog.timeline import History, Path
from catalog.walname import Segment

OPTIONS = RestoreOptions("/srv/there", "/srv/home", "/usr/bin/python3", {"fast": "/srv/fast"})
NOWHERE = "/nonexistent/ssh there"


def planned(**changes):
    return RecoveryPlan(
        record(**changes), RecoveryTarget(), Path.of(History(1, ())), Segment(1, 2), Segment(1, 9), ()
    )


def test_an_incremental_backup_needs_a_place_to_be_put_together():
    plan = planned(type="incremental", parent="20260131T110000")
    with pytest.raises(UsageError, match="is incremental") as caught:
        look(plan, OPTIONS, RemoteOptions(NOWHERE, "exit 1"))
    assert "--staging-path" in caught.value.hint


def test_a_staging_directory_must_be_there_and_have_room(tmp_path):
    with pytest.raises(StorageError, match="staging directory"):
        look(planned(), OPTIONS, RemoteOptions(NOWHERE, "exit 1", staging=f"{tmp_path}/none"))
    (archive,) = record().archives
    huge = type(archive)(archive.file, None, 1 << 60, archive.stored_size, archive.sha256)
    with pytest.raises(DestinationRefused, match="staging directory"):
        look(planned(archives=(huge,)), OPTIONS, RemoteOptions(NOWHERE, "exit 1", staging=str(tmp_path)))


def test_with_room_for_it_the_machine_is_asked(tmp_path):
    with pytest.raises(RemoteFailed, match="cannot run"):
        look(planned(), OPTIONS, RemoteOptions(NOWHERE, "exit 1", staging=str(tmp_path)))
