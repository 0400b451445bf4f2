"""Make a restored data directory recover, and keep it from touching its origin: its configuration files.

Files below one directory in, files changed; what was changed is told, with the new size and checksum of each
file that the backup's manifest lists. Nothing is synced here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from backup.neutralise import AUTO_CONF, CONF, described, neutralise
from backup.recovery_conf import conf_quoted, recovery_settings, settings_block
from catalog.errors import UsageError
from catalog.recovery import RecoveryPlan

SIGNALS = ("standby.signal", "recovery.signal")
FORBIDDEN = {
    "recovery.conf": "PostgreSQL 12 and later does not start where such a file is",
    CONF: f"what {AUTO_CONF} says counts more",
}
_ANOTHER = "give a plain name that ends with .conf; the file will be in the data directory"


@dataclass(frozen=True, slots=True)
class Recovery:
    """How the restored server recovers: its restore_command, and whether it goes on as a standby.

    ``file`` is the file that the settings are written to; another one than the server's own is included there.
    ``look_outside`` says that it will run on this machine.
    """

    command: str
    standby: bool = False
    file: str = AUTO_CONF
    look_outside: bool = True


@dataclass(frozen=True, slots=True)
class Configured:
    """What was done: lines for people, the settings in force, and the manifest's entries that changed or are new.

    ``warnings`` tell of configuration that lies elsewhere and was not looked at.
    """

    changes: tuple[str, ...]
    warnings: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    changed_files: Mapping[str, tuple[int, str]]
    new_files: Mapping[str, tuple[int, str]]


def configure(root: str, plan: RecoveryPlan, recovery: Recovery, own: Callable[[str], None]) -> Configured:
    """Write the recovery settings of ``plan`` below ``root``; ``own`` gives a new file to its owner.

    ``OSError`` as it comes.
    """
    done = neutralise(root, plan.backup.data_directory, look_outside=recovery.look_outside)
    changes = done.changes
    for name in SIGNALS:
        path = os.path.join(root, name)
        if os.path.exists(path):
            os.unlink(path)
            changes.append(f"removed {name}, which came from the origin")
    record = plan.backup
    settings = recovery_settings(plan.target, plan.timeline, recovery.command, record.server_version)
    block = settings_block(settings, f"written by walstream restore of backup {record.id}")
    added = {recovery.file: block.encode("utf-8", "surrogateescape")}
    new_files = {}
    if recovery.file != AUTO_CONF:
        # What is read last counts, and that is the end of this file.
        added[AUTO_CONF] = f"\ninclude {conf_quoted(recovery.file)}\n".encode("utf-8", "surrogateescape")
        new_files[recovery.file] = described(added[recovery.file])
    added[SIGNALS[0] if recovery.standby else SIGNALS[1]] = b""
    for name, content in added.items():
        path = os.path.join(root, name)
        with open(path, "ab") as file:
            file.write(content)
        os.chmod(path, 0o600)
        own(path)
    return Configured(tuple(changes), tuple(done.warnings), tuple(settings), done.changed_files, new_files)


def check_conf_name(name: str) -> None:
    """``UsageError`` unless recovery settings can be written to a file of that name in the data directory."""
    if name in FORBIDDEN:
        raise UsageError(f"recovery settings cannot go to {name!r}: {FORBIDDEN[name]}", _ANOTHER)
    if "/" in name or not name.endswith(".conf") or not name.isprintable() or name.startswith("."):
        raise UsageError(f"not a file for recovery settings: {name!r}", _ANOTHER)
