"""The lookahead of a recovery: segments decoded before PostgreSQL asks for them, by a process of their own.

``restore_command`` renames a segment out of the lookahead (``DIRECTORY``) and runs Python only on a miss. Then
``go_on`` tells the prefetcher what was delivered, or starts one: a fork of the finished command, in its own
session, with nothing open of what it inherited. The lock makes it the only one of its cluster. It keeps at most
``Course.count`` segments, whole and synced, and only those that the plan will ask for: along its timelines, up
to its last segment, never a ``.partial`` or a history. What it cannot get, it leaves to the command, which says
what is wrong.

It learns what PostgreSQL has from what vanishes, and from the notes that misses leave. It ends when the server of
the recovery is gone, when the recovery has ended, when there is nothing more to get and all of it was taken, and
when nothing was taken for ten minutes (a long pause, a standby that streams); it removes everything then, and the
next miss starts another. What a killed one left, the next command removes. It ends with 0 in any case: where the
server is process 1 of a container it inherits us, and would take another code for a crash of its own.

The directory lies inside ``pg_wal``. There a rename stays a rename wherever ``pg_wal`` is moved to, base backups
send nothing of it, and ``pg_verifybackup`` looks at nothing; the server removes and recycles there only files with
a segment's name, and lists only files. As a relative path it needs no quotes, and follows a data directory that is
moved. On the path of ``wal-restore``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from backup.fetch import WalSource, deliver_wal
from catalog import durable
from catalog.errors import WalstreamError
from catalog.walname import SEGMENT, Segment, kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.lsn import SegmentSize
    from catalog.timeline import Path

DIRECTORY = "pg_wal/walstream-lookahead"  # from the data directory, where PostgreSQL runs its commands
SIGNALS = ("recovery.signal", "standby.signal")
LOCK = "lock"
_ASKED = ".asked"
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_IDLE = 600.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Course:
    """Which segments a recovery will ask for: along ``path``, up to the one called ``until``, ``count`` ahead."""

    __slots__ = ("count", "path", "until")

    def __init__(self, path: Path | None, until: str | None, count: int) -> None:
        self.path = path
        self.until = until
        self.count = count

    def name(self, number: int, timeline: int, size: SegmentSize) -> str | None:
        """The name by which a segment will be asked for, without a path on ``timeline``; None behind the plan."""
        if self.path is not None:
            timeline = self.path.timeline_of(number, size)
        name = Segment(timeline, number).name(size)
        # Behind the timeline all digits count alike, so names compare as their segments do.
        return None if self.until is not None and name[8:] > self.until[8:] else name

    def ends_with(self, name: str) -> bool:
        """Whether nothing is to be had ahead of this segment."""
        return not self.count or (self.until is not None and name[8:] >= self.until[8:])


def take(name: str, destination: str) -> bool:
    """Put a segment where PostgreSQL wants it, if it waits in the lookahead."""
    try:
        os.rename(os.path.join(DIRECTORY, name), destination)
    except OSError:
        return False
    return True


def go_on(source: WalSource, delivered: str, course: Course) -> None:
    """Have what follows a delivered segment fetched ahead; never raises, and does not wait."""
    server = postmaster_pid()
    if server is None or course.ends_with(delivered):
        return
    try:
        lock = _lock()
        if lock is None:
            os.close(os.open(_path(delivered + _ASKED), os.O_WRONLY | os.O_CREAT, 0o600))
            return
        child = os.fork()
    except FileNotFoundError:
        return  # the prefetcher that held the lock has just ended
    except OSError:
        _clear()  # no locks here, or no processes: there is no lookahead, and all that it costs is time
        return
    if child:
        os.close(lock)
        return
    try:
        _prefetch(source, delivered, course, server, lock)
    finally:
        os._exit(0)


def clear_leftovers() -> None:
    """Remove what a prefetcher left that was killed; never raises."""
    try:
        lock = _lock() if os.path.isdir(DIRECTORY) else None
    except OSError:
        return
    if lock is not None:
        _clear()
        os.close(lock)


def _prefetch(source: WalSource, delivered: str, course: Course, server: int, lock: int) -> None:
    try:
        _detach(lock)
        for name in _ours():
            os.unlink(_path(name))
        Prefetcher(source, delivered, course, server).run()
    except (OSError, WalstreamError):
        pass  # nobody listens here: the next command meets the same trouble, and says so
    finally:
        _clear()


class Prefetcher:
    """Keeps the lookahead filled behind the last segment that PostgreSQL has; runs in the data directory."""

    def __init__(self, source: WalSource, delivered: str, course: Course, server: int) -> None:
        # No incomplete segment, be it a backup's: they are for the end of WAL.
        self._source = WalSource(source.repository, source.home, identities=source.identities)
        identity = self._source.identity()
        self._size = identity.wal_segment_size
        self._system_identifier = identity.system_identifier
        self._course = course
        self._server = server
        self._last = Segment.parse(delivered, self._size)  # the last that PostgreSQL has
        self._waiting: dict[int, str] = {}
        self._exhausted = False
        self._changed = time.monotonic()

    def run(self) -> None:
        """Until the recovery is over, or there is nothing left to do."""
        while self._is_wanted():
            self._look()
            if not self._fetch_next():
                idle = time.monotonic() - self._changed
                if idle > _IDLE or (self._exhausted and not self._waiting):
                    return
                time.sleep(min(max(idle / 4, _SHORTEST_PAUSE), _LONGEST_PAUSE))

    def _is_wanted(self) -> bool:
        alive = postmaster_pid() == self._server and is_running(self._server)
        return alive and any(os.path.exists(name) for name in SIGNALS)

    def _look(self) -> None:
        """See what was taken, and what was delivered past us; remove what is out of reach now."""
        names = set(_ours())
        taken = [name for name in self._waiting.values() if name not in names]
        notes = [name for name in names if name.endswith(_ASKED)]
        for note in notes:
            os.unlink(_path(note))
        if not taken and not notes:
            return
        reached = [Segment.parse(name.removesuffix(_ASKED), self._size) for name in (*taken, *notes)]
        self._last = max(reached, key=lambda segment: segment.number)
        self._changed = time.monotonic()
        self._exhausted = self._exhausted and not notes
        for number, name in list(self._waiting.items()):
            if not (0 < number - self._last.number <= self._course.count and name == self._name(number)):
                durable.remove_if_present(_path(name))
                del self._waiting[number]

    def _fetch_next(self) -> bool:
        number = self._last.number + 1
        while number in self._waiting:
            number += 1
        if self._exhausted or number > self._last.number + self._course.count or not self._has_room():
            return False
        name = self._name(number)
        self._exhausted = name is None or not self._fetch(name)
        if name is not None and not self._exhausted:
            self._waiting[number] = name
        return not self._exhausted

    def _name(self, number: int) -> str | None:
        return self._course.name(number, self._last.timeline, self._size)

    def _fetch(self, name: str) -> bool:
        """Put a segment into the lookahead; False when it is not to be had."""
        try:
            # Synced, so that a power loss leaves no file of zeros under a final name: to PostgreSQL the end of WAL.
            deliver_wal(
                self._source, name, _path(name), self._system_identifier, self._is_wanted, synced=True
            )
        except WalstreamError as trouble:
            if isinstance(trouble.__cause__, OSError) and trouble.__cause__.errno in _FULL:
                raise  # and give back all the room
            return False
        return True

    def _has_room(self) -> bool:
        """Whether as much is free as the lookahead may take: the rest is the server's."""
        found = os.statvfs(DIRECTORY)
        return found.f_bavail * found.f_frsize >= self._course.count * self._size.nbytes


def postmaster_pid() -> int | None:
    """The process id in the lock file of the data directory that we run in; None if it cannot be told."""
    try:
        with open("postmaster.pid", encoding="utf-8", errors="replace") as file:
            pid = abs(int(file.readline()))  # negative when the server runs in single-user mode
    except (OSError, ValueError):
        return None
    return pid if 0 < pid < 1 << 31 else None


def is_running(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _lock() -> int | None:
    """The lock, held by the descriptor that is returned; None while another process holds it."""
    try:
        os.mkdir(DIRECTORY, 0o700)
    except FileExistsError:
        pass
    lock = os.open(_path(LOCK), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_nlink:  # else its former holder has just removed it
            return lock
    except BlockingIOError:
        pass
    os.close(lock)
    return None


def _detach(lock: int) -> None:
    """Leave the session, and everything open but the lock, to the command that we come from."""
    os.setsid()
    lock = fcntl.fcntl(lock, fcntl.F_DUPFD, 3)
    for fd in [int(name) for name in os.listdir("/dev/fd")]:
        if fd != lock:
            try:
                os.close(fd)
            except OSError:
                pass  # that of the listing itself
    for _ in range(3):
        os.open(os.devnull, os.O_RDWR)
    os.ftruncate(lock, 0)
    os.write(lock, b"%d\n" % os.getpid())  # for people


def _clear() -> None:
    """Remove what is ours, and the directory with it; for who holds the lock."""
    try:
        for name in (*_ours(), LOCK):
            durable.remove_if_present(_path(name))
        os.rmdir(DIRECTORY)
    except OSError:
        pass  # it is gone already, or somebody else put something into it


def _ours() -> list[str]:
    """What lies in the lookahead: segments, unfinished ones, and notes."""
    return [
        name
        for name in os.listdir(DIRECTORY)
        if kind_of(name.removesuffix(_ASKED)) == SEGMENT or durable.is_temporary(name)
    ]


def _path(name: str) -> str:
    return os.path.join(DIRECTORY, name)
