"""A restore to another machine, as an operator asks for it: the way there, and the way back."""

from __future__ import annotations

import os
from dataclasses import dataclass

from backup import remote_place
from backup.destination import holds_cluster
from backup.recovery_conf import no_restore_command, remote_restore_command
from backup.remote import RemoteOptions
from backup.restore_options import RestoreOptions
from backup.ssh import Remote, split_command
from catalog.errors import UsageError
from catalog.record import INCREMENTAL
from catalog.recovery import RecoveryPlan
from catalog.repository import Repository


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another machine to restore to: the command that leads there, and the one that leads back to fetch WAL.

    ``staging`` is a directory here to build the cluster in first, ``staging_path`` one for what must be built so.
    """

    command: str
    way_back: str | None = None
    staging: str | None = None
    staging_path: str | None = None


def check_path_there(path: str) -> None:
    """``UsageError`` for a destination that makes no sense on another machine."""
    if not os.path.isabs(path) or ":" in path:
        raise UsageError(
            f"not an absolute path on the other machine: {path!r}", "write it like /srv/restored"
        )


def is_there_already(destination: str, elsewhere: Elsewhere | None) -> bool:
    """Whether there is a cluster where one is to be restored to."""
    if elsewhere is None:
        return holds_cluster(destination)
    check_path_there(destination)
    return remote_place.holds_cluster(Remote(elsewhere.command), destination)


def remote_options(
    found: RecoveryPlan,
    repository: Repository,
    options: RestoreOptions,
    owner: str | None,
    elsewhere: Elsewhere,
) -> RemoteOptions:
    """What is peculiar to the other machine; ``UsageError`` if its server could not fetch the WAL it is to."""
    if options.wal is not None:
        command = no_restore_command(options.standby_mode)
    elif elsewhere.way_back is None:
        raise UsageError(
            "a cluster on another machine cannot fetch its WAL from here: no way back is known",
            "set restore_ssh_command for the server, or copy the WAL with --no-get-wal",
        )
    else:
        call = options.restore_call(found, repository)
        command = remote_restore_command(call, split_command(elsewhere.way_back))
    needed = elsewhere.staging_path if found.backup.type == INCREMENTAL else None
    return RemoteOptions(elsewhere.command, command, owner, elsewhere.staging or needed)
