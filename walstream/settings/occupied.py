"""Whether the root of all servers is somebody else's: there nothing is written, not even a lock."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

_CLUSTER = "PG_VERSION"
_BARMAN = (".cron.lock", "cfg_changes.queue")


def occupant(root: str, servers: Iterable[str]) -> tuple[str, str] | None:
    """Whose directory it is, and by which file that is told; None when it is ours, empty or absent.

    ``servers`` are the names of ours: Barman has directories of such names too.
    """
    try:
        names = os.listdir(root)
    except OSError:
        return None  # whoever writes there finds out
    if _CLUSTER in names:
        return "a PostgreSQL data directory", _CLUSTER
    for name in sorted(names):
        if name in _BARMAN or name.startswith(".barman"):
            return "Barman's home", name
    for name in servers:
        if name in names and _is_barmans(os.path.join(root, name)):
            return "Barman's home", os.path.join(name, "identity.json")
    return None


def _is_barmans(directory: str) -> bool:
    try:
        with open(os.path.join(directory, "identity.json"), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "systemid" in found and "format" not in found
