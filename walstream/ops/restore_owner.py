"""Whom restored files belong to, and whether that user's server can fetch its WAL while it recovers.

Looked at by owners and permission bits, before anything is written.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Collection

from catalog import layout
from catalog.errors import DestinationRefused, UsageError
from catalog.repository import Repository

ROOT_OWNS = (
    "the restored files will belong to root, as whom PostgreSQL refuses to run: "
    "unless a user namespace changes that, say whom they belong to with --owner"
)


def chosen_owner(name: str | None, destination: str) -> tuple[int, int] | None:
    """Whom the restored files are to belong to, as (uid, gid); None leaves them to us.

    Only root can give files away, and must: without a ``name`` to the owner of the ``destination``.
    """
    if name is not None:
        return _account(name)
    if os.geteuid() != 0:
        return None
    try:
        existing = os.stat(destination)
    except FileNotFoundError:
        raise UsageError(
            f"{destination!r} does not exist, and root must not own a cluster",
            "say whom it belongs to with --owner postgres, or make the directory first",
        ) from None
    return existing.st_uid, existing.st_gid


def _account(name: str) -> tuple[int, int]:
    if os.geteuid() != 0:
        raise UsageError("--owner needs root", "leave it out: the files will belong to you")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        raise UsageError(f"there is no user {name!r} on this machine", "name PostgreSQL's user") from None
    return entry.pw_uid, entry.pw_gid


def require_fetching(repository: Repository, owner: tuple[int, int] | None) -> None:
    """``DestinationRefused`` or ``UsageError`` when the restored server could not fetch its WAL from here."""
    if owner is not None and owner[0] != 0:
        _require_usable(repository, *owner)
    _require_lasting_identity(repository, owner)


def _require_usable(repository: Repository, uid: int, gid: int) -> None:
    """Refuse when the restored server could not fetch WAL; looked at by permission bits."""
    try:
        groups = set(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    except KeyError:
        groups = {gid}
    for name, wanted in (("", 0o5), (layout.WALS, 0o5), (layout.IDENTITY, 0o4)):
        path = os.path.join(repository.root, name)
        if not _may(wanted, path, uid, groups):
            raise DestinationRefused(
                f"the user with id {uid} cannot read {path!r}, so the restored server could not fetch its WAL",
                "add that user to the group of the repository's files (and make parent directories passable)",
            )
    closed = closed_on_the_way(sys.executable, uid, groups)
    if closed is not None:
        raise DestinationRefused(
            f"the user with id {uid} cannot run {sys.executable!r} because of the mode of {closed!r}, "
            "so the restored server could not fetch its WAL",
            "install walstream where that user can run it, outside the home directory of another",
        )


def closed_on_the_way(program: str, uid: int, groups: Collection[int]) -> str | None:
    """What keeps a user from running a program: a directory on the way to it, or itself; links are followed."""
    for path in (os.path.abspath(program), os.path.realpath(program)):
        parts = path.split(os.sep)
        for count in range(1, len(parts) + 1):
            part = os.sep.join(parts[:count]) or os.sep
            if not _may(0o1, part, uid, groups):
                return part
    return None


def _may(wanted: int, path: str, uid: int, groups: Collection[int]) -> bool:
    facts = os.stat(path)
    shift = 6 if facts.st_uid == uid else 3 if facts.st_gid in groups else 0
    return (facts.st_mode >> shift) & wanted == wanted


def _require_lasting_identity(repository: Repository, owner: tuple[int, int] | None) -> None:
    """Refuse an identity that the restored server could not read while it recovers."""
    path = repository.identities.file
    if path is None:
        return
    if not os.path.isfile(path):
        raise UsageError(
            f"the identity in {path!r} can be read only once, and the restored server needs it again",
            "put it into a file, or say how to get it with --identity-command",
        )
    uid = os.stat(path).st_uid
    if owner is not None and owner[0] not in (0, uid):
        raise DestinationRefused(
            f"the user with id {owner[0]} cannot read {path!r}, so the restored server could not decrypt its WAL",
            f"give a copy that belongs to that user (mode 0600) as --identity-file; this one belongs to id {uid}",
        )
