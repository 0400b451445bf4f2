"""Putting WAL files onto the shelf: durably, checked, and never over another one.

What a name holds is judged over all codecs: an identical second copy is accepted (after the copy we
have is synced once more), a different one is a ``Conflict`` and changes nothing. The caller holds the
archive lock, so nobody else files under the same name meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from catalog import fingerprint, layout
from catalog.age.header import Stanza
from catalog.codec import Codec
from catalog.comparison import LONGER, OTHER, SAME, compare_padded, same_bytes
from catalog.decoding import ENCRYPTED
from catalog.errors import Absent, Conflict, Corrupt, Malformed, StorageError
from catalog.frames import Workers, encoder, push
from catalog.local_storage import failed
from catalog.lsn import SegmentSize
from catalog.partials import compare_records
from catalog.sink import Reader
from catalog.storage import Storage
from catalog.wal import WalShelf
from catalog.walname import BACKUP, HISTORY, PARTIAL, SEGMENT, Segment, kind_of
from catalog.walpage import check_first_page

FIRST_PAGE = 8192


@dataclass(frozen=True, slots=True)
class Filing:
    """Files WAL onto the shelf of ``storage``; segments go through ``codec``, the small files stay plain.

    ``salt`` is the repository's: an encrypted segment is told from others by a fingerprint under it.
    """

    storage: Storage
    size: SegmentSize
    system_identifier: int
    codec: Codec
    workers: Workers
    salt: bytes = b""

    def put(self, name: str, open_raw: Callable[[], Reader], path: str | None = None) -> bool:
        """File the bytes that ``open_raw`` gives under ``name``.

        ``path`` is where a local file has them that will never change: it need not be copied then, only
        linked, where nothing is compressed and both lie on one file system.

        True when they were stored, False when an identical copy was there already. A segment that is
        not of full length, or whose first page does not belong to its name and to this cluster, is
        ``Malformed``; other bytes than those stored under the name are a ``Conflict``. Only of a partial
        segment a longer copy takes the place of the beginning that is stored, also of one that differs behind its
        last whole record. ``open_raw`` gives the same bytes again when they are needed several times: for that,
        and to encrypt them.
        """
        if kind_of(name) is None:
            raise Malformed(f"not the name of a WAL file: {name!r}")
        raw = open_raw()
        try:
            try:
                key, stored = WalShelf(self.storage).find(name)
            except Absent:
                self._store(name, raw, path, open_raw)
                return True
            if self._is_longer(name, key, stored, raw, open_raw):
                self._replace(name, key, open_raw)
                return True
        finally:
            raw.close()
        try:
            self._sync(key)
        except Absent:  # it was removed as unneeded while it was compared
            return self.put(name, open_raw, path)
        return False

    def _is_longer(
        self, name: str, key: str, stored: Reader, raw: Reader, open_raw: Callable[[], Reader]
    ) -> bool:
        """Whether the stored copy is only the beginning of the arriving one; ``Conflict`` when it is another."""
        try:
            found = self._compare(name, key, stored, raw)
            if found == OTHER and kind_of(name) == PARTIAL and not key.endswith(ENCRYPTED):
                found = self._compare_records(name, open_raw)
        finally:
            stored.close()
        if found == OTHER and key.endswith(ENCRYPTED) and kind_of(name) == PARTIAL:
            raise Conflict(
                f"the repository holds another {name!r}, or a longer one: it is encrypted, so that cannot be told",
                "nothing was overwritten, and the arriving copy stays where it is; restore uses the stored one",
            )
        if found == OTHER:
            raise Conflict(
                f"the repository holds other bytes under the name {name!r}",
                "two servers write the same timeline: find out which is yours; nothing was overwritten",
            )
        return found == LONGER

    def _replace(self, name: str, key: str, open_raw: Callable[[], Reader]) -> None:
        # Nothing is lost if this is where it ends: all that the removed copy holds is in the arriving one as well,
        # which stays where it is until it is stored.
        raw = open_raw()
        try:
            self.storage.delete(key)
            self._store(name, raw, None, open_raw)
        finally:
            raw.close()

    def _sync(self, key: str) -> None:
        try:
            self.storage.sync(key)
        except StorageError:
            # A second sync may report success for what this one lost: the next try writes anew.
            self.storage.delete(key)
            raise

    def _compare(self, name: str, key: str, stored: Reader, raw: Reader) -> str:
        try:
            if key.endswith(ENCRYPTED):
                return self._compare_encrypted(name, key, raw)
            if kind_of(name) == PARTIAL:
                return compare_padded(stored, raw)
            return SAME if same_bytes(stored, raw) else OTHER
        except Corrupt as damage:
            raise Conflict(
                f"the stored {key!r} is damaged ({damage}), and another copy of it arrives",
                "move the damaged file away: the arriving copy takes its place at the next start",
            ) from damage

    def _compare_encrypted(self, name: str, key: str, raw: Reader) -> str:
        stored = self.storage.read(key)
        try:
            found = fingerprint.compare(stored, raw, self.salt, self.size.nbytes)
        finally:
            stored.close()
        return OTHER if found == LONGER and kind_of(name) != PARTIAL else found

    def _compare_records(self, name: str, open_raw: Callable[[], Reader]) -> str:
        segment = Segment.parse(name[:24], self.size)
        shelf = WalShelf(self.storage)
        return compare_records(lambda: shelf.open(name), open_raw, segment, self.size, self.system_identifier)

    def _store(self, name: str, raw: Reader, path: str | None, open_raw: Callable[[], Reader]) -> None:
        plain = kind_of(name) in (HISTORY, BACKUP)
        codec = Codec.of("none") if plain else self.codec
        key = layout.wal_key(name, codec.suffix)
        piece = _read_first(raw)
        if not plain:
            self._check_beginning(name, piece)
            if not codec.suffix and path is not None and self._link(path, key):
                return
        extra = [self._fingerprint(open_raw)] if codec.recipients else []
        sink = encoder(codec, self.storage.write(key), self.workers, extra=extra)
        try:
            sink.write(piece)
            total = len(piece) + push(raw, sink)
            if not plain and total != self.size.nbytes:
                raise Malformed(f"WAL file {name!r} has {total} bytes instead of {self.size.nbytes}")
            sink.finish()
        except BaseException:
            sink.abort()
            raise

    def _fingerprint(self, open_raw: Callable[[], Reader]) -> Stanza:
        raw = open_raw()
        try:
            return fingerprint.fingerprint(raw, self.salt)
        finally:
            raw.close()

    def _link(self, path: str, key: str) -> bool:
        try:
            whole = os.path.getsize(path) == self.size.nbytes
        except OSError as error:
            raise failed("read", path, error) from error
        return whole and self.storage.link(path, key)

    def _check_beginning(self, name: str, first: bytes) -> None:
        if kind_of(name) == SEGMENT:
            segment = Segment.parse(name, self.size)
            check_first_page(first, segment, self.size, self.system_identifier)


def _read_first(reader: Reader) -> bytes:
    """The first page, unless there is less."""
    first = reader.read(FIRST_PAGE)
    while len(first) < FIRST_PAGE and (piece := reader.read(FIRST_PAGE - len(first))):
        first += piece
    return first
