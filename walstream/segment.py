"""One segment being received: a file ``NAME.partial`` at full length, written in place.

The file is zeros from beginning to end before it gets its name (``blank_file``), so that syncing it is
cheap, readers may hand it out as it is, and no half-made file is ever called ``.partial``. When a
stream begins again, bytes arrive that are there already: stored zeros may become data, but a stored
byte that differs is refused, because the server was rewound without a new timeline. Bytes that agree
are written again all the same: after a failed sync the kernel may have forgotten that they never
reached the disk.
"""

from __future__ import annotations

import os

from catalog import durable
from catalog.comparison import same_bytes
from catalog.errors import StreamRefused
from catalog.lsn import LSN, SegmentSize
from catalog.walname import Segment

_ZEROS = bytes(1 << 20)


def blank_file(directory: str, size: SegmentSize, *, zero_fill: bool) -> str:
    """Make a synced file of zeros at full length under a temporary name; returns its path.

    With ``zero_fill`` every block is written, which makes later syncs cheap (synchronous standbys);
    without, the space is only reserved, which makes this call cheap.
    """
    path = durable.temporary_name(os.path.join(directory, "segment"))
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, durable.FILE_MODE)
    try:
        if not zero_fill and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size.nbytes)
        else:
            for _ in range(size.nbytes // len(_ZEROS)):
                durable.write_all(fd, _ZEROS)
        os.fsync(fd)
    except BaseException:
        durable.remove_if_present(path)
        raise
    finally:
        os.close(fd)
    return path


class PartialSegment:
    """The open file of one segment in a spool directory; used by one writer and one syncing thread."""

    def __init__(self, directory: str, segment: Segment, size: SegmentSize, blank: str | None) -> None:
        """Open what is there, or give the ``blank`` file its name; one of the two must exist."""
        self.segment = segment
        self.name = segment.name(size)
        self.path = os.path.join(directory, f"{self.name}.partial")
        self._size = size
        self._may_hold_data = blank is None
        self._entry_synced = False
        if blank is not None:
            os.rename(blank, self.path)
        self._fd = os.open(self.path, os.O_RDWR)
        if os.fstat(self._fd).st_size != size.nbytes:
            length = os.fstat(self._fd).st_size
            os.close(self._fd)
            raise StreamRefused(
                f"{self.path!r} has {length} bytes, not the {size.nbytes} of a segment",
                "it was not written by walstream: move it away, the segment is fetched again",
            )

    def write(self, offset: int, data: memoryview) -> None:
        """Write at ``offset``; ``StreamRefused`` when different bytes are stored there."""
        if self._may_hold_data:
            self._compare(offset, data)
        while (written := os.pwrite(self._fd, data, offset)) < len(data):
            offset += written
            data = data[written:]

    def sync(self) -> None:
        """Make what has been written durable, and the file's name with it."""
        if self._entry_synced:
            os.fdatasync(self._fd)
            return
        os.fsync(self._fd)
        durable.sync_directory(os.path.dirname(self.path))
        self._entry_synced = True

    def complete(self) -> None:
        """Give a synced, completely written segment its final name, durably.

        A segment of that name that was received before and is not archived yet stays, if it has the same bytes.
        """
        self.close()
        final = self.path.removesuffix(".partial")
        if os.path.exists(final) and not _is_same(final, self.path):
            raise StreamRefused(
                f"the server sends another segment {self.name} than {final!r} holds",
                "the server was rewound (restored, or a standby promoted in its place) without a new "
                "timeline: keep that file, and protect the server under a new name",
            )
        os.rename(self.path, final)
        try:
            durable.sync_directory(os.path.dirname(final))
        except OSError:
            os.rename(final, self.path)  # else the next sync would be believed, and it may know of nothing
            raise

    def close(self) -> None:
        """Close the file; it stays a partial segment."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _compare(self, offset: int, data: memoryview) -> None:
        stored = os.pread(self._fd, len(data), offset)
        if stored == data or stored.count(0) == len(stored):
            return
        for index, (old, new) in enumerate(zip(stored, data, strict=True)):
            if old not in (0, new):
                position = LSN(self.segment.start(self._size).value + offset + index)
                raise StreamRefused(
                    f"the server sends other WAL at {position} on timeline {self.segment.timeline} "
                    f"than {self.path!r} holds",
                    "the server was rewound (restored, or a standby promoted in its place) without a new "
                    "timeline: keep that file, and protect the server under a new name",
                )


def _is_same(one: str, other: str) -> bool:
    try:
        with open(one, "rb") as first, open(other, "rb") as second:
            return same_bytes(first, second)
    except FileNotFoundError:
        return True  # it was archived meanwhile: what arrives is judged against the stored copy


def partials_in(directory: str) -> list[str]:
    """The names of the segments of which there is a partial file, without the suffix."""
    return [
        name.removesuffix(".partial") for name in sorted(os.listdir(directory)) if name.endswith(".partial")
    ]
