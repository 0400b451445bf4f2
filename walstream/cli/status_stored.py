"""What ``status`` says of stored WAL: the recovery window, gaps, branches that were left. Pure."""

from __future__ import annotations

from catalog.coverage import names
from catalog.gaps import Gap
from catalog.lsn import LSN, SegmentSize
from catalog.reach import Window
from catalog.state import ReceiverState
from catalog.units import counted
from catalog.walname import Segment
from walstream.cli.status_entries import Entry, timestamp
from walstream.cli.units import local_time
from walstream.ops.status_facts import ServerStatus, StoredStatus


def stored_entries(status: ServerStatus) -> list[Entry]:
    """All of it; nothing without a repository."""
    stored = status.stored
    if stored is None:
        return []
    state = status.receiver.state if status.receiver is not None else None
    return [_recovery_window(stored, state), _gaps(status.name, stored), _branches(stored)]


def _recovery_window(stored: StoredStatus, state: ReceiverState | None) -> Entry:
    """From the oldest backup that can be restored to the newest position held; earlier ones end at a hole.

    A time can only be reached if a transaction ended after it, so that the last one's is where times end.
    """
    key, description = "recovery_window", "Recovery window"
    if not stored.windows:
        return Entry(key, description, "none: no backup can be restored", {"windows": []})
    ends = [each.end(stored.size) for each in stored.windows]
    ends[-1] = _newest_position(stored.windows[-1], stored.size, state)
    pairs = list(zip(stored.windows, ends, strict=True))
    facts = [
        {
            "backup_id": window.first.id,
            "begin_time": local_time(window.first.end.time),
            "begin_time_timestamp": timestamp(window.first.end.time.timestamp()),
            "begin_lsn": str(window.first.end.lsn),
            "end_lsn": str(end),
            "timeline": window.timeline,
        }
        for window, end in pairs
    ]
    if stored.last_time is not None:
        facts[-1]["last_time"] = local_time(stored.last_time)
        facts[-1]["last_time_timestamp"] = timestamp(stored.last_time.timestamp())
    *earlier, newest = (_window_text(window, end) for window, end in pairs)
    if stored.last_time is not None:
        newest += f", by time up to {local_time(stored.last_time)}"
    details = tuple(f"before that: {text}" for text in reversed(earlier))
    return Entry(key, description, newest, {"windows": facts}, details)


def _window_text(window: Window, end: LSN) -> str:
    first = window.first
    return f"from {local_time(first.end.time)} (backup {first.id}) up to {end} on timeline {window.timeline}"


def _newest_position(window: Window, size: SegmentSize, state: ReceiverState | None) -> LSN:
    """The end of what is stored, or what the receiver has flushed of the next one."""
    end, complete = window.end(size), window.last.end(size)
    if state is None or state.timeline != window.timeline:
        return end
    return state.flushed if end < state.flushed <= complete + size.nbytes else end


def _gaps(server: str, stored: StoredStatus) -> Entry:
    details = [_gap_text(server, gap, gap in stored.open_gaps, stored.size) for gap in stored.gaps]
    facts = [_gap_facts(gap, gap in stored.open_gaps, stored.size) for gap in stored.gaps]
    if stored.missing:
        details.append(
            f"missing, and nothing says why: {names(stored.missing, stored.size)}; "
            f"remedy: take a new backup (walstream backup {server}), or copy the segments here"
        )
    count = len(stored.open_gaps)
    words = [
        f"{count} open" if count else "",
        f"{len(stored.gaps) - count} closed" if len(stored.gaps) > count else "",
    ]
    words.append(f"{counted(sum(map(len, stored.missing)), 'segment')} missing" if stored.missing else "")
    message = ", ".join(word for word in words if word) or "none"
    missing = [
        [Segment(run.timeline, number).name(stored.size) for number in (run.first, run.last)]
        for run in stored.missing
    ]
    return Entry("wal_gaps", "WAL gaps", message, {"gaps": facts, "missing": missing}, tuple(details))


def _gap_text(server: str, gap: Gap, is_open: bool, size: SegmentSize) -> str:
    text = f"{names((gap.run,), size)}, since {local_time(gap.accepted)} because {gap.reason}"
    if is_open:
        return f"open: {text}; remedy: take a new backup: walstream backup {server}"
    return f"closed: {text}"


def _gap_facts(gap: Gap, is_open: bool, size: SegmentSize) -> dict[str, object]:
    first, last = (Segment(gap.run.timeline, number).name(size) for number in (gap.run.first, gap.run.last))
    return {
        "first_segment": first,
        "last_segment": last,
        "segments": len(gap.run),
        "accepted": local_time(gap.accepted),
        "accepted_timestamp": timestamp(gap.accepted.timestamp()),
        "reason": gap.reason,
        "open": is_open,
    }


def _branches(stored: StoredStatus) -> Entry:
    facts = [
        {"timeline": each.timeline, "begin_lsn": str(each.parting), "end_lsn": str(each.until)}
        for each in stored.branches
    ]
    details = tuple(
        f"timeline {each.timeline} from {each.parting} to {each.until} is not part of timeline {stored.timeline}: "
        f"restore --target-tli {each.timeline} recovers along it"
        for each in stored.branches
    )
    message = f"{len(details)} held" if details else "none"
    return Entry("old_branches", "Old branches", message, {"branches": facts}, details)
