"""Backups of a protected server: their directories, one that runs for long, and clusters restored from them."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from support.clusters import Cluster
from support.protection import Process, Protection, decompressed, listing, wait_until

SLOW = ("--bwlimit", "4000")


def base(ours: Protection, backup_id: str) -> Path:
    """The directory of a backup."""
    return ours.home() / "base" / backup_id


def ids(ours: Protection, mark: str) -> list[str]:
    """The backups that have a document of that name."""
    return sorted(path.parent.name for path in (ours.home() / "base").glob(f"*/{mark}"))


def record_of(ours: Protection, backup_id: str) -> dict[str, Any]:
    """The record of a backup, as it is stored."""
    found: dict[str, Any] = json.loads((base(ours, backup_id) / "record.json").read_text())
    return found


def members(ours: Protection, backup_id: str, archive: str = "base.tar") -> list[str]:
    """The names in a stored archive, as Python's tarfile reads them."""
    (path,) = base(ours, backup_id).glob(f"{archive}*")
    with tarfile.open(fileobj=io.BytesIO(decompressed(path)), errors="surrogateescape") as tar:
        return tar.getnames()


def restored(ours: Protection, directory: str, *words: str) -> Cluster:
    """A cluster restored into a directory, not started; the backup's id, then options."""
    cluster = Cluster(ours.cluster.version, directory)
    ours.restore(Path(directory), *words[:1], directory, *words[1:])
    return cluster


def start_slow_backup(ours: Protection) -> Process:
    """A backup that has begun to copy, and will take long."""
    process = ours.start("backup", "main", *SLOW)

    def copies() -> bool:
        assert process.poll() is None, ours.log.read_text()
        return any("base.tar" in name for name in listing(ours.home()))

    wait_until(copies)
    return process


def odd_place(parent: str, name: str) -> str:
    """A directory of that name for a tablespace."""
    path = os.path.join(parent, name)
    os.mkdir(path, 0o700)
    return path
