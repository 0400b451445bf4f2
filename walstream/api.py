"""The library: every public name, gathered from where it lives. docs/library.md shows how they are used.

Functions take plain arguments (connection strings, paths), never a configuration; nothing prints, and there
is no global state. Names are resolved when they are first used, so importing this module loads nothing
heavy, and what works offline works without psycopg. Whatever is not listed here may change.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from backup.incoming import Progress
    from backup.restore import RestoreReport
    from catalog.codec import Codec
    from catalog.errors import (
        Absent,
        BackupFailed,
        Busy,
        ConfigurationError,
        Conflict,
        ConnectionFailed,
        ConnectionLost,
        Corrupt,
        DestinationRefused,
        ForeignRepository,
        HookFailed,
        IdentityError,
        Interrupted,
        ListenFailed,
        Malformed,
        ProtocolError,
        RemoteFailed,
        RepositoryError,
        ServerError,
        ServerRefused,
        SpoolFull,
        StorageError,
        StreamRefused,
        TargetUnreachable,
        UsageError,
        WalstreamError,
        WrongServer,
    )
    from catalog.lsn import LSN, SegmentSize
    from catalog.record import BackupRecord
    from catalog.repository import Repository
    from catalog.sink import Reader, Sink
    from catalog.target import RecoveryTarget
    from walstream.messages import WalData
    from walstream.ops.backup import BackupOutcome
    from walstream.ops.library import create_repository, receive, receive_to, take_backup
    from walstream.ops.offline import (
        ListedBackup,
        list_backups,
        open_repository,
        open_wal,
        plan_restore,
        restore,
    )
    from walstream.ops.reception import Reception
    from walstream.ops.restore import PlannedRestore
    from walstream.stream import segments, stream

__all__ = [
    "LSN",
    "Absent",
    "BackupFailed",
    "BackupOutcome",
    "BackupRecord",
    "Busy",
    "Codec",
    "ConfigurationError",
    "Conflict",
    "ConnectionFailed",
    "ConnectionLost",
    "Corrupt",
    "DestinationRefused",
    "ForeignRepository",
    "HookFailed",
    "IdentityError",
    "Interrupted",
    "ListedBackup",
    "ListenFailed",
    "Malformed",
    "PlannedRestore",
    "Progress",
    "ProtocolError",
    "Reader",
    "Reception",
    "RecoveryTarget",
    "RemoteFailed",
    "Repository",
    "RepositoryError",
    "RestoreReport",
    "SegmentSize",
    "ServerError",
    "ServerRefused",
    "Sink",
    "SpoolFull",
    "StorageError",
    "StreamRefused",
    "TargetUnreachable",
    "UsageError",
    "WalData",
    "WalstreamError",
    "WrongServer",
    "create_repository",
    "list_backups",
    "open_repository",
    "open_wal",
    "plan_restore",
    "receive",
    "receive_to",
    "restore",
    "segments",
    "stream",
    "take_backup",
]

_MODULES = {
    "backup.restore": "RestoreReport",
    "backup.incoming": "Progress",
    "catalog.codec": "Codec",
    "catalog.errors": """
        Absent BackupFailed Busy ConfigurationError Conflict ConnectionFailed ConnectionLost Corrupt
        DestinationRefused ForeignRepository HookFailed IdentityError Interrupted ListenFailed Malformed
        ProtocolError RemoteFailed RepositoryError ServerError ServerRefused SpoolFull StorageError StreamRefused
        TargetUnreachable UsageError WalstreamError WrongServer
    """,
    "catalog.lsn": "LSN SegmentSize",
    "catalog.record": "BackupRecord",
    "catalog.repository": "Repository",
    "catalog.sink": "Reader Sink",
    "catalog.target": "RecoveryTarget",
    "walstream.messages": "WalData",
    "walstream.ops.backup": "BackupOutcome",
    "walstream.ops.library": "create_repository receive receive_to take_backup",
    "walstream.ops.offline": "ListedBackup list_backups open_repository open_wal plan_restore restore",
    "walstream.ops.reception": "Reception",
    "walstream.ops.restore": "PlannedRestore",
    "walstream.stream": "segments stream",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    try:
        module = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    found: object = getattr(importlib.import_module(module), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return list(__all__)
