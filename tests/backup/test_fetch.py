"""One WAL file out of the repository: where it is looked for, when it is absent, what is delivered."""

import errno
import os
import shutil

import pytest
from support.faults import fail
from support.filed_wal import IDENTITY, name, new_repository, segment_bytes, store
from support.streams import drain
from support.wal_pages import SYSTEM_IDENTIFIER

from backup.fetch import WalSource, copy_wal, deliver_wal
from catalog import layout
from catalog.errors import Absent, Corrupt, Malformed, StorageError

BACKUP = "20260131T120000"
WAL = segment_bytes(7)
HISTORY = b"1\t0/700028\tno recovery target specified\n"


@pytest.fixture
def repository(tmp_path):
    return new_repository(tmp_path / "repository")


@pytest.fixture
def home(tmp_path):
    """The server's local directory, apart from its repository."""
    for directory in (layout.STREAMING, layout.INCOMING):
        (tmp_path / "home" / directory).mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def source(repository, home):
    def make(**options):
        return WalSource(repository.root, str(home), **options)

    return make


def opened(source, wal_name):
    reader = source.open(wal_name)
    try:
        return drain(reader)
    finally:
        reader.close()


@pytest.mark.parametrize("codec", ["none", "zstd", "lz4", "gzip"])
def test_a_stored_segment_is_found(source, repository, codec):
    store(repository, {name(7): WAL}, codec)
    assert opened(source(), name(7)) == WAL


@pytest.mark.parametrize("place", [layout.STREAMING, layout.INCOMING])
def test_a_segment_on_its_way_is_found(source, home, place):
    (home / place / name(7)).write_bytes(WAL)
    assert opened(source(), name(7)) == WAL


def test_a_segment_that_moves_while_it_is_looked_for_is_not_missed(source, repository, home, monkeypatch):
    streaming = str(home / layout.STREAMING / name(7))
    moved = []
    real = os.open

    def open_(path, *rest, **named):
        try:
            return real(path, *rest, **named)
        finally:
            # It was partial a moment ago, and is completed right behind our back.
            if str(path) == streaming and not moved:
                moved.append(1)
                monkeypatch.setattr(os, "open", real)
                shutil.copy(str(home / "elsewhere"), streaming)
                monkeypatch.setattr(os, "open", open_)

    (home / "elsewhere").write_bytes(WAL)
    monkeypatch.setattr(os, "open", open_)
    assert opened(source(), name(7)) == WAL
    assert moved


def test_it_is_looked_for_in_the_direction_of_travel(source, repository, home, monkeypatch):
    looked = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest: looked.append(str(path)) or real(path, *rest))
    with pytest.raises(Absent):
        source(partial=True, backup_id=BACKUP).open(name(7))
    places = [path for path in looked if path.endswith((name(7), f"{name(7)}.partial"))]
    once = [
        home / layout.INCOMING / name(7),
        home / layout.STREAMING / name(7),
        f"{repository.root}/wals/0000000100000000/{name(7)}",
        home / layout.STREAMING / f"{name(7)}.partial",
        f"{repository.root}/wals/0000000100000000/{name(7)}.partial",
        f"{repository.root}/base/{BACKUP}/wal/{name(7)}",
    ]
    assert places == [str(place) for place in once] * 2
    assert looked[-1].endswith("identity.json")


def test_absence_is_only_said_of_a_repository_that_is_there(source, repository):
    with pytest.raises(Absent, match=name(7)):
        source().open(name(7))
    shutil.rmtree(repository.root)
    with pytest.raises(StorageError) as caught:
        source().open(name(7))
    assert "holds no repository" in caught.value.message and "mounted" in caught.value.hint
    os.mkdir(repository.root)  # the empty mount point
    with pytest.raises(StorageError):
        source().open(name(7))


def test_absence_is_not_said_where_the_directory_of_wal_is_gone(source, repository):
    os.rmdir(repository.storage.path(layout.WALS))
    with pytest.raises(StorageError, match="there is no directory"):
        source().open(name(7))


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_what_cannot_be_read_is_not_absent(source, repository, monkeypatch, code):
    store(repository, {name(7): WAL})
    fail(monkeypatch, "open", code, when=lambda path, *rest: name(7) in str(path) and "wals" in str(path))
    with pytest.raises(StorageError):
        source().open(name(7))


def test_a_partial_segment_is_handed_out_only_on_request(source, home):
    (home / layout.STREAMING / f"{name(7)}.partial").write_bytes(WAL)
    with pytest.raises(Absent):
        source().open(name(7))
    assert opened(source(partial=True), name(7)) == WAL


def test_a_complete_segment_comes_before_a_partial_one(source, repository, home):
    store(repository, {name(7): WAL}, "zstd")
    (home / layout.STREAMING / f"{name(7)}.partial").write_bytes(segment_bytes(7, fill=b"\x5a"))
    assert opened(source(partial=True), name(7)) == WAL


def test_the_end_of_an_old_timeline_is_handed_out_as_partial_too(source, repository):
    store(repository, {f"{name(7)}.partial": WAL}, "lz4")
    with pytest.raises(Absent):
        source().open(name(7))
    assert opened(source(partial=True), name(7)) == WAL


def test_the_beginning_that_a_backup_holds_is_the_last_resort(source, repository, home):
    repository.storage.put(f"base/{BACKUP}/wal/{name(7)}", WAL)
    with pytest.raises(Absent):
        source(backup_id="20250101T000000").open(name(7))
    assert opened(source(backup_id=BACKUP), name(7)) == WAL
    newer = segment_bytes(7, fill=b"\x5a")
    (home / layout.STREAMING / f"{name(7)}.partial").write_bytes(newer)
    assert opened(source(backup_id=BACKUP, partial=True), name(7)) == newer


def test_of_several_beginnings_the_longest_is_handed_out(source, repository, home):
    """The receiver may have begun a segment anew after the backup had stored more of it."""
    spooled, stored, backed_up = (WAL[: pages * 8192].ljust(len(WAL), b"\0") for pages in (1, 2, 3))
    (home / layout.STREAMING / f"{name(7)}.partial").write_bytes(spooled)
    ours = source(backup_id=BACKUP, partial=True)
    assert opened(ours, name(7)) == spooled
    store(repository, {f"{name(7)}.partial": stored}, "zstd")
    assert opened(ours, name(7)) == stored
    repository.storage.put(f"base/{BACKUP}/wal/{name(7)}", backed_up)
    assert opened(ours, name(7)) == backed_up


@pytest.mark.parametrize("blank", [b"", bytes(len(WAL)), bytes(8192) + WAL[8192:]])
def test_a_beginning_without_a_first_page_counts_as_absent(source, home, blank):
    (home / layout.STREAMING / f"{name(7)}.partial").write_bytes(blank)
    with pytest.raises(Absent):
        source(partial=True).open(name(7))


def test_there_is_no_partial_history(source, home):
    (home / layout.STREAMING / "00000002.history.partial").write_bytes(HISTORY)
    with pytest.raises(Absent):
        source(partial=True, backup_id=BACKUP).open("00000002.history")


@pytest.mark.parametrize("wrong", ["", "README", "../../etc/passwd", f"{name(7)}.zst"])
def test_only_wal_files_are_asked_for(source, wrong):
    with pytest.raises(Malformed, match="not the name of a WAL file"):
        source().open(wrong)


def delivered(source, wal_name, tmp_path, system_identifier=SYSTEM_IDENTIFIER):
    deliver_wal(source, wal_name, str(tmp_path / "RECOVERYXLOG"), system_identifier)
    return (tmp_path / "RECOVERYXLOG").read_bytes()


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_a_segment_is_delivered_whole_and_for_the_server_alone(source, repository, tmp_path, codec):
    store(repository, {name(7): WAL}, codec)
    assert delivered(source(), name(7), tmp_path) == WAL
    assert os.stat(tmp_path / "RECOVERYXLOG").st_mode & 0o777 == 0o600


def test_small_files_are_delivered_as_they_are(source, repository, tmp_path):
    store(repository, {"00000002.history": HISTORY, f"{name(7)}.00000028.backup": b"START WAL LOCATION"})
    assert delivered(source(), "00000002.history", tmp_path) == HISTORY
    assert delivered(source(), f"{name(7)}.00000028.backup", tmp_path) == b"START WAL LOCATION"


WRONG = {
    "empty": b"",
    "no WAL": b"x" * (1 << 20),
    "zeros": bytes(1 << 20),
    "another segment": segment_bytes(8),
    "a later timeline": segment_bytes(7, timeline=2),
    "short": WAL[:-1],
    "short by far": WAL[:4096],
    "long": WAL + b"x",
    "of another cluster": WAL[:24] + b"\0" + WAL[25:],
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_a_damaged_segment_is_corrupt_and_nothing_is_delivered(source, repository, tmp_path, content):
    repository.storage.put(f"wals/0000000100000000/{name(7)}", content)
    with pytest.raises(Corrupt) as caught:
        delivered(source(), name(7), tmp_path)
    assert name(7) in caught.value.message and caught.value.hint
    assert sorted(os.listdir(tmp_path)) == ["home", "repository"]


def test_a_cut_zstd_file_is_corrupt_and_nothing_is_delivered(source, repository, tmp_path):
    store(repository, {name(7): WAL}, "zstd")
    path = repository.storage.path(f"wals/0000000100000000/{name(7)}.zst")
    os.truncate(path, os.path.getsize(path) - 1)
    with pytest.raises(Corrupt):
        delivered(source(), name(7), tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["home", "repository"]


def test_a_destination_that_is_full_is_a_storage_error_and_stays_as_it_was(
    source, repository, tmp_path, monkeypatch
):
    store(repository, {name(7): WAL})
    (tmp_path / "RECOVERYXLOG").write_bytes(b"before")
    fail(monkeypatch, "write", errno.ENOSPC)
    with pytest.raises(StorageError, match="no space left"):
        deliver_wal(source(), name(7), str(tmp_path / "RECOVERYXLOG"))
    assert (tmp_path / "RECOVERYXLOG").read_bytes() == b"before"
    assert sorted(os.listdir(tmp_path)) == ["RECOVERYXLOG", "home", "repository"]


def test_nothing_is_placed_for_a_recovery_that_is_gone(source, repository, tmp_path):
    store(repository, {name(7): WAL})
    with pytest.raises(StorageError, match="is gone"):
        deliver_wal(source(), name(7), str(tmp_path / "RECOVERYXLOG"), may_place=lambda: False)
    assert sorted(os.listdir(tmp_path)) == ["home", "repository"]


def test_the_length_is_judged_only_when_all_was_pushed(source, repository):
    repository.storage.put(f"wals/0000000100000000/{name(7)}", WAL[:-8192])
    pieces = []
    with pytest.raises(Corrupt, match="1040384 bytes"):
        copy_wal(source(), name(7), pieces.append, None)
    assert b"".join(pieces) == WAL[:-8192]


def test_the_identity_is_the_repositorys(source, repository):
    assert source().identity() == IDENTITY
