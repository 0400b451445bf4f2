"""Whose repository it is: ``identity.json``, written at the first connection and read before anything else.

A directory is ours only if this document carries ``format``. On the path of ``get-wal``: reading what
``to_json`` wrote takes no json module.
"""

from __future__ import annotations

from catalog.document import FORMAT, Document, write_document
from catalog.errors import ForeignRepository, Malformed, WrongServer
from catalog.layout import IDENTITY
from catalog.lsn import SegmentSize
from catalog.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalog.storage import Storage

_ELSEWHERE = "give walstream a directory of its own: nothing in this one was changed"


class RepositoryIdentity(Value):
    """The cluster that a repository belongs to. ``created`` is ISO 8601 text, in UTC."""

    __slots__ = ("created", "extra", "major_version", "salt", "system_identifier", "wal_segment_size")
    system_identifier: int
    major_version: int
    wal_segment_size: SegmentSize
    salt: bytes
    created: str
    extra: Mapping[str, object]

    def __init__(
        self,
        system_identifier: int,
        major_version: int,
        wal_segment_size: SegmentSize,
        salt: bytes,
        created: str,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        self._set(system_identifier, major_version, wal_segment_size, salt, created, dict(extra or {}))

    def __hash__(self) -> int:
        return hash((self.system_identifier, self.salt))

    @classmethod
    def from_json(cls, data: bytes, where: str = "identity.json") -> RepositoryIdentity:
        """Read ``identity.json``; ``ForeignRepository`` when another program wrote it."""
        document = Document.parse(data, where)
        if "format" not in document:
            if "systemid" in document:
                raise ForeignRepository(f"{where} belongs to a Barman repository", _ELSEWHERE)
            raise ForeignRepository(f"{where} was not written by walstream", _ELSEWHERE)
        document.require_format()
        return cls(
            read_system_identifier(document),
            document.integer("major_version"),
            read_segment_size(document),
            _read_salt(document),
            document.text("created"),
            document.rest(),
        )

    def to_json(self) -> bytes:
        """The bytes of ``identity.json``."""
        return write_document(
            {
                "format": FORMAT,
                "system_identifier": str(self.system_identifier),
                "major_version": self.major_version,
                "wal_segment_size": self.wal_segment_size.nbytes,
                "salt": self.salt.hex(),
                "created": self.created,
                **self.extra,
            }
        )

    def require(self, system_identifier: int) -> None:
        """``WrongServer`` unless the cluster with this system identifier is the repository's."""
        if system_identifier != self.system_identifier:
            raise WrongServer(
                f"the repository belongs to the cluster with system identifier {self.system_identifier}, "
                f"the server has {system_identifier}",
                "does the connection string lead to another server? After pg_upgrade or a new initdb: use a new "
                "server name, and set the old one's section to active = false",
            )


def read_system_identifier(document: Document) -> int:
    """The ``system_identifier`` of a document: a string, because it exceeds 2^53."""
    text = document.text("system_identifier")
    if not (text.isascii() and text.isdecimal() and len(text) <= 20) or int(text) >= 1 << 64:
        raise document.wrong("system_identifier", "a system identifier in a string")
    return int(text)


def read_segment_size(document: Document) -> SegmentSize:
    """The ``wal_segment_size`` of a document."""
    nbytes = document.integer("wal_segment_size")
    try:
        return SegmentSize(nbytes)
    except Malformed as error:
        raise document.wrong("wal_segment_size", "a WAL segment size") from error


def _read_salt(document: Document) -> bytes:
    text = document.text("salt")
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise document.wrong("salt", "a string of hex digits") from error


def read_identity(storage: Storage) -> RepositoryIdentity:
    """The identity of the repository in ``storage``; ``Absent`` when there is no ``identity.json``."""
    return RepositoryIdentity.from_json(storage.get(IDENTITY), IDENTITY)
