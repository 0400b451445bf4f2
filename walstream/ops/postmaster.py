"""What a server on this machine says about itself without being asked: its files and its processes.

``postmaster.pid`` tells whether it takes connections, ``global/pg_control`` whether it is still in
recovery (both PostgreSQL 13 to 18), the process table who its children are. Reads, never writes.
"""

from __future__ import annotations

import os
import struct

_STATUS_LINE = 7  # LOCK_FILE_LINE_PM_STATUS of miscadmin.h, counted from 0
_STATE = struct.Struct("=i")
_STATE_OFFSET = 16  # behind the system identifier and two version numbers
_IN_PRODUCTION = 6  # DBState of pg_control.h


def status(directory: str, pid: int) -> str:
    """``starting``, ``stopping``, ``ready`` or ``standby``; empty while process ``pid`` has not said so.

    ``ready`` covers a hot standby; ``standby`` is a recovery that takes no connections.
    """
    try:
        with open(os.path.join(directory, "postmaster.pid"), encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return ""
    if len(lines) <= _STATUS_LINE or lines[0].strip() != str(pid):
        return ""
    return lines[_STATUS_LINE].strip()


def is_in_production(directory: str) -> bool:
    """Whether pg_control says so: not shut down, not in recovery. A copy says what its origin said."""
    with open(os.path.join(directory, "global", "pg_control"), "rb") as file:
        (state,) = _STATE.unpack_from(file.read(_STATE_OFFSET + _STATE.size), _STATE_OFFSET)
    return bool(state == _IN_PRODUCTION)


def children(pid: int) -> list[int]:
    """The process's children, by /proc; none where there is no /proc."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else []:
        fields = _stat(int(name)) if name.isdigit() else None
        if fields is not None and int(fields[1]) == pid:
            found.append(int(name))
    return found


def is_gone(pid: int) -> bool:
    """Whether the process has ended; a zombie that nobody waits for counts as ended."""
    fields = _stat(pid)
    return fields is None or fields[0] == "Z"


def _stat(pid: int) -> list[str] | None:
    """State, parent and further fields of /proc/PID/stat; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
