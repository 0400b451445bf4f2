"""What ``put-wal`` brings: WAL files in ``incoming/`` of a server's home, durable before anybody calls them there.

They lie there until whoever holds the archive lock files them. A file that contradicts what is stored, or its
own name, is put aside into ``errors/`` with the reason beside it, and never thrown away.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog import durable, layout
from catalog.comparison import same_bytes
from catalog.errors import Conflict, Malformed, StorageError, WalstreamError, one_line
from catalog.filing import FIRST_PAGE
from catalog.local_storage import LocalReader, failed
from catalog.lsn import SegmentSize
from catalog.sink import PIECE, Reader
from catalog.timeline import History
from catalog.walname import HISTORY, PARTIAL, SEGMENT, Segment, kind_of, timeline_in
from catalog.walpage import check_first_page

log = logging.getLogger("walstream.archiver")

LARGEST_NOTE = 1 << 20
Put = Callable[[str, Callable[[], Reader], str], bool]


@dataclass(frozen=True, slots=True)
class Incoming:
    """The directory below ``home``; ``size`` and ``system_identifier`` are the cluster's."""

    home: str
    size: SegmentSize
    system_identifier: int

    @property
    def directory(self) -> str:
        """Where the files lie."""
        return os.path.join(self.home, layout.INCOMING)

    def names(self) -> list[str]:
        """What waits there: histories first, then in the order of names."""
        try:
            found = [name for name in os.listdir(self.directory) if kind_of(name) is not None]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise failed("list", self.directory, error) from error
        return sorted(found, key=lambda name: (kind_of(name) != HISTORY, name))

    def receive(self, name: str, content: Reader) -> bool:
        """Make a file durable there; False when the same bytes lie there already.

        ``Malformed`` when it is not what its name says, ``Conflict`` when other bytes of that name lie there.
        """
        kind = kind_of(name)
        if kind is None:
            raise Malformed(f"not the name of a WAL file: {name!r}", "archive_command puts it in place of %f")
        path = os.path.join(self.directory, name)
        if os.path.exists(path):
            self._require_same(path, content)
            return False
        try:
            durable.make_directories(self.directory)
            file = durable.DurableFile(path, replace=False)
            try:
                self._take_in(name, kind, content, file)
                file.finish()
            finally:
                file.abort()
        except FileExistsError:
            raise StorageError(f"another process delivers {name!r} just now", "send it again") from None
        except OSError as error:
            raise failed("write", path, error) from error
        return True

    def file_all(self, put: Put, may_go_on: Callable[[], bool] = lambda: True) -> int:
        """File what waits with ``put``, and put aside what is refused; how many were filed.

        ``may_go_on`` is asked before each. ``StorageError`` when the repository, or this directory, cannot be
        written. What is left waits for the next call.
        """
        count = 0
        for name in self.names():
            if not may_go_on():
                break
            path = os.path.join(self.directory, name)
            try:
                put(name, lambda path=path: _open(path), path)  # type: ignore[misc]  # bound in the loop
                durable.remove(path)
                count += 1
            except (Conflict, Malformed) as refusal:
                self._put_aside(name, refusal)
            except FileNotFoundError:
                continue  # somebody else has filed it
            except OSError as error:
                raise failed("remove", path, error) from error
        return count

    def _take_in(self, name: str, kind: str, content: Reader, file: durable.DurableFile) -> None:
        limit = self.size.nbytes if kind in (SEGMENT, PARTIAL) else LARGEST_NOTE
        first = b""
        while piece := content.read(PIECE):
            if len(first) < FIRST_PAGE:
                first += piece[:LARGEST_NOTE]
            file.write(piece)
            if file.nbytes > limit:
                raise Malformed(f"{name!r} has more than {limit} bytes")
        if kind in (SEGMENT, PARTIAL):
            if file.nbytes != limit:
                raise Malformed(
                    f"{name!r} has {file.nbytes} bytes instead of {limit}",
                    "it did not arrive whole: send it again",
                )
            check_first_page(first, Segment.parse(name[:24], self.size), self.size, self.system_identifier)
        elif not first.endswith(b"\n"):
            raise Malformed(
                f"{name!r} does not end with its last line", "it did not arrive whole: send it again"
            )
        elif kind == HISTORY:
            History.parse(timeline_in(name), first)

    def _require_same(self, path: str, content: Reader) -> None:
        """What arrives is what lies there, which is made durable once more: who brought it may have been killed."""
        try:
            there = _open(path)
            try:
                same = same_bytes(there, content)
            finally:
                there.close()
            durable.sync_file(path)
            durable.sync_directory(self.directory)
        except FileNotFoundError:
            raise StorageError(f"{path!r} was filed just now", "send it again") from None
        except OSError as error:
            raise failed("read", path, error) from error
        if not same:
            raise Conflict(
                f"{path!r} holds other bytes already",
                "two servers archive under the same name: find out which is yours; nothing was overwritten",
            )

    def _put_aside(self, name: str, refusal: WalstreamError) -> None:
        errors = os.path.join(self.home, layout.ERRORS)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        aside = os.path.join(errors, f"{name}.{stamp}")
        try:
            durable.make_directories(errors)
            durable.write_file(f"{aside}.why", f"{one_line(refusal)}\n".encode())
            durable.rename(os.path.join(self.directory, name), aside)
        except OSError as error:
            raise failed("write", errors, error) from error
        log.error("%s was put aside into %r: %s", name, errors, refusal)


def _open(path: str) -> Reader:
    return LocalReader(os.open(path, os.O_RDONLY), path)
