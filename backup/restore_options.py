"""How a restore is to be carried out, apart from its plan: where to, and how WAL gets there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from backup.copied_wal import WalCopy
from backup.fetch import WalSource
from backup.neutralise import AUTO_CONF
from backup.recovery_conf import RestoreCall
from catalog.recovery import RecoveryPlan
from catalog.repository import Repository


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """Where to restore to and how WAL is fetched.

    ``tablespaces`` maps names to new locations; ``owner`` is (uid, gid) for what is written; ``home`` is
    where the server's spool is; ``python`` the interpreter for the restore_command, which
    keeps ``prefetch_segments`` decoded ahead. With ``wal`` that is copied beforehand, and there is no such
    command. ``conf_file`` is where the recovery settings go; ``jobs`` is how many threads decompress.
    """

    destination: str
    home: str
    python: str
    tablespaces: Mapping[str, str] = field(default_factory=dict)
    owner: tuple[int, int] | None = None
    partial_wal: bool = True
    standby_mode: bool = False
    prefetch_segments: int = 0
    wal: WalCopy | None = None
    conf_file: str = AUTO_CONF
    jobs: int = 1

    def wal_source(self, repository: Repository, backup_id: str) -> WalSource:
        """Where WAL is fetched from, as the restored server will do it."""
        return WalSource(
            repository.root,
            self.home,
            partial=self.partial_wal,
            backup_id=backup_id,
            identities=repository.identities,
        )

    def restore_call(self, plan: RecoveryPlan, repository: Repository) -> RestoreCall:
        """How the restored server is to fetch its WAL."""
        return RestoreCall(
            python=self.python,
            repository=repository.root,
            home=os.path.abspath(self.home),
            path=str(plan.path),
            until=plan.until.name(plan.backup.wal_segment_size),
            backup_id=plan.backup.id,
            partial=self.partial_wal,
            standby=self.standby_mode,
            identity_file=repository.identities.file,
            identity_command=repository.identities.command,
            prefetch=self.prefetch_segments,
        )
