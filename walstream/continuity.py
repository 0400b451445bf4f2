"""Does a server continue what is held? Its histories are stored, and its WAL before the start is looked at.

Two servers that were promoted at one position write the same timeline, and their histories agree: only the WAL
itself tells them apart.
"""

from __future__ import annotations

import logging

from catalog.errors import ServerRefused, StreamRefused
from catalog.timeline import History
from walstream.connection import Connection
from walstream.facts import history_content
from walstream.gap import UNDEFINED_FILE, first_wal
from walstream.receiving import Target
from walstream.resume import Start

log = logging.getLogger("walstream.receiver")


def require_continuation(connection: Connection, target: Target, start: Start) -> bool:
    """``StreamRefused`` when the server has other WAL before the start than is held.

    False when it has removed that WAL, so that nothing can be said; the error has dropped a temporary slot then.
    """
    tail = target.tail(start)
    if tail is None:
        return True
    position, agrees = tail
    found = first_wal(connection, position, start.timeline)
    if found and not agrees(bytes(found)):
        raise StreamRefused(
            f"the server has other WAL at {position} on timeline {start.timeline} than the repository holds",
            "two servers write this timeline, or the server was restored without a new timeline: find out "
            "which is yours, and protect this one under a new name",
        )
    return found is not None


def keep_ancestry(connection: Connection, target: Target, history: History) -> None:
    """Store the histories of all timelines that led to the server's, as far as it has them.

    A recovery takes the first number without a history for its new timeline: none may seem free.
    """
    for timeline in (*(switch.timeline for switch in history.switches), history.timeline):
        try:
            keep_history(connection, target, timeline)
        except ServerRefused as refusal:
            if timeline == history.timeline or refusal.sqlstate != UNDEFINED_FILE:
                raise
            log.debug("the server has no history of timeline %d", timeline)


def keep_history(connection: Connection, target: Target, timeline: int) -> None:
    """Store the history of a timeline, unless it is stored or, as for timeline 1, there is none."""
    if timeline > 1 and target.lacks_history(timeline):
        target.keep_history(timeline, history_content(connection, timeline))
