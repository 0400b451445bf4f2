"""``check``, the part about receiving: does the receiver stream, keep up, and get its WAL archived? Pure."""

from __future__ import annotations

import errno
import os

from catalog.lsn import LSN
from catalog.state import ReceiverState
from catalog.units import counted, size
from walstream.ops.items import Item, at_local_time, failure, fine, to_go_on, to_start, warned
from walstream.ops.receiver_facts import ReceiverFacts, lag_of
from walstream.settings.server import ServerSettings
from walstream.standing import STREAMING

RUNNING = "receive-wal running"
SPOOL = "streaming WALs directory"
LAG = "receiver lag"

ARCHIVE_SCRIPTS = ("pre_archive_script", "post_archive_script")

LONGEST_ARCHIVING = 300.0
# A receiver tries again after 30 s at most, and publishes at least so often while it streams.
LONGEST_WITHOUT_STREAM = 60.0
LONGEST_SILENCE = 120.0
NOTABLE_LAG = 60.0
# What the disk says does not pass by itself. Each try may stream for an instant, so that no wait gets long.
DISK_TROUBLE = tuple(
    os.strerror(code).lower() for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
)


def running_item(settings: ServerSettings, found: ReceiverFacts, now: float) -> Item:
    """A receiver must run, and stream, but for short breaks."""
    if not found.running:
        remedy = _remedy(settings, found)
        return failure(RUNNING, f"no receiver runs: WAL is not protected{_reason(found)}", remedy)
    state = found.state
    if state is None:
        if found.since is not None and now - found.since > LONGEST_WITHOUT_STREAM:
            return failure(
                RUNNING,
                f"the receiver has published nothing since it was started {now - found.since:.0f} s ago",
                "see its log, and whether the disk of walstream_home is full",
            )
        return fine(RUNNING, "it has just been started")
    if now - state.at > LONGEST_SILENCE:
        return failure(
            RUNNING,
            f"the receiver (process {state.pid}) stands still: it has published nothing for {now - state.at:.0f} s",
            "see its log, and whether the disk of walstream_home is full; else end that process, and unless run "
            f"or cron does, {to_start(settings.name)}",
        )
    if state.phase == STREAMING:
        return fine(RUNNING)
    about = f"not streaming since {at_local_time(state.since)}, {state.phase}"
    about += f": {state.trouble}" if state.trouble else ""
    if any(sentence in about.lower() for sentence in DISK_TROUBLE):
        return failure(RUNNING, about, "make room on that disk, or mend it; receiving then goes on by itself")
    if now - state.since > LONGEST_WITHOUT_STREAM:
        return failure(
            RUNNING,
            about,
            "see what it says and the receiver's log; it goes on by itself when that is mended",
        )
    return warned(RUNNING, about)


def receiving_items(settings: ServerSettings, found: ReceiverFacts, now: float) -> list[Item]:
    """Both items that need no server."""
    return [running_item(settings, found, now), spool_item(settings, found, now)]


def _remedy(settings: ServerSettings, found: ReceiverFacts) -> str:
    """How a receiver comes to run again."""
    if found.stopped:
        return to_go_on(settings.name)
    if found.supervisor is not None:
        return "see what the last one said, and mend that: 'walstream run' starts the next one by itself"
    return to_start(settings.name)


def _reason(found: ReceiverFacts) -> str:
    """Why there is no receiver, as far as that is known."""
    if found.stopped:
        return "; it was stopped by 'walstream receive-wal --stop'"
    supervisor = found.supervisor
    if supervisor is None or supervisor.child is not None or supervisor.last_error is None:
        ended = found.ended_with
        return (
            f"; the last one ended at {at_local_time(ended.at)}: {ended.trouble}" if ended is not None else ""
        )
    when = f" at {at_local_time(supervisor.next_try)}" if supervisor.next_try is not None else ""
    return f"; 'walstream run' tries again{when}, the last one said: {supervisor.last_error}"


def spool_item(settings: ServerSettings, found: ReceiverFacts, now: float) -> Item:
    """Segments that were received must soon be in the repository, and not be too many."""
    spool, limit = found.spool, settings.spool_limit
    trouble = found.live.archive_trouble if found.live is not None else None
    if not spool.segments and trouble is None:
        return fine(SPOOL)
    hint = f"waiting to be archived: {counted(spool.segments, 'segment')} ({size(spool.nbytes)})"
    if trouble is not None:
        return failure(
            SPOOL,
            f"{hint}: {trouble}",
            f"{_archiving_remedy(trouble)}; archiving then goes on by itself",
        )
    if not found.running:
        return failure(SPOOL, f"{hint}, and no receiver runs", _remedy(settings, found))
    if limit is not None and spool.nbytes > limit:
        return failure(
            SPOOL,
            f"{hint}, more than spool_limit ({size(limit)})",
            "archiving does not keep up: choose a faster compression or disk, or raise spool_limit",
        )
    waited = now - spool.since if spool.since is not None else 0.0
    if waited > LONGEST_ARCHIVING:
        return failure(
            SPOOL,
            f"{hint}, the oldest for {waited / 60:.0f} minutes",
            "see the receiver's log for what keeps it from writing to the repository, and whether a script for "
            "archiving still runs",
        )
    return fine(SPOOL, hint)


def _archiving_remedy(trouble: str) -> str:
    """What to do about the trouble that archiving waits for: a script's, or that of writing to the repository."""
    option = next((each for each in ARCHIVE_SCRIPTS if trouble.startswith(each)), None)
    if option is None:
        return "make the repository writable again (see disk space and directories)"
    return f"mend what {option} calls, or correct hook_timeout and the option, and reload the receiver"


def lag_items(
    settings: ServerSettings, state: ReceiverState | None, server: tuple[int, LSN] | None, now: float
) -> list[Item]:
    """How far a running receiver is behind; ``server`` is the server's timeline and position, if it told them."""
    if state is None or not state.timeline:
        return []
    if state.withheld:
        about = "no commit that waits for this receiver is acknowledged, because of an open gap"
        return [failure(LAG, about, f"take a new backup: walstream backup {settings.name}")]
    if server is None:
        return []
    lag = lag_of(state, server, now)
    hint = f"{size(lag.nbytes)}, {lag.seconds:.1f} s behind the server"
    if lag.seconds > NOTABLE_LAG and state.phase != STREAMING:
        return [warned(LAG, hint, f"it has no stream: see the item {RUNNING!r}")]
    if lag.seconds > NOTABLE_LAG:
        return [warned(LAG, hint, "see whether the network or the disk of the spool is too slow")]
    return [fine(LAG, hint)]
