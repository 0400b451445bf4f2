"""``walstream verify-wal``: read the WAL archive end to end and say what is wrong with it."""

from __future__ import annotations

import argparse

from backup.wal_listing import WalProblem
from catalog.coverage import names
from catalog.errors import Corrupt, Interrupted
from catalog.gaps import Gap
from catalog.inventory import Run
from catalog.lsn import SegmentSize
from catalog.units import counted, duration, size
from catalog.walname import Segment
from walstream.cli.context import Context
from walstream.cli.light import add_identity_arguments
from walstream.cli.signals import raising
from walstream.cli.stored import add_full_argument, readable_repository
from walstream.cli.units import local_time
from walstream.ops.verify_wal import Verified, bounds_of, verify_archive

EXAMPLE = "walstream verify-wal main"

# So many lines are shown to a person; JSON has more.
_SHOWN = 50
_HINT = (
    "a segment that the server or another copy of the archive still has can be put back; "
    "else take a new backup, behind which the damage does not matter, and look after the storage"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a name, or the path of a repository")
    add_full_argument(parser)
    parser.add_argument(
        "--from", dest="begin", metavar="PLACE", help="begin with this segment, or a backup's first one"
    )
    parser.add_argument(
        "--to", dest="end", metavar="PLACE", help="end with this segment, or a backup's last one"
    )
    add_identity_arguments(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Verify, show everything that is wrong, and fail if there is anything."""
    places, output = context.places(arguments.server), context.output
    repository = readable_repository(places, arguments, context.ask_secret)
    bounds = bounds_of(repository, arguments.begin, arguments.end)
    try:
        with raising(), output.progress(f"verifying the WAL of {places.name}") as progress:
            found = verify_archive(repository, places.home, bounds, progress.update, full=arguments.full)
    except (Interrupted, KeyboardInterrupt) as error:
        message = error.message if isinstance(error, Interrupted) else "interrupted"
        raise Interrupted(
            message, "what was verified is remembered: the same command goes on there"
        ) from None
    output.put(places.name, _facts(found))
    _show(context, found)
    if found.count:
        plural = "s" if found.count > 1 else ""
        raise Corrupt(f"the WAL of {places.name!r} has {found.count} problem{plural}", _HINT)
    output.line(f"{places.name}: {output.paint('OK', 'green')}, {_checked(found)}")
    return 0


def _show(context: Context, found: Verified) -> None:
    output, wal_size = context.output, found.holdings.size
    failed = output.paint("FAILED", "red")
    lines = [f"{failed} {_text(found, each)}" for each in found.report.problems]
    lines += [f"{failed} {names((hole.run,), wal_size)}: missing" for hole in found.missing]
    lines += [f"{failed} {_gap_text(gap, wal_size)}; no backup begins behind it" for gap in found.open_gaps]
    for line in lines[:_SHOWN]:
        output.line(line)
    hidden = found.count - min(len(lines), _SHOWN)
    if hidden:
        output.line(f"… and {hidden} more" + (" (-f json shows more)" if len(lines) > _SHOWN else ""))
    for gap in [each for each in found.gaps if each not in found.open_gaps][:_SHOWN]:
        output.line(f"known: {_gap_text(gap, wal_size)}")
    for hole in found.unneeded[:_SHOWN]:
        output.line(f"not needed: {names((hole.run,), wal_size)} is not there, and no backup reaches it")
    for partial in found.report.partials[:_SHOWN]:
        output.line(f"incomplete: {partial.file}, whose records end at {partial.end}")


def _text(found: Verified, problem: WalProblem) -> str:
    where = "" if problem.offset is None else f" at offset {problem.offset} ({problem.position})"
    text = f"{problem.file}{where}: {problem.message}" if problem.file else problem.message
    if problem.position is None:
        return text
    behind = found.next_backup(problem)
    follows = f"the next backup behind it is {behind}" if behind else "no backup begins behind it"
    return f"{text}; recovery ends there, {follows}"


def _gap_text(gap: Gap, wal_size: SegmentSize) -> str:
    what = names((gap.run,), wal_size)
    return f"{what}: a gap, recorded on {local_time(gap.accepted)} ({gap.reason})"


def _checked(found: Verified) -> str:
    report = found.report
    unchanged = f", {report.skipped} unchanged since they were verified" if report.skipped else ""
    read = f"{counted(report.segments, 'segment')} read{unchanged}"
    return f"{read}, {size(report.nbytes)} in {duration(report.seconds)}"


def _facts(found: Verified) -> dict[str, object]:
    report, wal_size = found.report, found.holdings.size
    return {
        "verified": not found.count,
        "no_of_problems": found.count,
        "no_of_segments": report.segments,
        "no_of_segments_unchanged": report.skipped,
        "checked": size(report.nbytes),
        "checked_bytes": report.nbytes,
        "seconds": round(report.seconds, 3),
        "problems": [
            {
                "file": each.file or None,
                "problem": each.message,
                "offset": each.offset,
                "lsn": None if each.position is None else str(each.position),
                "next_backup": found.next_backup(each),
            }
            for each in report.problems
        ],
        "holes": [_run_facts(each.run, wal_size) | {"kind": each.kind} for each in found.holes],
        "recorded_gaps": [
            _run_facts(each.run, wal_size)
            | {"accepted": each.accepted.isoformat(), "reason": each.reason, "open": each in found.open_gaps}
            for each in found.gaps
        ],
        "partials": [{"file": each.file, "records_end": str(each.end)} for each in report.partials],
    }


def _run_facts(run: Run, wal_size: SegmentSize) -> dict[str, object]:
    first, last = (Segment(run.timeline, number).name(wal_size) for number in (run.first, run.last))
    return {"timeline": run.timeline, "first": first, "last": last, "segments": len(run)}
