"""What ``status`` says of receiving: the receiver, positions and lag, archiving. Pure."""

from __future__ import annotations

from catalog.lsn import LSN
from catalog.state import ReceiverState
from catalog.supervisor_state import SupervisorState
from catalog.units import duration, size
from walstream.cli.status_entries import NOT_KNOWN, Entry, moment, timestamp
from walstream.ops.receiver_facts import ReceiverFacts, SpoolFacts, lag_of
from walstream.ops.status_facts import ServerStatus
from walstream.ops.supervision import how_it_ended
from walstream.standing import STREAMING


def receiving_entries(status: ServerStatus, now: float) -> list[Entry]:
    """All of it; what has never run says so in one line."""
    receiver = status.receiver
    if receiver is None:
        return []
    entries = [_receiver(status, receiver)]
    if receiver.supervisor is not None:
        entries.append(_supervisor(receiver.supervisor))
    if status.settings is not None:
        entries.append(_synchronous(status, receiver))
    if receiver.state is not None and receiver.state.timeline:
        entries += _positions(status, receiver.state, now)
    return [*entries, *_archiving(status, receiver)]


def _receiver(status: ServerStatus, receiver: ReceiverFacts) -> Entry:
    state = receiver.live
    if not receiver.running:
        message = f"not running{_reason(status, receiver)}"
        return Entry("receiver", "Receiver", message, {"running": False, "stopped": receiver.stopped})
    if state is None:
        return Entry("receiver", "Receiver", "has just been started", {"running": True, "stopped": False})
    message = f"{state.phase} since {moment(state.since)}"
    if state.phase == STREAMING:
        message += f" from host {state.host}" if state.host else ""
    elif state.trouble:
        message += f" because {state.trouble}"
    facts = {
        "running": True,
        "stopped": False,
        "pid": state.pid,
        "phase": state.phase,
        "since": moment(state.since),
        "since_timestamp": timestamp(state.since),
        "host": state.host,
        "trouble": state.trouble,
    }
    return Entry("receiver", "Receiver", f"{message} (process {state.pid})", facts)


def _reason(status: ServerStatus, receiver: ReceiverFacts) -> str:
    if status.settings is not None and not status.settings.streaming_archiver:
        return ", as streaming_archiver is off"
    if receiver.stopped:
        return f": it was stopped, until 'walstream receive-wal {status.name}' starts it again"
    return ""


def _supervisor(known: SupervisorState) -> Entry:
    message = f"process {known.pid}, receivers started again: {known.restarts}"
    if known.child is None and known.next_try is not None:
        message += f", next try at {moment(known.next_try)}"
    if known.last_exit:
        message += f", the last one ended: {how_it_ended(known.last_exit)}"
        message += f": {known.last_error}" if known.last_error else ""
    facts = {
        "pid": known.pid,
        "receiver_pid": known.child,
        "restarts": known.restarts,
        "last_exit": known.last_exit,
        "last_error": known.last_error,
        "next_try_timestamp": None if known.next_try is None else timestamp(known.next_try),
    }
    return Entry("supervisor", "Supervisor", message, facts)


def _synchronous(status: ServerStatus, receiver: ReceiverFacts) -> Entry:
    """Whether every batch is synced at once, and whether commits wait for that."""
    state = receiver.live
    named = status.named if status.named is not None else state.named if state is not None else None
    synchronous = state is not None and state.synchronous
    facts = {"synchronous": synchronous, "named": named, "withheld": state is not None and state.withheld}
    if named is None:
        message = NOT_KNOWN
    elif named and not receiver.running:
        message = "commits may wait for this receiver, which does not run"
    elif named and state is not None and state.withheld:
        message = "commits may wait for this receiver, and none is acknowledged while a gap is open"
    elif named:
        message = f"{'yes,' if synchronous else 'no, although'} commits may wait for this receiver"
    else:
        message = "yes, although no commit waits for this receiver" if synchronous else "no"
    return Entry("synchronous", "Synchronous", message, facts)


def _positions(status: ServerStatus, state: ReceiverState, now: float) -> list[Entry]:
    """Where the receiver is, or was when it ended, and how far that is behind."""
    known = status.wal.position if status.wal is not None else None
    timeline, server = known if known is not None else (state.timeline, state.server)
    elsewhere = "" if timeline == state.timeline else f"; the server is on {timeline}"
    timelines = {"receiver_timeline": state.timeline, "server_timeline": timeline}
    heard = "" if known is not None else " when last heard of"
    entries = [
        Entry("timeline", "Timeline", f"{state.timeline}{elsewhere}", timelines),
        _position("server_lsn", "Server position", server, heard),
        _position("written_lsn", "Written position", state.written),
        _position("flushed_lsn", "Flushed position", state.flushed),
    ]
    live = status.receiver is not None and status.receiver.running
    if timeline != state.timeline or (known is None and not live):
        return entries
    lag = lag_of(state, known, now)
    facts: dict[str, object] = {"lag_bytes": lag.nbytes}
    message = size(lag.nbytes)
    if live:
        facts["lag_seconds"] = round(lag.seconds, 3)
        message += f", {duration(lag.seconds)}"
    message += "" if known is not None else ", behind what was last heard of"
    return [*entries, Entry("receiver_lag", "Receiver lag", message, facts)]


def _position(key: str, description: str, position: LSN, more: str = "") -> Entry:
    return Entry(key, description, f"{position}{more}", {"lsn": str(position)})


def _archiving(status: ServerStatus, receiver: ReceiverFacts) -> list[Entry]:
    name, at = _last_archived(status)
    when = {"at": moment(at), "at_timestamp": timestamp(at)} if at is not None else {}
    message = f"{name}, at {moment(at)}" if at is not None else name or "none yet"
    last = Entry("last_archived_segment", "Last archived segment", message, {"segment": name, **when})
    limit = status.settings.spool_limit if status.settings is not None else None
    trouble = receiver.live.archive_trouble if receiver.live is not None else None
    entries = [last, _spool(receiver.spool, limit)]
    return (
        entries if trouble is None else [*entries, Entry("archive_trouble", "Archiving has to wait", trouble)]
    )


def _spool(spool: SpoolFacts, limit: int | None) -> Entry:
    message = f"{spool.segments}, {size(spool.nbytes)}"
    message += f", the oldest since {moment(spool.since)}" if spool.since is not None else ""
    message += f" (limit {size(limit)})" if limit is not None else ""
    facts = {"segments": spool.segments, "spool_bytes": spool.nbytes, "spool_limit_bytes": limit}
    return Entry("spool", "Segments waiting to be archived", message, facts)


def _last_archived(status: ServerStatus) -> tuple[str | None, float | None]:
    """What the receiver archived last, or what is newest in the repository, whichever came later."""
    state = status.receiver.state if status.receiver is not None else None
    stored = status.stored.last if status.stored is not None else None
    told = (state.last_archived, state.last_archived_at) if state is not None else (None, None)
    seen = (stored.name, stored.since) if stored is not None else (None, None)
    return told if told[0] is not None and (told[1] or 0) >= (seen[1] or 0) else seen
