"""``put-wal``: one WAL file from an archive_command, durable here before it is said to be. Offline."""

from __future__ import annotations

from catalog.comparison import SAME, same_bytes
from catalog.decoding import ENCRYPTED
from catalog.errors import Absent, Conflict, StorageError
from catalog.fingerprint import compare
from catalog.repository import Repository
from catalog.sink import Reader
from catalog.walname import PARTIAL, kind_of
from walstream.ops.archive import incoming_of
from walstream.settings.server import ServerSettings


def deliver(settings: ServerSettings, repository: Repository, name: str, content: Reader) -> bool:
    """Take in one file; False when it is held already, with the same bytes.

    ``Malformed`` when it is not what its name says, ``Conflict`` when other bytes are held under its name: nothing
    is overwritten, and the server keeps its copy. Of a partial segment what is stored seldom is the same, it ends
    elsewhere, and whoever files it finds out which one goes on.
    """
    stored = None if kind_of(name) == PARTIAL else _stored(repository, name)
    if stored is None:
        return incoming_of(settings, repository).receive(name, content)
    key, held = stored
    try:
        same = _is_same(repository, key, held, content)
    finally:
        held.close()
    if not same:
        raise Conflict(
            f"the repository holds other bytes under the name {name!r}",
            "two servers archive under the same name: find out which is yours; nothing was overwritten",
        )
    repository.storage.sync(key)
    return False


def _is_same(repository: Repository, key: str, held: Reader, content: Reader) -> bool:
    if not key.endswith(ENCRYPTED):
        return same_bytes(held, content)
    identity = repository.identity
    encrypted = repository.storage.read(key)
    try:
        return compare(encrypted, content, identity.salt, identity.wal_segment_size.nbytes) == SAME
    finally:
        encrypted.close()


def _stored(repository: Repository, name: str) -> tuple[str, Reader] | None:
    try:
        return repository.wal.find(name)
    except (Absent, StorageError):
        return None  # what cannot be looked at now is compared when the file is filed
