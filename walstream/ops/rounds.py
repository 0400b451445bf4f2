"""One maintenance round over many servers, side by side: a thread each, bounded time, a lock of its own.

A server whose last round has not ended is left out, so that one hanging disk keeps nobody else waiting, and
nothing piles up behind it. For crontab a round also starts receivers that are missing.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from catalog import durable
from catalog.errors import Busy, WalstreamError, one_line
from catalog.local_storage import failed
from catalog.lock import Lock, holder
from catalog.state import is_stopped, receiver_holder
from catalog.supervisor_state import live_supervisor_state
from walstream.ops.check_receiver import receiving_items
from walstream.ops.children import Child, receiver_words
from walstream.ops.hooks import ARCHIVE, DELETE, WAL_DELETE
from walstream.ops.local import hooks_of
from walstream.ops.maintain import maintain
from walstream.ops.receiver_facts import receiver_facts
from walstream.ops.supervision import how_it_ended
from walstream.settings.server import ServerSettings

# Nothing new is begun in a round after so long, and nobody waits longer for it than that, but for scripts.
WORK = 50.0
LIMIT = 110.0
STARTING = 20.0
POLL = 0.05
LARGEST_LOG = 10 << 20
# What ended a receiver so long ago, in seconds, may have ended the one of the last round.
RECENT = 90.0

Starter = Callable[[ServerSettings], str | None]


def run_rounds(
    servers: Sequence[ServerSettings],
    start: Starter | None,
    work: float = WORK,
    limit: float | None = None,
    left_out: Callable[[str], object] = lambda name: None,
) -> tuple[list[tuple[str, str]], bool]:
    """Do a round for each server; what went wrong, by server, and whether all rounds have ended.

    ``left_out`` hears of a server whose last round has not ended, so that nothing is known of it now.
    ``start`` starts a receiver where one is missing and says what went wrong, and those that run are looked at;
    None leaves receivers alone.
    """
    began = time.monotonic()
    if limit is None:
        limit = LIMIT + max(map(script_time, servers), default=0.0)
    answers: queue.SimpleQueue[tuple[str, list[str] | None]] = queue.SimpleQueue()
    for settings in servers:
        words = (settings, start, began + work, answers)
        threading.Thread(target=_answer, args=words, name=f"round-{settings.name}", daemon=True).start()
    waiting = {settings.name for settings in servers}
    problems: list[tuple[str, str]] = []
    while waiting:
        try:
            name, found = answers.get(timeout=max(0.0, began + limit - time.monotonic()))
        except queue.Empty:
            break
        waiting.discard(name)
        if found is None:
            left_out(name)
        problems += [(name, problem) for problem in found or ()]
    problems += [(name, f"its round has not ended within {limit:.0f} s") for name in sorted(waiting)]
    return problems, not waiting


def script_time(settings: ServerSettings) -> float:
    """How much longer a round may take for an operator's scripts: two for a backup that goes, two for its WAL."""
    hooks = hooks_of(settings)
    return 4 * hooks.timeout if any(map(hooks.has, (ARCHIVE, DELETE, WAL_DELETE))) else 0.0


def _answer(
    settings: ServerSettings,
    start: Starter | None,
    until: float,
    answers: queue.SimpleQueue[tuple[str, list[str] | None]],
) -> None:
    problems: list[str] | None
    try:
        problems = _round(settings, start, until)
    except WalstreamError as error:
        problems = [one_line(error)]
    except BaseException as error:
        problems = [f"internal error: {type(error).__name__}: {error}"]
    answers.put((settings.name, problems))


def _round(settings: ServerSettings, start: Starter | None, until: float) -> list[str] | None:
    """What went wrong; None when the last round has not ended."""
    # Not in the server's own directory, which only the first connection makes.
    lock = Lock(round_lock_path(settings.home, settings.name), f"doing a round of {settings.name!r}")
    try:
        lock.acquire()
    except Busy:
        return _overdue(lock.path, 2 * (LIMIT + script_time(settings))) or None
    with lock:
        problems = [*_start(settings, start), *maintain(settings, until)]
    # A supervisor's receivers log to where its rounds do, and have said there what they have to say.
    return problems if start is None else [*problems, *_of_receiver(settings)]


def round_lock_path(home: str, name: str) -> str:
    """The lock of a server's round; no server can be called like its directory."""
    return os.path.join(os.path.dirname(home), ".rounds", f"{name}.lock")


def _start(settings: ServerSettings, start: Starter | None) -> list[str]:
    if start is None:
        return []
    try:
        last_words = _last_words(settings)
        problem = start(settings) or last_words
    except WalstreamError as error:
        problem = one_line(error)
    return [problem] if problem else []


def _last_words(settings: ServerSettings) -> str | None:
    """What ended a receiver that had begun to work, and that a round is about to start again."""
    found = receiver_facts(settings.home)
    ended = found.ended_with
    if found.running or found.stopped or ended is None or time.time() - ended.at > RECENT:
        return None
    return f"the last receiver ended: {ended.trouble}"


def _of_receiver(settings: ServerSettings) -> list[str]:
    """What is wrong with a receiver that runs; why there is none has been said, or is the operator's will."""
    try:
        found = receiver_facts(settings.home)
    except WalstreamError as error:
        return [one_line(error)]
    items = receiving_items(settings, found, time.time()) if found.running else []
    return [f"{item.label}: {item.hint} ({item.remedy})" for item in items if not item.ok]


def _overdue(path: str, limit: float) -> list[str]:
    found = holder(path) or {}
    try:
        since = datetime.fromisoformat(str(found.get("started")))
    except ValueError:
        return []  # it has just begun, or just ended
    if (datetime.now(UTC) - since).total_seconds() <= limit:
        return []
    return [f"the round of process {found.get('pid')} has not ended since {found.get('started')}"]


def receiver_starter(config: str, log_level: str | None, log_file: str | None) -> Starter:
    """What starts missing receivers that outlive this process; see ``run_rounds``.

    They log to ``log_file``, or else together to ``receive-wal.log`` in the home of all servers.
    """

    def start(settings: ServerSettings) -> str | None:
        if not settings.streaming_archiver or is_stopped(settings.home) or receiver_holder(settings.home):
            return None
        if live_supervisor_state(settings.home) is not None:
            return None  # a run looks after it, and may only be pausing
        path = log_file or os.path.join(os.path.dirname(settings.home), "receive-wal.log")
        try:
            durable.make_directories(os.path.dirname(path))
            with open(path, "ab", opener=_opener) as log:
                if log_file is None and log.tell() > LARGEST_LOG:
                    log.truncate(0)
                child = Child(receiver_words(config, log_level, settings.name), log)
        except OSError as error:
            raise failed("write", path, error) from error
        try:
            return _await_lock(child, settings, path)
        finally:
            child.close()

    return start


def _await_lock(child: Child, settings: ServerSettings, log: str) -> str | None:
    """Wait until the receiver has its lock, so that nobody starts another; what it failed with instead."""
    give_up = time.monotonic() + STARTING
    while not receiver_holder(settings.home) and time.monotonic() < give_up:
        code = child.wait(POLL)
        if code is not None:
            if code == 0 or receiver_holder(settings.home):
                return None  # it was stopped, or somebody else was faster
            return f"the receiver ended: {how_it_ended(code)}: {child.error() or f'see {log}'}"
    return None


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags, durable.FILE_MODE)
