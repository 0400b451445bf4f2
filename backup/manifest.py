"""``backup_manifest``: read and written as a stream, in flat memory.

The server writes one file per line (``backup_manifest.c``), as do PostgreSQL's own tools, and so the
manifest is read by lines: a million files are never in memory. Its SHA-256 over everything before
the last line is checked on the way. Wrong or missing bytes are ``Corrupt``, text that is no manifest of
version 1 or 2 is ``Malformed``; nothing read before ``ManifestReader.finish`` returned is proven. What one line
says is ``backup.manifest_entry``'s business.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice

from backup.manifest_entry import (
    FileEntry,
    WalRange,
    format_file,
    format_range,
    read_file,
    read_object,
    read_range,
)
from catalog.errors import Corrupt, Malformed
from catalog.sink import PIECE, Reader

MAX_LINE = 64 * 1024
MAX_RANGES = 10_000

_VERSION = re.compile(rb'\{\s*"PostgreSQL-Backup-Manifest-Version"\s*:\s*([0-9]{1,9})\s*,\s*')
_SYSTEM = re.compile(rb'\s*"System-Identifier"\s*:\s*([0-9]{1,20})\s*,\s*')
_FILES = re.compile(rb'\s*"Files"\s*:\s*\[\s*')
_RANGES = re.compile(rb'\s*"WAL-Ranges"\s*:\s*\[\s*')
_CLOSED = re.compile(rb"\s*\]\s*,\s*")
_CHECKSUM = re.compile(rb'\s*"Manifest-Checksum"\s*:\s*"([0-9A-Fa-f]{64})"\s*\}\s*')


class ManifestReader:
    """Reads a manifest: its header when made, the files by iteration, the rest with ``finish``.

    The reader stays the caller's to close.
    """

    def __init__(self, reader: Reader) -> None:
        self._lines = _lines(reader)
        self._hash = hashlib.sha256()
        self._entries = self._objects()
        self._ranges: tuple[WalRange, ...] | None = None
        version = self._expect(_VERSION, "its version")
        self.version = int(version[1])
        if self.version not in (1, 2):
            raise Malformed(f"unknown version {self.version} of a backup manifest", "use a newer walstream")
        self.system_identifier: int | None = None
        if self.version == 2:
            self.system_identifier = int(self._expect(_SYSTEM, "the system identifier")[1])
        self._expect(_FILES, "the list of files")

    def __iter__(self) -> Iterator[FileEntry]:
        return self

    def __next__(self) -> FileEntry:
        return read_file(next(self._entries))

    def finish(self) -> tuple[WalRange, ...]:
        """Read to the end past files that were not asked for, check the manifest's own checksum.

        Returns the spans of WAL that the backup needs, newest timeline first.
        """
        if self._ranges is None:
            for _ in self:
                pass
            self._expect(_RANGES, "the WAL ranges")
            ranges = tuple(map(read_range, islice(self._objects(), MAX_RANGES)))
            self._check()
            self._ranges = ranges
        return self._ranges

    def _check(self) -> None:
        computed = self._hash.hexdigest()
        stated = self._expect(_CHECKSUM, "its checksum")[1].decode().lower()
        if stated != computed:
            raise Corrupt(f"the backup manifest has checksum {computed}, but states {stated}")
        if next(self._lines, None) is not None:
            raise Malformed("the backup manifest has something behind its end")

    def _expect(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        line = self._line()
        match = pattern.fullmatch(line)
        if match is None:
            raise Malformed(f"the backup manifest has {line[:200]!r} where {what} should be")
        return match

    def _line(self) -> bytes:
        line = next(self._lines, None)
        if line is None:
            raise Corrupt("the backup manifest ends early")
        self._hash.update(line + b"\n")
        return line

    def _objects(self) -> Iterator[dict[str, object]]:
        """The objects of a list, one a line, through the line that closes the list."""
        line = self._line()
        if _CLOSED.fullmatch(line):
            return
        while True:
            text = line.strip()
            yield read_object(text.removesuffix(b","))
            line = self._line()
            if not text.endswith(b","):
                break
        if not _CLOSED.fullmatch(line):
            raise Malformed(f"the backup manifest has {line[:200]!r} where a list should end")


def write(
    entries: Iterable[FileEntry], ranges: Iterable[WalRange], system_identifier: int | None
) -> Iterator[bytes]:
    """A manifest in pieces: of version 2 with a system identifier, of version 1 without.

    ``ranges`` is not touched before ``entries`` is exhausted.
    """
    sha256 = hashlib.sha256()
    for piece in _joined(_body(entries, ranges, system_identifier)):
        sha256.update(piece)
        yield piece
    yield b'"Manifest-Checksum": "%s"}\n' % sha256.hexdigest().encode()


def rewrite(
    reader: Reader,
    changes: Mapping[str, tuple[int, str]],
    dropped: Collection[str] = (),
    added: Iterable[FileEntry] = (),
    resolve: Callable[[Iterable[FileEntry]], Iterable[FileEntry]] = iter,
) -> Iterator[bytes]:
    """A copy of a manifest with other sizes and checksums for some paths and without others, in pieces.

    ``resolve`` may put other entries in the place of those that were read; ``added`` come last. The sums are of the
    algorithm that the file's entry names. That the original is unharmed, and lists all of the paths, is known
    only when the last piece has been taken.
    """
    original = ManifestReader(reader)
    entries = chain(_changed(resolve(original), changes, dropped), added)
    return write(entries, _late(original), original.system_identifier)


def _changed(
    original: Iterable[FileEntry], changes: Mapping[str, tuple[int, str]], dropped: Collection[str]
) -> Iterator[FileEntry]:
    missing = set(changes)
    for entry in original:
        if entry.path in dropped:
            continue
        if entry.path in changes:
            size, total = changes[entry.path]
            entry = replace(entry, size=size, checksum=total if entry.algorithm != "NONE" else "")
            missing.discard(entry.path)
        yield entry
    if missing:
        raise Malformed(f"the backup manifest does not list {min(missing)!r}")


def _late(original: ManifestReader) -> Iterator[WalRange]:
    yield from original.finish()


def _body(
    entries: Iterable[FileEntry], ranges: Iterable[WalRange], system_identifier: int | None
) -> Iterator[str]:
    if system_identifier is None:
        yield '{ "PostgreSQL-Backup-Manifest-Version": 1,\n'
    else:
        yield f'{{ "PostgreSQL-Backup-Manifest-Version": 2,\n"System-Identifier": {system_identifier},\n'
    yield '"Files": ['
    separator = "\n"
    for entry in entries:
        yield separator + format_file(entry)
        separator = ",\n"
    yield '\n],\n"WAL-Ranges": ['
    separator = "\n"
    for span in ranges:
        yield separator + format_range(span)
        separator = ",\n"
    yield "\n],\n"


def _joined(texts: Iterable[str]) -> Iterator[bytes]:
    pending: list[str] = []
    for text in texts:
        pending.append(text)
        if len(pending) == 500:
            yield "".join(pending).encode()
            pending.clear()
    yield "".join(pending).encode()


def _lines(reader: Reader) -> Iterator[bytes]:
    """The lines without their newlines; the last one must have had one too."""
    rest = b""
    while piece := reader.read(PIECE):
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if len(rest) > MAX_LINE:
            raise Malformed(f"the backup manifest has a line of more than {MAX_LINE} bytes")
    if rest:
        raise Corrupt("the backup manifest ends in the middle of a line")
