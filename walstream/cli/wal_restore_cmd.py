"""``walstream wal-restore``: PostgreSQL's restore_command. Light: see ``walstream.cli``.

The plan of the restore travels in the options, because PostgreSQL takes the end of this command's patience for
the end of WAL: ``--path`` are the timelines to follow (segments of an ancestor at or behind the one with the
switch count as absent, else another branch would be replayed without a word), ``--until`` is the last segment
that the plan needs. Up to it absence is trouble, which is waited for and then said; behind it trouble is
absence, at once: PostgreSQL reads ahead of a target that is already reached. With ``--prefetch`` the segments
behind a delivered one are decoded in the background, where the restore_command finds them without Python.
"""

from __future__ import annotations

import time

from backup import lookahead
from backup.fetch import WalSource, copy_wal, deliver_wal
from catalog import durable
from catalog.errors import Absent, IdentityError, StorageError, UsageError, WalstreamError
from catalog.timeline import Path
from catalog.walname import HISTORY, SEGMENT, Segment, kind_of, timeline_in
from walstream.cli import say
from walstream.cli.light import IDENTITY_VALUES, Arguments, add_identity_arguments, identities_of, parse
from walstream.settings.locate import places

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from catalog.lsn import SegmentSize

EXAMPLE = (
    "trap 'case $? in 0) ;; 64) exit 1 ;; *) exit 255 ;; esac' EXIT; "
    "walstream wal-restore --absent-code 64 main %f %p"
)

ABSENT = 1
STDOUT = "-"
PATIENCE = 600.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0

_FLAGS = {"-P": "partial", "--partial": "partial", "--standby": "standby"}
_VALUES = {
    "--absent-code": "absent_code",
    "--path": "path",
    "--until": "until",
    "--backup": "backup",
    "--home": "home",
    "--wait": "wait",
    **IDENTITY_VALUES,
    "--prefetch": "prefetch",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "server", metavar="S", help="a server's name, or the path of its repository directory"
    )
    parser.add_argument("wal", metavar="%f", help="the name of the WAL file that PostgreSQL wants")
    parser.add_argument(
        "destination", metavar="%p", help="where PostgreSQL wants it; - for standard output, as over ssh"
    )
    parser.add_argument(
        "-P", "--partial", action="store_true", help="also segments that are not yet complete"
    )
    parser.add_argument("--path", metavar="PATH", help="the timelines of the plan, as restore writes them")
    parser.add_argument("--until", metavar="WAL", help="the last segment that the plan surely needs")
    parser.add_argument("--backup", metavar="ID", help="the backup that may hold the beginning of a segment")
    parser.add_argument("--home", metavar="DIR", help="where the server's spool is, if not in the repository")
    parser.add_argument("--standby", action="store_true", help="a standby asks: it comes again by itself")
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        help=f"how long to wait out trouble with needed WAL (default {PATIENCE:.0f})",
    )
    add_identity_arguments(parser)
    parser.add_argument(
        "--prefetch",
        metavar="N",
        help=f"decode so many segments ahead, into {lookahead.DIRECTORY} (default 0)",
    )
    parser.add_argument("--absent-code", metavar="N", help="exit code for a file that is absent (default 1)")


def light_main(arguments: list[str]) -> int:
    """Deliver one WAL file where PostgreSQL wants it; anything that is raised here means 255."""
    given = parse(arguments, _FLAGS, _VALUES, ("S", "%f", "%p"))
    server, name, destination = given.rest
    absent_code = _number(given.values.get("absent_code", str(ABSENT)), "--absent-code")
    source = _source(server, given)
    wanted = Wanted(name, given.values.get("path"), given.values.get("until"))
    patience = _number(given.values.get("wait", str(round(PATIENCE))), "--wait")
    ahead = _number(given.values.get("prefetch", "0"), "--prefetch")
    if ahead:
        lookahead.clear_leftovers()
    try:
        delivered = _deliver(source, wanted, destination, 0 if "standby" in given.flags else patience)
    except Absent as absent:
        if wanted.is_needed(source):
            say(f"walstream: error: {absent}, and the recovery needs it")
            return 255
        return absent_code
    except WalstreamError as trouble:
        if wanted.is_behind_the_plan(source):
            say(f"walstream: {trouble}; the plan does not need it")
            return absent_code
        raise
    if delivered and ahead and kind_of(name) == SEGMENT:
        lookahead.go_on(source, name, wanted.course(ahead))
    return 0 if delivered else absent_code


def _source(server: str, given: Arguments) -> WalSource:
    found, problems = places(server, given.values.get("config"))
    for problem in problems:
        say(f"walstream: warning: {problem}")
    return WalSource(
        found.repository,
        given.values.get("home", found.home),
        partial="partial" in given.flags,
        backup_id=given.values.get("backup"),
        identities=identities_of(given, found),
    )


class Wanted:
    """One WAL file that PostgreSQL asks for, and what the plan says about it."""

    __slots__ = ("_path", "_size", "_until", "name")

    def __init__(self, name: str, path: str | None, until: str | None) -> None:
        if kind_of(name) is None:
            raise UsageError(f"not the name of a WAL file: {name!r}", "PostgreSQL puts it in place of %f")
        if until is not None and kind_of(until) != SEGMENT:
            raise UsageError(f"--until takes the name of a segment, not {until!r}")
        self.name = name
        self._path = Path.parse(path) if path is not None else None
        self._until = until
        self._size: SegmentSize | None = None

    def is_certainly_absent(self, source: WalSource) -> bool:
        """Whether the plan forbids the file: a segment that lies on another branch than the path."""
        if self._path is None or kind_of(self.name) != SEGMENT:
            return False
        if len(self._path.legs) == 1:
            return timeline_in(self.name) != self._path.timeline
        size = self._segment_size(source)
        return not self._path.counts(Segment.parse(self.name, size), size)

    def is_needed(self, source: WalSource) -> bool:
        """Whether the plan needs the file."""
        if kind_of(self.name) == HISTORY:
            timeline = timeline_in(self.name)
            return self._path is not None and any(1 < leg.timeline == timeline for leg in self._path.legs)
        # Behind the timeline all digits count alike, so names compare as their segments do.
        return self._until is not None and self.name[8:] <= self._until[8:]

    def is_behind_the_plan(self, source: WalSource) -> bool:
        """Whether the plan is complete without the file."""
        return self._until is not None and kind_of(self.name) == SEGMENT and not self.is_needed(source)

    def course(self, ahead: int) -> lookahead.Course:
        """What the plan will ask for behind the file."""
        return lookahead.Course(self._path, self._until, ahead)

    def _segment_size(self, source: WalSource) -> SegmentSize:
        if self._size is None:
            self._size = source.identity().wal_segment_size
        return self._size


def _deliver(source: WalSource, wanted: Wanted, destination: str, patience: float) -> bool:
    """Deliver, trying again for ``patience`` seconds while something needed is missing or unreadable.

    False when the plan forbids the file.
    """
    output = _Output() if destination == STDOUT else None
    give_up = time.monotonic() + patience
    pause = FIRST_PAUSE
    while True:
        try:
            if output is None and _recovery_is_alive() and lookahead.take(wanted.name, destination):
                return True
            if wanted.is_certainly_absent(source):
                return False
            if output is not None:
                copy_wal(source, wanted.name, output.write, None)
            else:
                deliver_wal(source, wanted.name, destination, may_place=_recovery_is_alive)
            return True
        except WalstreamError as trouble:
            final = wanted.is_behind_the_plan(source) or time.monotonic() + pause > give_up
            begun = output is not None and output.begun
            if final or begun or not _may_pass(trouble, wanted, source):
                raise
            say(f"walstream: {trouble}; trying again in {pause:.1f} s")
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
        if not _recovery_is_alive():
            raise StorageError("the recovery that asked for this file is gone")


class _Output:
    """Standard output; of a file that has begun there, the beginning cannot be taken back."""

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = False

    def write(self, piece: bytes) -> None:
        self.begun = True
        durable.write_all(1, piece)


def _may_pass(trouble: WalstreamError, wanted: Wanted, source: WalSource) -> bool:
    if isinstance(trouble, IdentityError):
        return False  # somebody has to do something
    return wanted.is_needed(source) if isinstance(trouble, Absent) else True


def _recovery_is_alive() -> bool:
    """Whether the server in whose data directory we run still does; True where there is no such thing."""
    pid = lookahead.postmaster_pid()
    return pid is None or lookahead.is_running(pid)


def _number(text: str, option: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise UsageError(f"{option} takes a number, not {text!r}")
    return int(text)
