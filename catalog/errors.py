"""Every error of the project, in one tree.

    WalstreamError                       exit code 1
    ├── UsageError                       2   the command line asks for something that makes no sense
    ├── ConfigurationError               2   the configuration file is wrong: file, line, option
    ├── Malformed (ValueError)               bytes or text that do not follow their format
    │   ├── ProtocolError                    the server said what its protocol does not allow
    │   └── Corrupt                          stored bytes that are not what was stored
    ├── Absent (LookupError)                 it is truly not there
    ├── RepositoryError                      the repository cannot be used as asked
    │   ├── ForeignRepository                a directory that is not ours
    │   ├── WrongServer                      another system identifier
    │   ├── Conflict                         the name is taken by different bytes
    │   └── Busy                             somebody else holds the lock
    ├── IdentityError                        encrypted, and there is no identity that opens it
    ├── StorageError                         the operating system refused to read or write
    │   └── SpoolFull                        more WAL waits to be archived than the spool may hold
    ├── ServerError                          PostgreSQL, or the way to it
    │   ├── ConnectionFailed                 no connection could be made
    │   ├── ConnectionLost                   the connection broke
    │   └── ServerRefused                    the server answered with an error (``sqlstate``)
    ├── StreamRefused                        WAL cannot be received without losing some
    ├── BackupFailed                         the base backup did not complete
    ├── TargetUnreachable                    no restore can reach the recovery target
    ├── DestinationRefused                   the place to restore to cannot be used
    ├── RemoteFailed                         the other machine to restore to, or the way to it
    ├── HookFailed                           a script before the work failed, so the work was not done
    ├── ListenFailed                         the address to serve metrics on cannot be had
    └── Interrupted                      130 asked to stop by a signal

A message follows PostgreSQL's manner: lower case, no final stop, values quoted. ``hint`` tells
the operator what to do. The exit code is an attribute of the class; only the command line uses it.
"""

from __future__ import annotations


class WalstreamError(Exception):
    """Base of all errors raised on purpose: ``message``, ``hint``, and an exit code on the class."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(WalstreamError):
    """The command line asks for something that makes no sense."""

    exit_code = 2


class ConfigurationError(WalstreamError):
    """The configuration file is wrong; the message names file, line and option."""

    exit_code = 2


class Malformed(WalstreamError, ValueError):
    """Bytes or text that do not follow their format."""


class ProtocolError(Malformed):
    """The server said what its protocol does not allow."""


class Corrupt(Malformed):
    """Stored bytes that are not what was stored."""


class Absent(WalstreamError, LookupError):
    """What was asked for is truly not there (as opposed to: could not be read)."""


class RepositoryError(WalstreamError):
    """The repository cannot be used as asked."""


class ForeignRepository(RepositoryError):
    """The directory holds something that is not a walstream repository."""


class WrongServer(RepositoryError):
    """The repository belongs to a cluster with another system identifier."""


class Conflict(RepositoryError):
    """The name is already taken by different bytes; nothing was overwritten."""


class Busy(RepositoryError):
    """Somebody else holds the lock."""


class IdentityError(WalstreamError):
    """What is to be read is encrypted, and there is no identity that opens it."""


class StorageError(WalstreamError):
    """The operating system refused to read or write; the cause is chained."""


class SpoolFull(StorageError):
    """More WAL waits to be archived than ``spool_limit`` allows; it is received again by itself later."""


class ServerError(WalstreamError):
    """PostgreSQL, or the way to it."""


class ConnectionFailed(ServerError):
    """No connection could be made."""


class ConnectionLost(ServerError):
    """The connection broke."""


class ServerRefused(ServerError):
    """The server answered a command with an error; ``sqlstate`` has its five characters."""

    def __init__(self, message: str, hint: str | None = None, sqlstate: str = "") -> None:
        super().__init__(message, hint)
        self.sqlstate = sqlstate


class StreamRefused(WalstreamError):
    """WAL cannot be received without losing some of it, or mixing it with another cluster's."""


class BackupFailed(WalstreamError):
    """The base backup did not complete; nothing of it is listed."""


class TargetUnreachable(WalstreamError):
    """No restore from this repository can reach the recovery target."""


class DestinationRefused(WalstreamError):
    """The place to restore to cannot be used."""


class RemoteFailed(WalstreamError):
    """The other machine to restore to, or the way to it; what was said there is in the message."""


class HookFailed(WalstreamError):
    """A script of the operator failed, so the work before which it runs was not done."""


class ListenFailed(WalstreamError):
    """The address to serve metrics on cannot be had."""


class Interrupted(WalstreamError):
    """Asked to stop by a signal."""

    exit_code = 130


def one_line(error: Exception) -> str:
    """An error with its hint, for a log or a mail: ``message (hint)``."""
    text = "; ".join(str(error).split("\n"))
    hint = getattr(error, "hint", None)
    return f"{text} ({hint})" if hint else text
