"""What PostgreSQL's own tools make of a chain: stored archives unpacked with tar, then ``pg_combinebackup``."""

from __future__ import annotations

import filecmp
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support.clusters import pg_tool
from support.protection import decompressed

# Written by our restore alone, or anew by both sides.
_OURS = frozenset({"backup_manifest", "postgresql.auto.conf", "recovery.signal", "tablespace_map"})


def combine(version: int, base: Path, chain: Sequence[str], place: Path) -> Path:
    """The chain of stored backups below ``base`` combined in ``place``; the data directory."""
    tool = pg_tool(version, "pg_combinebackup")
    assert tool is not None, f"there is no pg_combinebackup {version}"
    inputs = [_unpacked(base / backup_id, place / backup_id) for backup_id in chain]
    mappings = []
    for link in sorted(each for each in (inputs[-1] / "pg_tblspc").iterdir() if each.is_symlink()):
        mappings += ["-T", f"{os.readlink(link)}={place}/combined-{link.name}"]
    data = place / "combined"
    command = [tool, "--no-sync", *mappings, "-o", str(data), *map(str, inputs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return data


def assert_same_files(ours: Path, theirs: Path) -> int:
    """Both hold the same files with the same bytes, and the same directories; how many files were compared."""
    our_files, our_directories = _tree(ours)
    their_files, their_directories = _tree(theirs)
    assert our_directories == their_directories
    assert our_files == their_files
    compared = our_files - _OURS
    differing = [name for name in compared if not filecmp.cmp(ours / name, theirs / name, shallow=False)]
    assert differing == []
    return len(compared)


def _tree(root: Path) -> tuple[set[str], set[str]]:
    """Files and directories by relative name, through the links of tablespaces; less what is ours alone."""
    files, directories = set(), set()
    for at, below, names in os.walk(root, followlinks=True):
        directories |= {os.path.relpath(os.path.join(at, name), root) for name in below}
        files |= {os.path.relpath(os.path.join(at, name), root) for name in names}
    return files - _OURS, directories


def _unpacked(stored: Path, place: Path) -> Path:
    data = place / "data"
    record = json.loads((stored / "record.json").read_text())
    outside = {space["oid"] for space in record["tablespaces"] if space["location"].startswith("/")}
    for archive in record["archives"]:
        oid = archive["oid"]
        into = data if oid is None else place / str(oid) if oid in outside else data / "pg_tblspc" / str(oid)
        into.mkdir(parents=True, mode=0o700, exist_ok=True)
        tar = decompressed(stored / archive["file"])
        subprocess.run(["tar", "-x", "-C", str(into)], input=tar, check=True)
    for oid in outside:
        link = data / "pg_tblspc" / str(oid)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(place / str(oid))
    manifest = next(stored.glob("backup_manifest*"))
    (data / "backup_manifest").write_bytes(decompressed(manifest))
    return data
