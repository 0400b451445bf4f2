"""What a killed backup leaves is removed, down to the file that it was writing."""

from datetime import UTC, datetime

from catalog.backups import BackupShelf
from catalog.local_storage import LocalStorage
from catalog.marks import FailedMark, StartedMark

ID = "20260131T120000"
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_a_failed_backup_leaves_nothing_but_its_mark(tmp_path):
    shelf = BackupShelf(LocalStorage(str(tmp_path)))
    shelf.mark_started(ID, StartedMark(pid=1, name=None, started=NOW, parent=None))
    done = shelf.writer(ID, "16384.tar")
    done.write(b"whole")
    done.finish()
    shelf.writer(ID, "base.tar").write(b"not yet whole")

    shelf.fail(ID, FailedMark(started=NOW, ended=NOW, error="killed", hint=None))

    assert [path.name for path in (tmp_path / "base" / ID).iterdir()] == ["failed.json"]
