"""Make a restored data directory recover, and keep it from touching its origin: its configuration files.

Files below one directory in, files changed; what was changed is told, with the new size and checksum of each
file that the backup's manifest lists. Nothing is synced here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from backup.checksum import checksum
from backup.recovery_conf import (
    STAY_INSIDE,
    comment_out,
    conf_quoted,
    includes,
    recovery_settings,
    settings_block,
)
from catalog.errors import UsageError
from catalog.pitr import RecoveryPlan

AUTO_CONF = "postgresql.auto.conf"
CONF = "postgresql.conf"
POINTS_OUTSIDE = ("data_directory", "external_pid_file", *STAY_INSIDE)
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
    """

    command: str
    standby: bool = False
    file: str = AUTO_CONF


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
    changes: list[str] = []
    changed_files: dict[str, tuple[int, str]] = {}
    warnings: list[str] = []
    files = [CONF, AUTO_CONF]
    for name in files:
        content, lines = _without_points_outside(os.path.join(root, name))
        if lines:
            changed_files[name] = described(content)
            changes += [f"commented out in {name}: {line}" for line in lines]
        for kind, path in includes(content.decode("utf-8", "surrogateescape")):
            found = os.path.normpath(os.path.join(root, os.path.dirname(name), path))
            if os.path.commonpath([root, found]) == root:
                files += [each for each in _included(root, found, kind) if each not in files]
            else:
                warnings.append(
                    f"{name} includes {found!r}, which is outside the restored directory and was left as it is: "
                    "look for data_directory in it before the start"
                )
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
    return Configured(tuple(changes), tuple(warnings), tuple(settings), changed_files, new_files)


def check_conf_name(name: str) -> None:
    """``UsageError`` unless recovery settings can be written to a file of that name in the data directory."""
    if name in FORBIDDEN:
        raise UsageError(f"recovery settings cannot go to {name!r}: {FORBIDDEN[name]}", _ANOTHER)
    if "/" in name or not name.endswith(".conf") or not name.isprintable() or name.startswith("."):
        raise UsageError(f"not a file for recovery settings: {name!r}", _ANOTHER)


def described(content: bytes) -> tuple[int, str]:
    """A file's size and checksum, as a manifest lists them."""
    total = checksum("CRC32C")
    total.update(content)
    return len(content), total.hexdigest()


def _included(root: str, path: str, kind: str) -> list[str]:
    """The files that a directive brings in, relative to ``root``: of a directory its visible ``*.conf``."""
    if kind != "include_dir":
        return [os.path.relpath(path, root)] if os.path.isfile(path) else []
    if not os.path.isdir(path):
        return []
    names = [name for name in sorted(os.listdir(path)) if name.endswith(".conf") and name[0] != "."]
    return [os.path.relpath(os.path.join(path, name), root) for name in names]


def _without_points_outside(path: str) -> tuple[bytes, list[str]]:
    """Comment out what leads out of the data directory; the new content, and the lines that did."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        return b"", []
    changed, lines = comment_out(text, POINTS_OUTSIDE, "walstream restore:")
    content = changed.encode("utf-8", "surrogateescape")
    if lines:
        with open(path, "wb") as out:
            out.write(content)
    return content, lines
