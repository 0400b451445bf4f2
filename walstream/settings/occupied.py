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
    identities = {name: _identity(os.path.join(root, name)) for name in servers if name in names}
    barmans = [name for name, keys in identities.items() if "systemid" in keys and "format" not in keys]
    if barmans and not any("format" in keys for keys in identities.values()):
        return "Barman's home", os.path.join(barmans[0], "identity.json")
    return None  # where something of ours is as well, that one directory is refused by whoever would use it


def _identity(directory: str) -> Iterable[str]:
    """The keys of the identity in a server's directory, Barman's or ours."""
    try:
        with open(os.path.join(directory, "identity.json"), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return ()
    return found if isinstance(found, dict) else ()
