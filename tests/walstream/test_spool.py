"""What the spool promises about its flushed position, on a disk that fails, hangs, or loses power."""

import contextlib
import errno
import itertools
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.faults import Disk, Hanging, PowerLoss, fail
from support.values import MB, segment_names
from support.wal_pages import SYSTEM_IDENTIFIER, make_pages

from catalog.errors import Malformed, StorageError, StreamRefused
from catalog.lsn import LSN
from walstream import spool
from walstream.spool import Spool, SpoolOptions

START = LSN(7 << 20)
WAL = memoryview(bytes(make_pages(7 << 20, 11 << 20, MB)))
NAMES = segment_names(1, range(7, 11))


class Spooling:
    """A spool whose messages are noted; ``flushes`` counts the calls of ``on_flush``."""

    def __init__(self, directory, start=START, **options):
        self.directory = str(directory)
        self.completed = []
        self.flushed_event = threading.Event()
        self.spool = Spool(
            SpoolOptions(self.directory, MB, SYSTEM_IDENTIFIER, **options),
            1,
            start,
            self.completed.append,
            self.flushed_event.set,
        )

    def write(self, upto):
        """Write the WAL up to an offset from the start."""
        done = self.spool.written - START
        self.spool.write(WAL[done:upto])

    def wait_for(self, condition):
        while not condition():
            assert self.flushed_event.wait(30)
            self.flushed_event.clear()
            self.spool.raise_error()

    def sync(self):
        """Ask for a sync, and wait for it."""
        self.spool.request_sync()
        self.wait_for(lambda: self.spool.flushed == self.spool.written)


@pytest.fixture
def spooling(tmp_path):
    made = []

    def make(directory=tmp_path, **options):
        made.append(Spooling(directory, **options))
        return made[-1]

    yield make
    for each in made:
        try:
            each.spool.close()
        except (StorageError, Malformed):
            pass


def is_partial(fd):
    """Whether a descriptor is a partial segment's, and not the one of the blank file in the making."""
    return os.readlink(f"/proc/self/fd/{fd}").endswith(".partial")


def stored(directory):
    """The bytes in the segments of a directory, complete or not, from the start on."""
    found = b""
    for name in NAMES:
        for path in (Path(directory, name), Path(directory, f"{name}.partial")):
            if path.exists():
                found += path.read_bytes()
    return found


def survives(disk, directory, upto):
    """Whether the WAL before an offset is there after a power loss."""
    files = disk.survivors(directory)
    found = b"".join(files.get(name, files.get(f"{name}.partial", b"")) for name in NAMES)
    return found[:upto] == WAL[:upto]


def test_what_was_written_is_in_the_file_and_not_flushed_before_a_sync(spooling, tmp_path):
    ours = spooling()
    ours.write(100_000)
    assert (ours.spool.written, ours.spool.flushed) == (START + 100_000, START)
    assert stored(tmp_path)[:100_001] == bytes(WAL[:100_000]) + b"\0"


def test_after_a_sync_everything_before_flushed_survives_a_power_loss(spooling, tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    ours = spooling()
    ours.write(100_000)
    assert not survives(disk, tmp_path, 1)
    ours.sync()
    assert ours.spool.flushed == START + 100_000
    assert survives(disk, tmp_path, 100_000)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 900_000), st.sampled_from(["", "asked for", "awaited"])), max_size=10)
)
def test_the_flushed_position_never_passes_the_last_synced_byte(tmp_path_factory, steps):
    directory = tmp_path_factory.mktemp("spool")
    with pytest.MonkeyPatch.context() as monkeypatch:
        disk = Disk(monkeypatch)
        ours = Spooling(directory)
        upto = 0
        for nbytes, sync in steps:
            upto = min(upto + nbytes, len(WAL))
            ours.write(upto)
            flushed = ours.spool.flushed  # asked first: it may move while we look
            assert survives(disk, directory, flushed - START)
            if sync:
                ours.spool.request_sync(awaited=sync == "awaited")
        ours.spool.close()
        assert ours.spool.flushed == START + upto
        assert survives(disk, directory, upto)


def test_while_a_sync_is_under_way_flushed_stays_and_writing_goes_on(spooling, monkeypatch):
    ours = spooling()
    ours.write(8192)
    ours.sync()  # with the directory; from now on fdatasync
    hanging = Hanging(monkeypatch, "fdatasync")
    ours.write(16384)
    ours.spool.request_sync()
    assert hanging.entered.wait(30)
    ours.write(24576)
    assert ours.spool.flushed == START + 8192
    hanging.let_go()
    ours.wait_for(lambda: ours.spool.flushed >= START + 16384)
    assert ours.spool.written == START + 24576


def test_a_sync_that_commits_wait_for_is_done_on_return(spooling, tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    ours = spooling(synchronous=True)
    for upto in (100, 8192, 300_000):
        ours.write(upto)
        ours.spool.request_sync(awaited=True)
        assert ours.spool.flushed == START + upto
        assert survives(disk, tmp_path, upto)


def test_behind_a_slow_sync_a_disk_that_hangs_does_not_hold_the_receiver_up(spooling, monkeypatch):
    ours = spooling(synchronous=True)
    ours.write(8192)
    ours.spool.request_sync(awaited=True)
    monkeypatch.setattr(spool, "SLOW_SYNC", 0.0)  # so that the last one was slow
    hanging = Hanging(monkeypatch, "fdatasync")
    ours.write(16384)
    ours.spool.request_sync(awaited=True)
    assert hanging.entered.wait(30)
    ours.write(24576)
    monkeypatch.setattr(spool, "SLOW_SYNC", 60.0)
    ours.spool.request_sync(awaited=True)  # the syncing thread is at work, and goes on with this
    assert ours.spool.flushed == START + 8192
    hanging.let_go()
    ours.wait_for(lambda: ours.spool.flushed == START + 24576)


def test_behind_a_quick_sync_of_the_syncing_thread_commits_are_synced_at_once_again(spooling, monkeypatch):
    ours = spooling(synchronous=True)
    ours.write(8192)
    ours.spool.request_sync(awaited=True)
    monkeypatch.setattr(spool, "SLOW_SYNC", 0.0)
    ours.write(16384)
    ours.sync()
    monkeypatch.setattr(spool, "SLOW_SYNC", 60.0)
    ours.write(24576)
    # The syncing thread may still be on its way to rest.
    while ours.spool.flushed < START + 24576:
        ours.spool.request_sync(awaited=True)
    syncs = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (syncs.append(threading.current_thread()), real(fd)))
    ours.write(32768)
    ours.spool.request_sync(awaited=True)
    assert syncs == [threading.current_thread()]


def test_while_a_segment_is_being_completed_no_sync_passes_it(spooling, monkeypatch):
    ours = spooling(synchronous=True)
    ours.write(8192)
    ours.spool.request_sync(awaited=True)
    hanging = Hanging(monkeypatch, "fdatasync")
    ours.write((1 << 20) + 8192)
    assert hanging.entered.wait(30)
    ours.spool.request_sync(awaited=True)
    assert ours.spool.flushed == START + 8192
    hanging.let_go()
    ours.wait_for(lambda: ours.spool.flushed == START + (1 << 20) + 8192)
    assert ours.completed == NAMES[:1]


def test_segments_are_filled_with_zeros_once_commits_wait_for_them(spooling, monkeypatch):
    reserved = []
    real = os.posix_fallocate
    monkeypatch.setattr(os, "posix_fallocate", lambda *words: (reserved.append(words), real(*words)))
    ours = spooling()
    ours.write(10)
    ours.spool.request_sync(awaited=True)
    ours.write(4 << 20)
    ours.spool.close()
    assert ours.completed == NAMES
    assert len(reserved) <= 2  # those that were made before


def test_whenever_the_power_goes_everything_before_flushed_survives(tmp_path):
    for calls in itertools.count():
        directory = tmp_path / str(calls)
        directory.mkdir()
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = Disk(monkeypatch)
            disk.stop_after(calls)
            made = Spooling(directory, synchronous=True)
            try:
                for upto in (10, 500_000, 1_500_000, (2 << 20), (2 << 20) + 10):
                    made.write(upto)
                    made.spool.request_sync(awaited=True)
                made.spool.close()
                break
            except PowerLoss:
                with contextlib.suppress(PowerLoss):
                    made.spool.close()
                assert survives(disk, directory, made.spool.flushed - START)
    assert calls > 20


def test_there_is_no_room_while_too_much_is_unsynced(spooling, monkeypatch):
    ours = spooling(unsynced_limit=50_000)
    ours.write(49_999)
    assert ours.spool.has_room
    ours.write(50_000)
    assert not ours.spool.has_room
    ours.sync()
    assert ours.spool.has_room


def test_full_segments_are_synced_and_completed_in_order_without_being_asked(spooling, tmp_path):
    ours = spooling()
    ours.write((3 << 20) + 5)
    ours.wait_for(lambda: ours.spool.flushed >= START + (3 << 20))
    assert ours.completed == NAMES[:3]
    assert stored(tmp_path)[: (3 << 20) + 5] == WAL[: (3 << 20) + 5]
    assert {*NAMES[:3], f"{NAMES[3]}.partial"} <= set(os.listdir(tmp_path))


def test_a_segment_is_durable_under_its_name_when_it_is_said_to_be_complete(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    seen = []

    def completed(name):
        seen.append(disk.survivors(str(tmp_path)).get(name))

    options = SpoolOptions(str(tmp_path), MB, SYSTEM_IDENTIFIER)
    spool = Spool(options, 1, START, completed, lambda: None)
    spool.write(WAL[: 2 << 20])
    spool.close()
    assert seen == [WAL[: 1 << 20], WAL[1 << 20 : 2 << 20]]


def test_a_piece_may_cross_the_ends_of_segments(spooling, tmp_path):
    ours = spooling()
    ours.spool.write(WAL)
    ours.spool.close()
    assert ours.completed == NAMES
    assert b"".join((tmp_path / name).read_bytes() for name in NAMES) == WAL


def test_closing_syncs_and_leaves_the_last_segment_partial(spooling, tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    ours = spooling()
    ours.write((1 << 20) + 10)
    ours.spool.close()
    assert ours.spool.flushed == START + (1 << 20) + 10
    assert survives(disk, tmp_path, (1 << 20) + 10)
    assert sorted(os.listdir(tmp_path)) == [NAMES[0], f"{NAMES[1]}.partial"]


def test_closing_twice_is_harmless_and_all_threads_are_gone(spooling):
    before = threading.active_count()
    ours = spooling()
    ours.write(10)
    ours.spool.close()
    ours.spool.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("synchronous", [True, False])
def test_a_stream_that_begins_again_writes_over_what_is_there(spooling, tmp_path, synchronous):
    first = spooling()
    first.write(300_000)
    first.spool.close()
    again = spooling(synchronous=synchronous)
    again.write((1 << 20) + 1)
    again.spool.close()
    assert again.completed == NAMES[:1]
    assert stored(tmp_path)[: (1 << 20) + 1] == WAL[: (1 << 20) + 1]


def test_other_bytes_than_those_stored_are_refused(spooling):
    first = spooling()
    first.write(8192)
    first.spool.close()
    again = spooling()
    with pytest.raises(StreamRefused, match="other WAL at 0/700064"):
        again.spool.write(memoryview(bytes(WAL[:100]) + b"\x01" * 10))


@pytest.mark.parametrize("offset, field", [(0, "magic"), (8, "position"), (8192 + 4, "timeline")])
def test_a_wrong_page_header_is_refused_before_a_byte_is_written(spooling, tmp_path, offset, field):
    wrong = bytearray(WAL[:16384])
    wrong[offset] ^= 0x40
    ours = spooling()
    with pytest.raises(Malformed):
        ours.spool.write(memoryview(wrong))
    assert ours.spool.written == START
    assert stored(tmp_path) == b""


def test_wal_of_another_cluster_is_refused(spooling):
    ours = spooling()
    foreign = bytearray(WAL[:8192])
    foreign[24] ^= 1
    with pytest.raises(Malformed, match="system identifier"):
        ours.spool.write(memoryview(foreign))


@pytest.mark.parametrize("call", ["fsync", "fdatasync"])
def test_a_failed_sync_is_final_and_raised_from_every_later_call(spooling, monkeypatch, call):
    ours = spooling()
    ours.write(8192)
    if call == "fdatasync":
        ours.sync()
    flushed = ours.spool.flushed
    fail(monkeypatch, call, errno.EIO, times=1, when=is_partial)
    ours.flushed_event.clear()
    ours.write(16384)
    ours.spool.request_sync()
    assert ours.flushed_event.wait(30)  # so that the receiver looks
    for later in (
        ours.spool.raise_error,
        lambda: ours.write(24576),
        ours.spool.request_sync,
        ours.spool.close,
    ):
        with pytest.raises(StorageError, match="input/output error"):
            later()
    assert ours.spool.flushed == flushed


@pytest.mark.parametrize("call", ["fsync", "fdatasync"])
def test_a_sync_that_failed_while_commits_waited_is_never_tried_again(spooling, monkeypatch, call):
    ours = spooling(synchronous=True)
    ours.write(8192)
    if call == "fdatasync":
        ours.spool.request_sync(awaited=True)
    flushed = ours.spool.flushed
    tries = []

    def is_ours(fd):
        if is_partial(fd):
            tries.append(fd)
        return is_partial(fd)

    fail(monkeypatch, "fsync", errno.EIO, when=is_ours)
    fail(monkeypatch, "fdatasync", errno.EIO, when=is_ours)
    ours.write(16384)
    for later in (
        lambda: ours.spool.request_sync(awaited=True),
        lambda: ours.write(24576),
        ours.spool.request_sync,
        ours.spool.close,
    ):
        with pytest.raises(StorageError, match="input/output error"):
            later()
    assert ours.spool.flushed == flushed
    assert len(tries) == 1


def test_when_the_directory_cannot_be_synced_nothing_is_flushed(spooling, tmp_path, monkeypatch):
    ours = spooling()
    ours.write(8192)
    fail(monkeypatch, "fsync", errno.EIO, when=lambda fd: os.path.isdir(f"/proc/self/fd/{fd}"))
    ours.spool.request_sync()
    assert ours.flushed_event.wait(30)
    assert ours.spool.flushed == START
    with pytest.raises(StorageError):
        ours.spool.close()


def test_a_segment_that_cannot_be_renamed_is_not_complete(spooling, tmp_path, monkeypatch):
    ours = spooling()
    ours.write(8192)
    fail(monkeypatch, "rename", errno.EROFS, when=lambda source, to: to.endswith(NAMES[0]))
    ours.write(1 << 20)
    assert ours.flushed_event.wait(30)
    with pytest.raises(StorageError, match="read-only"):
        ours.spool.close()
    assert ours.completed == []
    assert ours.spool.flushed == START


def test_a_full_disk_is_raised_by_the_write_that_needs_a_new_segment(spooling, tmp_path, monkeypatch):
    fail(monkeypatch, "posix_fallocate", errno.ENOSPC)
    ours = spooling()
    with pytest.raises(StorageError) as caught:
        ours.write(10)
    assert "no space left on device" in caught.value.message
    assert caught.value.hint is not None
    assert os.listdir(tmp_path) == []


def test_bytes_that_cannot_be_written_are_an_error_and_not_counted(spooling, monkeypatch):
    ours = spooling()
    ours.write(8192)
    fail(monkeypatch, "pwrite", errno.EIO)
    with pytest.raises(StorageError, match="cannot write"):
        ours.write(16384)
    assert ours.spool.written == START + 8192


def test_the_blank_segment_kept_ready_is_removed_at_the_end(spooling, tmp_path):
    ours = spooling()
    ours.write(10)
    ours.spool.close()
    assert os.listdir(tmp_path) == [f"{NAMES[0]}.partial"]
