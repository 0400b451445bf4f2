"""Members → a tar stream for ``tar -x`` somewhere else, and a directory tree → the same.

What the server's own archives contain goes through ``TarStream`` with the headers of ``backup.tar``. Modes are
made sane as when members are laid down here, and links are refused.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from backup.extract import Extractor
from backup.neutralise import is_data
from backup.tar import END, Kind, Member, MemberSink, format_header, padding
from catalog.errors import Corrupt
from catalog.sink import BytesLike, Sink

_PIECE = 1 << 20
# The most that one file may be that is kept here, those that are settings by their name, and all of them.
LARGEST = 1 << 20
LARGEST_SETTINGS = 16 << 20
MOST = 256 << 20


class TarStream:
    """A member sink that writes an archive into ``sink``; ``finish`` ends the archive, not the sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._padding = 0

    def begin(self, member: Member, /) -> None:
        if member.kind is Kind.SYMLINK:
            raise Corrupt(
                f"member {member.name!r} is a symbolic link to {member.link!r}",
                "a backup taken by walstream has none: do not trust this archive",
            )
        self._sink.write(format_header(replace(member, mode=_sane(member))))
        self._padding = padding(member.size)

    def data(self, view: memoryview, /) -> None:
        self._sink.write(view)

    def end(self) -> None:
        self._sink.write(bytes(self._padding))

    def finish(self) -> None:
        self._sink.write(END)


def _sane(member: Member) -> int:
    if member.kind is Kind.FILE:
        return member.mode & 0o750 | 0o600
    return 0o750 if member.mode & 0o050 == 0o050 else 0o700


class Divider:
    """A member sink that keeps here what may be a file of settings, and passes the rest on.

    ``kept`` names what is kept in any case, below ``directory``, ``transform`` what is kept and changed, ``skip``
    what goes nowhere. Passed on is what is data by its place, and what is large and not called ``.conf``; so
    nothing that an ``include_dir`` brings in is sent on unread.
    """

    def __init__(
        self,
        directory: str,
        passed: MemberSink,
        *,
        transform: Mapping[str, Callable[[bytes], bytes]],
        kept: Collection[str],
        skip: Collection[str],
    ) -> None:
        self.group_access = False
        self.modes: dict[str, int] = {}
        self._kept = kept
        self._passed = passed
        self._here = Extractor(directory, transform=transform, skip=skip)
        self._alone = {*kept, *transform, *skip}
        self._room = MOST
        self._sink: MemberSink = passed

    def begin(self, member: Member, /) -> None:
        if member.kind is Kind.DIRECTORY and _sane(member) == 0o750:
            self.group_access = True
        if member.name in self._kept:
            self.modes[member.name] = _sane(member)
        self._sink = self._here if self._stays(member) else self._passed
        self._sink.begin(member)

    def data(self, view: memoryview, /) -> None:
        self._sink.data(view)

    def end(self) -> None:
        self._sink.end()

    def close(self) -> None:
        """Let go of all descriptors; harmless when called again."""
        self._here.close()

    def _stays(self, member: Member) -> bool:
        if member.name in self._alone:
            return True
        if member.kind is not Kind.FILE or is_data(member.name):
            return False
        settings = member.name.endswith(".conf")
        if settings and member.size > min(self._room, LARGEST_SETTINGS):
            raise Corrupt(
                f"member {member.name!r} has {member.size} bytes, which is far too much for settings",
                "restore on this machine, or leave such files out of the data directory",
            )
        if member.size > min(self._room // 2, LARGEST) and not settings:
            return False
        self._room -= member.size
        return True


def send_tree(directory: str, sink: Sink, leave_out: Collection[str] = ()) -> None:
    """Write an archive of all that is below a directory into ``sink``, less some paths; links are left out."""
    with tarfile.open(fileobj=_File(sink), mode="w|", format=tarfile.GNU_FORMAT, bufsize=_PIECE) as archive:
        for name in _below(directory, ""):
            if name not in leave_out:
                archive.add(os.path.join(directory, name), name, recursive=False)


def _below(directory: str, prefix: str) -> Iterator[str]:
    with os.scandir(os.path.join(directory, prefix)) as entries:
        for entry in entries:
            name = os.path.join(prefix, entry.name)
            if entry.is_dir(follow_symlinks=False):
                yield name
                yield from _below(directory, name)
            elif entry.is_file(follow_symlinks=False):
                yield name


class _File(io.RawIOBase):
    """A sink as tarfile wants it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def writable(self) -> bool:
        return True

    def write(self, data: BytesLike) -> int:  # type: ignore[override]  # tarfile writes nothing else
        view = memoryview(data)
        self._sink.write(view)
        return view.nbytes
